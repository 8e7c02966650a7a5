//! The chain as it is found, in any order: how far it goes without a break.

use super::AuditAction;
use crate::id::TokenId;
use crate::store::head::AuditEnd;
use crate::store::record::{self, AuditRow, EntryRow, SegmentRow};
use crate::store::{Key, StoreError, Tree};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(in crate::store) struct Chain {
    pruned: Option<AuditEnd>,
    /// Segments and entries, by the number of their first entry.
    links: BTreeMap<u64, Link>,
}

struct Link {
    previous: [u8; 32],
    entries: Vec<EntryRow>,
}

impl Chain {
    /// Adds a record of the log.
    pub(in crate::store) fn add(&mut self, tree: Tree, row: &[u8]) -> Result<(), StoreError> {
        let (first, link) = match tree {
            Tree::Segments => {
                let SegmentRow { first, previous, entries } = read_segment(row)?;
                (first, Link { previous, entries })
            }
            _ => match read(row)? {
                AuditRow::Entry { number, previous, entry } => {
                    (number, Link { previous, entries: vec![entry] })
                }
                AuditRow::Pruned { entries, last } => {
                    self.pruned = Some(AuditEnd { entries, last });
                    return Ok(());
                }
                AuditRow::Open { .. } => return Ok(()),
            },
        };
        self.links.insert(first, link);
        Ok(())
    }

    /// The ids of the tokens that were handed out.
    pub(in crate::store) fn exposed(&self) -> BTreeSet<TokenId> {
        let rows = self.links.values().flat_map(|link| &link.entries);
        let exposed = rows.filter(|row| row.action == AuditAction::Exposed as u8);
        exposed.map(|row| TokenId::from_bytes(row.token_id)).collect()
    }

    /// Where it begins: after what was pruned. Should it not be known what was, at the oldest segment
    /// that is left.
    pub(in crate::store) fn start(&self) -> AuditEnd {
        let oldest = || {
            let (first, link) = self.links.first_key_value()?;
            (link.entries.len() > 1).then_some(AuditEnd { entries: *first, last: link.previous })
        };
        self.pruned.or_else(oldest).unwrap_or_default()
    }

    /// Where it ends; an error where it is broken before that.
    pub(in crate::store) fn end(&self) -> Result<AuditEnd, StoreError> {
        let (end, links) = self.walk()?;
        match links == self.links.len() {
            true => Ok(end),
            false => Err(broken()),
        }
    }

    /// How far it goes from its start on without a break.
    pub(in crate::store) fn whole_until(&self) -> Result<AuditEnd, StoreError> {
        Ok(self.walk()?.0)
    }

    fn walk(&self) -> Result<(AuditEnd, usize), StoreError> {
        let (mut end, mut walked) = (self.start(), 0);
        for (first, link) in &self.links {
            if *first != end.entries || link.previous != end.last {
                break;
            }
            end = follow(end, &link.entries)?;
            walked += 1;
        }
        Ok((end, walked))
    }
}

/// Where the chain ends after these entries.
pub(super) fn follow(end: AuditEnd, entries: &[EntryRow]) -> Result<AuditEnd, StoreError> {
    entries.iter().try_fold(end, |AuditEnd { entries, last }, row| {
        let (_, last) = row.line(entries, &last)?;
        Ok(AuditEnd { entries: entries + 1, last })
    })
}

/// The key of the record that a row holds.
pub(in crate::store) fn key_of(tree: Tree, row: &[u8]) -> Result<Key, StoreError> {
    Ok(match tree {
        Tree::Segments => key(read_segment(row)?.first),
        _ => match read(row)? {
            AuditRow::Entry { number, .. } => key(number),
            AuditRow::Open { token_id, .. } => open_key(TokenId::from_bytes(token_id)),
            AuditRow::Pruned { .. } => pruned_key(),
        },
    })
}

/// Whether a record lies within the chain up to there, or beside it.
pub(in crate::store) fn is_within(
    tree: Tree,
    row: &[u8],
    end: AuditEnd,
) -> Result<bool, StoreError> {
    Ok(match tree {
        Tree::Segments => {
            let SegmentRow { first, entries, .. } = read_segment(row)?;
            first.saturating_add(entries.len() as u64) <= end.entries
        }
        _ => match read(row)? {
            AuditRow::Entry { number, .. } => number < end.entries,
            AuditRow::Open { .. } | AuditRow::Pruned { .. } => true,
        },
    })
}

pub(super) fn read(row: &[u8]) -> Result<AuditRow, StoreError> {
    record::decode(row).map_err(|_| unreadable())
}

pub(super) fn read_segment(row: &[u8]) -> Result<SegmentRow, StoreError> {
    record::decode(row).map_err(|_| unreadable())
}

fn unreadable() -> StoreError {
    StoreError::unreadable(Tree::Audit, "an entry cannot be read")
}

pub(super) fn broken() -> StoreError {
    StoreError::unreadable(Tree::Audit, "the chain of entries is broken")
}

/// Of an entry, and of a segment in its own tree.
pub(super) fn key(number: u64) -> Key {
    Key::Text(number.to_be_bytes().to_vec())
}

pub(super) fn open_key(id: TokenId) -> Key {
    Key::Text([&b"open"[..], id.as_bytes()].concat())
}

pub(in crate::store) fn pruned_key() -> Key {
    Key::Text(b"pruned".to_vec())
}

/// The row that says what was pruned.
pub(in crate::store) fn pruned_row(start: AuditEnd) -> AuditRow {
    AuditRow::Pruned { entries: start.entries, last: start.last }
}
