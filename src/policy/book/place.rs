//! Places: which counters of a book a charge draws on.

use super::{Book, Meter, WINDOWS_MAX, Window};
use crate::money::Coin;
use crate::policy::{Charge, Denied, Purpose, Rule};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Coin(usize),
    Pool,
    Window(usize),
}

/// The counters that a charge draws on.
#[derive(Clone, Copy, Default)]
pub(super) struct Places {
    pub(super) coin: Option<usize>,
    pub(super) pool: bool,
    /// A bit for each.
    pub(super) windows: u64,
}

impl Iterator for Places {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        if let Some(at) = self.coin.take() {
            return Some(Place::Coin(at));
        }
        if std::mem::take(&mut self.pool) {
            return Some(Place::Pool);
        }
        if self.windows == 0 {
            return None;
        }
        let at = self.windows.trailing_zeros();
        self.windows &= self.windows - 1;
        Some(Place::Window(usize::try_from(at).ok()?))
    }
}

impl Book {
    pub(super) fn places(&self, charge: &Charge) -> Result<Places, Denied> {
        let mut places = Places::default();
        if charge.purpose == Purpose::Withdrawal {
            let coin = self.coins.position(&charge.coin);
            let meter = coin.and_then(|at| self.coins.at(at));
            let has_own = meter.is_some_and(|meter| meter.is_of_server);
            let is_bounded = meter.is_some_and(|meter| meter.counter.total.is_some());
            places.coin = coin.filter(|_| has_own || is_bounded);
            places.pool = charge.is_erc20 && !has_own && self.pool.is_some();
            if places.coin.is_none() && !places.pool {
                return Err(no_limit(&charge.coin));
            }
        }
        for (at, window) in self.windows.iter().enumerate().take(WINDOWS_MAX) {
            if window.counts(charge.purpose, &charge.coin) {
                if self.seen_ms == 0 {
                    return Err(no_time());
                }
                places.windows |= 1 << at;
            }
        }
        Ok(places)
    }

    pub(super) fn meter(&self, place: Place) -> Option<&Meter> {
        match place {
            Place::Coin(at) => self.coins.at(at),
            Place::Pool => self.pool.as_deref(),
            Place::Window(_) => None,
        }
    }

    pub(super) fn meter_mut(&mut self, place: Place) -> Option<&mut Meter> {
        match place {
            Place::Coin(at) => self.coins.at_mut(at),
            Place::Pool => self.pool.as_deref_mut(),
            Place::Window(_) => None,
        }
    }

    pub(super) fn window_mut(&mut self, at: usize) -> Option<&mut Window> {
        self.windows.get_mut(at)
    }
}

pub(super) fn no_limit(coin: &Coin) -> Denied {
    Denied::new(
        Rule::NoLimit,
        format!("the token has no spending limit for {coin}; issue one that has"),
    )
}

fn no_time() -> Denied {
    Denied::new(
        Rule::Unreconciled,
        "the server's time is not known yet, which windows run on; reconcile the token",
    )
}
