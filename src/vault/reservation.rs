//! Charges against a limit, from the moment they are durable to the one outcome that settles them.

use super::hands::Grasp;
use crate::error::Error;
use crate::policy::{Charge, Draw, Moment, Outcome};
use std::sync::Arc;

/// What one request of a token reserves, settled exactly once.
pub(super) struct Reservation {
    grasp: Arc<Grasp>,
    /// `None` where there is nothing to settle: a count that all threads write would cost a view more
    /// than its check.
    drawn: Option<Drawn>,
    is_signed: bool,
    /// What dropping it means.
    unsettled: Outcome,
}

/// What was drawn from the token's book.
struct Drawn {
    charges: Vec<Charge>,
    draw: Draw,
}

impl Reservation {
    /// Reserves, from what is allotted or durably; nothing to reserve costs nothing.
    pub(super) fn make(
        grasp: Arc<Grasp>,
        charges: Vec<Charge>,
        now: Moment,
    ) -> Result<Self, Error> {
        if charges.is_empty() {
            return Ok(Self::of(grasp, None));
        }
        let core = &grasp.core;
        let draw = core.store.reserve(grasp.escrow()?, &charges, now)?;
        Ok(Self::of(grasp, Some(Drawn { charges, draw })))
    }

    /// Reserves from what is allotted, which waits for nothing; all comes back where that does not cover
    /// the charges.
    pub(super) fn draw(
        grasp: Arc<Grasp>,
        charges: Vec<Charge>,
        now: Moment,
    ) -> Result<Self, (Arc<Grasp>, Vec<Charge>)> {
        if charges.is_empty() {
            return Ok(Self::of(grasp, None));
        }
        let escrow = grasp.escrow().ok();
        match escrow.and_then(|escrow| escrow.draw_allotted(&charges, now)) {
            Some(draw) => Ok(Self::of(grasp, Some(Drawn { charges, draw }))),
            None => Err((grasp, charges)),
        }
    }

    fn of(grasp: Arc<Grasp>, drawn: Option<Drawn>) -> Self {
        Self { grasp, drawn, is_signed: false, unsettled: Outcome::Rejected }
    }

    /// From here on dropping it counts as spent: the request, which bears this time, may leave any
    /// moment.
    pub(super) fn commit(&mut self, now_ms: i64) {
        self.unsettled = Outcome::Uncertain;
        if self.drawn.is_some()
            && let Ok(escrow) = self.grasp.escrow()
        {
            escrow.sign(now_ms);
            self.is_signed = true;
        }
    }

    /// Settles it, and nothing but this outcome counts any more.
    pub(super) fn settle(mut self, outcome: Outcome) {
        self.unsettled = outcome;
    }

    /// The token.
    pub(super) fn grasp(&self) -> &Arc<Grasp> {
        &self.grasp
    }

    /// What is reserved.
    pub(super) fn charges(&self) -> &[Charge] {
        self.drawn.as_ref().map_or(&[], |drawn| &drawn.charges)
    }

    /// Whether there is anything to settle.
    pub(super) fn is_made(&self) -> bool {
        self.drawn.is_some()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(Drawn { charges, draw }) = &self.drawn
            && let Ok(escrow) = self.grasp.escrow()
        {
            self.grasp.core.store.settle(escrow, charges, *draw, self.unsettled);
            if self.is_signed {
                escrow.resolve();
            }
        }
    }
}
