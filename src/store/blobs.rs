//! What sled keeps beside its log, made durable and closed to others: sled does neither.
//!
//! A value of 64 KiB stays in the log, but sled writes pages, and a page holds up to 17 records.
//! One of more than 128 KiB in all becomes a file in `blobs/`, which sled never syncs; records of
//! 7.5 KiB each are enough for that.

use super::lock;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub(super) struct Blobs {
    dir: PathBuf,
    /// What is there and was synced since opening. sled writes each file once.
    synced: Mutex<HashSet<OsString>>,
}

impl Blobs {
    /// The files beside this log.
    pub(super) fn beside(log: &Path) -> Self {
        Self { dir: log.with_file_name("blobs"), synced: Mutex::default() }
    }

    /// Syncs what has come since the last time, and closes it to others.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut synced = lock(&self.synced);
        let mut there = HashSet::new();
        let mut is_new = false;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if !synced.contains(&entry.file_name()) {
                match File::open(entry.path()) {
                    Ok(file) => {
                        // sled makes it as the umask says.
                        file.set_permissions(Permissions::from_mode(0o600))?;
                        file.sync_all()?;
                    }
                    // sled removes those that it has replaced.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                is_new = true;
            }
            there.insert(entry.file_name());
        }
        if is_new {
            File::open(&self.dir)?.sync_all()?;
        }
        *synced = there;
        Ok(())
    }
}
