//! A book that many threads draw on, and its way to the disk.
//!
//! A draw from what is allotted takes the book's lock and nothing else. More is taken under the lock
//! and made durable outside of it; who comes meanwhile draws from what has landed, takes more
//! itself, or waits for what is in flight rather than be refused what is there. Settlements and
//! returns change the book in memory and reach the disk later ([`Escrow::post`]): until then the
//! disk holds more as spent, never less.

use super::book::{Book, Draw, Drawn};
use super::sync::{AtomicI64, AtomicU64, Condvar, Mutex, Ordering, lock, wait};
use super::{Charge, Denied, Moment, Outcome};
use crate::id::LineageId;

/// A book from which nothing was drawn between so many posts returns what it was allotted.
const IDLE_POSTS: u32 = 8;

/// Where books are kept.
pub(crate) trait Ledger {
    /// A state that is on its way.
    type Pending;
    /// Why it will not be durable; or why a draw was refused.
    type Error: From<Denied>;

    /// Refuses to take more of any limit.
    fn may_take(&self) -> Result<(), Self::Error>;

    /// Begins to make a state durable. Called under the book's lock, so that states arrive in order.
    fn begin(&self, lineage: LineageId, book: &Book) -> Result<Self::Pending, Self::Error>;

    /// Waits until it is durable.
    fn wait(&self, pending: Self::Pending) -> Result<(), Self::Error>;
}

/// One lineage's book.
pub(crate) struct Escrow {
    lineage: LineageId,
    state: Mutex<State>,
    landed: Condvar,
    flights: Flights,
}

/// Requests on their way. Apart from the book by two cache lines: who signs does not take the book from
/// who draws on it.
#[repr(align(128))]
struct Flights {
    /// Requests that were signed, and those of them whose outcome is settled.
    signed: AtomicU64,
    resolved: AtomicU64,
    /// The time within the latest of them, in milliseconds since 1970.
    last_signed_ms: AtomicI64,
}

/// That nothing signed waits for its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quiet {
    signed: u64,
    /// The time within the latest signed request; `i64::MIN` where there was none.
    pub(crate) last_signed_ms: i64,
}

struct State {
    book: Book,
    /// Whether the disk lags behind.
    is_behind: bool,
    /// Whether it is among those that will be posted.
    is_listed: bool,
    /// How many draws there were when it was last posted, and how often that was so.
    posted: u64,
    idle_posts: u32,
    /// Its token was removed: nothing of it is written any more.
    is_closed: bool,
}

impl Escrow {
    pub(crate) fn new(lineage: LineageId, book: Book) -> Self {
        let state = State {
            book,
            is_behind: false,
            is_listed: false,
            posted: 0,
            idle_posts: 0,
            is_closed: false,
        };
        Self {
            lineage,
            state: Mutex::new(state),
            landed: Condvar::new(),
            flights: Flights {
                signed: AtomicU64::new(0),
                resolved: AtomicU64::new(0),
                last_signed_ms: AtomicI64::new(i64::MIN),
            },
        }
    }

    pub(crate) fn lineage(&self) -> LineageId {
        self.lineage
    }

    /// Reserves all charges from what is allotted, if that covers them; `None` where it takes more, and
    /// with it a wait for the disk.
    pub(crate) fn draw_allotted(&self, charges: &[Charge], now: Moment) -> Option<Draw> {
        let mut state = lock(&self.state);
        if state.is_closed { None } else { state.book.draw_allotted(charges, now) }
    }

    /// Reserves all charges or none. `Ok` is durable: a crash right after counts them.
    pub(crate) fn reserve<L: Ledger>(
        &self,
        ledger: &L,
        charges: &[Charge],
        now: Moment,
    ) -> Result<Draw, L::Error> {
        let mut state = lock(&self.state);
        let take = loop {
            if state.is_closed {
                return Err(super::book::not_reconciled().into());
            }
            match state.book.draw(charges, now)? {
                Drawn::Done(draw) => return Ok(draw),
                Drawn::Taken(take) => break take,
                Drawn::Wait => state = wait(&self.landed, state),
            }
        };
        let begun = ledger.may_take().and_then(|()| ledger.begin(self.lineage, &state.book));
        let landed = match begun {
            Ok(pending) => {
                drop(state);
                let landed = ledger.wait(pending);
                state = lock(&self.state);
                landed
            }
            Err(error) => Err(error),
        };
        match &landed {
            Ok(()) => state.book.land(&take),
            Err(_) => state.book.undo(&take),
        }
        drop(state);
        self.landed.notify_all();
        landed.map(|()| take.draw)
    }

    /// What a crash left is to be written as it counts now, or the next one would find it again.
    /// Whether there is any.
    pub(crate) fn settle_crash(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_behind |= state.book.flow.was_cut_off;
        state.is_listed |= state.is_behind;
        state.is_listed
    }

    /// A request for which was reserved is signed, with this time within.
    pub(crate) fn sign(&self, at_ms: i64) {
        self.flights.last_signed_ms.fetch_max(at_ms, Ordering::AcqRel);
        self.flights.signed.fetch_add(1, Ordering::AcqRel);
    }

    /// A signed request was settled.
    pub(crate) fn resolve(&self) {
        self.flights.resolved.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether nothing signed waits for its outcome. Where the answer is the same twice, nothing was
    /// signed in between either.
    pub(crate) fn quiet(&self) -> Option<Quiet> {
        // In this order: what is signed meanwhile is seen as unresolved.
        let resolved = self.flights.resolved.load(Ordering::Acquire);
        let signed = self.flights.signed.load(Ordering::Acquire);
        let last_signed_ms = self.flights.last_signed_ms.load(Ordering::Acquire);
        (signed == resolved).then_some(Quiet { signed, last_signed_ms })
    }

    /// Settles what was reserved. The answer is whether the book is to be posted in a while, and is not
    /// among those that will be.
    pub(crate) fn settle(&self, charges: &[Charge], draw: Draw, outcome: Outcome) -> bool {
        let mut state = lock(&self.state);
        state.book.settle(charges, draw, outcome);
        state.is_behind = true;
        !std::mem::replace(&mut state.is_listed, true)
    }

    /// Lets the disk catch up, and returns what an idle book was allotted. The answer is whether to come
    /// again.
    pub(crate) fn post<L: Ledger>(&self, ledger: &L) -> Result<bool, L::Error> {
        let mut state = lock(&self.state);
        state.is_listed = false;
        let draws = state.book.draws();
        state.idle_posts =
            if draws == state.posted { state.idle_posts.saturating_add(1) } else { 0 };
        state.posted = draws;
        let returns = state.idle_posts >= IDLE_POSTS && state.book.give_back();
        if (returns || state.is_behind) && !state.is_closed {
            state.is_behind = false;
            // Nobody waits for it: what is lost was counted as spent.
            ledger.begin(self.lineage, &state.book)?;
        }
        state.is_listed = state.book.is_allotted();
        Ok(state.is_listed)
    }

    /// Returns what nobody drew, and lets the disk catch up, at a clean close.
    pub(crate) fn give_back<L: Ledger>(&self, ledger: &L) -> Result<(), L::Error> {
        let mut state = lock(&self.state);
        if (state.book.give_back() || state.is_behind) && !state.is_closed {
            state.is_behind = false;
            ledger.begin(self.lineage, &state.book)?;
        }
        Ok(())
    }

    /// Spends nothing from here on until it is reconciled.
    pub(crate) fn distrust(&self) {
        lock(&self.state).book.is_unreconciled = true;
    }

    /// Changes the book, durably, or not at all: who draws on it waits meanwhile. `begin` begins to
    /// make it durable together with whatever belongs to it.
    pub(crate) fn change<L: Ledger, T>(
        &self,
        ledger: &L,
        change: impl FnOnce(&mut Book) -> T,
        begin: impl FnOnce(&Book) -> Result<L::Pending, L::Error>,
    ) -> Result<T, L::Error> {
        let mut state = lock(&self.state);
        let mut after = state.book.clone();
        let answer = change(&mut after);
        ledger.wait(begin(&after)?)?;
        (state.book, state.is_behind) = (after, false);
        drop(state);
        // Whoever waits for what was in flight asks the changed book.
        self.landed.notify_all();
        Ok(answer)
    }

    /// Ends it: nothing of it is written after this.
    pub(crate) fn close<T>(&self, last: impl FnOnce() -> T) -> T {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let last = last();
        drop(state);
        self.landed.notify_all();
        last
    }

    /// Looks at the book.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&lock(&self.state).book)
    }
}
