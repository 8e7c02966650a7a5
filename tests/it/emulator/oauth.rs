//! OAuth: the refresh token rotates.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use super::visitor::{SESSION, Visitor};
use bitgo_vault::AccessToken;
use bitgo_vault::api::RequestId;
use bitgo_vault::crypto::AuthKey;
use bitgo_vault::emulator::{Fault, FaultKind, OauthGrant};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

async fn post(visitor: &Visitor, kind: &'static str, body: String) -> (u16, Value) {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, kind.parse().unwrap());
    let id = RequestId::random().unwrap();
    let raw = visitor.client.dispatch(Method::POST, "/oauth/token", headers, body.into(), id);
    let raw = raw.await.unwrap();
    (raw.status, serde_json::from_slice(&raw.body).unwrap())
}

async fn refresh(visitor: &Visitor, grant: &OauthGrant, refresh_token: &str) -> (u16, Value) {
    let body = json!({
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "client_id": grant.client_id,
        "client_secret": grant.client_secret,
    });
    post(visitor, "application/json", body.to_string()).await
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_once() {
    let visitor = Visitor::new().await;
    let grant = visitor.bitgo.grant_oauth().unwrap();
    let (status, first) = refresh(&visitor, &grant, &grant.refresh_token).await;
    assert_eq!((status, &first["token_type"]), (200, &json!("bearer")));
    let token = AccessToken::new(first["access_token"].as_str().unwrap());
    visitor.done(&AuthKey::new(&token), &format!("GET {SESSION}"), Value::Null).await;

    let (status, old) = refresh(&visitor, &grant, &grant.refresh_token).await;
    assert_eq!((status, &old["error"]), (400, &json!("invalid_grant")));
    let form = format!(
        "grant_type=refresh_token&refresh_token={}&client_id={}&client_secret={}",
        first["refresh_token"].as_str().unwrap(),
        grant.client_id,
        grant.client_secret
    );
    let (status, second) = post(&visitor, "application/x-www-form-urlencoded", form).await;
    assert_eq!(status, 200);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert!(visitor.bitgo.secrets().contains(&grant.refresh_token));

    let mut stranger = visitor.bitgo.grant_oauth().unwrap();
    stranger.client_secret = "x".into();
    assert_eq!(refresh(&visitor, &stranger, &stranger.refresh_token).await.0, 401);
    let (status, _) =
        post(&visitor, "application/json", r#"{"grant_type":"password"}"#.into()).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_lost_answer_has_used_the_refresh_token_up() {
    let visitor = Visitor::new().await;
    let grant = visitor.bitgo.grant_oauth().unwrap();
    visitor.bitgo.inject(Fault::new(FaultKind::DropAfterEffect).on("POST", "/oauth/token"));
    let body = json!({
        "grant_type": "refresh_token",
        "refresh_token": grant.refresh_token,
        "client_id": grant.client_id,
        "client_secret": grant.client_secret,
    });
    let id = RequestId::random().unwrap();
    let body = body.to_string().into_bytes();
    let lost = visitor.client.dispatch(Method::POST, "/oauth/token", HeaderMap::new(), body, id);
    lost.await.unwrap_err();
    assert_eq!(refresh(&visitor, &grant, &grant.refresh_token).await.0, 400);
}
