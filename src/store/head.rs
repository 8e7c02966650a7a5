//! The head: what a commit leaves the database to hold, sealed in it and bound to the head before.
//!
//! ```text
//! row  = see record.rs: sequence, hash of the head before, end of the audit log, totals of each tree
//! hash = SHA-256(the sealed record, as sled keeps it)
//! ```
//!
//! Every commit writes one, in the same batch. Its hash stands in the anchor (anchor.rs).

use super::database::Change;
use super::keys::Keys;
use super::members::Total;
use super::record::{self, HeadRow};
use super::{Key, StoreError, Tree};
use sha2::{Digest, Sha256};

/// The hash of a head, as it is sealed.
pub(super) type HeadHash = [u8; 32];

/// Where the audit log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AuditEnd {
    pub(super) entries: u64,
    /// The hash of the last entry.
    pub(super) last: [u8; 32],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Commits since the vault was made.
    pub(super) sequence: u64,
    pub(super) previous: HeadHash,
    pub(super) audit: AuditEnd,
    pub(super) totals: [Total; Tree::KEPT.len()],
}

impl Head {
    /// What it is called within its tree.
    pub(super) fn key() -> Key {
        Key::Text(b"head".to_vec())
    }

    pub(super) fn hash(sealed: &[u8]) -> HeadHash {
        Sha256::digest(sealed).into()
    }

    /// The change that puts a head in its place, and its hash.
    pub(super) fn change(&self, keys: &Keys) -> Result<(Change, HeadHash), StoreError> {
        let name = keys.name(Tree::Head, &Self::key());
        let sealed = keys.seal(Tree::Head, &name, &record::encode(&HeadRow::from(self))?)?;
        let hash = Self::hash(&sealed);
        Ok((Change { tree: Tree::Head, name, value: Some(sealed) }, hash))
    }
}

impl From<&Head> for HeadRow {
    fn from(head: &Head) -> Self {
        Self {
            sequence: head.sequence,
            previous: head.previous,
            audit_entries: head.audit.entries,
            audit_last: head.audit.last,
            totals: head.totals.map(|total| (total.count, total.sum.to_bytes())),
        }
    }
}

impl From<HeadRow> for Head {
    fn from(row: HeadRow) -> Self {
        let total = |(count, sum)| Total { count, sum: super::members::Element::new(sum) };
        Self {
            sequence: row.sequence,
            previous: row.previous,
            audit: AuditEnd { entries: row.audit_entries, last: row.audit_last },
            totals: row.totals.map(total),
        }
    }
}
