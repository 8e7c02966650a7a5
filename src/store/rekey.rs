//! Another epoch: every record sealed anew under another data key, in a database of its own.
//!
//! ```text
//! db.<e+1> built whole and synced ──> header wraps both keys, e+1 in use   (the commit)
//!     ──> anchor ──> header wraps e+1 alone ──> db.<e> removed
//! ```
//!
//! A kill before the commit leaves a directory that opening removes; after it, opening goes on
//! where it ended. What the old key sealed is gone with it, and so is what sled had not reclaimed:
//! this is also how the database is made small again, and how what is left of a damaged one
//! becomes a whole one.

use super::batch::Batch;
use super::bundle::Bundle;
use super::committer::{Seals, Writer};
use super::database::{self, Database};
use super::disk::{Disk, Keyring};
use super::epoch::Epoch;
use super::head::{AuditEnd, Head, HeadHash};
use super::members::Members;
use super::{Key, SEALS_FIRST, StoreError, Tree, lock, snapshot, sync};
use crate::crypto::DataKey;
use crate::secret::SecretBytes;
use getrandom::SysRng;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// Values that are written together.
const BATCH: usize = 512;

/// An epoch on its way, that no header knows of.
pub(super) struct Filling {
    epoch: Epoch,
    members: Members,
    batch: Batch,
    sealed: u64,
}

impl Filling {
    /// Adds a record. Those of one token follow each other.
    pub(super) fn put(&mut self, tree: Tree, key: &Key, row: &[u8]) -> Result<(), StoreError> {
        let keys = &self.epoch.keys;
        if self.batch.len() == BATCH && !self.batch.changes(tree, keys.name(tree, key)) {
            let changes = std::mem::take(&mut self.batch).into_changes();
            self.members.note(keys, &changes);
            self.epoch.apply(&changes)?;
        }
        self.sealed += 1;
        self.batch.put(keys, (tree, key, Some(row)), |_, _| Ok(Bundle::default())).map(drop)
    }

    /// Ends it with a head that follows `before`, durably.
    fn finish(
        self,
        before: (u64, HeadHash),
        audit: AuditEnd,
        disk: &Disk,
    ) -> Result<Built, StoreError> {
        let Self { epoch, mut members, batch, sealed } = self;
        let mut changes = batch.into_changes();
        members.note(&epoch.keys, &changes);
        let (sequence, previous) = (before.0 + 1, before.1);
        let head = Head { sequence, previous, audit, totals: members.totals() };
        let (change, head_hash) = head.change(&epoch.keys)?;
        disk.step("building");
        changes.push(change);
        epoch.write(&changes)?;
        let (dir, number) = (disk.directory.path(), epoch.number);
        disk.directory.close_database(&Database::directory_name(number))?;
        database::sync_files(&Database::path(dir, number))?;
        sync(dir)?;
        disk.step("built");
        // One more for the head.
        Ok(Built { epoch, members, head, head_hash, sealed: sealed + 1 })
    }
}

/// An epoch that is whole and synced, but not in use.
struct Built {
    epoch: Epoch,
    members: Members,
    head: Head,
    head_hash: HeadHash,
    sealed: u64,
}

impl Writer {
    /// Seals all records under a new data key. After an error that does not end all writing
    /// nothing has changed.
    pub(super) fn rekey(&mut self) -> Result<(), StoreError> {
        self.replace_epoch(|writer, filling| {
            writer.each_record(|tree, key, row| filling.put(tree, &key, &row))?;
            Ok(writer.head.audit)
        })
    }

    /// Opens every record. What is not what was written is an error, at the end of its tree.
    pub(super) fn each_record(
        &self,
        mut take: impl FnMut(Tree, Key, SecretBytes) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let epoch = self.disk.epoch();
        for home in Tree::KEPT {
            let written = self.members.totals()[home as usize];
            epoch.each_written(home, written, |name, value| {
                for (tree, sealed) in Bundle::split(home, value)?.records(home) {
                    let row = epoch.keys.open(tree, &name, sealed)?;
                    take(tree, Key::of(&epoch.keys, tree, name, &row)?, row)?;
                }
                Ok(())
            })?;
        }
        // The chain of the audit log vouches for these: what is missing, or does not open, it tells.
        for entry in epoch.values(Tree::Segments) {
            let (name, sealed) = entry?;
            match epoch.keys.open(Tree::Segments, &name, &sealed) {
                Ok(row) => {
                    let key = Key::of(&epoch.keys, Tree::Segments, name, &row)?;
                    take(Tree::Segments, key, row)?;
                }
                Err(error) => tracing::error!(
                    name: "audit.segment_lost", %error,
                    "a segment of the audit log is lost"
                ),
            }
        }
        Ok(())
    }

    /// Puts an epoch in use that holds what `fill` puts there; it answers where the audit log ends.
    pub(super) fn replace_epoch(
        &mut self,
        fill: impl FnOnce(&Self, &mut Filling) -> Result<AuditEnd, StoreError>,
    ) -> Result<(), StoreError> {
        self.disk.check_writable()?;
        let disk = Arc::clone(&self.disk);
        let before = disk.epoch();
        let number = before.number.checked_add(1).ok_or(StoreError::SealsExhausted)?;
        let data_key = DataKey::generate(&mut SysRng)?;
        let path = Database::path(disk.directory.path(), number);
        let built = self.build(number, &data_key, &path, fill);
        let built = built.and_then(|built| self.put_in_use(&before, built, data_key));
        if built.is_err() && disk.check_writable().is_ok() {
            // On a full disk it would be in the way; should it stay, opening removes it.
            let _ = fs::remove_dir_all(&path);
        }
        built?;
        let number = before.number;
        // sled closes its files before they are removed.
        drop(before);
        discard(disk.directory.path(), number);
        disk.step("removed");
        Ok(())
    }

    fn build(
        &self,
        number: u32,
        data_key: &DataKey,
        path: &Path,
        fill: impl FnOnce(&Self, &mut Filling) -> Result<AuditEnd, StoreError>,
    ) -> Result<Built, StoreError> {
        let dir = self.disk.directory.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        }
        fs::DirBuilder::new().mode(0o700).create(path)?;
        self.disk.step("begun");
        let vault_id = lock(&self.disk.keyring).header.vault_id;
        let epoch = Epoch::open(dir, number, data_key, &vault_id)?;
        let (members, batch) = (Members::default(), Batch::default());
        let mut filling = Filling { epoch, members, batch, sealed: 0 };
        let audit = fill(self, &mut filling)?;
        filling.finish((self.head.sequence, self.head_hash), audit, &self.disk)
    }

    /// The commit, and what follows it. Up to the header's rename an error changes nothing; from
    /// there on it ends all writing.
    fn put_in_use(
        &mut self,
        before: &Epoch,
        built: Built,
        data_key: DataKey,
    ) -> Result<(), StoreError> {
        let Built { epoch, members, head, head_hash, sealed } = built;
        let disk = Arc::clone(&self.disk);
        let keyring = &mut *lock(&disk.keyring);
        let granted = sealed + SEALS_FIRST;
        let mut header = keyring.header.next();
        (header.epoch, header.seals) = (epoch.number, granted);
        let old = Some((before.number, &keyring.data_key));
        header.seal(&keyring.key_encryption_key, &data_key, old, &mut SysRng)?;
        let prepared = header.prepare(disk.directory.path())?;
        prepared.install().map_err(|error| disk.failed_header(&error))?;
        disk.step("header");
        let old = std::mem::replace(&mut keyring.data_key, data_key);
        keyring.before = Some((before.number, old));
        keyring.header = header;

        (self.members, self.head, self.head_hash) = (members, head, head_hash);
        self.seals = Seals::new(sealed, granted);
        let epoch = Arc::new(epoch);
        disk.use_epoch(Arc::clone(&epoch));
        let generation = keyring.header.generation;
        disk.advance_anchor(&epoch, |state| {
            (state.sequence, state.head) = (head.sequence, head_hash);
            (state.generation, state.epoch) = (generation, epoch.number);
            state.audit = head.audit.last;
        })?;
        disk.step("anchor");
        // From the header on nothing is undone: what is in between, opening finishes.
        let forgotten = disk.forget_key_before(keyring);
        forgotten.map_err(|error| disk.fail(format!("header: {}", error.cause())))?;
        disk.step("one key");
        Ok(())
    }
}

impl Disk {
    /// Ends a rekey: the header wraps the key in use alone.
    pub(super) fn forget_key_before(&self, keyring: &mut Keyring) -> Result<(), StoreError> {
        keyring.before = None;
        let header = keyring.next_header(|_| ())?;
        self.replace_header(keyring, header)
    }
}

/// Removes the database of an epoch that is over. Should it stay, the next opening tries again.
pub(super) fn discard(dir: &Path, epoch: u32) {
    let path = Database::path(dir, epoch);
    snapshot::forget(&path);
    if path.exists()
        && let Err(error) =
            fs::remove_dir_all(&path).map_err(StoreError::from).and_then(|()| sync(dir))
    {
        tracing::warn!(
            name: "database.left", %error, epoch,
            "a database that is not in use could not be removed"
        );
    }
}
