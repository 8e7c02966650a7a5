//! Room that is kept for a disk that is full: without any, sled does not open, and a vault that
//! cannot write could not be read either.
//!
//! ```text
//! create, open    where there is room for it twice, RESERVE is made, 1 MiB
//! open, no space  RESERVE is given up, and the opening is tried once more
//! ```
//!
//! At each opening sled overwrites the rest of its last segment, at most 512 KiB, and writes a
//! snapshot. What is in the reserve is random, so that no file system can keep it in less room.
//! It gives nothing to others: on a disk that they fill too, it may be gone before it is used.

use super::StoreError;
use super::directory::Directory;
use crate::crypto::CryptoError;
use getrandom::SysRng;
use rand_core::TryRng;
use std::fs;
use std::io::{ErrorKind, Seek, Write};
use std::path::Path;

pub(super) const FILE: &str = "RESERVE";
/// In bytes: twice what sled's opening may need.
const SIZE: usize = 1 << 20;

/// Makes the reserve where there is none. A vault without one is no worse than others, so that
/// what keeps it from being made is told and no more.
pub(super) fn make(directory: &Directory) {
    if let Err(error) = try_make(directory) {
        let _ = fs::remove_file(directory.path().join(FILE));
        tracing::warn!(%error, "no room could be set aside for a full disk");
    }
}

fn try_make(directory: &Directory) -> Result<(), StoreError> {
    let mut file = directory.file(FILE)?;
    if file.metadata()?.len() == SIZE as u64 {
        return Ok(());
    }
    // What is left of another try may be in the way.
    file.set_len(0)?;
    let told = rustix::fs::fstatvfs(&file).map_err(std::io::Error::from)?;
    // The last room there is belongs to the vault's own writes.
    if told.f_bavail.saturating_mul(told.f_frsize) < 2 * SIZE as u64 {
        return Err(std::io::Error::from(ErrorKind::StorageFull).into());
    }
    let mut bytes = vec![0; SIZE];
    SysRng.try_fill_bytes(&mut bytes).map_err(|_| CryptoError::Entropy)?;
    file.rewind()?;
    file.write_all(&bytes)?;
    Ok(file.sync_all()?)
}

/// Does what opening takes; where the disk is full and there is a reserve, once more without it.
pub(super) fn or_without<T>(
    dir: &Path,
    mut work: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match work() {
        Err(StoreError::StorageFull(error)) => {
            if !give_up(dir)? {
                return Err(StoreError::StorageFull(error));
            }
            tracing::warn!(
                path = %dir.display(),
                "the disk is full: the vault gave up its reserve to open; free space"
            );
            work()
        }
        other => other,
    }
}

/// Frees the reserve; whether there was one.
fn give_up(dir: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(dir.join(FILE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::Place;
    use super::super::{FileSystem, tests::set_mode};
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
            make(&directory(dir.path()));
            let made = fs::metadata(&path).unwrap();
            assert_eq!((made.len(), made.mode() & 0o777), (SIZE as u64, 0o600));
            assert!(made.blocks() * 512 >= SIZE as u64, "{} blocks", made.blocks());
        }
        let bytes = fs::read(&path).unwrap();
        make(&directory(dir.path()));
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
        make(&directory(dir.path()));
        let opened = or_without(dir.path(), || {
            tried += 1;
            if path.exists() { full() } else { Ok(tried) }
        });
        assert_eq!(opened.unwrap(), 3);
        let again = or_without(dir.path(), || {
            tried += 1;
            full::<()>()
        });
        assert!(matches!(again, Err(StoreError::StorageFull(_))));
        assert_eq!(tried, 4, "without a reserve it is not tried again");
    }
}
