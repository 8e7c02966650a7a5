//! A dry run: what a lease would be denied for, and what each rule has left. Nothing is reserved,
//! signed or written.

use super::Vault;
use super::core::Core;
use super::revoke;
use crate::error::Error;
use crate::id::LineageId;
use crate::policy::{self, Action, Charge, Consulted, Explanation, Request, Rule, not_reconciled};
use crate::store::TokenRecord;
use crate::token::Label;

impl Vault {
    /// Reads `request` and consults every rule of the token kept as `label`, in the order in which
    /// [`Vault::lease`] does, without ending at the first that forbids. It holds for this moment: a
    /// lease that is taken beside it may use up what is left.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]; [`Error::Closed`]. A refusal is no error:
    /// [`Explanation::verdict`] tells it.
    pub fn check(&self, label: &str, request: &Request) -> Result<Explanation, Error> {
        explain(&self.core, Label::new(label)?, request)
    }
}

/// As [`Vault::check`].
pub(super) fn explain(core: &Core, label: Label, request: &Request) -> Result<Explanation, Error> {
    core.check_open()?;
    let held = core.entry(&label)?.held().ok_or(Error::NoSuchToken { label })?;
    let TokenRecord { lineage, info, rules, .. } = &held.record;
    let action = match Action::of(request, &rules.units) {
        Ok(action) => action,
        Err(denied) => return Ok(Explanation::unreadable(denied)),
    };
    let now = core.moment().latest_ms();
    let frozen = core.store.freeze().check().map(drop);
    let revoked = revoke::check(&held).and_then(|()| held.check_standing());
    let mut consulted =
        vec![Consulted::of(Rule::Frozen, frozen), Consulted::of(Rule::Revoked, revoked)];
    consulted.extend(policy::consult(&action, info, rules, now));
    match policy::charges(&action, rules) {
        Ok(charges) => consulted.extend(of_ledger(core, *lineage, &charges)),
        Err(denied) => consulted.push(Consulted::denied(denied)),
    }
    Ok(Explanation::of(action, consulted))
}

/// What the ledger says of charges.
fn of_ledger(core: &Core, lineage: LineageId, charges: &[Charge]) -> Vec<Consulted> {
    if charges.is_empty() {
        return Vec::new();
    }
    match core.store.escrow(lineage) {
        Some(escrow) => escrow.look(|book| book.consult(charges, core.moment())),
        None => vec![Consulted::denied(not_reconciled())],
    }
}
