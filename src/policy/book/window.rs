//! A sliding window: what went out within the last so long, on the server's time.
//!
//! ```text
//! period        |<------------- 64 slots ------------->|
//! slots    ... |  spent until a  |  spent until b  | newest: spent until c |
//!                                                     of it allotted: drawn by nobody yet
//! ```
//!
//! What is drawn counts in the slot of its time, and until that slot's end lies a whole period back:
//! it leaves up to 1/64 of the period late, never early. Where the machine's clock is ahead of what is
//! known of the server's, it counts as of then: nothing may have been heard for long, and a request
//! whose own time is wrong spends nothing. What a slot was allotted and not drawn goes
//! back when the next begins; after a crash all of it counts at the slot's end.

use super::meter::{self, Standing};
use crate::money::{Amount, Coin};
use crate::policy::{Purpose, WindowRule};
use std::collections::VecDeque;

/// The end of a slot that never leaves.
const NEVER: i64 = i64::MAX / 2;
/// Into how many slots a period is cut.
const SLOTS: i64 = 64;
/// The most slots that are kept: all of a period, the newest, and one that never leaves.
const SLOTS_MAX: usize = 66;

/// A sum in base units, and a number of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) sum: Amount,
    pub(super) count: u64,
}

impl Load {
    /// One request for `sum`.
    pub(super) fn one(sum: Amount) -> Self {
        Self { sum, count: 1 }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            sum: self.sum.saturating_add(other.sum),
            count: self.count.saturating_add(other.count),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            sum: self.sum.saturating_sub(other.sum),
            count: self.count.saturating_sub(other.count),
        }
    }
}

/// What went out in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The slot's end, in milliseconds since 1970 by the server's clock.
    pub(crate) until_ms: i64,
    pub(crate) sum: Amount,
    pub(crate) count: u64,
}

/// What a rule has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) rule: WindowRule,
    /// Oldest first.
    pub(crate) slots: VecDeque<Slot>,
    /// What of the newest slot was drawn by nobody, and what of that is not durable yet.
    pub(super) allotted: Load,
    in_flight: Load,
    /// The number of the first draw that it holds.
    born: u64,
}

impl Window {
    /// A window with what it has counted.
    pub(crate) fn kept(rule: WindowRule, slots: VecDeque<Slot>) -> Self {
        let none = Load::default();
        Self { rule, slots, allotted: none, in_flight: none, born: 0 }
    }

    /// A window that counts from this draw on.
    pub(super) fn new(rule: WindowRule, next_draw: u64) -> Self {
        Self { born: next_draw, ..Self::kept(rule, VecDeque::new()) }
    }

    /// Whoever drew on it is gone: what it was allotted counts in its slot.
    pub(super) fn crash(&mut self) {
        (self.allotted, self.in_flight, self.born) = (Load::default(), Load::default(), 0);
    }

    /// The same, under other bounds.
    pub(super) fn under(self, rule: WindowRule) -> Self {
        Self { rule, ..self }
    }

    pub(super) fn holds(&self, draw: u64) -> bool {
        draw >= self.born
    }

    /// Whether a request of that purpose and coin counts.
    pub(super) fn counts(&self, purpose: Purpose, coin: &Coin) -> bool {
        self.rule.purpose == purpose && self.rule.coin == *coin
    }

    /// Whether it counts what another rule counts, whatever the bounds.
    pub(super) fn is_of(&self, rule: &WindowRule) -> bool {
        let is_as_long = self.rule.period.as_millis() == rule.period.as_millis();
        self.counts(rule.purpose, &rule.coin) && is_as_long
    }

    fn period_ms(&self) -> i64 {
        i64::try_from(self.rule.period.as_millis()).unwrap_or(i64::MAX / 4).max(SLOTS)
    }

    /// The end of the slot that a time falls into.
    fn slot_end(&self, at_ms: i64) -> i64 {
        let width = self.period_ms() / SLOTS;
        (at_ms.div_euclid(width)).saturating_add(1).saturating_mul(width)
    }

    /// Lets go of slots that lie a whole period back, and begins the slot of this time.
    pub(super) fn roll(&mut self, now_ms: i64) {
        self.roll_to(now_ms, now_ms);
    }

    /// The same where it may be later than it is known to be: what leaves goes by `now_ms`, what is
    /// drawn counts as of `at_ms`.
    pub(super) fn roll_to(&mut self, now_ms: i64, at_ms: i64) {
        let (end, period) = (self.slot_end(at_ms), self.period_ms());
        let is_vain =
            |slot: &&Slot| slot.until_ms > end && slot.sum == Amount::ZERO && slot.count == 0;
        while self.slots.back().filter(is_vain).is_some() {
            self.slots.pop_back();
        }
        let goes_on = self.slots.back().is_some_and(|newest| newest.until_ms >= end);
        if !goes_on {
            self.give_back_allotted();
        }
        let leaves = |slot: &Slot| slot.until_ms.saturating_add(period) <= now_ms;
        while self.slots.len() > usize::from(goes_on) && self.slots.front().is_some_and(leaves) {
            self.slots.pop_front();
        }
        if goes_on {
            return;
        }
        let is_full = self.slots.len() >= SLOTS_MAX;
        match self.slots.back_mut() {
            // What holds nothing is not kept; and where there are too many, what counts a while ago
            // counts a while longer.
            Some(newest) if is_full || newest.sum == Amount::ZERO && newest.count == 0 => {
                newest.until_ms = end
            }
            _ => self.slots.push_back(Slot { until_ms: end, sum: Amount::ZERO, count: 0 }),
        }
    }

    /// Brings what counts as of later than it can be to `now_ms`.
    pub(super) fn pull_back(&mut self, now_ms: i64) {
        let end = self.slot_end(now_ms);
        let is_late = |slot: &Slot| slot.until_ms > end && slot.until_ms != NEVER;
        if !self.slots.back().is_some_and(is_late) {
            return;
        }
        self.give_back_allotted();
        let mut late = Load::default();
        while let Some(slot) = self.slots.back().copied().filter(is_late) {
            self.slots.pop_back();
            late = late.plus(Load { sum: slot.sum, count: slot.count });
        }
        self.roll(now_ms);
        self.charge(late);
    }

    /// What the newest slot was allotted and nobody drew is free again.
    pub(super) fn give_back_allotted(&mut self) {
        self.in_flight = Load::default();
        self.give_back();
    }

    /// Gives back what nobody drew, but for what is in flight.
    pub(super) fn give_back(&mut self) {
        let drawable = self.allotted.minus(self.in_flight);
        self.allotted = self.in_flight;
        self.uncount(self.slots.back().map(|newest| newest.until_ms), drawable);
    }

    /// Takes a load out of the slot that ends then.
    fn uncount(&mut self, until_ms: Option<i64>, load: Load) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| Some(slot.until_ms) == until_ms) {
            let rest = Load { sum: slot.sum, count: slot.count }.minus(load);
            (slot.sum, slot.count) = (rest.sum, rest.count);
        }
    }

    /// Counts a load in the newest slot.
    pub(super) fn charge(&mut self, load: Load) {
        if let Some(slot) = self.slots.back_mut() {
            let after = Load { sum: slot.sum, count: slot.count }.plus(load);
            (slot.sum, slot.count) = (after.sum, after.count);
        }
    }

    /// Counts as much as is allowed: what went out is not known.
    pub(super) fn fill(&mut self, now_ms: i64) {
        self.give_back_allotted();
        match now_ms {
            // Nobody knows when it could be free again.
            0 => self.slots.push_back(Slot { until_ms: NEVER, sum: Amount::ZERO, count: 0 }),
            now_ms => self.roll(now_ms),
        }
        let left = self.left();
        let (sum, count) = (left.sum.unwrap_or_default(), left.count.unwrap_or_default());
        self.charge(Load { sum, count });
    }

    fn is_newest(&self, drawn_ms: i64) -> bool {
        let end = self.slot_end(drawn_ms);
        self.slots.back().is_some_and(|newest| newest.until_ms == end)
    }

    /// A request that was drawn at this time was refused.
    pub(super) fn release(&mut self, drawn_ms: i64, load: Load) {
        match self.is_newest(drawn_ms) {
            true => self.allotted = self.allotted.plus(load),
            false => self.uncount(Some(self.slot_end(drawn_ms)), load),
        }
    }

    pub(super) fn standing(&self, asked: Load) -> [Standing; 2] {
        let (drawable, left) = (self.allotted.minus(self.in_flight), self.left());
        // What was allotted under a former bound, or came back since, does not outdo the present one.
        let in_all = self.left_in_all();
        let wide = |count: u64| Amount::new(count.into());
        let sum = left.sum.map_or(Standing::Drawable, |left| {
            Standing::of(asked.sum, drawable.sum, in_all.sum, || Some(left))
        });
        let count = left.count.map_or(Standing::Drawable, |left| {
            let in_all = in_all.count.map(wide);
            Standing::of(wide(asked.count), wide(drawable.count), in_all, || Some(wide(left)))
        });
        [sum, count]
    }

    pub(super) fn draw(&mut self, load: Load) {
        self.allotted = self.allotted.minus(load);
    }

    /// Draws, and takes of the bounds what is missing; the answer is that and what was taken to spare.
    pub(super) fn take(&mut self, asked: Load, burst: u32) -> (Load, Load) {
        let drawable = self.allotted.minus(self.in_flight);
        let taken = asked.minus(drawable);
        let kept = self.allotted.minus(asked.minus(taken));
        let left = self.left();
        let spare = Load {
            sum: match (taken.sum, self.rule.sum) {
                (Amount::ZERO, _) | (_, None) => Amount::ZERO,
                (taken, cap) => {
                    let left = left.sum.map(|left| left.saturating_sub(taken));
                    meter::spare(asked.sum, burst, cap, kept.sum, left)
                }
            },
            count: match (taken.count, self.rule.count) {
                (0, _) | (_, None) => 0,
                (taken, Some(cap)) => {
                    let wide = |count: u64| Amount::new(count.into());
                    let left = left.count.map(|left| wide(left.saturating_sub(taken)));
                    let cap = Some(wide(cap.into()));
                    let spare = meter::spare(wide(asked.count), burst, cap, wide(kept.count), left);
                    u64::try_from(spare.base_units()).unwrap_or(0)
                }
            },
        };
        let more = taken.plus(spare);
        self.charge(more);
        self.in_flight = self.in_flight.plus(spare);
        self.allotted = self.allotted.plus(more).minus(asked);
        (taken, spare)
    }

    /// What was taken in the slot of this time is durable.
    pub(super) fn land(&mut self, drawn_ms: i64, spare: Load) {
        // What was spare in a slot that is over was given back with it.
        if self.is_newest(drawn_ms) {
            self.in_flight = self.in_flight.minus(spare);
        }
    }

    /// As if it had not been taken.
    pub(super) fn undo(&mut self, drawn_ms: i64, asked: Load, taken: Load, spare: Load) {
        if !self.is_newest(drawn_ms) {
            return self.uncount(Some(self.slot_end(drawn_ms)), asked);
        }
        self.uncount(Some(self.slot_end(drawn_ms)), taken.plus(spare));
        self.allotted = self.allotted.minus(spare).plus(asked.minus(taken));
        self.in_flight = self.in_flight.minus(spare);
    }

    /// All that counts now, what is allotted among it.
    pub(super) fn used(&self) -> Load {
        self.slots.iter().fold(Load::default(), |used, slot| {
            used.plus(Load { sum: slot.sum, count: slot.count })
        })
    }

    /// What is left beside what is allotted.
    pub(super) fn left(&self) -> Left {
        self.left_of(self.used())
    }

    /// What is left in all.
    pub(super) fn left_in_all(&self) -> Left {
        self.left_of(self.used().minus(self.allotted))
    }

    fn left_of(&self, used: Load) -> Left {
        Left {
            sum: self.rule.sum.map(|most| most.saturating_sub(used.sum)),
            count: self.rule.count.map(|most| u64::from(most).saturating_sub(used.count)),
        }
    }

    /// When the oldest of what counts leaves.
    pub(super) fn next_reset_at(&self) -> Option<i64> {
        let counts = |slot: &&Slot| slot.count > 0 || slot.sum > Amount::ZERO;
        let oldest = self.slots.iter().find(counts)?;
        Some(oldest.until_ms.saturating_add(self.period_ms()))
    }

    /// When, by the server's clock, a load fits if nothing else goes out until then; `None` if it
    /// never does.
    pub(super) fn fits_at(&self, load: Load) -> Option<i64> {
        let allowed = |used: Load| {
            self.rule
                .sum
                .is_none_or(|most| used.sum.checked_add(load.sum).is_some_and(|s| s <= most))
                && self.rule.count.is_none_or(|most| used.count + load.count <= u64::from(most))
        };
        // What is allotted is there to be drawn.
        let mut used = self.used().minus(self.allotted);
        let mut at = self.slots.back().map_or(0, |newest| newest.until_ms);
        let mut slots = self.slots.iter();
        while !allowed(used) {
            let slot = slots.next()?;
            used = used.minus(Load { sum: slot.sum, count: slot.count });
            at = slot.until_ms.saturating_add(self.period_ms());
        }
        Some(at)
    }
}

/// What a window still allows; `None` where it sets no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) sum: Option<Amount>,
    pub(super) count: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const MINUTE: i64 = 60_000;

    fn window(sum: u128, minutes: i64) -> Window {
        let period = Duration::from_millis((minutes * MINUTE).unsigned_abs());
        let coin = Coin::new("tbtc").unwrap();
        let sum = Some(Amount::new(sum));
        Window::new(WindowRule { purpose: Purpose::Withdrawal, coin, period, sum, count: None }, 0)
    }

    fn left(window: &Window) -> u128 {
        window.left().sum.unwrap().base_units()
    }

    #[test]
    fn a_spend_leaves_late_and_never_early() {
        let mut window = window(100, 64);
        let start = 1000 * MINUTE + 1;
        window.roll(start);
        window.charge(Load::one(Amount::new(60)));
        assert_eq!(left(&window), 40);
        for (at, expect) in [(0, 40), (63, 40), (64, 40), (65, 100), (200, 100)] {
            let mut later = window.clone();
            later.roll(start + at * MINUTE);
            assert_eq!(left(&later), expect, "after {at} minutes");
        }
        let at = window.fits_at(Load::one(Amount::new(41))).unwrap();
        assert_eq!(at, (1001 + 64) * MINUTE);
        window.roll(at);
        assert_eq!(left(&window), 100);
        assert_eq!(window.fits_at(Load::one(Amount::new(101))), None);
    }

    #[test]
    fn a_clock_that_goes_back_frees_nothing() {
        let mut window = window(100, 64);
        window.roll(1000 * MINUTE);
        window.charge(Load::one(Amount::new(100)));
        window.roll(0);
        assert_eq!((left(&window), window.slots.len()), (0, 1));
    }

    #[test]
    fn what_was_allotted_and_not_drawn_is_free_in_the_next_slot() {
        let mut window = window(100, 64);
        window.roll(0);
        window.charge(Load::one(Amount::new(50)));
        window.allotted = Load::one(Amount::new(20));
        window.roll(MINUTE);
        assert_eq!((left(&window), window.allotted), (70, Load::default()));
        window.release(0, Load::one(Amount::new(5)));
        assert_eq!(left(&window), 75, "a refusal is taken out of its own slot");
    }

    proptest! {
        /// Against all spends with their times: no stretch of one period holds more than the bound.
        #[test]
        fn no_stretch_of_a_period_holds_more(
            steps in prop::collection::vec((0i64..40 * MINUTE, 1u128..60), 1..80),
        ) {
            let mut window = window(100, 64);
            let (mut now, mut spent) = (5 * MINUTE, Vec::new());
            for (pass, units) in steps {
                now += pass;
                window.roll(now);
                prop_assert!(window.slots.len() <= 66);
                if units <= left(&window) {
                    window.charge(Load::one(Amount::new(units)));
                    spent.push((now, units));
                }
                let within = spent.iter().filter(|(at, _)| at + 64 * MINUTE > now);
                let sum: u128 = within.map(|(_, units)| units).sum();
                prop_assert!(sum <= 100, "{sum} within a period");
                // What lies more than a slot behind the period is free.
                let late = spent.iter().filter(|(at, _)| at + 65 * MINUTE > now);
                let late: u128 = late.map(|(_, units)| units).sum();
                prop_assert!(left(&window) + late >= 100);
            }
        }
    }
}
