//! The audit log: sealed entries, each bound to the one before it by a hash.
//!
//! Written, and durable, before what it tells of happens: no entry, no exposure.

use super::record::{AuditHeadRow, AuditRow};
use super::{Name, Store, StoreError, TokenRecord, Tree, lock};
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

/// Where the log ends.
pub(super) type Head = AuditHeadRow;

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
        let mut head = lock(&self.audit);
        let row = AuditRow {
            at_ms: now.timestamp_millis(),
            action: action as u8,
            token_id: token_id.into().map_or([0; 16], |id| *id.as_bytes()),
            previous: head.last,
        };
        let entry = self.seal(Tree::Audit, self.entry_name(head.entries), &row)?;
        let last = Sha256::digest(entry.value.as_deref().unwrap_or_default()).into();
        let next = Head { entries: head.entries + 1, last };
        let mut writes = vec![entry, self.seal(Tree::Audit, self.head_name(), &next)?];
        match changed {
            Some(record) => {
                writes.push(self.token_write(record)?);
                self.commit_to_account(record.lineage, &record.info.spending_limits, writes)?;
            }
            None => self.commit(writes)?,
        }
        *head = next;
        Ok(())
    }

    /// All entries, oldest first; an error where the chain is broken.
    pub(crate) fn audit(&self) -> Result<Vec<AuditEntry>, StoreError> {
        let damaged = |what| StoreError::Damaged { tree: "audit", what };
        let head = *lock(&self.audit);
        let mut entries = Vec::new();
        let mut previous = [0; 32];
        for number in 0..head.entries {
            let name = self.entry_name(number);
            let sealed = self.get(Tree::Audit, &name)?.ok_or(damaged("an entry is missing"))?;
            let row: AuditRow = self.unseal(Tree::Audit, &name, &sealed)?;
            if row.previous != previous {
                return Err(damaged("the chain of entries is broken"));
            }
            previous = Sha256::digest(&sealed).into();
            let at = DateTime::from_timestamp_millis(row.at_ms);
            let action = AuditAction::ALL.get(usize::from(row.action));
            let (Some(at), Some(action)) = (at, action) else {
                return Err(damaged("an entry cannot be read"));
            };
            let token_id = action.is_of_token().then(|| TokenId::from_bytes(row.token_id));
            entries.push((at, *action, token_id));
        }
        if previous != head.last {
            return Err(damaged("the chain of entries is broken"));
        }
        Ok(entries)
    }

    pub(super) fn load_audit_head(&mut self) -> Result<(), StoreError> {
        let name = self.head_name();
        let head = match self.get(Tree::Audit, &name)? {
            Some(sealed) => self.unseal(Tree::Audit, &name, &sealed)?,
            None => Head::default(),
        };
        *lock(&self.audit) = head;
        Ok(())
    }

    fn entry_name(&self, number: u64) -> Name {
        self.names.name("audit", &number.to_be_bytes())
    }

    fn head_name(&self) -> Name {
        self.names.name("audit", b"head")
    }
}
