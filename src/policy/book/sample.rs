//! What BitGo counted, held against what we did.
//!
//! A sample tells the sum that BitGo counted up to some moment after it was asked for. What of it we
//! did not do was done by others and counts at once. It also tells what became of spends whose
//! answers were lost, but only where nothing of ours can still be on its way: then the sample is
//! *quiescent*, what is uncertain goes, and what BitGo counted beyond what it accepted of us stays.

use super::{Book, Meter};
use crate::coin_map::CoinMap;
use crate::money::{Amount, Coin};
use crate::policy::LocalRules;
use crate::token::{SpendingLimit, TokenInfo};

/// What we had done before a sample was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Sampling {
    coins: CoinMap<(Amount, u64)>,
    pool: Option<(Amount, u64)>,
}

/// What BitGo told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) limits: &'a CoinMap<SpendingLimit>,
    /// Where the list of tokens could be read; `None` leaves the pool as it is.
    pub(crate) pool: Option<SpendingLimit>,
    /// When, by its own clock, in milliseconds since 1970.
    pub(crate) server_ms: i64,
    /// Whether nothing of ours can have been on its way.
    pub(crate) is_quiescent: bool,
}

/// Where BitGo's count and the vault's went apart, or came together again. In base units.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drift {
    /// The coin; `None` for the limit that ERC-20 coins share.
    pub coin: Option<Coin>,
    /// What BitGo counted.
    pub counted: Amount,
    /// What it had accepted of the vault's own spends.
    pub accepted: Amount,
    /// What others spent, as the vault has it from now on: this counts against the limit.
    pub foreign: Amount,
    /// The same before.
    pub foreign_before: Amount,
    /// What was uncertain and is not any more.
    pub resolved: Amount,
}

impl Drift {
    /// Whether others spent what the vault did not know of.
    pub fn is_of_others(&self) -> bool {
        self.foreign > self.foreign_before.saturating_add(self.resolved)
    }

    /// Whether BitGo counted less than it had accepted: then one of the two counts is wrong.
    pub fn is_contradiction(&self) -> bool {
        self.counted < self.accepted
    }
}

impl Meter {
    /// What was accepted, and of which token.
    fn sampling(&self) -> (Amount, u64) {
        (self.counter.accepted, self.since())
    }

    fn sample(
        &mut self,
        (accepted, since): (Amount, u64),
        counted: Amount,
        resolves: bool,
    ) -> Option<Drift> {
        // Another token's count says nothing.
        if !self.is_of_server || since != self.since() {
            return None;
        }
        let counter = &mut self.counter;
        let (foreign_before, uncertain) = (counter.foreign, counter.uncertain);
        let beyond = counted.saturating_sub(accepted);
        if resolves {
            (counter.foreign, counter.uncertain) = (beyond, Amount::ZERO);
            // What was not spent by others after all was not forgiven either.
            let fallen = foreign_before.saturating_sub(beyond);
            counter.renewed = counter.renewed.saturating_sub(fallen);
        } else {
            counter.foreign = counter.foreign.max(beyond);
        }
        let drift = Drift {
            coin: None,
            counted,
            accepted,
            foreign: counter.foreign,
            foreign_before,
            resolved: if resolves { uncertain } else { Amount::ZERO },
        };
        let is_news = drift.foreign != foreign_before
            || drift.resolved > Amount::ZERO
            || drift.is_contradiction();
        is_news.then_some(drift)
    }
}

impl Book {
    /// What we have done so far; to be asked before the sample is.
    pub(crate) fn sampling(&self) -> Sampling {
        let coins = self.coins.iter();
        Sampling {
            coins: coins.map(|(coin, meter)| (coin.clone(), meter.sampling())).collect(),
            pool: self.pool.as_deref().map(Meter::sampling),
        }
    }

    /// Takes a sample into account.
    pub(crate) fn sample(&mut self, before: &Sampling, sample: &Sample<'_>) -> Vec<Drift> {
        self.roll(sample.server_ms);
        // What an exposed token spends is not seen, so nothing is freed any more; nor by an older
        // sample than one that was taken into account.
        let is_newest = sample.server_ms >= self.confirmed_ms;
        let resolves = sample.is_quiescent && is_newest && !self.is_exposed;
        self.confirmed_ms = self.confirmed_ms.max(sample.server_ms);
        let mut drifts = Vec::new();
        for (coin, meter) in self.coins.iter_mut() {
            let told = before.coins.get(coin).zip(sample.limits.get(coin));
            let drift = told.and_then(|(ours, told)| meter.sample(*ours, told.spent, resolves));
            drifts.extend(drift.map(|drift| Drift { coin: Some(coin.clone()), ..drift }));
        }
        if let (Some(meter), Some(ours), Some(told)) = (&mut self.pool, before.pool, sample.pool) {
            drifts.extend(meter.sample(ours, told.spent, resolves));
        }
        drifts
    }

    /// Begins anew at the server's counters, if its own past is not believed: its windows are used
    /// up. A token that was exposed stays so.
    pub(crate) fn begin_anew(&mut self, info: &TokenInfo, rules: &LocalRules, server_ms: i64) {
        if !self.is_unreconciled {
            return;
        }
        self.fence();
        self.roll(server_ms);
        self.confirmed_ms = self.confirmed_ms.max(server_ms);
        let next_draw = self.flow.next_draw;
        for (coin, meter) in self.coins.iter_mut() {
            meter.begin_anew(info.spending_limits.get(coin), next_draw);
        }
        self.add_coins(super::of_server(info, next_draw));
        match (&mut self.pool, &info.erc20_limit) {
            (Some(meter), Some(told)) => meter.begin_anew(Some(told), next_draw),
            // Nobody tells what was spent of it: nothing is left.
            (Some(meter), None) => meter.exhaust(),
            (none, told) => {
                let begun = told.as_ref().map(|pool| Meter::of_server(pool).from(next_draw));
                *none = begun.map(Box::new);
            }
        }
        // The book may be older than the rules, or have been lost without them.
        self.apply(rules);
        self.windows.iter_mut().for_each(|window| window.fill(server_ms));
        if self.is_exposed {
            self.exhaust();
        }
        self.is_unreconciled = false;
    }
}
