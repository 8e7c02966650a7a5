//! Tokens minted anew by a fresh login: both live for a while, and of all that is minted one stays,
//! wherever it is cut off.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{self, Desk, coin, passphrase, told, until};
use crate::victim::{self, Victim, random, say};
use bitgo_vault::api::CreateToken;
use bitgo_vault::emulator::{Emulator, Exchange, Fault, FaultKind};
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    Alarm, Amount, Environment, Error, Event, Events, Label, Login, LoginPassword, Need, Otp,
    Phase, Provider, Renewal, Standing, TokenId, TokenStatus, Vault, VaultBuilder, WalletId,
};
use chrono::TimeDelta;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3600);
const LOGIN: (&str, &str) = ("POST", "/api/auth/v1/session");
const MINT: (&str, &str) = ("POST", "/user/accesstoken");
const LIST: (&str, &str) = ("GET", "/user/accesstoken");
const OWN_RECORD: (&str, &str) = ("GET", "/api/v2/user/session");

/// What lives an hour, spends up to `limit`, and looks.
fn plan(wallet: WalletId, limit: u128) -> CreateToken {
    plan_for(HOUR, wallet, limit)
}

fn plan_for(lifetime: Duration, wallet: WalletId, limit: u128) -> CreateToken {
    CreateToken::new(&Label::new("bot").unwrap(), lifetime)
        .scope("wallet_spend_all".parse().unwrap())
        .scope("wallet_view_all".parse().unwrap())
        .permitted_wallet(wallet)
        .spending_limit(&coin(), Amount::new(limit))
}

/// A vault that keeps such a token as `bot`, and no session.
async fn desk() -> Desk {
    desk_for(HOUR).await
}

async fn desk_for(lifetime: Duration) -> Desk {
    let desk = Desk::new().await;
    let plan = plan_for(lifetime, desk.wallet, 1000);
    desk.mint(plan.clone()).await;
    desk.vault.remove("desk").await.unwrap();
    desk.vault.reissue("bot", plan, desk.login()).await.unwrap();
    desk
}

fn bot(desk: &Desk) -> TokenStatus {
    desk.vault.status("bot").unwrap()
}

fn living(desk: &Desk) -> Vec<TokenId> {
    desk.bitgo.living("bot#")
}

fn minted(desk: &Desk) -> usize {
    desk.bitgo.requests("POST /api/v2/user/accesstoken")
}

fn fault(desk: &Desk, (method, path): (&str, &str), kind: FaultKind, times: u32) {
    desk.bitgo.inject(Fault::new(kind).on(method, path).times(times));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_minted_anew_and_the_former_revoked_once_it_is_drained() {
    let desk = desk().await;
    let first = bot(&desk);
    assert_eq!(first.renewal, Renewal::Reissue);
    desk.vault.send("bot", &desk.withdrawal(400)).await.unwrap();
    sleep(HOUR - Duration::from_secs(900) + Duration::from_secs(1)).await;
    until(|| bot(&desk).renewals == 1).await;
    let next = bot(&desk);
    assert_ne!(next.info.id, first.info.id);
    assert_eq!(living(&desk), [first.info.id, next.info.id], "what was signed is on its way");
    // What is left of the budget is what BitGo allows it, and what it may still spend.
    assert_eq!(next.info.spending_limits.get(&coin()).unwrap().limit, Some(Amount::new(600)));
    assert_eq!(next.counters[&coin()].left(), Some(Amount::new(600)));
    desk.vault.send("bot", &desk.withdrawal(601)).await.unwrap_err();
    desk.vault.send("bot", &desk.withdrawal(600)).await.unwrap();
    sleep(Duration::from_secs(61)).await;
    until(|| living(&desk) == [next.info.id]).await;
    // A day of it: one at a time, and each revoked.
    sleep(24 * HOUR).await;
    desk.vault.send("bot", &desk.view()).await.unwrap();
    assert!((30..=33).contains(&bot(&desk).renewals), "{}", bot(&desk).renewals);
    assert!(living(&desk).len() <= 2);
}

/// Wherever an attempt is cut off, the next opening leaves one living token: the one that is kept.
#[tokio::test(start_paused = true)]
async fn a_reissue_cut_off_at_any_step_leaves_one_token() {
    let never = || FaultKind::Delay(24 * HOUR);
    for (step, kind, attempts) in [
        (LOGIN, never(), 1),
        (LOGIN, FaultKind::DropAfterEffect, 1),
        (MINT, never(), 1),
        // Minted, and nobody has it.
        (MINT, FaultKind::DropAfterEffect, 2),
        (MINT, FaultKind::TornBody, 2),
        (MINT, FaultKind::BadHmac, 2),
        // Minted and not proven yet.
        (OWN_RECORD, never(), 2),
        // In use; the former is not revoked yet.
        (("DELETE", "/api/v2/user/accesstoken"), never(), 1),
    ] {
        let printed = format!("{step:?} {kind:?}");
        let desk = desk().await;
        let before = (bot(&desk).info.id, minted(&desk));
        fault(&desk, step, kind, 1);
        // Past the beginning of its window, and the drain of what was swapped.
        sleep(HOUR - Duration::from_secs(900) + Duration::from_millis(200)).await;
        if step.0 == "DELETE" {
            sleep(Duration::from_secs(70)).await;
        }
        let mut desk = desk.reopened_after(|| {}).await;
        desk.bitgo.clear_faults();
        let again = bot(&desk);
        assert_eq!(again.info.id == before.0, step.0 != "DELETE", "{printed}");
        desk.vault.provide_login("bot", desk.login()).unwrap();
        if again.info.id == before.0 {
            desk.vault.renew("bot").await.unwrap();
        }
        sleep(Duration::from_secs(70)).await;
        let kept = bot(&desk);
        assert_eq!((kept.last_error.clone(), kept.failures), (None, 0), "{printed}");
        assert_ne!(kept.info.id, before.0, "{printed}");
        until(|| living(&desk) == [kept.info.id]).await;
        let attempted = minted(&desk) - before.1;
        assert!(attempted <= attempts + usize::from(step == MINT), "{printed}: {attempted}");
        desk.vault.send("bot", &desk.view()).await.expect(&printed);
        desk = desk.reopened().await;
        assert_eq!(bot(&desk).info.id, kept.info.id, "{printed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_revoked_is_told_of_and_tried_again_and_another_is_minted() {
    let desk = desk().await;
    let mut events = desk.vault.events();
    let first = bot(&desk).info.id;
    fault(&desk, MINT, FaultKind::DropAfterEffect, 1);
    fault(&desk, LIST, FaultKind::Forbidden, 1);
    desk.vault.renew("bot").await.unwrap();
    desk.vault.renew("bot").await.unwrap();
    let kept = bot(&desk);
    assert_ne!(kept.info.id, first);
    assert_eq!(living(&desk).len(), 3, "the old one, the orphan and the new one");
    assert!(orphan_told(&mut events).await.starts_with("bot#"));
    // It is told of again, and found with the next login.
    let desk = desk.reopened().await;
    assert_eq!(living(&desk).len(), 3);
    desk.vault.login("desk", desk.login()).await.unwrap();
    sleep(Duration::from_secs(400)).await;
    until(|| living(&desk) == [kept.info.id]).await;
}

/// The last answer to a call, as the server gave it.
fn last_answer(desk: &Desk, (method, path): (&str, &str)) -> String {
    let fits = |exchange: &Exchange| exchange.method == method && exchange.target.ends_with(path);
    let last = desk.bitgo.traffic().into_iter().rfind(fits).unwrap();
    String::from_utf8(last.answer_body).unwrap()
}

/// Sessions are tried by their labels: one of another account is not, one that fails is no end.
#[tokio::test(start_paused = true)]
async fn an_orphan_is_ended_by_whichever_session_can() {
    let desk = desk().await;
    fault(&desk, MINT, FaultKind::DropAfterEffect, 1);
    fault(&desk, LIST, FaultKind::Forbidden, 1);
    desk.vault.renew("bot").await.unwrap();
    let kept = desk.vault.renew("bot").await.unwrap().info.id;

    desk.vault.login("own", desk.login()).await.unwrap();
    let answer = last_answer(&desk, LOGIN);
    let mut other: serde_json::Value = serde_json::from_str(&answer).unwrap();
    other["user"]["id"] = "5900f0f0f0f0f0f0f0f0f0f0f0f0f0f0".into();
    fault(&desk, LOGIN, FaultKind::Status(200, other.to_string()), 1);
    // What BitGo answers once more is the same token: it has one label.
    desk.vault.remove("own").await.unwrap();
    desk.vault.login("a-other", desk.login()).await.unwrap();
    let looked = || desk.bitgo.requests("GET /api/v2/user/accesstoken");
    let before = looked();
    sleep(Duration::from_secs(301)).await;
    assert_eq!((living(&desk).len(), looked()), (2, before), "the orphan, and what is kept");

    let dead = desk.vault.login("b-dead", desk.login()).await.unwrap();
    desk.bitgo.revoke(dead.info.id);
    desk.vault.login("c-good", desk.login()).await.unwrap();
    sleep(Duration::from_secs(301)).await;
    until(|| living(&desk) == [kept]).await;
    let dead = desk.vault.status("b-dead").unwrap().standing;
    assert_eq!(dead, Standing::Good, "it was asked, for nobody knew better");
}

/// A wall clock that runs ahead does not let a token live that was to be revoked.
#[tokio::test(start_paused = true)]
async fn a_former_token_is_over_only_by_both_clocks() {
    let desk = desk().await;
    let first = bot(&desk).info.id;
    let kept = desk.vault.renew("bot").await.unwrap().info.id;
    // Without its login nothing else is minted meanwhile.
    let desk = desk.reopened().await;
    let ahead = TimeDelta::hours(3);
    desk.clock.jump(ahead);
    desk.bitgo.set_clock_offset_ms(-ahead.num_milliseconds());
    let asked = desk.bitgo.requests("GET /api/v2/user/session");
    sleep(Duration::from_secs(400)).await;
    assert!(desk.bitgo.requests("GET /api/v2/user/session") > asked, "bitgo is asked for its time");
    assert!(living(&desk).contains(&first), "and nothing is over by the other clock alone");
    desk.clock.jump(-ahead);
    desk.bitgo.set_clock_offset_ms(0);
    sleep(Duration::from_secs(301)).await;
    until(|| living(&desk) == [kept]).await;
    assert_ne!(first, kept);
}

#[tokio::test(start_paused = true)]
async fn a_former_token_is_revoked_when_bitgo_asked_for_and_within_the_hour() {
    for (asked, waits) in [(600, 600), (99_999, 3600)] {
        let desk = desk_for(desk::DAY).await;
        let kept = desk.vault.renew("bot").await.unwrap().info.id;
        let asked_for = || desk.bitgo.requests("DELETE /api/v2/user/accesstoken");
        let revocation = ("DELETE", "/api/v2/user/accesstoken");
        fault(&desk, revocation, FaultKind::RetryAfter(asked), 1);
        sleep(Duration::from_secs(61)).await;
        until(|| asked_for() == 1).await;
        sleep(Duration::from_secs(waits - 10)).await;
        assert_eq!((asked_for(), living(&desk).len()), (1, 2), "{asked}");
        sleep(Duration::from_secs(20)).await;
        until(|| living(&desk) == [kept]).await;
    }
}

/// What is in use is not taken for its own successor, and then revoked as the former one.
#[tokio::test(start_paused = true)]
async fn a_mint_that_answers_with_a_token_that_is_known_revokes_nothing() {
    let desk = desk().await;
    let first = bot(&desk).info.id;
    let of_first = last_answer(&desk, MINT);
    let again = |answer: &str| fault(&desk, MINT, FaultKind::Status(200, answer.into()), 1);
    again(&of_first);
    let same = desk.vault.renew("bot").await.unwrap();
    let error = same.last_error.unwrap();
    assert_eq!(error, "the server gave the same token with the same end again");
    assert_eq!((same.info.id, same.need), (first, Some(Need::LookAtError)));
    sleep(Duration::from_secs(400)).await;
    assert_eq!(living(&desk), [first]);
    assert_eq!(desk.bitgo.requests("DELETE"), 0);
    desk.vault.send("bot", &desk.view()).await.unwrap();

    // Nor one that was replaced and is still to be revoked.
    let kept = desk.vault.renew("bot").await.unwrap().info.id;
    again(&of_first);
    let same = desk.vault.renew("bot").await.unwrap();
    assert_eq!((same.info.id, same.last_error), (kept, Some(error)));
    sleep(Duration::from_secs(400)).await;
    until(|| living(&desk) == [kept]).await;
}

/// The label under which a token was minted that is told of.
async fn orphan_told(events: &mut Events) -> String {
    loop {
        let event = events.next().await.unwrap();
        if let Event::Alarm { alarm: Alarm::Orphan { label, .. }, .. } = event {
            return label.into();
        }
    }
}

/// The client has given the call up, and looked for its token in vain.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_minted_late_is_found_and_revoked() {
    let desk = desk().await;
    let before = bot(&desk).info.id;
    fault(&desk, MINT, FaultKind::Late(Duration::from_secs(120)), 1);
    // Else the call would come by a session that has ended.
    fault(&desk, ("GET", "/user/logout"), FaultKind::DropBefore, 1);
    assert!(desk.vault.renew("bot").await.unwrap().last_error.is_some());
    let kept = desk.vault.renew("bot").await.unwrap();
    assert_eq!(kept.last_error, None);
    assert_eq!(living(&desk), [before, kept.info.id], "bitgo has not done it yet");
    sleep(Duration::from_secs(150)).await;
    until(|| living(&desk).len() == 2).await;
    desk.vault.login("desk", desk.login()).await.unwrap();
    sleep(Duration::from_secs(301)).await;
    until(|| living(&desk) == [kept.info.id]).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_never_minted_is_looked_for_no_longer_than_its_call_may_take() {
    let desk = desk().await;
    fault(&desk, MINT, FaultKind::DropBefore, 1);
    assert!(desk.vault.renew("bot").await.unwrap().last_error.is_some());
    assert_eq!(desk.vault.renew("bot").await.unwrap().last_error, None);
    desk.vault.login("desk", desk.login()).await.unwrap();
    let looked = |desk: &Desk| desk.bitgo.requests("GET /api/v2/user/accesstoken");
    let first = looked(&desk);
    sleep(Duration::from_secs(840)).await;
    assert!(looked(&desk) > first, "its call may be on its way");
    sleep(Duration::from_secs(600)).await;
    let last = looked(&desk);
    sleep(Duration::from_secs(900)).await;
    assert_eq!(looked(&desk), last);
}

#[tokio::test(start_paused = true)]
async fn a_mint_whose_token_is_removed_meanwhile_is_told_of_and_ended() {
    let desk = desk().await;
    let (mut events, first) = (desk.vault.events(), bot(&desk).info.id);
    fault(&desk, MINT, FaultKind::DropAfterEffect, 1);
    desk.vault.renew("bot").await.unwrap();
    assert_eq!(living(&desk).len(), 2);
    desk.vault.remove("bot").await.unwrap();
    assert!(orphan_told(&mut events).await.starts_with("bot#"));
    desk.vault.login("desk", desk.login()).await.unwrap();
    sleep(Duration::from_secs(301)).await;
    until(|| living(&desk) == [first]).await;
}

#[tokio::test(start_paused = true)]
async fn a_former_token_that_bitgo_does_not_revoke_is_told_of() {
    let desk = desk().await;
    let (mut events, first) = (desk.vault.events(), bot(&desk).info.id);
    fault(&desk, ("DELETE", "/api/v2/user/accesstoken"), FaultKind::Forbidden, 100);
    let kept = desk.vault.renew("bot").await.unwrap();
    loop {
        let event = events.next().await.unwrap();
        if let Event::Alarm { alarm: Alarm::FormerAlive { token_id, .. }, label, .. } = event {
            assert_eq!((token_id, label.unwrap().as_str()), (first, "bot"));
            break;
        }
    }
    assert_eq!(living(&desk), [first, kept.info.id]);
    desk.bitgo.clear_faults();
    sleep(Duration::from_secs(301)).await;
    until(|| living(&desk) == [kept.info.id]).await;
}

/// Each attempt is a login: whoever asks on locks the account.
#[tokio::test(start_paused = true)]
async fn a_mint_that_is_refused_is_not_tried_again_and_again() {
    let desk = desk().await;
    let logins = desk.bitgo.requests("POST /api/auth/v1/session");
    fault(&desk, MINT, FaultKind::Forbidden, 100);
    sleep(HOUR - Duration::from_secs(1)).await;
    assert_eq!((bot(&desk).need, bot(&desk).failures), (Some(Need::LookAtError), 1));
    assert_eq!(desk.bitgo.requests("POST /api/auth/v1/session"), logins + 1);
}

/// In true time: where it is paused, it runs ahead of a busy machine's sockets.
#[tokio::test]
async fn a_token_that_is_dead_already_is_minted_anew_at_once() {
    let desk = Desk::new().await;
    desk.mint(plan(desk.wallet, 1000)).await;
    desk.bitgo.revoke(bot(&desk).info.id);
    assert_eq!(desk.vault.send("bot", &desk.view()).await.unwrap().status(), 401);
    until(|| bot(&desk).standing == Standing::Revoked).await;
    desk.vault.reissue("bot", plan(desk.wallet, 1000), desk.login()).await.unwrap();
    until(|| bot(&desk).renewals == 1).await;
    desk.vault.send("bot", &desk.view()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_its_login_a_human_is_told_and_the_token_is_used_on() {
    let desk = desk().await.reopened().await;
    let mut events = desk.vault.events();
    let logins = desk.bitgo.requests("POST /api/auth/v1/session");
    sleep(HOUR - Duration::from_secs(120)).await;
    let status = bot(&desk);
    assert_eq!((status.phase, status.need), (Phase::Advisory, Some(Need::Login)));
    desk.vault.send("bot", &desk.view()).await.unwrap();
    let ending = events.next().await.unwrap();
    assert!(matches!(ending, Event::Alarm { alarm: Alarm::Ending { .. }, .. }), "{ending:?}");
    match events.next().await.unwrap() {
        Event::Alarm { alarm: Alarm::NeedsHuman { need, .. }, label, .. } => {
            assert_eq!((need, label.unwrap().as_str()), (Need::Login, "bot"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(desk.bitgo.requests("POST /api/auth/v1/session"), logins, "nobody was asked");
    desk.vault.provide_login("bot", desk.login()).unwrap();
    until(|| bot(&desk).renewals == 1).await;
    assert_eq!(bot(&desk).need, None);
}

#[tokio::test(start_paused = true)]
async fn a_one_time_password_that_is_refused_is_not_tried_again_and_again() {
    let desk = desk().await;
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let wrong = Provider::<Otp>::closure(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Otp::new("1234567"))
    });
    let login = Login::new(desk.bitgo.email(), desk.bitgo.password(), wrong);
    desk.vault.provide_login("bot", login).unwrap();
    sleep(HOUR - Duration::from_secs(1)).await;
    assert_eq!((bot(&desk).need, bot(&desk).failures), (Some(Need::OneTimePassword), 1));
    assert_eq!(asked.load(Ordering::Relaxed), 1, "in the 15 minutes of its window");
    // Nor does a restart try it.
    let desk = desk.reopened().await;
    let status = bot(&desk);
    assert_eq!((status.need, status.failures), (Some(Need::OneTimePassword), 1));
    desk.vault.provide_login("bot", desk.login()).unwrap();
    until(|| bot(&desk).renewals == 1).await;
}

#[tokio::test]
async fn only_a_long_lived_token_is_minted_anew_and_only_by_its_own_account() {
    let desk = Desk::new().await;
    let plan = plan(desk.wallet, 1);
    let refused = desk.vault.reissue("desk", plan.clone(), desk.login()).await.unwrap_err();
    assert!(matches!(refused, Error::NotReissuable { .. }));
    assert!(matches!(
        desk.vault.provide_login("desk", desk.login()).unwrap_err(),
        Error::NotRenewable { .. }
    ));
    let unfit = CreateToken::new(&Label::new("bot").unwrap(), HOUR);
    let refused = desk.vault.reissue("desk", unfit, desk.login()).await.unwrap_err();
    assert!(told(&refused).contains("no spending limit"), "{refused}");
}

const KILLS: u32 = 12;
const NAME: &str = "reissue::no_kill_leaves_a_token_that_nobody_has";

/// A process that reissues without end is killed at any moment.
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_leaves_a_token_that_nobody_has() {
    if let Some(given) = victim::given() {
        return reissue_until_killed(&given).await;
    }
    let bitgo = Emulator::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    let vault = options(&path, bitgo.environment()).create(passphrase()).await.unwrap();
    let login = || Login::new(bitgo.email(), bitgo.password(), bitgo.otp());
    vault.login("desk", login()).await.unwrap();
    let plan = plan(bitgo.wallet(&coin()), 1000);
    vault.issue("desk", plan.clone(), bitgo.otp()).await.unwrap();
    vault.remove("desk").await.unwrap();
    vault.reissue("bot", plan, login()).await.unwrap();
    vault.close().await.unwrap();
    let (place, password) = (path.display().to_string(), bitgo.password());
    let otp = bitgo.otp();
    let given =
        [&place, bitgo.url(), bitgo.server_xpub(), bitgo.email(), password.expose(), otp.expose()];
    let mut reissued = 0;
    for _ in 0..victim::kills(KILLS) {
        let child = Victim::start(NAME, &given);
        while child.hear() != "open" {}
        sleep(Duration::from_millis(random(1500))).await;
        reissued += child.kill().iter().filter(|line| *line == "reissued").count();
        let vault = options(&path, bitgo.environment()).unlock(passphrase()).await.unwrap();
        vault.provide_login("bot", login()).unwrap();
        let renewed = vault.renew("bot").await.unwrap();
        assert_eq!(renewed.last_error, None);
        until(|| bitgo.living("bot#") == [renewed.info.id]).await;
        vault.close().await.unwrap();
    }
    assert!(reissued > 0, "every child died before it could mint");
}

fn options(path: &Path, environment: &Environment) -> VaultBuilder {
    let options = desk::options(path, environment, &Arc::new(TokioClock::new()));
    // As long as a lease lives what was replaced is drained.
    options.lease_lifetime(Duration::from_millis(5))
}

async fn reissue_until_killed(given: &[String]) {
    let [path, url, xpub, email, password, otp] = given else { panic!("{given:?}") };
    let environment = Environment::custom(url, xpub).unwrap();
    let vault: Vault = options(Path::new(path), &environment).unlock(passphrase()).await.unwrap();
    let login = Login::new(email, LoginPassword::new(password.as_str()), Otp::new(otp.as_str()));
    vault.provide_login("bot", login).unwrap();
    say("open");
    loop {
        assert_eq!(vault.renew("bot").await.unwrap().last_error, None);
        say("reissued");
    }
}
