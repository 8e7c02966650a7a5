//! What BitGo counted, held against what we did.
//!
//! A sample tells the sum that BitGo counted up to some moment after it was asked for. What of it we
//! did not do was done by others and counts at once. It also tells what became of spends whose
//! answers were lost, but only where nothing of ours can still be on its way: then the sample is
//! *quiescent*, what is uncertain goes, and what BitGo counted beyond what it accepted of us stays.
//!
//! A spend of ours that is on its way may be among what BitGo counted, or not: then it counts twice,
//! and how much of the others' that may be is *in doubt*. The next sample knows better, as what was
//! accepted by then is ours; a renewal takes it for ours.

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
    /// Which sample was the last before.
    confirmed_ms: i64,
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

/// What a sample may change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// It frees nothing.
    Raises,
    /// What was in doubt it tells anew.
    Tells,
    /// What is uncertain goes as well.
    Resolves,
}

/// How much of what BitGo counted may have been done by us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Doubt {
    amount: Amount,
    /// What was on its way then, and was not refused since.
    suspects: Amount,
    /// The number of the first draw that may have been, and of the first that came later.
    from: u64,
    below: u64,
}

impl Doubt {
    /// What is left of it when all draws that it was about have ended with their process.
    pub(super) fn kept(amount: Amount) -> Self {
        Self { amount, ..Self::default() }
    }

    pub(super) fn amount(&self) -> Amount {
        self.amount
    }

    /// BitGo refused a draw, which it has not counted then. Answers how much is not in doubt any more:
    /// others spent that.
    pub(super) fn refused(&mut self, draw: u64, amount: Amount) -> Amount {
        if !(self.from..self.below).contains(&draw) {
            return Amount::ZERO;
        }
        self.suspects = self.suspects.saturating_sub(amount);
        let left = self.amount.min(self.suspects);
        std::mem::replace(&mut self.amount, left).saturating_sub(left)
    }

    /// Both at once. What came between them is taken for suspect too: then more counts, and not less.
    pub(super) fn and(self, later: Self) -> Self {
        if self.amount == Amount::ZERO {
            return later;
        }
        Self {
            amount: self.amount.saturating_add(later.amount),
            suspects: self.suspects.saturating_add(later.suspects),
            from: self.from.min(later.from),
            below: self.below.max(later.below),
        }
    }
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
    /// Of what others spent, what may be the vault's own, on its way while BitGo counted. A later count
    /// tells.
    pub in_doubt: Amount,
    /// The same before.
    pub in_doubt_before: Amount,
    /// What was uncertain and is not any more.
    pub resolved: Amount,
}

impl Drift {
    /// Whether others spent what the vault did not know of.
    pub fn is_of_others(&self) -> bool {
        let before = self.foreign_before.saturating_sub(self.in_doubt_before);
        self.foreign.saturating_sub(self.in_doubt) > before.saturating_add(self.resolved)
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
        worth: Worth,
        next_draw: u64,
    ) -> Option<Drift> {
        // Another token's count says nothing.
        if !self.is_of_server || since != self.since() {
            return None;
        }
        let counter = &mut self.counter;
        let (foreign_before, in_doubt_before) = (counter.foreign, self.doubt.amount());
        let beyond = counted.saturating_sub(accepted);
        let known_before = foreign_before.saturating_sub(in_doubt_before);
        let known = match worth {
            Worth::Raises => foreign_before,
            Worth::Tells => known_before,
            Worth::Resolves => Amount::ZERO,
        };
        counter.foreign = known.max(beyond);
        let mut resolved = Amount::ZERO;
        match worth {
            Worth::Raises => {}
            Worth::Tells => {
                // All of ours that it may have counted besides.
                let ours = counter.used().unwrap_or_default().saturating_sub(counter.foreign);
                let suspects = ours.saturating_sub(accepted);
                let others = known.max(beyond.saturating_sub(suspects));
                let amount = counter.foreign.saturating_sub(others);
                self.doubt = Doubt { amount, suspects, from: since, below: next_draw };
            }
            Worth::Resolves => {
                self.doubt = Doubt::default();
                resolved = std::mem::take(&mut counter.uncertain);
            }
        }
        // What was not spent by others after all was not forgiven either; nothing in doubt ever was.
        let fallen = known_before.saturating_sub(counter.foreign);
        counter.renewed = counter.renewed.saturating_sub(fallen);
        let drift = Drift {
            coin: None,
            counted,
            accepted,
            foreign: counter.foreign,
            foreign_before,
            in_doubt: self.doubt.amount(),
            in_doubt_before,
            resolved,
        };
        let is_news = drift.foreign != foreign_before
            || drift.in_doubt != in_doubt_before
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
            confirmed_ms: self.confirmed_ms,
        }
    }

    /// Takes a sample into account.
    pub(crate) fn sample(&mut self, before: &Sampling, sample: &Sample<'_>) -> Vec<Drift> {
        self.hear(sample.server_ms);
        // What an exposed token spends is not seen, so nothing is freed any more; nor by an older
        // sample than one that was taken into account, or may be: when it was signed does not tell when
        // it was counted.
        let is_newest =
            sample.server_ms >= self.confirmed_ms && before.confirmed_ms == self.confirmed_ms;
        let worth = match (is_newest && !self.is_exposed, sample.is_quiescent) {
            (true, true) => Worth::Resolves,
            (true, false) => Worth::Tells,
            (false, _) => Worth::Raises,
        };
        self.confirmed_ms = self.confirmed_ms.max(sample.server_ms);
        let (mut drifts, next_draw) = (Vec::new(), self.flow.next_draw);
        for (coin, meter) in self.coins.iter_mut() {
            let told = before.coins.get(coin).zip(sample.limits.get(coin));
            let drift =
                told.and_then(|(ours, told)| meter.sample(*ours, told.spent, worth, next_draw));
            drifts.extend(drift.map(|drift| Drift { coin: Some(coin.clone()), ..drift }));
        }
        if let (Some(meter), Some(ours), Some(told)) = (&mut self.pool, before.pool, sample.pool) {
            drifts.extend(meter.sample(ours, told.spent, worth, next_draw));
        }
        drifts
    }

    /// Begins anew at the server's counters, if its own past is not believed: its windows are used
    /// up. A token that was exposed stays so.
    pub(crate) fn begin_anew(&mut self, info: &TokenInfo, rules: &LocalRules, server_ms: i64) {
        if self.is_unreconciled {
            self.begin_at(info, rules, server_ms);
            self.is_unreconciled = false;
        }
    }

    /// BitGo tells what a token may spend of which it could not be asked before: the ledger begins at the
    /// server's counters. One that may not be the last (it came back by a restore) is not believed for
    /// that: the token may have spent as verified before, and that may be on its way.
    pub(crate) fn verify(&mut self, info: &TokenInfo, rules: &LocalRules, server_ms: i64) {
        let was_verified = self.is_counted() || self.pool.is_some();
        match was_verified && !self.is_unreconciled {
            // A repair took what is known of the token from a backup: the ledger itself is the last.
            true => self.tighten(info, rules),
            false => self.begin_at(info, rules, server_ms),
        }
    }

    fn begin_at(&mut self, info: &TokenInfo, rules: &LocalRules, server_ms: i64) {
        self.fence();
        self.hear(server_ms);
        self.confirmed_ms = self.confirmed_ms.max(server_ms);
        let next_draw = self.flow.next_draw;
        for (coin, meter) in self.coins.iter_mut() {
            meter.begin_anew(info.spending_limits.get(coin), next_draw);
        }
        self.add_coins(super::terms::of_server(info, next_draw));
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
    }
}
