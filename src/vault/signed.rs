//! A signed request, on its way until its answer settles it. Where a token cannot sign, the request
//! holds the token itself, and is never given out.

use super::credential;
use super::hands::Grasp;
use super::probe;
use super::reservation::Reservation;
use crate::api::{Asked, Auth, Distrust, Doubt, Proof, RequestId};
use crate::crypto::{AuthKey, AuthVersion};
use crate::error::Error;
use crate::id::TokenId;
use crate::policy::{Method, Outcome, Request};
use crate::refresh;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use std::time::Duration;

/// A signed request. Dropped without its answer, what it moves counts as spent.
#[must_use]
pub struct Signed<'r> {
    request: &'r Request,
    method: http::Method,
    proof: Proof,
    request_id: RequestId,
    /// How it was signed; `None` where the token itself travels. The key is not kept meanwhile.
    version: Option<AuthVersion>,
    /// The latest time the server was known to have signed when this was signed.
    floor_ms: i64,
    /// What it was dated by beyond the wall clock.
    offset_ms: i64,
    /// In the clock's monotonic time.
    signed_at: Duration,
    reservation: Reservation,
}

impl std::fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed").field("request", self.request).finish_non_exhaustive()
    }
}

impl<'r> Signed<'r> {
    /// Signs `request`, dated `now_ms`; should that fail, the reservation is dropped as it came.
    pub(super) fn new(
        request: &'r Request,
        auth: Auth<'_>,
        mut reservation: Reservation,
        now_ms: i64,
        signed_at: Duration,
    ) -> Result<Self, Error> {
        let request_id = RequestId::random().map_err(Error::crypto("request's new id"))?;
        let method = http_method(request.method());
        let (target, body) = (request.target(), request.body());
        let asked = Asked { auth: Some(auth), method: &method, target, request_id };
        let mut proof = asked.prove(body, now_ms)?;
        if !body.is_empty() {
            proof.of_json();
        }
        let version = match auth {
            Auth::Hmac(_, version) => Some(version),
            Auth::Bearer(_) => None,
        };
        let core = &reservation.grasp().core;
        let floor_ms = core.opened_ms().max(core.server_clock.heard_ms());
        let offset_ms = core.server_clock.offset_ms();
        reservation.commit(now_ms);
        Ok(Self {
            request,
            method,
            proof,
            request_id,
            version,
            floor_ms,
            offset_ms,
            signed_at,
            reservation,
        })
    }

    /// The headers to send the request with: once, over TLS, body and target unchanged.
    ///
    /// # Security
    /// They hold the bearer, which signs requests and answers alike: do not log them. Switch off
    /// whatever in your client repeats requests: of one that arrived twice the second answer may be
    /// a refusal though the first made the spend. If it was repeated, drop this instead of
    /// finishing it, which counts it as spent.
    pub fn headers(&self) -> HeaderMap {
        self.proof.to_header_map()
    }

    /// The same headers as names and values, for clients that have maps of their own: nothing is made
    /// for them.
    ///
    /// # Security
    /// As of [`Signed::headers`].
    pub fn header_strings(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.proof.iter()
    }

    /// What the request is called, by its `Request-ID` header: it is sent along, for BitGo's
    /// support and because an answer that echoes another one is not believed.
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// Verifies the answer and settles by it.
    ///
    /// # Errors
    /// [`Error::Untrusted`] for an answer whose HMAC or time does not fit, or that is another
    /// request's: its body must not be used, and what the request moves counts as spent.
    /// [`Error::Store`] if the token does not open any more, which checks the HMAC: as well.
    ///
    /// # Security
    /// In versions 2 and 3 BitGo's answers do not say which body they answer. A refusal therefore
    /// gives the reservation back only once, and only if it is not older than what the server was
    /// known to have said when this request was signed, nor than the opening of the vault, and the
    /// clock that requests are dated by was not corrected since; else the outcome is
    /// [`Outcome::Uncertain`]. In version 4 an answer fits the requests of one id alone.
    pub fn finish(self, status: u16, headers: &HeaderMap, body: &[u8]) -> Result<Outcome, Error> {
        let core = &self.grasp().core;
        let mut key = AuthKey::blank();
        if self.version.is_some() {
            credential::ready(core, &self.grasp().held, &mut key)?;
        }
        let asked = Asked {
            auth: self.version.map(|version| Auth::Hmac(&key, version)),
            method: &self.method,
            target: self.request.target(),
            request_id: self.request_id,
        };
        let answered_at = match asked.verify(status, headers, body, core.dated_now()) {
            Ok(answered_at) => answered_at,
            Err(distrust) => {
                match distrust {
                    Distrust::OtherRequest => {}
                    distrust if distrust.is_of_future() => self.ask_after_clock(),
                    _ => self.doubt(status, headers, body, false),
                }
                self.reservation.settle(Outcome::Uncertain);
                return Err(Error::Untrusted(distrust));
            }
        };
        self.doubt(status, headers, body, answered_at.is_some());
        let outcome = match (answered_at, Outcome::of(status)) {
            // Nobody vouches for it but the connection: that frees nothing and proves no spend.
            (None, _) if self.reservation.is_made() => Outcome::Uncertain,
            (Some(answered_at), outcome) => self.heard(answered_at, outcome, headers),
            (None, outcome) => outcome,
        };
        self.reservation.settle(outcome);
        Ok(outcome)
    }

    /// A 401 may mean that the token is dead.
    fn doubt(&self, status: u16, headers: &HeaderMap, body: &[u8], is_verified: bool) {
        if status == 401 {
            let doubt = Doubt::of(status, headers, body, self.request_id);
            let grasp = self.grasp();
            probe::note_refusal(&grasp.core, &grasp.held, doubt, is_verified);
        }
    }

    /// BitGo signed it at a time that is still to come here, so that this machine's clock is wrong. The
    /// token is asked about, which makes up for that.
    fn ask_after_clock(&self) {
        let (core, record) = (&self.grasp().core, &self.grasp().held.record);
        let ahead = refresh::Event::AnsweredAhead { token: record.info.id };
        core.tracker.happened(record.lineage, ahead);
    }

    /// What a verified answer comes to, unless it may have been shown before.
    fn heard(&self, at: DateTime<Utc>, outcome: Outcome, headers: &HeaderMap) -> Outcome {
        let (core, at_ms) = (&self.grasp().core, at.timestamp_millis());
        core.hear(at_ms, self.signed_at);
        let is_bound = self.version == Some(AuthVersion::V4);
        if outcome != Outcome::Rejected || is_bound || !self.reservation.is_made() {
            return outcome;
        }
        let hmac = headers.get("hmac").and_then(|hmac| hmac.to_str().ok()).unwrap_or_default();
        // A floor that was taken by another clock may be lower than it should.
        let is_of_one_clock = core.server_clock.is_in_use(self.offset_ms);
        match is_of_one_clock && core.refusals.counts(self.floor_ms, at_ms, hmac) {
            true => outcome,
            false => Outcome::Uncertain,
        }
    }

    /// Notes for the audit log that a request of this token was signed, before it is given out.
    pub(super) fn note(&self, token_id: TokenId, now_ms: i64) {
        let (charges, request) = (self.reservation.charges(), *self.request_id.as_bytes());
        self.grasp().core.store.note_signed(token_id, charges, request, now_ms);
    }

    /// Nothing of the request left this machine: gives the reservation back. Only
    /// [`send`](super::send) can know.
    pub(super) fn never_left(self) {
        self.reservation.settle(Outcome::Rejected);
    }

    fn grasp(&self) -> &Grasp {
        self.reservation.grasp()
    }

    pub(super) fn method(&self) -> &http::Method {
        &self.method
    }

    /// Whether the answer will bear an HMAC.
    pub(super) fn is_verifiable(&self) -> bool {
        self.version.is_some()
    }
}

fn http_method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Delete => http::Method::DELETE,
    }
}
