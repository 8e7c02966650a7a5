//! A refresh token that rotates: durable before anything else is used, and tried again once at most.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::class;
use bitgo_vault::api::wire::Issued;
use bitgo_vault::api::{
    ApiError, Auth, Client, ClientSettings, OauthClient, Rotated, RotationState,
};
use bitgo_vault::crypto::{AuthKey, AuthVersion};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{ClientSecret, RefreshToken, SystemClock};
use std::sync::Arc;

const REFRESH: (&str, &str) = ("POST", "/oauth/token");

/// An OAuth client, and what it has made durable: a refresh token and where its rotation stands.
struct Keeper {
    bitgo: Emulator,
    client: Client,
    oauth: OauthClient,
    refresh_token: RefreshToken,
    state: RotationState,
}

impl Keeper {
    async fn new() -> Self {
        let bitgo = Emulator::start().await.unwrap();
        let clock = Arc::new(SystemClock::new());
        let client = Client::new(bitgo.environment(), clock, ClientSettings::default()).unwrap();
        let grant = bitgo.grant_oauth().unwrap();
        Self {
            bitgo,
            client,
            oauth: OauthClient::new(grant.client_id, ClientSecret::new(grant.client_secret)),
            refresh_token: RefreshToken::new(grant.refresh_token),
            state: RotationState::default(),
        }
    }

    /// Refreshes as a vault must: the state is kept before the token is sent, and after it failed.
    async fn refresh(&mut self) -> Option<Result<Rotated, ApiError>> {
        self.state = self.state.before_sending()?;
        let sent = self.client.refresh_oauth(&self.oauth, &self.refresh_token).await;
        if let Err(error) = &sent {
            self.state = self.state.after(error);
        }
        Some(sent)
    }

    fn keep(&mut self, next: &RefreshToken) {
        self.refresh_token = RefreshToken::new(next.expose());
        self.state = RotationState::Settled;
    }

    fn sent(&self) -> usize {
        self.bitgo.requests("POST /oauth/token")
    }
}

#[tokio::test]
async fn the_next_refresh_token_is_kept_before_the_token_is_used() {
    let mut keeper = Keeper::new().await;
    for round in 1..=3 {
        let rotated = keeper.refresh().await.unwrap().unwrap();
        assert!(format!("{rotated:?}").find(keeper.refresh_token.expose()).is_none());
        let (why, rotated) = rotated.kept_by(|_| Err("the disk is full")).unwrap_err();
        assert_eq!(why, "the disk is full", "and the tokens are not lost with that");
        let tokens = rotated.kept_by(|next| {
            assert_ne!(next.expose(), keeper.refresh_token.expose());
            keeper.keep(next);
            Ok::<_, ()>(())
        });
        let tokens = tokens.unwrap();
        let Some(Issued::Clear(token)) = tokens.issued else {
            panic!("OAuth hands tokens out in clear")
        };
        assert!(tokens.expires_at.unwrap() > keeper.client.now());
        let key = AuthKey::new(&token);
        keeper.client.session(Auth::Hmac(&key, AuthVersion::V3)).await.unwrap();
        assert_eq!(keeper.sent(), round);
    }
}

#[tokio::test]
async fn after_an_unknown_outcome_the_old_one_is_tried_once() {
    // The request was lost: the old one still is good.
    let mut keeper = Keeper::new().await;
    keeper.bitgo.inject(Fault::new(FaultKind::DropBefore).on(REFRESH.0, REFRESH.1));
    assert_eq!(class(&keeper.refresh().await.unwrap().unwrap_err()), "lost");
    assert_eq!(keeper.sent(), 1, "it is not repeated by the client");
    assert_eq!(keeper.state, RotationState::Sent);
    let rotated = keeper.refresh().await.unwrap().unwrap();
    assert!(rotated.kept_by(|_| Ok::<_, ()>(())).is_ok());

    // The answer was: the old one is spent, and the server says so.
    let mut keeper = Keeper::new().await;
    keeper.bitgo.inject(Fault::new(FaultKind::DropAfterEffect).on(REFRESH.0, REFRESH.1));
    assert_eq!(class(&keeper.refresh().await.unwrap().unwrap_err()), "lost");
    assert_eq!(class(&keeper.refresh().await.unwrap().unwrap_err()), "rejected");
    assert_eq!(keeper.state, RotationState::NeedsHuman);
    assert!(keeper.refresh().await.is_none());

    // Both were: nobody knows, and it is not tried a third time.
    let mut keeper = Keeper::new().await;
    keeper.bitgo.inject(Fault::new(FaultKind::DropBefore).on(REFRESH.0, REFRESH.1).times(2));
    keeper.refresh().await.unwrap().unwrap_err();
    keeper.refresh().await.unwrap().unwrap_err();
    assert_eq!(keeper.state, RotationState::NeedsHuman);
    assert!(keeper.refresh().await.is_none());
    assert_eq!(keeper.sent(), 2);
}

#[tokio::test]
async fn a_killed_refresh_is_told_from_one_that_was_never_made() {
    // What was durable when it was killed: sent once, and sent twice.
    for (state, sends) in [
        (RotationState::Settled, true),
        (RotationState::Sent, true),
        (RotationState::SentAgain, false),
        (RotationState::NeedsHuman, false),
    ] {
        let mut keeper = Keeper::new().await;
        keeper.state = state;
        assert_eq!(keeper.refresh().await.is_some(), sends, "{state:?}");
        assert_eq!(keeper.sent(), usize::from(sends), "{state:?}");
    }
}

#[tokio::test]
async fn a_wrong_client_is_refused_and_nothing_is_printed() {
    let keeper = Keeper::new().await;
    let wrong = OauthClient::new("nobody", ClientSecret::new("secret"));
    let refused = keeper.client.refresh_oauth(&wrong, &keeper.refresh_token).await.unwrap_err();
    assert_eq!(class(&refused), "unauthorized");
    let printed = format!("{refused:?} {refused} {wrong:?}");
    assert!(!printed.contains(keeper.refresh_token.expose()) && !printed.contains("\"secret\""));
}
