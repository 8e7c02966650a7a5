//! A machine whose clock is wrong. Requests are dated by BitGo's once that is proven, and by nothing that
//! is merely said.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, passphrase, until};
use bitgo_vault::api::OauthClient;
use bitgo_vault::crypto::AuthVersion;
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{
    Alarm, ClientSecret, Error, Event, Events, Outcome, RefreshToken, Revocation, Standing,
    TokenStatus,
};
use chrono::TimeDelta;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const VERSIONS: [AuthVersion; 3] = [AuthVersion::V2, AuthVersion::V3, AuthVersion::V4];
const SEVEN_MINUTES: i64 = 420;
const ELEVEN_MINUTES: i64 = 660;

/// A vault that keeps nothing yet, on a machine whose clock is so many seconds behind BitGo's.
async fn desk(version: AuthVersion, behind: i64) -> Desk {
    let desk = Desk::empty(Emulator::builder()).await;
    set(&desk, 0, behind);
    let options = desk.options().auth_version(version);
    desk.reopened_with(options).await
}

/// Sets the machine's clock, from so many seconds behind BitGo's to so many; BitGo's goes on.
fn set(desk: &Desk, from: i64, to: i64) {
    desk.clock.jump(TimeDelta::seconds(from - to));
    desk.bitgo.set_clock_offset_ms(to * 1000);
}

/// How many requests BitGo has refused as not authorized.
fn refusals(desk: &Desk) -> usize {
    let traffic = desk.bitgo.traffic();
    traffic.iter().filter(|exchange| exchange.answer_head.starts_with(b"HTTP/1.1 401")).count()
}

async fn spend(desk: &Desk) -> Result<Outcome, Error> {
    let answer = desk.vault.send("bot", &desk.withdrawal(1)).await?;
    Ok(answer.outcome())
}

async fn spends(desk: &Desk) {
    assert_eq!(spend(desk).await.unwrap(), Outcome::Accepted);
}

/// Spends, refused for its date; BitGo is asked why, twice, and the token is fit for use again.
async fn is_refused_once(desk: &Desk) {
    let asked = asked(desk);
    let refused = spend(desk).await.unwrap_err();
    assert!(matches!(refused, Error::Untrusted(_)), "{refused}");
    let is_good = || desk.vault.status("bot").unwrap().standing == Standing::Good;
    until(|| self::asked(desk) >= asked + 2 && is_good()).await;
}

/// How often BitGo was asked for a token's own record.
fn asked(desk: &Desk) -> usize {
    desk.bitgo.requests("GET /api/v2/user/session")
}

/// Says how far ahead each alarm that came tells this machine's clock to be.
async fn told_of(events: &mut Events) -> Vec<i64> {
    let mut told = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::from_millis(50), events.next()).await {
        if let Event::Alarm { alarm: Alarm::ClockSkew { ahead, .. }, label: None, .. } = event {
            told.push(ahead.num_seconds());
        }
    }
    told
}

#[tokio::test]
async fn a_clock_that_is_wrong_from_the_first_login_is_made_up_for() {
    for version in VERSIONS {
        // By two minutes it is BitGo's answers that are refused.
        for (behind, refused) in [(SEVEN_MINUTES, 1), (-SEVEN_MINUTES, 1), (120, 0)] {
            let desk = desk(version, behind).await;
            desk.vault.login("desk", desk.login()).await.unwrap();
            assert_eq!(refusals(&desk), refused, "{behind}");
            desk.issue("bot", 10).await;
            spends(&desk).await;
            desk.vault.reconcile("bot").await.unwrap();
            assert_eq!(refusals(&desk), refused, "{behind}: none but the first");

            let options = desk.options().auth_version(version);
            let desk = desk.reopened_with(options).await;
            spends(&desk).await;
            assert_eq!(refusals(&desk), refused, "{behind}: it is remembered");
            assert_eq!(desk.used("bot"), 2);
        }
    }
}

#[tokio::test]
async fn nothing_is_used_of_an_answer_to_a_date_that_nobody_vouched_for() {
    let desk = desk(AuthVersion::V3, 0).await;
    desk.vault.login("desk", desk.login()).await.unwrap();
    desk.issue("bot", 10).await;
    set(&desk, 0, SEVEN_MINUTES);
    let desk = desk.reopened().await;
    for (questions, refused) in [(3, 1), (1, 0)] {
        let before = (asked(&desk), refusals(&desk));
        desk.vault.reconcile("bot").await.unwrap();
        let after = (asked(&desk), refusals(&desk));
        assert_eq!(after, (before.0 + questions, before.1 + refused));
    }
}

#[tokio::test]
async fn what_is_asked_for_once_waits_for_the_clock() {
    for behind in [SEVEN_MINUTES, -SEVEN_MINUTES] {
        for ending in ["revoke", "log out", "list"] {
            let desk = desk(AuthVersion::V3, 0).await;
            desk.vault.login("desk", desk.login()).await.unwrap();
            desk.issue("bot", 10).await;
            set(&desk, 0, behind);
            let desk = desk.reopened().await;
            match ending {
                "revoke" => {
                    let revoked = desk.vault.revoke("bot").await.unwrap();
                    assert_eq!(revoked, Revocation::Confirmed, "{behind}");
                }
                "log out" => desk.vault.logout("desk").await.unwrap(),
                _ => assert_eq!(desk.vault.remote_tokens("desk").await.unwrap().listed.len(), 1),
            }
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_too_wrong_costs_no_refresh_token() {
    let desk = desk(AuthVersion::V3, 0).await;
    let options = desk.options().dangerous_accept_tokens_in_clear();
    let desk = desk.reopened_with(options).await;
    let grant = desk.bitgo.grant_oauth().unwrap();
    let client = OauthClient::new(grant.client_id, ClientSecret::new(grant.client_secret));
    let token = RefreshToken::new(grant.refresh_token);
    desk.vault.sign_in_oauth("bot", client, token).await.unwrap();
    set(&desk, 0, ELEVEN_MINUTES);
    let options = desk.options().dangerous_accept_tokens_in_clear();
    let desk = desk.reopened_with(options).await;
    let rotated = desk.bitgo.requests("POST /oauth/token");
    let told = |status: TokenStatus| status.last_error.is_some_and(|told| told.contains("clock"));
    assert!(told(desk.vault.renew("bot").await.unwrap()));
    assert_eq!(desk.bitgo.requests("POST /oauth/token"), rotated);
    set(&desk, ELEVEN_MINUTES, 0);
    assert!(!told(desk.vault.renew("bot").await.unwrap()));
    assert_eq!(desk.bitgo.requests("POST /oauth/token"), rotated + 1);
}

#[tokio::test]
async fn a_clock_that_is_too_wrong_is_told_of() {
    for behind in [ELEVEN_MINUTES, -ELEVEN_MINUTES] {
        let desk = desk(AuthVersion::V3, behind).await;
        let mut events = desk.vault.events();
        for _ in 0..2 {
            let refused = desk.vault.login("desk", desk.login()).await.unwrap_err();
            let Error::ClockSkew { ahead } = refused else { panic!("{refused}") };
            assert!((ahead.num_seconds() + behind).abs() <= 2, "{ahead}");
        }
        let told = told_of(&mut events).await;
        assert_eq!(told.len(), 1, "once, however often: {told:?}");
        set(&desk, behind, 0);
        desk.vault.login("desk", desk.login()).await.unwrap();
        assert!(told_of(&mut events).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn no_token_is_lost_for_a_clock() {
    for behind in [ELEVEN_MINUTES, -ELEVEN_MINUTES] {
        let desk = desk(AuthVersion::V3, 0).await;
        desk.vault.login("desk", desk.login()).await.unwrap();
        desk.issue("bot", 10).await;
        set(&desk, 0, behind);
        let desk = desk.reopened().await;
        let mut events = desk.vault.events();
        let asked = asked(&desk);
        assert!(matches!(spend(&desk).await.unwrap_err(), Error::Untrusted(_)));
        until(|| self::asked(&desk) > asked).await;
        sleep(Duration::from_secs(50)).await;
        // One more reconciles.
        assert!(self::asked(&desk) <= asked + 2, "it is of no use to ask on");
        assert_eq!(desk.vault.status("bot").unwrap().standing, Standing::Suspect);
        assert_eq!(told_of(&mut events).await.len(), 1);
        set(&desk, behind, 0);
        // A clock that is set back puts the next question off, by so much at most.
        sleep(Duration::from_secs(15 * 60)).await;
        until(|| desk.vault.status("bot").unwrap().standing == Standing::Good).await;
        spends(&desk).await;
    }
}

#[tokio::test]
async fn a_clock_that_jumps_is_followed_wherever_it_goes() {
    let desk = desk(AuthVersion::V3, 0).await;
    desk.vault.login("desk", desk.login()).await.unwrap();
    desk.issue("bot", 100).await;
    let mut now = 0;
    // BitGo's time is known meanwhile, so that no distance is too far. Two minutes behind, the request is
    // fine, and its answer is not.
    for (behind, refused) in [
        (SEVEN_MINUTES, 2),
        (0, 2),
        (-SEVEN_MINUTES, 2),
        (3600, 2),
        (-3600, 2),
        (0, 2),
        (120, 0),
        (0, 2),
    ] {
        set(&desk, now, behind);
        now = behind;
        let before = refusals(&desk);
        is_refused_once(&desk).await;
        let refused = before + refused;
        assert_eq!(refusals(&desk), refused, "{behind}: the request, and the one that asked why");
        for _ in 0..3 {
            spends(&desk).await;
        }
        assert_eq!(refusals(&desk), refused, "{behind}");
    }
    let refused = refusals(&desk);
    let desk = desk.reopened().await;
    spends(&desk).await;
    assert_eq!(refusals(&desk), refused, "nothing is remembered of it");
}

#[tokio::test]
async fn an_answer_that_is_ahead_raises_no_alarm_of_the_token() {
    let desk = desk(AuthVersion::V3, 0).await;
    desk.vault.login("desk", desk.login()).await.unwrap();
    desk.issue("bot", 10).await;
    let mut events = desk.vault.events();
    set(&desk, 0, 120);
    is_refused_once(&desk).await;
    while let Ok(Some(event)) = timeout(Duration::from_millis(50), events.next()).await {
        assert!(!matches!(event, Event::Alarm { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn a_clock_that_drifts_is_followed_without_a_refusal() {
    for side in [1, -1] {
        let desk = desk(AuthVersion::V3, 0).await;
        desk.vault.login("desk", desk.login()).await.unwrap();
        desk.issue("bot", 100).await;
        for step in 1..8 {
            set(&desk, side * (step - 1) * 40, side * step * 40);
            spends(&desk).await;
            spends(&desk).await;
        }
        assert_eq!(refusals(&desk), 0);
    }
}

#[tokio::test]
async fn what_nobody_vouches_for_moves_nothing() {
    let desk = desk(AuthVersion::V3, 0).await;
    desk.vault.login("desk", desk.login()).await.unwrap();
    desk.issue("bot", 10).await;
    let desk = desk.reopened().await;
    // Somebody on the way has all refused by a date of his own, and answers what is dated so.
    desk.bitgo.set_clock_offset_ms(SEVEN_MINUTES * 1000);
    desk.bitgo.inject(Fault::new(FaultKind::NoHmac).times(u32::MAX));
    let asked = asked(&desk);
    assert!(matches!(spend(&desk).await.unwrap_err(), Error::Untrusted(_)));
    until(|| self::asked(&desk) >= asked + 4).await;
    desk.bitgo.clear_faults();
    desk.bitgo.set_clock_offset_ms(0);
    until(|| desk.vault.status("bot").unwrap().standing == Standing::Good).await;
    let refused = refusals(&desk);
    spends(&desk).await;
    let desk = desk.reopened().await;
    spends(&desk).await;
    assert_eq!(refusals(&desk), refused, "it was dated by this machine's clock all along");
}

#[tokio::test]
async fn the_clock_of_another_machine_does_not_come_with_a_backup() {
    let desk = desk(AuthVersion::V3, SEVEN_MINUTES).await;
    desk.vault.login("desk", desk.login()).await.unwrap();
    let desk = desk.reopened().await;
    let dir = tempfile::tempdir().unwrap();
    let (backup, copy) = (dir.path().join("backup"), dir.path().join("vault"));
    desk.vault.back_up(&backup).await.unwrap();
    set(&desk, SEVEN_MINUTES, 0);
    let options = crate::desk::options(&copy, desk.bitgo.environment(), &desk.clock);
    let restored = options.restore(&backup, passphrase()).await.unwrap();
    let refused = refusals(&desk);
    restored.send("desk", &desk.view()).await.unwrap();
    assert_eq!(refusals(&desk), refused);
    restored.close().await.unwrap();
}
