//! The crates that the vault is made of, called as their documentation shows.

use crate::peer::{AAD, Costs, KEY, Kdf, Library, PASSPHRASE, SUBJECT, random};
use crate::turns::Failure;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, AeadInOut, Payload};
use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::hint::black_box;

pub struct RustCrypto {
    cipher: Aes256Gcm,
    mac: Hmac<Sha256>,
}

impl RustCrypto {
    pub fn new() -> Result<Self, Failure> {
        let mac = Hmac::new_from_slice(&KEY)?;
        Ok(Self { cipher: Aes256Gcm::new(&KEY.into()), mac })
    }
}

impl Library for RustCrypto {
    fn name(&self) -> String {
        "aes-gcm, hmac and sha2".into()
    }

    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, Failure> {
        let nonce = random::<12>()?;
        let mut record = Vec::with_capacity(12 + plaintext.len() + 16);
        record.extend_from_slice(&nonce);
        record.extend_from_slice(plaintext);
        let text = record[12..].as_mut().into();
        let tag = self.cipher.encrypt_inout_detached(&nonce.into(), &AAD, text);
        record.extend_from_slice(&tag.map_err(|_| "not sealed")?);
        Ok(record)
    }

    fn open(&self, sealed: &[u8]) -> Result<usize, Failure> {
        let (nonce, sealed) = sealed.split_first_chunk::<12>().ok_or("it is cut")?;
        let payload = Payload { msg: sealed, aad: &AAD };
        let opened = self.cipher.decrypt(&(*nonce).into(), payload).map_err(|_| "not opened")?;
        Ok(black_box(opened).len())
    }

    fn authenticate(&self) {
        black_box(self.mac.clone().chain_update(black_box([b'x'; SUBJECT])).finalize());
    }
}

impl Kdf for RustCrypto {
    fn name(&self) -> String {
        "argon2".into()
    }

    fn derive(&self, costs: Costs) -> Result<(), Failure> {
        let params = Params::new(costs.kibibytes, costs.passes, costs.lanes, Some(32))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = [0; 32];
        argon2.hash_password_into(PASSPHRASE.as_bytes(), &[9; 16], &mut key)?;
        black_box(key);
        Ok(())
    }
}
