//! The audit log: sealed entries, each bound to the one before it by its hash.
//!
//! Written, and durable, before what it tells of happens: no entry, no exposure. The hash is that
//! of the row, not of its seal, so that the chain outlives a rekey; where it ends stands in the head.

use super::committer::Committer;
use super::head::AuditEnd;
use super::record::{self, AuditRow};
use super::{Key, Store, StoreError, TokenRecord, Tree, Write, lock};
use crate::id::TokenId;
use crate::policy::Book;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// What an entry of the audit log tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditAction {
    /// A token was handed out.
    Exposed,
    /// A token's raw exposure was allowed.
    ExposureAllowed,
    /// A token's raw exposure was forbidden.
    ExposureForbidden,
    /// The passphrase was changed, or was about to be: the entry comes first, and stays where the
    /// change failed or was killed.
    PassphraseChanged,
    /// The costs of deriving the key were raised, or were about to be.
    KdfUpgraded,
    /// The data key was replaced, or was about to be.
    Rekeyed,
    /// A backup was made, or was about to be: a copy of every token.
    BackedUp,
    /// The vault was made of a backup.
    Restored,
    /// The vault was taken for the last one though its anchor knew another.
    RollbackAccepted,
    /// What was left of a damaged vault was made whole.
    Repaired,
    /// What a token spent was begun anew at what BitGo says.
    Reconciled,
    /// BitGo said of a token that somebody else acts as its user.
    SpooferSeen,
    /// A token's spending limits were removed at BitGo by unlocking it, or were about to be.
    LimitsRemoved,
    /// The seed of an account's one-time passwords was kept, or was about to be.
    TotpSeedKept,
    /// The seed of an account's one-time passwords was forgotten, or was about to be.
    TotpSeedForgotten,
    /// A token's budget began anew, or was about to.
    BudgetRenewed,
    /// A token's local rules were made stricter.
    RulesTightened,
    /// A token's local rules were made looser.
    RulesLoosened,
    /// The vault was frozen.
    Frozen,
    /// The vault was thawed.
    Thawed,
}

impl AuditAction {
    /// In the order of their numbers on disk: new ones come last.
    const ALL: [Self; 20] = [
        Self::Exposed,
        Self::ExposureAllowed,
        Self::ExposureForbidden,
        Self::PassphraseChanged,
        Self::KdfUpgraded,
        Self::Rekeyed,
        Self::BackedUp,
        Self::Restored,
        Self::RollbackAccepted,
        Self::Repaired,
        Self::Reconciled,
        Self::SpooferSeen,
        Self::LimitsRemoved,
        Self::TotpSeedKept,
        Self::TotpSeedForgotten,
        Self::BudgetRenewed,
        Self::RulesTightened,
        Self::RulesLoosened,
        Self::Frozen,
        Self::Thawed,
    ];

    /// Whether it befell a token, and not the vault as a whole.
    fn is_of_token(self) -> bool {
        matches!(
            self,
            Self::Exposed
                | Self::ExposureAllowed
                | Self::ExposureForbidden
                | Self::Reconciled
                | Self::SpooferSeen
                | Self::LimitsRemoved
                | Self::BudgetRenewed
                | Self::RulesTightened
                | Self::RulesLoosened
        )
    }
}

/// When, what, and which token it befell, if one.
type AuditEntry = (DateTime<Utc>, AuditAction, Option<TokenId>);

/// The log's end, and the one way to move it.
pub(super) struct Log {
    committer: Arc<Committer>,
    /// Held over a commit: the next entry follows on one that is durable.
    end: Mutex<AuditEnd>,
}

impl Log {
    pub(super) fn new(committer: Arc<Committer>, end: AuditEnd) -> Self {
        Self { committer, end: Mutex::new(end) }
    }

    /// Appends an entry, in one commit with `writes`.
    pub(super) fn append(
        &self,
        action: AuditAction,
        token_id: Option<TokenId>,
        writes: Vec<Write>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.append_by(action, token_id, writes, now, |writes, end| {
            self.committer.submit(writes, Some(end)).wait()
        })
    }

    /// Appends an entry by a commit of the caller's.
    fn append_by(
        &self,
        action: AuditAction,
        token_id: Option<TokenId>,
        mut writes: Vec<Write>,
        now: DateTime<Utc>,
        commit: impl FnOnce(Vec<Write>, AuditEnd) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut end = lock(&self.end);
        let row = AuditRow {
            number: end.entries,
            at_ms: now.timestamp_millis(),
            action: action as u8,
            token_id: token_id.map_or([0; 16], |id| *id.as_bytes()),
            previous: end.last,
        };
        let entry = Write::put(Tree::Audit, key(row.number), &row)?;
        let last = Sha256::digest(entry.row.as_deref().unwrap_or_default()).into();
        let next = AuditEnd { entries: end.entries + 1, last };
        writes.push(entry);
        commit(writes, next)?;
        *end = next;
        Ok(())
    }

    /// Where a log that was taken over ends.
    pub(super) fn take_over(&self, end: AuditEnd) {
        *lock(&self.end) = end;
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
        let writes = vec![self.token_write(record)?];
        self.audit.append_by(action, token_id, writes, now, |writes, end| {
            let bounds = |book: &mut Book| book.apply(&record.rules);
            self.commit_to_account(record.lineage, bounds, writes, Some(end))
        })
    }

    /// All entries, oldest first; an error where the chain is broken.
    pub(crate) fn audit(&self) -> Result<Vec<AuditEntry>, StoreError> {
        let damaged = |what| StoreError::unreadable(Tree::Audit, what);
        let end = *lock(&self.audit.end);
        let epoch = self.disk.epoch();
        let mut chain = Chain::default();
        for number in 0..end.entries {
            let name = epoch.keys.name(Tree::Audit, &key(number));
            let sealed = epoch.get(Tree::Audit, &name)?.ok_or(damaged("an entry is missing"))?;
            chain.add(&epoch.keys.open(Tree::Audit, &name, &sealed)?)?;
        }
        if chain.end()? != end {
            return Err(damaged("the chain of entries is broken"));
        }
        let entry = |link: Link| {
            let at = DateTime::from_timestamp_millis(link.row.at_ms);
            let action = AuditAction::ALL.get(usize::from(link.row.action));
            let unreadable = damaged("an entry cannot be read");
            let (Some(at), Some(action)) = (at, action) else { return Err(unreadable) };
            let token_id = action.is_of_token().then(|| TokenId::from_bytes(link.row.token_id));
            Ok((at, *action, token_id))
        };
        chain.0.into_values().map(entry).collect()
    }
}

/// Entries as they are found, in any order.
#[derive(Default)]
pub(super) struct Chain(BTreeMap<u64, Link>);

struct Link {
    row: AuditRow,
    hash: [u8; 32],
}

impl Chain {
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let unreadable = |_| StoreError::unreadable(Tree::Audit, "an entry cannot be read");
        let row: AuditRow = record::decode(bytes).map_err(unreadable)?;
        self.0.insert(row.number, Link { row, hash: Sha256::digest(bytes).into() });
        Ok(())
    }

    /// The ids of the tokens that were handed out.
    pub(super) fn exposed(&self) -> BTreeSet<TokenId> {
        let rows = self.0.values().map(|link| &link.row);
        let exposed = rows.filter(|row| row.action == AuditAction::Exposed as u8);
        exposed.map(|row| TokenId::from_bytes(row.token_id)).collect()
    }

    /// Where the chain ends; an error where it is broken before that.
    pub(super) fn end(&self) -> Result<AuditEnd, StoreError> {
        let end = self.whole_until();
        match end.entries == self.0.len() as u64 {
            true => Ok(end),
            false => Err(StoreError::unreadable(Tree::Audit, "the chain of entries is broken")),
        }
    }

    /// How far it goes from the first entry on without a break.
    pub(super) fn whole_until(&self) -> AuditEnd {
        let mut end = AuditEnd::default();
        for (number, link) in &self.0 {
            if *number != end.entries || link.row.previous != end.last {
                break;
            }
            end = AuditEnd { entries: end.entries + 1, last: link.hash };
        }
        end
    }
}

pub(super) fn key(number: u64) -> Key {
    Key::Text(number.to_be_bytes().to_vec())
}

/// The number of the entry that a row holds: its key.
pub(super) fn entry_number(row: &[u8]) -> Result<u64, StoreError> {
    let row: Result<AuditRow, _> = record::decode(row);
    let unreadable = |_| StoreError::unreadable(Tree::Audit, "an entry cannot be read");
    Ok(row.map_err(unreadable)?.number)
}
