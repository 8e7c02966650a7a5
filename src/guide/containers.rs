//! Where bots live: read-only roots, volumes, limits, systemd and Kubernetes.
//!
//! `examples/deploy` in the repository has a hardened unit, `bitgo-vault.service`, and `k8s.yaml`; this page
//! says why they are as they are.
//!
//! # What is written
//!
//! The vault's directory, with its control socket in it, and the anchor where
//! [`VaultBuilder::anchor`](crate::VaultBuilder::anchor) puts it. Nothing else: no temporary files, no
//! home directory. So a bot works under a read-only root, with two writable places. The command needs `HOME`
//! or `XDG_DATA_HOME` only where neither `--store` nor `BITGO_VAULT_STORE` names the vault.
//!
//! # The volume
//!
//! * **Never the container's own file system.** A vault on overlayfs is refused, as are NFS and CIFS: a lock
//!   or the last reservations may be lost there.
//!   [`dangerous_allow_file_system`](crate::VaultBuilder::dangerous_allow_file_system) accepts one by name.
//!   Use a block volume, with a file system that honours `fsync`.
//! * **One holder.** The kernel's lock ends with its process. It does not reach another host: mount the
//!   volume to one pod (`ReadWriteOncePod`), and never snapshot it into a second bot. Several bots: one
//!   vault, one token and one limit each.
//! * **Ours alone.** Directory and files are made 0700 and 0600 whatever the umask, and refused if others
//!   may write to them. Kubernetes' `fsGroup` opens a volume to a group at each mount, unless
//!   `fsGroupChangePolicy: OnRootMismatch` is set: set it, and put the vault into a directory below the
//!   mount. User and ids must be the same from start to start.
//!
//! # The anchor on another volume
//!
//! The anchor knows the last state of the vault. Beside the vault it is put back along with it, and nothing
//! is noticed; on a volume of its own, outside of the first one's snapshots, a vault that was put back is
//! [`RolledBack`](crate::StoreError::RolledBack). It takes 8 KiB and an `fdatasync` per commit. Name it at
//! every opening.
//!
//! # The passphrase
//!
//! Not in the environment, where `/proc` shows it to the same user and crash reports pick it up; a file that
//! this service alone sees. The command reads systemd's credential `bitgo-vault-passphrase` by itself; a
//! bot does this, and on Kubernetes the same with a mounted secret:
//!
//! ```
//! use bitgo_vault::{Clock, Passphrase, Provider, SystemClock};
//! use std::path::Path;
//!
//! /// `CREDENTIALS_DIRECTORY` is systemd's; on Kubernetes it is where the secret is mounted.
//! fn passphrase(credentials: &Path) -> Result<Passphrase, bitgo_vault::ProviderError> {
//!     Provider::file(credentials.join("bitgo-vault-passphrase")).ask(SystemClock::new().now())
//! }
//! # let dir = tempfile::tempdir()?;
//! # std::fs::write(dir.path().join("bitgo-vault-passphrase"), "correct horse battery staple\n")?;
//! # assert_eq!(passphrase(dir.path())?.expose(), "correct horse battery staple");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Vault and passphrase on one host protect against a stolen disk or backup, not against root there.
//! `LoadCredentialEncrypted=` seals it to the machine (its TPM, where there is one).
//!
//! # Memory
//!
//! Opening derives a key, which takes what the header says: 64 MiB unless
//! [`VaultBuilder::kdf`](crate::VaultBuilder::kdf) said otherwise, for as long as it derives. Give the
//! container that and 64 MiB more, beside what the bot takes: below both, by the control group or by
//! `RLIMIT_AS`, opening is refused before it takes any
//! ([`MemoryLimit`](crate::StoreError::MemoryLimit)), where the kernel would have ended the process, and
//! again after each restart. [`Vault::calibrate_kdf`](crate::Vault::calibrate_kdf) and
//! [`Vault::upgrade_kdf`](crate::Vault::upgrade_kdf) raise the costs to stay: mind the limit first.
//! Switch swap off for the container: keys are never swapped, the bot's own buffers would be.
//!
//! # Locked pages and seccomp
//!
//! Keys lie in `memfd_secret` pages. Where the kernel has it switched off (before Linux 6.5:
//! `secretmem.enable=1` on its command line), or a seccomp profile refuses it, they lie in `mlock`ed pages;
//! where that is refused too (`RLIMIT_MEMLOCK`: a MiB is ample), they are wiped on release
//! and no more. None of it is fatal, all of it is told:
//! [`Vault::lock_level`](crate::Vault::lock_level), and `key_memory` of `bitgo-vault --json doctor --deep`. A
//! bot that insists says so at its start:
//!
//! ```
//! use bitgo_vault::{LockLevel, Vault};
//!
//! fn insist(vault: &Vault) -> Result<(), String> {
//!     match vault.lock_level() {
//!         LockLevel::Wiped => Err("keys are not locked: raise RLIMIT_MEMLOCK".into()),
//!         _ => Ok(()),
//!     }
//! }
//! ```
//!
//! # Its end
//!
//! On SIGTERM: stop trading, then [`Vault::close`](crate::Vault::close). It waits for no network but the
//! answer to a refresh token that is on its way, and returns what was allotted. After a SIGKILL what was
//! allotted counts as spent until it is reconciled, ten minutes after the next opening; `bitgo-vault status`
//! shows it.
//!
//! ```no_run
//! # async fn run(vault: bitgo_vault::Vault, trade: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
//! # use std::future::pending;
//! # async fn sigterm() { pending::<()>().await } // tokio::signal::unix, with tokio's feature `signal`
//! tokio::select! {
//!     () = trade => {}
//!     () = sigterm() => {}
//! }
//! vault.close().await?;
//! # Ok(()) }
//! ```
//!
//! Do not `fork` without `exec` while a vault is open: the child has no keys, and keeps the lock.
//!
//! # From outside
//!
//! `bitgo-vault status`, `check`, `freeze`, `renew`, `reconcile` and `audit` ask the bot over the socket
//! `CONTROL` in the vault's directory, as the same user, without a passphrase. As a probe, give it an empty
//! `--passphrase-file /dev/null`, so that it never opens the vault itself. Anybody who may write to the
//! directory stops the bot: `touch FREEZE`.
