//! Tokens that OAuth brings: signed in once, then exchanged, each time for the refresh token that came
//! before. That one is good once, so that where its rotation stands is durable before it is sent, and
//! its successor before anything else of the answer is used.

use super::core::Core;
use super::entry::TokenStatus;
use super::mint::{self, Opened};
use super::renewal::{RenewalError, Successor};
use crate::api::wire::OauthTokens;
use crate::api::{OauthClient, Rotated};
use crate::error::Error;
use crate::id::LineageId;
use crate::policy::LocalRules;
use crate::rotation::RotationState;
use crate::secret::{ClientSecret, RefreshToken};
use crate::store::{Grant, Store, StoreError, TokenRecord, TokenSecret};
use crate::token::{Label, Renewal, TokenKind};
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
        core.blocking(move |core| core.store.keep_grant(lineage, &given)).await??;
        core.tracker.track(lineage, held.schedule());
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
    let tokens = rotate(&core, lineage, grant, Store::keep_first_grant).await?;
    let Successor { info, secret } = receive(&core, tokens).await?;
    let info = mint::arrived(&core, info)?;
    let kept = core.blocking(move |core| {
        let (rules, renewal) = (LocalRules::default(), Renewal::Oauth);
        let record = TokenRecord { lineage, label, account: None, renewal, rules, info };
        let sealed = core.store.add_token(&record, &secret, None)?;
        let label = record.label.clone();
        let entry = core.keep(record, sealed);
        core.status(&entry).ok_or(Error::NoSuchToken { label })
    });
    kept.await?
}

/// The next token of a lineage.
pub(super) async fn next(core: &Arc<Core>, lineage: LineageId) -> Result<Successor, RenewalError> {
    let grant = core.blocking(move |core| core.store.grant(lineage)).await?;
    let grant = grant.map_err(Error::from)?.ok_or(RenewalError::Incomplete)?;
    let tokens = rotate(core, lineage, grant, Store::keep_grant).await?;
    Ok(receive(core, tokens).await?)
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
            core.blocking(move |core| keep(&core.store, lineage, &grant)).await??;
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
        grant.rotation = RotationState::Settled;
        for _ in 1..KEEP_TRIES {
            match rotated.kept_by(|next| keep_token(core, lineage, &mut grant, next, keep)) {
                Err((error, again)) => {
                    tracing::warn!(%error, "a refresh token that came is not kept yet");
                    rotated = again;
                    std::thread::sleep(KEEP_AGAIN);
                }
                Ok(tokens) => return Ok(tokens),
            }
        }
        let kept = rotated.kept_by(|next| keep_token(core, lineage, &mut grant, next, keep));
        kept.map_err(|(error, _)| error)
    });
    Ok(kept.await??)
}

fn keep_token(
    core: &Core,
    lineage: LineageId,
    grant: &mut Grant,
    next: &RefreshToken,
    keep: Keep,
) -> Result<(), StoreError> {
    grant.refresh_token = RefreshToken::new(next.expose());
    keep(&core.store, lineage, grant)
}

/// Lets a token that came prove itself.
async fn receive(core: &Arc<Core>, tokens: OauthTokens) -> Result<Successor, Error> {
    let OauthTokens { issued, token_id, expires_at, expires_in, .. } = tokens;
    let asked_at = core.clock.now();
    let Opened { token, in_clear } = mint::open(core, issued, || Err(Error::NoEcdhKey))?;
    let record = mint::own_record(core, &token, token_id).await?;
    let mut info = record.to_info(TokenKind::Oauth, in_clear);
    let by_answer = expires_at.or_else(|| asked_at.checked_add_signed(expires_in?));
    info.expires_at = info.expires_at.or(by_answer);
    Ok(Successor { info, secret: TokenSecret { token, extension_key: None } })
}
