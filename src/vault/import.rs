//! A token that somebody has already, such as one in an environment variable, taken into the vault.
//!
//! ```text
//! import ── its own record ──────────> kept as any other, its ledger at the server's counters
//!        ── BitGo is not reached ────> kept unverified, by an id of the vault's own: it only views
//!        ── refused, or it has ended > not kept
//! unverified ── reconcile, renew, or the vault by itself: its own record ──> kept as any other
//! ```

use super::Vault;
use super::core::Core;
use super::entry::{Entry, Held, TokenStatus};
use super::mint;
use crate::api::ApiError;
use crate::crypto;
use crate::error::Error;
use crate::id::TokenId;
use crate::policy::KeptRules;
use crate::refresh::{self, Failure};
use crate::renewal_memory::{Need, RenewalMemory};
use crate::secret::AccessToken;
use crate::store::{StoreError, TokenRecord, TokenSecret};
use crate::token::{Label, Renewal, TokenInfo, TokenKind};
use getrandom::SysRng;
use std::sync::Arc;
use tracing::Instrument;

impl Vault {
    /// Keeps a token that you have already, as `label`. BitGo is asked first, with the token itself, what
    /// it may do, what it has spent and when it ends. It is not renewed by itself; once its account was
    /// logged in to here, [`Vault::reissue`] has it minted anew.
    ///
    /// Where BitGo cannot be reached the token is kept *unverified*
    /// ([`TokenStatus::is_unverified`]): it signs what only views, spends nothing and is not handed out,
    /// and [`TokenInfo::id`] is the vault's own. The vault asks for the rest by itself, and by
    /// [`Vault::reconcile`].
    ///
    /// # Errors
    /// [`Error::LabelTaken`]; [`Error::KeptAlready`] for a token that is kept under another label;
    /// [`Error::Api`] with what BitGo said, such as [`TokenDead`](ApiError::TokenDead);
    /// [`Error::CannotSign`] for an older token (see
    /// [`VaultBuilder::dangerous_accept_tokens_in_clear`](super::VaultBuilder::dangerous_accept_tokens_in_clear));
    /// [`Error::ArrivedExpired`]; [`Error::Store`]. Nothing is kept then.
    ///
    /// # Security
    /// Whoever had the token still has it. What they spend counts here once it is reconciled; to have it
    /// alone, mint another in its place ([`Vault::reissue`], or [`Vault::issue`] and [`Vault::revoke`]).
    pub async fn import(&self, label: &str, token: AccessToken) -> Result<TokenStatus, Error> {
        let label = Label::new(label)?;
        let span = tracing::info_span!("vault.import", %label);
        self.core.run_to_end(|core| import(core, label, token).instrument(span)).await
    }
}

async fn import(core: Arc<Core>, label: Label, token: AccessToken) -> Result<TokenStatus, Error> {
    let _claim = core.claim(&label)?;
    core.store.check_writable()?;
    let mut failure = None;
    let Known { info, account } = match ask(&core, &token).await {
        Err(Error::Api(error)) if error.is_transient() => {
            failure = Some(Failure::Transient { retry_after: error.patience() });
            tracing::warn!(
                name: "import.unverified", %label, %error,
                "a token is kept of which bitgo could not be asked: it only views"
            );
            Known { info: unverified(&token)?, account: None }
        }
        asked => asked?,
    };
    let (renewal, rules) = (Renewal::Manual, KeptRules::default());
    let lineage = core.store.new_lineage()?;
    let is_revoked = false;
    let record = TokenRecord { lineage, label, account, renewal, rules, is_revoked, info };
    let secret = TokenSecret { token, extension_key: None };
    let kept = core.blocking(move |core| {
        let one_at_a_time = core.begin_change();
        mint::put(core, record, &secret, None, &one_at_a_time)
    });
    let kept = kept.await??;
    if let Some(failure) = failure {
        core.tracker.failed(lineage, failure);
    }
    Ok(kept)
}

/// Asks BitGo about an unverified token, and keeps what it says. One that it refuses stays as it is.
pub(super) async fn verify(
    core: &Arc<Core>,
    label: &Label,
    entry: &Arc<Entry>,
) -> Result<(), Error> {
    let gone = || Error::NoSuchToken { label: label.clone() };
    let held = entry.held().ok_or_else(gone)?;
    core.store.check_writable()?;
    let local = held.record.info.id;
    let secret = core.store.open_secret(held.record.lineage, &held.secret)?;
    let asked = ask(core, &secret.token).await;
    drop(secret);
    let verified = match asked {
        Ok(known) => take_in(core, label, entry, known).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &verified
        && entry.held().is_some_and(|held| held.is_unverified())
    {
        entry.failed(error.to_string(), false);
        match error {
            Error::Api(ApiError::TokenDead(refusal)) if refusal.is_verified() => {
                let refused = refresh::Event::Refused { token: local, is_signed: true };
                core.tracker.happened(held.record.lineage, refused);
            }
            error => core.tracker.failed(held.record.lineage, failure(error)),
        }
    }
    verified
}

/// How long to wait with the next question.
fn failure(error: &Error) -> Failure {
    match error {
        // Whether it is dead is asked once more, and then by the rules for tokens that may be.
        Error::Api(ApiError::TokenDead(_) | ApiError::Unauthorized(_)) => Failure::Refused,
        Error::Api(error)
            if error.is_transient()
                || matches!(error, ApiError::Untrusted { .. })
                || error.refusal().is_some_and(|refusal| !refusal.is_verified()) =>
        {
            Failure::Transient { retry_after: error.patience() }
        }
        Error::ClockSkew { .. } | Error::Interrupted => Failure::Transient { retry_after: None },
        Error::Store(StoreError::ReadOnly { .. }) => Failure::Terminal(Need::Disk),
        // Whatever else is wrong a human must see to.
        _ => Failure::Costly(Need::LookAtError),
    }
}

/// Keeps what BitGo said of a token that was unverified.
async fn take_in(
    core: &Arc<Core>,
    label: &Label,
    entry: &Arc<Entry>,
    known: Known,
) -> Result<(), Error> {
    let Known { info, account } = known;
    let (label, entry) = (label.clone(), Arc::clone(entry));
    let verified = core.blocking(move |core| {
        let one_at_a_time = core.begin_change();
        // Somebody else may have asked as well, or removed it.
        let now = entry.held().ok_or(Error::NoSuchToken { label })?;
        if !now.is_unverified() {
            return Ok(());
        }
        core.check_sole(info.id, now.record.lineage, &one_at_a_time)?;
        // The rules may have changed while BitGo was asked.
        let record = TokenRecord { info, account, ..now.record.clone() };
        let server_ms = core.moment().server_ms;
        core.store.remember_renewal(record.lineage, &RenewalMemory::default())?;
        core.store.append_verified(&record, server_ms, core.clock.now())?;
        let (lineage, is_revoked) = (record.lineage, record.is_revoked);
        let verified = Held::new(record, now.secret.clone(), core.windows);
        let state = verified.renewal_state();
        core.succeed(&entry, &now, verified);
        entry.mended();
        if !is_revoked {
            core.tracker.track(lineage, state);
        }
        Ok(())
    });
    verified.await?
}

/// What BitGo says of a token.
struct Known {
    info: TokenInfo,
    /// Whose it is.
    account: Option<String>,
}

async fn ask(core: &Arc<Core>, token: &AccessToken) -> Result<Known, Error> {
    let record = mint::own_record(core, token, None).await?;
    mint::look_for_spoofer(core, token, record.id).await?;
    let kind = match record.internal {
        Some(true) => TokenKind::Internal,
        _ => TokenKind::Imported,
    };
    let info = mint::arrived(core, record.to_info(kind, !token.can_sign()))?;
    Ok(Known { info, account: record.user.map(Into::into) })
}

/// All that is known of a token before BitGo is asked: nothing. Its id is made up, so that no two are
/// taken for one.
fn unverified(token: &AccessToken) -> Result<TokenInfo, Error> {
    let id = crypto::random(&mut SysRng).map_err(Error::crypto("token's local id"))?;
    let id = TokenId::from_bytes(id);
    Ok(TokenInfo {
        issued_in_clear: !token.can_sign(),
        ..TokenInfo::unknown(id, TokenKind::Unverified)
    })
}
