//! One epoch: a database and the keys that its records are sealed under.

use super::bundle::Bundle;
use super::database::Database;
use super::keys::Keys;
use super::members::{Set, Total};
use super::{Key, Name, StoreError, Tree, record};
use crate::crypto::stack::wiped_shallow;
use crate::crypto::{DataKey, VaultId};
use crate::secret::SecretBytes;
use std::ops::Deref;
use std::path::Path;

pub(super) struct Epoch {
    pub(super) number: u32,
    pub(super) keys: Keys,
    database: Database,
}

impl Epoch {
    pub(super) fn open(
        dir: &Path,
        number: u32,
        data_key: &DataKey,
        vault_id: &VaultId,
    ) -> Result<Self, StoreError> {
        let keys = Keys::new(data_key, vault_id, number)?;
        let database = Database::open(&Database::path(dir, number))?;
        Ok(Self { number, keys, database })
    }

    /// Reads all values of a tree. Where they are not those that were written, that is an error at
    /// the end.
    pub(super) fn each_written(
        &self,
        tree: Tree,
        written: Total,
        mut take: impl FnMut(Name, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut found = Set::default();
        for entry in self.values(tree) {
            let (name, value) = entry?;
            let element = wiped_shallow(|| self.keys.element(tree, &name, &value));
            found.put(name, Some(element));
            take(name, &value)?;
        }
        match found.total() == written {
            true => Ok(()),
            false => Err(StoreError::unreadable(tree, "its records are not those written")),
        }
    }

    /// Finds a record, opens it and reads what it holds.
    pub(super) fn find<T: for<'a> bincode::BorrowDecode<'a, ()>>(
        &self,
        tree: Tree,
        key: &Key,
    ) -> Result<Option<T>, StoreError> {
        let unreadable = |_| StoreError::unreadable(tree, "a record opens but cannot be read");
        let row = self.row(tree, key)?;
        row.map(|row| record::decode(&row).map_err(unreadable)).transpose()
    }

    /// Finds a record and opens it.
    pub(super) fn row(&self, tree: Tree, key: &Key) -> Result<Option<SecretBytes>, StoreError> {
        let (home, name) = (tree.home(), self.keys.name(tree, key));
        let Some(value) = self.get(home, &name)? else { return Ok(None) };
        let bundle = Bundle::split(home, &value)?;
        bundle.get(tree).map(|sealed| self.keys.open(tree, &name, sealed)).transpose()
    }
}

impl Deref for Epoch {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}
