//! The counters of a spending limit.
//!
//! What counts is `accepted + pending + uncertain + reserved + allotted + foreign`, in checked arithmetic.
//! What happens to a reservation is decided by its [`Outcome`] alone; only a refusal gives anything
//! back, and that to the allotment it came from.

use super::{Decay, Outcome, Purpose};
use crate::money::{Amount, Coin};
use crate::token::SpendingLimit;
use std::time::Duration;

/// What is charged to one coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) purpose: Purpose,
    pub(crate) coin: Coin,
    /// Whether it falls under the pool of ERC-20 coins, where it has no limit of its own.
    pub(crate) is_erc20: bool,
    pub(crate) amount: Amount,
}

impl Charge {
    /// A withdrawal of a coin that falls under no pool.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn withdrawal(coin: Coin, amount: Amount) -> Self {
        Self { purpose: Purpose::Withdrawal, coin, is_erc20: false, amount }
    }
}

/// The counters of one coin, in base units.
///
/// Two bounds hold: BitGo's limit of the token, against what this token [used](Counter::used), and
/// the total of the token and its successors, against that and what is carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counter {
    /// The most that the token may spend, as BitGo has it; `None` where there is no cap.
    pub limit: Option<Amount>,
    /// The most that it and its successors may spend, from when the budget was last renewed.
    pub total: Option<Amount>,
    /// Spends the server verifiably accepted.
    pub accepted: Amount,
    /// Spends that wait for an approval.
    pub pending: Amount,
    /// Spends whose outcome is not known; they count as spent.
    pub uncertain: Amount,
    /// Spends leased or signed, and not settled yet.
    pub reserved: Amount,
    /// Taken of the limit durably and not drawn by any lease yet. After a crash it counts as spent
    /// until it is reconciled; a clean close returns it.
    pub allotted: Amount,
    /// Spends the server counted before this ledger began, or by others.
    pub foreign: Amount,
    /// What former tokens of the lineage used of the total.
    pub carried: Amount,
    /// What of the above was spent before the budget was last renewed: the total does not count it.
    pub renewed: Amount,
}

impl Counter {
    /// A ledger's beginning: what the server had counted is foreign to us.
    pub(crate) fn begin(server: &SpendingLimit) -> Self {
        Self { limit: server.limit, total: server.limit, foreign: server.spent, ..Self::default() }
    }

    /// All that was or may have been spent of the token's limit, or is leased; `None` if it cannot be
    /// counted. What is allotted and not leased is not among it.
    pub fn used(&self) -> Option<Amount> {
        let parts = [self.pending, self.uncertain, self.reserved, self.foreign];
        parts.iter().try_fold(self.accepted, |sum, part| sum.checked_add(*part))
    }

    /// The same of the total; `None` if it cannot be counted.
    pub fn used_of_total(&self) -> Option<Amount> {
        self.sums()[1]
    }

    /// What may still be spent by the stricter bound, what is allotted among it; `None` where there is
    /// no cap.
    pub fn left(&self) -> Option<Amount> {
        self.left_of(Share::WHOLE)
    }

    /// What may still be spent while only a share of either bound may be used.
    pub(super) fn left_of(&self, share: Share) -> Option<Amount> {
        self.left_beside(self.sums(), share, Amount::ZERO)
    }

    /// What may still be taken, beside what is allotted.
    pub(super) fn left_to_take(&self, share: Share) -> Option<Amount> {
        self.left_beside(self.sums(), share, self.allotted)
    }

    /// What is used of the limit, and of the total; `None` for what cannot be counted.
    pub(super) fn sums(&self) -> [Option<Amount>; 2] {
        let used = self.used();
        let of_total = used.and_then(|used| used.checked_add(self.carried));
        [used, of_total.map(|sum| sum.saturating_sub(self.renewed))]
    }

    /// What the bounds leave where so much is used of them, and that is allotted beside.
    pub(super) fn left_beside(
        &self,
        used: [Option<Amount>; 2],
        share: Share,
        allotted: Amount,
    ) -> Option<Amount> {
        let left = |cap: Option<Amount>, used: Option<Amount>| {
            let used = used.map_or(Amount::MAX, |used| used.saturating_add(allotted));
            cap.map(|cap| share.of(cap).saturating_sub(used))
        };
        let [limit, total] = used;
        let (limit, total) = (left(self.limit, limit), left(self.total, total));
        limit.map_or(total, |limit| Some(total.map_or(limit, |total| total.min(limit))))
    }

    /// The smaller bound as it stands.
    pub(super) fn cap(&self) -> Option<Amount> {
        self.limit.into_iter().chain(self.total).min()
    }

    /// Moves `amount` of what is allotted to a lease.
    pub(super) fn draw(&mut self, amount: Amount) {
        self.allotted = self.allotted.saturating_sub(amount);
        self.reserved = self.reserved.saturating_add(amount);
    }

    /// The counter after a reservation of `amount` was settled.
    ///
    /// A settlement moves between parts of `used` and cannot overflow it; should the parts
    /// ever not fit, the amount stays where it counts.
    pub(crate) fn settle(mut self, amount: Amount, outcome: Outcome) -> Self {
        let Some(rest) = self.reserved.checked_sub(amount) else { return self };
        let part = match outcome {
            Outcome::Rejected => &mut self.allotted,
            Outcome::Accepted => &mut self.accepted,
            Outcome::Pending => &mut self.pending,
            Outcome::Uncertain => &mut self.uncertain,
        };
        if let Some(sum) = part.checked_add(amount) {
            *part = sum;
            self.reserved = rest;
        }
        self
    }

    /// The counter as a crash leaves it: what was reserved or allotted may have been spent.
    pub(crate) fn after_crash(self) -> Self {
        let mut counter = self;
        let taken = self.reserved.saturating_add(self.allotted);
        counter.uncertain = self.uncertain.saturating_add(taken);
        (counter.reserved, counter.allotted) = (Amount::ZERO, Amount::ZERO);
        counter
    }
}

/// A share of a limit, in parts of 2^16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Share(u32);

impl Share {
    pub(super) const WHOLE: Self = Self(1 << 16);

    /// What remains by a rule when the last confirmation is so old.
    pub(super) fn after(decay: &Decay, age: Duration) -> Self {
        let (over, late) = (decay.over.as_millis().max(1), age.saturating_sub(decay.after));
        let rest = over.saturating_sub(late.as_millis());
        let parts = rest.saturating_mul(1 << 16) / over;
        Self(u32::try_from(parts).unwrap_or(1 << 16).min(1 << 16))
    }

    /// That share of an amount, rounded down.
    fn of(self, amount: Amount) -> Amount {
        if self == Self::WHOLE {
            return amount;
        }
        let (units, share) = (amount.base_units(), u128::from(self.0));
        Amount::new((units >> 16) * share + (((units & 0xffff) * share) >> 16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(units: u128) -> Amount {
        Amount::new(units)
    }

    #[test]
    fn the_stricter_bound_holds() {
        let server = SpendingLimit { limit: Some(amount(100)), spent: amount(10) };
        let counter = Counter { total: Some(amount(60)), ..Counter::begin(&server) };
        assert_eq!((counter.left(), counter.cap()), (Some(amount(50)), Some(amount(60))));
        let counter = Counter { carried: amount(45), allotted: amount(2), ..counter };
        assert_eq!(counter.left(), Some(amount(5)));
        assert_eq!(counter.left_to_take(Share::WHOLE), Some(amount(3)));
        let counter = Counter { renewed: amount(10), ..counter };
        assert_eq!(counter.left(), Some(amount(15)));
        assert_eq!(Counter { total: None, ..counter }.left(), Some(amount(90)));
        assert_eq!(Counter { limit: None, total: None, ..counter }.left(), None);
    }

    #[test]
    fn what_cannot_be_counted_leaves_nothing() {
        let limit = Some(Amount::MAX);
        let counter =
            Counter { limit, accepted: Amount::MAX, pending: amount(1), ..Counter::default() };
        assert_eq!((counter.used(), counter.left()), (None, Some(Amount::ZERO)));
    }

    #[test]
    fn less_may_be_used_the_older_the_confirmation() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let decay = Decay { after: hours(1), over: hours(4) };
        let left = |age| Share::after(&decay, age).of(amount(1000)).base_units();
        let ages = [0, 1, 2, 3, 4, 5, 1_000_000].map(|age| left(hours(age)));
        assert_eq!(ages, [1000, 1000, 750, 500, 250, 0, 0]);
        assert_eq!(Share::WHOLE.of(Amount::MAX), Amount::MAX);
        let at_once = Decay { after: Duration::ZERO, over: Duration::ZERO };
        assert_eq!(Share::after(&at_once, Duration::from_millis(1)).of(amount(7)), Amount::ZERO);
    }
}
