//! The audit log: sealed entries, each bound to the one before it by its hash.
//!
//! ```text
//! action   what can be told of          entry   one entry, and the line of JSON that is hashed
//! chain    as it is found               notes   what is noted of requests until it is written
//! export   lines for elsewhere, and what is pruned
//!
//! tree audit     an entry each: number, hash of the one before, entry      the open segment, up to 48
//!                open: a token's lines of this minute, written over until they are entries
//!                pruned: how many entries are gone, and the hash of the last of them
//! tree segments  48 entries each, with their first number and the hash before it
//! head           how many entries there are, and the hash of the last
//! ```
//!
//! Exposures and changes of policy are written, and durable, before what they tell of happens: no
//! entry, no exposure. What is signed is noted before it is given out, and written within a second.
//! The hash is that of an entry's line and not of its seal, so that the chain outlives a rekey. Opening
//! reads the open segment alone: that the older ones are there, the chain tells when it is verified.

mod action;
mod chain;
mod entry;
mod export;
mod notes;

pub use action::AuditAction;
pub(super) use chain::{Chain, is_within, key_of, pruned_key, pruned_row};
pub use entry::AuditEntry;
pub use export::{AuditChain, verify_audit_lines};

use super::committer::Committer;
use super::disk::Disk;
use super::head::AuditEnd;
use super::record::{AuditRow, EntryRow, SegmentRow};
use super::{
    Account, SealedSecret, Store, StoreError, TokenRecord, TokenSecret, Tree, Write, lock,
};
use crate::id::TokenId;
use crate::policy::{Book, Charge, Rule};
use chain::{follow, key, open_key};
use chrono::{DateTime, Utc};
use notes::{Due, Notes};
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};

/// Entries of a segment. One has about 120 bytes, and at most 250: a page of sled's holds 17 records, and
/// beyond 128 KiB becomes a file of its own, which each opening would sync.
const SEGMENT: usize = 48;
/// The most lines of one token that are written over: with more, they become entries at once.
const OPEN_MAX: usize = 128;
/// The most entries that wait for a disk that takes nothing.
const WAITING_MAX: usize = 4096;

/// The log's end, and the one way to move it.
pub(super) struct Log {
    disk: Arc<Disk>,
    committer: Arc<Committer>,
    /// Held over a commit: the next entry follows on one that is durable.
    state: Mutex<State>,
    /// Held to read by whoever reads the log from its beginning, to write by whoever prunes it; nobody
    /// who writes entries waits for either.
    beginning: RwLock<()>,
    notes: Notes,
}

/// What is known of the log.
#[derive(Default)]
struct State {
    /// What was pruned ends here.
    start: AuditEnd,
    /// The segments end here, and the open one begins.
    sealed: AuditEnd,
    /// The entries of the open segment.
    open: Vec<EntryRow>,
    end: AuditEnd,
    /// The tokens whose lines stand beside the chain.
    beside: BTreeSet<TokenId>,
    /// Entries that could not be written so far.
    waiting: Vec<EntryRow>,
}

/// What opening has read of the log.
#[derive(Default)]
pub(super) struct Found(Vec<AuditRow>);

impl Found {
    pub(super) fn add(&mut self, row: &[u8]) -> Result<(), StoreError> {
        self.0.push(chain::read(row)?);
        Ok(())
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether lines stand beside the chain, which a process that goes in order makes entries.
    pub(super) fn is_cut_off(&self) -> bool {
        self.0.iter().any(|row| matches!(row, AuditRow::Open { .. }))
    }
}

impl State {
    /// The log as opening has found it. Lines that stand beside the chain are of a process that was cut
    /// off: they become entries.
    fn of(found: Found, end: AuditEnd) -> Self {
        let mut state = Self { end, ..Self::default() };
        let mut entries = Vec::new();
        for row in found.0 {
            match row {
                AuditRow::Entry { number, previous, entry } => {
                    entries.push((number, previous, entry));
                }
                AuditRow::Pruned { entries, last } => state.start = AuditEnd { entries, last },
                AuditRow::Open { token_id, entries } => {
                    state.beside.insert(TokenId::from_bytes(token_id));
                    state.waiting.extend(entries);
                }
            }
        }
        entries.sort_by_key(|(number, ..)| *number);
        state.sealed = entries
            .first()
            .map_or(end, |(number, previous, _)| AuditEnd { entries: *number, last: *previous });
        state.open = entries.into_iter().map(|(.., entry)| entry).collect();
        state
    }
}

impl Log {
    pub(super) fn new(
        disk: Arc<Disk>,
        committer: Arc<Committer>,
        found: Found,
        end: AuditEnd,
    ) -> Self {
        let state = Mutex::new(State::of(found, end));
        Self { disk, committer, state, beginning: RwLock::default(), notes: Notes::default() }
    }

    /// Appends an entry, in one commit with `writes`.
    pub(super) fn append(
        &self,
        action: AuditAction,
        token_id: Option<TokenId>,
        writes: Vec<Write>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let entry = EntryRow::of(action, token_id, now);
        let state = &mut *lock(&self.state);
        self.append_to(state, vec![entry], writes, |writes, end| self.commit(writes, end))
    }

    fn commit(&self, writes: Vec<Write>, end: AuditEnd) -> Result<(), StoreError> {
        self.committer.submit(writes, Some(end)).wait()
    }

    /// Appends entries by a commit of the caller's; full segments are sealed in the same.
    fn append_to(
        &self,
        state: &mut State,
        new: Vec<EntryRow>,
        mut writes: Vec<Write>,
        commit: impl FnOnce(Vec<Write>, AuditEnd) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (standing, mut sealed, mut end) = (state.open.len(), state.sealed, state.end);
        state.open.extend(new);
        let taken = state.open.len() / SEGMENT * SEGMENT;
        let appended = || {
            for entries in state.open[..taken].chunks(SEGMENT) {
                let AuditEnd { entries: first, last: previous } = sealed;
                let row = SegmentRow { first, previous, entries: entries.to_vec() };
                writes.push(Write::put(Tree::Segments, key(first), &row)?);
                sealed = follow(sealed, entries)?;
            }
            for number in (0..standing.min(taken) as u64).map(|at| state.sealed.entries + at) {
                writes.push(Write::remove(Tree::Audit, key(number)));
            }
            for (at, entry) in state.open.iter().enumerate().skip(standing) {
                let AuditEnd { entries: number, last: previous } = end;
                if at >= taken {
                    let row = AuditRow::Entry { number, previous, entry: entry.clone() };
                    writes.push(Write::put(Tree::Audit, key(number), &row)?);
                }
                end = follow(end, std::slice::from_ref(entry))?;
            }
            commit(std::mem::take(&mut writes), end)
        };
        let appended = appended();
        match &appended {
            Ok(()) => {
                state.open.drain(..taken);
                (state.sealed, state.end) = (sealed, end);
            }
            Err(_) => state.open.truncate(standing),
        }
        appended
    }

    /// Writes what was noted: lines of money that moved since the last time beside the chain, and what
    /// has gathered for a minute, or all of it at the end, as entries. What cannot be written waits.
    pub(super) fn flush(&self, now: DateTime<Utc>, is_last: bool) -> Result<(), StoreError> {
        self.disk.check_writable()?;
        let state = &mut *lock(&self.state);
        if self.disk.rekeyed_alone.swap(false, Ordering::AcqRel) {
            state.waiting.push(EntryRow::of(AuditAction::Rekeyed, None, now));
        }
        let Due { mut closed, mut open } = self.notes.due(now, is_last);
        let (crowded, fit) = open.into_iter().partition(|(_, lines)| lines.len() > OPEN_MAX);
        open = fit;
        // Their tally goes on: what is an entry now is not counted once more.
        closed.extend(self.notes.close(crowded));
        let mut writes = Vec::new();
        for (token, entries) in &open {
            let row = AuditRow::Open { token_id: *token.as_bytes(), entries: entries.clone() };
            writes.push(Write::put(Tree::Audit, open_key(*token), &row)?);
        }
        // What a process left that was cut off has a name of its own among these.
        let [closed_ids, open_ids] =
            [&closed, &open].map(|due| due.iter().map(|(id, _)| *id).collect::<HashSet<_>>());
        let gone = std::mem::take(&mut state.beside).into_iter();
        let (stays, gone): (BTreeSet<_>, BTreeSet<_>) = gone.partition(|token| {
            let is_due = closed_ids.contains(token) || open_ids.contains(token);
            !is_due && self.notes.is_open(*token)
        });
        let removed = gone.iter().filter(|token| !open_ids.contains(token));
        writes.extend(removed.map(|token| Write::remove(Tree::Audit, open_key(*token))));
        let waiting = std::mem::take(&mut state.waiting);
        let entries: Vec<_> =
            waiting.into_iter().chain(closed.into_iter().flat_map(|(_, lines)| lines)).collect();
        if entries.is_empty() && writes.is_empty() {
            state.beside = stays;
            return Ok(());
        }
        let written =
            self.append_to(state, entries.clone(), writes, |writes, end| self.commit(writes, end));
        state.beside = stays;
        match &written {
            Ok(()) => state.beside.extend(open.into_iter().map(|(token, _)| token)),
            Err(_) => {
                state.beside.extend(gone);
                state.waiting = entries;
                state.waiting.truncate(WAITING_MAX);
                self.notes.not_written(open.into_iter().map(|(token, _)| token));
            }
        }
        written
    }

    /// Has entries wait for the next time something is written.
    fn wait_for(&self, entries: impl Iterator<Item = EntryRow>) -> bool {
        let state = &mut *lock(&self.state);
        state.waiting.extend(entries);
        !state.waiting.is_empty()
    }
}

impl Store {
    /// Appends an entry, and with it the change of a token's record where there is one. `token_id`
    /// is that of the token that it befell, `None` for the vault as a whole.
    pub(crate) fn append_audit(
        &self,
        action: AuditAction,
        token_id: impl Into<Option<TokenId>>,
        changed: Option<&TokenRecord>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let token_id = token_id.into();
        let Some(record) = changed else {
            return self.audit.append(action, token_id, Vec::new(), now);
        };
        self.append_change(action, token_id, record, |book| book.apply(&record.rules), now)
    }

    /// Appends that BitGo said what an imported token may do, and with it what it said; the token's
    /// ledger begins at the server's counters.
    pub(crate) fn append_verified(
        &self,
        record: &TokenRecord,
        server_ms: i64,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let TokenRecord { info, rules, .. } = record;
        let begin = |book: &mut Book| book.verify(info, rules, server_ms);
        self.append_change(AuditAction::Verified, Some(info.id), record, begin, now)
    }

    /// Appends that a token came, and keeps it, in one commit.
    pub(crate) fn append_arrival(
        &self,
        action: AuditAction,
        record: &TokenRecord,
        secret: &TokenSecret,
        account: Option<&Account>,
        now: DateTime<Utc>,
    ) -> Result<SealedSecret, StoreError> {
        let entry = EntryRow::of(action, Some(record.info.id), now);
        let state = &mut *lock(&self.audit.state);
        self.add_token_by(record, secret, account, |writes, commit| {
            self.audit
                .append_to(state, vec![entry], writes, |writes, end| commit(writes, Some(end)))
        })
    }

    fn append_change(
        &self,
        action: AuditAction,
        token_id: Option<TokenId>,
        record: &TokenRecord,
        bounds: impl FnOnce(&mut Book),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let writes = vec![self.token_write(record)?];
        let entry = EntryRow::of(action, token_id, now);
        let state = &mut *lock(&self.audit.state);
        self.audit.append_to(state, vec![entry], writes, |writes, end| {
            self.commit_to_account(record.lineage, bounds, writes, Some(end))
        })
    }

    /// Notes a request that was signed, before it is given out: its charges, if it moves money.
    pub(crate) fn note_signed(
        &self,
        token_id: TokenId,
        charges: &[Charge],
        request: [u8; 16],
        now_ms: i64,
    ) {
        self.audit.notes.signed(token_id, charges, request, now_ms);
    }

    /// Notes that a rule refused a request for a token.
    pub(crate) fn note_denied(&self, token_id: TokenId, rule: Rule, now: DateTime<Utc>) {
        self.audit.notes.denied(token_id, rule.as_str(), now);
    }

    /// Writes what was noted and has gathered for a minute; what it is to be for tests, at once.
    #[cfg(test)]
    pub(crate) fn flush_audit(&self, now: DateTime<Utc>, is_last: bool) -> Result<(), StoreError> {
        self.audit.flush(now, is_last)
    }

    /// Appends what a process left that was cut off: its lines of the last minute, and for each token of
    /// which budget was reserved that requests may not be told of. Should there be no room, they wait.
    pub(super) fn tell_of_gaps(&self, tokens: &[TokenId], now: DateTime<Utc>) {
        let gaps = tokens.iter().map(|id| EntryRow::of(AuditAction::Gap, Some(*id), now));
        if self.audit.wait_for(gaps)
            && let Err(error) = self.audit.flush(now, false)
        {
            tracing::warn!(
                name: "audit.waits", %error,
                "what the last process left for the audit log waits to be written"
            );
        }
    }
}
