//! HMAC of requests and answers: how a token proves itself without travelling (PROTOCOL section 3).
//!
//! ```text
//! bearer = hex(SHA-256(token))                          the Authorization header
//! hmac   = hex(HMAC-SHA256[token](subject))             the HMAC header
//!
//! subject   of a request                                of an answer
//! v2        timestamp|target|body                       timestamp|target|status|body
//! v3        METHOD|timestamp|3.0|target|body            METHOD|timestamp|target|status|body
//! ```

use super::CryptoError;
use super::stack::wiped_shallow;
use crate::secret::{AccessToken, LoginPassword};
use base16ct::lower;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::{self, Write};
use zeroize::Zeroizing;

type HmacSha256 = Hmac<Sha256>;

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
}

impl AuthVersion {
    /// The version as the `BitGo-Auth-Version` header has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "2.0",
            Self::V3 => "3.0",
        }
    }
}

/// What an HMAC covers beside status and body.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The version of the scheme.
    pub version: AuthVersion,
    /// Unix time in milliseconds: of a request its `Auth-Timestamp` header, of an answer the
    /// answer's own `timestamp` header.
    pub timestamp_ms: i64,
    /// The HTTP method, in any case; `del` counts as `DELETE`.
    pub method: &'a str,
    /// Path and query as they are sent, or the whole URL (see [`canonical_target`]).
    pub target: &'a str,
}

impl Subject<'_> {
    fn request(&self, mac: HmacSha256, body: &[u8]) -> HmacSha256 {
        let mut mac = Pieces(mac);
        match self.version {
            AuthVersion::V2 => mac.number(self.timestamp_ms),
            AuthVersion::V3 => mac
                .text(&canonical_method(self.method))
                .text("|")
                .number(self.timestamp_ms)
                .text("|")
                .text(self.version.as_str()),
        };
        mac.text("|").text(&canonical_target(self.target)).text("|").bytes(body);
        mac.0
    }

    fn answer(&self, mac: HmacSha256, status: u16, body: &[u8]) -> HmacSha256 {
        let mut mac = Pieces(mac);
        if self.version == AuthVersion::V3 {
            mac.text(&canonical_method(self.method)).text("|");
        }
        mac.number(self.timestamp_ms).text("|").text(&canonical_target(self.target));
        mac.text("|").number(status).text("|").bytes(body);
        mac.0
    }
}

/// A token made ready to sign: its bearer form and its HMAC state, keyed once.
///
/// # Security
/// This is the token in another form. A `v2x` token is longer than a block of SHA-256, so HMAC
/// hashes it first: the bearer alone is enough to sign with. Guard it like the token.
pub struct AuthKey(Box<Keyed>);

/// In one place for good: a key that is moved would leave copies behind.
struct Keyed {
    bearer: Zeroizing<[u8; 64]>,
    mac: HmacSha256,
}

impl AuthKey {
    /// Readies a token. Only `v2x` tokens sign at BitGo ([`AccessToken::can_sign`]).
    pub fn new(token: &AccessToken) -> Self {
        let token = token.expose().as_bytes();
        wiped_shallow(|| {
            let digest = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(token)));
            let mut bearer = Zeroizing::new([0; 64]);
            lower::encode(&*digest, &mut *bearer).expect("64 hex digits hold 32 bytes");
            Self(Box::new(Keyed { bearer, mac: keyed(token) }))
        })
    }

    /// What follows `Bearer ` in the Authorization header: `hex(SHA-256(token))`.
    ///
    /// # Security
    /// As secret as the token: see [`AuthKey`].
    pub fn bearer(&self) -> &str {
        std::str::from_utf8(&*self.0.bearer).expect("hex digits are ASCII")
    }

    /// Signs a request: `hex(HMAC-SHA256[token](request subject))`, 64 lower-case digits.
    pub fn sign_request(&self, subject: &Subject<'_>, body: &[u8]) -> String {
        self.with_mac(|mac| hex(subject.request(mac, body)))
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
        self.with_mac(|mac| verify(subject.request(mac, body), hmac_hex))
    }

    /// Signs an answer, as the server does: `hex(HMAC-SHA256[token](answer subject))`.
    pub fn sign_response(&self, subject: &Subject<'_>, status: u16, body: &[u8]) -> String {
        self.with_mac(|mac| hex(subject.answer(mac, status, body)))
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
        self.with_mac(|mac| verify(subject.answer(mac, status, body), hmac_hex))
    }

    /// Signs a request by version 4, which BitGo has published and does not demand yet:
    /// `hex(HMAC-SHA256[token](seconds⏎METHOD⏎target⏎hex(SHA-256(body))⏎id⏎))`.
    pub fn sign_request_v4(
        &self,
        timestamp_secs: i64,
        method: &str,
        target: &str,
        body: &[u8],
        auth_request_id: &str,
    ) -> String {
        self.sign_v4(timestamp_secs, method, target, None, body, auth_request_id)
    }

    /// Signs an answer by version 4: as the request, with the status in a line after the target.
    pub fn sign_response_v4(
        &self,
        timestamp_secs: i64,
        method: &str,
        target: &str,
        status: u16,
        body: &[u8],
        auth_request_id: &str,
    ) -> String {
        self.sign_v4(timestamp_secs, method, target, Some(status), body, auth_request_id)
    }

    fn sign_v4(
        &self,
        timestamp_secs: i64,
        method: &str,
        target: &str,
        status: Option<u16>,
        body: &[u8],
        auth_request_id: &str,
    ) -> String {
        self.with_mac(|mac| {
            let mut mac = Pieces(mac);
            mac.number(timestamp_secs).text("\n");
            mac.text(&canonical_method(method)).text("\n");
            mac.text(&canonical_target(target)).text("\n");
            if let Some(status) = status {
                mac.number(status).text("\n");
            }
            mac.text(&lower::encode_string(&Sha256::digest(body))).text("\n");
            mac.text(auth_request_id).text("\n");
            hex(mac.0)
        })
    }

    /// The state is as good as the token, and is moved wherever the MAC is.
    fn with_mac<T>(&self, work: impl FnOnce(HmacSha256) -> T) -> T {
        wiped_shallow(|| work(self.0.mac.clone()))
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey([REDACTED])")
    }
}

/// A subject on its way into the MAC, piece by piece: it never stands whole in memory.
struct Pieces(HmacSha256);

impl Pieces {
    fn bytes(&mut self, piece: &[u8]) -> &mut Self {
        self.0.update(piece);
        self
    }

    fn text(&mut self, piece: &str) -> &mut Self {
        self.bytes(piece.as_bytes())
    }

    fn number(&mut self, number: impl Into<i64>) -> &mut Self {
        write!(self, "{}", number.into()).expect("a MAC takes any text");
        self
    }
}

impl Write for Pieces {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.text(piece);
        Ok(())
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

/// The target as it is signed: scheme, host and fragment off; an empty path is `/`, an empty
/// query is dropped, percent-escapes stay as they are sent.
///
/// Takes a whole URL or what follows the host. Borrows what it can, which is all but a query
/// without a path.
///
/// ```
/// use bitgo_vault::crypto::canonical_target;
/// assert_eq!(canonical_target("https://app.bitgo.com/api/v2/x?q=a%20b"), "/api/v2/x?q=a%20b");
/// assert_eq!(canonical_target("https://app.bitgo.com"), "/");
/// assert_eq!(canonical_target("/api/v2/x?"), "/api/v2/x");
/// ```
pub fn canonical_target(url_or_target: &str) -> Cow<'_, str> {
    let target = without_origin(url_or_target);
    let target = target.split_once('#').map_or(target, |(target, _fragment)| target);
    let target = match target.split_once('?') {
        Some((path, "")) => path,
        _ => target,
    };
    match target {
        "" => Cow::Borrowed("/"),
        target if target.starts_with('?') => Cow::Owned(format!("/{target}")),
        target => Cow::Borrowed(target),
    }
}

fn without_origin(url: &str) -> &str {
    // The usual case, and the search below would cost it a tenth of the signature.
    if url.starts_with('/') {
        return url;
    }
    match url.split_once("://") {
        // A scheme has none of these; where one stands, `://` is part of the query.
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#']) => {
            rest.find(['/', '?', '#']).map_or("", |end| &rest[end..])
        }
        _ => url,
    }
}

/// The method as it is signed: upper case, and BitGo's `del` is `DELETE`.
pub fn canonical_method(method: &str) -> Cow<'_, str> {
    if method == "del" {
        Cow::Borrowed("DELETE")
    } else if method.bytes().any(|b| b.is_ascii_lowercase()) {
        Cow::Owned(method.to_ascii_uppercase())
    } else {
        Cow::Borrowed(method)
    }
}

/// What is sent at login in place of the password:
/// `hex(HMAC-SHA256[lower-case e-mail](password))`.
///
/// # Security
/// BitGo takes it for the password itself: it is as secret.
pub fn password_hmac(email: &str, password: &LoginPassword) -> Zeroizing<String> {
    wiped_shallow(|| {
        let mut mac = keyed(email.to_lowercase().as_bytes());
        mac.update(password.expose().as_bytes());
        Zeroizing::new(hex(mac))
    })
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn hex(mac: HmacSha256) -> String {
    lower::encode_string(&mac.finalize().into_bytes())
}

fn verify(mac: HmacSha256, hmac_hex: &str) -> Result<(), CryptoError> {
    let mut claimed = [0; 32];
    let claimed = lower::decode(hmac_hex, &mut claimed).map_err(|_| CryptoError::CouldNotOpen)?;
    mac.verify_slice(claimed).map_err(|_| CryptoError::CouldNotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "v2x5970f8a0723276938e9c690ec6f881216ca24de9251063741108df4c79d4b7ee";

    fn key() -> AuthKey {
        AuthKey::new(&AccessToken::new(TOKEN))
    }

    fn subject(version: AuthVersion) -> Subject<'static> {
        Subject { version, timestamp_ms: 1_515_748_528_011, method: "post", target: "/api/v2/x" }
    }

    #[test]
    fn debug_form_lacks_token_bearer_and_digest() {
        assert_eq!(format!("{:?}", key()), "AuthKey([REDACTED])");
    }

    #[test]
    fn key_is_wiped_on_drop() {
        fn wiped<T: zeroize::ZeroizeOnDrop>() {}
        wiped::<Zeroizing<[u8; 64]>>();
        // Hmac lacks the marker; it is made of this hash's cores and buffer, which bear it.
        wiped::<Sha256>();
        assert!(std::mem::needs_drop::<HmacSha256>());
    }

    #[test]
    fn subjects_fed_in_pieces_equal_the_whole() {
        let raw = |subject: &str| {
            let mut mac = keyed(TOKEN.as_bytes());
            mac.update(subject.as_bytes());
            hex(mac)
        };
        for (version, request, answer) in [
            (AuthVersion::V2, "1515748528011|/api/v2/x|{}", "1515748528011|/api/v2/x|200|[]"),
            (
                AuthVersion::V3,
                "POST|1515748528011|3.0|/api/v2/x|{}",
                "POST|1515748528011|/api/v2/x|200|[]",
            ),
        ] {
            assert_eq!(key().sign_request(&subject(version), b"{}"), raw(request));
            assert_eq!(key().sign_response(&subject(version), 200, b"[]"), raw(answer));
        }
        let request =
            key().sign_request_v4(1_739_845_481, "get", "https://app.bitgo.com", b"", "id");
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(request, raw(&format!("1739845481\nGET\n/\n{empty}\nid\n")));
    }

    #[test]
    fn whatever_is_covered_breaks_the_hmac_when_changed() {
        let key = key();
        for version in [AuthVersion::V2, AuthVersion::V3] {
            let good = subject(version);
            let hmac = key.sign_response(&good, 200, b"{}");
            assert_eq!(key.verify_response(&good, 200, b"{}", &hmac), Ok(()));

            let later = Subject { timestamp_ms: good.timestamp_ms + 1, ..good };
            let elsewhere = Subject { target: "/api/v2/y", ..good };
            let mut flipped = hmac.clone().into_bytes();
            flipped[0] = if flipped[0] == b'0' { b'1' } else { b'0' };
            let flipped = String::from_utf8(flipped).unwrap();
            for (subject, status, body, hmac) in [
                (&later, 200, "{}", hmac.as_str()),
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
        let get = Subject { method: "get", ..subject(AuthVersion::V3) };
        let hmac = key.sign_request(&get, b"");
        assert_eq!(key.verify_request(&get, b"", &hmac), Ok(()));
        assert!(key.verify_request(&subject(AuthVersion::V3), b"", &hmac).is_err());
    }

    #[test]
    fn targets_are_made_canonical() {
        for (input, expect) in [
            ("https://app.bitgo-test.com", "/"),
            ("https://app.bitgo-test.com/", "/"),
            ("https://app.bitgo-test.com?x=1", "/?x=1"),
            ("https://app.bitgo-test.com/api/v2/user/session?", "/api/v2/user/session"),
            ("http://127.0.0.1:4000/a?b=c#d", "/a?b=c"),
            ("https://h/%C3%BC?q=a%20b%2Fc", "/%C3%BC?q=a%20b%2Fc"),
            ("/login?next=https://h/x", "/login?next=https://h/x"),
            ("/a?b?", "/a?b?"),
            ("/a?#b", "/a"),
            ("", "/"),
        ] {
            assert_eq!(canonical_target(input), expect, "{input}");
        }
    }

    #[test]
    fn methods_are_made_canonical() {
        for (input, expect) in
            [("del", "DELETE"), ("delete", "DELETE"), ("get", "GET"), ("PATCH", "PATCH")]
        {
            assert_eq!(canonical_method(input), expect);
        }
        assert!(matches!(canonical_method("POST"), Cow::Borrowed(_)));
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
}
