//! What the process keeps from others on the machine: no core dump, no debugger, and no passphrase in the
//! environment of its children.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// The variable that may hold the passphrase, which no child gets.
pub(crate) const PASSPHRASE_VARIABLE: &str = "BITGO_VAULT_PASSPHRASE";

/// Refuses core dumps and tracers. Where the system does not let it, `doctor` tells what keys have.
pub(crate) fn keep_to_itself() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    #[cfg(target_os = "linux")]
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
