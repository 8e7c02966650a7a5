//! Tokens that were replaced are revoked at BitGo: once what was signed with them had its time, each
//! by itself, until BitGo confirms it, over restarts. What was minted and is not kept is looked for
//! with any session of the vault.

use super::core::Core;
use super::credential::Credential;
use super::events::Alarm;
use super::reissue;
use crate::api::ApiError;
use crate::error::Error;
use crate::id::LineageId;
use crate::refresh::Phase;
use crate::store::{AuditAction, Reissue, Retired};
use crate::token::TokenKind;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long it is waited after the first attempt that failed, and the most: it doubles in between.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How long after its end a token is not asked about any more: it is dead by any clock.
const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);

/// Lineages of which something is still to be ended.
#[derive(Default)]
pub(super) struct Retirements {
    running: Mutex<Running>,
    /// Something was added to what is to be ended.
    added: Notify,
}

#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    lineages: HashSet<LineageId>,
}

impl Retirements {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on ending what is to be ended. It does not keep the vault open.
    pub(super) fn go_on(&self, core: &Arc<Core>, lineage: LineageId) {
        let running = &mut *self.running();
        if core.check_open().is_ok() && running.lineages.insert(lineage) {
            running.tasks.spawn_on(end_all(Arc::downgrade(core), lineage), &core.runtime);
        }
        self.added.notify_waiters();
    }

    /// Ends all asking, and what it holds of the vault. The next opening goes on.
    pub(super) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut self.running().tasks);
        tasks.shutdown().await;
    }
}

async fn end_all(core: Weak<Core>, lineage: LineageId) {
    let Some(retirements) = core.upgrade().map(|core| Arc::clone(&core.retirements)) else {
        return;
    };
    if let Some(core) = core.upgrade() {
        tell_of_orphans(&core, lineage).await;
    }
    let mut wait = FIRST_WAIT;
    loop {
        // Heard from before it is looked at, so that nothing is missed.
        let added = retirements.added.notified();
        let pause = {
            let Some(core) = core.upgrade().filter(|core| core.check_open().is_ok()) else {
                return;
            };
            match attempt(&core, lineage).await {
                Ok(Some(pause)) => {
                    wait = FIRST_WAIT;
                    pause
                }
                Ok(None) => {
                    retirements.running().lineages.remove(&lineage);
                    // Something may have come while this one was still taken for running.
                    if is_done(&core, lineage).await
                        || !retirements.running().lineages.insert(lineage)
                    {
                        return;
                    }
                    FIRST_WAIT
                }
                Err(error) => {
                    tracing::warn!(
                        name: "token.not_retired", %lineage, %error,
                        "a former token is not revoked yet"
                    );
                    wait = (wait * 2).min(LONGEST_WAIT);
                    wait
                }
            }
        };
        let _ = timeout(pause.min(LONGEST_WAIT), added).await;
    }
}

async fn read(core: &Arc<Core>, lineage: LineageId) -> Result<Option<Reissue>, Error> {
    Ok(core.blocking(move |core| core.store.reissue(lineage)).await??)
}

async fn is_done(core: &Arc<Core>, lineage: LineageId) -> bool {
    let left = read(core, lineage).await.ok().flatten();
    left.is_none_or(|reissue| is_ended(&reissue))
}

/// Whether nothing is left that this task sees to: an intent belongs to the renewal, while there is one.
fn is_ended(reissue: &Reissue) -> bool {
    let is_removed = reissue.plan.is_empty();
    reissue.retired.is_empty()
        && reissue.orphans.is_empty()
        && !(is_removed && reissue.intent.is_some())
}

async fn tell_of_orphans(core: &Arc<Core>, lineage: LineageId) {
    let reissue = read(core, lineage).await.ok().flatten();
    for minted in reissue.into_iter().flat_map(|reissue| reissue.orphans) {
        tracing::error!(name: "token.orphaned", minted, "a token was minted and is not revoked");
        core.events.raise(None, Alarm::Orphan { label: minted.into() });
    }
}

/// Ends what can be ended now. Answers when to look again; `None` if nothing is left.
async fn attempt(core: &Arc<Core>, lineage: LineageId) -> Result<Option<Duration>, Error> {
    let Some(reissue) = read(core, lineage).await? else { return Ok(None) };
    if is_ended(&reissue) {
        return Ok(None);
    }
    let now = core.clock.now();
    let (mut next, mut result) = (LONGEST_WAIT, Ok(()));
    // One that cannot be ended holds up no other.
    for retired in &reissue.retired {
        match (retired.from - now).to_std() {
            Ok(left) if !left.is_zero() => next = next.min(left),
            _ => {
                result = retire(core, lineage, retired, now).await.and(result);
                next = Duration::ZERO;
            }
        }
    }
    let intent = reissue.intent.filter(|_| reissue.plan.is_empty());
    for minted in intent.into_iter().chain(reissue.orphans) {
        result = end_orphan(core, lineage, minted).await.and(result);
    }
    result.map(|()| Some(next))
}

async fn retire(
    core: &Arc<Core>,
    lineage: LineageId,
    retired: &Retired,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let id = retired.token_id;
    // One that is over by any clock needs no word of BitGo's.
    if retired.expires_at.is_none_or(|end| now <= end + CLOCKS_APART) {
        revoke(core, retired).await?;
        let told = core.blocking(move |core| {
            core.store.append_audit(AuditAction::Revoked, id, None, core.clock.now())
        });
        told.await??;
    }
    reissue::note(core, lineage, move |reissue| {
        reissue.retired.retain(|retired| retired.token_id != id);
    })
    .await
}

/// Asks BitGo to revoke a token by the token itself. `Ok` means that it is dead.
async fn revoke(core: &Core, retired: &Retired) -> Result<(), Error> {
    let credential = Credential::of(core, &retired.token)?;
    match core.client.delete_token(credential.auth(), retired.token_id).await {
        Ok(_) => Ok(()),
        Err(ApiError::TokenDead(refusal)) if refusal.is_verified() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Looks for a token that was minted and is not kept, with each session that there is: its label is
/// no other's. Without one it waits.
async fn end_orphan(core: &Arc<Core>, lineage: LineageId, minted: String) -> Result<(), Error> {
    let now = core.clock.now();
    for session in core.holdings() {
        if session.record.info.kind != TokenKind::Session || session.phase(now) == Phase::Expired {
            continue;
        }
        let secret = core.store.open_secret(session.record.lineage, &session.secret)?;
        let bearer = Credential::of(core, &secret.token)?;
        // That another account does not have it is no news of it.
        let found = super::mint::find(core, &bearer, &minted).await?;
        if let Some(id) = found {
            super::mint::revoke(core, &bearer, id).await?;
            return reissue::note(core, lineage, move |reissue| {
                reissue.orphans.retain(|orphan| *orphan != minted);
                reissue.intent.take_if(|intent| *intent == minted);
            })
            .await;
        }
    }
    Ok(())
}
