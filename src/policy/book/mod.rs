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
//! meter    one counter: of a coin, or of the pool of ERC-20 coins
//! window   what went out within a while
//! sample   what BitGo counted, held against what we did
//! consult  every bound with its numbers
//! ```

mod consult;
mod meter;
mod sample;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use meter::Meter;
pub use sample::Drift;
pub(crate) use sample::{Sample, Sampling};
pub(crate) use window::{Slot, Window};

use super::limits::Share;
use super::{Charge, Counter, Decay, Denied, LocalRules, Outcome, Purpose, Rule};
use crate::coin_map::CoinMap;
use crate::money::{Amount, Coin};
use crate::token::TokenInfo;
use meter::Standing;
use std::time::Duration;
use window::Load;

/// What is allotted beside what is asked for is at most this part of a limit.
const SPARE_PART: u128 = 16;
/// Takes so soon after each other are a burst, in which each takes twice as much as the one before.
const BURST: Duration = Duration::from_secs(1);
/// After so long without one, the next takes no more than it needs.
const BURST_OVER: Duration = Duration::from_secs(10);
/// How often a burst doubles.
const BURST_MAX: u32 = 20;
/// The most windows of one token: with all their slots they fit into a record.
pub(crate) const WINDOWS_MAX: usize = 16;

/// How far apart the two clocks may be for BitGo to take requests, in milliseconds.
const CLOCKS_APART_MS: i64 = 5 * 60 * 1000;

/// The most coins of one request.
const CHARGES_MAX: usize = 64;

/// When something happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// In the clock's monotonic time.
    pub(crate) monotonic: Duration,
    /// By the server's clock, in milliseconds since 1970, as far as it was heard; 0 where it is not
    /// known.
    pub(crate) server_ms: i64,
    /// By the machine's clock, likewise.
    pub(crate) wall_ms: i64,
}

impl Moment {
    /// The later of the two clocks, which is what tokens end by.
    pub(crate) fn latest_ms(&self) -> i64 {
        self.server_ms.max(self.wall_ms)
    }
}

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

/// What a request holds of a book: the settlement's way back to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Draw {
    number: u64,
    /// The time whose slots it counts in.
    at_ms: i64,
    /// Which of its charges drew on a counter of their coin, and which on the pool: a bit for each.
    coins: u64,
    pools: u64,
}

impl Draw {
    /// Notes what the charge at that place draws on; no request has more than fit.
    fn note(&mut self, at: usize, places: Places) {
        self.coins |= u64::from(places.coin.is_some()) << at;
        self.pools |= u64::from(places.pool) << at;
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Draw {
    /// A draw that is taken for newer than any change of limits.
    pub(crate) const LATEST: Self =
        Self { number: u64::MAX, at_ms: 0, coins: u64::MAX, pools: u64::MAX };
}

/// What came of asking for a draw.
#[derive(Debug)]
pub(crate) enum Drawn {
    /// It was drawn from what is allotted.
    Done(Draw),
    /// It was drawn, and for it more was taken: it holds once that is durable.
    Taken(Take),
    /// It will fit once what is in flight has landed.
    Wait,
}

/// What was taken of the limits.
#[derive(Debug)]
pub(crate) struct Take {
    pub(crate) draw: Draw,
    edition: u64,
    parts: Vec<Part>,
}

/// What was taken of one counter: for the draw itself, and to spare.
#[derive(Debug)]
struct Part {
    place: Place,
    asked: Load,
    taken: Load,
    spare: Load,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Coin(usize),
    Pool,
    Window(usize),
}

/// The counters that a charge draws on.
#[derive(Clone, Copy, Default)]
struct Places {
    coin: Option<usize>,
    pool: bool,
    /// A bit for each.
    windows: u64,
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
    /// The book of a token as it begins: at the server's counters.
    pub(crate) fn begin(info: &TokenInfo, rules: &LocalRules) -> Self {
        let mut book = Self {
            coins: of_server(info, 0).collect(),
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

    /// Draws all charges, or none.
    pub(crate) fn draw(&mut self, charges: &[Charge], now: Moment) -> Result<Drawn, Denied> {
        match self.weigh(charges, now)? {
            Standing::Waits => Ok(Drawn::Wait),
            Standing::Drawable => Ok(Drawn::Done(self.draw_weighed(charges)?)),
            _ => Ok(Drawn::Taken(self.take(charges, now)?)),
        }
    }

    /// Draws all charges from what is allotted, if that covers them.
    pub(crate) fn draw_allotted(&mut self, charges: &[Charge], now: Moment) -> Option<Draw> {
        match self.weigh(charges, now) {
            Ok(Standing::Drawable) => self.draw_weighed(charges).ok(),
            _ => None,
        }
    }

    /// How the book stands to all that is asked of it.
    fn weigh(&mut self, charges: &[Charge], now: Moment) -> Result<Standing, Denied> {
        if self.is_unreconciled {
            return Err(not_reconciled());
        }
        if charges.len() > CHARGES_MAX {
            return Err(Denied::body("more than 64 coins in one request"));
        }
        self.roll(now.server_ms, now.wall_ms);
        let (mut all, share) = (Standing::Drawable, self.share());
        for charge in charges {
            for place in self.places(charge)? {
                match self.standing(place, charge, charges, share) {
                    Standing::Over(_) => return Err(self.refusal(place, charge, charges, share)),
                    Standing::Waits => all = Standing::Waits,
                    Standing::Takes if all == Standing::Drawable => all = Standing::Takes,
                    _ => {}
                }
            }
        }
        Ok(all)
    }

    fn next_draw(&mut self) -> Draw {
        let number = self.flow.next_draw;
        self.flow.next_draw += 1;
        Draw { number, at_ms: self.flow.latest_ms, coins: 0, pools: 0 }
    }

    /// Draws what is known to be drawable.
    fn draw_weighed(&mut self, charges: &[Charge]) -> Result<Draw, Denied> {
        let mut draw = self.next_draw();
        for (at, charge) in charges.iter().enumerate() {
            let (load, places) = (Load::one(charge.amount), self.places(charge)?);
            draw.note(at, places);
            for place in places {
                match place {
                    Place::Window(at) => self.window_mut(at).map(|window| window.draw(load)),
                    place => self.meter_mut(place).map(|meter| meter.draw(load.sum)),
                };
            }
        }
        Ok(draw)
    }

    /// Draws what is drawable, and takes the rest of the limits.
    fn take(&mut self, charges: &[Charge], now: Moment) -> Result<Take, Denied> {
        self.note_take(now.monotonic);
        let (burst, share, mut parts) = (self.flow.burst, self.share(), Vec::new());
        let mut draw = self.next_draw();
        for (at, charge) in charges.iter().enumerate() {
            let (asked, places) = (Load::one(charge.amount), self.places(charge)?);
            draw.note(at, places);
            for place in places {
                let took = match place {
                    Place::Window(at) => self.window_mut(at).map(|w| w.take(asked, burst)),
                    place => self.meter_mut(place).map(|meter| {
                        let (taken, spare) = meter.take(asked.sum, burst, share);
                        (Load { sum: taken, count: 0 }, Load { sum: spare, count: 0 })
                    }),
                };
                if let Some((taken, spare)) = took {
                    parts.push(Part { place, asked, taken, spare });
                }
            }
        }
        Ok(Take { draw, edition: self.flow.edition, parts })
    }

    /// What was taken is durable: what was to spare may be drawn.
    pub(crate) fn land(&mut self, take: &Take) {
        if take.edition != self.flow.edition {
            return;
        }
        for Part { place, spare, .. } in &take.parts {
            match *place {
                Place::Window(at) => {
                    self.window_mut(at).map(|window| window.land(take.draw.at_ms, *spare))
                }
                place => self.meter_mut(place).map(|meter| meter.land(spare.sum)),
            };
        }
    }

    /// What was taken will not be durable: as if it had not been drawn. After a change of limits it
    /// stays counted.
    pub(crate) fn undo(&mut self, take: &Take) {
        if take.edition != self.flow.edition {
            return;
        }
        for Part { place, asked, taken, spare } in &take.parts {
            match *place {
                Place::Window(at) => self
                    .window_mut(at)
                    .map(|window| window.undo(take.draw.at_ms, *asked, *taken, *spare)),
                place => {
                    self.meter_mut(place).map(|meter| meter.undo(asked.sum, taken.sum, spare.sum))
                }
            };
        }
    }

    /// Settles what was drawn for these charges.
    pub(crate) fn settle(&mut self, charges: &[Charge], draw: Draw, outcome: Outcome) {
        // What an exposed token spends is not seen, so no refusal frees budget any more.
        let outcome = match outcome {
            Outcome::Rejected if self.is_exposed => Outcome::Uncertain,
            outcome => outcome,
        };
        for (at, charge) in charges.iter().enumerate() {
            // What it drew on then, whatever it would draw on now.
            let drew = |places: u64| {
                places
                    .checked_shr(u32::try_from(at).unwrap_or(u32::MAX))
                    .is_some_and(|bits| bits & 1 == 1)
            };
            if drew(draw.coins)
                && let Some(meter) =
                    self.coins.position(&charge.coin).and_then(|at| self.coins.at_mut(at))
            {
                meter.settle(draw.number, charge.amount, outcome);
            }
            if drew(draw.pools)
                && charge.is_erc20
                && let Some(pool) = &mut self.pool
            {
                pool.settle(draw.number, charge.amount, outcome);
            }
            let windows = self.windows.iter_mut().filter(|window| {
                window.counts(charge.purpose, &charge.coin) && window.holds(draw.number)
            });
            if outcome == Outcome::Rejected {
                windows.for_each(|window| window.release(draw.at_ms, Load::one(charge.amount)));
            }
        }
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
    fn add_coins(&mut self, meters: impl Iterator<Item = (Coin, Meter)>) {
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

    fn exhaust(&mut self) {
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

    fn fence(&mut self) {
        self.flow.edition += 1;
        self.meters_mut().for_each(Meter::fence);
        self.windows.iter_mut().for_each(Window::give_back_allotted);
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

    fn note_take(&mut self, now: Duration) {
        let ago = self.flow.last_take.map(|last| now.checked_sub(last));
        self.flow.burst = match ago {
            Some(Some(ago)) if ago < BURST => (self.flow.burst + 1).min(BURST_MAX),
            Some(Some(ago)) if ago < BURST_OVER => self.flow.burst.saturating_sub(1),
            // Another thread read the clock later and came first.
            Some(None) => self.flow.burst,
            _ => 0,
        };
        self.flow.last_take = self.flow.last_take.max(Some(now));
    }

    /// What share of the limits may be used, as old as the last confirmation is.
    fn share(&self) -> Share {
        self.decay.map_or(Share::WHOLE, |decay| {
            let age = u64::try_from(self.seen_ms.saturating_sub(self.confirmed_ms)).unwrap_or(0);
            Share::after(&decay, Duration::from_millis(age))
        })
    }

    fn places(&self, charge: &Charge) -> Result<Places, Denied> {
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

    /// What all charges together ask of a place.
    fn asked(&self, place: Place, charge: &Charge, charges: &[Charge]) -> Amount {
        match place {
            // Each coin is charged once for each purpose; the pool by several coins.
            Place::Pool => {
                charges.iter().fold(Amount::ZERO, |sum, charge| match self.places(charge) {
                    Ok(Places { pool: true, .. }) => sum.saturating_add(charge.amount),
                    _ => sum,
                })
            }
            _ => charge.amount,
        }
    }

    fn standing(
        &self,
        place: Place,
        charge: &Charge,
        charges: &[Charge],
        share: Share,
    ) -> Standing {
        let asked = self.asked(place, charge, charges);
        match place {
            Place::Window(at) => self.windows.get(at).map_or(Standing::Drawable, |window| {
                let [sum, count] = window.standing(Load::one(asked));
                match (sum, count) {
                    (Standing::Over(_), _) | (_, Standing::Drawable) => sum,
                    (_, Standing::Over(_)) | (Standing::Drawable, _) => count,
                    (Standing::Waits, _) | (_, Standing::Waits) => Standing::Waits,
                    _ => Standing::Takes,
                }
            }),
            place => {
                let nothing = Standing::Over(Amount::ZERO);
                self.meter(place).map_or(nothing, |meter| meter.standing(asked, share))
            }
        }
    }

    fn meter(&self, place: Place) -> Option<&Meter> {
        match place {
            Place::Coin(at) => self.coins.at(at),
            Place::Pool => self.pool.as_deref(),
            Place::Window(_) => None,
        }
    }

    fn meter_mut(&mut self, place: Place) -> Option<&mut Meter> {
        match place {
            Place::Coin(at) => self.coins.at_mut(at),
            Place::Pool => self.pool.as_deref_mut(),
            Place::Window(_) => None,
        }
    }

    fn window_mut(&mut self, at: usize) -> Option<&mut Window> {
        self.windows.get_mut(at)
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

/// The meters of a token's limits, which hold draws from this one on.
fn of_server(info: &TokenInfo, next_draw: u64) -> impl Iterator<Item = (Coin, Meter)> {
    let limits = info.spending_limits.iter();
    limits.map(move |(coin, limit)| (coin.clone(), Meter::of_server(limit).from(next_draw)))
}

pub(crate) fn not_reconciled() -> Denied {
    Denied::new(
        Rule::Unreconciled,
        "the vault does not know what this token spent, so it spends nothing; reconcile it",
    )
}

fn no_limit(coin: &Coin) -> Denied {
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
