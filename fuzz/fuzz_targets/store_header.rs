//! Any bytes as a header parse or are refused by type, in less memory than the least Argon2id
//! would take: nothing is derived. What parses prints back to the same bytes. A header altered
//! in any byte, its checksum mended, never unwraps.
//!
//! Input: the bytes of a header; they are also taken as changes (where, how) to a true one.

#![no_main]

use bitgo_vault::crypto::{KdfParams, KeyEncryptionKey, Salt, key_encryption_key};
use bitgo_vault::test_util::StoreHeader;
use bitgo_vault::{Passphrase, StoreError};
use bitgo_vault_fuzz::{Script, peak_heap};
use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const SUM_LEN: usize = 32;
const LEAST_ARGON2: usize = 8 * 1024;

struct True {
    key: KeyEncryptionKey,
    bytes: Vec<u8>,
}

static TRUE: LazyLock<True> = LazyLock::new(|| {
    let kdf = KdfParams::new(8, 1, 1).unwrap();
    let salt = Salt::random(&mut SysRng).unwrap();
    let key = key_encryption_key(&Passphrase::new("p"), &salt, kdf).unwrap();
    let bytes = StoreHeader::seal(&key, kdf, salt).unwrap().to_bytes();
    True { key, bytes }
});

fuzz_target!(|input: &[u8]| {
    check(input);
    check(&mended(input));

    let mut altered = TRUE.bytes.clone();
    let mut script = Script::new(input);
    while let (Some(at), Some(how)) = (script.byte(), script.byte()) {
        let len = altered.len();
        altered[usize::from(at) % len] ^= how;
    }
    check(&altered);
    check(&mended(&altered));
});

fn check(bytes: &[u8]) {
    let (parsed, heap) = peak_heap(|| StoreHeader::parse(bytes));
    assert!(heap < LEAST_ARGON2);
    match parsed {
        Ok(header) => {
            assert_eq!(header.to_bytes(), bytes);
            let unwrapped = header.unseal(&TRUE.key);
            if bytes == TRUE.bytes {
                assert!(unwrapped.is_ok());
            } else {
                assert!(matches!(unwrapped, Err(StoreError::WrongPassphrase)));
            }
        }
        Err(StoreError::DamagedHeader { .. } | StoreError::UnknownFormat { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// The bytes with a checksum that fits.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let (content, _) = bytes.split_at(bytes.len().saturating_sub(SUM_LEN));
    [content, &Sha256::digest(content)].concat()
}
