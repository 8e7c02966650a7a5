//! Copies of a whole vault: a backup is made of an open one, and becomes a vault of its own.
//!
//! A restored vault has another id and another data key, so that nothing of it fits its origin. What
//! its origin spent since is not known, so that it spends nothing until it is reconciled.

use super::anchor;
use super::audit::Chain;
use super::backup::{Origin, Reader, Writer as BackupWriter};
use super::{
    AuditAction, Key, Opening, Place, Store, StoreError, Tree, Write, clock_offset, grants, ledger,
    lock, reissues,
};
use crate::crypto::KdfParams;
use crate::environment::Environment;
use crate::secret::Passphrase;
use chrono::{DateTime, Utc};
use std::fs::File;
use std::path::Path;

/// Records that are restored in one commit.
const BATCH: usize = 128;

impl Store {
    /// Writes all that the vault keeps to the file `path`, under the vault's passphrase as it is
    /// now. Commits wait meanwhile. `Ok` means that the file is whole on disk.
    pub(crate) fn back_up(&self, path: &Path, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.append_audit(AuditAction::BackedUp, None, None, now)?;
        let path = path.to_owned();
        self.committer.alone(move |writer| {
            let mut backup = {
                let keyring = lock(&writer.disk.keyring);
                let header = &keyring.header;
                let origin = Origin {
                    vault_id: header.vault_id,
                    sequence: writer.head.sequence,
                    kdf: header.kdf,
                    salt: header.salt,
                };
                BackupWriter::create(&path, origin, &keyring.key_encryption_key)?
            };
            writer.each_record(|tree, key, row| match tree {
                // It is made anew of what is restored.
                Tree::Index => Ok(()),
                // It is of this machine.
                Tree::Meta if key == clock_offset::key() => Ok(()),
                _ => backup.record(tree as u8, &key.to_bytes(), &row),
            })?;
            backup.finish()
        })
    }

    /// Makes a vault of a backup, in a place that must not hold one. The passphrase is the backup's,
    /// and the vault's from then on; its costs are `kdf`, or the backup's where those are higher.
    pub(crate) fn restore<'e>(
        opening: Opening,
        place: &Place,
        backup: &Path,
        passphrase: &Passphrase,
        kdf: KdfParams,
        environment: impl Into<Option<&'e Environment>>,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let environment = environment.into();
        let mut records = Reader::open(backup, passphrase)?;
        let origin = *records.origin();
        let kdf = if kdf.is_at_least(origin.kdf) { kdf } else { origin.kdf };
        let may_replace = |anchor: &Path| check_anchor(anchor, &origin, opening);
        let store = Self::make(place, passphrase, kdf, now, may_replace, |store| {
            store.take_over(&mut records)?;
            store.check_binding(environment)
        })?;
        // It is read as any other from here on.
        drop(store);
        let store = Self::open(place, passphrase, environment, now)?;
        store.append_audit(AuditAction::Restored, None, None, now)?;
        Ok(store)
    }

    /// Commits every record of a backup, its ledgers not to be believed.
    fn take_over(&self, records: &mut Reader<File>) -> Result<(), StoreError> {
        let mut chain = Chain::default();
        let mut writes: Vec<Write> = Vec::with_capacity(BATCH);
        for record in records {
            let record = record?;
            let (tree, key) = (Tree::numbered(record.tree)?, Key::parse(&record.key)?);
            if let Tree::Audit | Tree::Segments = tree {
                chain.add(tree, &record.row)?;
            }
            let row = match tree {
                Tree::Ledger => Some(ledger::unreconciled(&record.row, false)?),
                Tree::Grants => Some(grants::perhaps_spent(&record.row)?),
                Tree::Meta if reissues::key_of(&record.row).as_ref() == Some(&key) => {
                    reissues::of_copy(&record.row)?
                }
                _ => Some(record.row),
            };
            // What belongs to one token is committed together.
            if writes.len() >= BATCH && writes.last().is_some_and(|last| last.key != key) {
                self.commit(std::mem::take(&mut writes))?;
            }
            writes.push(Write { tree, key, row });
        }
        let end = chain.end()?;
        self.committer.submit(writes, Some(end)).wait()
    }
}

/// An anchor where the restored vault's is to be may be replaced if it is its origin's, and knows
/// nothing that is later than the backup.
fn check_anchor(path: &Path, origin: &Origin, opening: Opening) -> Result<(), StoreError> {
    anchor::check_replaceable(path, origin.vault_id)?;
    let is_older = match anchor::peek(path) {
        Ok(last) => last.is_some_and(|(_, sequence)| sequence > origin.sequence),
        // It may have known a later state.
        Err(_) => true,
    };
    match is_older && opening != Opening::AcceptRollback {
        true => Err(StoreError::RolledBack { what: "the backup is older than the anchor" }),
        false => Ok(()),
    }
}
