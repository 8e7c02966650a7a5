//! What an embedder may set of the client.

use super::endpoint::{Endpoint, Paths};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call may take from its first byte to its last, with all its repetitions.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a call that changes nothing is repeated.
const RETRIES: u32 = 2;
/// How many repetitions may be owed to calls that failed, before calls that succeed earn more.
const RETRY_BUDGET: u32 = 10;

/// How a [`Client`](super::Client) behaves, with BitGo's defaults.
///
/// ```
/// # use bitgo_vault::api::{ClientSettings, Endpoint};
/// # use std::time::Duration;
/// let settings = ClientSettings::default()
///     .timeout(Duration::from_secs(10))
///     .proxy("http://proxy.example:3128")
///     .path(Endpoint::Login, "/api/v2/user/login");
/// ```
#[derive(Clone, Debug)]
pub struct ClientSettings {
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    pub(super) retry_budget: u32,
    pub(super) proxy: Option<ProxyUri>,
    pub(super) extra_roots: Vec<RootPem>,
    pub(super) paths: Paths,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TOTAL_TIMEOUT,
            retries: RETRIES,
            retry_budget: RETRY_BUDGET,
            proxy: None,
            extra_roots: Vec::new(),
            paths: Paths::default(),
        }
    }
}

impl ClientSettings {
    /// How long a connection may take to stand, TLS and the way through a proxy included: 5 s
    /// unless said otherwise.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call may take as a whole, its repetitions and the waits between them included:
    /// 30 s unless said otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a call that changes nothing (every `GET` but the one that logs out, and `DELETE` of a
    /// token) is repeated where PROTOCOL section 7 calls its failure transient: 2 times unless said
    /// otherwise. 0 repeats nothing. Calls that mint, unlock or spend are never repeated.
    pub fn retries(mut self, most: u32) -> Self {
        self.retries = most;
        self
    }

    /// How many repetitions the client and its clones have to give: 10 unless said otherwise. Each
    /// takes one, each call that succeeds earns a tenth of one: in an outage the load on the server grows
    /// by 10 requests and not threefold, and while all is well by a tenth at most.
    pub fn retry_budget(mut self, repetitions: u32) -> Self {
        self.retry_budget = repetitions;
        self
    }

    /// Sends everything through the HTTP proxy at this URI, such as `http://proxy.example:3128` or
    /// `http://user:password@proxy.example:3128`. Without this nothing is proxied: `HTTP_PROXY` and
    /// its kin are not heard. A URI that is none fails [`Client::new`](super::Client::new).
    ///
    /// # Security
    /// The proxy sees which hosts are asked, when and how much; what goes to an `https://` root
    /// passes it inside TLS.
    pub fn proxy(mut self, uri: &str) -> Self {
        self.proxy = Some(ProxyUri(Zeroizing::new(uri.to_owned())));
        self
    }

    /// Trusts the certificate authorities in this PEM text beside those of the platform, for a server
    /// or a proxy of one's own. Text without a certificate fails [`Client::new`](super::Client::new).
    ///
    /// # Security
    /// Whoever holds the key of one of them can stand in BitGo's place, as far as TLS goes. Answers to
    /// signed requests still need their HMAC; a login's answer has none.
    pub fn extra_root_certificates(mut self, pem: &str) -> Self {
        self.extra_roots.push(RootPem(pem.into()));
        self
    }

    /// Asks a call at another path than [`Endpoint::default_path`], such as
    /// `path(Endpoint::Login, "/api/v2/user/login")`. What is sent stays the same.
    pub fn path(mut self, endpoint: Endpoint, path: &str) -> Self {
        self.paths.set(endpoint, path);
        self
    }
}

/// Where the proxy is; it may hold a password.
#[derive(Clone)]
pub(super) struct ProxyUri(pub(super) Zeroizing<String>);

impl fmt::Debug for ProxyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUri([REDACTED])")
    }
}

/// Certificates in PEM: public, but long.
#[derive(Clone)]
pub(super) struct RootPem(pub(super) Box<str>);

impl fmt::Debug for RootPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootPem({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_that_are_promised() {
        let ClientSettings { connect_timeout, timeout, retries, proxy, extra_roots, .. } =
            ClientSettings::default();
        assert_eq!((connect_timeout.as_secs(), timeout.as_secs(), retries), (5, 30, 2));
        assert!(proxy.is_none() && extra_roots.is_empty());
    }

    #[test]
    fn a_proxys_password_is_not_printed() {
        let settings = ClientSettings::default()
            .proxy("http://user:secret@proxy.example:3128")
            .extra_root_certificates("pem");
        let printed = format!("{settings:?}");
        assert!(!printed.contains("secret") && printed.contains("RootPem(3 bytes)"), "{printed}");
    }
}
