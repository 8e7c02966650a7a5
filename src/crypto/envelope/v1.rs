//! Version 1, SJCL's format: PBKDF2-HMAC-SHA256 and AES-CCM.

use super::{CryptoError, base64, bounded, buffer, bytes, decode, random};
use crate::crypto::midstate::HmacKey;
use aes::{Aes128, Aes256};
use ccm::aead::array::ArraySize;
use ccm::consts::{U8, U11, U12, U13, U16};
use ccm::{AeadInOut, Ccm, KeyInit, Nonce, NonceSize, TagSize};
use rand_core::TryCryptoRng;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use std::borrow::Cow;
use std::fmt::Write;
use zeroize::Zeroizing;

/// What a version 1 envelope costs and how strong it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V1Params {
    /// Rounds of PBKDF2, 1 to 100 000.
    pub iterations: u32,
    /// Bits of the AES key: 128 or 256.
    pub key_bits: u32,
    /// Bits of the tag: 64, 96 or 128.
    pub tag_bits: u32,
}

impl Default for V1Params {
    /// What BitGo's SDK seals with: 10 000 rounds, 256-bit key, 64-bit tag.
    fn default() -> Self {
        Self { iterations: 10_000, key_bits: 256, tag_bits: 64 }
    }
}

impl V1Params {
    fn checked(
        iterations: &Number,
        key_bits: &Number,
        tag_bits: &Number,
    ) -> Result<Self, CryptoError> {
        const KEY: &str = "ks, 128 or 256";
        const TAG: &str = "ts, 64, 96 or 128";
        let params = Self {
            iterations: bounded(iterations, 1..=100_000, "iter, 1 to 100 000")?,
            key_bits: bounded(key_bits, 128..=256, KEY)?,
            tag_bits: bounded(tag_bits, 64..=128, TAG)?,
        };
        match (params.key_bits, params.tag_bits) {
            (128 | 256, 64 | 96 | 128) => Ok(params),
            (128 | 256, _) => Err(CryptoError::Parameter(TAG)),
            _ => Err(CryptoError::Parameter(KEY)),
        }
    }

    fn key_bytes(self) -> usize {
        self.key_bits as usize / 8
    }

    fn tag_bytes(self) -> usize {
        self.tag_bits as usize / 8
    }
}

/// The JSON, its fields in BitGo's order.
#[derive(Deserialize, Serialize)]
struct Wire<'a> {
    #[serde(borrow)]
    iv: Cow<'a, str>,
    v: Number,
    iter: Number,
    ks: Number,
    ts: Number,
    #[serde(borrow)]
    mode: Cow<'a, str>,
    #[serde(borrow)]
    adata: Cow<'a, str>,
    #[serde(borrow)]
    cipher: Cow<'a, str>,
    #[serde(borrow)]
    salt: Cow<'a, str>,
    #[serde(borrow)]
    ct: Cow<'a, str>,
}

pub(super) struct Envelope {
    params: V1Params,
    salt: Vec<u8>,
    iv: Vec<u8>,
    adata: String,
    ciphertext: Vec<u8>,
}

impl Envelope {
    pub(super) fn parse(json: &str) -> Result<Self, CryptoError> {
        let wire: Wire<'_> = decode(json)?;
        if wire.mode != "ccm" {
            return Err(CryptoError::Parameter("mode, ccm"));
        }
        if wire.cipher != "aes" {
            return Err(CryptoError::Parameter("cipher, aes"));
        }
        let envelope = Self {
            params: V1Params::checked(&wire.iter, &wire.ks, &wire.ts)?,
            salt: bytes(&wire.salt, "salt")?,
            iv: bytes(&wire.iv, "iv")?,
            adata: unescape(&wire.adata)?,
            ciphertext: bytes(&wire.ct, "ct")?,
        };
        let Some(length) = envelope.ciphertext.len().checked_sub(envelope.params.tag_bytes())
        else {
            return Err(CryptoError::Malformed("ct shorter than its tag"));
        };
        if envelope.salt.is_empty() {
            return Err(CryptoError::Malformed("salt is empty"));
        }
        if !(LengthSize::of(length)?.nonce_bytes()..=IV_BYTES).contains(&envelope.iv.len()) {
            return Err(CryptoError::Malformed("iv length"));
        }
        Ok(envelope)
    }

    pub(super) fn open(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let key = derive_key(password, &self.salt, self.params.iterations);
        // CCM decrypts before it can check: until it has, the buffer is not to be trusted, and
        // a refused one is wiped.
        let mut buffer = Zeroizing::new(self.ciphertext.clone());
        let length = buffer.len() - self.params.tag_bytes();
        let message =
            Message { params: self.params, key: &*key, iv: &self.iv, adata: self.adata.as_bytes() };
        message.run(Direction::Open, LengthSize::of(length)?, &mut buffer)?;
        Ok(buffer)
    }
}

pub(super) fn seal(
    params: V1Params,
    password: &[u8],
    adata: &str,
    plaintext: &str,
    rng: &mut impl TryCryptoRng,
) -> Result<String, CryptoError> {
    let (iterations, key_bits, tag_bits) =
        (params.iterations.into(), params.key_bits.into(), params.tag_bits.into());
    let params = V1Params::checked(&iterations, &key_bits, &tag_bits)?;
    let length_size = LengthSize::of(plaintext.len())?;
    let salt = random::<SALT_BYTES>(rng)?;
    let iv = random::<IV_BYTES>(rng)?;
    let key = derive_key(password, &salt, params.iterations);
    let mut buffer = buffer(plaintext, params.tag_bytes());
    let message = Message { params, key: &*key, iv: &iv, adata: adata.as_bytes() };
    message.run(Direction::Seal, length_size, &mut buffer)?;
    let wire = Wire {
        iv: base64(&iv).into(),
        v: 1.into(),
        iter: iterations,
        ks: key_bits,
        ts: tag_bits,
        mode: "ccm".into(),
        adata: escape(adata).into(),
        cipher: "aes".into(),
        salt: base64(&salt).into(),
        ct: base64(&buffer).into(),
    };
    Ok(serde_json::to_string(&wire).expect("strings and numbers always serialise"))
}

const SALT_BYTES: usize = 8;
const IV_BYTES: usize = 16;

/// `key = PBKDF2-HMAC-SHA256(password, salt, iterations)`, of which AES-128 takes the first half.
fn derive_key(password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<[u8; 32]> {
    #[cfg(any(test, feature = "test-util"))]
    super::kdf_calls::count();
    HmacKey::new(password).pbkdf2(salt, iterations)
}

/// CCM's `L`: how many bytes hold the message's length, and what is left of 15 for the nonce.
#[derive(Clone, Copy)]
enum LengthSize {
    Two,
    Three,
    Four,
}

impl LengthSize {
    fn of(length: usize) -> Result<Self, CryptoError> {
        match u32::try_from(length) {
            Ok(0..=0xffff) => Ok(Self::Two),
            Ok(0x1_0000..=0xff_ffff) => Ok(Self::Three),
            Ok(_) => Ok(Self::Four),
            Err(_) => Err(CryptoError::Parameter("plaintext length, below 2^32")),
        }
    }

    fn nonce_bytes(self) -> usize {
        match self {
            Self::Two => 13,
            Self::Three => 12,
            Self::Four => 11,
        }
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Seal,
    Open,
}

/// `AES-CCM[key](first 15-L bytes of iv, adata, buffer)`. The `ccm` crate has sizes as types and
/// the envelope has them as numbers; the steps below turn one number after the other into its
/// type.
#[derive(Clone, Copy)]
struct Message<'a> {
    params: V1Params,
    key: &'a [u8],
    iv: &'a [u8],
    adata: &'a [u8],
}

impl Message<'_> {
    fn run(
        &self,
        direction: Direction,
        length_size: LengthSize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        match length_size {
            LengthSize::Two => self.with_nonce::<U13>(direction, buffer),
            LengthSize::Three => self.with_nonce::<U12>(direction, buffer),
            LengthSize::Four => self.with_nonce::<U11>(direction, buffer),
        }
    }

    fn with_nonce<N: ArraySize + NonceSize>(
        &self,
        direction: Direction,
        buffer: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        match self.params.tag_bits {
            64 => self.with_tag::<N, U8>(direction, buffer),
            96 => self.with_tag::<N, U12>(direction, buffer),
            _ => self.with_tag::<N, U16>(direction, buffer),
        }
    }

    fn with_tag<N: ArraySize + NonceSize, M: ArraySize + TagSize>(
        &self,
        direction: Direction,
        buffer: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        match self.params.key_bits {
            128 => self.with_cipher::<N, Ccm<Aes128, M, N>>(direction, buffer),
            _ => self.with_cipher::<N, Ccm<Aes256, M, N>>(direction, buffer),
        }
    }

    fn with_cipher<N: ArraySize, C: KeyInit + AeadInOut<NonceSize = N>>(
        &self,
        direction: Direction,
        buffer: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let cipher = C::new_from_slice(&self.key[..self.params.key_bytes()])
            .expect("key_bytes is the cipher's key size");
        let nonce =
            Nonce::<N>::try_from(&self.iv[..N::USIZE]).expect("the slice has the nonce's size");
        match direction {
            Direction::Seal => cipher.encrypt_in_place(&nonce, self.adata, buffer),
            Direction::Open => cipher.decrypt_in_place(&nonce, self.adata, buffer),
        }
        .map_err(|_| CryptoError::CouldNotOpen)
    }
}

/// JavaScript's `escape`, which SJCL applies to `adata`: `%XX` for code units below 256, `%uXXXX`
/// above.
fn escape(text: &str) -> String {
    text.encode_utf16().fold(String::with_capacity(text.len()), |mut escaped, unit| {
        let written = match u8::try_from(unit) {
            Ok(b) if b.is_ascii_alphanumeric() || b"@*_+-./".contains(&b) => {
                escaped.write_char(b.into())
            }
            Ok(b) => write!(escaped, "%{b:02X}"),
            Err(_) => write!(escaped, "%u{unit:04X}"),
        };
        written.expect("a string takes any text");
        escaped
    })
}

/// JavaScript's `unescape`: what is no escape stays as it stands.
pub(super) fn unescape(text: &str) -> Result<String, CryptoError> {
    let text: Vec<u16> = text.encode_utf16().collect();
    let mut rest = text.as_slice();
    let mut units = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        let (unit, after) = escaped_unit(rest).unwrap_or((*first, tail));
        units.push(unit);
        rest = after;
    }
    String::from_utf16(&units).map_err(|_| CryptoError::Malformed("adata has half a character"))
}

/// The code unit that the text's leading `%XX` or `%uXXXX` stands for, and the text after it.
fn escaped_unit(text: &[u16]) -> Option<(u16, &[u16])> {
    const PERCENT: u16 = b'%' as u16;
    const U: u16 = b'u' as u16;
    let (digits, after) = match text {
        [PERCENT, U, tail @ ..] => tail.split_at_checked(4)?,
        [PERCENT, tail @ ..] => tail.split_at_checked(2)?,
        _ => return None,
    };
    digits
        .iter()
        .try_fold(0, |unit, &digit| {
            let digit = char::from_u32(digit.into())?.to_digit(16)?;
            Some(unit << 4 | u16::try_from(digit).ok()?)
        })
        .map(|unit| (unit, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::known;
    use std::collections::BTreeSet;

    #[test]
    fn length_size_follows_the_plaintext() {
        for (length, nonce_bytes) in [
            (0, 13),
            (0xffff, 13),
            (0x1_0000, 12),
            (0xff_ffff, 12),
            (0x100_0000, 11),
            (0xffff_ffff, 11),
        ] {
            assert_eq!(LengthSize::of(length).unwrap().nonce_bytes(), nonce_bytes, "{length}");
        }
        assert!(LengthSize::of(0x1_0000_0000).is_err());
    }

    #[test]
    fn every_combination_of_sizes_seals_and_opens() {
        let (key, iv) = ([1; 32], [2; IV_BYTES]);
        for length_size in [LengthSize::Two, LengthSize::Three, LengthSize::Four] {
            for (key_bits, tag_bits) in
                [(128, 64), (128, 96), (128, 128), (256, 64), (256, 96), (256, 128)]
            {
                let params = V1Params { iterations: 1, key_bits, tag_bits };
                let message = Message { params, key: &key, iv: &iv, adata: b"adata" };
                let mut buffer = b"text".to_vec();
                message.run(Direction::Seal, length_size, &mut buffer).unwrap();
                assert_eq!(buffer.len(), 4 + params.tag_bytes());

                // The last byte of the iv that counts, and the first that does not.
                for (index, counts) in
                    [(length_size.nonce_bytes() - 1, true), (length_size.nonce_bytes(), false)]
                {
                    let mut iv = iv;
                    iv[index] ^= 1;
                    let altered = Message { iv: &iv, ..message };
                    let opened = altered.run(Direction::Open, length_size, &mut buffer.clone());
                    assert_eq!(opened.is_err(), counts, "{params:?}");
                }
                message.run(Direction::Open, length_size, &mut buffer).unwrap();
                assert_eq!(buffer, b"text");
            }
        }
    }

    #[test]
    fn escapes_are_javascripts() {
        for (text, escaped) in [
            ("", ""),
            ("enterprise-A", "enterprise-A"),
            ("a b&ü/\"x\"", "a%20b%26%FC/%22x%22"),
            ("@*_+-./09azAZ", "@*_+-./09azAZ"),
            ("100%", "100%25"),
            ("鍵🔑", "%u9375%uD83D%uDD11"),
        ] {
            assert_eq!(escape(text), escaped);
            assert_eq!(unescape(escaped).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_escape_stays() {
        for (escaped, text) in [
            ("%", "%"),
            ("%2", "%2"),
            ("%zz", "%zz"),
            ("%u12", "%u12"),
            ("%u12g4%41", "%u12g4A"),
            ("%%41", "%A"),
            ("ü%fc", "üü"),
            ("%+1", "%+1"),
        ] {
            assert_eq!(unescape(escaped).as_deref(), Ok(text), "{escaped}");
        }
        for half in ["%uD83D", "%uDD11%uD83D", "%uD83Dx"] {
            assert!(unescape(half).is_err(), "{half}");
        }
    }

    /// NIST's, RFC 3610's and Wycheproof's: sealed to the very bytes, opened again, the altered
    /// refused.
    #[test]
    fn others_aes_ccm_answers_come_out() {
        let file = include_str!("../../../tests/vectors/known/aes_ccm.json");
        let (mut valid, mut invalid) = (0, 0);
        let mut sizes = BTreeSet::new();
        for case in known::cases(file, "cases") {
            let part = |field| known::bytes(&case, field);
            let (key, iv, adata, tag) = (part("key"), part("iv"), part("aad"), part("tag"));
            let bits = |bytes: &[u8]| u32::try_from(8 * bytes.len()).unwrap();
            let (iterations, key_bits, tag_bits) = (1.into(), bits(&key).into(), bits(&tag).into());
            let params = V1Params::checked(&iterations, &key_bits, &tag_bits).unwrap();
            let length_size = [LengthSize::Two, LengthSize::Three, LengthSize::Four]
                .into_iter()
                .find(|size| size.nonce_bytes() == iv.len())
                .unwrap();
            let message = Message { params, key: &key, iv: &iv, adata: &adata };

            let sealed = [part("ct"), tag].concat();
            let mut opened = sealed.clone();
            let result = message.run(Direction::Open, length_size, &mut opened);
            if !known::is_valid(&case) {
                assert_eq!(result, Err(CryptoError::CouldNotOpen), "{case}");
                invalid += 1;
                continue;
            }
            assert_eq!((result, &opened), (Ok(()), &part("msg")), "{case}");
            message.run(Direction::Seal, length_size, &mut opened).unwrap();
            assert_eq!(opened, sealed, "{case}");
            sizes.insert((params.key_bits, params.tag_bits, iv.len()));
            valid += 1;
        }
        assert_eq!((valid, invalid), (367, 134));
        // All that envelopes can have, but for short tags with the longest messages' iv:
        // Wycheproof and CAVP shorten one of the two at a time.
        assert_eq!(sizes.len(), 2 * (3 + 3 + 1));
    }

    /// RFC 7914's and Wycheproof's.
    #[test]
    fn others_pbkdf2_answers_come_out() {
        let file = include_str!("../../../tests/vectors/known/pbkdf2_hmac_sha256.json");
        let cases = known::cases(file, "cases");
        assert_eq!(cases.len(), 38);
        for case in cases {
            let part = |field| known::bytes(&case, field);
            let iterations = known::number(&case, "iterations");
            let key = derive_key(&part("password"), &part("salt"), iterations);
            assert_eq!(*key, part("dk")[..32], "{case}");
        }
    }
}
