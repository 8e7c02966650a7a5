//! A lease: one request, checked and reserved, to be signed once.
//!
//! ```text
//! lease ── dropped ──────────────> reservation given back
//!   └─ sign ─> signed ── dropped ─> counts as spent
//!                └─ finish(answer) ─> settled by what the verified answer says
//! ```

use super::core::Core;
use super::entry::{Entry, Held};
use crate::api::{self, Asked, RequestId};
use crate::crypto::AuthKey;
use crate::error::Error;
use crate::id::LineageId;
use crate::policy::{self, Action, Charge, Denied, Ledger, Method, Outcome, Request, Rule};
use crate::refresh::Phase;
use crate::scope::{Permission, Scope};
use crate::secret::AccessToken;
use crate::store::AuditAction;
use crate::token::{Label, Renewal, TokenInfo};
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

/// The longest a reader waits for the renewal of a token that is still valid.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The longest a reader waits for the renewal of a token that has expired.
const EXPIRED_WAIT: Duration = Duration::from_secs(30);

/// The right to sign one request. Dropped before signing, it gives its reservation back.
#[must_use]
pub struct Lease<'r> {
    core: Arc<Core>,
    entry: Arc<Entry>,
    held: Arc<Held>,
    request: &'r Request,
    reservation: Reservation,
    /// In the clock's monotonic time.
    void_from: Duration,
}

impl std::fmt::Debug for Lease<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("request", self.request).finish_non_exhaustive()
    }
}

/// Takes a lease at once.
pub(super) fn take<'r>(
    core: &Arc<Core>,
    label: &Label,
    request: &'r Request,
) -> Result<Lease<'r>, Error> {
    let Permit { entry, held, charges } = permit(core, label, request)?;
    let reservation = Reservation::make(core, held.record.lineage, charges)?;
    Ok(Lease::new(core, entry, held, request, reservation))
}

/// Takes a lease, waiting for a renewal and for the reservation's commit without blocking.
pub(super) async fn take_wait<'r>(
    core: &Arc<Core>,
    label: &Label,
    request: &'r Request,
) -> Result<Lease<'r>, Error> {
    core.check_open()?;
    await_renewal(core, &*core.entry(label)?).await;
    let Permit { entry, held, charges } = permit(core, label, request)?;
    let lineage = held.record.lineage;
    let reservation = match charges.is_empty() {
        true => Reservation::make(core, lineage, charges)?,
        // Should the caller go away, the reservation is dropped with the task, and given back.
        false => core.blocking(move |core| Reservation::make(core, lineage, charges)).await??,
    };
    Ok(Lease::new(core, entry, held, request, reservation))
}

/// A request that only its budget may still forbid.
struct Permit {
    entry: Arc<Entry>,
    held: Arc<Held>,
    charges: Vec<Charge>,
}

/// Reads the request and checks it against everything but the budget.
fn permit(core: &Core, label: &Label, request: &Request) -> Result<Permit, Error> {
    core.check_open()?;
    let entry = core.entry(label)?;
    let held = entry.held().ok_or_else(|| Error::NoSuchToken { label: label.clone() })?;
    let action = Action::of(request)?;
    policy::check(&action, &held.record.info, core.clock.now())?;
    let charges = policy::charges(&action.transfers)?;
    Ok(Permit { entry, held, charges })
}

/// Waits while a renewal is due: the reader of a valid token for the end of an attempt, and no
/// more than a moment; that of an expired one for a renewal, while there is hope for one.
async fn await_renewal(core: &Core, entry: &Entry) {
    // Subscribed before anything is looked at, so that no wake-up is missed.
    let mut progress = entry.progress();
    let (renewals, ended) = {
        let now = progress.borrow();
        (now.renewals, now.ended)
    };
    let renewable = |held: &Arc<Held>| held.record.renewal != Renewal::Manual;
    let Some(held) = entry.held().filter(renewable) else { return };
    let now = core.clock.now();
    // Whether it came or not, the token is then judged as it is.
    let _ = match held.phase(now) {
        Phase::Mandatory => {
            let left = held.record.info.expires_at.and_then(|end| (end - now).to_std().ok());
            let patience = LONGEST_WAIT.min(left.unwrap_or_default() / 2);
            let news = progress.wait_for(|now| now.ended != ended || now.is_hopeless);
            tokio::time::timeout(patience, news).await.is_ok()
        }
        Phase::Expired => {
            let news = progress.wait_for(|now| now.renewals != renewals || now.is_hopeless);
            tokio::time::timeout(EXPIRED_WAIT, news).await.is_ok()
        }
        _ => return,
    };
}

impl<'r> Lease<'r> {
    fn new(
        core: &Arc<Core>,
        entry: Arc<Entry>,
        held: Arc<Held>,
        request: &'r Request,
        reservation: Reservation,
    ) -> Self {
        let void_from = core.clock.monotonic().saturating_add(core.lease_lifetime);
        Self { core: Arc::clone(core), entry, held, request, reservation, void_from }
    }

    /// Signs the request, once. From here on only a verified answer gives the reservation back.
    ///
    /// # Errors
    /// [`Error::LeaseVoid`] if the lease is too old or its token was renewed or removed;
    /// [`Error::Denied`] if the token has expired. The reservation is given back.
    pub fn sign(mut self) -> Result<Signed<'r>, Error> {
        self.check_alive()?;
        let lineage = self.held.record.lineage;
        let secret = self.core.store.open_secret(lineage, &self.held.secret)?;
        let key = AuthKey::new(&secret.token);
        let method = http_method(self.request.method());
        let (target, body) = (self.request.target(), self.request.body());
        let now_ms = self.core.clock.now().timestamp_millis();
        let version = self.core.auth_version;
        let mut headers = api::signed_headers(&key, version, now_ms, &method, target, body);
        if !body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(http::header::CONTENT_TYPE, json);
        }
        let request_id = RequestId::random().map_err(Error::crypto("request's new id"))?;
        headers.insert("request-id", request_id.to_header());
        let floor_ms = self.core.refusals.newest_ms();
        self.reservation.unsettled = Outcome::Uncertain;
        Ok(Signed {
            core: self.core,
            request_id,
            floor_ms,
            request: self.request,
            method,
            headers,
            key,
            reservation: self.reservation,
        })
    }

    /// Gives the reservation back, as dropping the lease does.
    pub fn release(self) {}

    /// Hands out the token itself, for what cannot be signed.
    ///
    /// The audit log tells of it first. If the token can spend, all that is left of its limits is
    /// charged: what is spent with a raw token is not seen here.
    ///
    /// # Errors
    /// [`Error::Denied`] unless [`dangerous_allow_raw_exposure`](super::Vault::dangerous_allow_raw_exposure)
    /// was said; [`Error::LeaseVoid`]; [`Error::Store`] if the log or the charge cannot be made
    /// durable: then the token is not handed out.
    ///
    /// # Security
    /// Whoever holds the raw token is bound by BitGo's limit alone.
    pub async fn expose_token(self) -> Result<AccessToken, Error> {
        self.check_alive()?;
        if !self.held.record.rules.raw_exposure {
            return Err(Denied::new(
                Rule::RawExposure,
                "the token may not be handed out; sign with it, or allow raw exposure",
            )
            .into());
        }
        let Self { core, entry, held, reservation, .. } = self;
        let exposed = core.blocking(move |core| {
            // No removal, renewal or change of rules comes between this look and the hand-out.
            let _one_at_a_time = core.begin_change();
            if !entry.held().is_some_and(|now| Arc::ptr_eq(&now, &held)) {
                return Err(Error::LeaseVoid {
                    why: "the token was removed, renewed or its rules changed",
                });
            }
            let (lineage, info) = (held.record.lineage, &held.record.info);
            core.store.append_audit(AuditAction::Exposed, info.id, None, core.clock.now())?;
            reservation.settle(Outcome::Uncertain);
            if can_spend(info) {
                core.store.exhaust(lineage)?;
            }
            Ok(core.store.open_secret(lineage, &held.secret)?.token)
        });
        exposed.await?
    }

    fn check_alive(&self) -> Result<(), Error> {
        let void = |why| Err(Error::LeaseVoid { why });
        match self.entry.held() {
            None => return void("the token was removed"),
            Some(held) if !Arc::ptr_eq(&held, &self.held) => {
                return void("the token was renewed or its rules changed");
            }
            Some(_) => {}
        }
        if self.core.clock.monotonic() >= self.void_from {
            return void("it is too old");
        }
        Ok(policy::check_expiry(&self.held.record.info, self.core.clock.now())?)
    }
}

fn can_spend(info: &TokenInfo) -> bool {
    info.scopes
        .iter()
        .any(|scope| matches!(scope, Scope::All | Scope::Granted(Permission::WalletSpend, _)))
}

/// A signed request. Dropped without its answer, what it moves counts as spent.
#[must_use]
pub struct Signed<'r> {
    core: Arc<Core>,
    request: &'r Request,
    method: http::Method,
    headers: HeaderMap,
    request_id: RequestId,
    key: AuthKey,
    /// The latest time the server was known to have signed when this was signed.
    floor_ms: i64,
    reservation: Reservation,
}

impl std::fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed").field("request", self.request).finish_non_exhaustive()
    }
}

impl Signed<'_> {
    /// The headers to send the request with: once, over TLS, body and target unchanged.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Verifies the answer and settles by it.
    ///
    /// # Errors
    /// [`Error::Untrusted`] for an answer whose HMAC or time does not fit: its body must not be
    /// used, and what the request moves counts as spent.
    ///
    /// # Security
    /// BitGo's answers do not say which body they answer. A refusal therefore gives the
    /// reservation back only once, and only if it is newer than everything the server was known
    /// to have said before this request was signed, and than the opening of the vault; else the outcome is [`Outcome::Uncertain`].
    pub fn finish(self, status: u16, headers: &HeaderMap, body: &[u8]) -> Result<Outcome, Error> {
        let refusals = &self.core.refusals;
        let asked = Asked {
            key: &self.key,
            version: self.core.auth_version,
            method: &self.method,
            target: self.request.target(),
        };
        let answered_at = match asked.verify(status, headers, body, self.core.clock.now()) {
            Ok(answered_at) => answered_at,
            Err(distrust) => {
                self.reservation.settle(Outcome::Uncertain);
                return Err(Error::Untrusted(distrust));
            }
        };
        let answered_at_ms = answered_at.timestamp_millis();
        refusals.note(answered_at_ms);
        let hmac = headers.get("hmac").and_then(|hmac| hmac.to_str().ok()).unwrap_or_default();
        let outcome = match Outcome::of(status) {
            Outcome::Rejected
                if self.reservation.is_made()
                    && !refusals.counts(self.floor_ms, answered_at_ms, hmac) =>
            {
                Outcome::Uncertain
            }
            outcome => outcome,
        };
        self.reservation.settle(outcome);
        Ok(outcome)
    }

    /// Nothing of the request left this machine: gives the reservation back. Only
    /// [`send`](super::send) can know.
    pub(super) fn never_left(self) {
        self.reservation.settle(Outcome::Rejected);
    }

    pub(super) fn method(&self) -> &http::Method {
        &self.method
    }

    pub(super) fn request_id(&self) -> RequestId {
        self.request_id
    }
}

/// Charges that are reserved, and settled exactly once.
struct Reservation {
    core: Arc<Core>,
    lineage: LineageId,
    charges: Vec<Charge>,
    /// What dropping it means.
    unsettled: Outcome,
}

impl Reservation {
    /// Reserves durably; nothing to reserve costs nothing.
    fn make(core: &Arc<Core>, lineage: LineageId, charges: Vec<Charge>) -> Result<Self, Error> {
        if !charges.is_empty() {
            core.store.reserve(&lineage, &charges)?;
        }
        Ok(Self { core: Arc::clone(core), lineage, charges, unsettled: Outcome::Rejected })
    }

    fn settle(mut self, outcome: Outcome) {
        self.unsettled = outcome;
    }

    fn is_made(&self) -> bool {
        !self.charges.is_empty()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.is_made() {
            self.core.store.settle(&self.lineage, &self.charges, self.unsettled);
        }
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
