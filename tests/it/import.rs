//! A token that somebody has already is taken in on BitGo's word, and without it only views.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{DAY, Desk, audited, bot, options, passphrase, told, until};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{
    AccessToken, AuditAction, Error, Label, Outcome, Renewal, Request, Revocation, Standing,
    TokenId, TokenKind, TokenStatus,
};
use serde_json::json;
use std::time::Duration;

const RECORD: (&str, &str) = ("GET", "/api/v2/user/session");

/// A token that may spend up to `limit`, which the vault does not keep.
async fn stray(desk: &Desk, limit: u128) -> (TokenId, AccessToken) {
    let id = desk.issue("stray", limit).await.info.id;
    desk.vault.remove("stray").await.unwrap();
    (id, desk.newest())
}

/// BitGo cannot be asked about a token until its faults are cleared.
fn go_offline(desk: &Desk) {
    let fault = Fault::new(FaultKind::Status(503, "{}".into()));
    desk.bitgo.inject(fault.on(RECORD.0, RECORD.1).times(u32::MAX));
}

async fn import(desk: &Desk, label: &str, token: &AccessToken) -> Result<TokenStatus, Error> {
    desk.vault.import(label, AccessToken::new(token.expose())).await
}

/// One that may spend 1000, imported as `mm` while BitGo could not be asked.
async fn unverified() -> (Desk, TokenId) {
    let desk = Desk::new().await;
    let (id, token) = stray(&desk, 1000).await;
    go_offline(&desk);
    assert!(import(&desk, "mm", &token).await.unwrap().is_unverified);
    (desk, id)
}

async fn spend(desk: &Desk, amount: u128) -> String {
    match desk.vault.send("mm", &desk.withdrawal(amount)).await {
        Ok(answer) => format!("{:?}", answer.outcome()),
        Err(error) => told(&error),
    }
}

#[tokio::test]
async fn what_it_spent_before_counts() {
    let desk = Desk::with(Emulator::builder().without_limits()).await;
    desk.issue("mm", 1000).await;
    assert_eq!(spend(&desk, 300).await, "Accepted");
    desk.vault.remove("mm").await.unwrap();
    let token = desk.newest();
    let status = import(&desk, "mm", &token).await.unwrap();
    let info = &status.info;
    assert_eq!((info.kind, status.renewal), (TokenKind::Imported, Renewal::Manual));
    assert!(!status.is_unverified && info.expires_at.is_some());
    assert_eq!(desk.used("mm"), 300);
    let noted = audited(&desk.vault).await;
    assert!(noted.contains(&(AuditAction::Imported, Some(info.id))), "{noted:?}");
    assert_eq!(spend(&desk, 701).await, "denied by limit");
    assert_eq!(spend(&desk, 700).await, "Accepted");
    assert_eq!(desk.spent(), 1000);
}

#[tokio::test]
async fn a_token_without_a_limit_is_imported_and_spends_nothing() {
    let desk = Desk::new().await;
    desk.mint(bot("stray").scope("wallet_spend_all".parse().unwrap())).await;
    desk.vault.remove("stray").await.unwrap();
    import(&desk, "mm", &desk.newest()).await.unwrap();
    assert_eq!(spend(&desk, 1).await, "denied by no-limit");
}

#[tokio::test]
async fn a_token_that_bitgo_could_not_be_asked_about_only_views() {
    for kind in [
        FaultKind::Status(503, "{}".into()),
        FaultKind::RetryAfter(1),
        FaultKind::Reset,
        FaultKind::DropBefore,
        FaultKind::TornBody,
    ] {
        let printed = format!("{kind:?}");
        let desk = Desk::new().await;
        let token =
            desk.mint(desk.spender("stray", 1000).scope("wallet_view_all".parse().unwrap()));
        let id = token.await.info.id;
        desk.vault.remove("stray").await.unwrap();
        desk.bitgo.inject(Fault::new(kind).on(RECORD.0, RECORD.1));
        let status = import(&desk, "mm", &desk.newest()).await.unwrap();
        assert!(status.is_unverified && status.info.id != id, "{printed}");
        assert_eq!(status.info.kind, TokenKind::Unverified);

        let viewed = desk.vault.send("mm", &desk.view()).await.unwrap();
        assert_eq!((viewed.status(), viewed.is_verified()), (200, true), "{printed}");
        let build = format!("/api/v2/tbtc/wallet/{}/tx/build", desk.wallet);
        let recipients = json!([{"address": "tb1qexample", "amount": "1"}]);
        let build = Request::post(&build).json(&json!({ "recipients": recipients })).unwrap();
        for denied in [&desk.withdrawal(1), &build] {
            let error = desk.vault.lease("mm", denied).map(drop).unwrap_err();
            assert_eq!(told(&error), "denied by unverified", "{printed}");
        }
        desk.vault.dangerous_allow_raw_exposure("mm", passphrase()).await.unwrap();
        let view = desk.view();
        let exposed = desk.vault.lease("mm", &view).unwrap().expose_token().await;
        assert_eq!(told(&exposed.map(drop).unwrap_err()), "denied by unverified", "{printed}");
        assert_eq!(desk.spent(), 0);

        let status = desk.vault.reconcile("mm").await.unwrap();
        assert_eq!((status.is_unverified, status.info.id), (false, id), "{printed}");
        assert!(status.rules.raw_exposure, "its rules stay");
        assert_eq!(spend(&desk, 1001).await, "denied by limit", "{printed}");
        assert_eq!(spend(&desk, 1000).await, "Accepted", "{printed}");
        let noted = audited(&desk.vault).await;
        assert_eq!(noted.last(), Some(&(AuditAction::Verified, Some(id))), "{printed}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_refusal() {
    let desk = Desk::new().await;
    let (_, token) = stray(&desk, 1000).await;
    desk.bitgo.restart(Duration::from_secs(3600)).await;
    assert!(import(&desk, "mm", &token).await.unwrap().is_unverified);
    let refused = desk.vault.reconcile("mm").await.unwrap_err();
    assert_eq!(told(&refused), "unreachable");
    assert!(desk.vault.status("mm").unwrap().is_unverified);
}

#[tokio::test]
async fn what_bitgo_refuses_is_not_kept() {
    let desk = Desk::new().await;
    let before = audited(&desk.vault).await.len();
    let (revoked, token) = stray(&desk, 1000).await;
    desk.bitgo.revoke(revoked);
    assert_eq!(told(&import(&desk, "mm", &token).await.unwrap_err()), "dead");
    let unknown = AccessToken::new(format!("v2x{}", "ab".repeat(32)));
    import(&desk, "mm", &unknown).await.unwrap_err();
    let (_, token) = stray(&desk, 1000).await;
    for kind in [FaultKind::BadHmac, FaultKind::Html, FaultKind::Unsigned(401, "{}".into())] {
        desk.bitgo.inject(Fault::new(kind).on(RECORD.0, RECORD.1));
        import(&desk, "mm", &token).await.unwrap_err();
    }
    assert!(desk.vault.status("mm").is_err());
    assert_eq!(audited(&desk.vault).await.len(), before);
    // A clock that is ten minutes off is no reason to refuse it.
    desk.bitgo.set_clock_offset_ms(600_000);
    assert!(!import(&desk, "mm", &token).await.unwrap().is_unverified);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_ended_is_not_kept() {
    let desk = Desk::new().await;
    let (_, token) = stray(&desk, 1000).await;
    tokio::time::sleep(DAY + Duration::from_secs(1)).await;
    assert_eq!(told(&import(&desk, "mm", &token).await.unwrap_err()), "dead");
    assert!(desk.vault.status("mm").is_err());
}

#[tokio::test]
async fn one_token_has_one_label_and_one_label_one_token() {
    let desk = Desk::new().await;
    desk.issue("mm", 1000).await;
    let token = desk.newest();
    let taken = import(&desk, "mm", &token).await.unwrap_err();
    assert!(matches!(taken, Error::LabelTaken { .. }), "{taken}");
    let kept = |error: Error, expect: &str| match error {
        Error::KeptAlready { label } => assert_eq!(label.as_str(), expect),
        other => panic!("{other}"),
    };
    kept(import(&desk, "other", &token).await.unwrap_err(), "mm");

    desk.vault.remove("mm").await.unwrap();
    let (one, other) = tokio::join!(import(&desk, "mm", &token), import(&desk, "mm", &token));
    assert!(one.is_ok() != other.is_ok());
    desk.vault.remove("mm").await.unwrap();

    // Nobody can tell that they are the same until BitGo says so.
    go_offline(&desk);
    for label in ["mm", "other"] {
        assert!(import(&desk, label, &token).await.unwrap().is_unverified);
    }
    desk.bitgo.clear_faults();
    desk.vault.reconcile("mm").await.unwrap();
    kept(desk.vault.reconcile("other").await.unwrap_err(), "mm");
    let denied = desk.vault.send("other", &desk.withdrawal(1)).await.unwrap_err();
    assert_eq!(told(&denied), "denied by unverified");
}

/// What came back by a restore may have been verified, and have spent, since the backup.
#[tokio::test(start_paused = true)]
async fn one_that_came_back_unverified_spends_once_nothing_can_be_on_its_way() {
    let (desk, id) = unverified().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let (backup, path) = (elsewhere.path().join("backup"), elsewhere.path().join("vault"));
    desk.vault.back_up(&backup).await.unwrap();
    desk.bitgo.clear_faults();
    desk.vault.reconcile("mm").await.unwrap();
    let whole = desk.withdrawal(1000);
    let signed = desk.vault.lease("mm", &whole).unwrap().sign().unwrap();

    let restored = options(&path, desk.bitgo.environment(), &desk.clock);
    let restored = restored.restore(&backup, passphrase()).await.unwrap();
    let early = restored.reconcile("mm").await.unwrap_err();
    assert_eq!(told(&early), "denied by unreconciled");
    let status = restored.status("mm").unwrap();
    assert_eq!((status.is_unverified, status.is_unreconciled, status.info.id), (false, true, id));
    let denied = restored.send("mm", &whole).await.unwrap_err();
    assert_eq!(told(&denied), "denied by unreconciled");

    // By itself, once what was signed is too old to be taken.
    tokio::time::sleep(Duration::from_secs(660)).await;
    until(|| !restored.status("mm").unwrap().is_unreconciled).await;
    let answer = restored.send("mm", &whole).await.unwrap();
    assert_eq!(answer.outcome(), Outcome::Accepted);
    drop(signed);
}

/// BitGo answers with the same internal token while that is young, whoever asks.
#[tokio::test(start_paused = true)]
async fn one_token_has_one_ledger_whichever_way_it_comes() {
    let life = Duration::from_secs(600);
    let desk = Desk::with(Emulator::builder().internal_lifetime(life)).await;
    let fetch = |label| desk.vault.fetch_internal("desk", label);
    let kept = |error: Error, expect: &str| match error {
        Error::KeptAlready { label } => assert_eq!(label.as_str(), expect),
        other => panic!("{other}"),
    };
    let id = fetch("one").await.unwrap().info.id;
    let token = desk.newest();
    kept(fetch("other").await.unwrap_err(), "one");
    assert!(desk.vault.status("other").is_err());
    desk.vault.remove("one").await.unwrap();
    import(&desk, "imported", &token).await.unwrap();
    kept(fetch("one").await.unwrap_err(), "imported");
    desk.vault.remove("imported").await.unwrap();
    assert_eq!(fetch("one").await.unwrap().info.id, id);

    // Another has its successor by the time that it is renewed.
    tokio::time::sleep(Duration::from_secs(310)).await;
    assert_ne!(fetch("other").await.unwrap().info.id, id);
    let renewed = desk.vault.renew("one").await.unwrap();
    let why = Error::KeptAlready { label: Label::new("other").unwrap() }.to_string();
    assert_eq!((renewed.info.id, renewed.last_error), (id, Some(why)));
}

#[tokio::test(start_paused = true)]
async fn it_is_as_unverified_after_a_restart_and_verified_by_itself() {
    let (desk, id) = unverified().await;
    let desk = desk.reopened().await;
    assert!(desk.vault.status("mm").unwrap().is_unverified);
    assert_eq!(spend(&desk, 1).await, "denied by unverified");
    assert_eq!(told(&desk.vault.reconcile("mm").await.unwrap_err()), "transient");
    desk.bitgo.clear_faults();
    let desk = desk.reopened().await;
    let status = desk.vault.status("mm").unwrap();
    assert!(status.is_unverified && status.failures >= 2, "{status:?}");
    tokio::time::sleep(Duration::from_secs(20)).await;
    until(|| !desk.vault.status("mm").unwrap().is_unverified).await;
    let status = desk.vault.status("mm").unwrap();
    assert_eq!((status.info.id, status.failures, status.last_error), (id, 0, None));
    let desk = desk.reopened().await;
    assert_eq!(desk.vault.status("mm").unwrap().failures, 0);
    assert_eq!(spend(&desk, 1000).await, "Accepted");
}

fn asked(desk: &Desk) -> usize {
    desk.bitgo.requests("GET /api/v2/user/session")
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_started_again_and_again_does_not_ask_each_time() {
    let (mut desk, _) = unverified().await;
    let before = asked(&desk);
    for _ in 0..12 {
        desk = desk.reopened().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let times = asked(&desk) - before;
    assert!(times <= 3, "{times} times in 0.6 s");

    // What BitGo asks for is waited for.
    desk.bitgo.clear_faults();
    let busy = Fault::new(FaultKind::RetryAfter(1200)).on(RECORD.0, RECORD.1);
    desk.bitgo.inject(busy.times(u32::MAX));
    assert_eq!(told(&desk.vault.reconcile("mm").await.unwrap_err()), "rate limited");
    let before = asked(&desk);
    for _ in 0..3 {
        desk = desk.reopened().await;
        tokio::time::sleep(Duration::from_secs(360)).await;
    }
    assert_eq!(asked(&desk), before);
    desk.bitgo.clear_faults();
    tokio::time::sleep(Duration::from_secs(360)).await;
    until(|| !desk.vault.status("mm").unwrap().is_unverified).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_somebody_refuses_unsigned_is_asked_about_seldom() {
    let (desk, _) = unverified().await;
    desk.bitgo.clear_faults();
    let refused = Fault::new(FaultKind::Unsigned(401, "{}".into())).on(RECORD.0, RECORD.1);
    desk.bitgo.inject(refused.times(u32::MAX));
    let before = asked(&desk);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let times = asked(&desk) - before;
    assert!((2..=6).contains(&times), "{times} times in an hour");
    assert_eq!(desk.vault.status("mm").unwrap().standing, Standing::Revoked);
    desk.bitgo.clear_faults();
    tokio::time::sleep(Duration::from_secs(1300)).await;
    until(|| !desk.vault.status("mm").unwrap().is_unverified).await;
}

#[tokio::test]
async fn to_renew_it_is_to_verify_it() {
    let (desk, id) = unverified().await;
    desk.bitgo.clear_faults();
    assert_eq!(desk.vault.renew("mm").await.unwrap().info.id, id);
    let refused = desk.vault.renew("mm").await.unwrap_err();
    assert!(matches!(refused, Error::NotRenewable { .. }), "from here on it is any other");
}

#[tokio::test]
async fn one_that_turns_out_to_be_dead_does_not_even_view() {
    let (desk, id) = unverified().await;
    desk.bitgo.clear_faults();
    desk.bitgo.revoke(id);
    assert_eq!(told(&desk.vault.reconcile("mm").await.unwrap_err()), "dead");
    until(|| desk.vault.status("mm").unwrap().standing == Standing::Revoked).await;
    let denied = desk.vault.send("mm", &desk.view()).await.unwrap_err();
    assert_eq!(told(&denied), "denied by revoked");
}

#[tokio::test]
async fn it_is_revoked_by_the_id_that_bitgo_knows() {
    let (desk, id) = unverified().await;
    desk.bitgo.clear_faults();
    assert_eq!(desk.bitgo.living("stray"), [id]);
    assert_eq!(desk.vault.revoke("mm").await.unwrap(), Revocation::Confirmed);
    assert_eq!(desk.bitgo.living("stray"), []);
    assert!(desk.vault.status("mm").is_err());
}

#[tokio::test]
async fn a_session_that_was_imported_is_revoked_by_logging_out() {
    let desk = Desk::new().await;
    let session = desk.newest();
    desk.vault.remove("desk").await.unwrap();
    import(&desk, "mm", &session).await.unwrap();
    let not_found = FaultKind::Status(404, "{}".into());
    desk.bitgo.inject(Fault::new(not_found).on("DELETE", "/api/v2/user/accesstoken"));
    assert_eq!(desk.vault.revoke("mm").await.unwrap(), Revocation::Confirmed);
    assert_eq!(told(&import(&desk, "mm", &session).await.unwrap_err()), "dead");
}

#[tokio::test]
async fn after_a_login_it_is_minted_anew() {
    let desk = Desk::new().await;
    let (former, token) = stray(&desk, 1000).await;
    let dir = tempfile::tempdir().unwrap();
    // One that knows nothing of the account.
    let other = options(&dir.path().join("vault"), desk.bitgo.environment(), &desk.clock);
    let other = other.create(passphrase()).await.unwrap();
    other.import("mm", token).await.unwrap();
    other.login("desk", desk.login()).await.unwrap();
    other.reissue("mm", desk.spender("mm", 1000), desk.login()).await.unwrap();
    let status = other.renew("mm").await.unwrap();
    assert_eq!((status.last_error, status.renewals), (None, 1));
    assert_ne!(status.info.id, former);
    let answer = other.send("mm", &desk.withdrawal(1)).await.unwrap();
    assert_eq!(answer.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn one_that_cannot_sign_is_taken_where_that_was_chosen_alone() {
    let desk = Desk::empty(Emulator::builder().with_older_tokens()).await;
    let older = AccessToken::new("ab".repeat(32));
    let refused = import(&desk, "mm", &older).await.unwrap_err();
    assert!(matches!(refused, Error::CannotSign), "{refused}");
    assert_eq!(desk.bitgo.requests(""), 0, "it went nowhere");

    let options = desk.options().dangerous_accept_tokens_in_clear();
    let desk = desk.reopened_with(options).await;
    desk.vault.login("desk", desk.login()).await.unwrap();
    let session = AccessToken::new(desk.bitgo.secrets().swap_remove(0));
    desk.vault.remove("desk").await.unwrap();
    let status = import(&desk, "mm", &session).await.unwrap();
    assert!(status.info.issued_in_clear && !status.is_unverified);
}
