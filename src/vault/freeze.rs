//! The kill switch, by hand: from inside, and from a process that does not hold the vault.

use super::Vault;
use crate::error::Error;
use crate::secret::Passphrase;
use crate::store;
use std::path::Path;

impl Vault {
    /// Freezes the vault: from here on nothing is leased, signed, sent or handed out, views included,
    /// and every lease is dead. Renewal and revocation go on. It holds over restart, backup and
    /// restore, repair and rekey, until [`Vault::thaw`].
    ///
    /// It is frozen as soon as this is called, whatever it answers; `Ok` means that the sealed record
    /// of it is on disk, and the entry of the audit log. It makes the file `FREEZE` as well.
    ///
    /// # Errors
    /// [`Error::Store`] if the record cannot be written: the vault is frozen as long as it is open,
    /// and as long as `FREEZE` is there.
    ///
    /// # Security
    /// What is signed already, or was handed out raw, this does not reach: [`Vault::revoke`] does.
    pub async fn freeze(&self) -> Result<(), Error> {
        // At once, however long the threads that may block take.
        self.core.store.freeze().engage();
        let frozen = self.core.blocking(|core| core.store.freeze_durably(core.clock.now()));
        Ok(frozen.await??)
    }

    /// Freezes the vault in the directory `path` without its passphrase, be it open or not: makes the
    /// file `FREEZE` there, which any other way of making it does as well. `Ok` means that it is on
    /// disk. Whoever has the vault open sees it within a second, and before it takes budget for a
    /// spend; from then on removing the file does not thaw.
    ///
    /// # Errors
    /// [`Error::Store`]: [`NotFound`](crate::StoreError::NotFound) where there is no vault, and what
    /// the file system said.
    ///
    /// # Security
    /// As of [`Vault::freeze`]. A path that leads to another directory freezes another vault.
    pub fn freeze_at(path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(store::freeze_at(path.as_ref())?)
    }

    /// Thaws the vault. Leases of before are dead all the same.
    ///
    /// The file `FREEZE` goes first, then the sealed record with the entry of the audit log, in one
    /// commit: a kill in between leaves it frozen. A `FREEZE` that is made meanwhile freezes it again.
    ///
    /// # Errors
    /// [`StoreError::WrongPassphrase`](crate::StoreError::WrongPassphrase); any other
    /// [`Error::Store`]: it is still frozen.
    pub async fn thaw(&self, passphrase: Passphrase) -> Result<(), Error> {
        let thawed = self.core.blocking(move |core| core.store.thaw(&passphrase, core.clock.now()));
        Ok(thawed.await??)
    }

    /// Whether the vault is frozen.
    pub fn is_frozen(&self) -> bool {
        self.core.store.freeze().is_frozen()
    }
}
