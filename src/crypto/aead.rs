//! Records: sealed and opened with AES-256-GCM, each bound to its place.
//!
//! ```text
//! record = version (1 byte) ‖ nonce (12, random) ‖ ciphertext ‖ tag (16)
//! aad    = version ‖ vault id (16) ‖ epoch (4) ‖ tree (11, padded with zeros) ‖ name (16)
//! ```
//!
//! A record moved to another name, tree, epoch or vault does not open: the associated data binds
//! it, and but for the name the key does so too. All parts have a fixed length; together they
//! are three blocks of GHASH.

use super::CryptoError;
use crate::secret::SecretBytes;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use rand_core::TryCryptoRng;

/// The largest plaintext of a record, in bytes. Larger values would go to sled's blobs, which are never synced.
pub const RECORD_MAX: usize = 64 * 1024;

/// What a record costs beyond its plaintext, in bytes.
pub const RECORD_OVERHEAD: usize = 1 + 12 + 16;

const VERSION: u8 = 1;
const TREE_LEN: usize = 11;
const NAME_LEN: usize = 16;
/// All of the associated data but the name.
const PREFIX_LEN: usize = 1 + 16 + 4 + TREE_LEN;

/// The random id of one store, bound into every key and record of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultId(pub(crate) [u8; 16]);

impl VaultId {
    /// A fresh id.
    ///
    /// # Errors
    /// [`CryptoError::Entropy`] if the system gives no randomness.
    pub fn random(rng: &mut impl TryCryptoRng) -> Result<Self, CryptoError> {
        Ok(Self(super::random(rng)?))
    }
}

/// Seals and opens the records of one tree of one vault in one epoch. Its key is expanded once.
pub struct RecordCipher {
    cipher: Aes256Gcm,
    prefix: [u8; PREFIX_LEN],
}

impl RecordCipher {
    /// `key` must be of this very vault, epoch and tree. A longer name than the tree's field holds
    /// is cut there; the key still depends on all of it.
    pub(super) fn new(key: &[u8; 32], vault: &VaultId, epoch: u32, tree: &str) -> Self {
        let mut prefix = [0; PREFIX_LEN];
        prefix[0] = VERSION;
        prefix[1..17].copy_from_slice(&vault.0);
        prefix[17..21].copy_from_slice(&epoch.to_be_bytes());
        prefix[21..].iter_mut().zip(tree.bytes()).for_each(|(place, byte)| *place = byte);
        Self { cipher: Aes256Gcm::new(key.into()), prefix }
    }

    /// `seal[key](nonce, aad, plaintext)` with a fresh random nonce, for the record of that name.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] above [`RECORD_MAX`], [`CryptoError::Entropy`] without randomness.
    pub fn seal(
        &self,
        name: &[u8; NAME_LEN],
        plaintext: &[u8],
        rng: &mut impl TryCryptoRng,
    ) -> Result<Vec<u8>, CryptoError> {
        if plaintext.len() > RECORD_MAX {
            return Err(CryptoError::Parameter("record: at most 64 KiB"));
        }
        let nonce: [u8; 12] = super::random(rng)?;
        let mut record = Vec::with_capacity(plaintext.len() + RECORD_OVERHEAD);
        record.push(VERSION);
        record.extend_from_slice(&nonce);
        record.extend_from_slice(plaintext);
        let aad = self.associated_data(name);
        let tag = seal_detached(&self.cipher, &nonce, &aad, &mut record[13..])?;
        record.extend_from_slice(&tag);
        Ok(record)
    }

    /// Opens what [`RecordCipher::seal`] made, if it still stands in its place.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] or [`CryptoError::Version`] for what is no record,
    /// [`CryptoError::CouldNotOpen`] for an altered or moved one.
    pub fn open(&self, name: &[u8; NAME_LEN], record: &[u8]) -> Result<SecretBytes, CryptoError> {
        let refused = CryptoError::Malformed("record length");
        if record.len() > RECORD_MAX + RECORD_OVERHEAD {
            return Err(refused);
        }
        let (version, rest) = record.split_first().ok_or(refused)?;
        if *version != VERSION {
            return Err(CryptoError::Version);
        }
        let (nonce, rest) = rest.split_first_chunk().ok_or(refused)?;
        let (sealed, tag) = rest.split_last_chunk().ok_or(refused)?;
        let mut plaintext = SecretBytes::copy_of(sealed);
        open_detached(&self.cipher, nonce, &self.associated_data(name), &mut plaintext, tag)?;
        Ok(plaintext)
    }

    fn associated_data(&self, name: &[u8; NAME_LEN]) -> [u8; PREFIX_LEN + NAME_LEN] {
        let mut aad = [0; PREFIX_LEN + NAME_LEN];
        aad[..PREFIX_LEN].copy_from_slice(&self.prefix);
        aad[PREFIX_LEN..].copy_from_slice(name);
        aad
    }
}

/// `tag = AES-256-GCM[cipher](nonce, aad, buffer)`, the buffer sealed in place.
pub(super) fn seal_detached(
    cipher: &Aes256Gcm,
    nonce: &[u8; 12],
    associated_data: &[u8],
    buffer: &mut [u8],
) -> Result<[u8; 16], CryptoError> {
    cipher
        .encrypt_inout_detached(nonce.into(), associated_data, buffer.into())
        .map(Into::into)
        .map_err(|_| CryptoError::Parameter("plaintext: too long for AES-GCM"))
}

/// The reverse of [`seal_detached`]; the buffer stays sealed where the tag does not fit.
pub(super) fn open_detached(
    cipher: &Aes256Gcm,
    nonce: &[u8; 12],
    associated_data: &[u8],
    buffer: &mut [u8],
    tag: &[u8; 16],
) -> Result<(), CryptoError> {
    cipher
        .decrypt_inout_detached(nonce.into(), associated_data, buffer.into(), tag.into())
        .map_err(|_| CryptoError::CouldNotOpen)
}

#[cfg(test)]
mod tests {
    use super::super::known;
    use super::*;
    use getrandom::SysRng;

    const NAME: [u8; 16] = [9; 16];

    fn cipher() -> RecordCipher {
        RecordCipher::new(&[1; 32], &VaultId([7; 16]), 1, "tokens")
    }

    #[test]
    fn records_open_in_their_place_only() {
        let (key, vault) = ([1; 32], VaultId([7; 16]));
        let record = cipher().seal(&NAME, b"v2x secret", &mut SysRng).unwrap();
        assert_eq!(cipher().open(&NAME, &record).unwrap()[..], *b"v2x secret");
        // With the same key throughout, so that it is the associated data that refuses.
        for (place, name, cipher) in [
            ("name", [8; 16], cipher()),
            ("vault", NAME, RecordCipher::new(&key, &VaultId([8; 16]), 1, "tokens")),
            ("epoch", NAME, RecordCipher::new(&key, &vault, 2, "tokens")),
            ("tree", NAME, RecordCipher::new(&key, &vault, 1, "ledger")),
            ("key", NAME, RecordCipher::new(&[2; 32], &vault, 1, "tokens")),
        ] {
            let refused = cipher.open(&name, &record);
            assert!(matches!(refused, Err(CryptoError::CouldNotOpen)), "{place}");
        }
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let cipher = cipher();
        let record = cipher.seal(&NAME, b"secret", &mut SysRng).unwrap();
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 0x10;
            assert!(cipher.open(&NAME, &changed).is_err(), "byte {at}");
            assert!(cipher.open(&NAME, &record[..at]).is_err(), "cut at {at}");
        }
        assert!(cipher.open(&NAME, &[record.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn sizes_are_bounded_both_ways() {
        let cipher = cipher();
        let largest = vec![1; RECORD_MAX];
        let record = cipher.seal(&NAME, &largest, &mut SysRng).unwrap();
        assert_eq!(cipher.open(&NAME, &record).unwrap()[..], largest);
        assert!(cipher.seal(&NAME, &vec![1; RECORD_MAX + 1], &mut SysRng).is_err());
        assert!(cipher.open(&NAME, &vec![1; RECORD_MAX + RECORD_OVERHEAD + 1]).is_err());
    }

    /// NIST's and Wycheproof's: sealed to the very bytes, opened again, the altered refused.
    #[test]
    fn others_aes_gcm_answers_come_out() {
        let file = include_str!("../../tests/vectors/known/aes_gcm.json");
        let (mut valid, mut invalid) = (0, 0);
        for case in known::cases(file, "cases") {
            let part = |field| known::bytes(&case, field);
            let cipher = Aes256Gcm::new_from_slice(&part("key")).unwrap();
            let nonce = part("iv").try_into().unwrap();
            let tag = part("tag").try_into().unwrap();
            let (aad, plaintext, ciphertext) = (part("aad"), part("msg"), part("ct"));

            let mut opened = ciphertext.clone();
            let result = open_detached(&cipher, &nonce, &aad, &mut opened, &tag);
            if !known::is_valid(&case) {
                assert_eq!(result, Err(CryptoError::CouldNotOpen), "{case}");
                invalid += 1;
                continue;
            }
            assert_eq!((result, opened), (Ok(()), plaintext.clone()), "{case}");
            let mut sealed = plaintext;
            let made = seal_detached(&cipher, &nonce, &aad, &mut sealed).unwrap();
            assert_eq!((sealed, made), (ciphertext, tag), "{case}");
            valid += 1;
        }
        assert_eq!((valid, invalid), (114, 27));
    }
}
