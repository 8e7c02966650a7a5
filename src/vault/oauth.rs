//! Tokens that OAuth brings: signed in once, then exchanged, each time for the refresh token that came
//! before. That one is good once, so that where its rotation stands is durable before it is sent, and
//! its successor before anything else of the answer is used.

use super::clock_skew;
use super::core::Core;
use super::credential::Credential;
use super::entry::TokenStatus;
use super::mint::{self, Opened};
use super::renewal::{RenewalError, Successor};
use crate::api::wire::OauthTokens;
use crate::api::{OauthClient, Rotated};
use crate::error::Error;
use crate::id::LineageId;
use crate::policy::KeptRules;
use crate::rotation::RotationState;
use crate::secret::{ClientSecret, RefreshToken};
use crate::store::{Grant, Store, StoreError, TokenRecord, TokenSecret};
use crate::token::{Label, Renewal, TokenKind};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;

/// How often it is tried to keep a refresh token that came, and how long in between: no other is good.
const KEEP_TRIES: usize = 5;
const KEEP_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn sign_in(
    core: Arc<Core>,
    label: Label,
    client: OauthClient,
    refresh_token: RefreshToken,
) -> Result<TokenStatus, Error> {
    core.store.check_writable()?;
    if !core.accepts_clear {
        return Err(Error::IssuedInClear);
    }
    let given = Grant {
        label: label.clone(),
        client_id: client.id().into(),
        client_secret: client.into_secret(),
        refresh_token,
        rotation: RotationState::Settled,
    };
    if let Ok(entry) = core.entry(&label)
        && let Some(held) = entry.held().filter(|held| held.record.renewal == Renewal::Oauth)
    {
        let lineage = held.record.lineage;
        let taken_over = core.blocking(move |core| {
            let _one_at_a_time = core.begin_change();
            let kept = core.store.grant(lineage)?;
            // What rotated is the only one that is good: the one that is given may be spent.
            if kept.is_some_and(|kept| kept.rotation.before_sending().is_some()) {
                return Err(Error::LabelTaken { label: given.label });
            }
            Ok(core.store.keep_grant(lineage, &given)?)
        });
        taken_over.await??;
        core.tracker.track(lineage, held.renewal_state());
        return core.status(&entry).ok_or(Error::NoSuchToken { label });
    }
    let _claim = core.claim(&label)?;
    let asked = label.clone();
    let kept = core.blocking(move |core| core.store.grant_without_token(&asked)).await??;
    let (lineage, grant) = match kept {
        // It came here and its token did not: it is later than the one that was given.
        Some((lineage, kept)) if kept.rotation.before_sending().is_some() => (lineage, kept),
        Some((lineage, _)) => (lineage, given),
        None => (core.store.new_lineage()?, given),
    };
    let asked_at = core.clock.now();
    let tokens = rotate(&core, lineage, grant, Store::keep_first_grant).await?;
    let Successor { info, secret } = receive(&core, tokens, asked_at).await?;
    let info = mint::arrived(&core, info)?;
    let (rules, renewal) = (KeptRules::default(), Renewal::Oauth);
    let record =
        TokenRecord { lineage, label, account: None, renewal, rules, is_revoked: false, info };
    mint::hold(&core, record, secret, None).await
}

/// The next token of a lineage.
pub(super) async fn next(core: &Arc<Core>, lineage: LineageId) -> Result<Successor, RenewalError> {
    let asked_at = core.clock.now();
    let of_task = Arc::clone(core);
    let under_way = Arc::clone(&core.rotating).read_owned().await;
    // A task of its own: a flight is cut off when the vault closes, and a refresh token that is on
    // its way would be lost with it.
    let rotating = core.runtime.spawn(async move {
        let result = rotate_kept(&of_task, lineage).await;
        drop(of_task);
        // Where nobody waits any more, close does.
        (result, under_way)
    });
    let (tokens, under_way) = rotating.await.map_err(Error::of_task)?;
    drop(under_way);
    let tokens = tokens?;
    Ok(receive(core, tokens, asked_at).await?)
}

async fn rotate_kept(core: &Arc<Core>, lineage: LineageId) -> Result<OauthTokens, RenewalError> {
    settle(core, lineage).await?;
    let grant = core.blocking(move |core| core.store.grant(lineage)).await?;
    let grant = grant.map_err(Error::from)?.ok_or(RenewalError::Incomplete)?;
    Ok(rotate(core, lineage, grant, Store::keep_grant).await?)
}

/// A refresh token is good once, and the token that comes of it proves itself by the clock: neither is
/// spent while that is too far off.
async fn settle(core: &Core, lineage: LineageId) -> Result<(), Error> {
    let Some(held) = core.entry_of(lineage).and_then(|entry| entry.held()) else { return Ok(()) };
    let secret = core.store.open_secret(lineage, &held.secret)?;
    clock_skew::settle(core, Credential::of(core, &secret.token)?.auth()).await
}

/// Whether a human must sign in before a token is renewed: of that the grant itself has the last word,
/// whatever was remembered, for it is what rotates. `None` where it cannot be read.
pub(super) fn wants_sign_in(store: &Store, lineage: LineageId) -> Option<bool> {
    let grant = store.grant(lineage).ok()?;
    Some(grant.is_none_or(|grant| grant.rotation.before_sending().is_none()))
}

/// How a grant is kept: before its token is, or with it.
type Keep = fn(&Store, LineageId, &Grant) -> Result<(), StoreError>;

/// Sends a refresh token, and makes its successor durable.
async fn rotate(
    core: &Arc<Core>,
    lineage: LineageId,
    mut grant: Grant,
    keep: Keep,
) -> Result<OauthTokens, Error> {
    grant.rotation = grant.rotation.before_sending().ok_or(Error::SignInAnew)?;
    let kept = core.blocking(move |core| keep(&core.store, lineage, &grant).map(|()| grant));
    let mut grant = kept.await??;
    let secret = ClientSecret::new(grant.client_secret.expose());
    let client = OauthClient::new(grant.client_id.as_str(), secret);
    let rotated = match core.client.refresh_oauth(&client, &grant.refresh_token).await {
        Ok(rotated) => rotated,
        Err(error) => {
            grant.rotation = grant.rotation.after(&error);
            let kept = core.blocking(move |core| {
                keep_after(core, lineage, &grant.refresh_token, &grant, keep)
            });
            kept.await??;
            return Err(error.into());
        }
    };
    keep_next(core, lineage, grant, rotated, keep).await
}

/// Makes a refresh token that came durable. A disk may be full for a moment, and nobody else has it.
async fn keep_next(
    core: &Arc<Core>,
    lineage: LineageId,
    grant: Grant,
    rotated: Rotated,
    keep: Keep,
) -> Result<OauthTokens, Error> {
    let kept = core.blocking(move |core| {
        let (mut grant, mut rotated) = (grant, rotated);
        let sent = RefreshToken::new(grant.refresh_token.expose());
        grant.rotation = RotationState::Settled;
        let mut keep_token = |next: &RefreshToken| {
            grant.refresh_token = RefreshToken::new(next.expose());
            keep_after(core, lineage, &sent, &grant, keep)
        };
        for _ in 1..KEEP_TRIES {
            match rotated.kept_by(&mut keep_token) {
                Err((error, again)) => {
                    tracing::warn!(
                        name: "refresh_token.not_kept", %error,
                        "a refresh token that came is not kept yet"
                    );
                    rotated = again;
                    std::thread::sleep(KEEP_AGAIN);
                }
                Ok(tokens) => return Ok(tokens),
            }
        }
        rotated.kept_by(keep_token).map_err(|(error, _)| error)
    });
    Ok(kept.await??)
}

/// Keeps what came of a refresh token that was sent, unless a human has signed in anew meanwhile:
/// then what he gave stays.
fn keep_after(
    core: &Core,
    lineage: LineageId,
    sent: &RefreshToken,
    grant: &Grant,
    keep: Keep,
) -> Result<(), StoreError> {
    let _one_at_a_time = core.begin_change();
    let ours = [sent.expose(), grant.refresh_token.expose()];
    match core.store.grant(lineage) {
        Ok(Some(now)) if !ours.contains(&now.refresh_token.expose()) => Ok(()),
        _ => keep(&core.store, lineage, grant),
    }
}

/// Lets a token that came prove itself.
async fn receive(
    core: &Arc<Core>,
    tokens: OauthTokens,
    asked_at: DateTime<Utc>,
) -> Result<Successor, Error> {
    let OauthTokens { issued, token_id, expires_at, expires_in, .. } = tokens;
    let issued = issued.ok_or(Error::NoAccessToken)?;
    let Opened { token, in_clear } = mint::open(core, issued, || Err(Error::NoEcdhKey))?;
    let record = mint::own_record(core, &token, token_id).await?;
    let mut info = record.to_info(TokenKind::Oauth, in_clear);
    let by_answer = expires_at.or_else(|| asked_at.checked_add_signed(expires_in?));
    info.expires_at = info.expires_at.or(by_answer);
    Ok(Successor { info, secret: TokenSecret { token, extension_key: None } })
}
