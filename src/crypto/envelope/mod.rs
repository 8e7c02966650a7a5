//! BitGo's password envelopes, told apart by `v` (PROTOCOL section 4).
//!
//! ```text
//! v1  AES-CCM[PBKDF2-HMAC-SHA256(password, salt, iter)](iv, adata, plaintext)      SJCL's format
//! v2  AES-256-GCM[Argon2id(password, salt, m, t, p)](iv, adata, plaintext)
//!     with hkdfSalt the AES key is HKDF-SHA256(that key, hkdfSalt, "bitgo-v2-session")
//! ```
//!
//! An envelope comes from outside: all its numbers meet their caps when it is parsed, so that no
//! envelope can order more work than the caps allow, and a refused one orders none.

mod v1;
mod v2;

pub use v1::V1Params;
pub use v2::V2Params;

use super::CryptoError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use rand_core::TryCryptoRng;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Number;
use std::fmt;
use std::ops::RangeInclusive;
use zeroize::Zeroizing;

/// The longest envelope, in bytes of JSON, that is parsed or made: 32 MiB. BitGo's own have a
/// few hundred bytes; the cap leaves room for each message length v1 knows.
pub const MAX_ENVELOPE_BYTES: usize = 32 << 20;

/// The version of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EnvelopeVersion {
    /// SJCL: PBKDF2 and AES-CCM.
    V1,
    /// Argon2id and AES-256-GCM.
    V2,
}

/// A parsed envelope: well-formed, every parameter within its cap, not yet opened.
pub struct Envelope(Format);

enum Format {
    V1(v1::Envelope),
    V2(v2::Envelope),
}

impl Envelope {
    /// Parses an envelope and checks all of it that can be checked without the password.
    ///
    /// Fields it does not know are passed over.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] if it is no such JSON object (more than [`MAX_ENVELOPE_BYTES`],
    /// a field missing or of the wrong type, not base64, too short), [`CryptoError::Version`] if
    /// its version is not 1 or 2, [`CryptoError::Parameter`] if mode or cipher is another or a
    /// number is not an integer within its cap.
    pub fn parse(json: &str) -> Result<Self, CryptoError> {
        #[derive(Deserialize)]
        struct Head {
            v: Number,
        }
        if json.len() > MAX_ENVELOPE_BYTES {
            return Err(CryptoError::Malformed("envelope over 32 MiB"));
        }
        match decode::<Head>(json)?.v.as_u64() {
            Some(1) => v1::Envelope::parse(json).map(Format::V1).map(Self),
            Some(2) => v2::Envelope::parse(json).map(Format::V2).map(Self),
            _ => Err(CryptoError::Version),
        }
    }

    /// The envelope's version.
    pub fn version(&self) -> EnvelopeVersion {
        match self.0 {
            Format::V1(_) => EnvelopeVersion::V1,
            Format::V2(_) => EnvelopeVersion::V2,
        }
    }

    /// Opens the envelope. This runs its key derivation: milliseconds to seconds of one core,
    /// and for v2 up to 256 MiB of memory.
    ///
    /// # Errors
    /// [`CryptoError::CouldNotOpen`] if the password is wrong or the envelope was altered,
    /// [`CryptoError::Malformed`] if the plaintext is not UTF-8.
    pub fn open(&self, password: &[u8]) -> Result<SecretString, CryptoError> {
        let plaintext = match &self.0 {
            Format::V1(envelope) => envelope.open(password),
            Format::V2(envelope) => envelope.open(password),
        }?;
        let text = std::str::from_utf8(&plaintext)
            .map_err(|_| CryptoError::Malformed("plaintext is not UTF-8"))?;
        Ok(SecretString::from(text))
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Envelope").field(&self.version()).finish()
    }
}

/// Seals a text into a version 1 envelope, as BitGo's server does:
/// `AES-CCM[PBKDF2-HMAC-SHA256(password, salt, iterations)](iv, adata, plaintext)`,
/// with 8 bytes of fresh salt and a fresh iv of 16 bytes.
///
/// # Errors
/// [`CryptoError::Parameter`] if a parameter lies outside its cap or the envelope would be longer
/// than [`MAX_ENVELOPE_BYTES`], [`CryptoError::Entropy`] if `rng` fails.
///
/// # Security
/// With the default tag of 64 bits a forgery passes once in 2^64 tries. The format is BitGo's;
/// what the vault itself stores is sealed otherwise.
pub fn seal_v1(
    params: V1Params,
    password: &[u8],
    adata: &str,
    plaintext: &str,
    rng: &mut impl TryCryptoRng,
) -> Result<String, CryptoError> {
    bounded_length(v1::seal(params, password, adata, plaintext, rng)?)
}

/// Seals a text into a version 2 envelope, as BitGo's server does:
/// `AES-256-GCM[Argon2id(password, salt, m, t, p)](iv, adata, plaintext)`,
/// with 16 bytes of fresh salt and a fresh iv of 12 bytes.
///
/// # Errors
/// [`CryptoError::Parameter`] if a parameter lies outside its cap or the envelope would be longer
/// than [`MAX_ENVELOPE_BYTES`], [`CryptoError::Entropy`] if `rng` fails.
pub fn seal_v2(
    params: V2Params,
    password: &[u8],
    adata: Option<&str>,
    plaintext: &str,
    rng: &mut impl TryCryptoRng,
) -> Result<String, CryptoError> {
    bounded_length(v2::seal(params, password, adata, plaintext, rng)?)
}

fn bounded_length(json: String) -> Result<String, CryptoError> {
    if json.len() > MAX_ENVELOPE_BYTES {
        return Err(CryptoError::Parameter("envelope length, at most 32 MiB"));
    }
    Ok(json)
}

fn decode<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, CryptoError> {
    serde_json::from_str(json).map_err(|_| CryptoError::Malformed("envelope"))
}

/// The number, if it is an integer within its cap; `refusal` names it and the cap.
fn bounded(
    number: &Number,
    cap: RangeInclusive<u32>,
    refusal: &'static str,
) -> Result<u32, CryptoError> {
    number
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| cap.contains(number))
        .ok_or(CryptoError::Parameter(refusal))
}

/// Bytes from base64, with or without padding: SJCL reads both.
fn bytes(base64: &str, part: &'static str) -> Result<Vec<u8>, CryptoError> {
    STANDARD_PAD_INDIFFERENT.decode(base64).map_err(|_| CryptoError::Malformed(part))
}

fn base64(bytes: &[u8]) -> String {
    STANDARD_PAD_INDIFFERENT.encode(bytes)
}

fn random<const N: usize>(rng: &mut impl TryCryptoRng) -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    rng.try_fill_bytes(&mut bytes).map_err(|_| CryptoError::Entropy)?;
    Ok(bytes)
}

/// The plaintext in a buffer of its own that has room for the tag: a buffer that grew would
/// leave an unwiped copy behind.
fn buffer(plaintext: &str, tag_bytes: usize) -> Zeroizing<Vec<u8>> {
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + tag_bytes));
    buffer.extend_from_slice(plaintext.as_bytes());
    buffer
}

/// Counts key derivations on this thread, so that a test can show that a refused envelope costs
/// none.
#[cfg(any(test, feature = "test-util"))]
pub(crate) mod kdf_calls {
    use std::cell::Cell;

    thread_local! {
        static CALLS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        CALLS.set(CALLS.get() + 1);
    }

    pub(crate) fn so_far() -> u64 {
        CALLS.get()
    }
}
