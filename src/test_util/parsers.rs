//! Readers of bytes that an attacker may have written, as far as they are private: for fuzz targets.

use crate::api::{ApiError, Asked, RawAnswer, Success};
use crate::crypto::{CryptoError, DataKey, KdfParams, KeyEncryptionKey, Salt, VaultId};
use crate::secret::SecretBytes;
use crate::store::{self, StoreError};
use chrono::{DateTime, Utc};
use getrandom::SysRng;

/// The header of a vault's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreHeader(store::Header);

impl StoreHeader {
    /// A new vault's header, under `key`, with a data key of its own.
    ///
    /// # Errors
    /// [`CryptoError::Entropy`] if the system gives no randomness.
    pub fn seal(key: &KeyEncryptionKey, kdf: KdfParams, salt: Salt) -> Result<Self, CryptoError> {
        let rng = &mut SysRng;
        let mut header = store::Header::new(VaultId::random(rng)?, kdf, salt);
        header.seal(key, &DataKey::generate(rng)?, None, rng)?;
        Ok(Self(header))
    }

    /// Parses a header; the passphrase is not asked for.
    ///
    /// # Errors
    /// [`StoreError::DamagedHeader`] or [`StoreError::UnknownFormat`].
    pub fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        store::Header::parse(bytes).map(Self)
    }

    /// The header as it stands on disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// Unwraps the data key.
    ///
    /// # Errors
    /// [`StoreError::WrongPassphrase`] for another key, or a header that was altered.
    pub fn unseal(&self, key: &KeyEncryptionKey) -> Result<DataKey, StoreError> {
        self.0.unseal(key).map(|(data_key, _)| data_key)
    }
}

/// A slot of an anchor: read, and written again.
pub fn recode_anchor(slot: &[u8]) -> Option<Vec<u8>> {
    store::recode_anchor(slot)
}

/// What a `LOCK` file says of its holder: read, and written again.
pub fn recode_holder(text: &str) -> Option<String> {
    store::recode_holder(text)
}

/// The bytes of an opened record as each kind of row that they are, by its name: read, and
/// written again.
pub fn recode_rows(bytes: &[u8]) -> Vec<(&'static str, SecretBytes)> {
    store::recode_rows(bytes)
}

/// A token's row, read into the words of the vault, and written again from those.
pub fn recode_token_info(bytes: &[u8]) -> Option<SecretBytes> {
    store::recode_token_info(bytes)
}

/// Believes an answer, or says why not, as the client does with all that comes off the wire.
///
/// # Errors
/// The refusal, sorted, or [`ApiError::Untrusted`].
pub fn judge(
    answer: RawAnswer,
    asked: &Asked<'_>,
    now: DateTime<Utc>,
) -> Result<Success, ApiError> {
    answer.judge(asked, now)
}
