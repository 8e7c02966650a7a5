//! One counter as leases draw on it.

use super::SPARE_PART;
use super::sample::Doubt;
use crate::money::Amount;
use crate::policy::Outcome;
use crate::policy::limits::{Counter, Share};
use crate::token::SpendingLimit;

/// A counter, and what of it is on its way to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meter {
    pub(crate) counter: Counter,
    /// Whether BitGo has a limit here; else the total alone bounds it.
    pub(crate) is_of_server: bool,
    /// The total without local rules: what the lineage's first token might spend.
    pub(crate) own_total: Option<Amount>,
    /// Of what is allotted, what is not durable yet.
    in_flight: Amount,
    /// Of what is foreign; and what was so of the former tokens, and was not carried over.
    pub(super) doubt: Doubt,
    carried_doubt: Doubt,
    /// The number of the first draw that it holds, and of the first by the token it counts now.
    born: u64,
    since: u64,
}

/// How a counter stands to what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is allotted.
    Drawable,
    /// The limit has the rest.
    Takes,
    /// It is there, but in flight.
    Waits,
    /// Only so much is left.
    Over(Amount),
}

impl Standing {
    /// How a counter stands of which so much is left, all told and beside what is allotted.
    pub(super) fn of(
        asked: Amount,
        drawable: Amount,
        left_in_all: Option<Amount>,
        left_to_take: impl FnOnce() -> Option<Amount>,
    ) -> Self {
        match left_in_all {
            Some(left) if asked > left => Self::Over(left),
            _ if asked <= drawable => Self::Drawable,
            _ if left_to_take().is_none_or(|left| asked.saturating_sub(drawable) <= left) => {
                Self::Takes
            }
            _ => Self::Waits,
        }
    }
}

/// What is taken beside what is asked for: within a burst as often the same again, while what is
/// allotted in all stays a sixteenth of the limit.
pub(super) fn spare(
    asked: Amount,
    burst: u32,
    cap: Option<Amount>,
    allotted: Amount,
    left: Option<Amount>,
) -> Amount {
    let again = (1u128 << burst.min(20)) - 1;
    let wanted = Amount::new(asked.base_units().saturating_mul(again));
    let most = cap.map_or(Amount::MAX, |cap| Amount::new(cap.base_units() / SPARE_PART));
    wanted.min(most.saturating_sub(allotted)).min(left.unwrap_or(Amount::MAX))
}

fn can_count(used: [Option<Amount>; 2], asked: Amount, allotted: Amount) -> bool {
    let more = asked.saturating_add(allotted);
    used.iter().all(|used| used.is_some_and(|used| used.checked_add(more).is_some()))
}

impl Meter {
    /// The meter of a limit of BitGo's.
    pub(super) fn of_server(limit: &SpendingLimit) -> Self {
        let counter = Counter::begin(limit);
        Self { counter, is_of_server: true, own_total: counter.total, ..Self::default() }
    }

    /// A meter that holds draws from this one on.
    pub(super) fn from(self, next_draw: u64) -> Self {
        Self { born: next_draw, since: next_draw, ..self }
    }

    pub(crate) fn kept(counter: Counter, is_of_server: bool, own_total: Option<Amount>) -> Self {
        Self { counter, is_of_server, own_total, ..Self::default() }
    }

    /// The same with so much in doubt.
    pub(crate) fn doubting(self, in_doubt: Amount) -> Self {
        Self { doubt: Doubt::kept(in_doubt), ..self }
    }

    pub(crate) fn in_doubt(&self) -> Amount {
        self.doubt.amount()
    }

    fn drawable(&self) -> Amount {
        self.counter.allotted.saturating_sub(self.in_flight)
    }

    pub(super) fn standing(&self, asked: Amount, share: Share) -> Standing {
        let (counter, used) = (&self.counter, self.counter.sums());
        if !can_count(used, asked, counter.allotted) {
            return Standing::Over(Amount::ZERO);
        }
        // What was allotted under a former bound, or came back since, does not outdo the present one.
        let left = counter.left_beside(used, share, Amount::ZERO);
        let to_take = || counter.left_beside(used, share, counter.allotted);
        Standing::of(asked, self.drawable(), left, to_take)
    }

    /// Whether so much more can be counted at all.
    pub(super) fn can_count(&self, asked: Amount) -> bool {
        can_count(self.counter.sums(), asked, self.counter.allotted)
    }

    /// What is left in all, for a share of the bounds.
    pub(super) fn left(&self, share: Share) -> Option<Amount> {
        self.counter.left_of(share)
    }

    pub(super) fn draw(&mut self, amount: Amount) {
        self.counter.draw(amount);
    }

    /// Draws, and takes of the limit what is missing; the answer is that and what was taken to spare.
    pub(super) fn take(&mut self, asked: Amount, burst: u32, share: Share) -> (Amount, Amount) {
        let drawn = asked.min(self.drawable());
        let taken = asked.saturating_sub(drawn);
        let mut spare_amount = Amount::ZERO;
        if taken > Amount::ZERO {
            let left = self.counter.left_to_take(share).map(|left| left.saturating_sub(taken));
            let allotted = self.counter.allotted.saturating_sub(drawn);
            spare_amount = spare(asked, burst, self.counter.cap(), allotted, left);
        }
        let more = taken.saturating_add(spare_amount);
        self.counter.allotted = self.counter.allotted.saturating_add(more);
        self.in_flight = self.in_flight.saturating_add(spare_amount);
        self.counter.draw(asked);
        (taken, spare_amount)
    }

    pub(super) fn land(&mut self, spare: Amount) {
        self.in_flight = self.in_flight.saturating_sub(spare);
    }

    /// As if it had not been taken.
    pub(super) fn undo(&mut self, asked: Amount, taken: Amount, spare: Amount) {
        let counter = &mut self.counter;
        counter.reserved = counter.reserved.saturating_sub(asked);
        let drawn = asked.saturating_sub(taken);
        counter.allotted = counter.allotted.saturating_sub(spare).saturating_add(drawn);
        self.land(spare);
    }

    /// Returns what nobody drew, but for what is in flight.
    pub(super) fn give_back(&mut self) {
        self.counter.allotted = self.counter.allotted.min(self.in_flight);
    }

    /// Returns what nobody drew. What is in flight will not land.
    pub(super) fn fence(&mut self) {
        (self.counter.allotted, self.in_flight) = (Amount::ZERO, Amount::ZERO);
    }

    /// Whoever drew on it is gone.
    pub(super) fn crash(&mut self) {
        let kept = Self::kept(self.counter.after_crash(), self.is_of_server, self.own_total);
        *self = kept.doubting(self.in_doubt());
    }

    /// Charges all that is left, for good.
    pub(super) fn exhaust(&mut self) {
        self.fence();
        self.doubt = Doubt::default();
        let left = self.counter.left().unwrap_or_default();
        self.counter.uncertain = self.counter.uncertain.saturating_add(left);
    }

    pub(super) fn settle(&mut self, draw: u64, amount: Amount, outcome: Outcome) {
        let is_refused = outcome == Outcome::Rejected;
        if draw >= self.since {
            self.counter = self.counter.settle(amount, outcome);
            if is_refused {
                self.doubt.refused(draw, amount);
            }
        } else if draw >= self.born && is_refused {
            // It went over with all that the former token had used, but for what others may have.
            let fallen = amount.saturating_sub(self.carried_doubt.refused(draw, amount));
            self.counter.carried = self.counter.carried.saturating_sub(fallen);
        }
    }

    /// Sets the total: the stricter of the lineage's own and that of a rule.
    pub(super) fn bound(&mut self, rule: Option<Amount>) {
        self.counter.total = self.own_total.into_iter().chain(rule).min();
    }

    /// Goes on with another token. What the former one used is carried over: all of ours, and no less
    /// than BitGo counted. What is in doubt is among ours, and nobody could take it off later.
    pub(super) fn succeed(&mut self, server: Option<&SpendingLimit>, next_draw: u64) {
        self.fence();
        let doubt = std::mem::take(&mut self.doubt);
        let carried = self.counter.used_of_total().unwrap_or(Amount::MAX);
        let carried = carried.saturating_sub(doubt.amount());
        self.carried_doubt = self.carried_doubt.and(doubt);
        let begun = server.map(Counter::begin).unwrap_or_default();
        // What the new token begins with was spent by nobody of this lineage.
        let (total, renewed) = (self.counter.total, begun.foreign);
        self.counter = Counter { total, carried, renewed, ..begun };
        (self.is_of_server, self.since) = (server.is_some(), next_draw);
    }

    /// The same token, of which BitGo says anew what it may spend: a stricter limit holds.
    pub(super) fn tighten(&mut self, server: Option<&SpendingLimit>) {
        if let Some(limit) = server {
            self.is_of_server = true;
            self.counter.limit = self.counter.limit.into_iter().chain(limit.limit).min();
        }
    }

    /// Begins anew at what the server counted, since the ledger's own past is not believed.
    pub(super) fn begin_anew(&mut self, server: Option<&SpendingLimit>, next_draw: u64) {
        let old = self.counter;
        let begun = server.map(Counter::begin).unwrap_or(Counter {
            // Nobody else counts it, so what is known is all there is.
            foreign: old.used().unwrap_or(Amount::MAX).saturating_sub(old.pending),
            ..Counter::default()
        });
        self.counter = Counter {
            // A limit of ours that was stricter stays.
            limit: begun.limit.into_iter().chain(old.limit).min(),
            total: old.total,
            carried: old.carried,
            renewed: old.renewed.min(begun.foreign),
            // What waits for an approval may still go out.
            pending: old.pending,
            ..begun
        };
        self.is_of_server = server.is_some();
        (self.in_flight, self.doubt, self.carried_doubt) = Default::default();
        (self.born, self.since) = (next_draw, next_draw);
    }

    /// A budget that begins anew by the total: what was settled before does not count, nor what former
    /// tokens spent, whose draws give nothing back any more.
    pub(super) fn renew(&mut self) {
        self.born = self.since;
        // What is forgiven is not taken off once more.
        (self.doubt, self.carried_doubt) = Default::default();
        let counter = &mut self.counter;
        counter.carried = Amount::ZERO;
        counter.renewed = counter.accepted.saturating_add(counter.foreign);
    }

    /// Whether the number of its first draw is the same: then it counts the same token.
    pub(super) fn since(&self) -> u64 {
        self.since
    }
}
