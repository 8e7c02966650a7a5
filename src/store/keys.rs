//! The keys of one epoch, and what they make of a record: its name, its seal, its element.
//!
//! ```text
//! name    = HMAC-SHA256[names](tree ‖ text), the first 16 bytes; or a random id as it is
//! element = HMAC-SHA256[set](tree ‖ name ‖ value)
//! ```
//!
//! `tree` is padded to its fixed length with zeros, `name` has 16 bytes.

use super::{Key, Name, StoreError, Tree, members::Element, record};
use crate::crypto::stack::{wiped, wiped_record, wiped_shallow};
use crate::crypto::{DataKey, MacKey, RecordCipher, VaultId};
use crate::locked::{LockLevel, Locked};
use crate::secret::SecretBytes;
use getrandom::SysRng;

pub(super) struct Keys(Locked<Expanded>);

struct Expanded {
    ciphers: [RecordCipher; Tree::ALL.len()],
    names: MacKey,
    set: MacKey,
    anchor: MacKey,
}

impl Keys {
    pub(super) fn new(
        data_key: &DataKey,
        vault_id: &VaultId,
        epoch: u32,
    ) -> Result<Self, StoreError> {
        let mac = |purpose| data_key.mac_key(vault_id, epoch, purpose);
        // They are expanded on the stack and moved in.
        let expanded = wiped(|| {
            Locked::new(Expanded {
                ciphers: Tree::ALL.map(|tree| data_key.record_cipher(vault_id, epoch, tree.name())),
                names: mac("names"),
                set: mac("set"),
                anchor: mac("anchor"),
            })
        })?;
        Ok(Self(expanded))
    }

    pub(super) fn lock_level(&self) -> LockLevel {
        self.0.level()
    }

    /// What a record is called on disk.
    pub(super) fn name(&self, tree: Tree, key: &Key) -> Name {
        match key {
            Key::Id(id) => *id,
            Key::Text(text) => {
                let mac = wiped_shallow(|| self.0.names.mac(&[&tree.padded(), text]));
                let (name, _) = mac.split_first_chunk().expect("a MAC has 32 bytes");
                *name
            }
        }
    }

    pub(super) fn seal(&self, tree: Tree, name: &Name, row: &[u8]) -> Result<Vec<u8>, StoreError> {
        let cipher = &self.0.ciphers[tree as usize];
        Ok(wiped_record(|| cipher.seal(name, row, &mut SysRng))?)
    }

    pub(super) fn open(
        &self,
        tree: Tree,
        name: &Name,
        sealed: &[u8],
    ) -> Result<SecretBytes, StoreError> {
        wiped_record(|| self.open_unwiped(tree, name, sealed))
    }

    /// As [`Keys::open`]. The key's state stays on the stack: whoever calls it wipes that, once for
    /// many.
    pub(super) fn open_unwiped(
        &self,
        tree: Tree,
        name: &Name,
        sealed: &[u8],
    ) -> Result<SecretBytes, StoreError> {
        let opened = self.0.ciphers[tree as usize].open(name, sealed);
        opened.map_err(|_| StoreError::unreadable(tree, "a record does not open"))
    }

    /// Opens a record and reads what it holds.
    pub(super) fn read<T: for<'a> bincode::BorrowDecode<'a, ()>>(
        &self,
        tree: Tree,
        name: &Name,
        sealed: &[u8],
    ) -> Result<T, StoreError> {
        let row = self.open(tree, name, sealed)?;
        record::decode(&row)
            .map_err(|_| StoreError::unreadable(tree, "a record opens but cannot be read"))
    }

    /// What a value adds to the sum of its tree. The key's state stays on the stack: whoever
    /// calls it wipes that, once for many.
    pub(super) fn element(&self, tree: Tree, name: &Name, value: &[u8]) -> Element {
        Element::new(self.0.set.mac(&[&tree.padded(), name, value]))
    }

    pub(super) fn anchor_mac(&self, bytes: &[u8]) -> [u8; 32] {
        wiped_shallow(|| self.0.anchor.mac(&[bytes]))
    }
}
