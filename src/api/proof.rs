//! The header strings by which a request proves who sends it and says what it is called.
//!
//! They stand in one buffer, which is wiped. A map of headers keeps each string in memory of its own,
//! and takes about as long to fill as the request takes to sign: it is made for who asks for one.

use super::error::ApiError;
use super::request_id::REQUEST_ID;
use crate::secret::wipe;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use std::fmt;
use zeroize::{ZeroizeOnDrop, Zeroizing};

const AUTHORIZATION: &str = "authorization";
const AUTH_VERSION: &str = "bitgo-auth-version";
const CONTENT_TYPE: &str = "content-type";
pub(super) const HMAC: &str = "hmac";
// Version 4. What headers its answers bear is not published: the request's names are taken for
// both. Nor is it whether `BitGo-Auth-Version` is sent: it is, as with every version before.
pub(super) const X_REQUEST_TIMESTAMP: &str = "x-request-timestamp";
pub(super) const X_SIGNATURE: &str = "x-signature";

const BEARER: &str = "Bearer ";

/// The names of a proof's headers, in their order; the last is the sender's to add.
type Names = &'static [&'static str];
const NAMED: Names = &[REQUEST_ID, CONTENT_TYPE];
const IN_CLEAR: Names = &[REQUEST_ID, AUTHORIZATION, CONTENT_TYPE];
const SIGNED: Names =
    &[REQUEST_ID, AUTHORIZATION, AUTH_VERSION, "auth-timestamp", HMAC, CONTENT_TYPE];
const SIGNED_V4: Names = &[
    REQUEST_ID,
    AUTHORIZATION,
    AUTH_VERSION,
    X_REQUEST_TIMESTAMP,
    X_SIGNATURE,
    "x-content-sha256",
    "x-auth-request-id",
    CONTENT_TYPE,
];

/// The most headers there are.
const HEADERS_MAX: usize = SIGNED_V4.len();

/// As many bytes as the values of those have.
const TEXT_MAX: usize = 320;

/// Headers whose values are neither printed nor kept in HTTP/2's tables of headers. A signature is no
/// secret, but opens the window in which its request may be repeated.
const SENSITIVE: [&str; 3] = [AUTHORIZATION, HMAC, X_SIGNATURE];

/// The headers of one request.
pub(crate) struct Proof {
    names: Names,
    /// The values, one after the other. It does not grow, which would leave a copy behind.
    text: String,
    /// Where in the text the values end.
    ends: [u32; HEADERS_MAX],
    count: usize,
}

impl Proof {
    fn new(names: Names, id: &str, room: usize) -> Self {
        let text = String::with_capacity(TEXT_MAX + room);
        let mut proof = Self { names, text, ends: [0; HEADERS_MAX], count: 0 };
        proof.push(id);
        proof
    }

    /// What says no more than what the request is called.
    pub(super) fn named(id: &str) -> Self {
        Self::new(NAMED, id, 0)
    }

    /// What is signed in versions 2 and 3.
    pub(super) fn signed(
        id: &str,
        bearer: &str,
        version: &str,
        timestamp: &str,
        hmac: &str,
    ) -> Self {
        let mut proof = Self::new(SIGNED, id, 0);
        proof.text.push_str(BEARER);
        [bearer, version, timestamp, hmac].iter().for_each(|value| proof.push(value));
        proof
    }

    /// What is signed in version 4.
    pub(super) fn signed_v4(
        id: &str,
        bearer: &str,
        version: &str,
        timestamp: &str,
        hmac: &str,
        digest: &str,
    ) -> Self {
        let mut proof = Self::signed(id, bearer, version, timestamp, hmac);
        proof.names = SIGNED_V4;
        [digest, id].iter().for_each(|value| proof.push(value));
        proof
    }

    /// The token itself.
    pub(super) fn in_clear(id: &str, token: &str) -> Result<Self, ApiError> {
        if !token.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(ApiError::Unsendable("the token is no header"));
        }
        let mut proof = Self::new(IN_CLEAR, id, token.len());
        proof.text.push_str(BEARER);
        proof.push(token);
        Ok(proof)
    }

    /// Says what the body is.
    pub(crate) fn of_json(&mut self) {
        self.push("application/json");
    }

    /// Adds the next value, or the rest of it.
    fn push(&mut self, value: &str) {
        debug_assert!(self.text.capacity() - self.text.len() >= value.len(), "the text would grow");
        self.text.push_str(value);
        if let (Some(end), Ok(to)) = (self.ends.get_mut(self.count), u32::try_from(self.text.len()))
        {
            *end = to;
            self.count += 1;
        }
    }

    /// The headers, each once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.ranges().filter_map(|(name, range)| Some((name, self.text.get(range)?)))
    }

    fn ranges(&self) -> impl Iterator<Item = (&'static str, std::ops::Range<usize>)> {
        let mut from = 0;
        let named = self.names.iter().zip(self.ends).take(self.count);
        named.map(move |(name, to)| (*name, std::mem::replace(&mut from, to as usize)..to as usize))
    }

    /// The headers as HTTP's libraries have them. Their values share one buffer, which is wiped with the
    /// last of them.
    pub(crate) fn to_header_map(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(HEADERS_MAX);
        let text = Bytes::from_owner(Zeroizing::new(self.text.clone().into_bytes()));
        for (name, range) in self.ranges() {
            let value = HeaderValue::from_maybe_shared(text.slice(range));
            let mut value = value.expect("visible ASCII makes a header");
            value.set_sensitive(SENSITIVE.contains(&name));
            headers.insert(HeaderName::from_static(name), value);
        }
        headers
    }
}

/// A value that stays out of what is printed, and is wiped with its last clone.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let bytes = Bytes::from_owner(Zeroizing::new(text.as_bytes().to_vec()));
    let mut value = HeaderValue::from_maybe_shared(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Drop for Proof {
    fn drop(&mut self) {
        wipe(&mut std::mem::take(&mut self.text).into_bytes());
    }
}

impl ZeroizeOnDrop for Proof {}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_what_the_strings_say_and_hides_what_proves() {
        let mut proof = Proof::signed("id", "secret", "3.0", "7", "signature");
        proof.of_json();
        let expect = [
            ("request-id", "id"),
            ("authorization", "Bearer secret"),
            ("bitgo-auth-version", "3.0"),
            ("auth-timestamp", "7"),
            ("hmac", "signature"),
            ("content-type", "application/json"),
        ];
        assert!(proof.iter().eq(expect));
        let map = proof.to_header_map();
        assert_eq!(map.len(), expect.len());
        for (name, value) in expect {
            assert_eq!(
                (map[name] == value, map[name].is_sensitive()),
                (true, SENSITIVE.contains(&name))
            );
        }
        for printed in [format!("{proof:?}"), format!("{map:?}")] {
            assert!(!printed.contains("secret") && !printed.contains("signature"), "{printed}");
        }
    }

    #[test]
    fn a_token_in_clear_must_be_a_header() {
        let long = "a".repeat(10_000);
        let proof = Proof::in_clear("id", &long).unwrap();
        assert_eq!(proof.to_header_map()[AUTHORIZATION], format!("Bearer {long}"));
        for bad in ["two\nlines", "\0", "é"] {
            assert!(Proof::in_clear("id", bad).is_err(), "{bad:?}");
        }
    }
}
