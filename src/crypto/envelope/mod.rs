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

#[cfg(any(test, feature = "test-util"))]
pub(crate) mod kdf_calls;
mod session;
mod v1;
mod v2;

pub use session::EnvelopeSession;
pub use v1::V1Params;
pub use v2::V2Params;

use super::stack::wiped;
use super::{CryptoError, random};
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
        wiped(|| match &self.0 {
            Format::V1(envelope) => text(envelope.open(password)?),
            Format::V2(envelope) => text(envelope.open(password)?),
        })
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
    bounded_length(wiped(|| v1::seal(params, password, adata, plaintext, rng))?)
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
    bounded_length(wiped(|| v2::seal(params, password, adata, plaintext, rng))?)
}

fn text(plaintext: Zeroizing<Vec<u8>>) -> Result<SecretString, CryptoError> {
    std::str::from_utf8(&plaintext)
        .map(SecretString::from)
        .map_err(|_| CryptoError::Malformed("plaintext is not UTF-8"))
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

/// The plaintext in a buffer of its own that has room for the tag: a buffer that grew would
/// leave an unwiped copy behind.
fn buffer(plaintext: &str, tag_bytes: usize) -> Zeroizing<Vec<u8>> {
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + tag_bytes));
    buffer.extend_from_slice(plaintext.as_bytes());
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::known;
    use base16ct::lower;
    use getrandom::SysRng;
    use rand_core::TryRng;
    use secrecy::ExposeSecret;
    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};

    const V1_FAST: V1Params = V1Params { iterations: 1, key_bits: 256, tag_bits: 64 };
    const V2_FAST: V2Params = V2Params { m_cost: 8, t_cost: 1, p_cost: 1 };

    fn sealed(version: EnvelopeVersion) -> String {
        match version {
            EnvelopeVersion::V1 => seal_v1(V1_FAST, b"pw", "adata", "text", &mut SysRng),
            EnvelopeVersion::V2 => seal_v2(V2_FAST, b"pw", Some("adata"), "text", &mut SysRng),
        }
        .unwrap()
    }

    fn with(envelope: &str, field: &str, value: Value) -> String {
        let mut envelope: Value = serde_json::from_str(envelope).unwrap();
        envelope[field] = value;
        envelope.to_string()
    }

    fn open(envelope: &str, password: &str) -> Result<String, CryptoError> {
        let plaintext = Envelope::parse(envelope)?.open(password.as_bytes())?;
        Ok(plaintext.expose_secret().to_owned())
    }

    /// Bytes set beforehand, then none.
    struct Replay(Vec<u8>);

    impl TryRng for Replay {
        type Error = std::io::Error;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            unreachable!("sealing draws bytes")
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            unreachable!("sealing draws bytes")
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            if bytes.len() > self.0.len() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let rest = self.0.split_off(bytes.len());
            bytes.copy_from_slice(&std::mem::replace(&mut self.0, rest));
            Ok(())
        }
    }

    impl TryCryptoRng for Replay {}

    #[test]
    fn sealing_yields_bitgos_very_bytes() {
        let vectors = [
            include_str!("../../../tests/vectors/envelope_v1.json"),
            include_str!("../../../tests/vectors/envelope_v2.json"),
        ];
        let mut compared = 0;
        for file in vectors {
            let file: Value = serde_json::from_str(file).unwrap();
            for case in file["valid"].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let expect = text(&case["envelope"]);
                let envelope: Value = serde_json::from_str(&expect).unwrap();
                let part = |field: &str| bytes(envelope[field].as_str().unwrap(), "part").unwrap();
                let number =
                    |field: &str| u32::try_from(envelope[field].as_u64().unwrap()).unwrap();
                let is_session = envelope.get("hkdfSalt").is_some();
                let hkdf_salt = if is_session { part("hkdfSalt") } else { Vec::new() };
                let mut rng = Replay([part("salt"), hkdf_salt, part("iv")].concat());
                let (password, plaintext) = (text(&case["password"]), text(&case["plaintext"]));
                let password = password.as_bytes();
                let sealed = if envelope["v"] == 1 {
                    let params = V1Params {
                        iterations: number("iter"),
                        key_bits: number("ks"),
                        tag_bits: number("ts"),
                    };
                    let adata = v1::unescape(&text(&envelope["adata"])).unwrap();
                    seal_v1(params, password, &adata, &plaintext, &mut rng)
                } else {
                    let params =
                        V2Params { m_cost: number("m"), t_cost: number("t"), p_cost: number("p") };
                    let adata = envelope["adata"].as_str();
                    match is_session {
                        true => EnvelopeSession::new(params, password, &mut rng)
                            .and_then(|session| session.seal(adata, &plaintext, &mut rng)),
                        false => seal_v2(params, password, adata, &plaintext, &mut rng),
                    }
                };
                assert!(sealed.unwrap() == expect, "{}", case["name"]);
                compared += 1;
            }
        }
        assert_eq!(compared, 27 + 17);
    }

    #[test]
    fn whatever_is_covered_keeps_it_shut_when_changed() {
        for (version, iv) in
            [(EnvelopeVersion::V1, vec![0; 16]), (EnvelopeVersion::V2, vec![0; 12])]
        {
            let good = sealed(version);
            assert_eq!(Envelope::parse(&good).unwrap().version(), version);
            assert_eq!(open(&good, "pw").unwrap(), "text");
            assert_eq!(open(&good, "pw2"), Err(CryptoError::CouldNotOpen));

            let fields: Value = serde_json::from_str(&good).unwrap();
            let ct = bytes(fields["ct"].as_str().unwrap(), "ct").unwrap();
            let flipped = |index: usize| {
                let mut ct = ct.clone();
                ct[index] ^= 1;
                json!(base64(&ct))
            };
            for (field, value) in [
                ("ct", flipped(0)),
                ("ct", flipped(ct.len() - 1)),
                ("ct", json!(base64(&ct[1..]))),
                ("ct", json!(base64(&ct[..ct.len() - 1]))),
                ("iv", json!(base64(&iv))),
                ("salt", json!(base64(&[0; 16]))),
                ("adata", json!("adato")),
                ("adata", json!("")),
            ] {
                let altered = with(&good, field, value);
                assert_eq!(open(&altered, "pw"), Err(CryptoError::CouldNotOpen), "{altered}");
            }
        }
    }

    #[test]
    fn refused_by_class_before_any_key_derivation() {
        use EnvelopeVersion::{V1, V2};
        let before = kdf_calls::so_far();
        for (version, field, value, class) in [
            (V1, "v", json!(null), "malformed"),
            (V1, "v", json!("1"), "malformed"),
            (V1, "v", json!(0), "version"),
            (V1, "v", json!(-1), "version"),
            (V1, "v", json!(1.5), "version"),
            (V1, "iter", json!(null), "malformed"),
            (V1, "iter", json!("1000"), "malformed"),
            (V1, "iter", json!(true), "malformed"),
            (V1, "iter", json!(1000.5), "parameter"),
            (V1, "iter", json!(0), "parameter"),
            (V1, "iter", json!(-1), "parameter"),
            (V1, "iter", json!(100_001), "parameter"),
            (V1, "iter", json!(4_294_967_296_u64), "parameter"),
            (V1, "iter", json!(1e30), "parameter"),
            (V1, "ks", json!(192), "parameter"),
            (V1, "ts", json!(72), "parameter"),
            (V1, "mode", json!("gcm"), "parameter"),
            (V1, "mode", json!(1), "malformed"),
            (V1, "cipher", json!("AES"), "parameter"),
            (V1, "adata", json!(null), "malformed"),
            (V1, "adata", json!("%uD83D"), "malformed"),
            (V1, "salt", json!(""), "malformed"),
            (V1, "iv", json!(base64(&[0; 12])), "malformed"),
            (V1, "iv", json!(base64(&[0; 17])), "malformed"),
            (V1, "ct", json!(base64(&[0; 7])), "malformed"),
            (V1, "ct", json!("AAAA\n"), "malformed"),
            (V2, "m", json!(7), "parameter"),
            (V2, "m", json!(262_145), "parameter"),
            (V2, "t", json!(0), "parameter"),
            (V2, "t", json!(17), "parameter"),
            (V2, "p", json!(2), "parameter"), // more lanes than the 8 KiB hold
            (V2, "p", json!(17), "parameter"),
            (V2, "salt", json!(base64(&[0; 7])), "malformed"),
            (V2, "hkdfSalt", json!(""), "malformed"),
            (V2, "hkdfSalt", json!(null), "malformed"),
            (V2, "adata", json!(null), "malformed"),
            (V2, "adata", json!(1), "malformed"),
            (V2, "iv", json!(base64(&[0; 16])), "malformed"),
            (V2, "ct", json!(base64(&[0; 15])), "malformed"),
        ] {
            let envelope = with(&sealed(version), field, value);
            let before = kdf_calls::so_far();
            let refused = open(&envelope, "pw").unwrap_err();
            assert_eq!(refused.class().as_str(), class, "{envelope}");
            assert_eq!(kdf_calls::so_far(), before, "{envelope}");
        }
        assert!(kdf_calls::so_far() > before, "sealing counts");
        for json in ["", "null", "[]", "{}", r#"{"v":1}"#, r#"{"v":2,"v":2}"#] {
            assert!(matches!(Envelope::parse(json), Err(CryptoError::Malformed(_))), "{json}");
        }
        let long = format!("{}{}", sealed(V1), " ".repeat(MAX_ENVELOPE_BYTES));
        assert!(matches!(Envelope::parse(&long), Err(CryptoError::Malformed(_))));
    }

    #[test]
    fn read_as_sjcl_reads() {
        for version in [EnvelopeVersion::V1, EnvelopeVersion::V2] {
            let envelope = with(&sealed(version), "unknown", json!({"a": [1]}));
            assert_eq!(open(&envelope, "pw").unwrap(), "text");
            let unpadded = envelope.replace('=', "");
            assert_eq!(open(&unpadded, "pw").unwrap(), "text");
        }
    }

    #[test]
    fn sealing_refuses_what_parsing_would() {
        for params in [
            V1Params { iterations: 0, ..V1_FAST },
            V1Params { iterations: 100_001, ..V1_FAST },
            V1Params { key_bits: 192, ..V1_FAST },
            V1Params { tag_bits: 32, ..V1_FAST },
        ] {
            let refused = seal_v1(params, b"pw", "", "", &mut SysRng);
            assert!(matches!(refused, Err(CryptoError::Parameter(_))), "{params:?}");
        }
        for params in [
            V2Params { m_cost: 7, ..V2_FAST },
            V2Params { m_cost: 262_145, ..V2_FAST },
            V2Params { t_cost: 17, ..V2_FAST },
            V2Params { p_cost: 0, ..V2_FAST },
        ] {
            let refused = seal_v2(params, b"pw", None, "", &mut SysRng);
            assert!(matches!(refused, Err(CryptoError::Parameter(_))), "{params:?}");
        }
        let long = bounded_length(" ".repeat(MAX_ENVELOPE_BYTES + 1));
        assert!(matches!(long, Err(CryptoError::Parameter(_))));
    }

    #[test]
    fn no_randomness_no_envelope() {
        let mut dry = Replay(vec![7; 8]);
        assert_eq!(seal_v1(V1_FAST, b"pw", "", "", &mut dry), Err(CryptoError::Entropy));
        assert_eq!(seal_v2(V2_FAST, b"pw", None, "", &mut dry), Err(CryptoError::Entropy));
    }

    #[test]
    fn plaintext_that_is_no_text_is_refused() {
        let envelope =
            r#"{"v":2,"m":8,"t":1,"p":1,"salt":"c2FsdHNhbHQ","iv":"AAAAAAAAAAAAAAAA","ct":"CT"}"#;
        let mut wire: Value = serde_json::from_str(envelope).unwrap();
        wire["ct"] = json!(v2::tests::sealed_bytes(b"pw", b"saltsalt", b"\xff"));
        assert!(matches!(open(&wire.to_string(), "pw"), Err(CryptoError::Malformed(_))));
    }

    #[test]
    fn debug_form_is_the_version() {
        let envelope = Envelope::parse(&sealed(EnvelopeVersion::V2)).unwrap();
        assert_eq!(format!("{envelope:?}"), "Envelope(V2)");
    }

    /// SJCL's very bytes, of which the file keeps the digest.
    fn check_long_envelopes(count: usize, plaintext_bytes: RangeInclusive<usize>) {
        let file = include_str!("../../../tests/vectors/known/ccm_long.json");
        let mut cases = known::cases(file, "cases");
        let length = |case: &Value| known::number(case, "plaintext_bytes") as usize;
        cases.retain(|case| plaintext_bytes.contains(&length(case)));
        assert_eq!(cases.len(), count);
        for case in cases {
            let mut plaintext = "0123456789abcdef".repeat(length(&case).div_ceil(16));
            plaintext.truncate(length(&case));
            let mut rng = Replay([known::bytes(&case, "salt"), known::bytes(&case, "iv")].concat());
            let number = |field| known::number(&case, field);
            let params = V1Params {
                iterations: number("iter"),
                key_bits: number("ks"),
                tag_bits: number("ts"),
            };
            let password = known::text(&case, "password");

            let envelope = seal_v1(params, password.as_bytes(), "", &plaintext, &mut rng).unwrap();
            let digest = lower::encode_string(&Sha256::digest(&envelope));
            let expect = (number("envelope_bytes") as usize, known::text(&case, "envelope_sha256"));
            assert_eq!((envelope.len(), digest.as_str()), expect, "{case}");
            assert!(open(&envelope, password).as_deref() == Ok(&*plaintext), "{case}");
        }
    }

    #[test]
    fn long_envelopes_are_sjcls_up_to_64_kib() {
        check_long_envelopes(4, 0..=0xff_ffff);
    }

    /// From here on CCM counts with L = 4. Without optimisation it takes many seconds:
    /// `cargo test --release 16_mib`.
    #[test]
    #[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
    fn long_envelopes_are_sjcls_from_16_mib() {
        check_long_envelopes(1, 0x100_0000..=usize::MAX);
    }
}
