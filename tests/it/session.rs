//! Sessions unlocked, locked and ended by hand; whoever acts as the user is told of.

use crate::desk::{Desk, bot, coin, told};
use bitgo_vault::api::CreateToken;
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{Amount, AuditAction, Error, Otp, Provider, TokenId};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const UNLOCK: &str = "POST /api/v2/user/unlock";

async fn audited(desk: &Desk) -> Vec<(AuditAction, Option<TokenId>)> {
    crate::desk::audited(&desk.vault).await
}

fn limited(label: &str) -> CreateToken {
    bot(label).spending_limit(&coin(), Amount::new(10))
}

#[tokio::test]
async fn unlocking_never_removes_a_limit() {
    let desk = Desk::new().await;
    for (token, has_limits) in [
        (bot("free"), false),
        (limited("coin"), true),
        (bot("uncapped").dangerous_uncapped(&coin()), true),
        (bot("pool").all_erc20_tokens_limit(Amount::new(10)), true),
    ] {
        let label = token.label().to_owned();
        let id = desk.mint(token).await.info.id;
        let before = desk.bitgo.requests(UNLOCK);
        let unlocked = desk.vault.unlock_session(&label, desk.bitgo.otp(), MINUTE).await;
        match unlocked {
            Ok(until) => assert!(!has_limits && until.is_some(), "{label}"),
            Err(Error::HasLimits { label: of }) => assert!(has_limits && of.as_str() == label),
            Err(other) => panic!("{label}: {other}"),
        }
        assert_eq!(desk.bitgo.requests(UNLOCK) - before, usize::from(!has_limits), "{label}");

        // What takes them away says so, and is told of before.
        desk.vault
            .dangerous_unlock_removing_limits(&label, desk.bitgo.otp(), MINUTE)
            .await
            .unwrap();
        assert_eq!(audited(&desk).await.last(), Some(&(AuditAction::LimitsRemoved, Some(id))));
        desk.vault.lock_session(&label).await.unwrap();
        let again = desk.vault.unlock_session(&label, desk.bitgo.otp(), MINUTE).await;
        assert!(again.is_ok(), "{label}: there is nothing left to remove");
    }
}

#[tokio::test]
async fn a_pool_that_cannot_be_looked_up_is_not_removed() {
    let desk = Desk::new().await;
    desk.mint(bot("pool").all_erc20_tokens_limit(Amount::new(10))).await;
    desk.mint(bot("free")).await;
    desk.vault.remove("desk").await.unwrap();
    for label in ["pool", "free"] {
        let error = desk.vault.unlock_session(label, desk.bitgo.otp(), MINUTE).await.unwrap_err();
        assert!(matches!(error, Error::LimitsUnknown { .. }), "{label}: {error}");
    }
    assert_eq!(desk.bitgo.requests(UNLOCK), 0);
    desk.vault.login("desk", desk.login()).await.unwrap();
    desk.vault.unlock_session("free", desk.bitgo.otp(), MINUTE).await.unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_read_unlocks_nothing() {
    let desk = Desk::new().await;
    desk.mint(bot("free")).await;
    for (path, kind, expect) in [
        ("/user/session", FaultKind::BadHmac, "hmac wrong"),
        ("/user/session", FaultKind::Status(503, "{}".into()), "transient"),
        ("/user/session", FaultKind::Status(200, "{}".into()), "malformed"),
        ("/user/accesstoken", FaultKind::BadHmac, "hmac wrong"),
        ("/user/accesstoken", FaultKind::Status(503, "{}".into()), "transient"),
    ] {
        desk.bitgo.inject(Fault::new(kind.clone()).on("GET", path));
        let unlocked = desk.vault.unlock_session("free", desk.bitgo.otp(), MINUTE).await;
        assert_eq!(told(&unlocked.unwrap_err()), expect, "{path} {kind:?}");
        desk.bitgo.clear_faults();
    }
    let wrong = desk.vault.unlock_session("free", Otp::new("1"), MINUTE).await;
    assert_eq!(told(&wrong.unwrap_err()), "otp refused");
    let none = desk.vault.unlock_session("free", Otp::new(""), MINUTE).await;
    assert_eq!(told(&none.unwrap_err()), "otp");
    let silent = Provider::closure(|| Err("nobody is here".into()));
    let none = desk.vault.unlock_session("free", silent, MINUTE).await;
    assert_eq!(told(&none.unwrap_err()), "the closure brought nothing");
}

#[tokio::test]
async fn nothing_is_ever_unlocked_unasked() {
    let desk = Desk::new().await;
    desk.issue("bot", 10).await;
    desk.vault.send("bot", &desk.withdrawal(7)).await.unwrap();
    // The server has counted more than we have, and says so.
    desk.bitgo.inject(
        Fault::new(FaultKind::Status(401, r#"{"needsUnlock":true}"#.into()))
            .on("POST", "/initiate"),
    );
    let answer = desk.vault.send("bot", &desk.withdrawal(3)).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(desk.bitgo.requests(UNLOCK), 0);
}

#[tokio::test]
async fn a_session_that_is_ended_is_forgotten() {
    let desk = Desk::new().await;
    desk.vault.login("other", desk.login()).await.unwrap();
    desk.bitgo.inject(Fault::new(FaultKind::DropBefore).on("GET", "/user/logout"));
    assert_eq!(told(&desk.vault.logout("desk").await.unwrap_err()), "lost");
    assert!(desk.vault.status("desk").is_ok(), "it may live");
    assert_eq!(desk.bitgo.requests("GET /api/v2/user/logout"), 1, "asked once");
    desk.vault.logout("desk").await.unwrap();
    assert!(desk.vault.status("desk").is_err());
    let id = desk.vault.status("other").unwrap().info.id;
    desk.bitgo.revoke(id);
    desk.vault.logout("other").await.unwrap();
    assert!(desk.vault.list().is_empty(), "it had ended before");
}

#[tokio::test]
async fn to_end_a_session_forgets_no_other_that_took_its_label_meanwhile() {
    let desk = Desk::new().await;
    let slow = FaultKind::Delay(Duration::from_secs(4));
    desk.bitgo.inject(Fault::new(slow).on("GET", "/user/logout"));
    let vault = desk.vault.clone();
    let ended = tokio::spawn(async move { vault.logout("desk").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    desk.vault.remove("desk").await.unwrap();
    let other = desk.vault.login("desk", desk.login()).await.unwrap().info.id;
    assert!(!ended.is_finished(), "it is on its way all the while");
    ended.await.unwrap().unwrap();
    assert_eq!(desk.vault.status("desk").unwrap().info.id, other);
    desk.vault.send("desk", &desk.view()).await.unwrap();
}

#[tokio::test]
async fn whoever_acts_as_the_user_is_told_of() {
    let desk = Desk::empty(Emulator::builder()).await;
    desk.vault.login("own", desk.login()).await.unwrap();
    assert_eq!(audited(&desk).await, []);
    desk.bitgo.spoof(true);
    let session = desk.vault.login("desk", desk.login()).await.unwrap().info.id;
    let token = desk.issue("bot", 10).await.info.id;
    let internal = desk.vault.fetch_internal("desk", "internal").await.unwrap().info.id;
    let seen = [session, token, internal].map(|id| (AuditAction::SpooferSeen, Some(id)));
    assert_eq!(audited(&desk).await, seen);
    assert_eq!(audited(&desk.reopened().await).await, seen, "it is written down");
}

#[tokio::test]
async fn a_server_that_does_not_tell_who_acts_is_no_hindrance() {
    let desk = Desk::empty(Emulator::builder()).await;
    for kind in [FaultKind::Status(404, "{}".into()), FaultKind::Html, FaultKind::DropBefore] {
        desk.bitgo.inject(Fault::new(kind).on("GET", "/user/scopedsession"));
        desk.vault.login("desk", desk.login()).await.unwrap();
        desk.vault.remove("desk").await.unwrap();
    }
}
