//! Charges against a limit, from the moment they are durable to the one outcome that settles them.

use super::core::Core;
use crate::error::Error;
use crate::id::LineageId;
use crate::policy::{Charge, Ledger, Outcome};
use std::sync::Arc;

/// Charges that are reserved, and settled exactly once.
pub(super) struct Reservation {
    core: Arc<Core>,
    lineage: LineageId,
    charges: Vec<Charge>,
    /// What dropping it means.
    unsettled: Outcome,
}

impl Reservation {
    /// Reserves durably; nothing to reserve costs nothing.
    pub(super) fn make(
        core: &Arc<Core>,
        lineage: LineageId,
        charges: Vec<Charge>,
    ) -> Result<Self, Error> {
        if !charges.is_empty() {
            core.store.reserve(&lineage, &charges)?;
        }
        Ok(Self { core: Arc::clone(core), lineage, charges, unsettled: Outcome::Rejected })
    }

    /// From here on dropping it counts as spent: the request may leave any moment.
    pub(super) fn commit(&mut self) {
        self.unsettled = Outcome::Uncertain;
    }

    /// Settles it, and nothing but this outcome counts any more.
    pub(super) fn settle(mut self, outcome: Outcome) {
        self.unsettled = outcome;
    }

    /// What is reserved.
    pub(super) fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// Whether there is anything to settle.
    pub(super) fn is_made(&self) -> bool {
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
