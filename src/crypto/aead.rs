//! Records: sealed and opened with AES-256-GCM, each bound to its place.
//!
//! ```text
//! record = version (1 byte) ‖ nonce (12, random) ‖ ciphertext ‖ tag (16)
//! aad    = version ‖ vault id (16) ‖ epoch (4) ‖ tree length (1) ‖ tree ‖ name (16)
//! ```
//!
//! A record moved to another name, tree, epoch or vault does not open. All parts of the
//! associated data but the tree have a fixed length, and the tree's is written before it.

use super::CryptoError;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

/// The largest plaintext of a record, in bytes. Larger values would go to sled's blobs, which are never synced.
pub const RECORD_MAX: usize = 64 * 1024;

/// What a record costs beyond its plaintext, in bytes.
pub const RECORD_OVERHEAD: usize = 1 + 12 + 16;

const VERSION: u8 = 1;
const TREE_NAME_MAX: usize = 16;

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

/// Where a record stands: its vault, epoch, tree and name.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The vault's id.
    pub vault: &'a VaultId,
    /// The epoch of the data key.
    pub epoch: u32,
    /// The tree; at most 16 bytes.
    pub tree: &'static str,
    /// The record's name within the tree.
    pub name: &'a [u8; 16],
}

impl Place<'_> {
    /// The associated data, and how much of the buffer it takes.
    fn associated_data(&self) -> Result<([u8; 38 + TREE_NAME_MAX], usize), CryptoError> {
        let mut aad = [0; 38 + TREE_NAME_MAX];
        let tree = self.tree.as_bytes();
        if tree.len() > TREE_NAME_MAX {
            return Err(CryptoError::Parameter("tree: at most 16 bytes"));
        }
        let (head, rest) = aad.split_at_mut(22);
        head[0] = VERSION;
        head[1..17].copy_from_slice(&self.vault.0);
        head[17..21].copy_from_slice(&self.epoch.to_be_bytes());
        head[21] = u8::try_from(tree.len()).unwrap_or(u8::MAX);
        rest[..tree.len()].copy_from_slice(tree);
        rest[tree.len()..tree.len() + 16].copy_from_slice(self.name);
        Ok((aad, 38 + tree.len()))
    }
}

/// Seals and opens the records of one tree. Its key is expanded once.
pub struct RecordCipher(Aes256Gcm);

impl RecordCipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// `seal[key](nonce, aad, plaintext)` with a fresh random nonce.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] above [`RECORD_MAX`], [`CryptoError::Entropy`] without randomness.
    pub fn seal(
        &self,
        place: Place<'_>,
        plaintext: &[u8],
        rng: &mut impl TryCryptoRng,
    ) -> Result<Vec<u8>, CryptoError> {
        if plaintext.len() > RECORD_MAX {
            return Err(CryptoError::Parameter("record: at most 64 KiB"));
        }
        let nonce: [u8; 12] = super::random(rng)?;
        let (aad, aad_len) = place.associated_data()?;
        let mut record = Vec::with_capacity(plaintext.len() + RECORD_OVERHEAD);
        record.push(VERSION);
        record.extend_from_slice(&nonce);
        record.extend_from_slice(plaintext);
        let tag = seal_detached(&self.0, &nonce, &aad[..aad_len], &mut record[13..])?;
        record.extend_from_slice(&tag);
        Ok(record)
    }

    /// Opens what [`RecordCipher::seal`] made, if it still stands in its place.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] or [`CryptoError::Version`] for what is no record,
    /// [`CryptoError::CouldNotOpen`] for an altered or moved one.
    pub fn open(&self, place: Place<'_>, record: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
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
        let (aad, aad_len) = place.associated_data()?;
        let mut plaintext = Zeroizing::new(sealed.to_vec());
        open_detached(&self.0, nonce, &aad[..aad_len], &mut plaintext, tag)?;
        Ok(plaintext)
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

    const VAULT: VaultId = VaultId([7; 16]);
    const PLACE: Place<'static> = Place { vault: &VAULT, epoch: 1, tree: "tokens", name: &[9; 16] };

    #[test]
    fn records_open_in_their_place_only() {
        let cipher = RecordCipher::new(&[1; 32]);
        let record = cipher.seal(PLACE, b"v2x secret", &mut SysRng).unwrap();
        assert_eq!(cipher.open(PLACE, &record).unwrap().as_slice(), b"v2x secret");
        for moved in [
            Place { vault: &VaultId([8; 16]), ..PLACE },
            Place { epoch: 2, ..PLACE },
            Place { tree: "ledger", ..PLACE },
            Place { name: &[8; 16], ..PLACE },
        ] {
            assert_eq!(cipher.open(moved, &record), Err(CryptoError::CouldNotOpen), "{moved:?}");
        }
        assert!(RecordCipher::new(&[2; 32]).open(PLACE, &record).is_err());
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let cipher = RecordCipher::new(&[1; 32]);
        let record = cipher.seal(PLACE, b"secret", &mut SysRng).unwrap();
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 0x10;
            assert!(cipher.open(PLACE, &changed).is_err(), "byte {at}");
            assert!(cipher.open(PLACE, &record[..at]).is_err(), "cut at {at}");
        }
        assert!(cipher.open(PLACE, &[record.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn sizes_are_bounded_both_ways() {
        let cipher = RecordCipher::new(&[1; 32]);
        let largest = vec![1; RECORD_MAX];
        let record = cipher.seal(PLACE, &largest, &mut SysRng).unwrap();
        assert_eq!(cipher.open(PLACE, &record).unwrap().as_slice(), largest);
        assert!(cipher.seal(PLACE, &vec![1; RECORD_MAX + 1], &mut SysRng).is_err());
        assert!(cipher.open(PLACE, &vec![1; RECORD_MAX + RECORD_OVERHEAD + 1]).is_err());
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
