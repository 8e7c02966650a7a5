//! A snapshot of sled's that keeps a database shut (sled #1527, #1533): it goes, and a copy of the
//! database stays until it is known that nothing went with it.
//!
//! ```text
//! db.<epoch> does not open ──> copied, synced ──> db.<epoch>.aside ──> snapshots removed ──> opened
//!     opens, and is found whole ──> the copy is removed          else ──> the copy stays
//! ```
//!
//! A snapshot repeats what the log holds. But sled reads the log by itself up to where it seems to
//! end, and overwrites what comes after: so the copy, and so what is there is judged by the store
//! and not here.

use super::{StoreError, sync};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Opens a database, without its snapshots where it does not open with them.
pub(super) fn open_without<T>(
    path: &Path,
    open: impl Fn(&Path) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let refused = match open(path) {
        Err(error @ StoreError::DamagedDatabase { .. }) => error,
        other => return other,
    };
    let snapshots = snapshots(path)?;
    if snapshots.is_empty() {
        return Err(refused);
    }
    let aside = set_aside(path)?;
    for snapshot in snapshots {
        fs::remove_file(snapshot)?;
    }
    let opened = open(path);
    let aside = aside.display();
    match &opened {
        Ok(_) => tracing::warn!(
            name: "snapshot.passed_over", %refused,
            "the database opens without sled's snapshot alone"
        ),
        Err(error) => tracing::warn!(
            name: "database.copied", %refused, %error, %aside,
            "a copy of the database is kept"
        ),
    }
    opened
}

/// Removes what was set aside: the database is whole without it.
pub(super) fn forget(path: &Path) {
    for copy in [aside(path), unfinished(path)] {
        if copy.exists()
            && let Err(error) = fs::remove_dir_all(&copy)
        {
            tracing::warn!(
                name: "database.copy_left", %error, copy = %copy.display(),
                "a copy of the database is left over"
            );
        }
    }
}

fn snapshots(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Where the copy is. One that is there already is older, and so nearer to what was whole.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let (aside, unfinished) = (aside(path), unfinished(path));
    if aside.exists() {
        return Ok(aside);
    }
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    if let Err(error) = copy(path, &unfinished) {
        // On a full disk it is in the way.
        let _ = fs::remove_dir_all(&unfinished);
        return Err(error);
    }
    fs::rename(&unfinished, &aside)?;
    if let Some(parent) = path.parent() {
        sync(parent)?;
    }
    Ok(aside)
}

fn aside(path: &Path) -> PathBuf {
    beside(path, ".aside")
}

fn unfinished(path: &Path) -> PathBuf {
    beside(path, ".aside.new")
}

/// The path with another ending after its own.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Copies a database, with the modes of its files: closed to others before it was opened.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
            sync(&to)?;
        }
    }
    sync(to)
}
