//! The cryptographic mechanisms: pure, deterministic given their randomness and time, no I/O.
//!
//! ```text
//! kdf           passphrase → key encryption key (Argon2id)
//! keys          data key: wrapped, unwrapped, one key derived per tree
//! aead          records: sealed and opened (AES-256-GCM)
//! stream        a long file: sealed and opened in chunks (STREAM)
//! envelope      BitGo's password envelopes, v1 (PBKDF2, AES-CCM) and v2 (Argon2id, AES-GCM)
//! derivation    from an extended key down a path (BIP32)
//! ecdh          token issuance: the secret that both sides share
//! midstate      HMAC-SHA256 keyed once, PBKDF2 on top of it
//! request_auth  HMAC of requests and answers, v2 to v4
//! key_slots     keys of tokens in use, in fixed places that are read without a lock
//! target        method and target as they are signed
//! extension     the key that extends a session
//! totp          one-time passwords from a seed
//! stack         what the above leaves on the stack, wiped
//! ```

mod aead;
mod derivation;
mod ecdh;
pub(crate) mod envelope;
mod error;
mod extension;
mod kdf;
mod key_slots;
mod keys;
#[cfg(test)]
mod known;
mod midstate;
mod request_auth;
pub(crate) mod stack;
mod stream;
mod target;
mod totp;

pub use aead::{RECORD_MAX, RECORD_OVERHEAD, RecordCipher, VaultId};
pub use derivation::{DerivationPath, EcdhPrivateKey, EcdhPublicKey};
pub use ecdh::{generate_keypair, open_token, open_xprv, seal_token, shared_secret};
pub use envelope::{
    Envelope, EnvelopeSession, EnvelopeVersion, MAX_ENVELOPE_BYTES, V1Params, V2Params, seal_v1,
    seal_v2,
};
pub use error::{CryptoError, ErrorClass};
pub use extension::{ExtensionKey, verify_extension};
pub use kdf::{KdfParams, Salt, key_encryption_key};
pub(crate) use key_slots::{KeyPlace, KeySlots};
pub use keys::{DataKey, KeyEncryptionKey, MacKey, WRAPPED_LEN};
pub(crate) use request_auth::KEY_WORDS;
pub use request_auth::{
    AuthKey, AuthVersion, HmacHex, Subject, WINDOW_BACK_MS, WINDOW_FORWARD_MS, check_window,
    content_digest, password_hmac,
};
pub use stream::{CHUNK_LEN, CHUNK_OVERHEAD, OpeningStream, SealingStream};
pub use target::{canonical_method, canonical_target};
pub(crate) use totp::LastStep;
pub use totp::TotpSeed;

use rand_core::TryCryptoRng;

/// Random bytes, or a typed error where the system gives none.
pub(crate) fn random<const N: usize>(rng: &mut impl TryCryptoRng) -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    rng.try_fill_bytes(&mut bytes).map_err(|_| CryptoError::Entropy)?;
    Ok(bytes)
}
