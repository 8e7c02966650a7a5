//! A lease: one request, checked and reserved, to be signed once.
//!
//! ```text
//! lease ── dropped ──────────────> reservation given back
//!   └─ sign ─> signed ── dropped ─> counts as spent
//!                └─ finish(answer) ─> settled by what the verified answer says
//! ```

use super::core::Core;
use super::credential::{Credential, Sender};
use super::entry::{Entry, Held};
use super::reservation::Reservation;
use super::revoke;
use super::signed::Signed;
use crate::error::Error;
use crate::id::LineageId;
use crate::policy::{self, Action, Charge, Denied, Outcome, Request, Rule};
use crate::scope::{Permission, Scope};
use crate::secret::AccessToken;
use crate::store::{AuditAction, TokenRecord};
use crate::token::{Label, TokenInfo};
use std::sync::Arc;
use std::time::Duration;

/// The right to sign one request. Dropped before signing, it gives its reservation back.
#[must_use]
pub struct Lease<'r> {
    core: Arc<Core>,
    entry: Arc<Entry>,
    held: Arc<Held>,
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
    core: &Arc<Core>,
    label: &Label,
    request: &'r Request,
) -> Result<Lease<'r>, Error> {
    let Permit { entry, held, charges, freeze_epoch } = permit(core, label, request, Sender::Bot)?;
    let reservation = reserve(core, held.record.lineage, charges)?;
    Ok(Lease::new(core, entry, held, request, Sender::Bot, reservation, freeze_epoch))
}

/// Takes a lease, waiting for a renewal and for the reservation's commit without blocking.
pub(super) async fn take_wait<'r>(
    core: &Arc<Core>,
    label: &Label,
    request: &'r Request,
    sender: Sender,
) -> Result<Lease<'r>, Error> {
    core.check_open()?;
    core.entry(label)?.await_renewal(core.clock.now()).await;
    let Permit { entry, held, charges, freeze_epoch } = permit(core, label, request, sender)?;
    let lineage = held.record.lineage;
    let reservation = match charges.is_empty() {
        true => reserve(core, lineage, charges)?,
        // Should the caller go away, the reservation is dropped with the task, and given back.
        false => core.blocking(move |core| reserve(core, lineage, charges)).await??,
    };
    Ok(Lease::new(core, entry, held, request, sender, reservation, freeze_epoch))
}

/// What the rules say of a request, but for the budget.
pub(super) fn check(core: &Core, label: &Label, request: &Request) -> Result<(), Error> {
    permit(core, label, request, Sender::Bot).map(drop)
}

/// Reserves, unless somebody has frozen the vault since the last look at its directory.
fn reserve(
    core: &Arc<Core>,
    lineage: LineageId,
    charges: Vec<Charge>,
) -> Result<Reservation, Error> {
    if !charges.is_empty() {
        core.store.freeze().look()?;
    }
    Reservation::make(core, lineage, charges)
}

/// A request that only its budget may still forbid.
struct Permit {
    entry: Arc<Entry>,
    held: Arc<Held>,
    charges: Vec<Charge>,
    freeze_epoch: u64,
}

/// Reads the request and checks it against everything but the budget.
fn permit(core: &Core, label: &Label, request: &Request, sender: Sender) -> Result<Permit, Error> {
    core.check_open()?;
    let freeze_epoch = core.store.freeze().check()?;
    let entry = core.entry(label)?;
    let held = entry.held().ok_or_else(|| Error::NoSuchToken { label: label.clone() })?;
    revoke::check(&held)?;
    let TokenRecord { lineage, info, rules, .. } = &held.record;
    // None but those that are marked so may be unable to sign. To be exposed they are still leased.
    if info.issued_in_clear {
        let secret = core.store.open_secret(*lineage, &held.secret)?;
        let credential = Credential::of(core, &secret.token)?;
        if !(sender == Sender::Bot && rules.raw_exposure) {
            credential.check_for(sender)?;
        }
    }
    let action = Action::of(request)?;
    policy::check(&action, info, core.clock.now())?;
    let charges = policy::charges(&action.transfers)?;
    Ok(Permit { entry, held, charges, freeze_epoch })
}

impl<'r> Lease<'r> {
    fn new(
        core: &Arc<Core>,
        entry: Arc<Entry>,
        held: Arc<Held>,
        request: &'r Request,
        sender: Sender,
        reservation: Reservation,
        freeze_epoch: u64,
    ) -> Self {
        let void_from = core.clock.monotonic().saturating_add(core.lease_lifetime);
        let core = Arc::clone(core);
        Self { core, entry, held, request, sender, reservation, freeze_epoch, void_from }
    }

    /// Signs the request, once. From here on only a verified answer gives the reservation back.
    ///
    /// # Errors
    /// [`Error::LeaseVoid`] if the lease is too old or its token was renewed or removed;
    /// [`Error::Denied`] if the token has expired; [`Error::SendOnly`] if it cannot sign, for the
    /// headers would then hold the token itself. The reservation is given back.
    pub fn sign(self) -> Result<Signed<'r>, Error> {
        self.check_alive()?;
        let Self { core, held, request, sender, reservation, .. } = self;
        let secret = core.store.open_secret(held.record.lineage, &held.secret)?;
        let credential = Credential::of(&core, &secret.token)?;
        credential.check_for(sender)?;
        let signed = Signed::new(Arc::clone(&core), request, credential, reservation)?;
        signed.note(held.record.info.id);
        Ok(signed)
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
        let Self { core, entry, held, reservation, freeze_epoch, .. } = self;
        let exposed = core.blocking(move |core| {
            // No removal, renewal or change of rules comes between this look and the hand-out.
            let _one_at_a_time = core.begin_change();
            if !entry.held().is_some_and(|now| Arc::ptr_eq(&now, &held)) {
                return Err(Error::LeaseVoid {
                    why: "the token was removed, renewed or its rules changed",
                });
            }
            core.store.freeze().look()?;
            if core.store.freeze().epoch() != freeze_epoch {
                return Err(Error::LeaseVoid { why: "the vault was frozen meanwhile" });
            }
            let (lineage, info) = (held.record.lineage, &held.record.info);
            core.store.append_audit(AuditAction::Exposed, info.id, None, core.clock.now())?;
            reservation.settle(Outcome::Uncertain);
            if can_spend(info) {
                core.store.exhaust(lineage)?;
            }
            // Nor is it handed out if the kill switch was pressed while that was written.
            core.store.freeze().look()?;
            Ok(core.store.open_secret(lineage, &held.secret)?.token)
        });
        exposed.await?
    }

    fn check_alive(&self) -> Result<(), Error> {
        let void = |why| Err(Error::LeaseVoid { why });
        if self.core.store.freeze().check()? != self.freeze_epoch {
            return void("the vault was frozen meanwhile");
        }
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
