//! Why the store could not do what was asked.

use super::Tree;
use super::damage::Damage;
use super::file_system::FileSystem;
use super::lock::Holder;
use crate::crypto::CryptoError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A refusal of the store. After [`StoreError::ReadOnly`] it is not known whether the last write
/// was kept; after [`StoreError::CopyLeft`] all was done but what it names; no other changes what is
/// stored, but that the audit log may tell of what then failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No vault in this directory.
    #[error("no vault at {path}: create one first")]
    NotFound {
        /// The directory.
        path: PathBuf,
    },
    /// There is a vault already.
    #[error("there is a vault at {path} already: unlock it, or choose another directory")]
    AlreadyExists {
        /// The directory.
        path: PathBuf,
    },
    /// The vault is open elsewhere: in another process, or in this one.
    #[error("the vault at {path} is in use by {}: close it there first", told(holder.as_ref()))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it open, where that could be read.
        holder: Option<Holder>,
    },
    /// The header is whole, but this passphrase does not open it.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The costs asked for are less than those in use.
    #[error("the costs asked for are less than the vault's own: keep these, or ask for more")]
    WeakerKdf,
    /// The process may not have the memory that deriving the key takes; none was taken.
    #[error(
        "deriving the key and the program beside it take {needed_mib} MiB, and {set_by} is {allowed_mib}: raise it"
    )]
    MemoryLimit {
        /// What the derivation takes, and 64 for the program.
        needed_mib: u64,
        /// What the limit allows.
        allowed_mib: u64,
        /// The limit.
        set_by: &'static str,
    },
    /// The header is not as it was written.
    #[error("the vault's header is damaged ({what}): restore it from a backup")]
    DamagedHeader {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The vault was written by a later version.
    #[error("the vault has format {version}, which this version does not know: upgrade")]
    UnknownFormat {
        /// The format's number.
        version: u16,
    },
    /// The directory, or one of the vault's files in it, is open to others or not ours.
    #[error("{path} is not safe for a vault: {why}")]
    UnsafeDirectory {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// The directory lies on a file system that may lose the vault's lock or its last writes.
    #[error(
        "{path} lies on {file_system}, which may lose a lock or a write: choose a local disk, or allow {file_system} by name"
    )]
    UnsafeFileSystem {
        /// The directory.
        path: PathBuf,
        /// The file system.
        file_system: FileSystem,
    },
    /// The database is missing, or sled cannot read it.
    #[error("the vault's database is damaged ({what}): restore it from a backup")]
    DamagedDatabase {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The records do not add up to what was written.
    #[error(
        "the vault is damaged ({damage}): open it degraded to read what is intact, then repair it or restore a backup"
    )]
    Damaged {
        /// What is missing or altered.
        damage: Box<Damage>,
    },
    /// One record cannot be read.
    #[error("a record of the vault cannot be read ({tree}: {what}): run doctor")]
    Unreadable {
        /// The tree.
        tree: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The vault is whole, but it is not the last that its anchor knows: an older copy was put back,
    /// or what was written last is lost.
    #[error(
        "the vault was rolled back ({what}): put the newest copy back, or accept it as it is and reconcile"
    )]
    RolledBack {
        /// Which of its parts is not the last.
        what: &'static str,
    },
    /// The anchor is missing.
    #[error(
        "the vault's anchor is not at {path}: say where it is, put it back, or accept that a rollback would not be seen"
    )]
    NoAnchor {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The anchor is of another vault, or not as it was written.
    #[error(
        "{path} is no anchor of this vault, or it is damaged: put the right one back, or accept that a rollback would not be seen"
    )]
    DamagedAnchor {
        /// Where it is.
        path: PathBuf,
    },
    /// There is an anchor already, where a new vault's is to be.
    #[error(
        "there is an anchor at {path} already, and with it goes a vault: choose another place, or remove it if that vault is gone"
    )]
    AnchorExists {
        /// Where it is.
        path: PathBuf,
    },
    /// The vault was opened though it is damaged.
    #[error("the vault is damaged and open for reading only: repair it first")]
    Degraded,
    /// The backup is cut, altered, or none.
    #[error("the backup cannot be read ({what}): use another copy of it")]
    DamagedBackup {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The backup was written by a later version.
    #[error("the backup has format {version}, which this version does not know: upgrade")]
    UnknownBackupFormat {
        /// The format's number.
        version: u16,
    },
    /// The backup was made of another vault, or of this one before it was restored.
    #[error(
        "the backup is of another vault: repair with one of this vault, or restore it elsewhere"
    )]
    OtherBackup,
    /// The backup cannot be opened, or its directory be written to.
    #[error(
        "the backup {path} cannot be opened: name one that is there, in a directory that is yours"
    )]
    BackupOutOfReach {
        /// The backup.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What has the name that the backup should get.
    #[error("there is a file at {path} already: choose another name for the backup")]
    BackupExists {
        /// The name.
        path: PathBuf,
    },
    /// A backup of that name is being written, or one was cut short.
    #[error("{path} is an unfinished backup: if none is being written, remove it")]
    BackupUnfinished {
        /// The unfinished file.
        path: PathBuf,
    },
    /// The vault belongs to another BitGo environment.
    #[error("the vault is bound to {bound_to}: unlock it with that environment and its server key")]
    OtherEnvironment {
        /// The root URI it is bound to.
        bound_to: String,
    },
    /// Which BitGo environment the vault is for is neither said nor known from it.
    #[error("which bitgo the vault is for is not known: name its environment to the builder")]
    NoEnvironment,
    /// A write failed; the vault takes no more until it is reopened.
    #[error(
        "the vault is read-only since a write failed ({cause}): free space or mend the disk, then reopen it"
    )]
    ReadOnly {
        /// What failed.
        cause: String,
    },
    /// The data key has sealed as many records as it may.
    #[error(
        "the data key has sealed all the records it may, and was not replaced: rekey the vault"
    )]
    SealsExhausted,
    /// The token was removed meanwhile.
    #[error("the token was removed meanwhile")]
    Removed,
    /// The vault is sealed anew, and beside it lies an older copy, which no rekey reaches.
    #[error("{path} still holds what was removed: if nothing in it is missed, remove it")]
    CopyLeft {
        /// The copy.
        path: PathBuf,
    },
    /// A record is larger than 64 KiB.
    #[error("a record is larger than 64 kib: shorten its lists")]
    TooLarge,
    /// A cryptographic operation was refused.
    #[error("the vault's keys cannot be used")]
    Crypto(#[source] CryptoError),
    /// The disk is full, or the account's share of it is.
    #[error("the disk is full: free space, then try again")]
    StorageFull(#[source] std::io::Error),
    /// The file system refused.
    #[error("the file system refused")]
    Io(#[source] std::io::Error),
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::StorageFull(error),
            _ => Self::Io(error),
        }
    }
}

impl StoreError {
    /// A closure for `map_err` that names the file.
    pub(super) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |error| {
            let named = format!("{}: {error}", path.display());
            std::io::Error::new(error.kind(), named).into()
        }
    }

    /// What failed, without what to do about it: for [`StoreError::ReadOnly`], which says that itself.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Io(error) | Self::StorageFull(error) => error.to_string(),
            other => other.to_string(),
        }
    }

    pub(super) fn unreadable(tree: Tree, what: &'static str) -> Self {
        Self::Unreadable { tree: tree.name(), what }
    }

    /// sled's errors, with its lock and I/O errors as what they are.
    pub(super) fn sled(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(io) => io.into(),
            sled::Error::Corruption { .. } => {
                Self::DamagedDatabase { what: "sled finds it corrupt" }
            }
            // Its settings are always the same, so it is the file that holds them.
            sled::Error::Unsupported(_) => {
                Self::DamagedDatabase { what: "sled's settings are corrupt" }
            }
            other => Self::Io(std::io::Error::other(other.to_string())),
        }
    }
}

fn told(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another process".into(), Holder::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_what_to_do() {
        let path = PathBuf::from("/v");
        let opened_at = chrono::DateTime::UNIX_EPOCH;
        let holder = Holder { host: "desk-1".into(), pid: 7, opened_at };
        for (error, line) in [
            (
                StoreError::BackupOutOfReach {
                    path: path.clone(),
                    source: ErrorKind::NotFound.into(),
                },
                "the backup /v cannot be opened: name one that is there, in a directory that is yours",
            ),
            (StoreError::NotFound { path: path.clone() }, "no vault at /v: create one first"),
            (
                StoreError::AlreadyExists { path: path.clone() },
                "there is a vault at /v already: unlock it, or choose another directory",
            ),
            (
                StoreError::InUse { path: path.clone(), holder: Some(holder) },
                "the vault at /v is in use by process 7 on desk-1, since 1970-01-01T00:00:00Z: close it there first",
            ),
            (
                StoreError::InUse { path: path.clone(), holder: None },
                "the vault at /v is in use by another process: close it there first",
            ),
            (StoreError::WrongPassphrase, "wrong passphrase"),
            (
                StoreError::WeakerKdf,
                "the costs asked for are less than the vault's own: keep these, or ask for more",
            ),
            (
                StoreError::MemoryLimit {
                    needed_mib: 128,
                    allowed_mib: 100,
                    set_by: "memory.max of its control group",
                },
                "deriving the key and the program beside it take 128 MiB, and memory.max of its control group is 100: raise it",
            ),
            (
                StoreError::DamagedHeader { what: "checksum" },
                "the vault's header is damaged (checksum): restore it from a backup",
            ),
            (
                StoreError::UnknownFormat { version: 2 },
                "the vault has format 2, which this version does not know: upgrade",
            ),
            (
                StoreError::UnsafeDirectory {
                    path: path.clone(),
                    why: "it belongs to another user",
                },
                "/v is not safe for a vault: it belongs to another user",
            ),
            (
                StoreError::UnsafeFileSystem { path, file_system: FileSystem::Overlayfs },
                "/v lies on overlayfs, which may lose a lock or a write: choose a local disk, or allow overlayfs by name",
            ),
            (
                StoreError::DamagedDatabase { what: "it is missing" },
                "the vault's database is damaged (it is missing): restore it from a backup",
            ),
            (
                StoreError::Damaged { damage: Box::default() },
                "the vault is damaged (): open it degraded to read what is intact, then repair it or restore a backup",
            ),
            (
                StoreError::Unreadable { tree: "ledger", what: "a record does not open" },
                "a record of the vault cannot be read (ledger: a record does not open): run doctor",
            ),
            (
                StoreError::RolledBack { what: "its header is older than its anchor" },
                "the vault was rolled back (its header is older than its anchor): put the newest copy back, or accept it as it is and reconcile",
            ),
            (
                StoreError::NoAnchor { path: "/a".into() },
                "the vault's anchor is not at /a: say where it is, put it back, or accept that a rollback would not be seen",
            ),
            (
                StoreError::DamagedAnchor { path: "/a".into() },
                "/a is no anchor of this vault, or it is damaged: put the right one back, or accept that a rollback would not be seen",
            ),
            (
                StoreError::AnchorExists { path: "/a".into() },
                "there is an anchor at /a already, and with it goes a vault: choose another place, or remove it if that vault is gone",
            ),
            (
                StoreError::Degraded,
                "the vault is damaged and open for reading only: repair it first",
            ),
            (
                StoreError::DamagedBackup { what: "its checksum" },
                "the backup cannot be read (its checksum): use another copy of it",
            ),
            (
                StoreError::UnknownBackupFormat { version: 2 },
                "the backup has format 2, which this version does not know: upgrade",
            ),
            (
                StoreError::BackupExists { path: "/b".into() },
                "there is a file at /b already: choose another name for the backup",
            ),
            (
                StoreError::BackupUnfinished { path: "/b.new".into() },
                "/b.new is an unfinished backup: if none is being written, remove it",
            ),
            (
                StoreError::OtherEnvironment { bound_to: "https://x".into() },
                "the vault is bound to https://x: unlock it with that environment and its server key",
            ),
            (
                StoreError::NoEnvironment,
                "which bitgo the vault is for is not known: name its environment to the builder",
            ),
            (
                StoreError::ReadOnly { cause: "disk full".into() },
                "the vault is read-only since a write failed (disk full): free space or mend the disk, then reopen it",
            ),
            (
                StoreError::SealsExhausted,
                "the data key has sealed all the records it may, and was not replaced: rekey the vault",
            ),
            (StoreError::Removed, "the token was removed meanwhile"),
            (
                StoreError::CopyLeft { path: "/v/damaged.0".into() },
                "/v/damaged.0 still holds what was removed: if nothing in it is missed, remove it",
            ),
            (StoreError::TooLarge, "a record is larger than 64 kib: shorten its lists"),
            (StoreError::Crypto(CryptoError::Entropy), "the vault's keys cannot be used"),
            (
                std::io::Error::from(ErrorKind::StorageFull).into(),
                "the disk is full: free space, then try again",
            ),
            (
                std::io::Error::from(ErrorKind::QuotaExceeded).into(),
                "the disk is full: free space, then try again",
            ),
            (std::io::Error::from(ErrorKind::NotFound).into(), "the file system refused"),
        ] {
            assert_eq!(error.to_string(), line);
        }
    }
}
