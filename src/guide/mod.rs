//! How a vault is run: what to do, in the order in which it is needed.
//!
//! | | |
//! |---|---|
//! | [`migration`] | from a token in an environment variable to a bot that never sees one |
//! | [`policies`] | local rules: what a token may do here, beside what BitGo says |
//! | [`containers`] | read-only roots, volumes, memory limits, systemd, Kubernetes |
//! | [`operations`] | rotation, backups, limits, outages; the runbook behind each `see: BV-…` |
//! | [`wallet_passphrases`] | the secret beside the token, and what cannot be signed |
//!
//! What is promised, and how it is held, stands in `SECURITY.md` and `docs/DURABILITY.md` of the
//! repository. The code in these pages is run by the tests against [`emulator`](crate::emulator), a
//! BitGo on this machine.

pub mod containers;
pub mod migration;
pub mod operations;
pub mod policies;
pub mod wallet_passphrases;
