//! Charges against a limit, from the moment they are durable to the one outcome that settles them.

use super::core::Core;
use crate::error::Error;
use crate::id::LineageId;
use crate::policy::{Charge, Draw, Escrow, Outcome, not_reconciled};
use std::sync::Arc;

/// Charges that are reserved, and settled exactly once. Without charges there is nothing to settle.
pub(super) struct Reservation {
    core: Arc<Core>,
    drawn: Option<Drawn>,
    /// What dropping it means.
    unsettled: Outcome,
}

/// What was drawn, and of what.
struct Drawn {
    escrow: Arc<Escrow>,
    charges: Vec<Charge>,
    draw: Draw,
}

impl Reservation {
    /// Reserves, from what is allotted or durably; nothing to reserve costs nothing.
    pub(super) fn make(
        core: &Arc<Core>,
        lineage: LineageId,
        charges: Vec<Charge>,
    ) -> Result<Self, Error> {
        let drawn = match charges.is_empty() {
            true => None,
            false => {
                let escrow = core.store.escrow(lineage).ok_or_else(not_reconciled)?;
                let draw = escrow.reserve(&core.store, &charges, core.moment())?;
                Some(Drawn { escrow, charges, draw })
            }
        };
        Ok(Self { core: Arc::clone(core), drawn, unsettled: Outcome::Rejected })
    }

    /// From here on dropping it counts as spent: the request may leave any moment.
    pub(super) fn commit(&mut self) {
        self.unsettled = Outcome::Uncertain;
    }

    /// Settles it, and nothing but this outcome counts any more.
    pub(super) fn settle(mut self, outcome: Outcome) {
        self.unsettled = outcome;
    }

    /// Whether there is anything to settle.
    pub(super) fn is_made(&self) -> bool {
        self.drawn.is_some()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(Drawn { escrow, charges, draw }) = &self.drawn {
            self.core.store.settle(escrow, charges, *draw, self.unsettled);
        }
    }
}
