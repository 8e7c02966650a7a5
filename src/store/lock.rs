//! One process holds a vault: a lock on the `LOCK` file, which names the holder.
//!
//! ```text
//! desk-1                 the host, as it calls itself
//! 4711                   the process
//! 2026-11-22T06:00:00Z   when it opened the vault, by its clock
//! ```
//!
//! The lock is the kernel's, so it ends with the process however that ends; the file's text
//! only tells others whom to ask. A process that was started after that time has taken over the
//! number of one that is gone.

use super::StoreError;
use super::directory::Directory;
use chrono::{DateTime, SecondsFormat, Utc};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;

pub(super) const FILE: &str = "LOCK";
/// The most that is read of it, in bytes.
const TEXT_MAX: u64 = 512;
/// The longest name of a host, in bytes: `HOST_NAME_MAX` is at most 255.
const HOST_MAX: usize = 255;

/// Who has a vault open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The host, as it calls itself; a container has a name of its own.
    pub host: String,
    /// The process, as numbered on that host.
    pub pid: u32,
    /// When it opened the vault, by its clock, in whole seconds. A process that was started later
    /// is not the holder, whatever its number.
    pub opened_at: DateTime<Utc>,
}

impl Holder {
    /// This process.
    fn own(now: DateTime<Utc>) -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let fit = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        let host = name.chars().map(fit).take(HOST_MAX).collect();
        Self { host, pid: std::process::id(), opened_at: now }
    }

    fn to_text(&self) -> String {
        let opened_at = self.opened_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        format!("{}\n{}\n{opened_at}\n", self.host, self.pid)
    }

    /// Reads what `to_text` wrote; a text that was cut, or is another's, names nobody.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let host = lines.next()?;
        // It will stand in somebody's log.
        let fits = host.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || host.len() > HOST_MAX || !fits {
            return None;
        }
        let pid = lines.next()?.parse().ok()?;
        let opened_at = DateTime::parse_from_rfc3339(lines.next()?).ok()?.to_utc();
        lines.next().is_none().then(|| Self { host: host.into(), pid, opened_at })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opened_at = self.opened_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(f, "process {} on {}, since {opened_at}", self.pid, self.host)
    }
}

/// A holder as it was read, written again.
#[cfg(any(test, feature = "test-util"))]
pub(crate) fn recode_holder(text: &str) -> Option<String> {
    Some(Holder::parse(text)?.to_text())
}

pub(super) struct LockFile {
    file: File,
    pid: u32,
    /// Whether the file named a holder: one that goes in order empties it. Who only looks, or cannot
    /// open the vault, leaves it so.
    was_cut_off: bool,
}

impl LockFile {
    pub(super) fn take(directory: &Directory, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let mut file = directory.file(FILE)?;
        let in_use = |holder| Err(StoreError::InUse { path: directory.path().into(), holder });
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = file.take(TEXT_MAX).read_to_string(&mut text);
                return in_use(Holder::parse(&text));
            }
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        // Who removes the file while it is held must not let a second one in: sled's own lock
        // stands behind ours, and here whoever has just removed it is seen.
        let (path, own) = (directory.path().join(FILE), file.metadata()?);
        match fs::symlink_metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (own.dev(), own.ino()) => {}
            _ => return in_use(None),
        }
        let was_cut_off = own.len() > 0;
        let holder = Holder::own(now);
        let pid = holder.pid;
        // A full disk is no reason to keep a vault from being read.
        if let Err(error) = write(&mut file, &holder.to_text()) {
            tracing::warn!(
                name: "lock.unsigned", %error,
                "the vault's holder could not be noted in its LOCK file"
            );
        }
        Ok(Self { file, pid, was_cut_off })
    }

    /// Whether the process before this one ended without closing the vault. Whoever asks tells of it:
    /// the next is not told again.
    pub(super) fn settle(&mut self) -> bool {
        std::mem::take(&mut self.was_cut_off)
    }
}

fn write(file: &mut File, text: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

impl Drop for LockFile {
    /// A child that is just being started holds a copy of the file, and with it the lock, unless
    /// the lock is given up outright. A forked child must not give up its parent's.
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            if !self.was_cut_off {
                let _ = self.file.set_len(0);
            }
            let _ = flock(&self.file, FlockOperation::Unlock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::Place;
    use super::*;
    use crate::store::FileSystem;
    use std::path::Path;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn take(dir: &Path) -> Result<LockFile, StoreError> {
        let place = Place::new(dir).allow(FileSystem::Overlayfs);
        LockFile::take(&Directory::open(&place)?, NOW)
    }

    fn holder(dir: &Path) -> Option<Holder> {
        match take(dir).map(drop) {
            Err(StoreError::InUse { holder, .. }) => holder,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_copy_of_the_file_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = take(dir.path()).unwrap();
        let _copy = lock.file.try_clone().unwrap();
        assert!(matches!(take(dir.path()), Err(StoreError::InUse { .. })));
        drop(lock);
        assert!(take(dir.path()).is_ok());
    }

    #[test]
    fn a_forked_child_does_not_give_up_its_parents_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = take(dir.path()).unwrap();
        let file = lock.file.try_clone().unwrap();
        let forked = LockFile { file, pid: lock.pid + 1, was_cut_off: false };
        drop(forked);
        assert_eq!(holder(dir.path()), Some(Holder::own(NOW)));
    }

    #[test]
    fn the_file_names_its_holder_for_as_long_as_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        // What a killed process left is longer than what comes after it.
        fs::write(&path, "x".repeat(400)).unwrap();
        drop(take(dir.path()).unwrap());
        let mut lock = take(dir.path()).unwrap();
        assert_eq!(holder(dir.path()), Some(Holder::own(NOW)));
        assert!(lock.settle(), "who only looked at it left it so");
        for text in ["", "desk\n7", "junk", &"x\n".repeat(1000)] {
            fs::write(&path, text).unwrap();
            assert_eq!(holder(dir.path()), None, "{text}");
        }
        drop(lock);
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn holders_are_read_as_written_and_nothing_else_is() {
        let holder = Holder { host: "desk-1".into(), pid: 7, opened_at: NOW };
        assert_eq!(holder.to_text(), "desk-1\n7\n1970-01-01T00:00:00Z\n");
        assert_eq!(Holder::parse(&holder.to_text()), Some(holder.clone()));
        assert_eq!(holder.to_string(), "process 7 on desk-1, since 1970-01-01T00:00:00Z");
        let whole = holder.to_text();
        for at in 0..whole.len() {
            assert_eq!(Holder::parse(&whole[..at]), None, "cut at {at}");
        }
        for text in [
            "7\n",
            "\n7\n1970-01-01T00:00:00Z\n",
            "a b\n7\n1970-01-01T00:00:00Z\n",
            "\x1b[2J\n7\n1970-01-01T00:00:00Z\n",
            "désk\n7\n1970-01-01T00:00:00Z\n",
            "desk\n-7\n1970-01-01T00:00:00Z\n",
            "desk\n4294967296\n1970-01-01T00:00:00Z\n",
            "desk\n7\nyesterday\n",
            "desk\n7\n1970-01-01T00:00:00Z\n\n",
        ] {
            assert_eq!(Holder::parse(text), None, "{text:?}");
        }
        let longest = "h".repeat(HOST_MAX);
        let holder = Holder { host: longest, pid: u32::MAX, opened_at: NOW };
        assert_eq!(Holder::parse(&holder.to_text()), Some(holder.clone()));
        assert!(holder.to_text().len() < TEXT_MAX.try_into().unwrap());
        let longer = Holder { host: format!("{}h", holder.host), ..holder };
        assert_eq!(Holder::parse(&longer.to_text()), None);
    }
}
