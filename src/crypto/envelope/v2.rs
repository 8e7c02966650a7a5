//! Version 2: Argon2id and AES-256-GCM, in sessions with HKDF between the two.

use super::{CryptoError, base64, bounded, buffer, bytes, decode, random};
use crate::crypto::kdf::Argon2Memory;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use argon2::Params;
use hkdf::Hkdf;
use rand_core::TryCryptoRng;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use sha2::Sha256;
use std::borrow::Cow;
use zeroize::Zeroizing;

/// What the key derivation of a version 2 envelope (Argon2id) costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V2Params {
    /// Memory in KiB, 8 for each lane to 262 144.
    pub m_cost: u32,
    /// Passes over the memory, 1 to 16.
    pub t_cost: u32,
    /// Lanes, 1 to 16.
    pub p_cost: u32,
}

impl Default for V2Params {
    /// What BitGo's SDK seals with: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self { m_cost: 65_536, t_cost: 3, p_cost: 4 }
    }
}

impl V2Params {
    fn checked(m_cost: &Number, t_cost: &Number, p_cost: &Number) -> Result<Params, CryptoError> {
        let p_cost = bounded(p_cost, 1..=16, "p, 1 to 16")?;
        let t_cost = bounded(t_cost, 1..=16, "t, 1 to 16")?;
        // RFC 9106 section 3.1: at least 8 blocks a lane.
        let m_cost = bounded(m_cost, 8 * p_cost..=262_144, "m, 8p to 262 144")?;
        Params::new(m_cost, t_cost, p_cost, Some(KEY_BYTES))
            .map_err(|_| CryptoError::Parameter("m, t and p together"))
    }
}

/// The JSON, its fields in BitGo's order.
#[derive(Deserialize, Serialize)]
struct Wire<'a> {
    v: Number,
    m: Number,
    t: Number,
    p: Number,
    #[serde(borrow)]
    salt: Cow<'a, str>,
    #[serde(
        rename = "hkdfSalt",
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    hkdf_salt: Option<String>,
    #[serde(borrow)]
    iv: Cow<'a, str>,
    #[serde(borrow)]
    ct: Cow<'a, str>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    adata: Option<String>,
}

/// A field that may be absent but is a string if it stands: `null` is refused.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

pub(super) struct Envelope {
    params: Params,
    salt: Vec<u8>,
    hkdf_salt: Option<Vec<u8>>,
    iv: [u8; IV_BYTES],
    adata: String,
    ciphertext: Vec<u8>,
}

impl Envelope {
    pub(super) fn parse(json: &str) -> Result<Self, CryptoError> {
        let wire: Wire<'_> = decode(json)?;
        let envelope = Self {
            params: V2Params::checked(&wire.m, &wire.t, &wire.p)?,
            salt: bytes(&wire.salt, "salt")?,
            hkdf_salt: wire.hkdf_salt.map(|salt| bytes(&salt, "hkdfSalt")).transpose()?,
            iv: bytes(&wire.iv, "iv")?
                .try_into()
                .map_err(|_| CryptoError::Malformed("iv is not 12 bytes"))?,
            adata: wire.adata.unwrap_or_default(),
            ciphertext: bytes(&wire.ct, "ct")?,
        };
        if envelope.salt.len() < argon2::MIN_SALT_LEN {
            return Err(CryptoError::Malformed("salt is shorter than 8 bytes"));
        }
        if envelope.hkdf_salt.as_ref().is_some_and(Vec::is_empty) {
            return Err(CryptoError::Malformed("hkdfSalt is empty"));
        }
        if envelope.ciphertext.len() < TAG_BYTES {
            return Err(CryptoError::Malformed("ct is shorter than its tag"));
        }
        Ok(envelope)
    }

    pub(super) fn open(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        self.open_under(&self.master_key(password, &mut Argon2Memory::default())?)
    }

    pub(super) fn open_under(&self, key: &MasterKey) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut buffer = Zeroizing::new(self.ciphertext.clone());
        key.cipher(self.hkdf_salt.as_deref())
            .decrypt_in_place(&Nonce::from(self.iv), self.adata.as_bytes(), &mut *buffer)
            .map_err(|_| CryptoError::CouldNotOpen)?;
        Ok(buffer)
    }

    /// Runs the key derivation that this envelope asks for.
    pub(super) fn master_key(
        &self,
        password: &[u8],
        memory: &mut Argon2Memory,
    ) -> Result<MasterKey, CryptoError> {
        MasterKey::derive(password, self.salt.clone(), self.params.clone(), memory)
    }

    /// Whether `key` is what that derivation would yield, the password being the same.
    pub(super) fn is_under(&self, key: &MasterKey) -> bool {
        self.salt == key.salt && self.params == key.costs
    }
}

pub(super) fn seal(
    params: V2Params,
    password: &[u8],
    adata: Option<&str>,
    plaintext: &str,
    rng: &mut impl TryCryptoRng,
) -> Result<String, CryptoError> {
    let key = MasterKey::fresh(params, password, &mut Argon2Memory::default(), rng)?;
    key.seal(None, adata, plaintext, rng)
}

/// `Argon2id(password, salt, m, t, p)`: what envelopes are sealed under, or, in a session, what
/// their keys are derived from.
pub(super) struct MasterKey {
    salt: Vec<u8>,
    costs: Params,
    /// In one place for good: a key that is moved would leave copies behind.
    key: Box<Zeroizing<[u8; KEY_BYTES]>>,
}

impl MasterKey {
    /// Runs the derivation on a fresh salt.
    pub(super) fn fresh(
        params: V2Params,
        password: &[u8],
        memory: &mut Argon2Memory,
        rng: &mut impl TryCryptoRng,
    ) -> Result<Self, CryptoError> {
        let (m, t, p) = (params.m_cost.into(), params.t_cost.into(), params.p_cost.into());
        let costs = V2Params::checked(&m, &t, &p)?;
        Self::derive(password, random::<SALT_BYTES>(rng)?.into(), costs, memory)
    }

    fn derive(
        password: &[u8],
        salt: Vec<u8>,
        costs: Params,
        memory: &mut Argon2Memory,
    ) -> Result<Self, CryptoError> {
        #[cfg(any(test, feature = "test-util"))]
        super::kdf_calls::count();
        let key = memory.argon2id(password, &salt, &costs)?;
        Ok(Self { salt, costs, key: Box::new(key) })
    }

    /// The cipher of one envelope:
    /// with `hkdfSalt` its key is `HKDF-SHA256(key, hkdfSalt, "bitgo-v2-session")`.
    fn cipher(&self, hkdf_salt: Option<&[u8]>) -> Aes256Gcm {
        let mut key = (*self.key).clone();
        if let Some(salt) = hkdf_salt {
            Hkdf::<Sha256>::new(Some(salt), &self.key[..])
                .expand(b"bitgo-v2-session", &mut *key)
                .expect("HKDF-SHA256 yields up to 8160 bytes");
        }
        Aes256Gcm::new((&*key).into())
    }

    pub(super) fn seal(
        &self,
        hkdf_salt: Option<[u8; HKDF_SALT_BYTES]>,
        adata: Option<&str>,
        plaintext: &str,
        rng: &mut impl TryCryptoRng,
    ) -> Result<String, CryptoError> {
        let iv = random::<IV_BYTES>(rng)?;
        let mut buffer = buffer(plaintext, TAG_BYTES);
        self.cipher(hkdf_salt.as_ref().map(<[u8; _]>::as_slice))
            .encrypt_in_place(&Nonce::from(iv), adata.unwrap_or_default().as_bytes(), &mut *buffer)
            .map_err(|_| CryptoError::Parameter("plaintext length, below 2^36"))?;
        let wire = Wire {
            v: 2.into(),
            m: self.costs.m_cost().into(),
            t: self.costs.t_cost().into(),
            p: self.costs.p_cost().into(),
            salt: base64(&self.salt).into(),
            hkdf_salt: hkdf_salt.map(|salt| base64(&salt)),
            iv: base64(&iv).into(),
            ct: base64(&buffer).into(),
            adata: adata.map(str::to_owned),
        };
        Ok(serde_json::to_string(&wire).expect("strings and numbers always serialise"))
    }
}

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
pub(super) const HKDF_SALT_BYTES: usize = 32;
const IV_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Bytes that need not be text, sealed with the least cost and a nonce of zeros.
    pub(crate) fn sealed_bytes(password: &[u8], salt: &[u8], plaintext: &[u8]) -> String {
        let params = Params::new(8, 1, 1, Some(KEY_BYTES)).unwrap();
        let memory = &mut Argon2Memory::default();
        let key = MasterKey::derive(password, salt.into(), params, memory).unwrap();
        let mut buffer = plaintext.to_vec();
        let nonce = Nonce::from([0; IV_BYTES]);
        key.cipher(None).encrypt_in_place(&nonce, b"", &mut buffer).unwrap();
        base64(&buffer)
    }
}
