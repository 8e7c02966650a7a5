//! Revocation: denied here at once, asked for at BitGo until it is confirmed.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, audited, passphrase, told, until};
use bitgo_vault::api::{ApiError, Auth, Client, ClientSettings};
use bitgo_vault::crypto::{AuthKey, AuthVersion};
use bitgo_vault::emulator::{Fault, FaultKind};
use bitgo_vault::{AccessToken, AuditAction, Event, Label, Revocation, TokenId};
use std::time::Duration;

const REVOKED: &str = "denied by revoked";

async fn desk() -> (Desk, TokenId) {
    let desk = Desk::new().await;
    let bot = desk.spender("bot", 1000).scope("wallet_view_all".parse().unwrap());
    let id = desk.mint(bot).await.info.id;
    (desk, id)
}

fn delete(id: TokenId) -> String {
    format!("/api/v2/user/accesstoken/{id}")
}

fn asked(desk: &Desk, id: TokenId) -> usize {
    desk.bitgo.requests(&format!("DELETE {}", delete(id)))
}

/// Whether BitGo takes the token still.
async fn is_alive(desk: &Desk, token: &AccessToken) -> bool {
    let clock = desk.clock.clone();
    let client = Client::new(desk.bitgo.environment(), clock, ClientSettings::default()).unwrap();
    match client.session(Auth::Hmac(&AuthKey::new(token), AuthVersion::V3)).await {
        Ok(_) => true,
        Err(ApiError::TokenDead(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_revoked_token_is_dead_at_bitgo_and_forgotten_here() {
    let (desk, id) = desk().await;
    desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.unwrap();
    let (view, spend) = (desk.view(), desk.withdrawal(5));
    let token = desk.vault.lease("bot", &view).unwrap().expose_token().await.unwrap();
    desk.vault.forbid_raw_exposure("bot").await.unwrap();
    assert!(is_alive(&desk, &token).await);
    let before = audited(&desk.vault).await.len();
    let (lease, late) = (desk.vault.lease("bot", &view).unwrap(), desk.vault.lease("bot", &spend));
    assert_eq!(told(&late.map(drop).unwrap_err()), "denied by limit", "it was handed out");
    let mut events = desk.vault.events();
    let signed = desk.vault.lease("bot", &view).unwrap().sign().unwrap();
    assert_eq!(desk.vault.revoke("bot").await.unwrap(), Revocation::Confirmed);
    assert!(!is_alive(&desk, &token).await, "handed out or not");
    lease.sign().map(drop).unwrap_err();
    drop(signed);
    let gone = desk.vault.status("bot").unwrap_err();
    assert_eq!(told(&gone), "no token is kept as bot: issue it, or list the labels");
    match events.next().await.unwrap() {
        Event::Revoked { label, token_id, .. } => {
            assert_eq!((label, token_id), (Label::new("bot").unwrap(), id));
        }
        other => panic!("{other:?}"),
    }
    let expect = [(AuditAction::RevocationAsked, Some(id)), (AuditAction::Revoked, Some(id))];
    assert_eq!(audited(&desk.vault).await[before..], expect);
    let desk = desk.reopened().await;
    assert!(desk.vault.status("bot").is_err());
    // Its label is free again.
    desk.issue("bot", 10).await;
}

#[tokio::test]
async fn what_bitgo_does_not_confirm_is_denied_here_and_asked_for_again() {
    let (desk, id) = desk().await;
    let mut events = desk.vault.events();
    desk.bitgo
        .inject(Fault::new(FaultKind::Status(503, "{}".into())).on("DELETE", &delete(id)).times(2));
    assert_eq!(desk.vault.revoke("bot").await.unwrap(), Revocation::Pending);
    let status = desk.vault.status("bot").unwrap();
    assert!(status.is_revoked);
    for request in [desk.view(), desk.withdrawal(1)] {
        assert_eq!(told(&desk.vault.lease("bot", &request).map(drop).unwrap_err()), REVOKED);
        assert_eq!(told(&desk.vault.send("bot", &request).await.unwrap_err()), REVOKED);
    }
    match events.next().await.unwrap() {
        Event::RevocationFailed { label, error, .. } => {
            assert_eq!(label.as_str(), "bot");
            assert!(error.starts_with("the server cannot answer now"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    until(|| desk.vault.status("bot").is_err()).await;
    assert_eq!(asked(&desk, id), 3);
    desk.vault.close().await.unwrap();
}

/// A vault that is closed over it asks again when it is opened; one that is frozen too.
#[tokio::test]
async fn a_revocation_goes_on_after_reopening() {
    let (desk, id) = desk().await;
    desk.bitgo
        .inject(Fault::new(FaultKind::Status(503, "{}".into())).on("DELETE", &delete(id)).times(2));
    assert_eq!(desk.vault.revoke("bot").await.unwrap(), Revocation::Pending);
    desk.vault.freeze().await.unwrap();
    let desk = desk.reopened().await;
    until(|| desk.vault.status("bot").is_err()).await;
    let expect = [
        (AuditAction::RevocationAsked, Some(id)),
        (AuditAction::Frozen, None),
        (AuditAction::Revoked, Some(id)),
    ];
    assert_eq!(audited(&desk.vault).await, expect);
}

#[tokio::test]
async fn a_token_revokes_itself_where_no_session_is_left() {
    let (desk, id) = desk().await;
    desk.vault.logout("desk").await.unwrap();
    assert_eq!(desk.vault.revoke("bot").await.unwrap(), Revocation::Confirmed);
    assert_eq!((asked(&desk, id), desk.vault.list()), (1, Vec::new()));
}

#[tokio::test]
async fn a_session_is_logged_out_and_one_that_is_dead_already_confirmed() {
    let (desk, id) = desk().await;
    // Revoked by somebody else: not found by the session, and dead by its own word.
    desk.bitgo.revoke(id);
    assert_eq!(desk.vault.revoke("bot").await.unwrap(), Revocation::Confirmed);
    let session = desk.vault.status("desk").unwrap().info.id;
    desk.bitgo.revoke(session);
    assert_eq!(desk.vault.revoke("desk").await.unwrap(), Revocation::Confirmed);
    assert!(desk.vault.list().is_empty());
}

/// What anybody on the way could say confirms nothing.
#[tokio::test]
async fn a_word_that_is_not_bitgos_confirms_nothing() {
    let (desk, id) = desk().await;
    desk.vault.logout("desk").await.unwrap();
    desk.bitgo.inject(Fault::new(FaultKind::BadHmac).times(1000));
    assert_eq!(desk.vault.revoke("bot").await.unwrap(), Revocation::Pending);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(desk.vault.status("bot").unwrap().is_revoked);
    desk.bitgo.clear_faults();
    until(|| desk.vault.status("bot").is_err()).await;
    assert!(asked(&desk, id) > 1);
}

/// A renewal neither takes place nor brings a successor that is not revoked.
#[tokio::test]
async fn a_token_that_is_being_revoked_is_renewed_no_more() {
    let desk = Desk::new().await;
    let id = desk.vault.fetch_internal("desk", "internal").await.unwrap().info.id;
    desk.bitgo
        .inject(Fault::new(FaultKind::Status(503, "{}".into())).on("DELETE", &delete(id)).times(1));
    assert_eq!(desk.vault.revoke("internal").await.unwrap(), Revocation::Pending);
    let status = desk.vault.status("internal").unwrap();
    assert!(status.is_revoked && status.info.id == id && status.renewals == 0);
    until(|| desk.vault.status("internal").is_err()).await;
}
