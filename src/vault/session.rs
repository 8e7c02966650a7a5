//! A token unlocked, locked, ended at BitGo, by hand. Nothing in the vault calls these by itself.

use super::Vault;
use super::clock_skew;
use super::core::Core;
use super::credential::Credential;
use super::entry::Held;
use super::mint;
use crate::api::wire::TokenRecord as WireRecord;
use crate::api::{ApiError, Page};
use crate::error::Error;
use crate::policy;
use crate::provider::Provider;
use crate::refresh::{self, Phase};
use crate::secret::Otp;
use crate::store::AuditAction;
use crate::token::{Label, TokenKind};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;

impl Vault {
    /// Unlocks the token kept as `label` at BitGo for `duration`, from 1 s to an hour: until then one
    /// **without** spending limits may spend there. Answers until when, where BitGo tells.
    ///
    /// To unlock removes every spending limit for good, so that this asks for the token's record
    /// first, and refuses one that has any: per coin, the older single one, or that for all ERC-20
    /// coins. That last one stands in the list of tokens alone, which takes a session of the same
    /// account to read; sessions and internal tokens are in no such list, and have none.
    ///
    /// # Errors
    /// [`Error::HasLimits`] and [`Error::LimitsUnknown`]: nothing was unlocked. [`Error::NoSuchToken`],
    /// [`Error::Denied`] for one that has expired, [`Error::Provider`], [`Error::Api`].
    pub async fn unlock_session(
        &self,
        label: &str,
        otp: impl Into<Provider<Otp>>,
        duration: Duration,
    ) -> Result<Option<DateTime<Utc>>, Error> {
        let (label, otp) = (Label::new(label)?, Arc::new(otp.into()));
        let unlocked = self.core.run_to_end(async move |core| {
            let held = holding(&core, &label)?;
            check_no_limits(&core, &label, &held).await?;
            let otp = core.ask(&otp).await?;
            unlock(&core, &held, &otp, duration).await
        });
        unlocked.await
    }

    /// Unlocks as [`Vault::unlock_session`] does, whatever limits the token has. The audit log tells of
    /// it first. The vault itself goes on by the limits that it knows.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`], [`Error::Denied`] for one that has expired, [`Error::Provider`],
    /// [`Error::Api`]; [`Error::Store`] if the audit log cannot tell of it: then nothing was unlocked.
    ///
    /// # Security
    /// **The token's spending limits at BitGo are gone for good.** Until it is locked, whoever holds
    /// the token can empty the wallets it reaches; after that each unlocking lets it do so again.
    pub async fn dangerous_unlock_removing_limits(
        &self,
        label: &str,
        otp: impl Into<Provider<Otp>>,
        duration: Duration,
    ) -> Result<Option<DateTime<Utc>>, Error> {
        let (label, otp) = (Label::new(label)?, Arc::new(otp.into()));
        let unlocked = self.core.run_to_end(async move |core| {
            let held = holding(&core, &label)?;
            let otp = core.ask(&otp).await?;
            let id = held.record.info.id;
            let told = core.blocking(move |core| {
                core.store.append_audit(AuditAction::LimitsRemoved, id, None, core.clock.now())
            });
            told.await??;
            unlock(&core, &held, &otp, duration).await
        });
        unlocked.await
    }

    /// Locks the token kept as `label` at BitGo: what unlocking allowed ends now.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`], [`Error::Api`].
    pub async fn lock_session(&self, label: &str) -> Result<(), Error> {
        let label = Label::new(label)?;
        let locked = self.core.run_to_end(async move |core| {
            let held = holding(&core, &label)?;
            core.client.lock(credential(&core, &held)?.auth()).await?;
            let locked = refresh::Event::Unlocked { until: None };
            core.tracker.happened(held.record.lineage, locked);
            Ok(())
        });
        locked.await
    }

    /// Ends the session kept as `label` at BitGo, then forgets it. One that BitGo says has ended
    /// already is forgotten as well.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]; [`Error::ClockSkew`]; [`Error::Api`]: then it is kept, though after
    /// [`Lost`](crate::api::ApiError::Lost) it may be dead; [`Error::Store`] if it cannot be forgotten.
    pub async fn logout(&self, label: &str) -> Result<(), Error> {
        let label = Label::new(label)?;
        let ended = self.core.run_to_end(async move |core| {
            let entry = core.entry(&label)?;
            let held = entry.held().ok_or(Error::NoSuchToken { label })?;
            let credential = credential(&core, &held)?;
            clock_skew::settle(&core, credential.auth()).await?;
            match core.client.logout(credential.auth()).await {
                Ok(()) => {}
                Err(ApiError::TokenDead(refusal)) if refusal.is_verified() => {}
                Err(error) => return Err(error.into()),
            }
            let removed = core.blocking(move |core| {
                let change = core.begin_change();
                // Another may be kept under its label by now, or have taken its place.
                let is_it = |other: &Arc<Held>| other.record.info.id == held.record.info.id;
                match entry.held().as_ref().is_some_and(is_it) {
                    true => {
                        let (id, now) = (held.record.info.id, core.clock.now());
                        core.store.append_audit(AuditAction::LoggedOut, id, None, now)?;
                        core.remove_entry(&entry, &change).map(drop)
                    }
                    false => Ok(()),
                }
            });
            removed.await?
        });
        ended.await
    }
}

fn held(core: &Core, label: &Label) -> Result<Arc<Held>, Error> {
    core.entry(label)?.held().ok_or_else(|| Error::NoSuchToken { label: label.clone() })
}

/// A token that lives, as far as the vault knows.
fn holding(core: &Core, label: &Label) -> Result<Arc<Held>, Error> {
    let held = held(core, label)?;
    policy::check_expiry(&held.record.info, core.moment().latest_ms())?;
    Ok(held)
}

fn credential(core: &Core, held: &Held) -> Result<Credential, Error> {
    let secret = core.store.open_secret(held.record.lineage, &held.secret)?;
    Credential::of(core, &secret.token)
}

async fn unlock(
    core: &Arc<Core>,
    held: &Held,
    otp: &Otp,
    duration: Duration,
) -> Result<Option<DateTime<Utc>>, Error> {
    let credential = credential(core, held)?;
    let auth = credential.auth();
    let record = core.client.dangerous_unlock_removing_limits(auth, otp, duration).await?;
    tracing::warn!(
        name: "token.unlocked", token = %held.record.info.id, until = ?record.unlock.expires,
        "unlocked"
    );
    let until = record.unlock.expires;
    core.tracker.happened(held.record.lineage, refresh::Event::Unlocked { until });
    Ok(record.unlock.expires)
}

/// Refuses a token that has a limit, by records that are read now.
async fn check_no_limits(core: &Arc<Core>, label: &Label, held: &Held) -> Result<(), Error> {
    let secret = core.store.open_secret(held.record.lineage, &held.secret)?;
    let own = mint::own_record(core, &secret.token, Some(held.record.info.id)).await?;
    let has_limits = own.unlock.has_limits()
        || matches!(held.record.info.kind, TokenKind::LongLived | TokenKind::Imported)
            && listed(core, label, held).await?.unlock.has_limits();
    match has_limits {
        true => Err(Error::HasLimits { label: label.clone() }),
        false => Ok(()),
    }
}

/// The record of a long-lived token as the list of tokens has it, read with a session of its account
/// or, where there is none, with itself.
pub(super) async fn listed(core: &Core, label: &Label, held: &Held) -> Result<WireRecord, Error> {
    let unknown = || Error::LimitsUnknown { label: label.clone() };
    let now = core.latest_now();
    let holdings = core.holdings();
    let sessions = holdings.iter().map(AsRef::as_ref).filter(|other: &&Held| {
        other.record.info.kind == TokenKind::Session
            && other.record.account == held.record.account
            && other.phase(now) != Phase::Expired
    });
    for reader in sessions.chain([held]) {
        let credential = credential(core, reader)?;
        let mut tokens = core.client.tokens(credential.auth(), Page::default());
        while let Some(record) = tokens.next().await {
            match record {
                Ok(record) if record.id == held.record.info.id => return Ok(record),
                Ok(_) => {}
                // This one may not read it; another may.
                Err(error) if error.refusal().is_some() && !error.is_transient() => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(unknown())
}
