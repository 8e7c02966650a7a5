//! The counters of a spending limit.
//!
//! `used = accepted + pending + uncertain + reserved + foreign`; a reservation is made only
//! while `used + amount ≤ limit`, in checked arithmetic. What happens to a reservation is
//! decided by its [`Outcome`] alone; only a release gives anything back.

use super::{Denied, Outcome, Purpose, Rule};
use crate::money::{Amount, Coin};
use crate::token::SpendingLimit;

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

/// Where spends are reserved before a secret leaves, and settled by their outcome.
///
/// `Ok` from [`Ledger::reserve`] is durable: a crash right after counts the spend.
pub(crate) trait Ledger {
    /// Which account is charged.
    type Account;
    /// Why a reservation was refused: [`Denied`], or the ledger itself failed.
    type Error: From<Denied>;

    /// Reserves all charges or none.
    fn reserve(&self, account: &Self::Account, charges: &[Charge]) -> Result<(), Self::Error>;

    /// Settles charges that were reserved.
    fn settle(&self, account: &Self::Account, charges: &[Charge], outcome: Outcome);
}

/// The counters of one coin, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counter {
    /// The most that may be spent; `None` where there is no cap.
    pub limit: Option<Amount>,
    /// Spends the server verifiably accepted.
    pub accepted: Amount,
    /// Spends that wait for an approval.
    pub pending: Amount,
    /// Spends whose outcome is not known; they count as spent.
    pub uncertain: Amount,
    /// Spends reserved and not settled yet.
    pub reserved: Amount,
    /// Spends the server counted before this ledger began, or by others.
    pub foreign: Amount,
}

impl Counter {
    /// A ledger's beginning: what the server had counted is foreign to us.
    pub(crate) fn begin(server: &SpendingLimit) -> Self {
        Self { limit: server.limit, foreign: server.spent, ..Self::default() }
    }

    /// All that counts against the limit; `None` if it cannot be counted.
    pub fn used(&self) -> Option<Amount> {
        [self.pending, self.uncertain, self.reserved, self.foreign]
            .iter()
            .try_fold(self.accepted, |sum, part| sum.checked_add(*part))
    }

    /// What is left of the limit; `None` where there is no cap.
    pub fn left(&self) -> Option<Amount> {
        let used = self.used().unwrap_or(Amount::MAX);
        self.limit.map(|limit| limit.saturating_sub(used))
    }

    /// The counter after a reservation of `amount`.
    pub(crate) fn reserve(self, coin: &Coin, amount: Amount) -> Result<Self, Denied> {
        let uncountable = || Denied::new(Rule::Limit, "more was spent than can be counted");
        let used = self.used().ok_or_else(uncountable)?;
        let after = used.checked_add(amount).ok_or_else(uncountable)?;
        if let Some(limit) = self.limit
            && after > limit
        {
            return Err(Denied::over_limit(coin, amount, limit, limit.saturating_sub(used)));
        }
        let reserved = self.reserved.checked_add(amount).ok_or_else(uncountable)?;
        Ok(Self { reserved, ..self })
    }

    /// The counter after a reservation of `amount` was settled.
    ///
    /// A settlement moves between parts of `used` and cannot overflow it; should the parts
    /// ever not fit, the amount stays where it counts.
    pub(crate) fn settle(mut self, amount: Amount, outcome: Outcome) -> Self {
        let Some(rest) = self.reserved.checked_sub(amount) else { return self };
        let part = match outcome {
            Outcome::Rejected => {
                self.reserved = rest;
                return self;
            }
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

    /// The counter as a crash leaves it: what was reserved may have been spent.
    pub(crate) fn after_crash(self) -> Self {
        self.settle(self.reserved, Outcome::Uncertain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn coin() -> Coin {
        Coin::new("tbtc").unwrap()
    }

    #[test]
    fn the_whole_limit_is_usable_and_not_one_unit_more() {
        let counter = Counter { limit: Some(Amount::new(10)), ..Counter::default() };
        let counter = counter.reserve(&coin(), Amount::new(9)).unwrap();
        let denied = counter.reserve(&coin(), Amount::new(2)).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "denied by limit: 2 tbtc asked, 1 left of the token's limit of 10"
        );
        assert_eq!((denied.asked(), denied.left()), (Some(Amount::new(2)), Some(Amount::new(1))));
        let counter = counter.reserve(&coin(), Amount::new(1)).unwrap();
        assert_eq!(counter.left(), Some(Amount::ZERO));
    }

    #[test]
    fn what_cannot_be_counted_is_denied() {
        let counter = Counter { accepted: Amount::MAX, ..Counter::default() };
        assert!(counter.reserve(&coin(), Amount::new(1)).is_err());
        let counter = Counter { accepted: Amount::MAX, pending: Amount::MAX, ..Counter::default() };
        assert!(counter.reserve(&coin(), Amount::ZERO).is_err());
    }

    proptest! {
        /// Against a plain model: what was signed and not verifiably refused never exceeds the limit.
        #[test]
        fn never_over_the_limit(limit in 0u128..1000, steps in prop::collection::vec((0u128..300, 0u8..5), 0..60)) {
            let mut counter = Counter { limit: Some(Amount::new(limit)), ..Counter::default() };
            let mut counted = 0;
            for (amount, step) in steps {
                let Ok(reserved) = counter.reserve(&coin(), Amount::new(amount)) else {
                    prop_assert!(counted + amount > limit, "denied with room left");
                    continue;
                };
                counter = match step {
                    0 => reserved.settle(Amount::new(amount), Outcome::Rejected),
                    1 => reserved.settle(Amount::new(amount), Outcome::Accepted),
                    2 => reserved.settle(Amount::new(amount), Outcome::Pending),
                    3 => reserved.settle(Amount::new(amount), Outcome::Uncertain),
                    _ => reserved.after_crash(),
                };
                counted += if step == 0 { 0 } else { amount };
                prop_assert!(counted <= limit);
                prop_assert_eq!(counter.used(), Some(Amount::new(counted)));
            }
        }
    }
}
