//! A batch: what changes together in the database, value by value.

use super::bundle::Bundle;
use super::database::Change;
use super::keys::Keys;
use super::{Key, Name, StoreError, Tree};
use std::collections::btree_map::{BTreeMap, Entry};

/// What a change means for the token under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Comes,
    Goes,
}

/// Changes on their way, each value's in one.
#[derive(Default)]
pub(super) struct Batch(BTreeMap<(Tree, Name), Bundle<Vec<u8>>>);

impl Batch {
    /// Adds a change to one record, sealed here; without a row it is removed. `standing` answers
    /// what stands under the name so far, where the batch does not change that already. The answer
    /// is whether a token comes or goes with it.
    pub(super) fn put(
        &mut self,
        keys: &Keys,
        (tree, key, row): (Tree, &Key, Option<&[u8]>),
        standing: impl FnOnce(Tree, &Name) -> Result<Bundle<Vec<u8>>, StoreError>,
    ) -> Result<Option<Turn>, StoreError> {
        let (home, name) = (tree.home(), keys.name(tree, key));
        let sealed = row.map(|row| keys.seal(tree, &name, row)).transpose()?;
        let bundle = match self.0.entry((home, name)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(standing(home, &name)?),
        };
        let before = bundle.is_of_token();
        bundle.set(tree, sealed);
        Ok(match (before, bundle.is_of_token()) {
            (false, true) => Some(Turn::Comes),
            (true, false) => Some(Turn::Goes),
            _ => None,
        })
    }

    /// How many values change.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a record's value changes.
    pub(super) fn changes(&self, tree: Tree, name: Name) -> bool {
        self.0.contains_key(&(tree.home(), name))
    }

    pub(super) fn into_changes(self) -> Vec<Change> {
        let change = |((tree, name), bundle): (_, Bundle<Vec<u8>>)| {
            let value = bundle.join(tree);
            Change { tree, name, value }
        };
        self.0.into_iter().map(change).collect()
    }
}
