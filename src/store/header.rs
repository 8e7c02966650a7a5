//! The header: all that is readable without the passphrase.
//!
//! ```text
//! offset  size
//!      0     8  magic "BGVAULT\0"
//!      8     2  format, 1
//!     10     8  generation: rewrites so far
//!     18    16  vault id
//!     34    12  Argon2id costs m (KiB), t, p
//!     46    16  salt
//!     62     4  epoch in use
//!     66     8  seals granted under this epoch's data key
//!     74     1  wrapped data keys that follow: 1, or 2 while a rekey is finished
//!     75    64  epoch in use (4) ‖ its data key: nonce (12) ‖ key (32) ‖ tag (16),
//!               associated data = bytes 0 to 78
//!  [ 139    64  the epoch before (4) ‖ its data key, associated data = bytes 0 to 142 ]
//!      n    32  SHA-256 of bytes 0 to n - 1
//! ```
//!
//! All integers are big-endian. A wrong checksum means damage; a right one under which the key
//! does not unwrap means a wrong passphrase. It is replaced whole: temporary file, sync,
//! rename, sync of the directory.

use super::StoreError;
use crate::crypto::{
    CryptoError, DataKey, KdfParams, KeyEncryptionKey, Salt, VaultId, WRAPPED_LEN,
};
use rand_core::TryCryptoRng;
use sha2::{Digest, Sha256};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) const FILE: &str = "header";
/// What a kill may leave behind: nothing reads it, and the next rewrite replaces it.
pub(super) const TEMPORARY: &str = "header.new";

const MAGIC: [u8; 8] = *b"BGVAULT\0";
const FORMAT: u16 = 1;
/// The length with one wrapped key, and what another one adds.
const LEN: usize = 75 + WRAP_LEN + 32;
const WRAP_LEN: usize = 4 + WRAPPED_LEN;

/// A data key as it stands in the header, and its epoch.
type Wrapped = (u32, [u8; WRAPPED_LEN]);

/// A data key and its epoch.
pub(super) type EpochKey = (u32, DataKey);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(super) generation: u64,
    pub(super) vault_id: VaultId,
    pub(super) kdf: KdfParams,
    pub(super) salt: Salt,
    pub(super) epoch: u32,
    /// Seals granted so far: an upper bound of those made.
    pub(super) seals: u64,
    in_use: [u8; WRAPPED_LEN],
    /// What an unfinished rekey still reads.
    before: Option<Wrapped>,
}

impl Header {
    pub(crate) fn new(vault_id: VaultId, kdf: KdfParams, salt: Salt) -> Self {
        let in_use = [0; WRAPPED_LEN];
        Self { generation: 1, vault_id, kdf, salt, epoch: 0, seals: 0, in_use, before: None }
    }

    /// The header that replaces this one, once it is sealed.
    pub(super) fn next(&self) -> Self {
        Self { generation: self.generation + 1, ..self.clone() }
    }

    /// Whether it wraps two data keys: a rekey was begun and not finished.
    pub(super) fn is_rekeying(&self) -> bool {
        self.before.is_some()
    }

    /// Wraps the data keys anew, which binds everything before them.
    pub(crate) fn seal(
        &mut self,
        key: &KeyEncryptionKey,
        data_key: &DataKey,
        before: Option<(u32, &DataKey)>,
        rng: &mut impl TryCryptoRng,
    ) -> Result<(), CryptoError> {
        // The number of keys is bound as well, so it must stand before the first is wrapped.
        self.before = before.map(|(epoch, _)| (epoch, [0; WRAPPED_LEN]));
        let mut bytes = self.bound();
        self.in_use = key.wrap(data_key, &bytes, rng)?;
        bytes.extend_from_slice(&self.in_use);
        if let Some((epoch, before)) = before {
            bytes.extend_from_slice(&epoch.to_be_bytes());
            self.before = Some((epoch, key.wrap(before, &bytes, rng)?));
        }
        Ok(())
    }

    /// The data key in use, and that of the epoch before where a rekey is unfinished.
    pub(crate) fn unseal(
        &self,
        key: &KeyEncryptionKey,
    ) -> Result<(DataKey, Option<EpochKey>), StoreError> {
        let refused = |error| match error {
            CryptoError::CouldNotOpen => StoreError::WrongPassphrase,
            other => other.into(),
        };
        let mut bytes = self.bound();
        let in_use = key.unwrap(&self.in_use, &bytes).map_err(refused)?;
        let Some((epoch, wrapped)) = &self.before else { return Ok((in_use, None)) };
        bytes.extend_from_slice(&self.in_use);
        bytes.extend_from_slice(&epoch.to_be_bytes());
        let before = key.unwrap(wrapped, &bytes).map_err(refused)?;
        Ok((in_use, Some((*epoch, before))))
    }

    /// All before the first wrapped key.
    fn bound(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN + WRAP_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.vault_id.0);
        for cost in [self.kdf.m_cost(), self.kdf.t_cost(), self.kdf.p_cost()] {
            bytes.extend_from_slice(&cost.to_be_bytes());
        }
        bytes.extend_from_slice(&self.salt.0);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.seals.to_be_bytes());
        bytes.push(1 + u8::from(self.before.is_some()));
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.bound();
        bytes.extend_from_slice(&self.in_use);
        if let Some((epoch, wrapped)) = &self.before {
            bytes.extend_from_slice(&epoch.to_be_bytes());
            bytes.extend_from_slice(wrapped);
        }
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |what| StoreError::DamagedHeader { what };
        let mut rest = bytes.strip_prefix(&MAGIC).ok_or(damaged("it is no vault header"))?;
        let format = u16::from_be_bytes(take(&mut rest)?);
        let fits = [LEN, LEN + WRAP_LEN].contains(&bytes.len());
        // A later format may have another length, so the version is read before the sum.
        if format != FORMAT && !fits {
            return Err(StoreError::UnknownFormat { version: format });
        }
        if !fits {
            return Err(damaged("its length"));
        }
        let (content, sum) = bytes.split_at(bytes.len() - 32);
        if Sha256::digest(content).as_slice() != sum {
            return Err(damaged("its checksum"));
        }
        if format != FORMAT {
            return Err(StoreError::UnknownFormat { version: format });
        }
        let generation = u64::from_be_bytes(take(&mut rest)?);
        let vault_id = VaultId(take(&mut rest)?);
        let [m, t, p] =
            [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u32::from_be_bytes);
        let kdf = KdfParams::new(m, t, p).map_err(|_| damaged("its key derivation costs"))?;
        let salt = Salt(take(&mut rest)?);
        let epoch = u32::from_be_bytes(take(&mut rest)?);
        let seals = u64::from_be_bytes(take(&mut rest)?);
        let [keys] = take(&mut rest)?;
        let (first, in_use) = (u32::from_be_bytes(take(&mut rest)?), take(&mut rest)?);
        let before = match rest.len() == 32 {
            true => None,
            false => Some((u32::from_be_bytes(take(&mut rest)?), take(&mut rest)?)),
        };
        let is_before = |(number, _): &Wrapped| epoch.checked_sub(1) == Some(*number);
        if keys != 1 + u8::from(before.is_some())
            || first != epoch
            || !before.as_ref().is_none_or(is_before)
        {
            return Err(damaged("its data keys"));
        }
        Ok(Self { generation, vault_id, kdf, salt, epoch, seals, in_use, before })
    }

    pub(super) fn read(dir: &Path) -> Result<Self, StoreError> {
        let file = match fs::File::open(dir.join(FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::DamagedHeader { what: "it is missing beside a database" });
            }
            other => other?,
        };
        let mut bytes = Vec::with_capacity(LEN);
        file.take(4096).read_to_end(&mut bytes)?;
        Self::parse(&bytes)
    }

    /// Writes it beside the one in use, where nothing reads it. After an error nothing has changed.
    pub(super) fn prepare(&self, dir: &Path) -> Result<Prepared, StoreError> {
        let temporary = dir.join(TEMPORARY);
        let written = self.write_to(&temporary).and_then(|()| {
            // Opened now, so that nothing is missing to sync it once the header is in its place.
            let directory = fs::File::open(dir)?;
            Ok(Prepared { temporary: temporary.clone(), header: dir.join(FILE), directory })
        });
        if written.is_err() {
            // Left there it would do no harm, but on a full disk it is in the way.
            let _ = fs::remove_file(&temporary);
        }
        Ok(written?)
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&self.to_bytes())?;
        file.sync_all()
    }
}

/// A header that is whole and synced, but not yet in use.
#[must_use]
pub(super) struct Prepared {
    temporary: PathBuf,
    header: PathBuf,
    pub(super) directory: fs::File,
}

impl Prepared {
    /// Puts it in the place of the one in use. After an error either of the two may be found there.
    pub(super) fn install(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.header)?;
        self.directory.sync_all()
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StoreError> {
    let (head, tail) =
        rest.split_first_chunk().ok_or(StoreError::DamagedHeader { what: "its length" })?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::key_encryption_key;
    use crate::secret::Passphrase;
    use getrandom::SysRng;

    /// A header, with an unfinished rekey or without one.
    fn sealed(rekeys: bool) -> (Header, KeyEncryptionKey) {
        let kdf = KdfParams::new(8, 1, 1).unwrap();
        let salt = Salt([3; 16]);
        let key = key_encryption_key(&Passphrase::new("p"), &salt, kdf).unwrap();
        let [data_key, before] = [(); 2].map(|()| DataKey::generate(&mut SysRng).unwrap());
        let mut header = Header::new(VaultId([7; 16]), kdf, salt);
        (header.epoch, header.seals) = (5, 1024);
        header.seal(&key, &data_key, rekeys.then_some((4, &before)), &mut SysRng).unwrap();
        (header, key)
    }

    #[test]
    fn headers_are_read_as_written() {
        for rekeys in [false, true] {
            let (header, key) = sealed(rekeys);
            let read = Header::parse(&header.to_bytes()).unwrap();
            assert_eq!(read, header);
            assert_eq!(read.unseal(&key).unwrap().1.map(|before| before.0), rekeys.then_some(4));
        }
    }

    #[test]
    fn damage_is_told_apart_from_a_wrong_passphrase() {
        for rekeys in [false, true] {
            let (header, _) = sealed(rekeys);
            let other =
                key_encryption_key(&Passphrase::new("q"), &header.salt, header.kdf).unwrap();
            assert!(matches!(header.unseal(&other), Err(StoreError::WrongPassphrase)));
            let bytes = header.to_bytes();
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                let error = Header::parse(&flipped).unwrap_err();
                assert!(matches!(error, StoreError::DamagedHeader { .. }), "byte {at}: {error}");
                assert!(Header::parse(&bytes[..at]).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn a_header_rewritten_with_other_values_does_not_unwrap() {
        let (whole, key) = sealed(true);
        let rewritten = |change: fn(&mut Header)| {
            let mut header = whole.clone();
            change(&mut header);
            let sum_fits = Header::parse(&header.to_bytes()).unwrap();
            assert!(matches!(sum_fits.unseal(&key), Err(StoreError::WrongPassphrase)));
        };
        rewritten(|header| header.seals += 1);
        rewritten(|header| header.generation -= 1);
        rewritten(|header| header.before = None);
        rewritten(|header| header.before = Some((4, header.in_use)));
    }

    #[test]
    fn keys_of_other_epochs_are_damage() {
        let (whole, _) = sealed(true);
        for (epoch, before) in [(5, 3), (5, 5), (5, 6), (0, u32::MAX)] {
            let mut header = whole.clone();
            header.epoch = epoch;
            header.before = Some((before, [0; WRAPPED_LEN]));
            let refused = Header::parse(&header.to_bytes());
            assert!(matches!(refused, Err(StoreError::DamagedHeader { what: "its data keys" })));
        }
    }

    #[test]
    fn later_formats_are_named() {
        let mut bytes = sealed(false).0.to_bytes();
        bytes[9] = 2;
        bytes.push(0);
        assert!(matches!(Header::parse(&bytes), Err(StoreError::UnknownFormat { version: 2 })));
    }
}
