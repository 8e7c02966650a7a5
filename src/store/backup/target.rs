//! The file that a backup becomes: written under another name, given its own once it is whole.
//!
//! Nothing that was there before is replaced or removed, whoever else writes in the directory. That
//! is opened once: if it is moved meanwhile, the backup goes along.

use crate::store::StoreError;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, unlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What the name ends in until the backup is whole.
const UNFINISHED: &str = ".new";

#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    name: OsString,
    /// `None` once it is gone.
    unfinished: Option<OsString>,
    directory: File,
}

impl Target {
    /// Makes the file that is to become `path`, for its owner alone.
    pub(super) fn create(path: &Path) -> Result<(Self, File), StoreError> {
        let out_of_reach = |source: std::io::Error| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => source.into(),
            _ => StoreError::BackupOutOfReach { path: path.into(), source },
        };
        let no_name = || out_of_reach(ErrorKind::InvalidFilename.into());
        let name = path.file_name().ok_or_else(no_name)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, parent.unwrap_or(Path::new(".")), flags, Mode::empty());
        let directory = File::from(directory.map_err(|error| out_of_reach(error.into()))?);
        // Asked now so that nothing is sealed in vain; the rename asks again.
        let there = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok() {
            return Err(StoreError::BackupExists { path: path.into() });
        }
        let mut unfinished = name.to_owned();
        unfinished.push(UNFINISHED);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&directory, &unfinished, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => {
                let unfinished = Some(unfinished);
                let target = Self { path: path.into(), name: name.into(), unfinished, directory };
                Ok((target, file.into()))
            }
            Err(Errno::EXIST) => {
                let path = path.with_file_name(&unfinished);
                Err(StoreError::BackupUnfinished { path })
            }
            Err(error) => Err(out_of_reach(error.into())),
        }
    }

    /// Gives the file its name, durably, unless another has it.
    pub(super) fn install(mut self) -> Result<(), StoreError> {
        if let Some(unfinished) = &self.unfinished {
            match rename_anew(&self.directory, unfinished, &self.name) {
                Ok(()) => self.unfinished = None,
                Err(Errno::EXIST) => {
                    return Err(StoreError::BackupExists { path: self.path.clone() });
                }
                Err(error) => return Err(StoreError::Io(error.into())),
            }
        }
        Ok(self.directory.sync_all()?)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished
            && let Err(error) = unlinkat(&self.directory, unfinished, AtFlags::empty())
        {
            tracing::warn!(
                name: "backup.left", %error,
                "an unfinished backup could not be removed"
            );
        }
    }
}

/// Renames within a directory; `EXIST` if the new name is taken.
fn rename_anew(directory: &File, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
            // The file system or the kernel does not know how.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            known => return known,
        }
    }
    link_anew(directory, from, to)
}

/// As [`rename_anew`], in two steps: in between both names stand for the one whole file.
fn link_anew(directory: &File, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
    linkat(directory, from, directory, to, AtFlags::empty())?;
    unlinkat(directory, from, AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn both_ways_of_renaming_replace_nothing() {
        for rename in [rename_anew, link_anew] {
            let dir = tempfile::tempdir().unwrap();
            let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
            let directory = File::open(dir.path()).unwrap();
            let rename = || rename(&directory, "from".as_ref(), "to".as_ref());
            fs::write(&from, "new").unwrap();
            fs::write(&to, "old").unwrap();
            assert_eq!(rename(), Err(Errno::EXIST));
            assert_eq!(fs::read_to_string(&to).unwrap(), "old");
            assert!(from.exists());
            fs::remove_file(&to).unwrap();
            std::os::unix::fs::symlink("nowhere", &to).unwrap();
            assert_eq!(rename(), Err(Errno::EXIST));
            fs::remove_file(&to).unwrap();
            rename().unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), "new");
            assert!(!from.exists());
        }
    }

    #[test]
    fn the_file_is_its_owners_alone_and_has_its_name_at_the_end_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let unfinished = dir.path().join("backup.new");
        let (target, mut file) = Target::create(&path).unwrap();
        file.write_all(b"whole").unwrap();
        assert!(unfinished.exists() && !path.exists());
        target.install().unwrap();
        assert!(!unfinished.exists());
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Target::create(&path);
        assert!(matches!(again, Err(StoreError::BackupExists { path: told }) if told == path));
    }

    #[test]
    fn what_cannot_be_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            dir.path().join(".."),
            dir.path().join("missing/backup"),
            PathBuf::from("/"),
            PathBuf::new(),
            dir.path().join("x".repeat(253)),
        ] {
            let refused = Target::create(&path);
            let is_named = |told: &Path| told == path;
            assert!(
                matches!(&refused, Err(StoreError::BackupOutOfReach { path, .. }) if is_named(path)),
                "{}",
                path.display()
            );
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
