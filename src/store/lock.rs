//! One process holds a vault: a lock on the `LOCK` file, which names the holder.
//!
//! The lock is the kernel's, so it ends with the process however that ends; the file's text
//! only tells others whom to ask.

use super::StoreError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

pub(super) struct LockFile(File);

impl LockFile {
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("LOCK");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = (&mut file).take(16).read_to_string(&mut text);
                let pid = text.trim().parse().unwrap_or(0);
                return Err(StoreError::InUse { path: dir.into(), pid });
            }
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        // Who removes the file while it is held must not let a second one in.
        if fs::symlink_metadata(&path)?.ino() != file.metadata()?.ino() {
            return Err(StoreError::InUse { path: dir.into(), pid: 0 });
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(file))
    }
}

impl Drop for LockFile {
    /// A child that is just being started holds a copy of the file, and with it the lock, unless
    /// the lock is given up outright.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_file_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = LockFile::take(dir.path()).unwrap();
        let _copy = lock.0.try_clone().unwrap();
        assert!(matches!(LockFile::take(dir.path()), Err(StoreError::InUse { .. })));
        drop(lock);
        assert!(LockFile::take(dir.path()).is_ok());
    }
}
