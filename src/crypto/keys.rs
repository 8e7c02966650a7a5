//! The key hierarchy below the passphrase.
//!
//! ```text
//! passphrase ──Argon2id──> KeyEncryptionKey ──AES-256-GCM unwrap──> DataKey (random, one per epoch)
//! DataKey ──HKDF-SHA256, info = "bitgo-vault/1" ‖ vault id ‖ epoch ‖ purpose──>
//!     "seal/" ‖ tree: a RecordCipher      "names", "set", "anchor": a MacKey each
//! ```
//!
//! Every key is made in locked memory, in place. Ciphers are expanded from them on the stack and
//! moved in; the stack is wiped after that.

use super::CryptoError;
use super::aead::{RecordCipher, VaultId, open_detached, seal_detached};
use super::midstate::HmacKey;
use super::stack::wiped_shallow;
use crate::locked::{LockLevel, Locked};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::KeyInit;
use hkdf::Hkdf;
use rand_core::TryCryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The length of a wrapped data key: nonce, key, tag.
pub const WRAPPED_LEN: usize = 12 + 32 + 16;

pub(super) const NO_MEMORY: CryptoError = CryptoError::Key("the system gives no memory for it");

/// The key that wraps data keys, derived from the passphrase.
pub struct KeyEncryptionKey(Locked<Aes256Gcm>);

impl KeyEncryptionKey {
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self, CryptoError> {
        Ok(Self(Locked::new(Aes256Gcm::new(key.into())).map_err(|_| NO_MEMORY)?))
    }

    /// `nonce ‖ AES-256-GCM[KEK](nonce, associated_data, data key)`.
    ///
    /// # Errors
    /// [`CryptoError::Entropy`] if the system gives no randomness.
    pub fn wrap(
        &self,
        data_key: &DataKey,
        associated_data: &[u8],
        rng: &mut impl TryCryptoRng,
    ) -> Result<[u8; WRAPPED_LEN], CryptoError> {
        let nonce: [u8; 12] = super::random(rng)?;
        let mut wrapped = [0; WRAPPED_LEN];
        wrapped[..12].copy_from_slice(&nonce);
        wrapped[12..44].copy_from_slice(&data_key.0[..]);
        let sealed = &mut wrapped[12..44];
        let tag = wiped_shallow(|| seal_detached(&self.0, &nonce, associated_data, sealed))?;
        wrapped[44..].copy_from_slice(&tag);
        Ok(wrapped)
    }

    /// Opens what [`KeyEncryptionKey::wrap`] made.
    ///
    /// # Errors
    /// [`CryptoError::CouldNotOpen`] for another passphrase or altered bytes.
    pub fn unwrap(
        &self,
        wrapped: &[u8; WRAPPED_LEN],
        associated_data: &[u8],
    ) -> Result<DataKey, CryptoError> {
        let (nonce, rest) = wrapped.split_first_chunk().ok_or(CryptoError::CouldNotOpen)?;
        let (sealed, tag) = rest.split_last_chunk().ok_or(CryptoError::CouldNotOpen)?;
        let mut key = blank()?;
        key.copy_from_slice(sealed);
        wiped_shallow(|| open_detached(&self.0, nonce, associated_data, &mut *key, tag))?;
        Ok(DataKey(key))
    }
}

/// The random key under which one epoch of a store is sealed.
pub struct DataKey(Locked<[u8; 32]>);

impl DataKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`CryptoError::Entropy`] if the system gives no randomness.
    pub fn generate(rng: &mut impl TryCryptoRng) -> Result<Self, CryptoError> {
        let mut key = blank()?;
        rng.try_fill_bytes(&mut *key).map_err(|_| CryptoError::Entropy)?;
        Ok(Self(key))
    }

    /// `HKDF-SHA256(ikm = data key, salt = none, info = "bitgo-vault/1" ‖ vault id ‖ epoch ‖ purpose)`.
    fn derive(&self, vault: &VaultId, epoch: u32, purpose: [&str; 2], key: &mut [u8; 32]) {
        let [purpose, of] = purpose.map(str::as_bytes);
        Hkdf::<Sha256>::new(None, &self.0[..])
            .expand_multi_info(
                &[b"bitgo-vault/1", &vault.0, &epoch.to_be_bytes(), purpose, of],
                key,
            )
            .expect("32 bytes are far below HKDF's limit of 255 blocks");
    }

    /// `HKDF-SHA256(ikm = data key, salt = none, info = "bitgo-vault/1" ‖ header ‖ "backup")`: the
    /// key of the one stream that a data key of its own is used for. Headers are all of one length.
    pub(super) fn derive_for_stream(&self, header: &[u8], key: &mut [u8; 32]) {
        Hkdf::<Sha256>::new(None, &self.0[..])
            .expand_multi_info(&[b"bitgo-vault/1", header, b"backup"], key)
            .expect("32 bytes are far below HKDF's limit of 255 blocks");
    }

    /// The cipher of one tree.
    pub fn record_cipher(&self, vault: &VaultId, epoch: u32, tree: &str) -> RecordCipher {
        wiped_shallow(|| {
            let mut key = Zeroizing::new([0; 32]);
            self.derive(vault, epoch, ["seal/", tree], &mut key);
            RecordCipher::new(&key, vault, epoch, tree)
        })
    }

    /// The key of one purpose's MACs.
    pub fn mac_key(&self, vault: &VaultId, epoch: u32, purpose: &str) -> MacKey {
        wiped_shallow(|| {
            let mut key = Zeroizing::new([0; 32]);
            self.derive(vault, epoch, [purpose, ""], &mut key);
            MacKey(HmacKey::new(&key[..]))
        })
    }

    /// How well keys are kept in memory here.
    pub fn lock_level(&self) -> LockLevel {
        self.0.level()
    }
}

/// Locked memory for a key that is still to be written.
fn blank() -> Result<Locked<[u8; 32]>, CryptoError> {
    Locked::new([0; 32]).map_err(|_| NO_MEMORY)
}

/// Authenticates byte strings for one purpose: `HMAC-SHA256[key](parts)`.
pub struct MacKey(HmacKey);

impl MacKey {
    /// The MAC of the parts, one after the other: what tells them apart is the caller's.
    ///
    /// # Security
    /// The key's state stays on the stack: whoever calls it wipes that.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut message = self.0.message();
        parts.iter().for_each(|part| message.update(part));
        message.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use getrandom::SysRng;

    #[test]
    fn keys_unwrap_only_under_the_same_key_and_header() {
        let kek = KeyEncryptionKey::new(&[1; 32]).unwrap();
        let data_key = DataKey::generate(&mut SysRng).unwrap();
        let wrapped = kek.wrap(&data_key, b"header", &mut SysRng).unwrap();
        assert_eq!(*kek.unwrap(&wrapped, b"header").unwrap().0, *data_key.0);
        assert!(kek.unwrap(&wrapped, b"Header").is_err());
        assert!(KeyEncryptionKey::new(&[2; 32]).unwrap().unwrap(&wrapped, b"header").is_err());
        for at in 0..WRAPPED_LEN {
            let mut changed = wrapped;
            changed[at] ^= 1;
            assert!(kek.unwrap(&changed, b"header").is_err(), "byte {at}");
        }
    }

    #[test]
    fn vault_epoch_and_tree_each_change_the_key() {
        let key = DataKey(Locked::new([3; 32]).unwrap());
        let (one, two) = (VaultId([1; 16]), VaultId([2; 16]));
        let derive = |vault, epoch, tree| {
            let mut derived = [0; 32];
            key.derive(vault, epoch, ["seal/", tree], &mut derived);
            derived
        };
        let base = derive(&one, 0, "tokens");
        assert_eq!(base, derive(&one, 0, "tokens"));
        assert_ne!(base, derive(&two, 0, "tokens"));
        assert_ne!(base, derive(&one, 1, "tokens"));
        assert_ne!(base, derive(&one, 0, "ledger"));
        let mac = |purpose| key.mac_key(&one, 0, purpose).mac(&[b"a", b"bc"]);
        assert_eq!(mac("names"), key.mac_key(&one, 0, "names").mac(&[b"abc"]));
        assert_ne!(mac("names"), mac("set"));
        assert_ne!(mac("names"), key.mac_key(&two, 0, "names").mac(&[b"abc"]));
    }
}
