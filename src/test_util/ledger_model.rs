//! A book against a plain model of who spent what, when, and what became of it: after every step, nothing
//! was signed beyond a limit, nothing that BitGo took is forgotten, on whatever disk a crash finds, and
//! without crashes all of a limit can be used. What does not hold panics.

use crate::coin_map::CoinMap;
use crate::id::TokenId;
use crate::money::{Amount, Coin};
use crate::policy::{
    Book, Charge, Draw, Drawn, LocalRules, Moment, Outcome, Purpose, Rule, Sample, WindowRule,
};
use crate::token::{SpendingLimit, TokenInfo};
use std::time::Duration;

const MINUTE: i64 = 60_000;
/// Of the one window, in minutes: a slot is one.
const PERIOD: i64 = 64;
const LIMIT: u128 = 1000;
const WINDOW: u128 = 400;

fn coin() -> Coin {
    Coin::new("tbtc").expect("a coin")
}

fn charge(units: u128) -> [Charge; 1] {
    [Charge::withdrawal(coin(), Amount::new(units))]
}

fn limit(most: u128, spent: u128) -> SpendingLimit {
    SpendingLimit { limit: Some(Amount::new(most)), spent: Amount::new(spent) }
}

fn info(limits: &[(&str, SpendingLimit)], pool: Option<SpendingLimit>) -> TokenInfo {
    let limits = limits.iter().map(|(name, limit)| (Coin::new(name).expect("a coin"), *limit));
    let info = TokenInfo::of_limits(TokenId::from_bytes([1; 16]), limits.collect());
    TokenInfo { erc20_limit: pool, ..info }
}

fn window_rule(sum: u128) -> WindowRule {
    WindowRule {
        purpose: Purpose::Withdrawal,
        coin: coin(),
        period: Duration::from_secs(PERIOD.unsigned_abs() * 60),
        sum: Some(Amount::new(sum)),
        count: None,
    }
}

fn windowed(sum: u128) -> LocalRules {
    LocalRules { windows: vec![window_rule(sum)], ..LocalRules::default() }
}

/// What happens to a ledger. Numbers beyond what a step takes are cut down to it.
#[derive(Clone, Debug)]
pub enum LedgerStep {
    /// A lease, so many seconds after the one before.
    Lease {
        /// How much, from 1 to 90.
        units: u8,
        /// In seconds.
        after_secs: u16,
        /// Whether what it takes reaches the disk.
        durable: bool,
    },
    /// An unsigned lease is dropped, or a signed request settled: which, and how.
    End {
        /// Of those that are open.
        which: usize,
        /// 0 to 5.
        end: u8,
    },
    /// The disk is told, but need not have listened when a crash comes.
    Post,
    /// What nobody drew is returned.
    Return,
    /// The process is killed.
    Crash {
        /// Which of the states that the disk may hold it does.
        keeps: usize,
    },
    /// The vault is closed, and opened.
    Close,
    /// Somebody else spends so much.
    Foreign(u8),
    /// BitGo tells what it counted.
    Sample,
    /// The token is renewed by another.
    Successor,
    /// The budget begins anew.
    RenewBudget,
    /// The window's bound becomes so much, if that is less.
    Rules(u16),
}

/// What is known from outside of one request.
#[derive(Clone, Copy, Debug)]
struct Spend {
    units: u128,
    at_ms: i64,
    draw: Draw,
    is_signed: bool,
    /// BitGo took it, whatever we heard.
    is_taken: bool,
    /// It was settled, or died with a process.
    is_over: bool,
    /// It was given back: nothing counts it any more.
    is_back: bool,
    /// BitGo's word for it was heard.
    is_accepted: bool,
    /// Of which token, and of which budget.
    token: u32,
    budget: u32,
}

struct World {
    book: Book,
    /// What the disk may hold: the first for sure, the others perhaps.
    disk: Vec<Book>,
    spends: Vec<Spend>,
    window: u128,
    secs: u64,
    token: u32,
    budget: u32,
    foreign: u128,
    /// The same of all tokens so far.
    foreign_in_all: u128,
    /// What BitGo said last that it counted of the token.
    told: u128,
    /// Whether a crash, an approval that was given or a late refusal makes the vault count what was not
    /// spent, or twice.
    counts_too_much: bool,
    /// Whether the vault knows as much as the model: neither a crash nor a sample has made it count
    /// what was not spent.
    is_exact: bool,
}

impl World {
    fn new() -> Self {
        let book = Book::begin(&info(&[("tbtc", limit(LIMIT, 0))], None), &windowed(WINDOW));
        Self {
            disk: vec![book.clone()],
            book,
            spends: Vec::new(),
            window: WINDOW,
            secs: 0,
            token: 0,
            budget: 0,
            foreign: 0,
            foreign_in_all: 0,
            told: 0,
            counts_too_much: false,
            is_exact: true,
        }
    }

    fn now(&self) -> Moment {
        let server_ms =
            1_000_000 * MINUTE + i64::try_from(self.secs).expect("a model's life") * 1000;
        Moment { monotonic: Duration::from_secs(self.secs), server_ms, wall_ms: 0 }
    }

    fn durable(&mut self) {
        self.disk = vec![self.book.clone()];
    }

    /// What counts against the limit of the token now, as one who sees all would say.
    fn counted(&self, of_token: bool) -> u128 {
        let ours = self.spends.iter().filter(|spend| match of_token {
            true => spend.token == self.token,
            false => spend.budget == self.budget,
        });
        ours.filter(|spend| !spend.is_back).map(|spend| spend.units).sum()
    }

    fn within_window(&self, period: i64, counts: impl Fn(&Spend) -> bool) -> u128 {
        let from = self.now().server_ms - period * MINUTE;
        let within = self.spends.iter().filter(|spend| spend.at_ms > from && counts(spend));
        within.map(|spend| spend.units).sum()
    }

    fn lease(&mut self, units: u128, durable: bool) {
        let now = self.now();
        let room = LIMIT
            .saturating_sub(self.counted(true) + self.foreign)
            .min(LIMIT.saturating_sub(self.counted(false)));
        let draw = match self.book.draw(&charge(units), now) {
            Ok(Drawn::Done(draw)) => draw,
            Ok(Drawn::Taken(take)) if durable => {
                self.durable();
                self.book.land(&take);
                take.draw
            }
            Ok(Drawn::Taken(take)) => {
                // It may have been written all the same.
                self.disk.push(self.book.clone());
                self.book.undo(&take);
                return;
            }
            Ok(Drawn::Wait) => panic!("nothing is in flight"),
            Err(denied) if !self.is_exact => {
                assert!(matches!(denied.rule(), Rule::Limit | Rule::Total | Rule::Window));
                return;
            }
            Err(denied) => {
                // To the last unit of both; a window gives free a slot late.
                let late = self.within_window(PERIOD + 1, |spend| !spend.is_back);
                let late = late + units > self.window;
                let is_over = units > room;
                assert!(is_over || late, "{denied} with {room} left");
                return;
            }
        };
        let (token, budget) = (self.token, self.budget);
        let at_ms = now.server_ms;
        let spend = Spend {
            units,
            at_ms,
            draw,
            token,
            budget,
            is_signed: false,
            is_taken: false,
            is_over: false,
            is_back: false,
            is_accepted: false,
        };
        self.spends.push(spend);
    }

    fn end(&mut self, which: usize, end: u8) {
        let open: Vec<usize> =
            (0..self.spends.len()).filter(|at| !self.spends[*at].is_over).collect();
        if open.is_empty() {
            return;
        }
        let spend = &mut self.spends[open[which % open.len()]];
        let (charges, draw) = (charge(spend.units), spend.draw);
        let outcome = match (end, spend.is_signed) {
            // Signed first, and sent: BitGo takes it or not, we have not heard.
            (1 | 2, false) => {
                (spend.is_signed, spend.is_taken) = (true, end == 1);
                return;
            }
            (_, false) => Outcome::Rejected,
            (0, true) => Outcome::Uncertain,
            (1, true) if spend.is_taken => Outcome::Pending,
            (_, true) if spend.is_taken => Outcome::Accepted,
            (_, true) => Outcome::Rejected,
        };
        (spend.is_over, spend.is_back) = (true, outcome == Outcome::Rejected);
        spend.is_accepted = outcome == Outcome::Accepted;
        // What several tokens left in doubt is not told apart when one of their spends is refused late.
        let is_late = outcome == Outcome::Rejected && spend.token + 1 < self.token;
        self.counts_too_much |= outcome == Outcome::Pending || is_late;
        self.book.settle(&charges, draw, outcome);
    }

    /// The process ends, one way or another: what it had signed is with BitGo, the rest is nowhere.
    fn reopen(&mut self, keeps: usize) {
        let crashed = self.disk[keeps % self.disk.len()].clone().after_crash();
        self.book = crashed;
        for spend in &mut self.spends {
            spend.is_over = true;
            spend.is_taken &= spend.is_signed;
        }
        self.durable();
    }

    fn step(&mut self, step: &LedgerStep) {
        match *step {
            LedgerStep::Lease { units, after_secs, durable } => {
                self.secs += u64::from(after_secs);
                self.lease(u128::from(units.clamp(1, 90)), durable);
            }
            LedgerStep::End { which, end } => self.end(which, end),
            LedgerStep::Post => self.disk.push(self.book.clone()),
            LedgerStep::Return => {
                self.book.give_back();
                assert!(!self.book.is_allotted());
            }
            LedgerStep::Crash { keeps } => {
                (self.is_exact, self.counts_too_much) = (false, true);
                self.reopen(keeps);
            }
            LedgerStep::Close => {
                while self.spends.iter().any(|spend| !spend.is_over) {
                    self.end(0, 3);
                }
                self.book.give_back();
                self.durable();
                self.reopen(0);
            }
            LedgerStep::Foreign(units) => {
                self.foreign += u128::from(units);
                self.foreign_in_all += u128::from(units);
            }
            LedgerStep::Sample => {
                let ours = self.spends.iter().filter(|spend| spend.token == self.token);
                let taken = ours.clone().filter(|spend| spend.is_taken);
                let sum = taken.map(|spend| spend.units).sum::<u128>() + self.foreign;
                self.told = sum;
                let limits: CoinMap<_> = [(coin(), limit(LIMIT, sum))].into();
                let is_quiescent = ours.clone().all(|spend| spend.is_over || !spend.is_signed);
                let server_ms = self.now().server_ms;
                let sample = Sample { limits: &limits, pool: None, server_ms, is_quiescent };
                let before = self.book.sampling();
                self.book.sample(&before, &sample);
                self.durable();
                self.is_exact = false;
                let counter = self.book.counters()[&coin()];
                let used =
                    counter.used().expect("it can be counted").saturating_sub(counter.reserved);
                if is_quiescent && counter.pending == Amount::ZERO {
                    assert_eq!(used, Amount::new(sum), "no refused spend stays counted");
                }
                assert!(used >= Amount::new(sum));
            }
            LedgerStep::Successor => {
                self.token += 1;
                self.foreign = 0;
                let next = info(&[("tbtc", limit(LIMIT, 0))], None);
                self.book.succeed(&next, &windowed(self.window), self.now().server_ms);
                self.durable();
                let carried = self.book.counters()[&coin()].carried.base_units();
                let spent = self.counted(false) + self.foreign_in_all;
                if self.budget == 0 {
                    assert!(
                        carried <= spent || self.counts_too_much,
                        "{carried} carried of {spent}"
                    );
                    assert!(carried >= self.told, "{carried} carried, {} counted", self.told);
                }
                self.told = 0;
            }
            LedgerStep::RenewBudget => {
                // What is not settled counts in the new one too.
                self.budget += 1;
                let (token, budget) = (self.token, self.budget);
                let open = |spend: &&mut Spend| spend.token == token && !spend.is_accepted;
                self.spends.iter_mut().filter(open).for_each(|spend| spend.budget = budget);
                self.book.renew_budget();
                self.durable();
            }
            LedgerStep::Rules(sum) => {
                // Loosened, it would allow what the model has summed under the former bound.
                self.window = self.window.min(u128::from(sum));
                self.book.apply(&windowed(self.window));
                self.durable();
            }
        }
    }

    fn check(&self) {
        let signed = |of: &dyn Fn(&Spend) -> bool| -> u128 {
            let spends = self.spends.iter().filter(|spend| of(spend));
            spends.filter(|spend| spend.is_taken).map(|spend| spend.units).sum()
        };
        assert!(signed(&|spend| spend.token == self.token) <= LIMIT);
        for budget in 0..=self.budget {
            assert!(signed(&|spend| spend.budget == budget) <= LIMIT, "of one budget");
        }
        assert!(self.within_window(PERIOD, |spend| spend.is_taken) <= WINDOW);
        // What BitGo took is counted, in memory and in whatever a crash may find.
        let taken = signed(&|spend| spend.token == self.token);
        let crashed = self.disk.iter().map(|book| book.clone().after_crash());
        for book in crashed.chain([self.book.clone()]) {
            let counter = book.counters()[&coin()];
            assert!(
                counter.used().expect("it can be counted").base_units() >= taken,
                "{counter:?} of {taken}"
            );
        }
        // A sixteenth at most lies ready beside what is asked for.
        let spare = self.book.counters()[&coin()].allotted.base_units();
        assert!(spare <= LIMIT / 16 + 90 * 20, "{spare} to spare");
    }
}

/// Runs the steps, and looks after each whether all holds.
///
/// # Panics
/// Where something does not.
pub fn run_ledger_model(steps: &[LedgerStep]) {
    let mut world = World::new();
    for step in steps {
        world.step(step);
        world.check();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step() -> impl Strategy<Value = LedgerStep> {
        use LedgerStep::*;
        let after_secs = prop_oneof![Just(0u16), 1..5u16, 60..1200u16];
        let lease = (1u8..90, after_secs, prop::bool::weighted(0.9));
        prop_oneof![
            12 => lease.prop_map(|(units, after_secs, durable)| Lease { units, after_secs, durable }),
            10 => (any::<usize>(), 0u8..6).prop_map(|(which, end)| End { which, end }),
            2 => Just(Post),
            1 => Just(Return),
            1 => any::<usize>().prop_map(|keeps| Crash { keeps }),
            1 => Just(Close),
            1 => (1u8..50).prop_map(Foreign),
            2 => Just(Sample),
            1 => Just(Successor),
            1 => Just(RenewBudget),
            1 => (100u16..600).prop_map(Rules),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        /// Never over a limit, never a spend forgotten, and with no crash all of it to the last unit.
        #[test]
        fn it_holds_whatever_comes(steps in prop::collection::vec(step(), 1..120)) {
            run_ledger_model(&steps);
        }
    }
}
