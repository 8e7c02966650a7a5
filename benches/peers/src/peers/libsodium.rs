//! libsodium, whose bindings are bare: hence the `unsafe`.

use crate::peer::{AAD, Costs, KEY, Kdf, Library, PASSPHRASE, SUBJECT, random};
use crate::turns::Failure;
use libsodium_sys as sodium;
use std::hint::black_box;
use std::ptr;

const TAG: usize = 16;

pub struct Libsodium {
    /// Its key expanded: 16 bytes aligned, as it wants it.
    cipher: Box<sodium::crypto_aead_aes256gcm_state>,
    mac: sodium::crypto_auth_hmacsha256_state,
}

impl Libsodium {
    pub fn new() -> Result<Self, Failure> {
        // SAFETY: `sodium_init` comes first and may be called again; both states are plain bytes, of
        // which the two calls below write all that is read later.
        unsafe {
            if sodium::sodium_init() < 0 || sodium::crypto_aead_aes256gcm_is_available() == 0 {
                return Err("libsodium has no AES here".into());
            }
            let mut cipher = Box::new(std::mem::zeroed());
            sodium::crypto_aead_aes256gcm_beforenm(&mut *cipher, KEY.as_ptr());
            let mut mac = std::mem::zeroed();
            sodium::crypto_auth_hmacsha256_init(&mut mac, KEY.as_ptr(), KEY.len());
            Ok(Self { cipher, mac })
        }
    }
}

impl Library for Libsodium {
    fn name(&self) -> String {
        "libsodium".into()
    }

    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, Failure> {
        let nonce = random::<12>()?;
        let mut record = vec![0; 12 + plaintext.len() + TAG];
        record[..12].copy_from_slice(&nonce);
        // SAFETY: the record has room for text and tag behind the nonce; lengths are the slices' own.
        let failed = unsafe {
            sodium::crypto_aead_aes256gcm_encrypt_afternm(
                record[12..].as_mut_ptr(),
                ptr::null_mut(),
                plaintext.as_ptr(),
                plaintext.len() as u64,
                AAD.as_ptr(),
                AAD.len() as u64,
                ptr::null(),
                nonce.as_ptr(),
                &*self.cipher,
            )
        };
        if failed == 0 { Ok(record) } else { Err("not sealed".into()) }
    }

    fn open(&self, sealed: &[u8]) -> Result<usize, Failure> {
        let (nonce, sealed) = sealed.split_first_chunk::<12>().ok_or("it is cut")?;
        let mut opened = vec![0; sealed.len().checked_sub(TAG).ok_or("it is cut")?];
        // SAFETY: the buffer has room for the text; lengths are the slices' own.
        let failed = unsafe {
            sodium::crypto_aead_aes256gcm_decrypt_afternm(
                opened.as_mut_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
                sealed.as_ptr(),
                sealed.len() as u64,
                AAD.as_ptr(),
                AAD.len() as u64,
                nonce.as_ptr(),
                &*self.cipher,
            )
        };
        if failed == 0 { Ok(black_box(opened).len()) } else { Err("not opened".into()) }
    }

    fn authenticate(&self) {
        let (mut mac, mut tag) = (self.mac, [0; 32]);
        let subject = black_box([b'x'; SUBJECT]);
        // SAFETY: a copy of a state that was keyed; the tag has 32 bytes.
        unsafe {
            sodium::crypto_auth_hmacsha256_update(&mut mac, subject.as_ptr(), SUBJECT as u64);
            sodium::crypto_auth_hmacsha256_final(&mut mac, tag.as_mut_ptr());
        }
        black_box(tag);
    }
}

/// Of one lane only: it has no more.
impl Kdf for Libsodium {
    fn name(&self) -> String {
        "libsodium".into()
    }

    fn derive(&self, costs: Costs) -> Result<(), Failure> {
        if costs.lanes != 1 {
            return Err("libsodium has one lane".into());
        }
        let mut key = [0; 32];
        // SAFETY: the salt has the 16 bytes that are read, the key those that are written.
        let failed = unsafe {
            sodium::crypto_pwhash(
                key.as_mut_ptr(),
                key.len() as u64,
                PASSPHRASE.as_ptr().cast(),
                PASSPHRASE.len() as u64,
                [9; 16].as_ptr(),
                u64::from(costs.passes),
                costs.kibibytes as usize * 1024,
                sodium::crypto_pwhash_ALG_ARGON2ID13 as i32,
            )
        };
        black_box(key);
        if failed == 0 { Ok(()) } else { Err("no memory for Argon2id".into()) }
    }
}
