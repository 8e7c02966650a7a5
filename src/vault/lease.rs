//! A lease: one request, checked and reserved, to be signed once.
//!
//! ```text
//! lease ── dropped ──────────────> reservation given back
//!   └─ sign ─> signed ── dropped ─> counts as spent
//!                └─ finish(answer) ─> settled by what the verified answer says
//! ```

use super::core::latest;
use super::credential::{self, Sender};
use super::hands::{Grasp, Hands};
use super::reservation::Reservation;
use super::revoke;
use super::runtime::Runtime;
use super::signed::Signed;
use crate::api::Auth;
use crate::clock::Stopwatch;
use crate::crypto::AuthKey;
use crate::error::Error;
use crate::policy::{self, Action, ActionKind, Charge, Denied, Moment, Outcome, Request, Rule};
use crate::refresh::Standing;
use crate::scope::{Permission, Scope};
use crate::secret::AccessToken;
use crate::store::{AuditAction, TokenRecord};
use crate::telemetry;
use crate::token::TokenInfo;
use std::sync::Arc;
use std::time::Duration;

/// The right to sign one request. Dropped before signing, it gives its reservation back.
#[must_use]
pub struct Lease<'r> {
    request: &'r Request,
    sender: Sender,
    reservation: Reservation,
    /// The stretch between two freezes that it was taken in: it is good in no other.
    freeze_epoch: u64,
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
    hands: &Hands,
    label: &str,
    request: &'r Request,
) -> Result<Lease<'r>, Error> {
    let (since, core) = (Stopwatch::start(), hands.core());
    core.check_open()?;
    let (grasp, now) = (hands.grasp(label)?, core.moment());
    let (kind, charges, freeze_epoch) = permit(&grasp, request, Sender::Bot, now)?;
    let reservation = Reservation::make(grasp, charges, now)?;
    telemetry::leased(kind.as_str(), since);
    Ok(Lease::new(request, Sender::Bot, reservation, freeze_epoch, now))
}

/// Takes a lease, waiting for a renewal and for the reservation's commit without blocking.
pub(super) async fn take_wait<'r>(
    hands: &Hands,
    label: &str,
    request: &'r Request,
    sender: Sender,
) -> Result<Lease<'r>, Error> {
    let (since, core) = (Stopwatch::start(), hands.core());
    core.check_open()?;
    let (mut grasp, mut now) = (hands.grasp(label)?, core.moment());
    if grasp.held.awaits_renewal(latest(now)) {
        let entry = core.entry(&grasp.held.record.label)?;
        let tell = || core.tracker.awaited(grasp.held.record.lineage);
        entry.await_renewal(latest(now), tell).await;
        core.check_open()?;
        (grasp, now) = (hands.grasp(label)?, core.moment());
    }
    let (kind, charges, freeze_epoch) = permit(&grasp, request, sender, now)?;
    let reservation = match Reservation::draw(grasp, charges, now) {
        Ok(reservation) => reservation,
        // Should the caller go away, the reservation is dropped with the task, and given back.
        Err((grasp, charges)) => {
            // It may wait for its turn, and counts as of then.
            core.blocking(move |core| Reservation::make(grasp, charges, core.moment())).await??
        }
    };
    telemetry::leased(kind.as_str(), since);
    Ok(Lease::new(request, sender, reservation, freeze_epoch, now))
}

/// Reads the request and checks it against everything but the budget, which its charges are
/// reserved from. The answer also tells what it is for, and between which freezes that was.
fn permit(
    grasp: &Grasp,
    request: &Request,
    sender: Sender,
    now: Moment,
) -> Result<(ActionKind, Vec<Charge>, u64), Error> {
    let Grasp { core, held, .. } = grasp;
    let freeze_epoch = core.store.freeze().check()?;
    revoke::check(held)?;
    held.check_standing()?;
    let TokenRecord { info, rules, .. } = &held.record;
    // None but those that are marked so may be unable to sign. To be exposed they are still leased.
    if info.issued_in_clear {
        let travels = credential::ready(core, held, &mut AuthKey::blank())?.is_some();
        if travels && sender == Sender::Bot && !rules.raw_exposure {
            return Err(Error::SendOnly);
        }
    }
    let action = Action::of(request, &rules.units)?;
    policy::check(&action, info, rules, now.latest_ms())?;
    Ok((action.kind, policy::charges(&action, rules)?, freeze_epoch))
}

impl<'r> Lease<'r> {
    fn new(
        request: &'r Request,
        sender: Sender,
        reservation: Reservation,
        freeze_epoch: u64,
        now: Moment,
    ) -> Self {
        let void_from = now.monotonic.saturating_add(reservation.grasp().core.lease_lifetime);
        Self { request, sender, reservation, freeze_epoch, void_from }
    }

    /// Signs the request, once. From here on only a verified answer gives the reservation back.
    ///
    /// # Errors
    /// [`Error::LeaseVoid`] if the lease is too old or its token was renewed or removed;
    /// [`Error::Denied`] if the token has expired; [`Error::SendOnly`] if it cannot sign, for the
    /// headers would then hold the token itself. The reservation is given back.
    pub fn sign(self) -> Result<Signed<'r>, Error> {
        let (since, now) = (Stopwatch::start(), self.grasp().core.moment());
        self.check_void(now.monotonic)?;
        // When an unverified token ends BitGo alone knows; it is leased for views only.
        if !self.grasp().held.is_unverified() {
            policy::check_expiry(&self.grasp().held.record.info, now.latest_ms())?;
        }
        let Self { request, sender, reservation, .. } = self;
        let grasp = reservation.grasp();
        let mut key = AuthKey::blank();
        let travelling = credential::ready(&grasp.core, &grasp.held, &mut key)?;
        let auth = match &travelling {
            None => Auth::Hmac(&key, grasp.core.auth_version),
            Some(_) if sender == Sender::Bot => return Err(Error::SendOnly),
            Some(token) => Auth::Bearer(token),
        };
        let id = grasp.held.record.info.id;
        let dated_ms = grasp.core.server_clock.dated_ms(now.wall_ms);
        let signed = Signed::new(request, auth, reservation, dated_ms, now.monotonic)?;
        signed.note(id, now.wall_ms);
        telemetry::signed(since);
        Ok(signed)
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.grasp().core.runtime
    }

    fn grasp(&self) -> &Grasp {
        self.reservation.grasp()
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
        self.check_void(self.grasp().core.clock.monotonic())?;
        self.check_exposable()?;
        let Self { reservation, freeze_epoch, .. } = self;
        let grasp = Arc::clone(reservation.grasp());
        let core = Arc::clone(&grasp.core);
        let exposed = core.blocking(move |core| {
            let held = &grasp.held;
            // No removal, renewal or change of rules comes between this look and the hand-out.
            let _one_at_a_time = core.begin_change();
            if let Some(why) = held.end() {
                return Err(Error::LeaseVoid { why });
            }
            core.store.freeze().look()?;
            if core.store.freeze().epoch() != freeze_epoch {
                return Err(Error::LeaseVoid { why: "the vault was frozen meanwhile" });
            }
            let (lineage, info) = (held.record.lineage, &held.record.info);
            policy::check_expiry(info, core.moment().latest_ms())?;
            core.store.append_audit(AuditAction::Exposed, info.id, None, core.clock.now())?;
            reservation.settle(Outcome::Uncertain);
            if can_spend(info) {
                core.store.exhaust(lineage, core.moment().server_ms)?;
            }
            // Nor is it handed out if the kill switch was pressed while that was written.
            core.store.freeze().look()?;
            Ok(core.store.open_secret(lineage, &held.secret)?.token)
        });
        exposed.await?
    }

    fn check_exposable(&self) -> Result<(), Error> {
        if self.grasp().held.is_unverified() {
            return Err(policy::unverified().into());
        }
        if !self.grasp().held.record.rules.raw_exposure {
            return Err(Denied::new(
                Rule::RawExposure,
                "the token may not be handed out; sign with it, or allow raw exposure",
            )
            .into());
        }
        Ok(())
    }

    /// What handing the token out takes beside the audit log and the charge, for benches: to the
    /// public no token goes that neither knows of.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn open_untold(self) -> Result<AccessToken, Error> {
        self.check_void(self.grasp().core.clock.monotonic())?;
        self.check_exposable()?;
        let Grasp { core, held, .. } = self.grasp();
        Ok(core.store.open_secret(held.record.lineage, &held.secret)?.token)
    }

    fn check_void(&self, monotonic: Duration) -> Result<(), Error> {
        let Grasp { core, held, .. } = self.grasp();
        if core.store.freeze().check()? != self.freeze_epoch {
            return Err(Error::LeaseVoid { why: "the vault was frozen meanwhile" });
        }
        if let Some(why) = held.end() {
            return Err(Error::LeaseVoid { why });
        }
        if held.standing() == Standing::Revoked {
            return Err(Error::LeaseVoid { why: "bitgo says that its token is dead" });
        }
        if monotonic >= self.void_from {
            return Err(Error::LeaseVoid { why: "it is too old" });
        }
        Ok(())
    }
}

/// Whether it can move money, out of a wallet or by an order.
fn can_spend(info: &TokenInfo) -> bool {
    let moves =
        |permission| [Permission::WalletSpend, Permission::TradeTrade].contains(&permission);
    info.scopes.iter().any(|scope| match scope {
        Scope::All => true,
        Scope::Granted(permission, _) => moves(*permission),
        Scope::Other(_) => false,
    })
}
