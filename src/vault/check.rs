//! A dry run: what a lease would be denied for, and what each rule has left. Nothing is reserved,
//! signed or written.

use super::Vault;
use crate::error::Error;
use crate::id::LineageId;
use crate::policy::{self, Action, Charge, Consulted, Denied, Explanation, Purpose, Request, Rule};
use crate::store::{Store, TokenRecord};
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
        let (core, label) = (&self.core, Label::new(label)?);
        core.check_open()?;
        let held = core.entry(&label)?.held().ok_or(Error::NoSuchToken { label })?;
        let TokenRecord { lineage, info, rules, .. } = &held.record;
        let action = match Action::of(request, &rules.units) {
            Ok(action) => action,
            Err(denied) => return Ok(Explanation::unreadable(denied)),
        };
        let now = core.clock.now();
        let mut consulted = policy::consult(&action, info, rules, now);
        match policy::charges(&action, rules) {
            Ok(charges) => consulted.extend(of_ledger(&core.store, *lineage, &charges)),
            Err(denied) => consulted.push(Consulted::denied(denied)),
        }
        Ok(Explanation::of(action, consulted))
    }
}

/// What the ledger says of charges.
fn of_ledger(store: &Store, lineage: LineageId, charges: &[Charge]) -> Vec<Consulted> {
    if charges.is_empty() {
        return Vec::new();
    }
    let counters = match store.counters(lineage) {
        Some(counters) if !store.is_unreconciled(lineage) => counters,
        _ => {
            let why = "the vault does not know what this token spent; reconcile it";
            return vec![Consulted::denied(Denied::new(Rule::Unreconciled, why))];
        }
    };
    let withdrawals = charges.iter().filter(|charge| charge.purpose == Purpose::Withdrawal);
    let each = withdrawals.map(|Charge { coin, amount, .. }| match counters.get(coin) {
        Some(counter) => Consulted::of(Rule::Limit, counter.reserve(coin, *amount).map(drop))
            .counted(coin, *amount, counter.limit, counter.left()),
        None => {
            let why = format!("the token has no spending limit for {coin}; issue one that has");
            Consulted::denied(Denied::new(Rule::NoLimit, why))
        }
    });
    each.collect()
}
