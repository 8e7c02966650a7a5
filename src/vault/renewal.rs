//! What renewing a token means, by the way it is renewed.
//!
//! A failure leaves the token as it is: the successor is swapped in only after it proved itself
//! by asking for its own record, and was committed.

use super::Vault;
use super::clock_skew;
use super::core::Core;
use super::credential::Credential;
use super::entry::{Entry, Held, TokenStatus};
use super::events::{Alarm, Event};
use super::mint::{self, Opened};
use super::{oauth, probe, reissue};
use crate::api::wire::IssuedToken;
use crate::api::{ApiError, Client};
use crate::clock::Stopwatch;
use crate::crypto::ExtensionKey;
use crate::error::Error;
use crate::id::{LineageId, TokenId};
use crate::refresh::{Errand, Failure, Life, Notice, Phase, Renew, Standing, Verdict};
use crate::renewal_memory::Need;
use crate::store::{SealedSecret, StoreError, TokenRecord, TokenSecret};
use crate::telemetry;
use crate::token::{Label, Renewal, TokenInfo, TokenKind};
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// Why a token was not renewed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenewalError {
    #[error(transparent)]
    Failed(#[from] Error),
    #[error("the server gave the same token with the same end again")]
    Unchanged,
    #[error("the new token was dead as it came")]
    Stillborn,
    #[error("the server does not tell when the new token ends")]
    Endless,
    #[error("the token was removed meanwhile")]
    Removed,
    #[error("the token's record lacks what its way of renewal needs: log in anew")]
    Incomplete,
    #[error("nobody has given the login that mints the next token")]
    NoLogin,
    #[error("tokens that were minted and not kept could not be revoked: revoke them at bitgo")]
    Orphans,
}

impl From<ApiError> for RenewalError {
    fn from(error: ApiError) -> Self {
        Self::Failed(error.into())
    }
}

impl RenewalError {
    /// Whether asking again may help a token that is renewed by `way`.
    fn failure(&self, way: Renewal) -> Failure {
        match self {
            // An answer that cannot be believed, whatever it says, says nothing about the token. To a
            // login nobody can sign one, and who asks on locks the account.
            Self::Failed(Error::Api(error))
                if error.is_transient()
                    || matches!(error, ApiError::Untrusted { .. })
                    || way != Renewal::Reissue
                        && error.refusal().is_some_and(|refusal| !refusal.is_verified()) =>
            {
                Failure::Transient { retry_after: error.patience() }
            }
            // It is told of, and goes on once the clock is set.
            Self::Failed(Error::ClockSkew { .. }) if way != Renewal::Reissue => {
                Failure::Transient { retry_after: None }
            }
            Self::Failed(Error::Interrupted) => Failure::Transient { retry_after: None },
            Self::Unchanged
            | Self::Stillborn
            | Self::Endless
            | Self::Failed(Error::ArrivedExpired { .. })
                if way != Renewal::Reissue =>
            {
                Failure::Transient { retry_after: None }
            }
            // By these ways the token is the bearer.
            Self::Failed(Error::Api(ApiError::TokenDead(_) | ApiError::Unauthorized(_)))
                if matches!(way, Renewal::Extend { .. } | Renewal::InternalToken) =>
            {
                Failure::Refused
            }
            _ => match (way, self.need(way)) {
                // A full disk is seen before anybody logs in.
                (Renewal::Reissue, need) if need != Need::Disk => Failure::Costly(need),
                (_, need) => Failure::Terminal(need),
            },
        }
    }

    /// What a human must do about one that asking again will not mend.
    fn need(&self, way: Renewal) -> Need {
        match self {
            Self::Failed(Error::Api(ApiError::SsoRequired(_))) => Need::SignOn,
            Self::Failed(
                Error::Api(ApiError::OtpRequired(_) | ApiError::OtpRefused(_)) | Error::Provider(_),
            ) => Need::OneTimePassword,
            Self::Failed(Error::Api(ApiError::EndpointGone(_))) => Need::Endpoint,
            Self::Failed(Error::SignInAnew) => Need::RefreshToken,
            Self::NoLogin | Self::Failed(Error::OtherAccount { .. }) => Need::Login,
            Self::Failed(Error::Api(ApiError::Unauthorized(_))) if way == Renewal::Reissue => {
                Need::Login
            }
            Self::Failed(Error::Store(StoreError::ReadOnly { .. })) => Need::Disk,
            _ => Need::LookAtError,
        }
    }
}

/// A token that may take another's place.
pub(super) struct Successor {
    pub(super) info: TokenInfo,
    pub(super) secret: TokenSecret,
}

impl Vault {
    /// Has the token kept as `label` renewed now, whatever its phase and whatever it waits for, such as
    /// once a human did what was [needed](TokenStatus::need). It waits for the attempt's end; the status
    /// tells how it went ([`TokenStatus::last_error`]).
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]; [`Error::NotRenewable`]; [`Error::Closed`]; [`Error::Interrupted`] where the
    /// runtime that renews has ended. That the attempt failed is none: the token stays, and `last_error`
    /// says why. Of a token that was imported
    /// unverified it is as [`Vault::reconcile`].
    pub async fn renew(&self, label: &str) -> Result<TokenStatus, Error> {
        let (core, label) = (&self.core, Label::new(label)?);
        let entry = core.entry(&label)?;
        if entry.held().is_some_and(|held| held.is_unverified()) {
            return self.reconcile(label.as_str()).await;
        }
        let is_gone = || entry.held().is_none_or(|held| held.record.is_revoked);
        let is_over = || core.check_open().is_err() || is_gone();
        tokio::select! {
            biased;
            ended = entry.await_attempt(|| begin(core, &label), is_over) => ended?,
            () = core.tracker.ended() => return Err(unheard(core)),
        }
        core.status(&entry).ok_or(Error::NoSuchToken { label })
    }
}

impl Renew for Core {
    fn renew(self: Arc<Self>, lineage: LineageId) -> Errand<Result<Life, Failure>> {
        let span = tracing::info_span!("vault.renewal", %lineage);
        let attempt = self.entry_of(lineage).map(Attempt::begin);
        let renewal = async move {
            // One that is gone is forgotten by the task as well.
            let gone = Failure::Transient { retry_after: None };
            let attempt = attempt.ok_or(gone)?;
            let entry = Arc::clone(&attempt.entry);
            let since = Stopwatch::start();
            let held = entry.held().ok_or(gone)?;
            let (way, label) = (held.record.renewal, held.record.label.clone());
            drop(held);
            let login = self.login_of(lineage);
            match renew(&self, &entry).await {
                Ok(held) => {
                    let info = &held.record.info;
                    telemetry::renewed(way.as_str(), since);
                    tracing::info!(
                        name: "renewal.done", %label, token = %info.id,
                        expires_at = ?info.expires_at, "renewed"
                    );
                    self.events.emit(|| Event::Renewed { label, expires_at: info.expires_at });
                    attempt.renewed();
                    Ok(held.life())
                }
                Err(error) => {
                    tracing::warn!(
                        name: "renewal.failed", %label, %error,
                        "not renewed; the token stays"
                    );
                    let failure = match error.failure(way) {
                        // It began without the login that is there by now.
                        Failure::Costly(Need::Login | Need::OneTimePassword)
                            if self.has_other_login(lineage, login.as_ref()) =>
                        {
                            Failure::Transient { retry_after: None }
                        }
                        failure => failure,
                    };
                    telemetry::not_renewed(way.as_str(), failure.as_str(), since);
                    let is_hopeless = !matches!(failure, Failure::Transient { .. });
                    attempt.failed(error.to_string(), is_hopeless);
                    Err(failure)
                }
            }
        };
        Box::pin(renewal.instrument(span))
    }

    fn probe(self: Arc<Self>, lineage: LineageId, token: TokenId) -> Errand<Verdict> {
        Box::pin(async move {
            let held = self.entry_of(lineage).and_then(|entry| entry.held());
            match held.filter(|held| held.record.info.id == token) {
                Some(held) => probe::ask(&self, &held).await,
                None => Verdict::Unknown,
            }
        })
    }

    fn stand(&self, lineage: LineageId, token: TokenId, standing: Standing) {
        if let Some(entry) = self.entry_of(lineage) {
            entry.stand(token, standing);
        }
    }

    fn tell(&self, lineage: LineageId, notice: Notice) {
        let Some(held) = self.entry_of(lineage).and_then(|entry| entry.held()) else { return };
        let label = &held.record.label;
        let alarm = match notice {
            Notice::Standing(standing) => {
                let alarm = Alarm::Refused { standing };
                tracing::warn!(
                    name: "token.refused", %label, ?standing, see = %alarm.runbook(),
                    "the token was refused"
                );
                alarm
            }
            Notice::Needs(need) => {
                let alarm = Alarm::NeedsHuman { need };
                tracing::warn!(
                    name: "renewal.needs_human", %label, need = need.as_str(), see = %alarm.runbook(),
                    "the token is not renewed until a human acts"
                );
                alarm
            }
            Notice::Ending { expires_at } => {
                let alarm = Alarm::Ending { expires_at };
                tracing::warn!(
                    name: "token.ending", %label, %expires_at, see = %alarm.runbook(),
                    "the token ends, and a human must renew it"
                );
                alarm
            }
            Notice::Ended => {
                let alarm = Alarm::Ended;
                tracing::error!(
                    name: "token.ended", %label, see = %alarm.runbook(),
                    "the token has ended, and a human must renew it"
                );
                alarm
            }
            Notice::Locking { until } => {
                let alarm = Alarm::Locking { until };
                tracing::warn!(
                    name: "token.locking", %label, %until, see = %alarm.runbook(),
                    "the token locks again at bitgo"
                );
                alarm
            }
        };
        self.events.raise(Some(label), alarm);
    }

    fn landed(&self, lineage: LineageId) {
        if let Some(entry) = self.entry_of(lineage) {
            entry.landed();
        }
    }

    fn is_awaited(&self, lineage: LineageId) -> bool {
        self.entry_of(lineage).is_some_and(|entry| entry.is_awaited())
    }

    fn remember(self: Arc<Self>, lineage: LineageId) {
        // Close waits for it; once that has begun there is nothing to remember any more.
        let Ok(at_work) = Arc::clone(&self.at_work).try_read_owned() else { return };
        let core = Arc::clone(&self);
        self.runtime.spawn_blocking(move || {
            core.remember_renewal(lineage);
            drop((core, at_work));
        });
    }
}

/// An attempt on its way. Who waits for it hears of its end even where it is cut off or panics.
struct Attempt {
    entry: Arc<Entry>,
    has_ended: bool,
}

impl Attempt {
    fn begin(entry: Arc<Entry>) -> Self {
        Self { entry, has_ended: false }
    }

    fn renewed(mut self) {
        self.has_ended = true;
        self.entry.renewed();
    }

    fn failed(mut self, error: String, is_hopeless: bool) {
        self.has_ended = true;
        self.entry.failed(error, is_hopeless);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.has_ended {
            self.entry.failed("the attempt was cut off".into(), false);
        }
    }
}

impl Core {
    /// Writes down how a token's renewal goes, as it is by now.
    fn remember_renewal(&self, lineage: LineageId) {
        let _one_at_a_time = self.begin_change();
        let is_there = self.entry_of(lineage).is_some() && self.store.check_writable().is_ok();
        let memory = self.tracker.memory(lineage).filter(|_| is_there);
        let kept = memory.map_or(Ok(()), |memory| self.store.remember_renewal(lineage, &memory));
        if let Err(error) = kept {
            tracing::warn!(
                name: "renewal.forgotten", %lineage, %error,
                "how its renewal goes is not remembered over a restart"
            );
        }
    }
}

/// Has a token renewed now, whatever its phase.
pub(super) fn begin(core: &Core, label: &Label) -> Result<(), Error> {
    core.check_open()?;
    let held = core.entry(label)?.held();
    let held = held.ok_or_else(|| Error::NoSuchToken { label: label.clone() })?;
    if held.record.renewal == Renewal::Manual || held.record.is_revoked {
        return Err(Error::NotRenewable { label: label.clone() });
    }
    match core.tracker.ask(held.record.lineage) {
        true => Ok(()),
        false => Err(unheard(core)),
    }
}

/// Why the task hears nothing any more.
fn unheard(core: &Core) -> Error {
    core.check_open().err().unwrap_or(Error::Interrupted)
}

async fn renew(core: &Arc<Core>, entry: &Arc<Entry>) -> Result<Arc<Held>, RenewalError> {
    let held = entry.held().filter(|held| !held.record.is_revoked);
    let held = held.ok_or(RenewalError::Removed)?;
    // What could not be kept is not asked for.
    core.store.check_writable().map_err(Error::from)?;
    let successor = match held.record.renewal {
        Renewal::Extend { lifetime } => extend(core, &held, lifetime).await?,
        Renewal::InternalToken => fetch(core, &held).await?,
        Renewal::Oauth => oauth::next(core, held.record.lineage).await?,
        Renewal::Reissue => reissue::next(core, &held).await?,
        Renewal::Manual => return Err(RenewalError::Incomplete),
    };
    let info = mint::arrived(core, successor.info)?;
    if info.expires_at.is_none() {
        return Err(RenewalError::Endless);
    }
    let entry = Arc::clone(entry);
    let swapped = core.blocking(move |core| {
        let one_at_a_time = core.begin_change();
        // The rules may have changed while we were away: they stay as they are now.
        let before = entry.held().filter(|held| !held.record.is_revoked);
        let before = before.ok_or(RenewalError::Removed)?;
        core.check_sole(info.id, before.record.lineage, &one_at_a_time)?;
        let rules = before.record.rules.clone();
        let record = TokenRecord { info, rules, ..held.record.clone() };
        let sealed: SealedSecret = match record.renewal {
            Renewal::Reissue => reissue::swap(core, &before, &record, &successor.secret)?,
            _ => {
                let server_ms = core.moment().server_ms;
                let replaced = core.store.replace_token(&record, &successor.secret, server_ms);
                replaced.map_err(Error::from)?
            }
        };
        let (way, lineage) = (record.renewal, record.lineage);
        core.succeed(&entry, &before, Held::new(record, sealed, core.windows));
        if way == Renewal::Reissue {
            core.retirements.go_on(core, lineage);
        }
        entry.held().ok_or(RenewalError::Removed)
    });
    swapped.await?
}

/// Extends a session: the server moves its end, the token stays (PROTOCOL section 5).
async fn extend(
    core: &Arc<Core>,
    held: &Held,
    lifetime: Duration,
) -> Result<Successor, RenewalError> {
    let secret = core.store.open_secret(held.record.lineage, &held.secret).map_err(Error::from)?;
    let wif = secret.extension_key.as_ref().ok_or(RenewalError::Incomplete)?;
    let extension = ExtensionKey::from_wif(wif).map_err(Error::crypto("kept extension key"))?;
    let credential = Credential::of(core, &secret.token)?;

    let auth = credential.auth();
    clock_skew::settle(core, auth).await?;
    let duration = lifetime.as_secs().max(1).to_string();
    let timestamp_ms = core.dated_now().timestamp_millis();
    let signature = extension.sign(timestamp_ms, &secret.token, &duration);
    core.client.extend_token(auth, timestamp_ms, &signature, &duration).await?;

    let record = mint::own_record(core, &secret.token, Some(held.record.info.id)).await?;
    let mut info = record.to_info(TokenKind::Session, held.record.info.issued_in_clear);
    if info.expires_at <= held.record.info.expires_at {
        return Err(RenewalError::Unchanged);
    }
    // The windows follow how long this extension lasts, not how old the session is.
    info.created_at = Some(core.latest_now());
    Ok(Successor { info, secret })
}

/// Fetches the user's internal token anew.
async fn fetch(core: &Arc<Core>, held: &Held) -> Result<Successor, RenewalError> {
    let user = held.record.account.clone().ok_or(RenewalError::Incomplete)?;
    let now = core.latest_now();
    // A living session of the same account is the better bearer. What the server refuses it says
    // nothing about this token, which is then its own bearer.
    let session = core.find(|other| {
        other.record.info.kind == TokenKind::Session
            && other.record.account.as_ref() == Some(&user)
            && !other.record.is_revoked
            && other.standing() == Standing::Good
            && other.phase(now) != Phase::Expired
    });
    let by_session = match session {
        Some((_, session)) => Some(ask(core, &session).await),
        None => None,
    };
    let issued = match by_session {
        Some(Ok(issued)) => issued,
        Some(Err(Error::Api(error))) if error.refusal().is_none() || error.is_transient() => {
            return Err(error.into());
        }
        _ => ask(core, held).await?,
    };
    let old = &held.record.info;
    if issued.record.id == old.id && issued.record.expires == old.expires_at {
        return Err(RenewalError::Unchanged);
    }
    let (id, expires) = (issued.record.id, issued.record.expires);
    let Opened { token, in_clear } = mint::open_for(core, issued.issued, user).await?;
    // A token that never travelled is not exchanged for one that does.
    if in_clear && !old.issued_in_clear {
        return Err(Error::IssuedInClear.into());
    }
    let record = match mint::own_record(core, &token, Some(id)).await {
        // Of the token that is in use this says nothing.
        Err(Error::Api(ApiError::TokenDead(_))) => return Err(RenewalError::Stillborn),
        record => record?,
    };
    let mut info = record.to_info(TokenKind::Internal, in_clear);
    info.expires_at = info.expires_at.or(expires);
    // The two answers may tell the end in different precision.
    if info.id == old.id && info.expires_at <= old.expires_at {
        return Err(RenewalError::Unchanged);
    }
    Ok(Successor { info, secret: TokenSecret { token, extension_key: None } })
}

/// Asks for the internal token with this one as the bearer.
async fn ask(core: &Core, bearer: &Held) -> Result<IssuedToken, Error> {
    let secret = core.store.open_secret(bearer.record.lineage, &bearer.secret)?;
    let credential = Credential::of(core, &secret.token)?;
    let auth = credential.auth();
    let fetch = |client: Client| async move { client.internal_access_token(auth).await };
    clock_skew::ask(core, auth, fetch).await
}
