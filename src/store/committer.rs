//! The one thread that writes records: seals them, brings the head and the anchor along, and
//! answers when all of it is durable.
//!
//! ```text
//! queue ──> all that waits, as one batch with a new head ──> flush ──> fsync ──> anchor ──> answers
//! ```
//!
//! After a failed write or sync nobody knows what the disk holds, so the first failure ends
//! all writing until the vault is reopened. A panic inside sled counts as a failure.

use super::batch::{Batch, Turn};
use super::bundle::Bundle;
use super::disk::{Disk, Refused};
use super::epoch::Epoch;
use super::head::{AuditEnd, Head, HeadHash};
use super::index::{self, Changed};
use super::members::Members;
use super::{Key, Name, SEALS_BLOCK, SEALS_FIRST, SEALS_MAX, SEALS_REKEY, StoreError, Tree, Write};
use crate::clock::Stopwatch;
use crate::crypto::stack::wiped_shallow;
use crate::id::LineageId;
use crate::telemetry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;

/// The most commits that share one sync.
const GROUP_MAX: usize = 256;

pub(super) struct Committer {
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What the writer is asked to do, in this order.
enum Job {
    Commit(Commit),
    /// Something that no commit may come between.
    Alone(Box<dyn FnOnce(&mut Writer) + Send>),
}

struct Commit {
    writes: Vec<Write>,
    /// Where the audit log ends with it, if it moves.
    audit: Option<AuditEnd>,
    done: SyncSender<Result<(), Refused>>,
}

/// A commit that is on its way.
#[must_use]
pub(crate) struct Ticket(Receiver<Result<(), Refused>>);

impl Ticket {
    /// Waits until the commit is durable, or known not to be.
    pub(super) fn wait(self) -> Result<(), StoreError> {
        match self.0.recv() {
            Ok(result) => Ok(result?),
            Err(_) => Err(stopped()),
        }
    }
}

fn stopped() -> StoreError {
    StoreError::ReadOnly { cause: "the writer has stopped".into() }
}

impl Committer {
    pub(super) fn start(writer: Writer) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("bitgo-vault-commit".into())
            .spawn(move || run(&jobs, writer))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues a commit. Commits become durable in the order they were queued.
    pub(super) fn submit(&self, writes: Vec<Write>, audit: Option<AuditEnd>) -> Ticket {
        let (done, answer) = mpsc::sync_channel(1);
        self.send(Job::Commit(Commit { writes, audit, done }));
        Ticket(answer)
    }

    /// Does something between two commits, and waits for it.
    pub(super) fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, answer) = mpsc::sync_channel(1);
        let job = Box::new(move |writer: &mut Writer| drop(done.send(work(writer))));
        self.send(Job::Alone(job));
        answer.recv().map_err(|_| stopped())?
    }

    fn send(&self, job: Job) {
        if let Some(queue) = &self.queue {
            // A stopped writer drops the job, and with it whoever answers.
            let _ = queue.send(job);
        }
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

/// What the thread knows: the records as they were last written, and their head.
pub(super) struct Writer {
    pub(super) disk: Arc<Disk>,
    pub(super) members: Members,
    pub(super) head: Head,
    pub(super) head_hash: HeadHash,
    pub(super) seals: Seals,
    pub(super) index: index::Index,
}

/// The seals under the data key in use.
///
/// AES-GCM with random nonces is safe for 2^32 messages under one key (NIST SP 800-38D,
/// section 8.3); sealing stops at half of that. A crash loses what was granted and not used,
/// so the first grant after opening is small, and each further one as large as all before it.
pub(super) struct Seals {
    pub(super) used: u64,
    pub(super) granted: u64,
    used_at_open: u64,
}

impl Seals {
    /// Those of an epoch that has used so many, and was granted so many.
    pub(super) fn new(used: u64, granted: u64) -> Self {
        Self { used, granted, used_at_open: used }
    }

    /// How many are to be granted in all, so that `needed` more can be made.
    fn grant_for(&self, needed: u64) -> u64 {
        let since_open = (self.used - self.used_at_open).clamp(SEALS_FIRST, SEALS_BLOCK);
        self.used + since_open.max(needed)
    }
}

impl Writer {
    /// Writes a group of commits, all or none.
    fn write(&mut self, commits: &[Commit]) -> Result<(), Refused> {
        self.disk.check_writable()?;
        let writes = || commits.iter().flat_map(|commit| &commit.writes);
        let sealed = writes().filter(|write| write.row.is_some()).count();
        let may_index = |write: &&Write| matches!(write.tree, Tree::Secrets | Tree::Grants);
        let indexed = writes().filter(may_index).count();
        // One more for the head.
        self.take_seals(sealed as u64 + indexed as u64 + 1)?;
        let epoch = self.disk.epoch();
        let failed = |error: StoreError| self.disk.fail(error.cause());
        let (mut batch, mut segments) = (Batch::default(), Changed::default());
        let mut index = std::mem::take(&mut self.index);
        for Write { tree, key, row } in writes() {
            let standing = |home, name: &_| self.standing(&epoch, home, name);
            let row = row.as_deref();
            let turn = batch.put(&epoch.keys, (*tree, key, row), standing).map_err(failed)?;
            let Key::Id(id) = key else { continue };
            let lineage = LineageId::from_bytes(*id);
            let written = self.members.totals()[Tree::Index as usize];
            let all = || index::read(&epoch, written);
            match (turn, row) {
                (Some(Turn::Comes), Some(row)) => {
                    index.add(&mut segments, lineage, (*tree, row), all)
                }
                (Some(Turn::Goes), _) => index.remove(&mut segments, lineage, all),
                _ => Ok(()),
            }
            .map_err(failed)?;
        }
        self.index = index;
        for segment in segments.values() {
            let row = segment.row().map_err(failed)?;
            let replaced = |_, _: &_| Ok(Bundle::default());
            let row = (Tree::Index, &segment.key(), row.as_deref());
            batch.put(&epoch.keys, row, replaced).map_err(failed)?;
        }
        let mut changes = batch.into_changes();
        self.members.note(&epoch.keys, &changes);
        let audit = commits.iter().filter_map(|commit| commit.audit).next_back();
        self.head = Head {
            sequence: self.head.sequence + 1,
            previous: self.head_hash,
            audit: audit.unwrap_or(self.head.audit),
            totals: self.members.totals(),
        };
        let (head, hash) = self.head.change(&epoch.keys).map_err(failed)?;
        self.head_hash = hash;
        changes.push(head);
        epoch.write(&changes).map_err(failed)?;
        let Head { sequence, audit, .. } = self.head;
        self.disk.anchor_commit(&epoch, |state| {
            (state.sequence, state.head, state.audit) = (sequence, self.head_hash, audit.last);
        })
    }

    /// What stands under a token's name, if it is what was written there. Of the other trees it does
    /// not matter: their one record is replaced.
    fn standing(
        &self,
        epoch: &Epoch,
        home: Tree,
        name: &Name,
    ) -> Result<Bundle<Vec<u8>>, StoreError> {
        if home != Tree::Tokens {
            return Ok(Bundle::default());
        }
        let value = epoch.get(home, name)?;
        let element =
            value.as_ref().map(|value| wiped_shallow(|| epoch.keys.element(home, name, value)));
        if element != self.members.element(home, name) {
            return Err(StoreError::unreadable(home, "a value is not the one that was written"));
        }
        match value {
            Some(value) => Ok(Bundle::split(home, &value)?.to_owned()),
            None => Ok(Bundle::default()),
        }
    }

    /// Counts seals; once the granted ones are used up, more are made durable first, and once a
    /// key comes near its end another one takes over.
    fn take_seals(&mut self, needed: u64) -> Result<(), Refused> {
        if self.seals.used + needed > self.seals.granted {
            if self.seals.grant_for(needed) > SEALS_REKEY {
                match self.rekey() {
                    Ok(()) => self.disk.rekeyed_alone.store(true, Ordering::Release),
                    Err(error) => {
                        self.disk.check_writable()?;
                        tracing::error!(
                            name: "rekey.failed", %error,
                            "the data key was not replaced; it has seals left"
                        );
                    }
                }
            }
            let granted = self.seals.grant_for(needed).min(SEALS_MAX);
            if self.seals.used + needed > granted {
                return Err(Refused::SealsExhausted);
            }
            self.disk.grant_seals(granted).map_err(|error| match error {
                StoreError::StorageFull(_) => Refused::Full,
                error => self.disk.fail(format!("header: {}", error.cause())),
            })?;
            self.disk.step("granted");
            self.seals.granted = granted;
        }
        self.seals.used += needed;
        Ok(())
    }

    /// Gives back the seals that were granted and not used. Failing that, they count as used.
    fn give_back_seals(&self) {
        // A creation that failed has no header yet, and must not get one here.
        if self.seals.used < self.seals.granted
            && self.disk.check_writable().is_ok()
            && !self.disk.is_creating()
            && let Err(error) = self.disk.grant_seals(self.seals.used)
        {
            tracing::warn!(name: "seals.lost", %error, "the seals that were not used are lost");
        }
    }
}

fn run(jobs: &Receiver<Job>, mut writer: Writer) {
    // What did not belong to the last group.
    let mut left = None;
    while let Some(job) = left.take().or_else(|| jobs.recv().ok()) {
        match job {
            Job::Commit(first) => {
                let mut group = vec![first];
                while group.len() < GROUP_MAX && left.is_none() {
                    match jobs.try_recv() {
                        Ok(Job::Commit(commit)) => group.push(commit),
                        Ok(alone) => left = Some(alone),
                        Err(_) => break,
                    }
                }
                let since = Stopwatch::start();
                let result =
                    unwinding(&mut writer, |writer| writer.write(&group)).unwrap_or_else(Err);
                if result.is_ok() {
                    telemetry::committed(since);
                }
                for commit in group {
                    let _ = commit.done.send(result.clone());
                }
            }
            Job::Alone(work) => {
                // Whoever waits sees that no answer came.
                let _ = unwinding(&mut writer, work);
            }
        }
    }
    writer.give_back_seals();
}

/// A panic half way leaves nothing that could be relied on.
fn unwinding<T>(writer: &mut Writer, work: impl FnOnce(&mut Writer) -> T) -> Result<T, Refused> {
    catch_unwind(AssertUnwindSafe(|| work(writer)))
        .map_err(|_| writer.disk.fail("the writer panicked".into()))
}
