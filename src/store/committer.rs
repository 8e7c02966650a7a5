//! The one thread that writes: group commit, and a sync that sled's flush does not do.
//!
//! ```text
//! queue ──> all that waits, as one transaction ──> sled flush ──> fsync of its files ──> answers
//! ```
//!
//! After a failed write or sync nobody knows what the disk holds, so the first failure ends
//! all writing until the vault is reopened. A panic inside sled counts as a failure.

use super::blobs::Blobs;
use super::{StoreError, Tree, Write};
use sled::transaction::{ConflictableTransactionResult, TransactionError, Transactional};
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// sled's cache, in bytes; its default is 1 GB.
const CACHE: u64 = 8 << 20;
/// The most commits that share one sync.
const GROUP_MAX: usize = 256;
/// How long sled's own lock may outlive the process that held it.
const LINGERING_LOCK: [Duration; 6] = [
    Duration::from_millis(10),
    Duration::from_millis(40),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// Opens sled in `path`. Our own lock is held already, so sled's can only be a lingering one.
pub(super) fn open_database(path: &Path) -> Result<sled::Db, StoreError> {
    remove_unfinished_snapshots(path)?;
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput);
    let mut waits = LINGERING_LOCK.iter();
    loop {
        let opened = catch_unwind(AssertUnwindSafe(|| config.open())).map_err(|_| {
            StoreError::Damaged { tree: "all", what: "the database's log is corrupt" }
        })?;
        match opened {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                match waits.next() {
                    Some(wait) => std::thread::sleep(*wait),
                    None => return Err(StoreError::InUse { path: path.into(), holder: None }),
                }
            }
            Err(error) => return Err(StoreError::sled(error)),
        }
    }
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
            tracing::info!(%name, "a snapshot that a kill cut short was removed");
        }
    }
    Ok(())
}

pub(super) struct Committer {
    queue: Option<Sender<Commit>>,
    thread: Option<JoinHandle<()>>,
    /// Why nothing more is written, once a write failed.
    failed: Arc<OnceLock<String>>,
}

struct Commit {
    writes: Vec<Write>,
    done: SyncSender<Result<(), String>>,
}

/// A commit that is on its way.
#[must_use]
pub(super) struct Ticket(Receiver<Result<(), String>>);

impl Ticket {
    /// Waits until the commit is durable, or known not to be.
    pub(super) fn wait(self) -> Result<(), StoreError> {
        match self.0.recv() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(StoreError::ReadOnly { cause }),
            Err(_) => Err(StoreError::ReadOnly { cause: "the writer has stopped".into() }),
        }
    }
}

impl Committer {
    pub(super) fn start(
        db: sled::Db,
        trees: Vec<sled::Tree>,
        log: &Path,
    ) -> Result<Self, StoreError> {
        let blobs = Blobs::beside(log);
        blobs.sync()?;
        let log = File::open(log)?;
        let (queue, commits) = mpsc::channel();
        let failed = Arc::new(OnceLock::new());
        let noted = Arc::clone(&failed);
        let thread = std::thread::Builder::new()
            .name("bitgo-vault-commit".into())
            .spawn(move || run(&commits, &Disk { db, trees, blobs, log }, &noted))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), failed })
    }

    /// Whether writing has not failed so far.
    pub(super) fn check_writable(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            None => Ok(()),
            Some(cause) => Err(StoreError::ReadOnly { cause: cause.clone() }),
        }
    }

    /// Ends all writing, since it is not known what a write outside the database has done.
    pub(super) fn fail(&self, cause: String) -> StoreError {
        note(&self.failed, &cause);
        StoreError::ReadOnly { cause }
    }

    /// Queues a commit. Commits become durable in the order they were queued.
    pub(super) fn submit(&self, writes: Vec<Write>) -> Ticket {
        let (done, answer) = mpsc::sync_channel(1);
        if let Some(queue) = &self.queue {
            // A stopped writer drops `done`, which the ticket reports.
            let _ = queue.send(Commit { writes, done });
        }
        Ticket(answer)
    }
}

impl Drop for Committer {
    /// Lets the writer finish what is queued, then joins it.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Disk {
    db: sled::Db,
    trees: Vec<sled::Tree>,
    blobs: Blobs,
    log: File,
}

impl Disk {
    fn write(&self, commits: &[Commit]) -> Result<(), String> {
        let writes = || commits.iter().flat_map(|commit| &commit.writes);
        self.trees
            .as_slice()
            .transaction(|trees| -> ConflictableTransactionResult<()> {
                for Write { tree, name, value } in writes() {
                    let tree = &trees[*tree as usize];
                    match value {
                        Some(value) => tree.insert(name, value.as_slice())?,
                        None => tree.remove(name)?,
                    };
                }
                Ok(())
            })
            .map_err(|error| match error {
                TransactionError::Storage(error) => error.to_string(),
                TransactionError::Abort(()) => "the transaction was aborted".into(),
            })?;
        self.db.flush().map_err(|error| error.to_string())?;
        self.blobs.sync().map_err(|error| error.to_string())?;
        self.log.sync_all().map_err(|error| error.to_string())
    }
}

fn run(commits: &Receiver<Commit>, disk: &Disk, failed: &OnceLock<String>) {
    while let Ok(first) = commits.recv() {
        let mut group = vec![first];
        group.extend(commits.try_iter().take(GROUP_MAX - 1));
        let result = match failed.get() {
            Some(cause) => Err(cause.clone()),
            None => catch_unwind(AssertUnwindSafe(|| disk.write(&group)))
                .unwrap_or_else(|_| Err("the database panicked".into())),
        };
        if let Err(cause) = &result {
            note(failed, cause);
        }
        for commit in group {
            let _ = commit.done.send(result.clone());
        }
    }
}

fn note(failed: &OnceLock<String>, cause: &str) {
    if failed.set(cause.into()).is_ok() {
        tracing::error!(cause, "the vault failed to write; it is read-only now");
    }
}

// The indexes of `Disk::trees` are `Tree as usize`.
const _: () = assert!(Tree::ALL[Tree::Audit as usize] as usize == Tree::ALL.len() - 1);
