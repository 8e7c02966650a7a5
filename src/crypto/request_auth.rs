//! HMAC of requests and answers: how a token proves itself without travelling (PROTOCOL section 3).
//!
//! ```text
//! bearer = hex(SHA-256(token))                          the Authorization header
//! hmac   = hex(HMAC-SHA256[token](subject))             the HMAC header, in v4 X-Signature
//!
//! subject   of a request                                of an answer
//! v2        timestamp|target|body                       timestamp|target|status|body
//! v3        METHOD|timestamp|3.0|target|body            METHOD|timestamp|target|status|body
//! v4        seconds⏎METHOD⏎target⏎digest⏎id⏎            seconds⏎METHOD⏎target⏎status⏎digest⏎id⏎
//!           digest = hex(SHA-256(body)); id = what the request was called, in both
//! ```

use super::CryptoError;
use super::key_slots::Words;
use super::midstate::{HmacKey, Message};
use super::stack::wiped_shallow;
use super::target::{canonical_method, canonical_target};
use crate::secret::{AccessToken, LoginPassword, wipe};
use base16ct::lower;
use sha2::{Digest, Sha256};
use std::fmt;
use std::ops::Deref;
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// A key's bearer and its two midstates, in words of 4 bytes.
pub(crate) const KEY_WORDS: usize = 16 + 2 * 8;

/// How far behind our clock an answer's time may lie, in milliseconds.
pub const WINDOW_BACK_MS: i64 = 5 * 60 * 1000;

/// How far ahead of our clock an answer's time may lie, in milliseconds.
pub const WINDOW_FORWARD_MS: i64 = 60 * 1000;

/// A version of BitGo's request authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthVersion {
    /// Version 2: the method is not covered.
    V2,
    /// Version 3: the method and the version itself are covered.
    #[default]
    V3,
    /// Version 4, which BitGo has published and does not demand yet: the request's id is covered,
    /// so that an answer fits one request alone.
    V4,
}

impl AuthVersion {
    /// The version as the `BitGo-Auth-Version` header has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "2.0",
            Self::V3 => "3.0",
            Self::V4 => "4.0",
        }
    }
}

/// What an HMAC covers beside status and body.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The version of the scheme.
    pub version: AuthVersion,
    /// Unix time in milliseconds: of a request its own time, of an answer the server's. Version 4
    /// covers its whole seconds.
    pub timestamp_ms: i64,
    /// The HTTP method, in any case; `del` counts as `DELETE`.
    pub method: &'a str,
    /// Path and query as they are sent, or the whole URL (see [`canonical_target`]).
    pub target: &'a str,
    /// The request's `X-Auth-Request-Id`, of an answer that of the request it answers. Covered by
    /// version 4 alone.
    pub auth_request_id: &'a str,
}

impl Subject<'_> {
    fn request<'k>(&self, key: &'k HmacKey, body: &[u8]) -> Message<'k> {
        let mut mac = Pieces(key.message());
        match self.version {
            AuthVersion::V2 => mac.number(self.timestamp_ms),
            AuthVersion::V3 => mac
                .text(&canonical_method(self.method))
                .text("|")
                .number(self.timestamp_ms)
                .text("|3.0"),
            AuthVersion::V4 => return self.lines(mac, None, body),
        };
        mac.text("|").text(&canonical_target(self.target)).text("|").bytes(body);
        mac.0
    }

    fn answer<'k>(&self, key: &'k HmacKey, status: u16, body: &[u8]) -> Message<'k> {
        let mut mac = Pieces(key.message());
        match self.version {
            AuthVersion::V2 => &mut mac,
            AuthVersion::V3 => mac.text(&canonical_method(self.method)).text("|"),
            AuthVersion::V4 => return self.lines(mac, Some(status), body),
        };
        mac.number(self.timestamp_ms).text("|").text(&canonical_target(self.target));
        mac.text("|").number(status).text("|").bytes(body);
        mac.0
    }

    /// Version 4: each part in a line of its own, the last one ended as well.
    fn lines<'k>(&self, mut mac: Pieces<'k>, status: Option<u16>, body: &[u8]) -> Message<'k> {
        mac.number(self.timestamp_ms.div_euclid(1000)).text("\n");
        mac.text(&canonical_method(self.method)).text("\n");
        mac.text(&canonical_target(self.target)).text("\n");
        if let Some(status) = status {
            mac.number(status).text("\n");
        }
        mac.text(&content_digest(body)).text("\n").text(self.auth_request_id).text("\n");
        mac.0
    }
}

/// What stands for a body in version 4, and in its `X-Content-SHA256`: `hex(SHA-256(body))`.
pub fn content_digest(body: &[u8]) -> String {
    lower::encode_string(&Sha256::digest(body))
}

/// A token made ready to sign: its bearer form and its HMAC state, keyed once.
///
/// # Security
/// This is the token in another form. A `v2x` token is longer than a block of SHA-256, so HMAC
/// hashes it first: the bearer alone is enough to sign with. Guard it like the token. It is made in
/// its place and not moved any more, which would leave copies behind.
pub struct AuthKey {
    bearer: [u8; 64],
    mac: HmacKey,
}

impl AuthKey {
    /// Readies a token. Only `v2x` tokens sign at BitGo ([`AccessToken::can_sign`]).
    pub fn new(token: &AccessToken) -> Box<Self> {
        let mut key = Box::new(Self::blank());
        key.ready(token);
        key
    }

    /// Room for a key. Until it is filled it is the key of no token.
    pub(crate) const fn blank() -> Self {
        Self { bearer: [b'0'; 64], mac: HmacKey::BLANK }
    }

    /// Readies a token in this place.
    pub(crate) fn ready(&mut self, token: &AccessToken) {
        let token = token.expose().as_bytes();
        wiped_shallow(|| {
            let digest = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(token)));
            lower::encode(&*digest, &mut self.bearer).expect("64 hex digits hold 32 bytes");
            self.mac = HmacKey::new(token);
        });
    }

    /// What follows `Bearer ` in the Authorization header: `hex(SHA-256(token))`.
    ///
    /// # Security
    /// As secret as the token: see [`AuthKey`].
    pub fn bearer(&self) -> &str {
        std::str::from_utf8(&self.bearer).expect("hex digits are ASCII")
    }

    /// Signs a request: `hex(HMAC-SHA256[token](request subject))`, 64 lower-case digits.
    pub fn sign_request(&self, subject: &Subject<'_>, body: &[u8]) -> HmacHex {
        HmacHex::of(subject.request(&self.mac, body))
    }

    /// Checks the HMAC of a request, as the server does, in constant time.
    ///
    /// # Errors
    /// [`CryptoError::CouldNotOpen`] if it does not fit.
    pub fn verify_request(
        &self,
        subject: &Subject<'_>,
        body: &[u8],
        hmac_hex: &str,
    ) -> Result<(), CryptoError> {
        verify(subject.request(&self.mac, body), hmac_hex)
    }

    /// Signs an answer, as the server does: `hex(HMAC-SHA256[token](answer subject))`.
    pub fn sign_response(&self, subject: &Subject<'_>, status: u16, body: &[u8]) -> HmacHex {
        HmacHex::of(subject.answer(&self.mac, status, body))
    }

    /// Checks the HMAC of an answer in constant time. The answer's age is another question:
    /// [`check_window`].
    ///
    /// # Errors
    /// [`CryptoError::CouldNotOpen`] if it does not fit.
    ///
    /// # Security
    /// No byte of the body may be used before this is `Ok`.
    pub fn verify_response(
        &self,
        subject: &Subject<'_>,
        status: u16,
        body: &[u8],
        hmac_hex: &str,
    ) -> Result<(), CryptoError> {
        verify(subject.answer(&self.mac, status, body), hmac_hex)
    }
}

/// The key as it is kept for tokens in use ([`KeySlots`](super::KeySlots)).
impl Words<KEY_WORDS> for AuthKey {
    fn words(&self) -> impl Iterator<Item = u32> {
        let (bearer, _) = self.bearer.as_chunks();
        let bearer = bearer.iter().map(|bytes| u32::from_ne_bytes(*bytes));
        bearer.chain(self.mac.inner).chain(self.mac.outer)
    }

    fn set(&mut self, words: impl Iterator<Item = u32>) {
        let mut words = words;
        let (bearer, _) = self.bearer.as_chunks_mut();
        for (place, word) in bearer.iter_mut().zip(&mut words) {
            *place = word.to_ne_bytes();
        }
        let states = self.mac.inner.iter_mut().chain(&mut self.mac.outer);
        states.zip(words).for_each(|(place, word)| *place = word);
    }
}

impl Drop for AuthKey {
    fn drop(&mut self) {
        wipe(&mut self.bearer);
    }
}

impl ZeroizeOnDrop for AuthKey {}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey([REDACTED])")
    }
}

/// An HMAC as it stands in its header: 64 lower-case hex digits, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct HmacHex([u8; 64]);

impl HmacHex {
    fn of(mac: Message<'_>) -> Self {
        let mut digits = [0; 64];
        lower::encode(&mac.finalize(), &mut digits).expect("64 hex digits hold 32 bytes");
        Self(digits)
    }
}

impl Deref for HmacHex {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are ASCII")
    }
}

impl fmt::Display for HmacHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// A subject on its way into the MAC, piece by piece: it never stands whole in memory.
struct Pieces<'k>(Message<'k>);

impl Pieces<'_> {
    fn bytes(&mut self, piece: &[u8]) -> &mut Self {
        self.0.update(piece);
        self
    }

    fn text(&mut self, piece: &str) -> &mut Self {
        self.bytes(piece.as_bytes())
    }

    fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
    }
}

/// Checks that an answer is neither stale nor from the future: at most [`WINDOW_BACK_MS`] behind
/// `now_ms` and [`WINDOW_FORWARD_MS`] ahead of it, both included, both unix milliseconds.
///
/// BitGo's SDK checks this in v3 only; the vault refuses in v2 as well.
///
/// # Errors
/// [`CryptoError::Parameter`] if it lies outside.
pub fn check_window(answered_at_ms: i64, now_ms: i64) -> Result<(), CryptoError> {
    let age = now_ms.saturating_sub(answered_at_ms);
    if (-WINDOW_FORWARD_MS..=WINDOW_BACK_MS).contains(&age) {
        Ok(())
    } else {
        Err(CryptoError::Parameter("the answer's time, 5 minutes back to 1 minute forward"))
    }
}

/// What is sent at login in place of the password:
/// `hex(HMAC-SHA256[lower-case e-mail](password))`.
///
/// # Security
/// BitGo takes it for the password itself: it is as secret.
pub fn password_hmac(email: &str, password: &LoginPassword) -> Zeroizing<String> {
    wiped_shallow(|| {
        let key = HmacKey::new(email.to_lowercase().as_bytes());
        let mut mac = key.message();
        mac.update(password.expose().as_bytes());
        Zeroizing::new(lower::encode_string(&*Zeroizing::new(mac.finalize())))
    })
}

fn verify(mac: Message<'_>, hmac_hex: &str) -> Result<(), CryptoError> {
    let mut claimed = [0; 32];
    let claimed = lower::decode(hmac_hex, &mut claimed).map_err(|_| CryptoError::CouldNotOpen)?;
    match mac.finalize().ct_eq(claimed).into() {
        true => Ok(()),
        false => Err(CryptoError::CouldNotOpen),
    }
}

#[cfg(test)]
mod tests {
    use super::super::known;
    use super::*;

    const TOKEN: &str = "v2x5970f8a0723276938e9c690ec6f881216ca24de9251063741108df4c79d4b7ee";

    fn key() -> Box<AuthKey> {
        AuthKey::new(&AccessToken::new(TOKEN))
    }

    fn subject(version: AuthVersion) -> Subject<'static> {
        Subject {
            version,
            timestamp_ms: 1_515_748_528_011,
            method: "post",
            target: "/api/v2/x",
            auth_request_id: "id",
        }
    }

    #[test]
    fn debug_form_lacks_token_bearer_and_digest() {
        assert_eq!(format!("{:?}", key()), "AuthKey([REDACTED])");
    }

    #[test]
    fn key_is_wiped_on_drop() {
        fn wiped<T: zeroize::ZeroizeOnDrop>() {}
        wiped::<AuthKey>();
        wiped::<HmacKey>();
    }

    #[test]
    fn a_key_that_was_taken_apart_into_words_signs_as_before() {
        let (key, subject) = (key(), subject(AuthVersion::V3));
        assert_eq!(key.words().count(), KEY_WORDS);
        let mut other = AuthKey::blank();
        other.set(key.words());
        assert_eq!(other.bearer(), key.bearer());
        assert_eq!(*other.sign_request(&subject, b"{}"), *key.sign_request(&subject, b"{}"));
    }

    #[test]
    fn subjects_fed_in_pieces_equal_the_whole() {
        let raw = |subject: &str| {
            let key = HmacKey::new(TOKEN.as_bytes());
            let mut mac = key.message();
            mac.update(subject.as_bytes());
            HmacHex::of(mac).to_string()
        };
        for (version, request, answer) in [
            (AuthVersion::V2, "1515748528011|/api/v2/x|{}", "1515748528011|/api/v2/x|200|[]"),
            (
                AuthVersion::V3,
                "POST|1515748528011|3.0|/api/v2/x|{}",
                "POST|1515748528011|/api/v2/x|200|[]",
            ),
            (
                AuthVersion::V4,
                "1515748528\nPOST\n/api/v2/x\n44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\nid\n",
                "1515748528\nPOST\n/api/v2/x\n200\n4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945\nid\n",
            ),
        ] {
            assert_eq!(*key().sign_request(&subject(version), b"{}"), *raw(request));
            assert_eq!(*key().sign_response(&subject(version), 200, b"[]"), *raw(answer));
        }
    }

    #[test]
    fn whatever_is_covered_breaks_the_hmac_when_changed() {
        let key = key();
        for version in [AuthVersion::V2, AuthVersion::V3, AuthVersion::V4] {
            let good = subject(version);
            let hmac = key.sign_response(&good, 200, b"{}");
            assert_eq!(key.verify_response(&good, 200, b"{}", &hmac), Ok(()));

            let later = Subject { timestamp_ms: good.timestamp_ms + 1000, ..good };
            let elsewhere = Subject { target: "/api/v2/y", ..good };
            let mut flipped = hmac.as_bytes().to_vec();
            flipped[0] = if flipped[0] == b'0' { b'1' } else { b'0' };
            let flipped = String::from_utf8(flipped).unwrap();
            for (subject, status, body, hmac) in [
                (&later, 200, "{}", &*hmac),
                (&elsewhere, 200, "{}", &hmac),
                (&good, 201, "{}", &hmac),
                (&good, 200, "{ }", &hmac),
                (&good, 200, "{}", &flipped),
                (&good, 200, "{}", &hmac[..62]),
                (&good, 200, "{}", &format!("{hmac}00")),
                (&good, 200, "{}", &hmac.to_uppercase()),
                (&good, 200, "{}", ""),
            ] {
                assert_eq!(
                    key.verify_response(subject, status, body.as_bytes(), hmac),
                    Err(CryptoError::CouldNotOpen),
                );
            }
        }
        for version in [AuthVersion::V3, AuthVersion::V4] {
            let get = Subject { method: "get", ..subject(version) };
            let hmac = key.sign_request(&get, b"");
            assert_eq!(key.verify_request(&get, b"", &hmac), Ok(()));
            assert!(key.verify_request(&subject(version), b"", &hmac).is_err());
        }
        let v4 = subject(AuthVersion::V4);
        let hmac = key.sign_response(&v4, 400, b"{}");
        let other = Subject { auth_request_id: "other", ..v4 };
        assert!(key.verify_response(&other, 400, b"{}", &hmac).is_err(), "another's answer");
    }

    #[test]
    fn window_is_five_minutes_back_and_one_forward() {
        let now = 1_700_000_000_000;
        for (answered_at, fits) in [
            (now, true),
            (now - 300_000, true),
            (now - 300_001, false),
            (now + 60_000, true),
            (now + 60_001, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            assert_eq!(check_window(answered_at, now).is_ok(), fits, "{answered_at}");
        }
    }

    /// RFC 4231's and Wycheproof's.
    #[test]
    fn others_hmac_answers_come_out() {
        let file = include_str!("../../tests/vectors/known/hmac_sha256.json");
        let (mut valid, mut invalid) = (0, 0);
        for case in known::cases(file, "cases") {
            let key = HmacKey::new(&known::bytes(&case, "key"));
            let mut mac = key.message();
            mac.update(&known::bytes(&case, "msg"));
            let tag = known::text(&case, "tag");
            if known::is_valid(&case) {
                // RFC 4231 truncates the fifth case's.
                assert_eq!(HmacHex::of(mac)[..tag.len()], *tag, "{case}");
                valid += 1;
            } else {
                assert_eq!(verify(mac, tag), Err(CryptoError::CouldNotOpen), "{case}");
                invalid += 1;
            }
        }
        assert_eq!((valid, invalid), (40, 54));
    }
}
