//! What every part of the vault works on.

use super::clock_skew::ToldOf;
use super::control::Server;
use super::entries::Entries;
use super::entry::{Entry, Held, TokenStatus};
use super::events::Outlet;
use super::keys::Keys;
use super::login::Login;
use super::oauth;
use super::refusals::Refusals;
use super::retire::Retirements;
use super::revoke::Revocations;
use super::runtime::Runtime;
use crate::api::Client;
use crate::clock::Clock;
use crate::crypto::{AuthVersion, EcdhPublicKey, LastStep, WINDOW_BACK_MS};
use crate::environment::Environment;
use crate::error::Error;
use crate::id::{LineageId, TokenId};
use crate::policy::Moment;
use crate::provider::{Provided, Provider};
use crate::refresh::{State, Tracker, WindowSettings};
use crate::renewal_memory::{Need, RenewalMemory};
use crate::server_clock::{FIRST_MAX_MS, Hearing, ServerClock};
use crate::store::{Minted, SealedSecret, Store, StoreError, TokenRecord};
use crate::token::{Label, Renewal};
use chrono::{DateTime, Utc};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tracing::Span;

/// How old an answer may have been by which BitGo's clock was first heard: it may have been kept for its
/// window, and have been dated by as much as is believed of anybody's word.
const OLDEST_HEARD_MS: i64 = WINDOW_BACK_MS + FIRST_MAX_MS + 60_000;

pub(super) struct Core {
    pub(super) store: Store,
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) environment: Environment,
    /// The environment's, read once.
    pub(super) server_key: EcdhPublicKey,
    pub(super) auth_version: AuthVersion,
    /// Whether tokens that came in clear are kept, and those that cannot sign are used.
    pub(super) accepts_clear: bool,
    pub(super) lease_lifetime: Duration,
    pub(super) windows: WindowSettings,
    pub(super) tracker: Tracker,
    pub(super) runtime: Runtime,
    pub(super) refusals: Refusals,
    /// Shared with what outlives nobody but must not keep the vault open.
    pub(super) events: Arc<Outlet>,
    /// Shared with the client, which hears, and the store, which remembers.
    pub(super) server_clock: Arc<ServerClock>,
    pub(super) skew_told_of: ToldOf,
    pub(super) keys: Arc<Keys>,
    pub(super) control: Server,
    pub(super) revocations: Revocations,
    pub(super) retirements: Arc<Retirements>,
    /// Logins by which tokens are minted anew, by lineage: they were given since the opening.
    pub(super) logins: Mutex<HashMap<LineageId, Arc<Login>>>,
    /// In the clock's monotonic time.
    pub(super) opened_at: Duration,
    /// In milliseconds since 1970, by the wall clock, or as requests are dated where that is later: what
    /// is known of BitGo's clock may be out of date. See [`Core::opened_ms`].
    opened_at_ms: i64,
    /// Held for a look-up or an insertion, never across either's consequences.
    entries: RwLock<Entries>,
    /// Labels that a mint under way will use.
    claimed: Mutex<HashSet<Label>>,
    /// The turns of kept seeds, by account.
    turns: Mutex<HashMap<String, Arc<LastStep>>>,
    /// Guards what reads a token, commits and replaces it: renewal, change of rules, removal. Two
    /// at once would undo each other, or write a token back that was just removed.
    changes: Mutex<()>,
    /// Held to read by all work that blocks: it outlives the futures that wait for it, and close
    /// must not.
    pub(super) at_work: Arc<tokio::sync::RwLock<()>>,
    /// Held to read while a refresh token is on its way: close waits for it.
    pub(super) rotating: Arc<tokio::sync::RwLock<()>>,
    closed: AtomicBool,
}

impl Core {
    #[expect(clippy::too_many_arguments, reason = "it is called once, by the builder")]
    pub(super) fn new(
        store: Store,
        client: Client,
        clock: Arc<dyn Clock>,
        environment: Environment,
        server_key: EcdhPublicKey,
        auth_version: AuthVersion,
        accepts_clear: bool,
        lease_lifetime: Duration,
        windows: WindowSettings,
        tracker: Tracker,
        runtime: Runtime,
        keys: Keys,
        control: Server,
    ) -> Self {
        let (opened_at, wall_ms) = (clock.monotonic(), clock.now_ms());
        let (seen_ms, offset_ms) = (store.seen_ms(), store.clock_offset_ms());
        let server_clock = Arc::new(ServerClock::resume(seen_ms, offset_ms, opened_at));
        let opened_at_ms = wall_ms.max(server_clock.dated_ms(wall_ms));
        Self {
            keys: Arc::new(keys),
            refusals: Refusals::default(),
            client: client.sharing(&server_clock),
            server_clock,
            skew_told_of: ToldOf::default(),
            opened_at,
            events: Arc::default(),
            opened_at_ms,
            revocations: Revocations::default(),
            retirements: Arc::default(),
            logins: Mutex::default(),
            control,
            store,
            clock,
            environment,
            server_key,
            auth_version,
            accepts_clear,
            lease_lifetime,
            windows,
            tracker,
            runtime,
            entries: RwLock::default(),
            claimed: Mutex::default(),
            turns: Mutex::default(),
            changes: Mutex::default(),
            at_work: Arc::default(),
            rotating: Arc::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Now, by all clocks.
    pub(super) fn moment(&self) -> Moment {
        let (wall_ms, monotonic) = (self.clock.now_ms(), self.clock.monotonic());
        Moment { monotonic, server_ms: self.server_clock.now_ms(monotonic), wall_ms }
    }

    /// The later of the machine's time and BitGo's, which is what tokens end by.
    pub(super) fn latest_now(&self) -> DateTime<Utc> {
        latest(self.moment())
    }

    /// No earlier than the opening was by BitGo's clock, in milliseconds since 1970. This machine's, which
    /// tells it at first, may have been ahead by days.
    pub(super) fn opened_ms(&self) -> i64 {
        if self.server_clock.heard_ms() <= 0 {
            return self.opened_at_ms;
        }
        let by_bitgo = self.server_clock.now_ms(self.opened_at);
        self.opened_at_ms.min(by_bitgo.saturating_add(OLDEST_HEARD_MS))
    }

    /// Now, as requests are dated and answers judged.
    pub(super) fn dated_now(&self) -> DateTime<Utc> {
        let dated_ms = self.server_clock.dated_ms(self.clock.now_ms());
        DateTime::from_timestamp_millis(dated_ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// BitGo signed something at this time, which was heard just now, and asked for `since`.
    pub(super) fn hear(&self, answered_ms: i64, since: Duration) {
        let (wall_ms, monotonic) = (self.clock.now_ms(), self.clock.monotonic());
        let round_trip = monotonic.saturating_sub(since);
        let monotonic = monotonic + self.clock.grain();
        self.server_clock.hear(&Hearing { answered_ms, wall_ms, monotonic, round_trip }, None);
    }

    /// Runs work that blocks (Argon2, a commit) where it may. It runs to its end in any case.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let core = Arc::clone(self);
        let at_work = Arc::clone(&self.at_work).read_owned().await;
        let span = Span::current();
        let task = self.runtime.spawn_blocking(move || {
            let result = span.in_scope(|| work(&core));
            drop(core);
            // Where nobody waits any more, the result is dropped first, and then the work has ended.
            (result, at_work)
        });
        let (result, _at_work) = task.await.map_err(Error::of_task)?;
        Ok(result)
    }

    /// Runs a mint as a task of its own: what BitGo has made is kept though the caller went away.
    pub(super) async fn run_to_end<T, F>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.check_open()?;
        self.runtime.spawn(work(Arc::clone(self))).await.map_err(Error::of_task)?
    }

    /// Asks for a secret, on a thread that may block: somebody may have to type it. Closing does not
    /// wait for that.
    pub(super) async fn ask<S: Provided>(&self, provider: &Arc<Provider<S>>) -> Result<S, Error> {
        let (provider, now) = (Arc::clone(provider), self.clock.now());
        let asked = self.runtime.spawn_blocking(move || provider.ask(now));
        Ok(asked.await.map_err(Error::of_task)??)
    }

    /// Takes no more leases and mints, ends renewal, and wipes the keys of tokens in use.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.tracker.stop();
        self.keys.shut();
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.all().for_each(|entry| entry.give_up());
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        match self.closed.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(Error::Closed),
        }
    }

    pub(super) fn entry(&self, label: &Label) -> Result<Arc<Entry>, Error> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.of_label(label).cloned().ok_or_else(|| Error::NoSuchToken { label: label.clone() })
    }

    /// The first entry that fits.
    pub(super) fn find(&self, fits: impl Fn(&Held) -> bool) -> Option<(Arc<Entry>, Arc<Held>)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.all().find_map(|entry| {
            let held = entry.held()?;
            fits(&held).then(|| (Arc::clone(entry), held))
        })
    }

    pub(super) fn entry_of(&self, lineage: LineageId) -> Option<Arc<Entry>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.of_lineage(lineage).filter(|entry| entry.held().is_some()).cloned()
    }

    /// Holds a token that has come, and sees to its renewal.
    pub(super) fn keep(&self, record: TokenRecord, secret: SealedSecret) -> Arc<Entry> {
        let held = Held::new(record, secret, self.windows);
        let state = held.renewal_state();
        self.hold(held, RenewalMemory::default(), state)
    }

    /// The same with one that was here before the vault was opened: its renewal goes on where it was.
    pub(super) fn keep_on(&self, record: TokenRecord, secret: SealedSecret) {
        let (lineage, renewal) = (record.lineage, record.renewal);
        let memory = self.store.renewal_memory(lineage).unwrap_or_default();
        let held = Held::new(record, secret, self.windows);
        let mut state = held.renewal_state().recalling(memory, self.latest_now());
        if renewal == Renewal::Reissue {
            state = state.lacking(Need::Login);
        }
        if renewal == Renewal::Oauth
            && let Some(wants) = oauth::wants_sign_in(&self.store, lineage)
        {
            state = state.wanting_sign_in(wants);
        }
        self.hold(held, memory, state);
    }

    fn hold(&self, held: Held, memory: RenewalMemory, state: State) -> Arc<Entry> {
        let TokenRecord { lineage, is_revoked, .. } = held.record;
        let held = Arc::new(held);
        let entry = Arc::new(Entry::new(Arc::clone(&held), Arc::clone(&self.keys), memory));
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.insert(&held, &entry);
        // Only now: the first attempt may come at once, and must find it.
        if !is_revoked {
            self.tracker.track(lineage, state);
        }
        entry
    }

    /// The turns of an account's one-time passwords: each is handed out once.
    pub(super) fn turns_of(&self, user: &str) -> Arc<LastStep> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(user.into()).or_default())
    }

    /// Claims a label for a token that is to be minted.
    pub(super) fn claim(self: &Arc<Self>, label: &Label) -> Result<Claim, Error> {
        let taken = || Error::LabelTaken { label: label.clone() };
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.entry(label).is_ok() || !claimed.insert(label.clone()) {
            return Err(taken());
        }
        Ok(Claim { core: Arc::clone(self), label: label.clone() })
    }

    /// What may have been minted and is not kept, each with its lineage, but for what is just being
    /// minted.
    pub(super) fn orphans(&self) -> Result<Vec<(LineageId, Minted)>, StoreError> {
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_under_way = |minted: &Minted| {
            let label = minted.label.rsplit_once('#').map(|(label, _)| label);
            label.is_some_and(|label| claimed.contains(label))
        };
        let mut orphans = self.store.unkept()?;
        orphans.retain(|(_, minted)| !is_under_way(minted));
        Ok(orphans)
    }

    pub(super) fn status(&self, entry: &Entry) -> Option<TokenStatus> {
        let held = entry.held()?;
        let (lineage, now) = (held.record.lineage, self.latest_now());
        let outlook = self.tracker.outlook(lineage, now).unwrap_or_default();
        let counters = self.store.counters(lineage);
        let is_unreconciled = held.is_unverified() || self.store.is_unreconciled(lineage);
        Some(entry.status(&held, counters, is_unreconciled, outlook, now))
    }

    pub(super) fn list(&self) -> Vec<TokenStatus> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.all().filter_map(|entry| self.status(entry)).collect()
    }

    /// Whether a token can sign, so that answers to it bear an HMAC.
    pub(super) fn signs(&self, held: &Held) -> bool {
        let secret = self.store.open_secret(held.record.lineage, &held.secret);
        secret.is_ok_and(|secret| secret.token.can_sign())
    }

    /// All tokens as they are held, by label.
    pub(super) fn holdings(&self) -> Vec<Arc<Held>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.all().filter_map(|entry| entry.held()).collect()
    }

    /// One change of a token at a time; held over its commit, so never in async code.
    pub(super) fn begin_change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a token that another lineage keeps: two ledgers would each spend the whole of its limit,
    /// and rules of the one would not bind the other. For the change that was begun.
    pub(super) fn check_sole(
        &self,
        id: TokenId,
        lineage: LineageId,
        _one_at_a_time: &MutexGuard<'_, ()>,
    ) -> Result<(), Error> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut others = entries.keepers(id).filter_map(|entry| entry.held());
        match others.find(|held| held.record.lineage != lineage) {
            Some(held) => Err(Error::KeptAlready { label: held.record.label.clone() }),
            None => Ok(()),
        }
    }

    /// Whether BitGo's token of that id is kept here.
    pub(super) fn keeps(&self, id: TokenId) -> bool {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.keepers(id).any(|entry| entry.held().is_some())
    }

    /// Puts another token in the place of a lineage's. For the change that was begun.
    pub(super) fn succeed(&self, entry: &Entry, before: &Held, successor: Held) {
        let (from, to) = (before.record.info.id, successor.record.info.id);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.renamed(before.record.lineage, from, to);
        drop(entries);
        entry.replace(successor);
    }

    pub(super) fn remove(self: &Arc<Self>, label: &Label) -> Result<(), Error> {
        let one_at_a_time = self.begin_change();
        let entry = self.entry(label)?;
        match self.remove_entry(&entry, &one_at_a_time)? {
            Some(_) => Ok(()),
            None => Err(Error::NoSuchToken { label: label.clone() }),
        }
    }

    /// Removes this very token, whatever is kept under its label by now; `None` if it was removed before.
    /// For the change that was begun.
    pub(super) fn remove_entry(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        _one_at_a_time: &MutexGuard<'_, ()>,
    ) -> Result<Option<Arc<Held>>, Error> {
        let Some(held) = entry.take() else { return Ok(None) };
        let lineage = &held.record.lineage;
        self.tracker.forget(*lineage);
        self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(&held, entry);
        // From here on no lease is given; if the commit fails, a reopened vault has it again.
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).remove(lineage);
        self.store.remove_token(*lineage)?;
        if held.record.renewal == Renewal::Reissue {
            self.retirements.go_on(self, *lineage);
        }
        Ok(Some(held))
    }
}

/// The clock that renewal goes by: tokens end by the later time.
impl Clock for Core {
    fn now(&self) -> DateTime<Utc> {
        self.latest_now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

/// The later of the clocks' times then.
pub(super) fn latest(now: Moment) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(now.latest_ms()).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A label that is being minted for; given free when dropped.
pub(super) struct Claim {
    core: Arc<Core>,
    label: Label,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = self.core.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.remove(&self.label);
    }
}
