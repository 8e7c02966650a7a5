//! The key that a passphrase makes, where there is memory for it: who takes more than a limit allows is
//! killed, or aborts, so that the limits are looked at before any is taken.

use super::StoreError;
use crate::crypto::{KdfParams, KeyEncryptionKey, Salt, key_encryption_key};
use crate::secret::Passphrase;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::Path;

/// What the program is to have beside what a derivation takes.
const BESIDE: u64 = 64 << 20;
const MIB: u64 = 1 << 20;
/// Where Linux keeps the groups that share limits (cgroup v2).
const CGROUPS: &str = "/sys/fs/cgroup";

/// As [`key_encryption_key`], where the process may have as much memory and 64 MiB more.
///
/// # Errors
/// [`StoreError::MemoryLimit`]: nothing was taken.
pub(crate) fn derive_key(
    passphrase: &Passphrase,
    salt: &Salt,
    kdf: KdfParams,
) -> Result<KeyEncryptionKey, StoreError> {
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = [
        ("memory.max of its control group", of_cgroup(Path::new(CGROUPS), &cgroup)),
        ("its limit on address space (RLIMIT_AS)", getrlimit(Resource::As).current),
    ];
    for (set_by, limit) in limits {
        check(kdf, set_by, limit.unwrap_or(u64::MAX))?;
    }
    Ok(key_encryption_key(passphrase, salt, kdf)?)
}

fn check(kdf: KdfParams, set_by: &'static str, limit: u64) -> Result<(), StoreError> {
    let needed = u64::from(kdf.m_cost()) * 1024 + BESIDE;
    match limit < needed {
        true => Err(StoreError::MemoryLimit {
            needed_mib: needed.div_ceil(MIB),
            allowed_mib: limit / MIB,
            set_by,
        }),
        false => Ok(()),
    }
}

/// The least that the group of a process and those above it allow. A container may see but its own, as
/// the root, whatever name it has outside.
fn of_cgroup(root: &Path, cgroup: &str) -> Option<u64> {
    let group = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = |group: &Path| {
        let limit = fs::read_to_string(root.join(group).join("memory.max")).ok()?;
        limit.trim().parse().ok()
    };
    Path::new(group).ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derivation_leaves_the_program_its_part() {
        let kdf = KdfParams::new(100 * 1024, 1, 1).unwrap();
        check(kdf, "a limit", 164 * MIB).unwrap();
        let refused = check(kdf, "a limit", 164 * MIB - 1).unwrap_err();
        let told = matches!(
            refused,
            StoreError::MemoryLimit { needed_mib: 164, allowed_mib: 163, set_by: "a limit" }
        );
        assert!(told, "{refused:?}");
    }

    #[test]
    fn the_least_limit_of_all_groups_above_binds() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("pods/bot")).unwrap();
        let limit = |cgroup: &str| of_cgroup(root, cgroup);
        assert_eq!(limit("0::/pods/bot\n"), None, "no group has a limit");
        for (group, text, expect) in [
            ("pods/bot", "max\n", None),
            ("pods", "268435456\n", Some(268_435_456)),
            ("pods/bot", "134217728\n", Some(134_217_728)),
            ("", "67108864\n", Some(67_108_864)),
            ("", "no number\n", Some(134_217_728)),
        ] {
            fs::write(root.join(group).join("memory.max"), text).unwrap();
            assert_eq!(limit("0::/pods/bot\n"), expect, "{group} {text}");
        }
        fs::write(root.join("memory.max"), "7\n").unwrap();
        assert_eq!(limit("0::/a/name/outside\n"), Some(7), "a container's own is the root");
        assert_eq!(limit("9:memory:/pods\n"), None, "the older groups are not looked at");
    }
}
