//! The ledger in sled: a book's state is durable before a secret leaves by it.
//!
//! The books in memory are the truth while the vault is open; every state is queued to the committer
//! under its book's lock, so what reaches the disk is always the latest. What is taken of a limit
//! waits for its commit. Settlements do not: the disk catches up with them in a while
//! ([`Books::post`]), and losing one only leaves the spend counted. What is found reserved or
//! allotted at open was cut off by a crash and counts as spent.

use super::committer::{Committer, Ticket};
use super::epoch::Epoch;
use super::freeze::Freeze;
use super::head::AuditEnd;
use super::record::{self, LedgerRow, TokenRow};
use super::{Key, Name, Store, StoreError, TokenRecord, Tree, Write, lock};
use crate::coin_map::CoinMap;
use crate::id::LineageId;
use crate::policy::{
    Book, Charge, Counter, Denied, Draw, Drift, Escrow, KeptRules, Ledger, LocalRules, Moment,
    Outcome, Sample, Sampling, not_reconciled,
};
use crate::secret::SecretBytes;
use crate::token::TokenInfo;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Reads the book of a lineage as a crash would have left it: a clean close leaves nothing reserved.
/// The stack is wiped by whoever calls it.
pub(super) fn read(epoch: &Epoch, name: &Name, sealed: &[u8]) -> Result<Book, StoreError> {
    let row = epoch.keys.open_unwiped(Tree::Ledger, name, sealed)?;
    let book = record::decode::<LedgerRow<'_>>(&row).and_then(Book::try_from);
    let unreadable = |_| StoreError::unreadable(Tree::Ledger, "a record cannot be read");
    Ok(book.map_err(unreadable)?.after_crash())
}

/// The books of all lineages, and their way to the disk.
pub(super) struct Books {
    committer: Arc<Committer>,
    freeze: Arc<Freeze>,
    /// Held for a look-up or an insertion.
    by_lineage: RwLock<HashMap<LineageId, Arc<Escrow>>>,
    /// Those that the disk lags behind, or that may have something to return.
    behind: Mutex<Vec<Arc<Escrow>>>,
}

impl Books {
    pub(super) fn new(
        committer: Arc<Committer>,
        freeze: Arc<Freeze>,
        books: HashMap<LineageId, Book>,
    ) -> Self {
        let escrows = books
            .into_iter()
            .map(|(lineage, book)| (lineage, Arc::new(Escrow::new(lineage, book))));
        let by_lineage = RwLock::new(escrows.collect());
        Self { committer, freeze, by_lineage, behind: Mutex::default() }
    }

    /// Lets the disk know in a while how what a crash left counts. Not before the store is known to be
    /// whole: a repair writes ledgers of its own.
    pub(super) fn settle_crash(&self) {
        let mut left = self.all();
        left.retain(|escrow| escrow.settle_crash());
        lock(&self.behind).extend(left);
    }

    /// Lets the disk catch up with what was settled, and returns what idle books were allotted.
    pub(super) fn post(&self) {
        let behind = std::mem::take(&mut *lock(&self.behind));
        for escrow in behind {
            match escrow.post(self) {
                Ok(true) => lock(&self.behind).push(escrow),
                Ok(false) => {}
                Err(error) => {
                    let error = StoreError::from(error);
                    tracing::warn!(
                        name: "settlement.kept_in_memory", %error,
                        "a settlement stays in memory; after a crash the spend counts"
                    );
                }
            }
        }
    }

    /// Returns all that is allotted, at a clean close.
    pub(super) fn return_allotments(&self) {
        for escrow in std::mem::take(&mut *lock(&self.behind)) {
            if let Err(error) = escrow.give_back(self) {
                let error = StoreError::from(error);
                tracing::warn!(
                    name: "allotment.not_returned", %error,
                    "an allotment is not returned; it counts as spent"
                );
            }
        }
    }

    fn get(&self, lineage: LineageId) -> Option<Arc<Escrow>> {
        let books = self.by_lineage.read().unwrap_or_else(PoisonError::into_inner);
        books.get(&lineage).cloned()
    }

    fn all(&self) -> Vec<Arc<Escrow>> {
        let books = self.by_lineage.read().unwrap_or_else(PoisonError::into_inner);
        books.values().cloned().collect()
    }

    fn insert(&self, lineage: LineageId, book: Book) -> Arc<Escrow> {
        let escrow = Arc::new(Escrow::new(lineage, book));
        let mut books = self.by_lineage.write().unwrap_or_else(PoisonError::into_inner);
        books.insert(lineage, Arc::clone(&escrow));
        escrow
    }

    fn remove(&self, lineage: LineageId) -> Option<Arc<Escrow>> {
        self.by_lineage.write().unwrap_or_else(PoisonError::into_inner).remove(&lineage)
    }
}

/// Why a reservation was not made.
#[derive(Debug)]
pub(crate) enum LedgerError {
    Denied(Denied),
    Store(StoreError),
}

impl From<Denied> for LedgerError {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Ledger for Books {
    type Pending = Ticket;
    type Error = LedgerError;

    /// Somebody may have frozen the vault since the last look at its directory.
    fn may_take(&self) -> Result<(), LedgerError> {
        Ok(self.freeze.look()?)
    }

    fn begin(&self, lineage: LineageId, book: &Book) -> Result<Ticket, LedgerError> {
        Ok(self.committer.submit(vec![ledger_write(lineage, book)?], None))
    }

    fn wait(&self, pending: Ticket) -> Result<(), LedgerError> {
        Ok(pending.wait()?)
    }
}

impl Store {
    /// The escrow of a lineage, if its ledger is known.
    pub(crate) fn escrow(&self, lineage: LineageId) -> Option<Arc<Escrow>> {
        self.ledger.get(lineage)
    }

    /// Reserves all charges or none: from what is allotted, or durably.
    pub(crate) fn reserve(
        &self,
        escrow: &Escrow,
        charges: &[Charge],
        now: Moment,
    ) -> Result<Draw, LedgerError> {
        escrow.reserve(&*self.ledger, charges, now)
    }

    /// Settles what was reserved. The disk learns of it in a while.
    pub(crate) fn settle(
        &self,
        escrow: &Arc<Escrow>,
        charges: &[Charge],
        draw: Draw,
        outcome: Outcome,
    ) {
        if escrow.settle(charges, draw, outcome) {
            lock(&self.ledger.behind).push(Arc::clone(escrow));
        }
    }

    /// The latest time of the server's that any book has seen, in milliseconds since 1970; 0 if none.
    pub(crate) fn seen_ms(&self) -> i64 {
        let seen = |escrow: &Arc<Escrow>| escrow.look(|book| book.seen_ms);
        self.ledger.all().iter().map(seen).max().unwrap_or(0)
    }

    /// The counters of a lineage, if its ledger is known.
    pub(crate) fn counters(&self, lineage: LineageId) -> Option<CoinMap<Counter>> {
        Some(self.ledger.get(lineage)?.look(Book::counters))
    }

    /// Charges all that is left of every limit of a lineage, durably and for good: its token goes
    /// out raw, and what it spends from there is not seen.
    pub(crate) fn exhaust(&self, lineage: LineageId, server_ms: i64) -> Result<(), LedgerError> {
        self.change_book(lineage, |book| book.expose(server_ms))
    }

    /// A lineage's budget begins anew by its totals, durably.
    pub(crate) fn renew_budget(&self, lineage: LineageId) -> Result<(), LedgerError> {
        self.change_book(lineage, Book::renew_budget)
    }

    /// Takes into account what BitGo counted, durably. Whether the sample is quiescent is asked under
    /// the book's lock: what is signed and lost meanwhile must not pass for old.
    pub(crate) fn sample(
        &self,
        lineage: LineageId,
        before: &Sampling,
        sample: Sample<'_>,
        is_quiescent: impl FnOnce() -> bool,
    ) -> Result<Vec<Drift>, LedgerError> {
        self.change_book(lineage, |book| {
            let sample = Sample { is_quiescent: is_quiescent(), ..sample };
            book.sample(before, &sample)
        })
    }

    /// Begins the ledger of a lineage anew at the server's counters, durably, if it is not believed.
    /// A token that was exposed stays so.
    pub(crate) fn reconcile(
        &self,
        lineage: LineageId,
        info: &TokenInfo,
        rules: &LocalRules,
        server_ms: i64,
    ) -> Result<(), LedgerError> {
        if self.ledger.get(lineage).is_none() {
            self.ledger.insert(lineage, Book { is_unreconciled: true, ..Book::default() });
        }
        self.change_book(lineage, |book| book.begin_anew(info, rules, server_ms))
    }

    fn change_book<T>(
        &self,
        lineage: LineageId,
        change: impl FnOnce(&mut Book) -> T,
    ) -> Result<T, LedgerError> {
        let escrow = self.ledger.get(lineage).ok_or_else(not_reconciled)?;
        escrow.change(&*self.ledger, change, |after| self.ledger.begin(lineage, after))
    }

    /// Begins a lineage's ledger at the server's counters, in one commit with `writes`.
    pub(super) fn open_account(
        &self,
        record: &TokenRecord,
        mut writes: Vec<Write>,
        end: Option<AuditEnd>,
    ) -> Result<(), StoreError> {
        let book = Book::begin(&record.info, &record.rules);
        writes.push(ledger_write(record.lineage, &book)?);
        self.committer.submit(writes, end).wait()?;
        self.ledger.insert(record.lineage, book);
        Ok(())
    }

    /// Whether a lineage spends nothing until it is reconciled.
    pub(crate) fn is_unreconciled(&self, lineage: LineageId) -> bool {
        self.ledger.get(lineage).is_none_or(|escrow| escrow.look(|book| book.is_unreconciled))
    }

    /// Gives a lineage a ledger if it has none, in one commit with `writes`. It is not believed.
    pub(super) fn adopt_account(
        &self,
        record: &TokenRecord,
        mut writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        let lineage = record.lineage;
        let escrow = self.ledger.get(lineage).unwrap_or_else(|| {
            self.ledger.insert(lineage, Book::begin(&record.info, &record.rules))
        });
        let distrust = |book: &mut Book| book.is_unreconciled = true;
        let begin = |after: &Book| {
            writes.push(ledger_write(lineage, after)?);
            Ok(self.submit(writes))
        };
        Ok(escrow.change(&*self.ledger, distrust, begin)?)
    }

    /// Ends a lineage's ledger, in one commit with `writes`.
    pub(super) fn close_account(
        &self,
        lineage: LineageId,
        mut writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        writes.push(Write::remove(Tree::Ledger, Key::Id(*lineage.as_bytes())));
        // Closed under its lock, so that no later settlement is queued behind it.
        let ticket = match self.ledger.remove(lineage) {
            Some(escrow) => escrow.close(|| self.submit(writes)),
            None => self.submit(writes),
        };
        ticket.wait()
    }

    /// Commits `writes` of a token, and with them what they change of its bounds. Refused for a lineage
    /// that was removed: nothing of it comes back.
    pub(super) fn commit_to_account(
        &self,
        lineage: LineageId,
        change: impl FnOnce(&mut Book),
        mut writes: Vec<Write>,
        audit: Option<AuditEnd>,
    ) -> Result<(), StoreError> {
        let escrow = self.ledger.get(lineage).ok_or(StoreError::Removed)?;
        let begin = |after: &Book| {
            writes.push(ledger_write(lineage, after)?);
            Ok(self.committer.submit(writes, audit))
        };
        Ok(escrow.change(&*self.ledger, change, begin)?)
    }

    /// Lets no lineage spend until it is reconciled, in one commit.
    pub(super) fn distrust_ledgers(&self) -> Result<(), StoreError> {
        let mut writes = Vec::new();
        for escrow in self.ledger.all() {
            escrow.distrust();
            writes.push(escrow.look(|book| ledger_write(escrow.lineage(), book))?);
        }
        self.commit(writes)
    }
}

impl From<LedgerError> for StoreError {
    /// Of changes, which nothing but the store refuses: a lineage without a ledger is one that was
    /// removed.
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(error) => error,
            LedgerError::Denied(_) => Self::Removed,
        }
    }
}

fn ledger_write(lineage: LineageId, book: &Book) -> Result<Write, StoreError> {
    Write::put(Tree::Ledger, Key::Id(*lineage.as_bytes()), &LedgerRow::of(book))
}

/// The row of a ledger, marked as one that may not be the last, and, where that is known from
/// elsewhere, as that of an exposed token.
pub(super) fn unreconciled(row: &[u8], is_exposed: bool) -> Result<SecretBytes, StoreError> {
    let unreadable = |_| StoreError::unreadable(Tree::Ledger, "a record cannot be read");
    let row: LedgerRow<'_> = record::decode(row).map_err(unreadable)?;
    let is_exposed = row.is_exposed || is_exposed;
    record::encode(&LedgerRow { is_unreconciled: true, is_exposed, ..row })
}

/// A ledger for a token that lost its own: begun at what is known of it, and not to be believed.
pub(super) fn unreconciled_of(token: &[u8], is_exposed: bool) -> Result<SecretBytes, StoreError> {
    let unreadable = |_| StoreError::unreadable(Tree::Tokens, "a record cannot be read");
    let row: TokenRow<'_> = record::decode(token).map_err(unreadable)?;
    let rules = KeptRules::try_from(row.rules).map_err(unreadable)?;
    let info = TokenInfo::try_from(row.info).map_err(unreadable)?;
    let book = Book { is_exposed, is_unreconciled: true, ..Book::begin(&info, &rules) };
    record::encode(&LedgerRow::of(&book))
}

/// Spends without a vault around: each as if long after the one before, so that nothing is taken but
/// what is asked for.
#[cfg(any(test, feature = "test-util"))]
impl Store {
    pub(crate) fn reserve_alone(
        &self,
        lineage: &LineageId,
        charges: &[Charge],
    ) -> Result<Draw, LedgerError> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static MINUTES: AtomicU64 = AtomicU64::new(0);
        let minutes = MINUTES.fetch_add(1, Ordering::Relaxed);
        let monotonic = std::time::Duration::from_secs(60 * minutes);
        let now = Moment { monotonic, server_ms: 1, wall_ms: 0 };
        let escrow = self.ledger.get(*lineage).ok_or_else(not_reconciled)?;
        self.reserve(&escrow, charges, now)
    }

    /// Settles what was drawn last, and begins to write it at once.
    pub(crate) fn settle_latest(&self, lineage: &LineageId, charges: &[Charge], outcome: Outcome) {
        self.settle_alone(lineage, charges, Draw::LATEST, outcome);
    }

    /// Settles, and begins to write it at once.
    pub(crate) fn settle_alone(
        &self,
        lineage: &LineageId,
        charges: &[Charge],
        draw: Draw,
        outcome: Outcome,
    ) {
        if let Some(escrow) = self.ledger.get(*lineage) {
            self.settle(&escrow, charges, draw, outcome);
            drop(escrow.look(|book| self.ledger.begin(*lineage, book)));
        }
    }
}
