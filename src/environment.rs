//! Which BitGo a vault speaks to: its root URI and the public key that tokens are issued under.

use crate::extended_key::extended_key;
use crate::word_error::WordError;
use bip32::{Prefix, XPub};
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
    /// [`WordError::ServerXpub`] unless the key is an extended public one whose checksum fits and
    /// whose point is on the curve; a private one is refused as well.
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
        // Here rather than when the first token is issued: on the curve, and no private key.
        let server_key = extended_key(server_xpub, Prefix::XPUB).map(XPub::try_from);
        server_key.ok_or(WordError::ServerXpub)?.map_err(|_| WordError::ServerXpub)?;
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
            assert_eq!(Environment::custom(uri, TEST_XPUB).is_ok(), fits, "{uri}");
        }
        let written = Environment::custom("HTTPS://BitGo.example/", TEST_XPUB).unwrap();
        assert_eq!(written.root_uri(), "https://bitgo.example");
        assert!(!written.is_loopback());
        assert!(Environment::custom("http://[::1]:3000", TEST_XPUB).unwrap().is_loopback());
    }

    /// An extended key made from the test server's, with its version and its point replaced.
    fn altered(version: [u8; 4], point: [u8; 33]) -> String {
        let mut bytes = bs58::decode(TEST_XPUB).with_check(None).into_vec().unwrap();
        bytes[..4].copy_from_slice(&version);
        bytes[45..].copy_from_slice(&point);
        bs58::encode(bytes).with_check().into_string()
    }

    #[test]
    fn a_server_key_is_an_xpub_on_the_curve() {
        const XPUB: [u8; 4] = [0x04, 0x88, 0xb2, 0x1e];
        const XPRV: [u8; 4] = [0x04, 0x88, 0xad, 0xe4];
        const TPUB: [u8; 4] = [0x04, 0x35, 0x87, 0xcf];
        let point = |tag, x: [u8; 32]| {
            let mut point = [tag; 33];
            point[1..].copy_from_slice(&x);
            point
        };
        let mut generator = [0; 32];
        base16ct::lower::decode(
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            &mut generator,
        )
        .unwrap();
        let mut five = [0; 32];
        five[31] = 5;
        let private = altered(XPRV, point(0, [1; 32]));
        assert!(private.starts_with("xprv"), "what a hurried hand would paste");
        for (key, fits) in [
            (TEST_XPUB, true),
            (PROD_XPUB, true),
            (&altered(XPUB, point(2, generator)), true),
            // y² = 5³ + 7 has no root; 2^256 - 1 is no element of the field.
            (&altered(XPUB, point(2, five)), false),
            (&altered(XPUB, point(2, [0xff; 32])), false),
            (&altered(XPUB, point(4, generator)), false),
            (&altered(TPUB, point(2, generator)), false),
            (&private, false),
            (&altered(XPUB, point(0, [1; 32])), false),
            (&TEST_XPUB[..110], false),
            (&TEST_XPUB.replace("sGL", "sGM"), false),
            (&format!(" {TEST_XPUB}"), false),
            ("xpub", false),
            ("", false),
        ] {
            let made = Environment::custom("https://bitgo.example", key);
            assert_eq!(made.is_ok(), fits, "{key}");
            if let Err(error) = made {
                assert_eq!(error, WordError::ServerXpub);
                assert!(!format!("{error} {error:?}").contains("xprv"), "{error}");
            }
        }
    }
}
