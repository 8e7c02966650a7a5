//! Black-box tests, one module a topic.

#[cfg(feature = "emulator")]
mod api;
#[cfg(feature = "emulator")]
mod audit;
#[cfg(feature = "emulator")]
mod authority;
#[cfg(feature = "emulator")]
mod bad_input;
#[cfg(all(feature = "emulator", feature = "test-util"))]
mod blocking;
#[cfg(feature = "emulator")]
mod cancelled;
#[cfg(feature = "emulator")]
mod clock_skew;
#[cfg(all(feature = "cli", feature = "emulator"))]
mod command;
#[cfg(feature = "emulator")]
mod control;
#[cfg(feature = "emulator")]
mod crash;
#[cfg(feature = "test-util")]
mod damage;
#[cfg(feature = "emulator")]
mod desk;
#[cfg(feature = "emulator")]
mod emulator;
#[cfg(feature = "emulator")]
mod escrow;
#[cfg(feature = "emulator")]
mod events;
#[cfg(all(feature = "emulator", feature = "test-util"))]
mod export;
#[cfg(feature = "emulator")]
mod exposure;
#[cfg(feature = "emulator")]
mod fault_matrix;
mod floors;
#[cfg(feature = "emulator")]
mod freeze;
#[cfg(all(feature = "emulator", target_os = "linux"))]
mod full_disk;
mod grants;
#[cfg(feature = "emulator")]
mod holder;
#[cfg(all(feature = "emulator", feature = "test-util", target_os = "linux"))]
mod host;
#[cfg(all(feature = "emulator", target_os = "linux"))]
mod hot_path;
#[cfg(feature = "emulator")]
mod import;
#[cfg(feature = "emulator")]
mod in_clear;
#[cfg(feature = "emulator")]
mod issue;
#[cfg(feature = "test-util")]
mod killed;
mod known_answers;
#[cfg(feature = "emulator")]
mod lease;
#[cfg(feature = "emulator")]
mod login;
#[cfg(all(feature = "emulator", target_os = "linux"))]
mod memory;
#[cfg(all(feature = "emulator", target_os = "linux"))]
mod misuse;
mod named;
#[cfg(feature = "emulator")]
mod oauth;
#[cfg(feature = "emulator")]
mod outcomes;
#[cfg(feature = "emulator")]
mod passphrase;
#[cfg(feature = "emulator")]
mod pty;
#[cfg(feature = "emulator")]
mod reissue;
#[cfg(feature = "emulator")]
mod remote;
#[cfg(feature = "emulator")]
mod renewal;
#[cfg(feature = "emulator")]
mod renewal_scenarios;
mod renewal_storm;
#[cfg(feature = "emulator")]
mod reopen;
#[cfg(feature = "emulator")]
mod replay;
#[cfg(feature = "emulator")]
mod request_policy;
#[cfg(feature = "emulator")]
mod revoke;
#[cfg(feature = "emulator")]
mod rules;
mod runbook;
#[cfg(feature = "emulator")]
mod seeds;
#[cfg(feature = "emulator")]
mod session;
mod sled_faults;
#[cfg(all(feature = "emulator", target_os = "linux"))]
mod syscalls;
mod telemetry;
#[cfg(all(feature = "emulator", target_os = "linux"))]
mod tools;
#[cfg(feature = "emulator")]
mod transport;
#[cfg(feature = "emulator")]
mod two_clocks;
#[cfg(feature = "emulator")]
mod upkeep;
#[cfg(feature = "emulator")]
mod vault;
mod vectors;
#[cfg(feature = "emulator")]
mod versions;
#[cfg(any(feature = "emulator", feature = "test-util"))]
mod victim;
