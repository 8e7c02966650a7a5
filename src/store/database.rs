//! sled, and nothing but sled: opened, read, written durably. Its faults end here: its flush does
//! not sync, a leftover snapshot keeps it shut, its lock outlives its process, it may panic.
//!
//! All trees are one of sled's, since one batch there is atomic and costs less than a transaction:
//! a value's key is the number of its tree (1) ‖ its name (16). `db.<epoch>/db` is sled's log, `conf`
//! its settings, `snap.*` its snapshots, `blobs/` pages that are too large for the log.

use super::blobs::Blobs;
use super::{Name, StoreError, Tree, snapshot, sync};
use std::fs::{self, File};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// sled's log, in its directory.
const LOG: &str = "db";
/// sled's cache, in bytes; its default is 1 GB.
const CACHE: u64 = 4 << 20;
/// After so many records a scan looks at one so many times more. sled's cache has 256 parts, each
/// of which gives pages up only once 64 looks have gathered: a scan, which looks at each page once,
/// would leave 64 MiB there, whatever the cache's size is said to be.
const LOOKS: usize = 8;
/// How long sled's own lock may outlive the process that held it.
const LINGERING_LOCK: [Duration; 6] = [
    Duration::from_millis(10),
    Duration::from_millis(40),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// One change to one value; `None` removes it.
pub(super) struct Change {
    pub(super) tree: Tree,
    pub(super) name: Name,
    pub(super) value: Option<Vec<u8>>,
}

/// Which names are meant: those that begin below the middle, those from there on, or all.
#[derive(Clone, Copy)]
pub(super) struct Half {
    from: Option<u8>,
    to: Option<u8>,
}

impl Half {
    const MIDDLE: Option<u8> = Some(0x80);
    pub(super) const LOWER: Self = Self { from: None, to: Self::MIDDLE };
    pub(super) const UPPER: Self = Self { from: Self::MIDDLE, to: None };
    pub(super) const BOTH: Self = Self { from: None, to: None };

    /// The keys of a tree's values with such names.
    fn keys(self, tree: Tree) -> Range<Vec<u8>> {
        let from = [tree as u8].into_iter().chain(self.from).collect();
        let to = match self.to {
            Some(to) => vec![tree as u8, to],
            None => vec![tree as u8 + 1],
        };
        from..to
    }
}

pub(super) struct Database {
    db: sled::Db,
    blobs: Blobs,
    log: File,
}

impl Database {
    /// Where the database of an epoch lies.
    pub(super) fn path(dir: &Path, epoch: u32) -> PathBuf {
        dir.join(Self::directory_name(epoch))
    }

    /// Where the database of an epoch keeps all that is in it.
    pub(super) fn log(dir: &Path, epoch: u32) -> PathBuf {
        Self::path(dir, epoch).join(LOG)
    }

    pub(super) fn directory_name(epoch: u32) -> String {
        format!("db.{epoch}")
    }

    /// The epoch whose database is called so.
    pub(super) fn epoch_of(name: &str) -> Option<u32> {
        let epoch = name.strip_prefix("db.")?.parse().ok()?;
        (Self::directory_name(epoch) == name).then_some(epoch)
    }

    /// Whether there is a database in `dir`, of any epoch.
    pub(super) fn is_any_in(dir: &Path) -> bool {
        let names =
            fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_str().and_then(Self::epoch_of).is_some())
    }

    /// Opens the database in `path`.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let db = snapshot::open_without(path, open_sled)?;
        let log = path.join(LOG);
        let blobs = Blobs::beside(&log);
        blobs.sync()?;
        Ok(Self { db, blobs, log: File::open(log)? })
    }

    /// One value, if it is there.
    pub(super) fn get(&self, tree: Tree, name: &Name) -> Result<Option<sled::IVec>, StoreError> {
        guarded(|| self.db.get(key(tree, name)))
    }

    /// All values of a tree, in the order of their names.
    pub(super) fn values(
        &self,
        tree: Tree,
    ) -> impl Iterator<Item = Result<(Name, sled::IVec), StoreError>> + '_ {
        self.values_of(tree, Half::BOTH)
    }

    /// The values of a tree in a part of the names.
    pub(super) fn values_of(
        &self,
        tree: Tree,
        half: Half,
    ) -> impl Iterator<Item = Result<(Name, sled::IVec), StoreError>> + '_ {
        let mut entries = self.db.range(half.keys(tree));
        let mut read = 0;
        let mut next = move || {
            guarded(|| {
                let entry = entries.next().transpose()?;
                read += 1;
                if let Some((key, _)) = entry.as_ref().filter(|_| read % LOOKS == 0) {
                    (0..LOOKS).try_for_each(|_| self.db.get(key).map(drop))?;
                }
                Ok(entry)
            })
        };
        std::iter::from_fn(move || next().transpose()).map(|entry| {
            let (key, value) = entry?;
            // A key that is no name of ours must not hide those after it. It counts under a name
            // that no record has, so that nothing adds up.
            let name = key.get(1..).and_then(|name| name.try_into().ok());
            Ok((name.unwrap_or_default(), value))
        })
    }

    /// Makes the changes durable, all or none: sled's log is flushed, then its files synced.
    pub(super) fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.apply(changes)?;
        guarded(|| self.db.flush())?;
        self.blobs.sync()?;
        Ok(self.log.sync_all()?)
    }

    /// Makes durable, and closes to others, what reading has made: sled writes a page anew when it
    /// finds it in many pieces, a large one to a file of its own.
    pub(super) fn sync_read(&self) -> Result<(), StoreError> {
        Ok(self.blobs.sync()?)
    }

    /// Makes the changes, all or none; the next write makes them durable.
    pub(super) fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        guarded(|| {
            let mut batch = sled::Batch::default();
            for Change { tree, name, value } in changes {
                let key = &key(*tree, name);
                match value {
                    Some(value) => batch.insert(key, value.as_slice()),
                    None => batch.remove(key),
                }
            }
            self.db.apply_batch(batch)
        })
    }
}

/// Opens sled. Our own lock is held already, so sled's can only be a lingering one.
fn open_sled(path: &Path) -> Result<sled::Db, StoreError> {
    remove_unfinished_snapshots(path)?;
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput);
    let mut waits = LINGERING_LOCK.iter();
    loop {
        match guarded(|| config.open()) {
            Err(StoreError::Io(error)) if is_locked(&error) => match waits.next() {
                Some(wait) => std::thread::sleep(*wait),
                None => return Err(StoreError::InUse { path: path.into(), holder: None }),
            },
            opened => return opened,
        }
    }
}

fn key(tree: Tree, name: &Name) -> [u8; 17] {
    let mut key = [tree as u8; 17];
    key[1..].copy_from_slice(name);
    key
}

/// Does what calls sled; a panic there is damage, and unwinds no further.
fn guarded<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(StoreError::sled),
        Err(_) => Err(StoreError::DamagedDatabase { what: "sled panicked" }),
    }
}

fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// A kill while sled opens can leave a snapshot that was never put in place, and sled takes it for
/// corruption from then on. It repeats what the log holds, so that nothing is lost with it.
fn remove_unfinished_snapshots(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
            tracing::info!(
                name: "snapshot.removed", %name,
                "a snapshot that a kill cut short was removed"
            );
        }
    }
    Ok(())
}

/// Syncs each of a database's files, and the directory that names them.
pub(super) fn sync_files(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path)? {
        sync(&entry?.path())?;
    }
    sync(path)
}
