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
const BEARER: &str = "Bearer ";

/// The most headers there are: those of version 4, and a content type.
const HEADERS_MAX: usize = 8;

/// As many bytes as the values of those have.
const TEXT_MAX: usize = 320;

/// Headers whose values are neither printed nor kept in HTTP/2's tables of headers. A signature is no
/// secret, but opens the window in which its request may be repeated.
const SENSITIVE: [&str; 3] = [AUTHORIZATION, "hmac", "x-signature"];

/// Headers, name by name.
pub(crate) struct Proof {
    /// The values, one after the other. It does not grow, which would leave a copy behind.
    text: String,
    /// Names, and where in the text their values end.
    ends: [(&'static str, usize); HEADERS_MAX],
    count: usize,
}

impl Proof {
    fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: [("", 0); HEADERS_MAX], count: 0 }
    }

    /// What says no more than what the request is called.
    pub(super) fn named(id: &str) -> Self {
        let mut proof = Self::with_capacity(TEXT_MAX);
        proof.push(REQUEST_ID, id);
        proof
    }

    /// What a signature is to be added to.
    pub(super) fn signed(id: &str, bearer: &str) -> Self {
        let mut proof = Self::named(id);
        proof.text.push_str(BEARER);
        proof.push(AUTHORIZATION, bearer);
        proof
    }

    /// The token itself.
    pub(super) fn in_clear(id: &str, token: &str) -> Result<Self, ApiError> {
        if !token.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(ApiError::Unsendable("the token is no header"));
        }
        let mut proof = Self::with_capacity(TEXT_MAX + token.len());
        proof.push(REQUEST_ID, id);
        proof.text.push_str(BEARER);
        proof.push(AUTHORIZATION, token);
        Ok(proof)
    }

    /// Adds a header whose value, or the rest of it, this is. More than there are do not come.
    pub(crate) fn push(&mut self, name: &'static str, value: &str) {
        debug_assert!(self.text.capacity() - self.text.len() >= value.len(), "the text would grow");
        if let Some(end) = self.ends.get_mut(self.count) {
            self.text.push_str(value);
            *end = (name, self.text.len());
            self.count += 1;
        }
    }

    /// The headers, each once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.ranges().filter_map(|(name, range)| Some((name, self.text.get(range)?)))
    }

    fn ranges(&self) -> impl Iterator<Item = (&'static str, std::ops::Range<usize>)> {
        let mut from = 0;
        self.ends.iter().take(self.count).map(move |(name, to)| {
            let range = from..*to;
            from = *to;
            (*name, range)
        })
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
        let mut proof = Proof::signed("id", "secret");
        proof.push("hmac", "signature");
        proof.push("content-type", "application/json");
        let expect = [
            ("request-id", "id"),
            ("authorization", "Bearer secret"),
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
