//! The kill switch: while it is on, nothing is leased, signed or handed out.
//!
//! ```text
//! <vault>/FREEZE    anything of that name. Made by whoever may write to the directory, without opening
//!                   the database; looked for at opening, four times a second, before each reservation
//! meta, "frozen"    the sealed record: from then on removing the file does not thaw
//! epoch             in memory: odd while frozen, so that a lease of before a freeze is known by its own
//!
//! freeze   epoch ──> FREEZE ──> record, with the entry of the audit log
//! thaw     FREEZE removed ──> record removed, with the entry of the audit log ──> epoch
//! ```
//!
//! A kill between any two of these leaves it frozen. Where the record cannot be written, memory and
//! the file hold alone. That the record is missing is damage, since the head vouches for it, and of a
//! vault of which nobody knows whether it was frozen, it is.

use super::audit::{AuditAction, Log};
use super::database::Database;
use super::disk::Disk;
use super::record;
use super::{Key, Store, StoreError, Tree, Write, header, lock};
use crate::policy::{Denied, Rule};
use crate::secret::{Passphrase, SecretBytes};
use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fsync, openat, statat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// What freezes a vault by being there.
pub(super) const FILE: &str = "FREEZE";

/// What is told when the vault freezes (`true`) or thaws.
type Listener = Box<dyn Fn(bool) + Send + Sync>;

pub(crate) struct Freeze {
    /// Odd while frozen.
    epoch: AtomicU64,
    disk: Arc<Disk>,
    log: Arc<Log>,
    /// Held over a whole freeze or thaw: they do not cross.
    record: Mutex<Record>,
    listener: OnceLock<Listener>,
    /// The epoch that the listener was told of last. Held while it is told, so that it hears in order.
    told: Mutex<u64>,
}

/// What is known of the sealed record.
#[derive(Default)]
struct Record {
    is_there: bool,
    /// Whether it was said that it cannot be written.
    is_told: bool,
}

impl Freeze {
    pub(super) fn new(disk: Arc<Disk>, log: Arc<Log>) -> Self {
        let (epoch, record, listener, told) = Default::default();
        Self { epoch, disk, log, record, listener, told }
    }

    /// Which stretch between two freezes it is now. A lease is good only within its own.
    ///
    /// # Errors
    /// While frozen.
    pub(crate) fn check(&self) -> Result<u64, Denied> {
        let epoch = self.epoch();
        match epoch.is_multiple_of(2) {
            true => Ok(epoch),
            false => Err(frozen()),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn is_frozen(&self) -> bool {
        !self.epoch().is_multiple_of(2)
    }

    /// Looks for the file, and freezes in memory if it is there: one `stat`, for what is about to
    /// take budget on disk.
    ///
    /// # Errors
    /// While frozen.
    pub(crate) fn look(&self) -> Result<(), Denied> {
        if self.file_is_there() {
            self.engage();
        }
        self.check().map(drop)
    }

    /// Looks for the file, and writes the record if that is still to be done.
    pub(super) fn tick(&self, now: DateTime<Utc>) {
        if self.look().is_err() && self.disk.check_writable().is_ok() {
            self.write_down(now);
        }
    }

    /// Freezes in memory, at once.
    pub(crate) fn engage(&self) {
        let odd = |epoch: u64| epoch.is_multiple_of(2).then(|| epoch + 1);
        if self.epoch.fetch_update(Ordering::AcqRel, Ordering::Acquire, odd).is_ok() {
            tracing::warn!(name: "freeze.on", "the vault is frozen");
            self.tell();
        }
    }

    pub(super) fn listen(&self, listener: impl Fn(bool) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
        self.tell();
    }

    /// Tells of every freeze and thaw since the last that was told: where some cross, whoever comes first
    /// tells of all.
    fn tell(&self) {
        let Some(listener) = self.listener.get() else { return };
        let mut told = lock(&self.told);
        while *told < self.epoch() {
            *told += 1;
            listener(!told.is_multiple_of(2));
        }
    }

    /// Whether anything of that name is there. A directory that cannot be searched may hold it.
    fn file_is_there(&self) -> bool {
        let found = statat(self.disk.directory.file_of_it(), FILE, AtFlags::SYMLINK_NOFOLLOW);
        !matches!(found, Err(Errno::NOENT))
    }

    /// Writes the record, unless it is there. What cannot be written is tried again at the next tick.
    fn write_down(&self, now: DateTime<Utc>) {
        let mut record = lock(&self.record);
        // It may have thawed meanwhile.
        if !self.is_frozen() || record.is_there {
            return;
        }
        if let Err(error) = self.record(&mut record, now)
            && !std::mem::replace(&mut record.is_told, true)
        {
            tracing::error!(
                name: "freeze.not_written", %error,
                "that the vault is frozen could not be written down; it is frozen"
            );
        }
    }

    fn record(&self, record: &mut Record, now: DateTime<Utc>) -> Result<(), StoreError> {
        if !record.is_there {
            let write = Write { tree: Tree::Meta, key: key(), row: Some(row()?) };
            self.log.append(AuditAction::Frozen, None, vec![write], now)?;
            *record = Record { is_there: true, is_told: false };
        }
        Ok(())
    }

    fn freeze(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.engage();
        let mut record = lock(&self.record);
        // A thaw that was under way has ended.
        self.engage();
        let filed = make_file(self.disk.directory.file_of_it());
        self.record(&mut record, now)?;
        if let Err(error) = filed {
            tracing::warn!(
                name: "freeze.no_file", %error,
                "FREEZE could not be made; the sealed record holds"
            );
        }
        Ok(())
    }

    fn thaw(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut record = lock(&self.record);
        if !self.is_frozen() {
            return Ok(());
        }
        self.disk.check_writable()?;
        let directory = self.disk.directory.file_of_it();
        match unlinkat(directory, FILE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        fsync(directory).map_err(std::io::Error::from)?;
        self.log.append(AuditAction::Thawed, None, vec![Write::remove(Tree::Meta, key())], now)?;
        *record = Record::default();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        tracing::info!(name: "freeze.off", "the vault is thawed");
        self.tell();
        Ok(())
    }
}

impl Store {
    /// The kill switch.
    pub(crate) fn freeze(&self) -> &Freeze {
        &self.freeze
    }

    /// Freezes; `Ok` means that the record is on disk. It is frozen in any case.
    pub(crate) fn freeze_durably(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.freeze.freeze(now)
    }

    /// Thaws, durably. Until that is `Ok` it is frozen.
    pub(crate) fn thaw(
        &self,
        passphrase: &Passphrase,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.check_passphrase(passphrase)?;
        self.freeze.thaw(now)
    }

    /// Freezes what is opened frozen, before anything can be leased.
    pub(super) fn begin_frozen(&self, now: DateTime<Utc>) {
        let is_there = self.disk.epoch().row(Tree::Meta, &key());
        lock(&self.freeze.record).is_there = matches!(is_there, Ok(Some(_)));
        let may_be_lost = self.damage.as_ref().is_some_and(super::Damage::may_hide_freeze);
        if !matches!(is_there, Ok(None)) || may_be_lost {
            self.freeze.engage();
        }
        self.freeze.tick(now);
    }
}

/// Freezes the vault in a directory from outside: whoever has it open sees it within a second. `Ok` means
/// that the file is on disk.
pub(crate) fn freeze_at(dir: &Path) -> Result<(), StoreError> {
    if !dir.join(header::FILE).exists() && !Database::is_any_in(dir) {
        return Err(StoreError::NotFound { path: dir.into() });
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, dir, flags, Mode::empty()).map_err(std::io::Error::from)?;
    Ok(make_file(&File::from(directory))?)
}

/// Makes the file, durably. What is there already does as well.
fn make_file(directory: &File) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, FILE, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => fsync(file)?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(fsync(directory)?)
}

pub(super) fn key() -> Key {
    Key::Text(b"frozen".to_vec())
}

/// That it is there is all that it tells.
pub(super) fn row() -> Result<SecretBytes, StoreError> {
    record::encode(&true)
}

fn frozen() -> Denied {
    Denied::new(Rule::Frozen, "the vault is frozen; thaw it with the passphrase")
}
