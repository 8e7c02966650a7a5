//! A request as the exact bytes that policy reads, that are signed, and that are sent.
//!
//! What could be spelled in two ways is refused here, before anything reads it: the target is
//! `/[A-Za-z0-9._~:@/-]*` with an optional query, without escapes in the path, empty or dot
//! segments, fragment or host; a mutating call has no query.

use super::Transfer;
use crate::money::{Amount, Coin};
use crate::secret::to_json;
use serde::Serialize;
use std::fmt;
use zeroize::Zeroizing;

/// The largest body, in bytes.
pub(crate) const BODY_MAX: usize = 1 << 20;
/// The longest target, in bytes.
const TARGET_MAX: usize = 2048;
/// The most segments that the path of a known call has.
pub(crate) const SEGMENTS_MAX: usize = 9;

/// An HTTP method the vault signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Reads.
    Get,
    /// Mutates.
    Post,
    /// Mutates.
    Put,
    /// Mutates.
    Delete,
}

impl Method {
    /// The method as it stands in the request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request that cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The target could be read in more than one way.
    #[error(
        "not a plain target: /path with letters, digits and . _ ~ : @ - is wanted, without host, escapes, empty or dot segments"
    )]
    Target,
    /// A mutating call with a query.
    #[error("a mutating call takes no query: put its parameters into the body")]
    Query,
    /// The body is too large.
    #[error("the body is larger than 1 MiB")]
    TooLarge,
    /// The body cannot be written as JSON.
    #[error("the body cannot be written as json")]
    Json,
}

/// One request, owning its exact bytes. The body is wiped on drop: it may hold a wallet passphrase.
///
/// ```
/// use bitgo_vault::Request;
/// # fn main() -> Result<(), bitgo_vault::RequestError> {
/// let view = Request::get("/api/v2/tbtc/wallet/5941b202b42fcbc707170d5b597491d9")?;
/// let body = serde_json::json!({"recipients": [{"address": "tb1q…", "amount": "1000"}]});
/// let spend = Request::post("/api/v2/tbtc/wallet/5941b202b42fcbc707170d5b597491d9/tx/initiate").json(&body)?;
/// # Ok(()) }
/// ```
pub struct Request {
    method: Method,
    target: Box<str>,
    path: Segments,
    body: Zeroizing<Vec<u8>>,
    declared: Vec<Transfer>,
}

/// Where the segments of a path end, as they were found when it was checked.
struct Segments {
    ends: [u16; SEGMENTS_MAX],
    /// How many there are, though no more than so many are known.
    count: usize,
    /// Where the path ends in the target.
    end: usize,
}

/// A mutating request that still wants its body.
#[derive(Clone, Debug)]
pub struct Draft {
    method: Method,
    target: Box<str>,
}

impl Request {
    /// A reading request.
    ///
    /// # Errors
    /// [`RequestError::Target`] if the target could be read in more than one way.
    pub fn get(target: &str) -> Result<Self, RequestError> {
        Self::new(Method::Get, target.into(), Zeroizing::default())
    }

    /// A `POST` that still wants its body.
    pub fn post(target: &str) -> Draft {
        Draft { method: Method::Post, target: target.into() }
    }

    /// A `PUT` that still wants its body.
    pub fn put(target: &str) -> Draft {
        Draft { method: Method::Put, target: target.into() }
    }

    /// A `DELETE` that still wants its body.
    pub fn delete(target: &str) -> Draft {
        Draft { method: Method::Delete, target: target.into() }
    }

    fn new(
        method: Method,
        target: Box<str>,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Self, RequestError> {
        let path = check_target(method, &target)?;
        if body.len() > BODY_MAX {
            return Err(RequestError::TooLarge);
        }
        Ok(Self { method, target, path, body, declared: Vec::new() })
    }

    /// The same request, which moves `amount` of a coin to `destination`: for a transaction that was
    /// built or half signed elsewhere, and so does not say itself what it moves. Once for each
    /// recipient. What is declared is checked and charged as if it had been read; it is not sent.
    ///
    /// # Security
    /// Nobody checks a declaration: whoever declares less than is moved spends past every local
    /// limit. That is why it is denied unless
    /// [`LocalRules::declared_amounts`](crate::LocalRules::declared_amounts) allows it.
    pub fn declaring(mut self, coin: &Coin, amount: Amount, destination: &str) -> Self {
        let (coin, destination) = (coin.clone(), destination.into());
        self.declared.push(Transfer { coin, amount, destination, is_erc20: false });
        self
    }

    /// What the caller says that it moves.
    pub(crate) fn declared(&self) -> &[Transfer] {
        &self.declared
    }

    /// A request as another process has it, before what that declares of it.
    pub(crate) fn of_parts(
        method: &str,
        target: &str,
        body: Vec<u8>,
    ) -> Result<Self, RequestError> {
        let methods = [Method::Get, Method::Post, Method::Put, Method::Delete];
        let known = methods.into_iter().find(|known| known.as_str() == method);
        Self::new(known.ok_or(RequestError::Target)?, target.into(), Zeroizing::new(body))
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The path and query, exactly as sent and signed.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The body, exactly as sent and signed.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The segments of the path; `None` where there are more than any known call has.
    pub(crate) fn segments<'r, 's>(
        &'r self,
        place: &'s mut [&'r str; SEGMENTS_MAX],
    ) -> Option<&'s [&'r str]> {
        let (ends, mut from) = (self.path.ends.get(..self.path.count)?, 1);
        for (segment, end) in place.iter_mut().zip(ends) {
            *segment = self.target.get(from..usize::from(*end))?;
            from = usize::from(*end) + 1;
        }
        place.get(..self.path.count)
    }

    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.get(..self.path.end).unwrap_or_default()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.method, self.path(), self.body.len())
    }
}

impl Draft {
    /// The request with `body` as JSON.
    ///
    /// # Errors
    /// [`RequestError`] if the target is not plain or the body too large.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Result<Request, RequestError> {
        let body = to_json(body).map_err(|_| RequestError::Json)?;
        Request::new(self.method, self.target, body)
    }

    /// The request with these bytes as its body.
    ///
    /// # Errors
    /// [`RequestError`] if the target is not plain or the body too large.
    pub fn bytes(self, body: Vec<u8>) -> Result<Request, RequestError> {
        Request::new(self.method, self.target, Zeroizing::new(body))
    }
}

fn check_target(method: Method, target: &str) -> Result<Segments, RequestError> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~:@-".contains(&b);
    let segments = path.strip_prefix('/').ok_or(RequestError::Target)?;
    let path_fits = segments.split('/').all(|segment| {
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain)
    });
    let query_fits = query.is_none_or(|query| {
        !query.is_empty() && query.bytes().all(|b| plain(b) || b"=&%,+/!*".contains(&b))
    });
    if !path_fits || !query_fits || target.len() > TARGET_MAX {
        return Err(RequestError::Target);
    }
    if query.is_some() && method != Method::Get {
        return Err(RequestError::Query);
    }
    let (mut found, mut end) = (Segments { ends: [0; SEGMENTS_MAX], count: 0, end: path.len() }, 0);
    for segment in segments.split('/') {
        end += 1 + segment.len();
        if let Some(place) = found.ends.get_mut(found.count) {
            *place = u16::try_from(end).map_err(|_| RequestError::Target)?;
        }
        found.count += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_one_spelling() {
        for (target, fits) in [
            ("/api/v2/user/session", true),
            ("/api/v2/algo:USDC-31566704/wallet/5941", true),
            ("/api/v2/user/accesstoken?limit=2&prevId=abc", true),
            ("/api/v2/x?q=a%20b%2Fc", true),
            ("", false),
            ("/", false),
            ("api/v2", false),
            ("//host/api", false),
            ("/api//v2", false),
            ("/api/v2/", false),
            ("/api/./v2", false),
            ("/api/../v2", false),
            ("/api/%2e%2e/v2", false),
            ("/api/v2#x", false),
            ("/api/v2?", false),
            ("/api/v2?a#b", false),
            ("/api/v2?a b", false),
            ("/api/v2\\x", false),
            ("/api/v2/ü", false),
            ("https://app.bitgo.com/api", false),
            ("/a\r\nHost: x", false),
        ] {
            assert_eq!(Request::get(target).is_ok(), fits, "{target:?}");
        }
        assert!(Request::get(&format!("/{}", "a".repeat(2048))).is_err());
    }

    #[test]
    fn mutating_calls_have_no_query_and_a_bounded_body() {
        let target = "/api/v2/user/accesstoken";
        let with_query = Request::post("/api/v2/x?y=1").json(&()).unwrap_err();
        assert_eq!(with_query, RequestError::Query);
        assert!(Request::post(target).bytes(vec![b' '; BODY_MAX]).is_ok());
        let large = Request::post(target).bytes(vec![b' '; BODY_MAX + 1]).unwrap_err();
        assert_eq!(large, RequestError::TooLarge);
    }

    #[test]
    fn printed_form_lacks_the_body_and_the_query() {
        let body = serde_json::json!({"walletPassphrase": "hunter2"});
        let printed = format!("{:?}", Request::post("/api/v2/x").json(&body).unwrap());
        assert_eq!(printed, "POST /api/v2/x (30 bytes)");
    }
}
