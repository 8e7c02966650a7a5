//! The routes of PROTOCOL section 2, each under every path it has.

/// A route: how it is asked for, and by what it is described.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// The path under which BitGo's file describes it; `None` where ours.json does.
    pub(crate) described: Option<&'static str>,
}

const fn file(method: &'static str, path: &'static str, described: &'static str) -> Route {
    Route { method, path, described: Some(described) }
}

const fn ours(method: &'static str, path: &'static str) -> Route {
    Route { method, path, described: None }
}

const LOGIN: &str = "/api/v2/user/login";
const TOKENS: &str = "/api/v2/user/accesstoken";
const TOKEN: &str = "/api/v2/user/accesstoken/{token}";
const INTERNAL: &str = "/api/v2/user/internalaccesstoken";
const SCOPED: &str = "/api/v2/internal/user/scopedsession";
const SESSION: &str = "/api/v2/user/session";
const UNLOCK: &str = "/api/v2/user/unlock";
const LOCK: &str = "/api/v2/user/lock";
const LOGOUT: &str = "/api/v2/user/logout";
const INITIATE: &str = "/api/v2/{coin}/wallet/{walletId}/tx/initiate";
const BUILD: &str = "/api/v2/{coin}/wallet/{walletId}/tx/build";
const SEND: &str = "/api/v2/{coin}/wallet/{walletId}/tx/send";
const REQUESTS: &str = "/api/v2/wallet/{walletId}/txrequests";
const ORDERS: &str = "/api/prime/trading/v1/accounts/{accountId}/orders";

pub(crate) const ROUTES: [Route; 36] = [
    file("POST", "/api/auth/v1/session", LOGIN),
    file("POST", "/api/v2/user/login", LOGIN),
    file("POST", "/api/v1/user/login", LOGIN),
    file("POST", TOKENS, TOKENS),
    file("POST", "/api/auth/v1/accesstoken", TOKENS),
    file("POST", "/api/v1/user/accesstoken", TOKENS),
    file("GET", TOKENS, TOKENS),
    file("GET", "/api/auth/v1/accesstoken", TOKENS),
    file("GET", "/api/v1/user/accesstoken", TOKENS),
    file("DELETE", TOKEN, TOKEN),
    file("DELETE", "/api/auth/v1/accesstoken/{token}", TOKEN),
    file("DELETE", "/api/v1/user/accesstoken/{token}", TOKEN),
    file("GET", INTERNAL, INTERNAL),
    file("GET", SCOPED, SCOPED),
    file("GET", SESSION, SESSION),
    file("GET", "/api/v1/user/session", SESSION),
    file("POST", UNLOCK, UNLOCK),
    file("POST", "/api/v1/user/unlock", UNLOCK),
    file("POST", LOCK, LOCK),
    file("POST", "/api/v1/user/lock", LOCK),
    file("GET", LOGOUT, LOGOUT),
    file("GET", "/api/v1/user/logout", LOGOUT),
    file("POST", INITIATE, INITIATE),
    file("POST", BUILD, BUILD),
    file("POST", SEND, SEND),
    file("POST", REQUESTS, REQUESTS),
    file("POST", ORDERS, ORDERS),
    ours("POST", "/api/v2/{coin}/wallet/{walletId}/sendcoins"),
    ours("POST", "/api/v2/{coin}/wallet/{walletId}/sendmany"),
    ours("GET", "/api/v2/{coin}/wallet/{walletId}"),
    ours("POST", "/api/v1/user/extendtoken"),
    ours("POST", "/oauth/token"),
    ours("GET", "/api/v1/client/constants"),
    ours("GET", "/api/v1/ping"),
    ours("GET", "/api/v1/user/me"),
    ours("GET", "/api/v2/user/me"),
];

impl Route {
    /// The index of the route that a request asks for.
    pub(crate) fn of(method: &str, target: &str) -> Option<usize> {
        let path = target.split('?').next().unwrap_or(target);
        ROUTES.iter().position(|route| route.method == method && fits(route.path, path))
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    pattern.clone().count() == path.clone().count()
        && pattern.zip(path).all(|(want, is)| want == is || want.starts_with('{') && !is.is_empty())
}
