//! Time-based one-time passwords: RFC 6238 with SHA-1, 6 digits and steps of 30 seconds, which is
//! what authenticator apps are set up with.
//!
//! Whoever holds the seed has the second factor for good: a seed beside the password makes two
//! factors one. It is here because unattended renewal may have no other way.

use crate::secret::{Otp, SecretBytes};
use crate::word_error::WordError;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// How long a password lasts, in seconds.
const STEP_SECS: i64 = 30;
/// 10^6, for six digits.
const MODULUS: u32 = 1_000_000;
/// The shortest and the longest seed accepted, in bytes: services hand out 10 to 64.
const SEED_BYTES: std::ops::RangeInclusive<usize> = 10..=128;

/// What one-time passwords are derived from, as it is shown when an authenticator is set up.
pub struct TotpSeed {
    seed: SecretBytes,
    last_step: Arc<LastStep>,
}

/// The step whose password was handed out last, for all that derive from one seed.
#[derive(Debug)]
pub(crate) struct LastStep(AtomicI64);

impl Default for LastStep {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl fmt::Debug for TotpSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSeed([REDACTED])")
    }
}

impl TotpSeed {
    /// Reads a seed in base32 (RFC 4648 section 6), in either case; spaces, dashes and the padding at
    /// its end are passed over. Wiping `text` is the caller's.
    ///
    /// # Errors
    /// [`WordError::TotpSeed`] for any other character, or fewer than 10 or more than 128 bytes.
    pub fn from_base32(text: &str) -> Result<Self, WordError> {
        let digits = || text.trim_end_matches('=').bytes().filter(|b| !b" -".contains(b));
        let bytes = digits().count() * 5 / 8;
        if !SEED_BYTES.contains(&bytes) {
            return Err(WordError::TotpSeed);
        }
        let mut seed = SecretBytes::zeroed(bytes);
        let mut filled = seed.iter_mut();
        let (mut pending, mut bits) = (0_u16, 0);
        for digit in digits() {
            let value = match digit.to_ascii_uppercase() {
                letter @ b'A'..=b'Z' => letter - b'A',
                digit @ b'2'..=b'7' => digit - b'2' + 26,
                _ => return Err(WordError::TotpSeed),
            };
            pending = pending << 5 | u16::from(value);
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                let [_, byte] = (pending >> bits).to_be_bytes();
                if let Some(place) = filled.next() {
                    *place = byte;
                }
                pending &= (1 << bits) - 1;
            }
        }
        Ok(Self { seed, last_step: Arc::default() })
    }

    /// The seed of these bytes, as they were kept, with the turns of all others of it.
    pub(crate) fn kept(seed: SecretBytes, last_step: Arc<LastStep>) -> Self {
        Self { seed, last_step }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.seed
    }

    /// `HOTP(seed, unix time / 30 s) = truncated(HMAC-SHA1[seed](step)) mod 10^6`: the password now.
    ///
    /// It is the same for up to 30 s, and a server takes it once: see [`TotpSeed::take_turn`].
    pub fn password_at(&self, now: DateTime<Utc>) -> Otp {
        let step = now.timestamp().div_euclid(STEP_SECS);
        let mut mac =
            Hmac::<Sha1>::new_from_slice(&self.seed).expect("HMAC takes keys of any length");
        mac.update(&step.to_be_bytes());
        let mac = mac.finalize().into_bytes();
        // Dynamic truncation (RFC 4226 section 5.3): the last digit says where the four bytes are.
        let at = usize::from(mac[19] & 0xf);
        let number = u32::from_be_bytes([mac[at] & 0x7f, mac[at + 1], mac[at + 2], mac[at + 3]]);
        Otp::new(format!("{:06}", number % MODULUS))
    }

    /// When the next password is due that was not handed out before: `now`, or the beginning of the
    /// first step after the last that was taken. A server that has taken a password once refuses it
    /// for the rest of its step (RFC 6238 section 5.2), as for a login and an issuance after each other.
    pub fn take_turn(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let current = now.timestamp().div_euclid(STEP_SECS);
        let next = |last: i64| Some(current.max(last.saturating_add(1)));
        let last = self.last_step.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        let step = next(last.unwrap_or(i64::MIN)).unwrap_or(current);
        DateTime::from_timestamp(step.saturating_mul(STEP_SECS), 0).map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `12345678901234567890`, the seed of RFC 6238's vectors.
    const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    /// RFC 6238 appendix B, the rows for SHA-1. They have eight digits, of which six are the last.
    #[test]
    fn the_vectors_of_rfc_6238() {
        let seed = TotpSeed::from_base32(SEED).unwrap();
        assert_eq!(&seed.seed[..], b"12345678901234567890");
        for (secs, eight_digits) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let now = DateTime::from_timestamp(secs, 0).unwrap();
            assert_eq!(seed.password_at(now).expose(), &eight_digits[2..], "{secs}");
        }
    }

    #[test]
    fn a_password_lasts_for_its_step() {
        let seed = TotpSeed::from_base32(SEED).unwrap();
        let at = |secs| seed.password_at(DateTime::from_timestamp(secs, 0).unwrap());
        assert_eq!(at(30).expose(), at(59).expose());
        assert_ne!(at(29).expose(), at(30).expose());
    }

    #[test]
    fn each_password_is_handed_out_once() {
        let seed = TotpSeed::from_base32(SEED).unwrap();
        let turn = |secs| seed.take_turn(DateTime::from_timestamp(secs, 0).unwrap()).timestamp();
        assert_eq!(turn(59), 59, "the first at once");
        assert_eq!(turn(59), 60, "the second with the next step");
        assert_eq!(turn(61), 90, "whose password is gone then");
        assert_eq!(turn(300), 300);
        assert_eq!(turn(10), 330, "a clock that is set back brings none back");
    }

    #[test]
    fn seeds_are_read_as_they_are_shown() {
        let spaced = "gezd gnbv gy3t qojq gezd gnbv gy3t qojq";
        for (text, bytes) in [
            (spaced, Some(&b"12345678901234567890"[..])),
            ("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ====", Some(b"12345678901234567890")),
            ("MFRGGZDFMZTWQ2LK", Some(b"abcdefghij")),
            ("MFRGGZDFMZTWQ2LKNM======", Some(b"abcdefghijk")),
            ("MFRGGZDFMZTWQ", None),
            ("MFRGGZDFMZTWQ2L1", None),
            ("MFRGGZDFMZTWQ2L=K", None),
            ("", None),
        ] {
            let seed = TotpSeed::from_base32(text);
            assert_eq!(seed.as_ref().ok().map(|seed| &seed.seed[..]), bytes, "{text}");
        }
        assert!(TotpSeed::from_base32(&"A".repeat(208)).is_err(), "130 bytes");
        let printed = format!("{:?}", TotpSeed::from_base32(SEED).unwrap());
        assert_eq!(printed, "TotpSeed([REDACTED])");
    }
}
