//! What BitGo lists for an account, told apart by what is kept here.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, bot, told};
use bitgo_vault::api::{Auth, Client, ClientSettings};
use bitgo_vault::crypto::{AuthKey, AuthVersion};
use bitgo_vault::emulator::{Fault, FaultKind};
use bitgo_vault::{AccessToken, Error, Label};

/// More than one page of 200.
const OTHERS: usize = 205;

fn labels(labels: &[Label]) -> Vec<&str> {
    labels.iter().map(Label::as_str).collect()
}

/// Mints tokens that the vault knows nothing of.
async fn mint_elsewhere(desk: &Desk) {
    let settings = ClientSettings::default();
    let client = Client::new(desk.bitgo.environment(), desk.clock.clone(), settings).unwrap();
    let key = AuthKey::new(&AccessToken::new(desk.bitgo.secrets().swap_remove(0)));
    for number in 0..OTHERS {
        let token = bot(&format!("other {number}"));
        let auth = Auth::Hmac(&key, AuthVersion::V3);
        client.create_token(auth, &token, &desk.bitgo.otp()).await.unwrap();
    }
}

#[tokio::test]
async fn every_page_is_told_with_what_is_kept_here() {
    let desk = Desk::new().await;
    let first = desk.issue("first", 1000).await;
    mint_elsewhere(&desk).await;
    let last = desk.issue("last", 1000).await;
    let remote = desk.vault.remote_tokens("desk").await.unwrap();
    assert_eq!(remote.listed.len(), OTHERS + 2);
    assert!(desk.bitgo.requests("GET /api/v2/user/accesstoken") >= 2);
    let kept: Vec<_> = remote.listed.iter().filter(|token| token.kept_as.is_some()).collect();
    let ids: Vec<_> = kept.iter().map(|token| token.info.id).collect();
    assert_eq!(ids, [first.info.id, last.info.id], "from the first page and the last");
    assert_eq!(kept[1].kept_as.as_ref().map(Label::as_str), Some("last"));
    assert!(kept[1].label.as_deref().unwrap().starts_with("last#"));
    assert_eq!(kept[1].info.spending_limits, last.info.spending_limits);
    assert_eq!(remote.listed[1].label.as_deref(), Some("other 0"));
    assert_eq!(labels(&remote.gone), [""; 0], "the session is in no list");
}

#[tokio::test]
async fn what_is_dead_at_bitgo_is_gone() {
    let desk = Desk::new().await;
    for label in ["lives", "revoked", "imported", "imported and revoked"] {
        let id = desk.issue(label, 1000).await.info.id;
        if label.starts_with("imported") {
            let token = desk.newest();
            desk.vault.remove(label).await.unwrap();
            desk.vault.import(label, token).await.unwrap();
        }
        if label.ends_with("revoked") {
            desk.bitgo.revoke(id);
        }
    }
    desk.vault.fetch_internal("desk", "internal").await.unwrap();
    desk.vault.login("other session", desk.login()).await.unwrap();
    let session = desk.newest();
    desk.vault.remove("other session").await.unwrap();
    desk.vault.import("imported session", session).await.unwrap();
    let remote = desk.vault.remote_tokens("desk").await.unwrap();
    assert_eq!(labels(&remote.gone), ["imported and revoked", "revoked"]);
    let kept = remote.listed.iter().filter_map(|token| token.kept_as.as_ref());
    let kept: Vec<_> = kept.map(Label::as_str).collect();
    assert_eq!(kept, ["lives", "imported"]);
}

/// A token that was minted a moment ago, or under another account, may stand in no list.
#[tokio::test]
async fn what_lives_is_not_gone_though_it_is_not_listed() {
    let desk = Desk::new().await;
    desk.issue("lives", 1000).await;
    let none = FaultKind::Status(200, r#"{"accessTokens":[]}"#.into());
    desk.bitgo.inject(Fault::new(none).on("GET", "/api/v2/user/accesstoken"));
    let remote = desk.vault.remote_tokens("desk").await.unwrap();
    assert_eq!((remote.listed.len(), labels(&remote.gone)), (0, vec![]));
}

#[tokio::test]
async fn half_a_list_is_none() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    for (kind, expect) in
        [(FaultKind::Status(503, "{}".into()), "transient"), (FaultKind::BadHmac, "hmac wrong")]
    {
        desk.bitgo.inject(Fault::new(kind).on("GET", "/api/v2/user/accesstoken"));
        assert_eq!(told(&desk.vault.remote_tokens("desk").await.unwrap_err()), expect);
    }
    let unknown = desk.vault.remote_tokens("nobody").await.unwrap_err();
    assert!(matches!(unknown, Error::NoSuchToken { .. }), "{unknown}");
}
