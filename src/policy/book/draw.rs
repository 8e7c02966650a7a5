//! Draws: what a request takes from what is allotted, and of the limits where that is too little.

use super::meter::Standing;
use super::place::{Place, Places};
use super::window::Load;
use super::{Book, not_reconciled};
use crate::money::Amount;
use crate::policy::limits::Share;
use crate::policy::{Charge, Denied, Moment, Outcome};
use std::time::Duration;

/// Takes so soon after each other are a burst, in which each takes twice as much as the one before.
const BURST: Duration = Duration::from_secs(1);
/// After so long without one, the next takes no more than it needs.
const BURST_OVER: Duration = Duration::from_secs(10);
/// How often a burst doubles.
const BURST_MAX: u32 = 20;
/// The most coins of one request.
const CHARGES_MAX: usize = 64;

/// What a request holds of a book: the settlement's way back to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Draw {
    number: u64,
    /// The time whose slots it counts in.
    at_ms: i64,
    /// Which of its charges drew on a counter of their coin, and which on the pool: a bit for each.
    coins: u64,
    pools: u64,
}

impl Draw {
    /// Notes what the charge at that place draws on; no request has more than fit.
    fn note(&mut self, at: usize, places: Places) {
        self.coins |= u64::from(places.coin.is_some()) << at;
        self.pools |= u64::from(places.pool) << at;
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Draw {
    /// A draw that is taken for newer than any change of limits.
    pub(crate) const LATEST: Self =
        Self { number: u64::MAX, at_ms: 0, coins: u64::MAX, pools: u64::MAX };
}

/// What came of asking for a draw.
#[derive(Debug)]
pub(crate) enum Drawn {
    /// It was drawn from what is allotted.
    Done(Draw),
    /// It was drawn, and for it more was taken: it holds once that is durable.
    Taken(Take),
    /// It will fit once what is in flight has landed.
    Wait,
}

/// What was taken of the limits.
#[derive(Debug)]
pub(crate) struct Take {
    pub(crate) draw: Draw,
    edition: u64,
    parts: Vec<Part>,
}

/// What was taken of one counter: for the draw itself, and to spare.
#[derive(Debug)]
struct Part {
    place: Place,
    asked: Load,
    taken: Load,
    spare: Load,
}

impl Book {
    /// Draws all charges, or none.
    pub(crate) fn draw(&mut self, charges: &[Charge], now: Moment) -> Result<Drawn, Denied> {
        match self.weigh(charges, now)? {
            Standing::Waits => Ok(Drawn::Wait),
            Standing::Drawable => Ok(Drawn::Done(self.draw_weighed(charges)?)),
            _ => Ok(Drawn::Taken(self.take(charges, now)?)),
        }
    }

    /// Draws all charges from what is allotted, if that covers them.
    pub(crate) fn draw_allotted(&mut self, charges: &[Charge], now: Moment) -> Option<Draw> {
        match self.weigh(charges, now) {
            Ok(Standing::Drawable) => self.draw_weighed(charges).ok(),
            _ => None,
        }
    }

    /// How the book stands to all that is asked of it.
    fn weigh(&mut self, charges: &[Charge], now: Moment) -> Result<Standing, Denied> {
        if self.is_unreconciled {
            return Err(not_reconciled());
        }
        if charges.len() > CHARGES_MAX {
            return Err(Denied::body("more than 64 coins in one request"));
        }
        self.roll(now.server_ms, now.wall_ms);
        let (mut all, share) = (Standing::Drawable, self.share());
        for charge in charges {
            for place in self.places(charge)? {
                match self.standing(place, charge, charges, share) {
                    Standing::Over(_) => return Err(self.refusal(place, charge, charges, share)),
                    Standing::Waits => all = Standing::Waits,
                    Standing::Takes if all == Standing::Drawable => all = Standing::Takes,
                    _ => {}
                }
            }
        }
        Ok(all)
    }

    fn next_draw(&mut self) -> Draw {
        let number = self.flow.next_draw;
        self.flow.next_draw += 1;
        Draw { number, at_ms: self.flow.latest_ms, coins: 0, pools: 0 }
    }

    /// Draws what is known to be drawable.
    fn draw_weighed(&mut self, charges: &[Charge]) -> Result<Draw, Denied> {
        let mut draw = self.next_draw();
        for (at, charge) in charges.iter().enumerate() {
            let (load, places) = (Load::one(charge.amount), self.places(charge)?);
            draw.note(at, places);
            for place in places {
                match place {
                    Place::Window(at) => self.window_mut(at).map(|window| window.draw(load)),
                    place => self.meter_mut(place).map(|meter| meter.draw(load.sum)),
                };
            }
        }
        Ok(draw)
    }

    /// Draws what is drawable, and takes the rest of the limits.
    fn take(&mut self, charges: &[Charge], now: Moment) -> Result<Take, Denied> {
        self.note_take(now.monotonic);
        let (burst, share, mut parts) = (self.flow.burst, self.share(), Vec::new());
        let mut draw = self.next_draw();
        for (at, charge) in charges.iter().enumerate() {
            let (asked, places) = (Load::one(charge.amount), self.places(charge)?);
            draw.note(at, places);
            for place in places {
                let took = match place {
                    Place::Window(at) => self.window_mut(at).map(|w| w.take(asked, burst)),
                    place => self.meter_mut(place).map(|meter| {
                        let (taken, spare) = meter.take(asked.sum, burst, share);
                        (Load { sum: taken, count: 0 }, Load { sum: spare, count: 0 })
                    }),
                };
                if let Some((taken, spare)) = took {
                    parts.push(Part { place, asked, taken, spare });
                }
            }
        }
        Ok(Take { draw, edition: self.flow.edition, parts })
    }

    /// What was taken is durable: what was to spare may be drawn.
    pub(crate) fn land(&mut self, take: &Take) {
        if take.edition != self.flow.edition {
            return;
        }
        for Part { place, spare, .. } in &take.parts {
            match *place {
                Place::Window(at) => {
                    self.window_mut(at).map(|window| window.land(take.draw.at_ms, *spare))
                }
                place => self.meter_mut(place).map(|meter| meter.land(spare.sum)),
            };
        }
    }

    /// What was taken will not be durable: as if it had not been drawn. After a change of limits it
    /// stays counted.
    pub(crate) fn undo(&mut self, take: &Take) {
        if take.edition != self.flow.edition {
            return;
        }
        for Part { place, asked, taken, spare } in &take.parts {
            match *place {
                Place::Window(at) => self
                    .window_mut(at)
                    .map(|window| window.undo(take.draw.at_ms, *asked, *taken, *spare)),
                place => {
                    self.meter_mut(place).map(|meter| meter.undo(asked.sum, taken.sum, spare.sum))
                }
            };
        }
    }

    /// Settles what was drawn for these charges.
    pub(crate) fn settle(&mut self, charges: &[Charge], draw: Draw, outcome: Outcome) {
        // What an exposed token spends is not seen, so no refusal frees budget any more.
        let outcome = match outcome {
            Outcome::Rejected if self.is_exposed => Outcome::Uncertain,
            outcome => outcome,
        };
        for (at, charge) in charges.iter().enumerate() {
            // What it drew on then, whatever it would draw on now.
            let drew = |places: u64| {
                places
                    .checked_shr(u32::try_from(at).unwrap_or(u32::MAX))
                    .is_some_and(|bits| bits & 1 == 1)
            };
            if drew(draw.coins)
                && let Some(meter) =
                    self.coins.position(&charge.coin).and_then(|at| self.coins.at_mut(at))
            {
                meter.settle(draw.number, charge.amount, outcome);
            }
            if drew(draw.pools)
                && charge.is_erc20
                && let Some(pool) = &mut self.pool
            {
                pool.settle(draw.number, charge.amount, outcome);
            }
            let windows = self.windows.iter_mut().filter(|window| {
                window.counts(charge.purpose, &charge.coin) && window.holds(draw.number)
            });
            if outcome == Outcome::Rejected {
                windows.for_each(|window| window.release(draw.at_ms, Load::one(charge.amount)));
            }
        }
    }

    fn note_take(&mut self, now: Duration) {
        let ago = self.flow.last_take.map(|last| now.checked_sub(last));
        self.flow.burst = match ago {
            Some(Some(ago)) if ago < BURST => (self.flow.burst + 1).min(BURST_MAX),
            Some(Some(ago)) if ago < BURST_OVER => self.flow.burst.saturating_sub(1),
            // Another thread read the clock later and came first.
            Some(None) => self.flow.burst,
            _ => 0,
        };
        self.flow.last_take = self.flow.last_take.max(Some(now));
    }

    /// What all charges together ask of a place.
    pub(super) fn asked(&self, place: Place, charge: &Charge, charges: &[Charge]) -> Amount {
        match place {
            // Each coin is charged once for each purpose; the pool by several coins.
            Place::Pool => {
                charges.iter().fold(Amount::ZERO, |sum, charge| match self.places(charge) {
                    Ok(Places { pool: true, .. }) => sum.saturating_add(charge.amount),
                    _ => sum,
                })
            }
            _ => charge.amount,
        }
    }

    pub(super) fn standing(
        &self,
        place: Place,
        charge: &Charge,
        charges: &[Charge],
        share: Share,
    ) -> Standing {
        let asked = self.asked(place, charge, charges);
        match place {
            Place::Window(at) => self.windows.get(at).map_or(Standing::Drawable, |window| {
                let [sum, count] = window.standing(Load::one(asked));
                match (sum, count) {
                    (Standing::Over(_), _) | (_, Standing::Drawable) => sum,
                    (_, Standing::Over(_)) | (Standing::Drawable, _) => count,
                    (Standing::Waits, _) | (_, Standing::Waits) => Standing::Waits,
                    _ => Standing::Takes,
                }
            }),
            place => {
                let nothing = Standing::Over(Amount::ZERO);
                self.meter(place).map_or(nothing, |meter| meter.standing(asked, share))
            }
        }
    }
}
