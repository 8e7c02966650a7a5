//! The cryptographic mechanisms: pure, deterministic given their randomness and time, no I/O.
//!
//! ```text
//! kdf           passphrase → key encryption key (Argon2id)
//! keys          data key: wrapped, unwrapped, one key derived per tree
//! aead          records: sealed and opened (AES-256-GCM)
//! envelope      BitGo's password envelopes, v1 (PBKDF2, AES-CCM) and v2 (Argon2id, AES-GCM)
//! ecdh          token issuance: derivation paths, shared secret
//! request_auth  HMAC of requests and answers, v2 and v3
//! extension     the key that extends a session
//! ```

mod error;

pub use error::{CryptoError, ErrorClass};

pub mod aead;
pub mod kdf;
pub mod keys;

use rand_core::TryCryptoRng;

/// Random bytes, or a typed error where the system gives none.
fn random<const N: usize>(rng: &mut impl TryCryptoRng) -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    rng.try_fill_bytes(&mut bytes).map_err(|_| CryptoError::Entropy)?;
    Ok(bytes)
}
