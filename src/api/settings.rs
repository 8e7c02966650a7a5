//! What an embedder may set of the client.

use std::time::Duration;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call may take from its first byte to its last.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Where BitGo's own SDK logs in.
const LOGIN_PATH: &str = "/api/auth/v1/session";
/// Where the internal token is fetched; BitGo has announced that it will move.
const INTERNAL_TOKEN_PATH: &str = "/api/v2/user/internalaccesstoken";

/// How a [`Client`](super::Client) behaves, with BitGo's defaults.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) login_path: Box<str>,
    pub(super) internal_token_path: Box<str>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TOTAL_TIMEOUT,
            login_path: LOGIN_PATH.into(),
            internal_token_path: INTERNAL_TOKEN_PATH.into(),
        }
    }
}

impl ClientSettings {
    /// How long a connection may take to stand: 5 s unless said otherwise.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call may take as a whole: 30 s unless said otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where to log in: `/api/auth/v1/session` unless said otherwise, such as `/api/v2/user/login`.
    pub fn login_path(mut self, path: &str) -> Self {
        self.login_path = path.into();
        self
    }

    /// Where to fetch the internal token: `/api/v2/user/internalaccesstoken` unless said otherwise.
    pub fn internal_token_path(mut self, path: &str) -> Self {
        self.internal_token_path = path.into();
        self
    }
}
