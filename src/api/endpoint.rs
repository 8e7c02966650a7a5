//! Where each call is asked: the paths of PROTOCOL section 2, and which of them may be another.

/// A call whose path may be set, because BitGo answers it at more than one, or may move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// `POST`, logs in. `/api/auth/v1/session` as BitGo's SDK does; also `/api/v2/user/login` and
    /// `/api/v1/user/login`.
    Login,
    /// `POST`, `GET` and `DELETE` of long-lived tokens. `/api/v2/user/accesstoken`; also
    /// `/api/auth/v1/accesstoken`, which BitGo's SDK uses, and `/api/v1/user/accesstoken`.
    AccessToken,
    /// `GET`, the record behind the bearer. `/api/v2/user/session`; also `/api/v1/user/session`.
    Session,
    /// `GET`, the internal token. `/api/v2/user/internalaccesstoken`; BitGo has announced that it
    /// will move.
    InternalToken,
    /// `GET`, the record with on whose behalf it acts. `/api/v2/internal/user/scopedsession`.
    ScopedSession,
    /// `POST`, unlocks. `/api/v2/user/unlock`; BitGo's SDK asks `/api/v1/user/unlock`.
    Unlock,
    /// `POST`, locks. `/api/v2/user/lock`; BitGo's SDK asks `/api/v1/user/lock`.
    Lock,
    /// `GET`, ends the session. `/api/v2/user/logout`; BitGo's SDK asks `/api/v1/user/logout`.
    Logout,
    /// `POST`, extends a session. `/api/v1/user/extendtoken`.
    Extend,
    /// `POST`, new tokens for a refresh token. `/oauth/token`.
    Oauth,
    /// `GET`, who the bearer is. `/api/v1/user/me`; also `/api/v2/user/me`.
    Me,
    /// `GET`, the constants that BitGo's SDK asks for. `/api/v1/client/constants`.
    Constants,
    /// `GET`, whether the service answers. `/api/v1/ping`.
    Ping,
}

impl Endpoint {
    const COUNT: usize = Self::Ping as usize + 1;

    /// Its path unless said otherwise.
    pub fn default_path(self) -> &'static str {
        match self {
            Self::Login => "/api/auth/v1/session",
            Self::AccessToken => "/api/v2/user/accesstoken",
            Self::Session => "/api/v2/user/session",
            Self::InternalToken => "/api/v2/user/internalaccesstoken",
            Self::ScopedSession => "/api/v2/internal/user/scopedsession",
            Self::Unlock => "/api/v2/user/unlock",
            Self::Lock => "/api/v2/user/lock",
            Self::Logout => "/api/v2/user/logout",
            Self::Extend => "/api/v1/user/extendtoken",
            Self::Oauth => "/oauth/token",
            Self::Me => "/api/v1/user/me",
            Self::Constants => "/api/v1/client/constants",
            Self::Ping => "/api/v1/ping",
        }
    }
}

/// The paths that are not their default.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths([Option<Box<str>>; Endpoint::COUNT]);

impl Paths {
    pub(super) fn set(&mut self, endpoint: Endpoint, path: &str) {
        self.0[endpoint as usize] = Some(path.into());
    }

    pub(super) fn of(&self, endpoint: Endpoint) -> &str {
        self.0[endpoint as usize].as_deref().unwrap_or(endpoint.default_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_default_until_it_is_set() {
        let mut paths = Paths::default();
        assert_eq!(paths.of(Endpoint::Login), "/api/auth/v1/session");
        paths.set(Endpoint::Login, "/api/v2/user/login");
        paths.set(Endpoint::Ping, "/ping");
        assert_eq!(paths.of(Endpoint::Login), "/api/v2/user/login");
        assert_eq!(paths.of(Endpoint::Ping), "/ping");
        assert_eq!(paths.of(Endpoint::Constants), "/api/v1/client/constants");
    }
}
