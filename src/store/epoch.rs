//! One epoch: a database and the keys that its records are sealed under.

use super::bundle::Bundle;
use super::database::Database;
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
        let (home, name) = (tree.home(), self.keys.name(tree, key));
        let Some(value) = self.get(home, &name)? else { return Ok(None) };
        let bundle = Bundle::split(home, &value)?;
        bundle.get(tree).map(|sealed| self.keys.read(tree, &name, sealed)).transpose()
    }
}

impl Deref for Epoch {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}
