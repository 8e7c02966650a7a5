//! What one lineage spent and may spend: every counter that a request draws on, all of them or none.
//!
//! ```text
//! limit ── take, durable ──> allotted ── draw ──> reserved ── settle ──> accepted, pending, uncertain
//!   ^                         |    ^                |
//!   └───── return, close ─────┘    └─── refused ────┘        a crash: allotted, reserved ──> uncertain
//! ```
//!
//! A lease draws from what is allotted, in memory. Where that is too little, the book takes more of
//! the limits: what is asked for, and beside it, in a burst, up to a sixteenth of the limit. All of
//! it counts at once, and what is to spare is drawn from once it is durable ([`Book::land`]); so
//! what a crash finds on disk covers all that can have been signed (O'Neil's escrow).
//!
//! ```text
//! place    which counters a charge draws on
//! meter    one counter: of a coin, or of the pool of ERC-20 coins
//! window   what went out within a while
//! draw     what a request takes of them
//! terms    what changes what may be spent
//! sample   what BitGo counted, held against what we did
//! consult  every bound with its numbers
//! ```

mod consult;
mod draw;
mod meter;
mod place;
mod sample;
mod terms;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use draw::{Draw, Drawn};
pub(crate) use meter::Meter;
pub use sample::Drift;
pub(crate) use sample::{Sample, Sampling};
pub(crate) use window::{Slot, Window};

use super::limits::Share;
use super::{Counter, Decay, Denied, LocalRules, Rule};
use crate::coin_map::CoinMap;
use crate::money::Amount;
use crate::token::TokenInfo;
use std::time::Duration;
use window::Load;

/// What is allotted beside what is asked for is at most this part of a limit.
const SPARE_PART: u128 = 16;
/// The most windows of one token: with all their slots they fit into a record.
pub(crate) const WINDOWS_MAX: usize = 16;

/// How far apart the two clocks may be for BitGo to take requests, in milliseconds.
const CLOCKS_APART_MS: i64 = 5 * 60 * 1000;

/// What one lineage spent and may spend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) coins: CoinMap<Meter>,
    /// What ERC-20 coins without a limit of their own share.
    pub(crate) pool: Option<Box<Meter>>,
    pub(crate) windows: Vec<Window>,
    /// Whether its token was handed out: from then on nothing is given back.
    pub(crate) is_exposed: bool,
    /// Whether the counters are of a past that may not be the last: then nothing is spent.
    pub(crate) is_unreconciled: bool,
    /// The latest time of the server's that it was used at, in milliseconds since 1970; 0 if none.
    pub(crate) seen_ms: i64,
    /// When the server last told what it had counted, by its own clock; 0 if it never did.
    pub(crate) confirmed_ms: i64,
    pub(crate) decay: Option<Decay>,
    pub(crate) flow: Flow,
}

/// How draws come: of this process alone, and never written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    next_draw: u64,
    /// Changes with every change of limits: what was in flight before does not land.
    edition: u64,
    /// The latest time of either clock, as of which what is drawn counts.
    latest_ms: i64,
    burst: u32,
    last_take: Option<Duration>,
    /// Whether it was found with something reserved or allotted: a crash left it so.
    pub(crate) was_cut_off: bool,
}

impl Book {
    /// The book of a token as it begins: at the server's counters.
    pub(crate) fn begin(info: &TokenInfo, rules: &LocalRules) -> Self {
        let mut book = Self {
            coins: terms::of_server(info, 0).collect(),
            pool: info.erc20_limit.as_ref().map(|pool| Box::new(Meter::of_server(pool))),
            ..Self::default()
        };
        book.apply(rules);
        book
    }

    /// The book as a crash leaves it.
    pub(crate) fn after_crash(mut self) -> Self {
        let is_out = |counter: &Counter| counter.reserved.max(counter.allotted) > Amount::ZERO;
        let was_cut_off = self.meters().any(|meter| is_out(&meter.counter));
        self.meters_mut().for_each(Meter::crash);
        self.windows.iter_mut().for_each(Window::crash);
        self.flow = Flow { was_cut_off, ..Flow::default() };
        self
    }

    /// Returns what nobody drew, but for what is in flight. Whether there was any.
    pub(crate) fn give_back(&mut self) -> bool {
        let before = self.is_allotted();
        self.meters_mut().for_each(Meter::give_back);
        self.windows.iter_mut().for_each(Window::give_back);
        before
    }

    /// Whether anything is allotted that nobody drew.
    pub(crate) fn is_allotted(&self) -> bool {
        self.meters().any(|meter| meter.counter.allotted > Amount::ZERO)
            || self.windows.iter().any(|window| window.allotted != Load::default())
    }

    /// Whether BitGo counts what is spent.
    pub(crate) fn is_counted(&self) -> bool {
        self.meters().any(|meter| meter.is_of_server)
    }

    /// Whether anything counts as spent of which nobody knows.
    pub(crate) fn has_uncertain(&self) -> bool {
        !self.is_exposed && self.meters().any(|meter| meter.counter.uncertain > Amount::ZERO)
    }

    /// How many draws there were. Who sees the same number twice sees an idle book.
    pub(crate) fn draws(&self) -> u64 {
        self.flow.next_draw
    }

    /// Moves on to a time of the server's, and of the machine's. Neither goes back.
    fn roll(&mut self, server_ms: i64, wall_ms: i64) {
        self.seen_ms = self.seen_ms.max(server_ms);
        let latest_ms = self.flow.latest_ms.max(self.seen_ms);
        // Where the server's is not known, nothing is drawn on windows.
        self.flow.latest_ms = if self.seen_ms > 0 { latest_ms.max(wall_ms) } else { 0 };
        for window in &mut self.windows {
            window.roll_to(self.seen_ms, self.flow.latest_ms);
        }
    }

    /// The server has told its time: what was drawn when the machine's clock was far ahead of it was
    /// drawn by now.
    fn hear(&mut self, server_ms: i64) {
        self.roll(server_ms, 0);
        let latest_ms = self.seen_ms.saturating_add(CLOCKS_APART_MS);
        if self.flow.latest_ms > latest_ms {
            self.flow.latest_ms = self.seen_ms;
            self.windows.iter_mut().for_each(|window| window.pull_back(latest_ms));
        }
    }

    /// What share of the limits may be used, as old as the last confirmation is.
    fn share(&self) -> Share {
        self.decay.map_or(Share::WHOLE, |decay| {
            let age = u64::try_from(self.seen_ms.saturating_sub(self.confirmed_ms)).unwrap_or(0);
            Share::after(&decay, Duration::from_millis(age))
        })
    }

    fn meters(&self) -> impl Iterator<Item = &Meter> {
        self.coins.iter().map(|(_, meter)| meter).chain(self.pool.as_deref())
    }

    fn meters_mut(&mut self) -> impl Iterator<Item = &mut Meter> {
        self.coins.iter_mut().map(|(_, meter)| meter).chain(self.pool.as_deref_mut())
    }

    /// The counters as they are shown, by coin.
    pub(crate) fn counters(&self) -> CoinMap<Counter> {
        self.coins.iter().map(|(coin, meter)| (coin.clone(), meter.counter)).collect()
    }
}

pub(crate) fn not_reconciled() -> Denied {
    Denied::new(
        Rule::Unreconciled,
        "the vault does not know what this token spent, so it spends nothing; reconcile it",
    )
}
