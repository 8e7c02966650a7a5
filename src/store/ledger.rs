//! The ledger in sled: a reservation is durable before the secret leaves.
//!
//! The counters in memory are the truth while the vault is open; every change is queued to the
//! committer under the same lock, so what reaches the disk is always the latest. Reservations
//! wait for their commit, settlements do not: losing one only leaves the spend counted. What is
//! found reserved at open was cut off by a crash and counts as spent.

use super::head::AuditEnd;
use super::record::{CounterRow, LedgerRow};
use super::{Key, Store, StoreError, Tree, Write, lock};
use crate::id::LineageId;
use crate::money::{Amount, Coin};
use crate::policy::{Charge, Counter, Denied, Ledger, Outcome, Rule};
use crate::token::SpendingLimit;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

/// The counters of one lineage.
type Counters = BTreeMap<Coin, Counter>;

/// What one lineage spent.
#[derive(Clone, Default)]
struct Book {
    counters: Counters,
    /// Whether its token was handed out: from then on nothing is given back.
    is_exposed: bool,
    /// Whether the counters are of a past that may not be the last: then nothing is spent.
    is_unreconciled: bool,
}

/// Guards every change of a book together with its place in the commit queue.
#[derive(Default)]
pub(super) struct Accounts(Mutex<HashMap<LineageId, Book>>);

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
            let book = accounts.get_mut(lineage).ok_or_else(unreconciled)?;
            if book.is_unreconciled && !charges.is_empty() {
                return Err(unreconciled().into());
            }
            let mut after = book.clone();
            for Charge { coin, amount } in charges {
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
        for Charge { coin, amount } in charges {
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
    pub(crate) fn counters(&self, lineage: LineageId) -> Option<Counters> {
        lock(&self.ledger.0).get(&lineage).map(|book| book.counters.clone())
    }

    /// Charges all that is left of every limit of a lineage, durably and for good: its token goes
    /// out raw, and what it spends from there is not seen.
    pub(crate) fn exhaust(&self, lineage: LineageId) -> Result<(), LedgerError> {
        let ticket = {
            let mut accounts = lock(&self.ledger.0);
            let book = accounts.get_mut(&lineage).ok_or_else(unreconciled)?;
            let mut after = Book { is_exposed: true, ..book.clone() };
            for (coin, counter) in &mut after.counters {
                let left = counter.left().unwrap_or(Amount::ZERO);
                *counter = counter.reserve(coin, left)?.settle(left, Outcome::Uncertain);
            }
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
        limits: &BTreeMap<Coin, SpendingLimit>,
        mut writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        let counters =
            limits.iter().map(|(coin, limit)| (coin.clone(), Counter::begin(limit))).collect();
        let book = Book { counters, is_exposed: false, is_unreconciled: false };
        writes.push(self.ledger_write(lineage, &book)?);
        self.commit(writes)?;
        lock(&self.ledger.0).insert(lineage, book);
        Ok(())
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
        successor: &BTreeMap<Coin, SpendingLimit>,
        mut writes: Vec<Write>,
        audit: Option<AuditEnd>,
    ) -> Result<(), StoreError> {
        let ticket = {
            let mut accounts = lock(&self.ledger.0);
            let book = accounts.get_mut(&lineage).ok_or(StoreError::Removed)?;
            let mut after = book.clone();
            for (coin, counter) in &mut after.counters {
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

    pub(super) fn load_ledger(&mut self) -> Result<(), StoreError> {
        let unreadable = || StoreError::unreadable(Tree::Ledger, "a record cannot be read");
        let epoch = self.disk.epoch();
        let mut accounts = HashMap::new();
        for entry in epoch.records(Tree::Ledger) {
            let (name, sealed) = match entry {
                Err(_) if self.damage.is_some() => break,
                entry => entry?,
            };
            let row: LedgerRow = match epoch.keys.read(Tree::Ledger, &name, &sealed) {
                // Of a damaged vault, what cannot be read cannot be spent.
                Err(_) if self.damage.is_some() => continue,
                row => row?,
            };
            let LedgerRow { is_exposed, is_unreconciled, .. } = row;
            let counters = row
                .counters
                .into_iter()
                .map(|(coin, row)| {
                    let coin = Coin::new(&coin).map_err(|_| unreadable())?;
                    Ok((coin, Counter::from(row).after_crash()))
                })
                .collect::<Result<Counters, StoreError>>()?;
            let book = Book { counters, is_exposed, is_unreconciled };
            accounts.insert(LineageId::from_bytes(name), book);
        }
        *lock(&self.ledger.0) = accounts;
        Ok(())
    }

    fn ledger_write(&self, lineage: LineageId, book: &Book) -> Result<Write, StoreError> {
        let rows = book
            .counters
            .iter()
            .map(|(coin, counter)| (coin.to_string(), CounterRow::from(counter)));
        let Book { is_exposed, is_unreconciled, .. } = *book;
        let row = LedgerRow { is_exposed, is_unreconciled, counters: rows.collect() };
        Write::put(Tree::Ledger, Key::Id(*lineage.as_bytes()), &row)
    }
}

fn unreconciled() -> Denied {
    Denied::new(
        Rule::Unreconciled,
        "the vault has no record of what this token spent, so it spends nothing; issue a new token",
    )
}

fn no_limit(coin: &Coin) -> Denied {
    Denied::new(
        Rule::NoLimit,
        format!("the token has no spending limit for {coin}; issue one that has"),
    )
}
