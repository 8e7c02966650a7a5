//! Room that is kept for a disk that is full: without any, sled does not open, and a vault that
//! cannot write could not be read either.
//!
//! ```text
//! create, open    where there is room for it twice, RESERVE is made, 1 MiB
//! open, no space  RESERVE is given up, the opening is tried once more, and what room that left
//!                 is RESERVE again: until there is room for all of it, nothing is written
//! ```
//!
//! At each opening sled overwrites the rest of its last segment, at most 512 KiB, and writes a
//! snapshot. Were the room that this leaves used for writing, the opening after that would find
//! none. What is in the reserve is random, so that no file system can keep it in less room.
//! It gives nothing to others: on a disk that they fill too, it may be gone before it is used.

use super::StoreError;
use super::directory::Directory;
use crate::crypto::CryptoError;
use getrandom::SysRng;
use rand_core::TryRng;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(super) const FILE: &str = "RESERVE";
/// In bytes: twice what sled's opening may need.
const SIZE: u64 = 1 << 20;
/// What is left free on a full disk, in bytes: the holder's name wants to be noted.
const LEFT_FREE: u64 = 16 << 10;

/// Makes the reserve where it is not whole. `false` while the disk is as full as when it was given
/// up: then nothing may be written, since sled could not be opened once more after that.
#[must_use]
pub(super) fn make(directory: &Directory) -> bool {
    match try_make(directory) {
        Ok(is_whole) => is_whole,
        // A vault that never had one is no worse than others.
        Err(error) => {
            let _ = fs::remove_file(directory.path().join(FILE));
            tracing::warn!(
                name: "reserve.absent", %error,
                "no room could be set aside for a full disk"
            );
            true
        }
    }
}

fn try_make(directory: &Directory) -> Result<bool, StoreError> {
    let was_there = directory.path().join(FILE).exists();
    let mut file = directory.file(FILE)?;
    let len = file.metadata()?.len();
    // The last room there is belongs to the vault's own writes.
    if len < SIZE && room(&file)?.saturating_add(len) >= 2 * SIZE {
        fill(&mut file, SIZE)?;
    } else if len < SIZE && !was_there {
        return Err(std::io::Error::from(ErrorKind::StorageFull).into());
    }
    Ok(file.metadata()?.len() >= SIZE)
}

/// Does what opening takes; where the disk is full and there is a reserve, once more without it.
pub(super) fn or_without<T>(
    dir: &Path,
    mut work: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let full = match work() {
        Err(error @ StoreError::StorageFull(_)) => error,
        other => return other,
    };
    if !give_up(dir)? {
        return Err(full);
    }
    let opened = work();
    if let Err(error) = take_the_rest(dir) {
        tracing::warn!(
            name: "reserve.gone", %error,
            "no room is left for another opening on a full disk"
        );
    }
    tracing::warn!(
        name: "reserve.used",
        path = %dir.display(),
        "the disk is full: the vault opened on its reserve; free space"
    );
    opened
}

/// Frees the reserve; whether there was one.
fn give_up(dir: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(dir.join(FILE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes a reserve of the room there is.
fn take_the_rest(dir: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(dir.join(FILE))?;
    let rest = room(&file)?.saturating_sub(LEFT_FREE).min(SIZE);
    match fill(&mut file, rest) {
        // Then it is what was written.
        Err(StoreError::StorageFull(_)) => Ok(file.sync_all()?),
        other => other,
    }
}

/// What may still be written to the disk of a file, in bytes.
fn room(file: &File) -> Result<u64, StoreError> {
    let told = rustix::fs::fstatvfs(file).map_err(std::io::Error::from)?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

fn fill(file: &mut File, len: u64) -> Result<(), StoreError> {
    let mut chunk = [0; 4096];
    file.set_len(0)?;
    file.rewind()?;
    for _ in 0..len / chunk.len() as u64 {
        SysRng.try_fill_bytes(&mut chunk).map_err(|_| CryptoError::Entropy)?;
        file.write_all(&chunk)?;
    }
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::super::directory::Place;
    use super::super::{FileSystem, tests::place::set_mode};
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn directory(dir: &Path) -> Directory {
        set_mode(dir, 0o700);
        Directory::open(&Place::new(dir).allow(FileSystem::Overlayfs)).unwrap()
    }

    fn full<T>() -> Result<T, StoreError> {
        Err(std::io::Error::from(ErrorKind::StorageFull).into())
    }

    #[test]
    fn what_is_set_aside_takes_the_room_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for left in [None, Some(0), Some(4096)] {
            if let Some(len) = left {
                fs::write(&path, vec![1; len]).unwrap();
                set_mode(&path, 0o600);
            }
            assert!(make(&directory(dir.path())));
            let made = fs::metadata(&path).unwrap();
            assert_eq!((made.len(), made.mode() & 0o777), (SIZE, 0o600));
            assert!(made.blocks() * 512 >= SIZE, "{} blocks", made.blocks());
        }
        let bytes = fs::read(&path).unwrap();
        assert!(make(&directory(dir.path())));
        assert_eq!(fs::read(&path).unwrap(), bytes, "it is not made again");
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn it_is_given_up_once_and_for_a_full_disk_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mut tried = 0;
        let damaged = or_without(dir.path(), || -> Result<(), _> {
            tried += 1;
            Err(StoreError::Removed)
        });
        assert!(matches!(damaged, Err(StoreError::Removed)));
        assert!(make(&directory(dir.path())));
        let opened = or_without(dir.path(), || {
            tried += 1;
            if path.exists() { full() } else { Ok(tried) }
        });
        assert_eq!(opened.unwrap(), 3);
        assert_eq!(fs::metadata(&path).unwrap().len(), SIZE, "what there is room for is taken");
        fs::remove_file(&path).unwrap();
        let again = or_without(dir.path(), || {
            tried += 1;
            full::<()>()
        });
        assert!(matches!(again, Err(StoreError::StorageFull(_))));
        assert_eq!(tried, 4, "without a reserve it is not tried again");
    }
}
