//! One epoch: a database and the keys that its records are sealed under.

use super::bundle::Bundle;
use super::database::Database;
use super::keys::Keys;
use super::{Key, StoreError, Tree, record};
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
