//! What a vault keeps to get tokens by OAuth: a refresh token that rotates.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, until};
use bitgo_vault::api::OauthClient;
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{
    Alarm, ClientSecret, Error, Event, Need, Phase, RefreshToken, Renewal, TokenKind, TokenStatus,
};
use std::time::Duration;
use tokio::time::sleep;

const REFRESH: (&str, &str) = ("POST", "/oauth/token");
const SESSION: (&str, &str) = ("GET", "/api/v2/user/session");
const LIFETIME: Duration = Duration::from_secs(600);

/// A vault that takes tokens in clear, as OAuth hands them out. They live for ten minutes.
async fn desk() -> Desk {
    let desk = Desk::empty(Emulator::builder().session_lifetime(LIFETIME)).await;
    let options = desk.options().dangerous_accept_tokens_in_clear();
    desk.reopened_with(options).await
}

fn grant(desk: &Desk) -> (OauthClient, RefreshToken) {
    let grant = desk.bitgo.grant_oauth().unwrap();
    let client = OauthClient::new(grant.client_id, ClientSecret::new(grant.client_secret));
    (client, RefreshToken::new(grant.refresh_token))
}

async fn sign_in(
    desk: &Desk,
    (client, token): (OauthClient, RefreshToken),
) -> Result<TokenStatus, Error> {
    desk.vault.sign_in_oauth("bot", client, token).await
}

fn sent(desk: &Desk) -> usize {
    desk.bitgo.requests("POST /oauth/token")
}

fn fault(desk: &Desk, (method, path): (&str, &str), kind: FaultKind, times: u32) {
    desk.bitgo.inject(Fault::new(kind).on(method, path).times(times));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_rotates_all_day_and_over_a_reopening() {
    let desk = desk().await;
    let status = sign_in(&desk, grant(&desk)).await.unwrap();
    assert_eq!((status.info.kind, status.renewal), (TokenKind::Oauth, Renewal::Oauth));
    assert!(status.info.issued_in_clear);
    for minute in 1..=60 {
        sleep(Duration::from_secs(60)).await;
        desk.vault.send("bot", &desk.view()).await.unwrap();
        assert!(sent(&desk) <= 1 + minute / 6, "{minute}");
    }
    let before = sent(&desk);
    assert!(before >= 9, "{before}");
    let options = desk.options().dangerous_accept_tokens_in_clear();
    let desk = desk.reopened_with(options).await;
    sleep(LIFETIME).await;
    desk.vault.send("bot", &desk.view()).await.unwrap();
    assert!(sent(&desk) > before, "what it kept last is good");
}

/// What was rotated is kept first, though the token that came with it is of no use yet.
#[tokio::test(start_paused = true)]
async fn what_rotated_is_not_lost_with_the_token() {
    let desk = desk().await;
    fault(&desk, SESSION, FaultKind::DropBefore, u32::MAX);
    let given = desk.bitgo.grant_oauth().unwrap();
    let again = || {
        let client = OauthClient::new(
            given.client_id.as_str(),
            ClientSecret::new(given.client_secret.as_str()),
        );
        (client, RefreshToken::new(given.refresh_token.as_str()))
    };
    sign_in(&desk, again()).await.unwrap_err();
    assert!(desk.vault.list().is_empty());
    desk.bitgo.clear_faults();
    let options = desk.options().dangerous_accept_tokens_in_clear();
    let desk = desk.reopened_with(options).await;
    // The one that was given is spent: it goes on with the one that is kept.
    sign_in(&desk, again()).await.unwrap();
    desk.vault.send("bot", &desk.view()).await.unwrap();
    assert_eq!(sent(&desk), 2);
}

/// An answer that was lost may have spent the refresh token: once more, then a human.
#[tokio::test(start_paused = true)]
async fn a_spent_refresh_token_is_not_sent_for_ever_and_a_human_helps() {
    let desk = desk().await;
    sign_in(&desk, grant(&desk)).await.unwrap();
    fault(&desk, REFRESH, FaultKind::DropAfterEffect, 1);
    sleep(2 * LIFETIME).await;
    assert_eq!(sent(&desk), 3, "its own, the one whose answer was lost, and once more");
    let told = desk.vault.status("bot").unwrap().last_error.unwrap();
    assert!(told.contains("invalid_grant") || told.contains("sign in anew"), "{told}");
    let gone = desk.vault.send("bot", &desk.view()).await.unwrap_err();
    assert!(matches!(gone, Error::Denied(_)), "{gone}");

    sign_in(&desk, grant(&desk)).await.unwrap();
    until(|| desk.vault.status("bot").unwrap().renewals == 1).await;
    desk.vault.send("bot", &desk.view()).await.unwrap();
    // A label of another kind is not taken over.
    desk.vault.login("session", desk.login()).await.unwrap();
    let (client, token) = grant(&desk);
    let taken = desk.vault.sign_in_oauth("session", client, token).await.unwrap_err();
    assert!(matches!(taken, Error::LabelTaken { .. }), "{taken}");
}

/// The server's word on a refresh token outlives its process: nobody has to fail again to learn it.
#[tokio::test(start_paused = true)]
async fn a_vault_that_is_opened_with_a_spent_refresh_token_says_so_at_once() {
    let desk = desk().await;
    sign_in(&desk, grant(&desk)).await.unwrap();
    let refused = FaultKind::Status(400, r#"{"error":"invalid_grant"}"#.into());
    fault(&desk, REFRESH, refused, 1);
    let refused = desk.vault.renew("bot").await.unwrap();
    assert!(refused.last_error.is_some() && refused.need != Some(Need::RefreshToken));
    let reopened = async |desk: Desk| {
        let options = desk.options().dangerous_accept_tokens_in_clear();
        desk.reopened_with(options).await
    };
    let desk = reopened(desk).await;
    let mut events = desk.vault.events();
    let status = desk.vault.status("bot").unwrap();
    assert_eq!((status.need, status.phase), (Some(Need::RefreshToken), Phase::Fresh));
    match events.next().await.unwrap() {
        Event::Alarm { alarm: Alarm::NeedsHuman { need, .. }, label, .. } => {
            assert_eq!((need, label.unwrap().as_str()), (Need::RefreshToken, "bot"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(sent(&desk), 2, "and nothing was sent for that");
    desk.vault.send("bot", &desk.view()).await.unwrap();

    // Who signed in anew is asked no more, over a reopening too.
    sign_in(&desk, grant(&desk)).await.unwrap();
    assert_eq!(desk.vault.status("bot").unwrap().need, None);
    let desk = reopened(desk).await;
    assert_eq!(desk.vault.status("bot").unwrap().need, None);
    assert_eq!(desk.vault.renew("bot").await.unwrap().renewals, 1);
}

#[tokio::test(start_paused = true)]
async fn oauth_needs_leave_to_take_tokens_in_clear() {
    let desk = Desk::empty(Emulator::builder()).await;
    let refused = sign_in(&desk, grant(&desk)).await.unwrap_err();
    assert!(matches!(refused, Error::IssuedInClear), "{refused}");
    assert_eq!(sent(&desk), 0, "nothing was spent");
}

/// The one that is kept is the only one that is good: what is given again is spent since.
#[tokio::test(start_paused = true)]
async fn a_good_refresh_token_is_not_replaced_by_one_that_is_spent() {
    let desk = desk().await;
    let given = desk.bitgo.grant_oauth().unwrap();
    let again = || {
        let secret = ClientSecret::new(given.client_secret.as_str());
        let client = OauthClient::new(given.client_id.as_str(), secret);
        (client, RefreshToken::new(given.refresh_token.as_str()))
    };
    sign_in(&desk, again()).await.unwrap();
    let taken = sign_in(&desk, again()).await.unwrap_err();
    assert!(matches!(taken, Error::LabelTaken { .. }), "{taken}");
    sleep(2 * LIFETIME).await;
    desk.vault.send("bot", &desk.view()).await.unwrap();
}

/// A refresh token that is on its way comes home, though its vault closes.
#[tokio::test(start_paused = true)]
async fn a_close_cuts_no_rotation_off() {
    let desk = desk().await;
    sign_in(&desk, grant(&desk)).await.unwrap();
    fault(&desk, REFRESH, FaultKind::Delay(Duration::from_secs(20)), 1);
    // It is renewed at two thirds of its life.
    sleep(Duration::from_secs(405)).await;
    assert_eq!(sent(&desk), 1, "it is on its way");
    let busy = desk.vault.clone().close().await.unwrap_err();
    assert!(matches!(busy, Error::StillInUse), "{busy}");
    sleep(Duration::from_secs(30)).await;
    assert_eq!(sent(&desk), 2);
    let options = desk.options().dangerous_accept_tokens_in_clear();
    let desk = desk.reopened_with(options).await;
    sleep(LIFETIME).await;
    desk.vault.send("bot", &desk.view()).await.unwrap();
}
