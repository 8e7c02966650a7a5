//! The key that extends a session (PROTOCOL section 5).
//!
//! At login the client names the address of a fresh secp256k1 key it keeps. Later it extends the
//! session by signing with that key, as a Bitcoin message, what it asks for:
//!
//! ```text
//! message   = timestampMs|token|duration
//! digest    = SHA-256(SHA-256("\x18Bitcoin Signed Message:\n" | varint(length) | message))
//! signature = hex(31 + recovery id | r | s)               RFC 6979, low s, compressed key
//! address   = base58check(network | RIPEMD-160(SHA-256(public key)))
//! ```
//!
//! The address names a key, not a place for money; the network it is written for is not signed.
//! BitGo's SDK writes the test network's wherever it is not told that it speaks to production.

use super::CryptoError;
use super::stack::wiped;
use crate::secret::AccessToken;
use base16ct::lower;
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use rand_core::TryCryptoRng;
use ripemd::Ripemd160;
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

const MAGIC: &[u8] = b"\x18Bitcoin Signed Message:\n";

/// Bitcoin's main network, and its test network.
const P2PKH_PREFIX: u8 = 0x00;
const P2PKH_TEST_PREFIX: u8 = 0x6f;
const WIF_PREFIX: u8 = 0x80;
const WIF_COMPRESSED: u8 = 0x01;

/// The header of a signature is this plus the recovery id: 27 by convention, 4 for a compressed
/// key.
const HEADER: u8 = 31;

/// A secp256k1 key that extends one session. Wiped when dropped.
pub struct ExtensionKey(Box<SigningKey>);

impl ExtensionKey {
    /// Makes a fresh key.
    ///
    /// # Errors
    /// [`CryptoError::Entropy`] if `rng` fails.
    pub fn generate(rng: &mut impl TryCryptoRng) -> Result<Self, CryptoError> {
        wiped(|| {
            let mut secret = Zeroizing::new([0; 32]);
            rng.try_fill_bytes(&mut *secret).map_err(|_| CryptoError::Entropy)?;
            // One number in 2^127 is no key: who meets it has no randomness.
            Self::from_scalar(&*secret).ok_or(CryptoError::Entropy)
        })
    }

    /// Reads a key in wallet import format: main network, compressed.
    ///
    /// # Errors
    /// [`CryptoError::Key`] if it is none.
    pub fn from_wif(wif: &str) -> Result<Self, CryptoError> {
        const REFUSAL: CryptoError = CryptoError::Key("a compressed main-network wif is wanted");
        // Prefix, 32 bytes of secret, the mark of compression, 4 bytes of checksum.
        wiped(|| {
            let mut bytes = Zeroizing::new([0; 38]);
            let decoded = bs58::decode(wif).with_check(Some(WIF_PREFIX));
            let length = decoded.onto(&mut *bytes).map_err(|_| REFUSAL)?;
            match &bytes[..length] {
                [_, secret @ .., WIF_COMPRESSED] => Self::from_scalar(secret).ok_or(REFUSAL),
                _ => Err(REFUSAL),
            }
        })
    }

    /// The key in one place for good: one that is moved would leave copies behind.
    fn from_scalar(secret: &[u8]) -> Option<Self> {
        let secret = <&[u8; 32]>::try_from(secret).ok()?;
        SigningKey::from_slice(secret).ok().map(Box::new).map(Self)
    }

    /// The key in wallet import format.
    ///
    /// # Security
    /// The secret itself.
    pub fn to_wif(&self) -> Zeroizing<String> {
        wiped(|| {
            let secret = Zeroizing::new(self.0.to_bytes());
            let mut bytes = Zeroizing::new([WIF_COMPRESSED; 33]);
            bytes[..32].copy_from_slice(&secret);
            Zeroizing::new(bs58::encode(&*bytes).with_check_version(WIF_PREFIX).into_string())
        })
    }

    /// The address that BitGo's production service knows the key by: `extensionAddress` at login.
    pub fn address(&self) -> String {
        address(self.0.verifying_key(), P2PKH_PREFIX)
    }

    /// The same for the test network, which BitGo's SDK writes it for everywhere else.
    pub fn test_address(&self) -> String {
        address(self.0.verifying_key(), P2PKH_TEST_PREFIX)
    }

    /// Signs an extension: 130 lower-case hex digits, for the `signature` header.
    ///
    /// `timestamp_ms` is unix milliseconds, as in the `timestamp` header; `duration` is seconds,
    /// written exactly as it stands in the body.
    pub fn sign(&self, timestamp_ms: i64, token: &AccessToken, duration: &str) -> String {
        wiped(|| {
            let digest = digest(timestamp_ms, token, duration);
            let (signature, recovery_id) = self.0.sign_prehash_recoverable(&digest);
            let mut bytes = [0; 65];
            bytes[0] = HEADER + recovery_id.to_byte();
            bytes[1..].copy_from_slice(&signature.to_bytes());
            lower::encode_string(&bytes)
        })
    }
}

impl fmt::Debug for ExtensionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExtensionKey([REDACTED])")
    }
}

/// Checks the signature of an extension, as the server does: the key recovered from it must be
/// the one behind `address`, which may be written for either network.
///
/// # Errors
/// [`CryptoError::Malformed`] if the signature is not 130 lower-case hex digits with a header of
/// a compressed key, [`CryptoError::CouldNotOpen`] if it does not fit.
pub fn verify_extension(
    expected_address: &str,
    timestamp_ms: i64,
    token: &AccessToken,
    duration: &str,
    signature_hex: &str,
) -> Result<(), CryptoError> {
    const MALFORMED: CryptoError = CryptoError::Malformed("extension signature");
    let mut bytes = [0; 65];
    let [header, signature @ ..] =
        lower::decode(signature_hex, &mut bytes).map_err(|_| MALFORMED)?
    else {
        return Err(MALFORMED);
    };
    let recovery_id =
        header.checked_sub(HEADER).and_then(RecoveryId::from_byte).ok_or(MALFORMED)?;
    let signature = Signature::from_slice(signature).map_err(|_| MALFORMED)?;
    let digest = digest(timestamp_ms, token, duration);
    let key = VerifyingKey::recover_from_prehash(&digest, &signature, recovery_id)
        .map_err(|_| CryptoError::CouldNotOpen)?;
    // Recovery finds a key for a high s as well; only the low one is a signature here.
    key.verify_prehash(&digest, &signature).map_err(|_| CryptoError::CouldNotOpen)?;
    let fits = |network| address(&key, network) == expected_address;
    match [P2PKH_PREFIX, P2PKH_TEST_PREFIX].into_iter().any(fits) {
        true => Ok(()),
        false => Err(CryptoError::CouldNotOpen),
    }
}

/// `SHA-256(SHA-256(magic | varint(length) | timestamp|token|duration))`, fed in pieces because
/// the token is one of them.
fn digest(timestamp_ms: i64, token: &AccessToken, duration: &str) -> [u8; 32] {
    let timestamp = timestamp_ms.to_string();
    let pieces = [&timestamp, "|", token.expose(), "|", duration];
    let mut hash = Sha256::new_with_prefix(MAGIC);
    update_varint(&mut hash, pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        hash.update(piece);
    }
    Sha256::digest(hash.finalize()).into()
}

/// Bitcoin's variable-length integer.
fn update_varint(hash: &mut Sha256, number: usize) {
    if let Ok(number @ 0..=0xfc) = u8::try_from(number) {
        hash.update([number]);
    } else if let Ok(number) = u16::try_from(number) {
        hash.update([0xfd]);
        hash.update(number.to_le_bytes());
    } else if let Ok(number) = u32::try_from(number) {
        hash.update([0xfe]);
        hash.update(number.to_le_bytes());
    } else {
        hash.update([0xff]);
        hash.update((number as u64).to_le_bytes());
    }
}

fn address(key: &VerifyingKey, network: u8) -> String {
    let hash = Ripemd160::digest(Sha256::digest(key.to_sec1_point(true)));
    bs58::encode(hash).with_check_version(network).into_string()
}

#[cfg(test)]
mod tests {
    use super::super::known;
    use super::*;

    const WIF: &str = "KyfakgM6puuaHfzMLssFCSMzzsfTMzwo3PU68oJCWXno7DgrRKkT";
    const ADDRESS: &str = "1N96gQTJEZMi3wnzkxwP5sYE7X9J89k5xv";
    const TIMESTAMP: i64 = 1_786_605_230_876;

    fn token() -> AccessToken {
        AccessToken::new("v2x57f77fd999f9c0747563f21c8dfa63d09d1a08f71e98eed78692b48843da560d")
    }

    fn key() -> ExtensionKey {
        ExtensionKey::from_wif(WIF).unwrap()
    }

    #[test]
    fn debug_form_lacks_the_key() {
        assert_eq!(format!("{:?}", key()), "ExtensionKey([REDACTED])");
    }

    #[test]
    fn key_is_wiped_on_drop() {
        fn wiped<T: zeroize::ZeroizeOnDrop>() {}
        wiped::<SigningKey>();
    }

    #[test]
    fn wif_reads_and_prints() {
        assert_eq!(key().address(), ADDRESS);
        assert_eq!(*key().to_wif(), WIF);
        for bad in [
            "",
            "KyfakgM6puuaHfzMLssFCSMzzsfTMzwo3PU68oJCWXno7DgrRKkU",
            &WIF[1..],
            ADDRESS,
            // Uncompressed, and of the test network.
            "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ",
            "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA",
        ] {
            assert!(matches!(ExtensionKey::from_wif(bad), Err(CryptoError::Key(_))), "{bad}");
        }
    }

    #[test]
    fn whatever_is_covered_breaks_the_signature_when_changed() {
        let signature = key().sign(TIMESTAMP, &token(), "3600");
        let verify = |address, timestamp, token: &str, duration, signature: &str| {
            verify_extension(address, timestamp, &AccessToken::new(token), duration, signature)
        };
        let token = token();
        let token = token.expose();
        // The same key, written for the test network.
        let as_sdk_writes_it = key().test_address();
        assert!(as_sdk_writes_it.starts_with(['m', 'n']), "{as_sdk_writes_it}");
        for address in [ADDRESS, &as_sdk_writes_it] {
            assert_eq!(verify(address, TIMESTAMP, token, "3600", &signature), Ok(()));
        }
        let elsewhere = "1DgZZtUdvwFbmEcLqJ8iz1WFrCnNx3HQBY";
        for (address, timestamp, token, duration) in [
            (elsewhere, TIMESTAMP, token, "3600"),
            (ADDRESS, TIMESTAMP + 1, token, "3600"),
            (ADDRESS, TIMESTAMP, "v2x", "3600"),
            (ADDRESS, TIMESTAMP, token, "3601"),
        ] {
            assert_eq!(
                verify(address, timestamp, token, duration, &signature),
                Err(CryptoError::CouldNotOpen),
            );
        }
        for bad in ["", "20", &signature[2..], &signature.to_uppercase(), &"00".repeat(65)] {
            let refused = verify(ADDRESS, TIMESTAMP, token, "3600", bad);
            assert_eq!(refused, Err(CryptoError::Malformed("extension signature")), "{bad}");
        }
    }

    #[test]
    fn messages_of_every_length_class_verify() {
        for length in [1, 0xfc, 0xfd, 0xffff, 0x1_0000] {
            let duration = "9".repeat(length);
            let signature = key().sign(TIMESTAMP, &token(), &duration);
            assert_eq!(
                verify_extension(ADDRESS, TIMESTAMP, &token(), &duration, &signature),
                Ok(()),
            );
        }
    }

    /// Deterministic signatures that others publish; with a low s and, where they tell it, the
    /// header.
    #[test]
    fn others_rfc6979_signatures_come_out() {
        let file = include_str!("../../tests/vectors/known/rfc6979.json");
        let signatures = known::cases(file, "signatures");
        assert_eq!(signatures.len(), 6);
        for case in signatures {
            let key = SigningKey::from_slice(&known::bytes(&case, "secret")).unwrap();
            let digest = Sha256::digest(known::text(&case, "message"));
            let (signature, _) = key.sign_prehash_recoverable(&digest);
            assert_eq!(*signature.to_bytes(), *known::bytes(&case, "signature"), "{case}");
        }

        let compact = known::cases(file, "compact");
        assert_eq!(compact.len(), 2);
        for case in compact {
            let key = ExtensionKey::from_wif(known::text(&case, "wif")).unwrap();
            let digest = Sha256::digest(Sha256::digest(known::text(&case, "message")));
            let (signature, recovery_id) = key.0.sign_prehash_recoverable(&digest);
            let header = HEADER + recovery_id.to_byte();
            let compact = [&[header], &*signature.to_bytes()].concat();
            assert_eq!(compact, known::bytes(&case, "signature"), "{case}");
        }
    }
}
