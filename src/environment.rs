//! Which BitGo a vault speaks to: its root URI and the public key that tokens are issued under.

use crate::word_error::WordError;
use std::fmt;

const PROD_ROOT: &str = "https://app.bitgo.com";
const PROD_XPUB: &str = "xpub661MyMwAqRbcEtUgu9HF8ai4ipuVKKHBzUqks4jSFypW8dwwQL1zygLgQx99NmC7zJJznSiwKG6RQfVjAKMtCsx8VjR6kQW8x7HrkXFZdnQ";
const TEST_ROOT: &str = "https://app.bitgo-test.com";
const TEST_XPUB: &str = "xpub661MyMwAqRbcErFqVXGiUFv9YeoPbhN72UiNCUdj9nj3T6M8h7iKNmbCYpMVWVZP7LA2ma3HWcPngz1gRTm4FPdtm9mHfrNvU93MCoszsGL";

/// The hosts that are this machine.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// A BitGo service. A vault is bound to one for its life.
///
/// Source of the pinned values: PROTOCOL section 1.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Environment {
    /// BitGo's production service.
    Prod,
    /// BitGo's test service.
    Test,
    /// Another server that speaks the protocol, such as the emulator.
    Custom(CustomEnvironment),
}

/// The root URI and server key of an [`Environment::Custom`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomEnvironment {
    root_uri: Box<str>,
    server_xpub: Box<str>,
}

impl Environment {
    /// A server at `root_uri` (scheme and authority only) that issues tokens under `server_xpub`.
    ///
    /// # Errors
    /// [`WordError::RootUri`] unless the URI is `https://host[:port]`, or `http://` with a
    /// loopback host: plain HTTP beyond this machine would let anyone on the way read and alter.
    pub fn custom(root_uri: &str, server_xpub: &str) -> Result<Self, WordError> {
        let root = root_uri.strip_suffix('/').unwrap_or(root_uri).to_ascii_lowercase();
        let uri: http::Uri = root.parse().map_err(|_| WordError::RootUri)?;
        let authority = uri.authority().ok_or(WordError::RootUri)?;
        let scheme = match (uri.scheme_str(), uri.host()) {
            (Some("https"), _) => "https",
            (Some("http"), Some(host)) if LOOPBACK.contains(&host) => "http",
            _ => return Err(WordError::RootUri),
        };
        if root != format!("{scheme}://{authority}") || authority.as_str().contains('@') {
            return Err(WordError::RootUri);
        }
        let server_xpub = server_xpub.into();
        Ok(Self::Custom(CustomEnvironment { root_uri: root.into(), server_xpub }))
    }

    /// Whether the server runs on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let uri: Result<http::Uri, _> = self.root_uri().parse();
        uri.is_ok_and(|uri| uri.host().is_some_and(|host| LOOPBACK.contains(&host)))
    }

    /// The root URI, without a slash at its end.
    pub fn root_uri(&self) -> &str {
        match self {
            Self::Prod => PROD_ROOT,
            Self::Test => TEST_ROOT,
            Self::Custom(custom) => &custom.root_uri,
        }
    }

    /// The extended public key (BIP32) under which this server issues tokens.
    pub fn server_xpub(&self) -> &str {
        match self {
            Self::Prod => PROD_XPUB,
            Self::Test => TEST_XPUB,
            Self::Custom(custom) => &custom.server_xpub,
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.root_uri())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_only_on_loopback() {
        for (uri, fits) in [
            ("https://bitgo.example", true),
            ("https://bitgo.example:8443/", true),
            ("HTTPS://BitGo.example", true),
            ("http://127.0.0.1:3000", true),
            ("http://localhost:3000", true),
            ("http://[::1]:3000", true),
            ("http://bitgo.example", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1", false),
            ("http://user@127.0.0.1", false),
            ("https://bitgo.example/api", false),
            ("https://bitgo.example?x", false),
            ("ftp://127.0.0.1", false),
            ("127.0.0.1:3000", false),
            ("", false),
        ] {
            assert_eq!(Environment::custom(uri, "xpub").is_ok(), fits, "{uri}");
        }
        let written = Environment::custom("HTTPS://BitGo.example/", "xpub").unwrap();
        assert_eq!(written.root_uri(), "https://bitgo.example");
        assert!(!written.is_loopback());
        assert!(Environment::custom("http://[::1]:3000", "xpub").unwrap().is_loopback());
    }
}
