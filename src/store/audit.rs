//! The audit log: sealed entries, each bound to the one before it by its hash.
//!
//! Written, and durable, before what it tells of happens: no entry, no exposure. The hash is that
//! of the row, not of its seal, so that the chain outlives a rekey; where it ends stands in the head.

use super::head::AuditEnd;
use super::record::{self, AuditRow};
use super::{Key, Store, StoreError, TokenRecord, Tree, Write, lock};
use crate::id::TokenId;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

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
}

impl AuditAction {
    /// In the order of their numbers on disk: new ones come last.
    const ALL: [Self; 5] = [
        Self::Exposed,
        Self::ExposureAllowed,
        Self::ExposureForbidden,
        Self::PassphraseChanged,
        Self::KdfUpgraded,
    ];

    /// Whether it befell a token, and not the vault as a whole.
    fn is_of_token(self) -> bool {
        !matches!(self, Self::PassphraseChanged | Self::KdfUpgraded)
    }
}

/// When, what, and which token it befell, if one.
type AuditEntry = (DateTime<Utc>, AuditAction, Option<TokenId>);

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
        let mut end = lock(&self.audit);
        let row = AuditRow {
            number: end.entries,
            at_ms: now.timestamp_millis(),
            action: action as u8,
            token_id: token_id.into().map_or([0; 16], |id| *id.as_bytes()),
            previous: end.last,
        };
        let entry = Write::put(Tree::Audit, key(row.number), &row)?;
        let last = Sha256::digest(entry.row.as_deref().unwrap_or_default()).into();
        let next = AuditEnd { entries: end.entries + 1, last };
        match changed {
            Some(record) => {
                let writes = vec![entry, self.token_write(record)?];
                let limits = &record.info.spending_limits;
                self.commit_to_account(record.lineage, limits, writes, Some(next))?;
            }
            None => self.committer.submit(vec![entry], Some(next)).wait()?,
        }
        *end = next;
        Ok(())
    }

    /// All entries, oldest first; an error where the chain is broken.
    pub(crate) fn audit(&self) -> Result<Vec<AuditEntry>, StoreError> {
        let damaged = |what| StoreError::unreadable(Tree::Audit, what);
        let end = *lock(&self.audit);
        let epoch = self.disk.epoch();
        let mut entries = Vec::new();
        let mut previous = [0; 32];
        for number in 0..end.entries {
            let name = epoch.keys.name(Tree::Audit, &key(number));
            let sealed = epoch.get(Tree::Audit, &name)?.ok_or(damaged("an entry is missing"))?;
            let bytes = epoch.keys.open(Tree::Audit, &name, &sealed)?;
            let unreadable = damaged("an entry cannot be read");
            let Ok(row) = record::decode::<AuditRow>(&bytes) else { return Err(unreadable) };
            if row.previous != previous {
                return Err(damaged("the chain of entries is broken"));
            }
            previous = Sha256::digest(&bytes[..]).into();
            let at = DateTime::from_timestamp_millis(row.at_ms);
            let action = AuditAction::ALL.get(usize::from(row.action));
            let (Some(at), Some(action)) = (at, action) else { return Err(unreadable) };
            let token_id = action.is_of_token().then(|| TokenId::from_bytes(row.token_id));
            entries.push((at, *action, token_id));
        }
        if previous != end.last {
            return Err(damaged("the chain of entries is broken"));
        }
        Ok(entries)
    }
}

fn key(number: u64) -> Key {
    Key::Text(number.to_be_bytes().to_vec())
}

/// The key of the entry that a row holds.
pub(super) fn entry_key(row: &[u8]) -> Result<Key, StoreError> {
    let row: Result<AuditRow, _> = record::decode(row);
    let unreadable = |_| StoreError::unreadable(Tree::Audit, "an entry cannot be read");
    Ok(key(row.map_err(unreadable)?.number))
}
