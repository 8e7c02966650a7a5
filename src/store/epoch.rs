//! One epoch: a database and the keys that its records are sealed under.

use super::database::{Change, Database};
use super::keys::Keys;
use super::{Key, StoreError, Tree};
use crate::crypto::{DataKey, VaultId};
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
    pub(super) fn find<T: bincode::Decode<()>>(
        &self,
        tree: Tree,
        key: &Key,
    ) -> Result<Option<T>, StoreError> {
        let name = self.keys.name(tree, key);
        let sealed = self.get(tree, &name)?;
        sealed.map(|sealed| self.keys.read(tree, &name, &sealed)).transpose()
    }

    /// The change that puts `row` in its place, sealed; or that removes it.
    pub(super) fn change(
        &self,
        tree: Tree,
        key: &Key,
        row: Option<&[u8]>,
    ) -> Result<Change, StoreError> {
        let name = self.keys.name(tree, key);
        let sealed = row.map(|row| self.keys.seal(tree, &name, row)).transpose()?;
        Ok(Change { tree, name, sealed })
    }
}

impl Deref for Epoch {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}
