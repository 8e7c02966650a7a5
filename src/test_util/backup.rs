//! Backups in memory, under a key that is derived already.

use crate::crypto::{KdfParams, KeyEncryptionKey, Salt, VaultId};
use crate::store::StoreError;
use crate::store::backup::{Header, Origin, Reader, Sealer};
use getrandom::SysRng;

/// A backup of these records: tree, key, row. The costs and the salt are those of `key`.
///
/// # Errors
/// [`StoreError::TooLarge`].
pub fn seal_backup<'a>(
    key: &KeyEncryptionKey,
    kdf: KdfParams,
    salt: Salt,
    records: impl IntoIterator<Item = (u8, &'a [u8], &'a [u8])>,
) -> Result<Vec<u8>, StoreError> {
    let origin = Origin { vault_id: VaultId::random(&mut SysRng)?, sequence: 7, kdf, salt };
    let mut sealer = Sealer::start(Vec::new(), origin, key)?;
    for (tree, key, row) in records {
        sealer.record(tree, key, row)?;
    }
    sealer.finish()
}

/// Reads a backup and hands each record to `each` as it comes; `Ok` once it has ended as it should.
///
/// # Errors
/// [`StoreError::DamagedBackup`], [`StoreError::UnknownBackupFormat`],
/// [`StoreError::WrongPassphrase`] for another key.
pub fn open_backup(
    mut bytes: &[u8],
    key: &KeyEncryptionKey,
    mut each: impl FnMut(u8, &[u8], &[u8]),
) -> Result<(), StoreError> {
    let header = Header::read(&mut bytes)?;
    for record in Reader::start(bytes, &header, key)? {
        let record = record?;
        each(record.tree, &record.key, &record.row);
    }
    Ok(())
}
