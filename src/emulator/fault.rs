//! Faults on demand: what goes wrong, with which requests, how often.
//!
//! Over HTTP they are asked for by [`control`](super::control).

use http::Method;
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FaultKind {
    /// This status and body instead of the call; signed as any answer.
    Status(u16, String),
    /// This status and body instead of the call, unsigned: as by a proxy on the way.
    Unsigned(u16, String),
    /// 429 with `Retry-After` in seconds, instead of the call.
    RetryAfter(u32),
    /// 429 with `Retry-After` as a date that lies this many seconds ahead, instead of the call.
    RetryAfterDate(u32),
    /// 302 to this location, instead of the call.
    Redirect(String),
    /// A web page with status 200 instead of the call, unsigned.
    Html,
    /// 401 as for an expired bearer, instead of the call.
    DeadToken,
    /// 401 that says nothing more, instead of the call.
    Unauthorized,
    /// 401 that wants a second factor, instead of the call.
    NeedsOtp,
    /// 401 as for a limit that is used up, instead of the call.
    NeedsUnlock,
    /// 401 that wants a single sign-on, instead of the call.
    NeedsSso,
    /// 401 as for an address outside of `ipRestrict`, instead of the call.
    IpNotAllowed,
    /// 403 as for a scope that does not reach, instead of the call.
    Forbidden,
    /// The call happens; a token that it issues or extends has already ended.
    AlreadyExpired,
    /// The call happens; the answer lacks its last byte and the connection ends.
    TornBody,
    /// The call happens; the answer's HMAC is wrong.
    BadHmac,
    /// The call happens; the answer's HMAC is missing.
    NoHmac,
    /// The call happens; the answer is signed as of this many milliseconds from now, such as
    /// -600 000 for one that is ten minutes old.
    AnsweredAt(i64),
    /// The call happens; the answer echoes another request's id.
    OtherRequestId,
    /// The call happens; the answer echoes no id, as if a proxy had stripped it.
    NoRequestId,
    /// The call happens; the connection ends before its answer.
    DropAfterEffect,
    /// The connection ends before the call happens.
    DropBefore,
    /// The connection is reset before the call happens.
    Reset,
    /// The connection ends before the call happens, and the server goes down: for this long every
    /// connection is refused. What else was under way is answered first; nothing is forgotten.
    Restart(Duration),
    /// The call happens, this much later, unless the client gave it up before.
    Delay(Duration),
    /// The call happens, this much later, though the client may have given it up.
    Late(Duration),
}

/// Something to go wrong: once, with the next request, unless said otherwise.
///
/// ```
/// # use bitgo_vault::emulator::{Fault, FaultKind};
/// let twice = Fault::new(FaultKind::Html).on("GET", "/user/session").times(2);
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    kind: FaultKind,
    method: Option<Box<str>>,
    path: Box<str>,
    left: u32,
}

impl Fault {
    /// A fault that meets the next request, whatever it is.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, method: None, path: "".into(), left: 1 }
    }

    /// Meets only requests with this method whose path starts or ends so.
    pub fn on(self, method: &str, path: &str) -> Self {
        self.on_method(method).on_path(path)
    }

    /// Meets this many requests.
    pub fn times(mut self, times: u32) -> Self {
        self.left = times;
        self
    }

    /// Meets only requests with this method.
    pub(super) fn on_method(mut self, method: &str) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Meets only requests whose path starts or ends so.
    pub(super) fn on_path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    fn meets(&self, method: &Method, path: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| method == wanted)
            && (path.starts_with(&*self.path) || path.ends_with(&*self.path))
    }
}

/// The faults that are still to happen, oldest first.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// How many kinds are still to happen.
    pub(super) fn waiting(&self) -> usize {
        self.0.iter().filter(|fault| fault.left > 0).count()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes what goes wrong with this request.
    pub(super) fn take(&mut self, method: &Method, path: &str) -> Option<FaultKind> {
        self.0.retain(|fault| fault.left > 0);
        let fault = self.0.iter_mut().find(|fault| fault.meets(method, path))?;
        fault.left -= 1;
        Some(fault.kind.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_what_it_names_as_often_as_it_says() {
        let mut faults = Faults::default();
        faults.add(Fault::new(FaultKind::Html).on("GET", "/user/session").times(2));
        let mut met = |method: Method, path| faults.take(&method, path).is_some();
        assert!(!met(Method::POST, "/api/v2/user/session"));
        assert!(!met(Method::GET, "/api/v2/user/accesstoken"));
        assert!(met(Method::GET, "/api/v2/user/session"));
        assert!(met(Method::GET, "/api/v1/user/session"));
        assert!(!met(Method::GET, "/api/v2/user/session"));
    }
}
