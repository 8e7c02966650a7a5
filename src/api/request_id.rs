//! The id of a request, known here and at BitGo.

use crate::crypto::{CryptoError, random};
use getrandom::SysRng;
use http::header::{HeaderName, HeaderValue};
use std::fmt;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The random id under which one request is known here and at BitGo (`Request-ID`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    #[cfg(test)]
    pub(super) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A new id.
    ///
    /// # Errors
    /// [`CryptoError::Entropy`] if the system gives no randomness.
    pub fn random() -> Result<Self, CryptoError> {
        Ok(Self(random(&mut SysRng)?))
    }

    /// The 16 bytes that it stands for.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id as it stands in a `Request-ID` header.
    pub fn to_header(self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("hex digits make a header")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}
