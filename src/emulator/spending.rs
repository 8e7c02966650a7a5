//! What a token may spend and has spent: over its whole life, exactly (PROTOCOL section 6).

use crate::money::{Amount, Coin};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// The most that may be spent, in base units; `None` is no cap (`maxLimit`).
pub(super) type Cap = Option<Amount>;

/// What a token may spend. Without any limit it may spend only while it is unlocked.
#[derive(Clone, Default)]
pub(super) struct Limits {
    pub(super) coins: BTreeMap<Coin, Cap>,
    /// The pool of ERC-20 coins that have no limit of their own.
    pub(super) erc20: Option<Pool>,
}

/// The limit that ERC-20 coins share.
#[derive(Clone, Copy)]
pub(super) struct Pool {
    pub(super) enabled: bool,
    pub(super) cap: Cap,
}

/// What was spent under one limit.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) count: u64,
    pub(super) value: Amount,
}

/// Until when a token without limits may spend.
#[derive(Clone, Copy)]
pub(super) struct Unlocked {
    pub(super) at: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
}

/// A token's limits and its counters.
#[derive(Clone, Default)]
pub(super) struct Spending {
    pub(super) limits: Limits,
    pub(super) coins: BTreeMap<Coin, Spent>,
    pub(super) erc20: Spent,
    pub(super) unlocked: Option<Unlocked>,
}

/// A spend that is asked for.
#[derive(Clone, Copy)]
pub(super) struct Spend<'a> {
    pub(super) coin: &'a Coin,
    pub(super) value: Amount,
    pub(super) is_erc20: bool,
}

/// Why a token may not spend.
pub(super) enum Refusal {
    /// It lies beyond the limit, or there is none and the token is locked.
    NeedsUnlock,
    /// The sum cannot be counted.
    Overflow,
}

impl Spent {
    fn and(self, value: Amount) -> Result<Self, Refusal> {
        let value = self.value.checked_add(value).ok_or(Refusal::Overflow)?;
        Ok(Self { count: self.count + 1, value })
    }

    fn fits(self, cap: Cap) -> bool {
        cap.is_none_or(|cap| self.value <= cap)
    }
}

impl Spending {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub(super) fn of(&self, coin: &Coin) -> Spent {
        self.coins.get(coin).copied().unwrap_or_default()
    }

    /// Counts a spend, if the limits allow it or none is `enforced`.
    pub(super) fn charge(
        &mut self,
        spend: Spend<'_>,
        enforced: bool,
        now: DateTime<Utc>,
    ) -> Result<(), Refusal> {
        let own = self.of(spend.coin).and(spend.value)?;
        let cap = self.limits.coins.get(spend.coin);
        let pool = self.limits.erc20.filter(|pool| pool.enabled && spend.is_erc20);
        let pool = pool.filter(|_| cap.is_none());
        let pooled = pool.map(|_| self.erc20.and(spend.value)).transpose()?;
        let fits = match (cap, pool, pooled) {
            (Some(cap), ..) => own.fits(*cap),
            (None, Some(pool), Some(pooled)) => pooled.fits(pool.cap),
            _ => self.unlocked.is_some_and(|unlocked| now < unlocked.until),
        };
        if enforced && !fits {
            return Err(Refusal::NeedsUnlock);
        }
        self.coins.insert(spend.coin.clone(), own);
        self.erc20 = pooled.unwrap_or(self.erc20);
        Ok(())
    }

    /// Deletes every limit, as BitGo does, and lets the token spend until `until`.
    pub(super) fn unlock(&mut self, at: DateTime<Utc>, until: DateTime<Utc>) {
        self.limits = Limits::default();
        self.unlocked = Some(Unlocked { at, until });
    }

    pub(super) fn lock(&mut self) {
        self.unlocked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coin(name: &str) -> Coin {
        Coin::new(name).unwrap()
    }

    fn fits(spending: &mut Spending, name: &str, value: u128, now: DateTime<Utc>) -> bool {
        let (coin, value) = (coin(name), Amount::new(value));
        let spend = Spend { coin: &coin, value, is_erc20: name.starts_with("erc") };
        spending.charge(spend, true, now).is_ok()
    }

    #[test]
    fn a_coin_falls_under_its_own_limit_else_the_pool_else_the_unlock() {
        let now = DateTime::UNIX_EPOCH;
        let mut spending = Spending::new(Limits {
            coins: BTreeMap::from([
                (coin("tbtc"), Some(Amount::new(10))),
                (coin("tsol"), None),
                (coin("erc:own"), Some(Amount::new(3))),
            ]),
            erc20: Some(Pool { enabled: true, cap: Some(Amount::new(5)) }),
        });
        for (name, value, expect) in [
            ("tbtc", 10, true),
            ("tbtc", 1, false),
            ("tsol", u128::MAX, true),
            ("tsol", 1, false),
            ("erc:own", 3, true),
            ("erc:own", 1, false),
            ("erc:a", 4, true),
            ("erc:b", 2, false),
            ("erc:b", 1, true),
            ("erc:a", 1, false),
            ("tltc", 1, false),
        ] {
            assert_eq!(fits(&mut spending, name, value, now), expect, "{name} {value}");
        }
        assert_eq!((spending.erc20.count, spending.erc20.value), (2, Amount::new(5)));

        let until = now + chrono::TimeDelta::seconds(600);
        spending.unlock(now, until);
        assert!(spending.limits.coins.is_empty() && spending.limits.erc20.is_none());
        assert!(fits(&mut spending, "tbtc", 1_000, now));
        assert!(!fits(&mut spending, "tbtc", 1, until), "and its limits do not come back");
        spending.unlock(now, until);
        spending.lock();
        assert!(!fits(&mut spending, "tbtc", 1, now));
    }
}
