//! Revocation at BitGo, asked for until it is confirmed.
//!
//! ```text
//! revoke ──> marked, with the entry of the audit log, in one commit: nothing is leased any more
//!        ──> a session is logged out; any other token deleted, by a session of its account or itself
//!        ──> confirmed by the answer, or by BitGo's word that the token is dead ──> forgotten
//!            else asked again, from 1 s up to 5 min apart, and after every opening
//! ```

use super::Vault;
use super::core::Core;
use super::credential::Credential;
use super::entry::{Entry, Held};
use super::events::Event;
use super::{clock_skew, retire};
use crate::api::ApiError;
use crate::error::Error;
use crate::id::{LineageId, TokenId};
use crate::policy::{Denied, Rule};
use crate::refresh::Phase;
use crate::store::AuditAction;
use crate::token::{Label, TokenKind};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long it is waited after the first attempt that failed, and the most: it doubles in between.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// How far a revocation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// BitGo has confirmed it, and the token is forgotten.
    Confirmed,
    /// The token is denied here, and BitGo is asked until it confirms.
    Pending,
}

impl Vault {
    /// Revokes the token kept as `label` at BitGo. Once it is marked, durably, nothing is leased, signed
    /// or handed out with it any more, and its leases are dead; then BitGo is asked, and asked again
    /// while the vault is open and whenever it is opened, until it confirms. Then the token is
    /// forgotten, as by [`Vault::remove`]; the audit log keeps its id.
    ///
    /// [`Event::Revoked`](crate::Event::Revoked) and
    /// [`Event::RevocationFailed`](crate::Event::RevocationFailed) tell how it goes. To remove the token
    /// by hand gives up asking.
    ///
    /// Where no token is kept as `label`, but one may have been minted at BitGo under just that label and
    /// is not kept ([`Alarm::Orphan`](crate::Alarm::Orphan)), that is looked for by each session of its
    /// account, and revoked. One that is not found is forgotten a quarter of an hour after it was asked for.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]; [`Error::Store`] if it cannot be marked: BitGo was not asked.
    ///
    /// # Security
    /// It ends what was signed and not yet sent, and what was handed out raw, as soon as BitGo has
    /// confirmed it and not before.
    pub async fn revoke(&self, label: &str) -> Result<Revocation, Error> {
        let label = label.to_owned();
        self.core.run_to_end(move |core| revoke(core, label)).await
    }
}

/// Tokens of which BitGo is asked again.
#[derive(Default)]
pub(super) struct Revocations(Mutex<Running>);

#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    lineages: HashSet<LineageId>,
}

impl Revocations {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on asking. It does not keep the vault open.
    pub(super) fn go_on(&self, core: &Arc<Core>, lineage: LineageId, first: Duration) {
        let running = &mut *self.running();
        if core.check_open().is_ok() && running.lineages.insert(lineage) {
            let task = ask_until_confirmed(Arc::downgrade(core), lineage, first);
            running.tasks.spawn_on(task, &core.runtime);
        }
    }

    /// Ends all asking, and what it holds of the vault. The next opening goes on.
    pub(super) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut self.running().tasks);
        tasks.shutdown().await;
    }
}

/// Refuses a token that is being revoked.
pub(super) fn check(held: &Held) -> Result<(), Denied> {
    match held.record.is_revoked {
        false => Ok(()),
        true => Err(Denied::new(Rule::Revoked, "the token is being revoked; issue a new one")),
    }
}

async fn revoke(core: Arc<Core>, label: String) -> Result<Revocation, Error> {
    // What a token is called at BitGo may be longer than what it is kept as.
    let kept_as = Label::new(&label);
    let is_kept = kept_as.as_ref().is_ok_and(|label| core.entry(label).is_ok());
    if !is_kept && let Some(lineage) = core.blocking(move |core| orphan_of(core, &label)).await?? {
        return match retire::end_orphans_of(&core, lineage).await? {
            true => Ok(Revocation::Confirmed),
            false => Ok(Revocation::Pending),
        };
    }
    let label = kept_as?;
    let lineage = core.blocking(move |core| mark(core, &label)).await??;
    match attempt(&core, lineage).await {
        Ok(()) => Ok(Revocation::Confirmed),
        Err(error) => {
            tell_of_failure(&core, lineage, &error);
            core.revocations.go_on(&core, lineage, wait_after(&error, FIRST_WAIT));
            Ok(Revocation::Pending)
        }
    }
}

/// The lineage of a token that may have been minted under this very label, and is neither kept nor on its
/// way to be.
fn orphan_of(core: &Core, label: &str) -> Result<Option<LineageId>, Error> {
    let mut orphans = core.orphans()?.into_iter();
    let orphan = orphans.find(|(_, minted)| minted.label == label);
    Ok(orphan.map(|(lineage, _)| lineage))
}

/// Marks the token, durably. From here on nothing is done with it.
fn mark(core: &Core, label: &Label) -> Result<LineageId, Error> {
    let _one_at_a_time = core.begin_change();
    let entry = core.entry(label)?;
    let held = entry.held().ok_or_else(|| Error::NoSuchToken { label: label.clone() })?;
    let mut record = held.record.clone();
    let (lineage, id) = (record.lineage, record.info.id);
    if !record.is_revoked {
        record.is_revoked = true;
        core.store.append_audit(
            AuditAction::RevocationAsked,
            id,
            Some(&record),
            core.clock.now(),
        )?;
        entry.replace(held.with(record));
        core.tracker.forget(lineage);
        entry.give_up();
    }
    Ok(lineage)
}

async fn ask_until_confirmed(core: Weak<Core>, lineage: LineageId, first: Duration) {
    let (mut pause, mut wait) = (first, FIRST_WAIT);
    loop {
        tokio::time::sleep(pause).await;
        let Some(core) = core.upgrade().filter(|core| core.check_open().is_ok()) else { return };
        match attempt(&core, lineage).await {
            Ok(()) => {
                core.revocations.running().lineages.remove(&lineage);
                return;
            }
            Err(error) => {
                tell_of_failure(&core, lineage, &error);
                wait = (wait * 2).min(LONGEST_WAIT);
                pause = wait_after(&error, wait);
            }
        }
    }
}

pub(super) fn wait_after(error: &Error, wait: Duration) -> Duration {
    match error {
        Error::Api(error) => error.retry_after().map_or(wait, |asked| asked.max(wait)),
        _ => wait,
    }
}

fn tell_of_failure(core: &Core, lineage: LineageId, error: &Error) {
    tracing::warn!(
        name: "token.not_revoked", %lineage, %error,
        "not revoked so far; bitgo is asked again"
    );
    if let Some(held) = core.entry_of(lineage).and_then(|entry| entry.held()) {
        let label = || held.record.label.clone();
        core.events.emit(|| Event::RevocationFailed { label: label(), error: error.to_string() });
    }
}

/// Asks BitGo once. `Ok` means that the token is dead there and forgotten here, or was removed.
async fn attempt(core: &Arc<Core>, lineage: LineageId) -> Result<(), Error> {
    let Some(entry) = core.entry_of(lineage) else { return Ok(()) };
    let Some(held) = entry.held() else { return Ok(()) };
    match held.record.info.kind {
        TokenKind::Session => log_out(core, &held).await?,
        TokenKind::Imported => end_either(core, &held, held.record.info.id).await?,
        TokenKind::Unverified => end_unverified(core, &held).await?,
        _ => {
            let account = held.record.account.as_deref();
            delete(core, held.record.info.id, account, &credential(core, &held)?).await?;
        }
    }
    core.blocking(move |core| forget(core, &entry, &held)).await?
}

fn forget(core: &Arc<Core>, entry: &Arc<Entry>, held: &Held) -> Result<(), Error> {
    let (label, token_id) = (&held.record.label, held.record.info.id);
    let one_at_a_time = core.begin_change();
    // It may have been removed meanwhile, and another be kept under its label.
    if entry.held().is_some() {
        core.store.append_audit(AuditAction::Revoked, token_id, None, core.clock.now())?;
        core.remove_entry(entry, &one_at_a_time)?;
        tracing::info!(name: "token.revoked", %label, token = %token_id, "revoked");
        core.events.emit(|| Event::Revoked { label: label.clone(), token_id });
    }
    Ok(())
}

async fn log_out(core: &Core, held: &Held) -> Result<(), Error> {
    let credential = credential(core, held)?;
    clock_skew::settle(core, credential.auth()).await?;
    match core.client.logout(credential.auth()).await {
        Ok(()) => Ok(()),
        Err(error) if is_dead(&error, &credential) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Ends a token that may be a session, which is not to be deleted. `Ok` means that it is dead.
async fn end_either(core: &Core, held: &Held, id: TokenId) -> Result<(), Error> {
    let itself = credential(core, held)?;
    match delete(core, id, held.record.account.as_deref(), &itself).await {
        Err(Error::Api(refused)) if !refused.is_transient() => {
            log_out(core, held).await?;
            // Whatever it was: it is asked rather than believed.
            match clock_skew::session(core, itself.auth()).await {
                Err(Error::Api(error)) if is_dead(&error, &itself) => Ok(()),
                Err(error) => Err(error),
                Ok(_) => Err(refused.into()),
            }
        }
        deleted => deleted,
    }
}

/// As [`end_either`], of a token whose id the vault does not know.
async fn end_unverified(core: &Core, held: &Held) -> Result<(), Error> {
    let itself = credential(core, held)?;
    match clock_skew::session(core, itself.auth()).await {
        Ok(record) => end_either(core, held, record.id).await,
        Err(Error::Api(error)) if is_dead(&error, &itself) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes a token by a session of its account, or by itself. `Ok` means that it is dead.
pub(super) async fn delete(
    core: &Core,
    id: TokenId,
    account: Option<&str>,
    itself: &Credential,
) -> Result<(), Error> {
    let now = core.latest_now();
    let is_session = |other: &&Arc<Held>| {
        let record = &other.record;
        record.info.kind == TokenKind::Session
            && record.account.is_some()
            && record.account.as_deref() == account
            && !record.is_revoked
            && other.phase(now) != Phase::Expired
    };
    let holdings = core.holdings();
    for session in holdings.iter().filter(is_session) {
        let bearer = credential(core, session)?;
        clock_skew::settle(core, bearer.auth()).await?;
        match core.client.delete_token(bearer.auth(), id).await {
            Ok(_) => return Ok(()),
            // Nothing is known of other bearers while the server cannot be asked.
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => tracing::debug!(
                name: "revoke.refused", token = %id, %error,
                "refused to a session: the next one is asked, or the token itself"
            ),
        }
    }
    clock_skew::settle(core, itself.auth()).await?;
    let refused = match core.client.delete_token(itself.auth(), id).await {
        Ok(_) => return Ok(()),
        Err(error) if is_dead(&error, itself) => return Ok(()),
        Err(error) if error.is_transient() => return Err(error.into()),
        Err(error) => error,
    };
    // One that is no long-lived token may not be found, though it lives.
    match clock_skew::session(core, itself.auth()).await {
        Err(Error::Api(error)) if is_dead(&error, itself) => Ok(()),
        _ => Err(refused.into()),
    }
}

/// Whether BitGo says that the bearer is dead. Of one that cannot sign nobody but the connection
/// vouches for that.
fn is_dead(error: &ApiError, bearer: &Credential) -> bool {
    match error {
        ApiError::TokenDead(refusal) => {
            refusal.is_verified() || matches!(bearer, Credential::Travels(_))
        }
        _ => false,
    }
}

fn credential(core: &Core, held: &Held) -> Result<Credential, Error> {
    let secret = core.store.open_secret(held.record.lineage, &held.secret)?;
    Credential::of(core, &secret.token)
}
