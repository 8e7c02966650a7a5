//! The ledger in sled: a reservation is durable before the secret leaves.
//!
//! The counters in memory are the truth while the vault is open; every change is queued to the
//! committer under the same lock, so what reaches the disk is always the latest. Reservations
//! wait for their commit, settlements do not: losing one only leaves the spend counted. What is
//! found reserved at open was cut off by a crash and counts as spent.

use super::epoch::Epoch;
use super::head::AuditEnd;
use super::record::{self, CounterRow, LedgerRow, TokenRow, Unreadable};
use super::{Key, Name, Store, StoreError, Tree, Write, lock};
use crate::coin_map::CoinMap;
use crate::id::LineageId;
use crate::money::{Amount, Coin};
use crate::policy::{Charge, Counter, Denied, Ledger, Outcome, Rule};
use crate::secret::SecretBytes;
use crate::token::{SpendingLimit, TokenInfo};
use std::collections::HashMap;
use std::sync::Mutex;

/// The counters of one lineage.
type Counters = CoinMap<Counter>;

/// Counters that begin at the server's.
fn begin(limits: &CoinMap<SpendingLimit>) -> Counters {
    limits.iter().map(|(coin, limit)| (coin.clone(), Counter::begin(limit))).collect()
}

/// Charges all that is left of every limit, for good.
fn exhaust(counters: &mut Counters) -> Result<(), Denied> {
    for (coin, counter) in counters.iter_mut() {
        // Of a coin that is over its limit nothing is left: it keeps no other from being charged.
        if let Some(left) = counter.left().filter(|left| *left > Amount::ZERO) {
            *counter = counter.reserve(coin, left)?.settle(left, Outcome::Uncertain);
        }
    }
    Ok(())
}

/// What one lineage spent.
#[derive(Clone, Default)]
pub(super) struct Book {
    counters: Counters,
    /// Whether its token was handed out: from then on nothing is given back.
    is_exposed: bool,
    /// Whether the counters are of a past that may not be the last: then nothing is spent.
    is_unreconciled: bool,
    /// Whether anything was found reserved: the audit log tells of it.
    pub(super) was_cut_off: bool,
}

impl Book {
    /// Reads the ledger of a lineage. What is found reserved was cut off by a crash. The stack is
    /// wiped by whoever calls it.
    pub(super) fn read(epoch: &Epoch, name: &Name, sealed: &[u8]) -> Result<Self, StoreError> {
        let row = epoch.keys.open_unwiped(Tree::Ledger, name, sealed)?;
        let book = || -> Result<_, Unreadable> {
            let LedgerRow { is_exposed, is_unreconciled, counters } = record::decode(&row)?;
            let mut was_cut_off = false;
            let counters = counters.into_iter().map(|(coin, counter)| {
                let counter = Counter::from(counter);
                was_cut_off |= counter.reserved > Amount::ZERO;
                Ok((Coin::new(&coin)?, counter.after_crash()))
            });
            let counters = counters.collect::<Result<_, Unreadable>>()?;
            Ok(Self { counters, is_exposed, is_unreconciled, was_cut_off })
        };
        book().map_err(|_| StoreError::unreadable(Tree::Ledger, "a record cannot be read"))
    }
}

/// Guards every change of a book together with its place in the commit queue.
#[derive(Default)]
pub(super) struct Accounts(Mutex<HashMap<LineageId, Book>>);

impl Accounts {
    pub(super) fn of(books: HashMap<LineageId, Book>) -> Self {
        Self(Mutex::new(books))
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

impl Ledger for Store {
    type Account = LineageId;
    type Error = LedgerError;

    fn reserve(&self, lineage: &LineageId, charges: &[Charge]) -> Result<(), LedgerError> {
        let ticket = {
            let mut accounts = lock(&self.ledger.0);
            let book = accounts.get_mut(lineage).ok_or_else(not_reconciled)?;
            if book.is_unreconciled && !charges.is_empty() {
                return Err(not_reconciled().into());
            }
            let mut after = book.clone();
            for Charge { coin, amount, .. } in charges {
                let counter = after.counters.get_mut(coin).ok_or_else(|| no_limit(coin))?;
                *counter = counter.reserve(coin, *amount)?;
            }
            let ticket = self.submit(vec![self.ledger_write(*lineage, &after)?]);
            *book = after;
            ticket
        };
        Ok(ticket.wait()?)
    }

    fn settle(&self, lineage: &LineageId, charges: &[Charge], outcome: Outcome) {
        let mut accounts = lock(&self.ledger.0);
        let Some(book) = accounts.get_mut(lineage) else { return };
        // What an exposed token spends is not seen, so no refusal frees budget any more.
        let outcome = match outcome {
            Outcome::Rejected if book.is_exposed => Outcome::Uncertain,
            outcome => outcome,
        };
        for Charge { coin, amount, .. } in charges {
            if let Some(counter) = book.counters.get_mut(coin) {
                *counter = counter.settle(*amount, outcome);
            }
        }
        match self.ledger_write(*lineage, book) {
            Ok(write) => drop(self.submit(vec![write])),
            Err(error) => {
                tracing::warn!(%error, "a settlement stays in memory; after a crash the spend counts")
            }
        }
    }
}

impl Store {
    /// The counters of a lineage, if its ledger is known.
    pub(crate) fn counters(&self, lineage: LineageId) -> Option<CoinMap<Counter>> {
        lock(&self.ledger.0).get(&lineage).map(|book| book.counters.clone())
    }

    /// Charges all that is left of every limit of a lineage, durably and for good: its token goes
    /// out raw, and what it spends from there is not seen.
    pub(crate) fn exhaust(&self, lineage: LineageId) -> Result<(), LedgerError> {
        let ticket = {
            let mut accounts = lock(&self.ledger.0);
            let book = accounts.get_mut(&lineage).ok_or_else(not_reconciled)?;
            let mut after = Book { is_exposed: true, ..book.clone() };
            exhaust(&mut after.counters)?;
            let ticket = self.submit(vec![self.ledger_write(lineage, &after)?]);
            *book = after;
            ticket
        };
        Ok(ticket.wait()?)
    }

    /// Begins a lineage's ledger at the server's counters, in one commit with `writes`.
    pub(super) fn open_account(
        &self,
        lineage: LineageId,
        limits: &CoinMap<SpendingLimit>,
        mut writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        let book = Book { counters: begin(limits), ..Book::default() };
        writes.push(self.ledger_write(lineage, &book)?);
        self.commit(writes)?;
        lock(&self.ledger.0).insert(lineage, book);
        Ok(())
    }

    /// Whether a lineage spends nothing until it is reconciled.
    pub(crate) fn is_unreconciled(&self, lineage: LineageId) -> bool {
        lock(&self.ledger.0).get(&lineage).is_none_or(|book| book.is_unreconciled)
    }

    /// Begins the ledger of a lineage anew at the server's counters, durably, if it is not believed.
    /// A token that was exposed stays so.
    pub(crate) fn reconcile(
        &self,
        lineage: LineageId,
        limits: &CoinMap<SpendingLimit>,
    ) -> Result<(), StoreError> {
        let ticket = {
            let mut accounts = lock(&self.ledger.0);
            let book = accounts
                .entry(lineage)
                .or_insert_with(|| Book { is_unreconciled: true, ..Book::default() });
            if !book.is_unreconciled {
                return Ok(());
            }
            let mut counters = begin(limits);
            for (coin, counter) in counters.iter_mut() {
                // A limit of ours that was stricter than the server's stays.
                let old = book.counters.get(coin);
                let limits = [counter.limit, old.and_then(|old| old.limit)];
                counter.limit = limits.into_iter().flatten().min();
                // What waits for an approval may still go out.
                counter.pending = old.map_or(Amount::ZERO, |old| old.pending);
            }
            if book.is_exposed {
                // What it spends outside is not seen.
                exhaust(&mut counters).map_err(|_| uncountable())?;
            }
            let after = Book { counters, is_unreconciled: false, ..*book };
            let ticket = self.submit(vec![self.ledger_write(lineage, &after)?]);
            *book = after;
            ticket
        };
        ticket.wait()
    }

    /// Gives a lineage a ledger if it has none, in one commit with `writes`. It is not believed.
    pub(super) fn adopt_account(
        &self,
        lineage: LineageId,
        limits: &CoinMap<SpendingLimit>,
        mut writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        let ticket = {
            let mut accounts = lock(&self.ledger.0);
            let book = accounts
                .entry(lineage)
                .or_insert_with(|| Book { counters: begin(limits), ..Book::default() });
            book.is_unreconciled = true;
            writes.push(self.ledger_write(lineage, book)?);
            self.submit(writes)
        };
        ticket.wait()
    }

    /// Ends a lineage's ledger, in one commit with `writes`.
    pub(super) fn close_account(
        &self,
        lineage: LineageId,
        mut writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        let ticket = {
            // Removed under the lock, so that no later settlement can be queued behind it.
            let mut accounts = lock(&self.ledger.0);
            writes.push(Write::remove(Tree::Ledger, Key::Id(*lineage.as_bytes())));
            accounts.remove(&lineage);
            self.submit(writes)
        };
        ticket.wait()
    }

    /// Commits `writes` of a lineage, and with them the limits of its successor where those are
    /// stricter. Refused for a lineage that was removed: nothing of it comes back.
    pub(super) fn commit_to_account(
        &self,
        lineage: LineageId,
        successor: &CoinMap<SpendingLimit>,
        mut writes: Vec<Write>,
        audit: Option<AuditEnd>,
    ) -> Result<(), StoreError> {
        let ticket = {
            let mut accounts = lock(&self.ledger.0);
            let book = accounts.get_mut(&lineage).ok_or(StoreError::Removed)?;
            let mut after = book.clone();
            for (coin, counter) in after.counters.iter_mut() {
                counter.limit = match (counter.limit, successor.get(coin).and_then(|s| s.limit)) {
                    (Some(old), Some(new)) => Some(old.min(new)),
                    (old, new) => old.or(new),
                };
            }
            writes.push(self.ledger_write(lineage, &after)?);
            let ticket = self.committer.submit(writes, audit);
            *book = after;
            ticket
        };
        ticket.wait()
    }

    /// What a lineage that is not reconciled spent is known to the server by its token's counter. Once
    /// that token has a successor with a counter of its own, nobody knows: the budget counts as spent.
    pub(super) fn give_up_unreconciled(&self, lineage: LineageId) {
        if let Some(book) =
            lock(&self.ledger.0).get_mut(&lineage).filter(|book| book.is_unreconciled)
        {
            // Where that fails it stays as it is, and spends nothing.
            if exhaust(&mut book.counters).is_ok() {
                (book.is_exposed, book.is_unreconciled) = (true, false);
            }
        }
    }

    /// Lets no lineage spend until it is reconciled, in one commit.
    pub(super) fn distrust_ledgers(&self) -> Result<(), StoreError> {
        let ticket = {
            let mut accounts = lock(&self.ledger.0);
            let writes = accounts.iter_mut().map(|(lineage, book)| {
                book.is_unreconciled = true;
                self.ledger_write(*lineage, book)
            });
            self.submit(writes.collect::<Result<_, _>>()?)
        };
        ticket.wait()
    }

    fn ledger_write(&self, lineage: LineageId, book: &Book) -> Result<Write, StoreError> {
        let rows = book
            .counters
            .iter()
            .map(|(coin, counter)| (coin.as_str().into(), CounterRow::from(counter)));
        let Book { is_exposed, is_unreconciled, .. } = *book;
        let row = LedgerRow { is_exposed, is_unreconciled, counters: rows.collect() };
        Write::put(Tree::Ledger, Key::Id(*lineage.as_bytes()), &row)
    }
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
    let info = TokenInfo::try_from(row.info).map_err(unreadable)?;
    let counters = info.spending_limits.iter();
    let counters =
        counters.map(|(coin, limit)| (coin.as_str().into(), (&Counter::begin(limit)).into()));
    let counters = counters.collect();
    record::encode(&LedgerRow { is_exposed, is_unreconciled: true, counters })
}

fn uncountable() -> StoreError {
    StoreError::unreadable(Tree::Ledger, "more was spent than can be counted")
}

fn not_reconciled() -> Denied {
    Denied::new(
        Rule::Unreconciled,
        "the vault does not know what this token spent, so it spends nothing; reconcile it",
    )
}

fn no_limit(coin: &Coin) -> Denied {
    Denied::new(
        Rule::NoLimit,
        format!("the token has no spending limit for {coin}; issue one that has"),
    )
}
