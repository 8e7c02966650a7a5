//! The child: workers that share one store, each announcing what it does and saying when it is done.

use super::model::{KEEPER, Operation, SHARED, Share, label, versions_of};
use super::{Word, databases, open};
use crate::victim::say;
use bitgo_vault::StoreError;
use bitgo_vault::test_util::Work;
use std::path::Path;
use std::process::exit;
use std::thread;
use std::time::Duration;

/// Tokens that a worker has at most.
const TOKENS: usize = 6;
const AMOUNT_MAX: u64 = 1000;
/// The longest the keeper rests, so that others come to work between two rekeys.
const REST_MAX_MS: u64 = 30;

/// Works on the store in `dir`, which is made if it is not there.
pub(super) fn work_until_killed(dir: &Path, seed: u64) {
    Word::Opening.say();
    let (which, work) = match open(dir) {
        Ok(opened) => opened,
        Err(StoreError::NotFound { .. }) => (0, create(dir)),
        Err(error) => fail("opening", &error),
    };
    Word::Opened.say();
    let epoch = databases(dir).pop().unwrap_or_default();
    let shares = Share::find(&work, which, epoch).unwrap_or_else(|error| fail("reading", &error));
    let workers = shares.into_iter().enumerate().map(|(number, share)| {
        let dice = Dice(seed.wrapping_add(number as u64));
        Worker { number, share, reserved: Vec::new(), dice }
    });
    thread::scope(|scope| {
        for mut worker in workers {
            if worker.number == KEEPER && !worker.share.tokens.contains_key(SHARED) {
                let version = worker.version();
                worker.work(&work, Operation::Add { token: 0, version });
            }
            let work = &work;
            scope.spawn(move || {
                loop {
                    let operation = worker.draw();
                    worker.work(work, operation);
                }
            });
        }
    });
}

/// Opens the store again and again: what a kill left half done is finished here, and killed there.
pub(super) fn open_until_killed(dir: &Path) {
    loop {
        Word::Opening.say();
        match open(dir) {
            Ok(_) | Err(StoreError::NotFound { .. }) => Word::Opened.say(),
            Err(error) => fail("opening", &error),
        }
    }
}

fn create(dir: &Path) -> Work {
    Word::Begin(KEEPER, Operation::Create).say();
    let made = Work::create(dir, &super::passphrase(0));
    let made = made.unwrap_or_else(|error| fail("creating", &error));
    Word::Done(KEEPER).say();
    made
}

/// Ends the child, which its parent sees.
fn fail(what: &str, error: &StoreError) -> ! {
    say(&format!("{what} failed: {error}: {error:?}"));
    exit(1)
}

impl Word {
    fn say(&self) {
        say(&serde_json::to_string(self).unwrap());
    }
}

struct Worker {
    number: usize,
    share: Share,
    /// What it has reserved and not settled: of which token, and how much.
    reserved: Vec<(Option<usize>, u64)>,
    dice: Dice,
}

impl Worker {
    fn work(&mut self, work: &Work, operation: Operation) {
        Word::Begin(self.number, operation.clone()).say();
        if let Err(error) = operation.work(self.number, work) {
            fail(operation.kind(), &error);
        }
        Word::Done(self.number).say();
        self.share = self.share.after(&operation);
        match operation {
            Operation::Reserve { token, amount } => self.reserved.push((token, amount)),
            // What was reserved of a token that is not there any more, or is another, stays as it is.
            Operation::Remove { token } | Operation::Replace { token, .. } => {
                self.reserved.retain(|(of, _)| *of != Some(token));
            }
            _ => {}
        }
    }

    fn draw(&mut self) -> Operation {
        if self.number == KEEPER {
            thread::sleep(Duration::from_millis(self.dice.below(REST_MAX_MS)));
            return match self.dice.below(5) {
                0 | 1 => Operation::Passphrase { to: 1 - self.share.passphrase },
                2 | 3 => Operation::Rekey,
                _ => Operation::Replace { token: 0, version: self.version() },
            };
        }
        let token = self.dice.pick(TOKENS);
        let is_there = self.share.tokens.contains_key(&label(self.number, token));
        let amount = 1 + self.dice.below(AMOUNT_MAX);
        match self.dice.below(100) {
            _ if !is_there => Operation::Add { token, version: self.version() },
            0..20 => Operation::Replace { token, version: self.version() },
            20..35 => Operation::Remove { token },
            35..50 => Operation::Reserve { token: None, amount },
            50..65 => Operation::Reserve { token: Some(token), amount },
            65..85 if !self.reserved.is_empty() => {
                let which = self.dice.pick(self.reserved.len());
                let (token, amount) = self.reserved.swap_remove(which);
                Operation::Settle { token, amount, outcome: self.dice.pick(4) }
            }
            85..93 => Operation::Allow { token, allowed: self.dice.below(2) == 0 },
            _ => Operation::Audit { version: self.version() },
        }
    }

    fn version(&mut self) -> u64 {
        versions_of(self.number) | self.dice.below(1 << 48)
    }
}

/// Draws that follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (drawn ^ (drawn >> 31)) % below
    }

    /// One of so many.
    fn pick(&mut self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).unwrap()
    }
}
