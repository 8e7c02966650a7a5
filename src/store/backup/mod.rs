//! A backup: every record of a store in one file, sealed and authenticated as a whole.
//!
//! ```text
//! offset  size
//!      0     8  magic "BGBACKUP"
//!      8     2  format, 1
//!     10    16  vault id of the origin
//!     26     8  sequence of the origin's head
//!     34    12  Argon2id costs m (KiB), t, p
//!     46    16  salt
//!     62    60  wrapped file key: nonce ‖ key ‖ tag, associated data = bytes 0 to 61
//!    122    32  SHA-256 of bytes 0 to 121
//!    154        chunks (crypto/stream.rs): 64 KiB and a tag (16) each, the last one what is left;
//!               their key is made of the file key and bytes 0 to 121. In them, across them:
//!
//!   record   tree (1, below 255) ‖ key length (2, ≤ 512) ‖ key ‖ row length (4, ≤ 64 KiB) ‖ row
//!   key      0 ‖ id (16), or 1 ‖ text: what the record's name is made of (store/mod.rs)
//!   trailer  255 ‖ 0 (2) ‖ row length (4) ‖ per tree that has records, ascending: tree (1) ‖ how many (8)
//! ```
//!
//! All integers are big-endian. The file key is random and used for this file alone. In clear stand
//! the header and, by its length, about how much was kept. A wrong checksum means damage; a right
//! one under which the key does not unwrap means a wrong passphrase.

mod reader;
mod target;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use reader::Reader;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use writer::Sealer;
pub(crate) use writer::Writer;

use super::StoreError;
use crate::crypto::{
    CryptoError, DataKey, KdfParams, KeyEncryptionKey, RECORD_MAX, Salt, VaultId, WRAPPED_LEN,
};
use crate::secret::SecretBytes;
use rand_core::TryCryptoRng;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;

const MAGIC: [u8; 8] = *b"BGBACKUP";
const FORMAT: u16 = 1;
const ORIGIN_LEN: usize = 62;
const CONTENT_LEN: usize = ORIGIN_LEN + WRAPPED_LEN;
const LEN: usize = CONTENT_LEN + 32;

/// The longest key of a record, in bytes.
const KEY_MAX: usize = 512;
const ROW_MAX: usize = RECORD_MAX;
/// What stands in a tree's place at the end.
const TRAILER: u8 = u8::MAX;

/// What a backup says of where it comes from. It tells before the passphrase is asked for, and is
/// vouched for once that has opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) vault_id: VaultId,
    /// That of the store's head when the backup was begun.
    pub(crate) sequence: u64,
    pub(crate) kdf: KdfParams,
    pub(crate) salt: Salt,
}

/// One record as it stood in its tree, opened.
#[derive(Debug)]
pub(crate) struct Record {
    /// The number of the tree. The store says what it means; on disk it means so for good.
    pub(crate) tree: u8,
    pub(crate) key: Vec<u8>,
    pub(crate) row: SecretBytes,
}

pub(crate) struct Header {
    pub(crate) origin: Origin,
    wrapped: [u8; WRAPPED_LEN],
}

impl Header {
    /// The header of a new backup, and its file key.
    fn seal(
        origin: Origin,
        key: &KeyEncryptionKey,
        rng: &mut impl TryCryptoRng,
    ) -> Result<(Self, DataKey), CryptoError> {
        let file_key = DataKey::generate(rng)?;
        let wrapped = key.wrap(&file_key, &origin.to_bytes(), rng)?;
        Ok((Self { origin, wrapped }, file_key))
    }

    fn unseal(&self, key: &KeyEncryptionKey) -> Result<DataKey, StoreError> {
        key.unwrap(&self.wrapped, &self.origin.to_bytes()).map_err(|error| match error {
            CryptoError::CouldNotOpen => StoreError::WrongPassphrase,
            other => other.into(),
        })
    }

    /// All but the checksum: what the stream is bound to.
    fn content(&self) -> [u8; CONTENT_LEN] {
        let mut bytes = [0; CONTENT_LEN];
        bytes[..ORIGIN_LEN].copy_from_slice(&self.origin.to_bytes());
        bytes[ORIGIN_LEN..].copy_from_slice(&self.wrapped);
        bytes
    }

    fn to_bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let (content, sum) = bytes.split_at_mut(CONTENT_LEN);
        content.copy_from_slice(&self.content());
        sum.copy_from_slice(&Sha256::digest(content));
        bytes
    }

    fn parse(bytes: &[u8; LEN]) -> Result<Self, StoreError> {
        let (content, sum) = bytes.split_at(CONTENT_LEN);
        let is_whole = |content: &[u8]| Sha256::digest(content).as_slice() == sum;
        let mut fields = Fields(content);
        if fields.take() != MAGIC {
            return Err(damaged("it is no backup"));
        }
        let version = u16::from_be_bytes(fields.take());
        if version != FORMAT {
            // Of another format nothing more is known, but that it is not this one's with a bad number.
            let as_this = [&MAGIC, &FORMAT.to_be_bytes()[..], &content[10..]].concat();
            return Err(match is_whole(&as_this) {
                true => damaged("its checksum"),
                false => StoreError::UnknownBackupFormat { version },
            });
        }
        if !is_whole(content) {
            return Err(damaged("its checksum"));
        }
        let vault_id = VaultId(fields.take());
        let sequence = u64::from_be_bytes(fields.take());
        let [m, t, p] = [fields.take(), fields.take(), fields.take()].map(u32::from_be_bytes);
        let kdf = KdfParams::new(m, t, p).map_err(|_| damaged("its key derivation costs"))?;
        let salt = Salt(fields.take());
        let origin = Origin { vault_id, sequence, kdf, salt };
        Ok(Self { origin, wrapped: fields.take() })
    }

    pub(crate) fn read(source: &mut impl Read) -> Result<Self, StoreError> {
        let mut bytes = [0; LEN];
        match source.read_exact(&mut bytes) {
            Ok(()) => Self::parse(&bytes),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(damaged("it ends within its header"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Origin {
    /// The bytes that the wrapped file key is bound to.
    fn to_bytes(self) -> [u8; ORIGIN_LEN] {
        let mut bytes = [0; ORIGIN_LEN];
        let mut rest = &mut bytes[..];
        let mut put = |field: &[u8]| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = after;
        };
        put(&MAGIC);
        put(&FORMAT.to_be_bytes());
        put(&self.vault_id.0);
        put(&self.sequence.to_be_bytes());
        for cost in [self.kdf.m_cost(), self.kdf.t_cost(), self.kdf.p_cost()] {
            put(&cost.to_be_bytes());
        }
        put(&self.salt.0);
        bytes
    }
}

/// The fields of a header, which is as long as they are together.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the lengths add up to the header's");
        self.0 = rest;
        *field
    }
}

/// How many records each tree has, if any.
#[derive(Default)]
struct Counts(BTreeMap<u8, u64>);

impl Counts {
    fn note(&mut self, tree: u8) {
        *self.0.entry(tree).or_default() += 1;
    }

    /// The row of the trailer.
    fn to_row(&self) -> Vec<u8> {
        let pair = |(tree, count): (&u8, &u64)| {
            let mut pair = [*tree; 9];
            pair[1..].copy_from_slice(&count.to_be_bytes());
            pair
        };
        self.0.iter().flat_map(pair).collect()
    }
}

fn damaged(what: &'static str) -> StoreError {
    StoreError::DamagedBackup { what }
}
