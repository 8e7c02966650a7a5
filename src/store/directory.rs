//! The directory that a vault lies in: ours, closed to others, on a file system that keeps it.
//!
//! It is opened once, without following a link, and what was opened is judged; so is each file in
//! it that was there before. Its parents are not judged: a mount point may well be a group's.
//!
//! What remains: the header and sled go by path again, so that whoever can write to a parent can
//! put another directory there in between. Nothing in it would open with this vault's keys.

use super::file_system::FileSystem;
use super::{CREATING, StoreError, anchor, header, lock, reserve, sync};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{self, File, Metadata, Permissions};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The files beside the database.
const FILES: [&str; 7] = [
    header::FILE,
    header::TEMPORARY,
    anchor::FILE,
    anchor::UNFINISHED,
    lock::FILE,
    reserve::FILE,
    CREATING,
];

/// Where a vault is, or is to be.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    path: PathBuf,
    anchor: Option<PathBuf>,
    allowed: Vec<FileSystem>,
    /// What `statfs` is to say.
    #[cfg(test)]
    magic: Option<u64>,
}

impl Place {
    pub(crate) fn new(path: &Path) -> Self {
        // Without a slash or dot at the end, which would follow a link there.
        let path = path.components().collect();
        Self {
            path,
            anchor: None,
            allowed: Vec::new(),
            #[cfg(test)]
            magic: None,
        }
    }

    /// Puts the anchor elsewhere.
    pub(crate) fn anchor(mut self, path: &Path) -> Self {
        self.anchor = Some(path.components().collect());
        self
    }

    /// Where the anchor is.
    pub(super) fn anchor_path(&self) -> PathBuf {
        self.anchor.clone().unwrap_or_else(|| self.path.join(anchor::FILE))
    }

    /// Accepts that the vault may lie on this file system.
    pub(crate) fn allow(mut self, file_system: FileSystem) -> Self {
        self.allowed.push(file_system);
        self
    }

    #[cfg(test)]
    pub(super) fn seeming(mut self, magic: u64) -> Self {
        self.magic = Some(magic);
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn check_file_system(&self, directory: &File) -> Result<(), StoreError> {
        let magic = magic(directory)?;
        #[cfg(test)]
        let magic = self.magic.unwrap_or(magic);
        match FileSystem::of(magic) {
            Some(file_system) if !self.allowed.contains(&file_system) => {
                Err(StoreError::UnsafeFileSystem { path: self.path.clone(), file_system })
            }
            _ => Ok(()),
        }
    }
}

/// The number of the file system that a directory lies on.
#[cfg(target_os = "linux")]
fn magic(directory: &File) -> Result<u64, StoreError> {
    let told = rustix::fs::fstatfs(directory).map_err(std::io::Error::from)?;
    // The word's type depends on the machine.
    Ok(told.f_type as u64)
}

#[cfg(not(target_os = "linux"))]
fn magic(_: &File) -> Result<u64, StoreError> {
    Ok(0)
}

/// A directory that was found safe.
pub(super) struct Directory {
    path: PathBuf,
    file: File,
}

impl Directory {
    /// Opens the directory, which is made if it is not there.
    pub(super) fn make(place: &Place) -> Result<Self, StoreError> {
        match fs::symlink_metadata(&place.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Self::make_path(&place.path)?;
            }
            _ => {}
        }
        Self::open(place)
    }

    /// Makes a directory and those above it that are not there, each durably named by its parent.
    fn make_path(path: &Path) -> Result<(), StoreError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        if !parent.exists() {
            Self::make_path(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(StoreError::at(path)(error));
            }
            _ => {}
        }
        // A parent we may not read was made durable by whoever owns it.
        let _ = sync(parent);
        Ok(())
    }

    /// Opens the directory, and refuses it if it, or a file of the vault in it, is not ours alone
    /// to write to.
    pub(super) fn open(place: &Place) -> Result<Self, StoreError> {
        let directory = Self::judged(CWD, &place.path, place.path.clone())?;
        place.check_file_system(&directory.file)?;
        for name in FILES {
            directory.check_file(name)?;
        }
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory as it was opened: wherever it is moved to, it is the one.
    pub(super) fn file_of_it(&self) -> &File {
        &self.file
    }

    fn judged(at: impl AsFd, name: &Path, path: PathBuf) -> Result<Self, StoreError> {
        let (file, metadata) = open(at, name, &path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        if metadata.mode() & OTHERS_WRITE != 0 {
            return Err(refused(&path, "others can write to it; chmod 700 it"));
        }
        Ok(Self { path, file })
    }

    /// A file of the vault, made if it is not there; for its owner alone from then on.
    pub(super) fn file(&self, name: &str) -> Result<File, StoreError> {
        self.open_file(name, OFlags::RDWR | OFlags::CREATE)
    }

    fn check_file(&self, name: &str) -> Result<(), StoreError> {
        match self.open_file(name, OFlags::RDONLY) {
            Err(StoreError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    fn open_file(&self, name: &str, flags: OFlags) -> Result<File, StoreError> {
        let path = self.path.join(name);
        plain(&path, open(&self.file, Path::new(name), &path, flags)?)
    }

    /// Closes a database's directory and files to others: sled makes its files as the umask
    /// says. One that it makes later waits for the next opening, in a directory that is closed.
    pub(super) fn close_database(&self, name: &str) -> Result<(), StoreError> {
        let database = Self::judged(&self.file, Path::new(name), self.path.join(name))?;
        close_to_others(&database.file, &database.file.metadata()?)?;
        for entry in fs::read_dir(&database.path)? {
            let entry = entry?;
            let name = entry.file_name();
            match open(&database.file, Path::new(&name), &entry.path(), OFlags::RDONLY) {
                Ok((file, metadata)) => close_to_others(&file, &metadata)?,
                // sled removes snapshots that it has replaced.
                Err(StoreError::Io(error)) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Opens a plain file outside the vault's directory that is ours alone to write to.
pub(super) fn open_plain(path: &Path, flags: OFlags) -> Result<File, StoreError> {
    plain(path, open(CWD, path, path, flags)?)
}

/// What was opened, if it is a plain file that others cannot write to; from then on for its owner alone.
fn plain(path: &Path, (file, metadata): (File, Metadata)) -> Result<File, StoreError> {
    if !metadata.is_file() {
        return Err(refused(path, "it is not a plain file"));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(refused(path, "others can write to it; chmod 600 it"));
    }
    close_to_others(&file, &metadata)?;
    Ok(file)
}

/// The bits of a mode that let others write.
const OTHERS_WRITE: u32 = 0o022;

/// Opens what is ours, without following a link or waiting for the other end of a pipe.
fn open(
    at: impl AsFd,
    name: &Path,
    path: &Path,
    flags: OFlags,
) -> Result<(File, Metadata), StoreError> {
    let is_foreign = |metadata: &Metadata| metadata.uid() != rustix::process::geteuid().as_raw();
    let foreign = "it belongs to another user";
    let wants_directory = flags.contains(OFlags::DIRECTORY);
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(at, name, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        // Systems differ in how they refuse a link: what lies there tells more than the number.
        Err(error) => {
            return Err(match fs::symlink_metadata(path) {
                Ok(there) if there.is_symlink() => refused(path, "it is a symbolic link"),
                Ok(there) if is_foreign(&there) => refused(path, foreign),
                Ok(there) if wants_directory && !there.is_dir() => {
                    refused(path, "it is not a directory")
                }
                _ => StoreError::at(path)(error.into()),
            });
        }
    };
    let metadata = file.metadata()?;
    match is_foreign(&metadata) {
        true => Err(refused(path, foreign)),
        false => Ok((file, metadata)),
    }
}

/// Takes from others what they may do with what was opened. One who can read a file can hold a
/// lock on it.
fn close_to_others(file: &File, metadata: &Metadata) -> Result<(), StoreError> {
    if metadata.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(metadata.mode() & 0o700))?;
    }
    Ok(())
}

fn refused(path: &Path, why: &'static str) -> StoreError {
    StoreError::UnsafeDirectory { path: path.into(), why }
}
