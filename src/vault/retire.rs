//! Tokens that were replaced are revoked at BitGo: once what was signed with them had its time, by a
//! session of their account or by themselves, until BitGo confirms it, over restarts. What was minted
//! and is not kept is looked for with any session of the vault. What BitGo refuses is told of, once in
//! each opening.

use super::core::Core;
use super::credential::Credential;
use super::entry::Held;
use super::events::Alarm;
use super::minted::Left;
use super::{clock_skew, minted, reissue, revoke};
use crate::error::Error;
use crate::id::{LineageId, TokenId};
use crate::refresh::{Phase, Standing};
use crate::store::{AuditAction, Minted, Reissue, Retired};
use crate::token::TokenKind;
use chrono::TimeDelta;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long it is waited after the first attempt that failed, and the most: it doubles in between.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How long after its end a token is not asked about any more: it is dead by any clock.
const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);

/// Lineages of which something is still to be ended.
#[derive(Default)]
pub(super) struct Retirements(Mutex<Running>);

#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    /// What tells each lineage's task that something was added.
    lineages: HashMap<LineageId, Arc<Notify>>,
}

impl Retirements {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on ending what is to be ended. It does not keep the vault open.
    pub(super) fn go_on(&self, core: &Arc<Core>, lineage: LineageId) {
        let running = &mut *self.running();
        if core.check_open().is_err() {
            return;
        }
        match running.lineages.entry(lineage) {
            Entry::Occupied(added) => added.get().notify_one(),
            Entry::Vacant(place) => {
                let added = Arc::clone(place.insert(Arc::default()));
                running
                    .tasks
                    .spawn_on(end_all(Arc::downgrade(core), lineage, added), &core.runtime);
            }
        }
    }

    /// Ends all asking, and what it holds of the vault. The next opening goes on.
    pub(super) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut self.running().tasks);
        tasks.shutdown().await;
    }
}

/// What a task knows of what it is to end.
#[derive(Default)]
struct Known {
    /// When it first saw each token that was replaced, in monotonic time.
    seen: HashMap<TokenId, Duration>,
    told: HashSet<TokenId>,
    told_labels: HashSet<String>,
}

async fn end_all(core: Weak<Core>, lineage: LineageId, added: Arc<Notify>) {
    let (mut known, mut wait) = (Known::default(), FIRST_WAIT);
    loop {
        let ended = {
            let Some(core) = core.upgrade().filter(|core| core.check_open().is_ok()) else {
                return;
            };
            match attempt(&core, lineage, &mut known).await {
                Ok(None) => match is_done(&core, lineage).await {
                    true => return,
                    false => Ok(FIRST_WAIT),
                },
                Ok(Some(pause)) => Ok(pause),
                Err(error) => {
                    tracing::warn!(
                        name: "token.not_retired", %lineage, %error,
                        "what is to be ended is not ended yet"
                    );
                    wait = (wait * 2).min(LONGEST_WAIT);
                    Err(revoke::wait_after(&error, wait))
                }
            }
        };
        match ended {
            Ok(pause) => {
                wait = FIRST_WAIT;
                let _ = timeout(pause.min(LONGEST_WAIT), added.notified()).await;
            }
            // A server that fails, or asks to wait, is not asked sooner for what was added.
            Err(pause) => sleep(pause).await,
        }
    }
}

async fn read(core: &Arc<Core>, lineage: LineageId) -> Result<Option<Reissue>, Error> {
    Ok(core.blocking(move |core| core.store.reissue(lineage)).await??)
}

/// Gives the lineage up, unless something came while this task was still taken for running.
async fn is_done(core: &Arc<Core>, lineage: LineageId) -> bool {
    let Some(added) = core.retirements.running().lineages.remove(&lineage) else { return true };
    let left = read(core, lineage).await.ok().flatten();
    if left.is_none_or(|reissue| is_ended(&reissue)) {
        return true;
    }
    match core.retirements.running().lineages.entry(lineage) {
        Entry::Occupied(_) => true,
        Entry::Vacant(place) => {
            place.insert(added);
            false
        }
    }
}

/// Whether nothing is left that this task sees to: an intent belongs to the renewal, while there is one.
fn is_ended(reissue: &Reissue) -> bool {
    let is_removed = reissue.plan.is_empty();
    reissue.retired.is_empty()
        && reissue.orphans.is_empty()
        && !(is_removed && reissue.intent.is_some())
}

/// Ends what can be ended now. Answers when to look again; `None` if nothing is left.
async fn attempt(
    core: &Arc<Core>,
    lineage: LineageId,
    known: &mut Known,
) -> Result<Option<Duration>, Error> {
    let Some(reissue) = read(core, lineage).await?.filter(|reissue| !is_ended(reissue)) else {
        return Ok(None);
    };
    let (mut next, mut result) = (LONGEST_WAIT, Ok(()));
    // One that cannot be ended holds up no other.
    for retired in &reissue.retired {
        let left = drains_for(core, retired, known);
        if !left.is_zero() {
            next = next.min(left);
            continue;
        }
        next = Duration::ZERO;
        if let Err(error) = retire(core, lineage, retired).await {
            tell_of_former(core, lineage, retired.token_id, &error, known);
            result = Err(error);
        }
    }
    let is_removed = reissue.plan.is_empty();
    let sought: Vec<_> = reissue.unkept().collect();
    for minted in &sought {
        // Of most that may still come none does.
        let may_come = minted::may_still_come(minted, core.latest_now());
        if (is_removed || !may_come) && known.told_labels.insert(minted.label.clone()) {
            minted::tell(core, None, minted);
        }
    }
    end_orphans(core, lineage, sought).await.and(result).map(|()| Some(next))
}

/// How long what was signed with a token that was replaced is still on its way: by the wall clock as
/// far as that can be believed, and no longer than a lease lives.
fn drains_for(core: &Core, retired: &Retired, known: &mut Known) -> Duration {
    let now = core.clock.monotonic();
    let seen = *known.seen.entry(retired.token_id).or_insert(now);
    let most = core.lease_lifetime.saturating_sub(now.saturating_sub(seen));
    (retired.from - core.clock.now()).to_std().unwrap_or_default().min(most)
}

async fn retire(core: &Arc<Core>, lineage: LineageId, retired: &Retired) -> Result<(), Error> {
    let id = retired.token_id;
    // One that is over by any clock needs no word of BitGo's.
    let over = retired.expires_at.and_then(|end| end.checked_add_signed(CLOCKS_APART));
    if over.is_none_or(|over| minted::earliest_now(core) <= over) {
        let itself = Credential::of(core, &retired.token)?;
        revoke::delete(core, id, retired.account.as_deref(), &itself).await?;
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

/// Tells of a token that BitGo does not revoke, unless it may at the next try.
fn tell_of_former(
    core: &Core,
    lineage: LineageId,
    token_id: TokenId,
    error: &Error,
    known: &mut Known,
) {
    let may_pass = matches!(error, Error::Api(error) if error.is_transient());
    if may_pass || !known.told.insert(token_id) {
        return;
    }
    let alarm = Alarm::FormerAlive { token_id };
    tracing::error!(
        name: "token.former_alive", token = %token_id, %error, see = %alarm.runbook(),
        "a token that was replaced cannot be revoked"
    );
    let held = core.entry_of(lineage).and_then(|entry| entry.held());
    let label = held.map(|held| held.record.label.clone());
    core.events.raise(label.as_ref(), alarm);
}

/// Ends now what may have been minted in a lineage and is not kept; whether nothing is left of it.
pub(super) async fn end_orphans_of(core: &Arc<Core>, lineage: LineageId) -> Result<bool, Error> {
    let sought = async || {
        let reissue = read(core, lineage).await?;
        Ok::<_, Error>(reissue.into_iter().flat_map(Reissue::unkept).collect::<Vec<_>>())
    };
    end_orphans(core, lineage, sought().await?).await?;
    Ok(sought().await?.is_empty())
}

/// Looks for tokens that were minted and are not kept, with each session that there is. Without one
/// they wait. A session that fails is followed by the next.
async fn end_orphans(
    core: &Arc<Core>,
    lineage: LineageId,
    mut sought: Vec<Minted>,
) -> Result<(), Error> {
    let (now, mut result) = (core.latest_now(), Ok(()));
    for session in core.holdings() {
        let record = &session.record;
        let is_usable = record.info.kind == TokenKind::Session
            && !record.is_revoked
            && session.standing() == Standing::Good
            && session.phase(now) != Phase::Expired;
        // One whose account is not known may be of any.
        let user = record.account.as_deref();
        let is_theirs = |minted: &Minted| user.is_none_or(|user| user == minted.account);
        if !is_usable || !sought.iter().any(is_theirs) {
            continue;
        }
        match end_by(core, lineage, &session, sought.clone()).await {
            Ok(left) => {
                sought.clear();
                for left in left {
                    result = left.error.map_or(result, |error| Err(error.into()));
                    sought.push(left.minted);
                }
            }
            Err(error) => result = Err(error),
        }
    }
    // Another session may have done what one could not.
    if sought.is_empty() { Ok(()) } else { result }
}

/// Ends those that this session can, and forgets them; what is left.
async fn end_by(
    core: &Arc<Core>,
    lineage: LineageId,
    session: &Held,
    sought: Vec<Minted>,
) -> Result<Vec<Left>, Error> {
    let secret = core.store.open_secret(session.record.lineage, &session.secret)?;
    let bearer = Credential::of(core, &secret.token)?;
    clock_skew::settle(core, bearer.auth()).await?;
    let user = session.record.account.as_deref();
    let left = minted::end(core, &bearer, user, sought.clone()).await?;
    let is_gone = |minted: &Minted| left.iter().all(|left| left.minted != *minted);
    let gone: Vec<_> = sought.into_iter().filter(is_gone).collect();
    if !gone.is_empty() {
        reissue::note(core, lineage, move |reissue| {
            reissue.orphans.retain(|orphan| !gone.contains(orphan));
            reissue.intent.take_if(|intent| gone.contains(intent));
        })
        .await?;
    }
    Ok(left)
}
