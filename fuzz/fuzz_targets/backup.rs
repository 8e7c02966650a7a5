//! Any bytes as a backup are refused by type, or read in the memory of a chunk and two records; a
//! true one comes back as its records, and altered anywhere, its checksum mended or not, it never
//! ends. Any plaintext in its chunks is refused, or is byte for byte what a backup of the records
//! read from it holds.
//!
//! Input: the bytes of a backup; they are also taken as its plaintext, as records (tree, length of
//! the key, length of the row; key and row), and as changes (where, how) to the backup of those.

#![no_main]

use bitgo_vault::crypto::{
    CHUNK_LEN, CHUNK_OVERHEAD, KdfParams, KeyEncryptionKey, OpeningStream, RECORD_MAX, Salt,
    SealingStream, key_encryption_key,
};
use bitgo_vault::test_util::{open_backup, seal_backup};
use bitgo_vault::{Passphrase, StoreError};
use bitgo_vault_fuzz::{Script, peak_heap};
use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// As src/store/backup/mod.rs draws them.
const WRAPPED_AT: usize = 62;
const CONTENT_LEN: usize = 122;
const HEADER_LEN: usize = CONTENT_LEN + 32;
const TRAILER: u8 = 255;

/// A chunk, a row, its key and what counts them.
const HEAP_MAX: usize = CHUNK_LEN + RECORD_MAX + 16 * 1024;

struct True {
    key: KeyEncryptionKey,
    kdf: KdfParams,
    salt: Salt,
}

static TRUE: LazyLock<True> = LazyLock::new(|| {
    let kdf = KdfParams::new(8, 1, 1).unwrap();
    let salt = Salt::random(&mut SysRng).unwrap();
    let key = key_encryption_key(&Passphrase::new("p"), &salt, kdf).unwrap();
    True { key, kdf, salt }
});

type Record = (u8, Vec<u8>, Vec<u8>);

fuzz_target!(|input: &[u8]| {
    assert!(open(input).is_err(), "nobody knows the key");
    assert!(open(&mended(input)).is_err());

    let records = records(input);
    let whole = seal(&records);
    assert_eq!(open(&whole).unwrap(), records);
    altered(&whole, input);

    let header = &whole[..HEADER_LEN];
    let around = [header, &sealed(header, input)].concat();
    if let Ok(records) = open(&around) {
        assert_eq!(plaintext(&seal(&records)), input);
    }
});

fn open(bytes: &[u8]) -> Result<Vec<Record>, StoreError> {
    let (ended, heap) = peak_heap(|| open_backup(bytes, &TRUE.key, |_, _, _| {}));
    assert!(heap <= HEAP_MAX, "{heap} bytes of heap");
    let mut records = Vec::new();
    let again = open_backup(bytes, &TRUE.key, |tree, key, row| {
        records.push((tree, key.to_vec(), row.to_vec()));
    });
    assert_eq!(ended.is_ok(), again.is_ok());
    match again {
        Ok(()) => Ok(records),
        Err(
            error @ (StoreError::DamagedBackup { .. }
            | StoreError::UnknownBackupFormat { .. }
            | StoreError::WrongPassphrase),
        ) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

fn seal(records: &[Record]) -> Vec<u8> {
    let plain = records.iter().map(|(tree, key, row)| (*tree, &key[..], &row[..]));
    seal_backup(&TRUE.key, TRUE.kdf, TRUE.salt, plain).unwrap()
}

/// The input as records; large rows repeat what they are made of, so that chunks fill up.
fn records(input: &[u8]) -> Vec<Record> {
    let (mut script, mut records) = (Script::new(input), Vec::new());
    while let (Some(tree), Some(key), Some(row)) = (script.byte(), script.byte(), script.byte()) {
        let key = script.bytes(usize::from(key)).to_vec();
        let times = if row > 250 { RECORD_MAX / 256 } else { 1 };
        let row = script.bytes(usize::from(row)).repeat(times);
        records.push((tree % TRAILER, key, row));
    }
    records
}

fn altered(whole: &[u8], changes: &[u8]) {
    let (mut altered, mut script) = (whole.to_vec(), Script::new(changes));
    while let (Some(at), Some(how)) = (script.below(whole.len()), script.byte()) {
        altered[at] ^= how;
    }
    for bytes in [mended(&altered), altered] {
        if bytes != whole {
            assert!(open(&bytes).is_err());
        }
    }
}

/// The bytes with a checksum of the header that fits.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some((content, rest)) = bytes.split_at_mut_checked(CONTENT_LEN)
        && let Some(sum) = rest.first_chunk_mut()
    {
        *sum = Sha256::digest(content).into();
    }
    bytes
}

/// `plaintext` as the chunks of a backup of that header.
fn sealed(header: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut stream = SealingStream::new(file_key(header), &header[..CONTENT_LEN]).unwrap();
    let mut chunk = [plaintext, &[0; CHUNK_OVERHEAD]].concat();
    stream.seal_chunk(&mut chunk, true).unwrap();
    chunk
}

/// What is in the chunks of a true backup.
fn plaintext(backup: &[u8]) -> Vec<u8> {
    let (header, rest) = backup.split_at(HEADER_LEN);
    let mut stream = OpeningStream::new(file_key(header), &header[..CONTENT_LEN]).unwrap();
    let chunks = rest.chunks(CHUNK_LEN + CHUNK_OVERHEAD);
    let last = chunks.len() - 1;
    let open = |(at, chunk): (usize, &[u8])| {
        stream.open_chunk(&mut chunk.to_vec(), at == last).unwrap().to_vec()
    };
    chunks.enumerate().flat_map(open).collect()
}

fn file_key(header: &[u8]) -> bitgo_vault::crypto::DataKey {
    let wrapped = header[WRAPPED_AT..CONTENT_LEN].try_into().unwrap();
    TRUE.key.unwrap(wrapped, &header[..WRAPPED_AT]).unwrap()
}
