//! File systems on which a vault may lose its lock or its last writes.
//!
//! Only those of which that is known are refused, by the number that Linux's `statfs` gives.
//! What is not in the table is not vouched for: FUSE and 9p, for example, are as good as what
//! stands behind them.

use std::fmt;

/// A file system that a vault does not lie on unless
/// [`VaultBuilder::dangerous_allow_file_system`](crate::VaultBuilder::dangerous_allow_file_system)
/// names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileSystem {
    /// Another machine's disk, over NFS: a lock may not be seen by other machines, and may be lost
    /// with the connection.
    Nfs,
    /// Another machine's disk, over SMB, with the same faults.
    Cifs,
    /// The layers of a container's image: files are copied up as they are first written to, may
    /// be mounted without any syncing (`volatile`), and end with the container. A volume is not
    /// on it.
    Overlayfs,
}

impl FileSystem {
    /// `statfs(2)`'s `f_type` of those that are refused: `linux/magic.h`, `fs/smb/client/cifsfs.c`.
    pub(super) fn of(magic: u64) -> Option<Self> {
        // Where the word has 32 bits and a sign, the upper half of ours is filled with it.
        match magic & 0xffff_ffff {
            0x6969 => Some(Self::Nfs),
            0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some(Self::Cifs),
            0x794c_7630 => Some(Self::Overlayfs),
            _ => None,
        }
    }
}

/// As it is named in a table of mounts.
impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nfs => "nfs",
            Self::Cifs => "cifs",
            Self::Overlayfs => "overlayfs",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_unsafe_has_a_name() {
        for (magic, name) in [
            (0x6969, Some("nfs")),
            (0x517b, Some("cifs")),
            (0xff53_4d42, Some("cifs")),
            (0xfe53_4d42, Some("cifs")),
            (0xffff_ffff_ff53_4d42, Some("cifs")),
            (0x794c_7630, Some("overlayfs")),
            (0xef53, None),
            (0x5846_5342, None),
            (0x9123_683e, None),
            (0x2fc1_2fc1, None),
            (0x0102_1994, None),
            (0x6573_5546, None),
            (0, None),
        ] {
            let told = FileSystem::of(magic).map(|file_system| file_system.to_string());
            assert_eq!(told.as_deref(), name, "{magic:#x}");
        }
    }
}
