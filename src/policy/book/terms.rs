//! Terms: what changes what a book may spend. Whatever does fences it first, so that nothing is drawn
//! under terms that are gone.

use super::{Book, Meter, WINDOWS_MAX, Window};
use crate::money::Coin;
use crate::policy::LocalRules;
use crate::token::TokenInfo;

impl Book {
    /// Brings the bounds to what the rules say. What nobody drew is returned first: from here on
    /// nothing is drawn under the former ones.
    pub(crate) fn apply(&mut self, rules: &LocalRules) {
        self.fence();
        self.decay = rules.decay;
        let next_draw = self.flow.next_draw;
        for (coin, meter) in self.coins.iter_mut() {
            meter.bound(rules.coins.get(coin).and_then(|rules| rules.total));
        }
        let totals = rules.coins.iter().filter_map(|(coin, rules)| Some((coin, rules.total?)));
        self.add_coins(totals.map(|(coin, total)| {
            let mut meter = Meter::default().from(next_draw);
            meter.bound(Some(total));
            (coin.clone(), meter)
        }));
        let mut former = std::mem::take(&mut self.windows);
        let windows = rules.windows.iter().take(WINDOWS_MAX).map(|rule| {
            match former.iter().position(|window| window.is_of(rule)) {
                Some(at) => former.swap_remove(at).under(rule.clone()),
                None => Window::new(rule.clone(), next_draw),
            }
        });
        self.windows = windows.collect();
    }

    /// Goes on with another token of the lineage: its counters at BitGo are its own, what the former
    /// one used is carried over.
    pub(crate) fn succeed(&mut self, info: &TokenInfo, rules: &LocalRules, server_ms: i64) {
        self.roll(server_ms, 0);
        // Nobody can tell any more what a lineage that is not reconciled spent.
        if std::mem::take(&mut self.is_unreconciled) {
            self.apply(rules);
            self.exhaust();
        }
        self.fence();
        let next_draw = self.flow.next_draw;
        for (coin, meter) in self.coins.iter_mut() {
            meter.succeed(info.spending_limits.get(coin), next_draw);
        }
        self.add_coins(of_server(info, next_draw));
        let pool = info.erc20_limit.as_ref();
        match &mut self.pool {
            // Whether there still is one, the list of tokens alone tells.
            Some(meter) => meter.succeed(pool, next_draw),
            none => *none = pool.map(|pool| Box::new(Meter::of_server(pool).from(next_draw))),
        }
        self.apply(rules);
    }

    /// Adds the meters of coins that have none.
    pub(super) fn add_coins(&mut self, meters: impl Iterator<Item = (Coin, Meter)>) {
        let mut coins: Vec<_> = std::mem::take(&mut self.coins).into_iter().collect();
        for (coin, meter) in meters {
            if !coins.iter().any(|(known, _)| *known == coin) {
                coins.push((coin, meter));
            }
        }
        self.coins = coins.into_iter().collect();
    }

    /// The same token, of which BitGo says anew what it may spend: the stricter limit holds.
    pub(crate) fn tighten(&mut self, info: &TokenInfo, rules: &LocalRules) {
        for (coin, meter) in self.coins.iter_mut() {
            meter.tighten(info.spending_limits.get(coin));
        }
        if let Some(meter) = &mut self.pool {
            meter.tighten(info.erc20_limit.as_ref());
        }
        self.apply(rules);
    }

    /// Charges all that is left of every bound, for good: the token goes out raw.
    pub(crate) fn expose(&mut self, server_ms: i64) {
        self.roll(server_ms, 0);
        self.is_exposed = true;
        self.exhaust();
    }

    pub(super) fn exhaust(&mut self) {
        self.flow.edition += 1;
        self.meters_mut().for_each(Meter::exhaust);
        let seen_ms = self.seen_ms;
        self.windows.iter_mut().for_each(|window| window.fill(seen_ms));
    }

    /// A budget that begins anew by the totals. What BitGo counts of the token is not changed by it.
    pub(crate) fn renew_budget(&mut self) {
        self.fence();
        self.meters_mut().for_each(Meter::renew);
    }

    pub(super) fn fence(&mut self) {
        self.flow.edition += 1;
        self.meters_mut().for_each(Meter::fence);
        self.windows.iter_mut().for_each(Window::give_back_allotted);
    }
}

/// The meters of a token's limits, which hold draws from this one on.
pub(super) fn of_server(info: &TokenInfo, next_draw: u64) -> impl Iterator<Item = (Coin, Meter)> {
    let limits = info.spending_limits.iter();
    limits.map(move |(coin, limit)| (coin.clone(), Meter::of_server(limit).from(next_draw)))
}
