//! The index: which tokens there are, and their labels, apart from the tokens. Should the value of one
//! be lost, this tells that there was one.
//!
//! ```text
//! segment = up to 16 tokens, in the order in which they came; its name is made of: number (4), big-endian
//! ```
//!
//! The committer keeps it: a token is in it from its first commit to its removal, and so is a grant
//! whose token is yet to come. Those that come together are written together; a segment that is empty
//! is removed.

use super::epoch::Epoch;
use super::members::Total;
use super::record::{self, IndexRow};
use super::{Key, StoreError, Tree, grants, tokens};
use crate::id::LineageId;
use crate::secret::SecretBytes;
use std::collections::BTreeMap;

/// The most tokens that a segment begins with.
const SEGMENT: usize = 16;

/// All segments, if they are those that were written.
pub(super) fn read(epoch: &Epoch, written: Total) -> Result<Vec<Segment>, StoreError> {
    let mut segments = Vec::new();
    epoch.each_written(Tree::Index, written, |name, sealed| {
        segments.push(Segment::of(epoch.keys.read(Tree::Index, &name, sealed)?));
        Ok(())
    })?;
    Ok(segments)
}

/// Some of the tokens, by lineage, with their labels.
#[derive(Clone, Default)]
pub(super) struct Segment {
    number: u32,
    tokens: BTreeMap<LineageId, String>,
}

impl Segment {
    fn of(row: IndexRow) -> Self {
        let tokens = row.tokens.into_iter();
        let tokens = tokens.map(|(lineage, label)| (LineageId::from_bytes(lineage), label));
        Self { number: row.number, tokens: tokens.collect() }
    }

    pub(super) fn tokens(self) -> BTreeMap<LineageId, String> {
        self.tokens
    }

    pub(super) fn key(&self) -> Key {
        key(self.number)
    }

    /// What stands in the index, unless it is empty.
    pub(super) fn row(&self) -> Result<Option<SecretBytes>, StoreError> {
        let tokens = self.tokens.iter();
        let tokens = tokens.map(|(lineage, label)| (*lineage.as_bytes(), label.clone()));
        let row = IndexRow { number: self.number, tokens: tokens.collect() };
        (!row.tokens.is_empty()).then(|| record::encode(&row)).transpose()
    }
}

/// An index made anew, segment by segment.
pub(super) fn segments(tokens: BTreeMap<LineageId, String>) -> Vec<Segment> {
    let mut all: Vec<Segment> = Vec::new();
    for (lineage, label) in tokens {
        match all.last_mut().filter(|last| last.tokens.len() < SEGMENT) {
            Some(last) => drop(last.tokens.insert(lineage, label)),
            None => {
                let number = u32::try_from(all.len()).unwrap_or(u32::MAX);
                all.push(Segment { number, tokens: [(lineage, label)].into() });
            }
        }
    }
    all
}

/// Follows the tokens that come and go.
#[derive(Default)]
pub(super) struct Index {
    /// The last segment, once it is known.
    last: Option<Segment>,
}

/// The segments that a batch changes, by number.
pub(super) type Changed = BTreeMap<u32, Segment>;

impl Index {
    /// Notes a token's first commit, which brings a row of its secret or of its grant.
    pub(super) fn add(
        &mut self,
        changed: &mut Changed,
        lineage: LineageId,
        (tree, row): (Tree, &[u8]),
        all: impl FnOnce() -> Result<Vec<Segment>, StoreError>,
    ) -> Result<(), StoreError> {
        let label = match tree {
            Tree::Grants => grants::label_of_grant(row)?,
            _ => tokens::label_of_secret(row)?,
        };
        let last = match &mut self.last {
            Some(last) => last,
            none => {
                let last = all()?.into_iter().max_by_key(|segment| segment.number);
                let last = last.unwrap_or_default();
                // The batch may have changed it already.
                none.insert(changed.get(&last.number).cloned().unwrap_or(last))
            }
        };
        if last.tokens.len() >= SEGMENT {
            *last = Segment { number: last.number + 1, ..Segment::default() };
        }
        last.tokens.insert(lineage, label.as_str().into());
        changed.insert(last.number, last.clone());
        Ok(())
    }

    /// Notes a removal.
    pub(super) fn remove(
        &mut self,
        changed: &mut Changed,
        lineage: LineageId,
        all: impl FnOnce() -> Result<Vec<Segment>, StoreError>,
    ) -> Result<(), StoreError> {
        let holds = |segment: &&mut Segment| segment.tokens.contains_key(&lineage);
        if let Some(last) = self.last.as_mut().filter(|last| holds(last)) {
            last.tokens.remove(&lineage);
            changed.insert(last.number, last.clone());
        } else if let Some(segment) = changed.values_mut().find(holds) {
            segment.tokens.remove(&lineage);
        } else if let Some(segment) = all()?.iter_mut().find(holds) {
            // The batch may have changed it already.
            let segment = changed.entry(segment.number).or_insert_with(|| segment.clone());
            segment.tokens.remove(&lineage);
        }
        Ok(())
    }
}

/// The key of the segment that a row holds.
pub(super) fn segment_key(row: &[u8]) -> Result<Key, StoreError> {
    let row: Result<IndexRow, _> = record::decode(row);
    let unreadable = |_| StoreError::unreadable(Tree::Index, "a record cannot be read");
    Ok(key(row.map_err(unreadable)?.number))
}

fn key(number: u32) -> Key {
    Key::Text(number.to_be_bytes().into())
}
