//! The passphrase of a vault, and what deriving a key from it costs.

use super::Vault;
use super::runtime::Runtime;
use crate::clock::{Clock, SystemClock};
use crate::crypto::{KdfParams, Salt};
use crate::error::Error;
use crate::secret::Passphrase;
use crate::store::{StoreError, derive_key};
use getrandom::SysRng;
use std::time::Duration;

impl Vault {
    /// Replaces the passphrase. Once this is `Ok`, only the new one opens the vault; a kill before
    /// that leaves exactly one of the two. Tokens, ledger and leases go on as they are.
    ///
    /// Once begun it runs to its end, even if the future is dropped. The audit log tells of it first.
    ///
    /// # Errors
    /// [`StoreError::WrongPassphrase`](crate::StoreError::WrongPassphrase) and
    /// [`Error::EmptyPassphrase`]: nothing has changed.
    /// [`StoreError::ReadOnly`](crate::StoreError::ReadOnly): either passphrase may be the one; reopen
    /// with the new, else with the old. After any other [`Error::Store`] the old one stays; the audit
    /// log may tell of the try.
    ///
    /// # Security
    /// The data key stays. Whoever has the old passphrase and an older copy of the file `header` (a
    /// backup of the directory, a snapshot, freed blocks of the disk) has the data key, and opens with
    /// it what the vault holds now. After a leak of the passphrase: change it, then
    /// [`rekey`](Vault::rekey), then destroy older copies and backups, which open with the passphrase
    /// of their time, and revoke the tokens at BitGo.
    pub async fn change_passphrase(
        &self,
        current: Passphrase,
        new: Passphrase,
    ) -> Result<(), Error> {
        if new.expose().is_empty() {
            return Err(Error::EmptyPassphrase);
        }
        let change = self
            .core
            .blocking(move |core| core.store.change_passphrase(&current, &new, core.clock.now()));
        Ok(change.await??)
    }

    /// Raises what guessing the passphrase costs, for instance to what [`Vault::calibrate_kdf`]
    /// answered. Costs equal to [`Vault::kdf`] make a new salt. Else as [`Vault::change_passphrase`].
    ///
    /// # Errors
    /// As [`Vault::change_passphrase`];
    /// [`StoreError::WeakerKdf`](crate::StoreError::WeakerKdf) for less memory, or less memory times
    /// passes, than the vault has now.
    pub async fn upgrade_kdf(&self, passphrase: Passphrase, kdf: KdfParams) -> Result<(), Error> {
        let upgrade = self
            .core
            .blocking(move |core| core.store.upgrade_kdf(&passphrase, kdf, core.clock.now()));
        Ok(upgrade.await??)
    }

    /// The costs of deriving this vault's key.
    pub fn kdf(&self) -> KdfParams {
        self.core.store.kdf()
    }

    /// Costs under which opening a vault takes about `target` on this machine as it is loaded now,
    /// with at most `max_memory_kib`; never less than [`KdfParams::DEFAULT`]. For
    /// [`VaultBuilder::kdf`](super::VaultBuilder::kdf) and [`Vault::upgrade_kdf`].
    ///
    /// It takes about six times `target` at most. See [`KdfParams::calibrate`].
    ///
    /// # Errors
    /// [`Error::NoRuntime`]; [`Error::Store`] if the process may not have the memory, as
    /// [`MemoryLimit`](crate::StoreError::MemoryLimit).
    pub async fn calibrate_kdf(target: Duration, max_memory_kib: u32) -> Result<KdfParams, Error> {
        let runtime = Runtime::current()?;
        let calibrated = runtime.spawn_blocking(move || calibrate_kdf(target, max_memory_kib));
        calibrated.await.map_err(Error::of_task)?
    }
}

/// Measures on this thread, for as long as it takes.
pub(super) fn calibrate_kdf(target: Duration, max_memory_kib: u32) -> Result<KdfParams, Error> {
    let clock = SystemClock::new();
    let passphrase = Passphrase::new("calibration");
    let salt = Salt::random(&mut SysRng).map_err(StoreError::from)?;
    let calibrated = KdfParams::calibrate(target, max_memory_kib, |params| {
        let start = clock.monotonic();
        derive_key(&passphrase, &salt, params)?;
        Ok::<_, StoreError>(clock.monotonic().saturating_sub(start))
    });
    Ok(calibrated?)
}
