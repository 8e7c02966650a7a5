//! A process that works on a store is killed at any point: what it was told is done is there after
//! it, and of what it had begun there is all or nothing.
//!
//! The test runs itself again as the child. Every operation is announced before it begins and
//! acknowledged after its `Ok`; what the child said before the kill is told to a model (model.rs),
//! and the store that is left must be one of those that the model allows. SIGKILL keeps what the
//! kernel was given, so a missing sync is not seen here (syscalls.rs sees it); what is seen is
//! whatever answers too early, or comes in two halves.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod model;
mod worker;

use crate::victim::{self, Victim, random};
use bitgo_vault::test_util::Work;
use bitgo_vault::{Clock, Passphrase, StoreError, SystemClock};
use model::{KEEPER, Operation, Said, Share, WORKERS};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Write, stderr};
use std::path::Path;
use std::thread;
use std::time::Duration;

const NAME: &str = "killed::what_a_kill_leaves_is_all_that_was_acknowledged_and_nothing_half";

/// How often the child is killed: in the gate, and for each time that `.ci/full` asks other tests for,
/// since a kill costs less here.
const KILLS_LEAST: u32 = 200;
const KILLS_EACH: u32 = 10;
/// So many at a time: while one waits for its disk, another works.
const KILLERS: u32 = 2;
/// A store is given up for a new one after so many kills, on average: creation is killed as well,
/// and what is checked after each kill stays small.
const KILLS_A_STORE: u64 = 12;
/// The longest a child lives that is not waited for.
const LIFE_MAX_MS: u64 = 60;
/// The most operations that are done before the one at which a child is killed, and the longest from
/// its announcement to the kill, as a power of two of microseconds.
const DONE_MAX: u64 = 120;
const MOMENT_MAX_LOG2: u64 = 15;

/// What the child says.
#[derive(Serialize, Deserialize)]
enum Word {
    Opening,
    Opened,
    /// A worker begins an operation.
    Begin(usize, Operation),
    /// The operation that this worker began is done.
    Done(usize),
}

#[test]
fn what_a_kill_leaves_is_all_that_was_acknowledged_and_nothing_half() {
    if let Some(given) = victim::given() {
        return match given.as_slice() {
            [dir, seed] => worker::work_until_killed(Path::new(dir), seed.parse().unwrap()),
            [dir] => worker::open_until_killed(Path::new(dir)),
            other => panic!("{other:?}"),
        };
    }
    let kills = KILLS_LEAST.max(KILLS_EACH * victim::kills(0));
    let killers: Vec<_> =
        (0..KILLERS).map(|_| thread::spawn(move || kill(kills / KILLERS))).collect();
    let mut tally = Tally::default();
    killers.into_iter().for_each(|killer| tally.add(killer.join().unwrap()));
    // Past libtest, which keeps the words of tests that pass to itself.
    stderr().write_all((tally.told() + "\n").as_bytes()).unwrap();
    // A settlement does not wait, and a store is made once: they are met by chance alone.
    let mut never = Operation::KINDS.to_vec();
    never.retain(|kind| !["create", "settle"].contains(kind) && !tally.during.contains_key(kind));
    assert!(never.is_empty(), "no child was killed during {never:?}");
}

/// Kills so often, in one store after another.
fn kill(kills: u32) -> Tally {
    let mut tally = Tally::default();
    while tally.kills < kills {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        let mut shares: Vec<_> = (0..WORKERS).map(Share::new).collect();
        tally.stores += 1;
        loop {
            let said = tally.kill_at_work(&path);
            while random(3) == 0 {
                tally.kill_while_opening(&path);
            }
            shares = tally.check(&path, &shares, &said);
            if tally.kills >= kills || random(KILLS_A_STORE) == 0 {
                break;
            }
        }
    }
    tally
}

#[derive(Default)]
struct Tally {
    kills: u32,
    stores: u32,
    /// Kills by the operation that they cut short; of several at once each counts.
    during: BTreeMap<&'static str, u64>,
    /// Operations acknowledged.
    done: BTreeMap<&'static str, u64>,
    /// Workers of whom more was found than was acknowledged.
    kept: u32,
    /// Kills that left something to be cleared away.
    leftovers: u32,
    clock: SystemClock,
    /// How long an operation took the last time it was heard to begin and to end.
    took: BTreeMap<&'static str, Duration>,
    /// When the keeper began what it does.
    keeper_since: Option<Duration>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.stores += other.stores;
        for (kind, count) in other.during {
            *self.during.entry(kind).or_default() += count;
        }
        for (kind, count) in other.done {
            *self.done.entry(kind).or_default() += count;
        }
        self.kept += other.kept;
        self.leftovers += other.leftovers;
    }

    fn told(&self) -> String {
        let list = |counts: &BTreeMap<&str, u64>| {
            let counts = counts.iter().map(|(kind, count)| format!("{count} {kind}"));
            counts.collect::<Vec<_>>().join(", ")
        };
        let (during, done) = (list(&self.during), list(&self.done));
        format!(
            "{} kills over {} stores, during: {during}; acknowledged and found: {done}; \
             {} more were found done, {} kills left something to be cleared away",
            self.kills, self.stores, self.kept, self.leftovers
        )
    }

    /// Lets a child work, and kills it; what its workers said.
    fn kill_at_work(&mut self, path: &Path) -> Vec<Vec<Said>> {
        let seed = random(u64::MAX).to_string();
        let victim = Victim::start(NAME, &[path.to_str().unwrap(), &seed]);
        let mut heard = Heard::default();
        self.keeper_since = None;
        if random(4) == 0 {
            thread::sleep(Duration::from_millis(random(LIFE_MAX_MS)));
        } else {
            // A rekey has the most steps, and so the most places to be killed at.
            let aim = match random(3) {
                0 | 1 if !path.exists() => "create",
                0 => "rekey",
                _ => {
                    Operation::KINDS
                        [usize::try_from(random(Operation::KINDS.len() as u64)).unwrap()]
                }
            };
            let done = random(DONE_MAX);
            loop {
                let began = heard.hear(&victim.hear());
                self.time(&heard, began);
                // A store is made once, and first of all.
                let is_aim = began == Some(aim) && (heard.done >= done || aim == "create");
                if is_aim || aim == "create" && heard.is_open {
                    break;
                }
            }
            moment(self.took.get(aim).copied());
        }
        for line in victim.kill() {
            heard.hear(&line);
        }
        self.count(&heard);
        heard.said
    }

    /// Notes how long the keeper's operations take: they have the most steps.
    fn time(&mut self, heard: &Heard, began: Option<&'static str>) {
        let now = self.clock.monotonic();
        match (heard.said[KEEPER].last(), self.keeper_since) {
            (Some(Said { operation, done: true }), Some(since)) => {
                self.took.insert(operation.kind(), now - since);
                self.keeper_since = None;
            }
            (Some(Said { operation, done: false }), _) if began == Some(operation.kind()) => {
                self.keeper_since = Some(now);
            }
            _ => {}
        }
    }

    /// Kills a child that opens what the last one left.
    fn kill_while_opening(&mut self, path: &Path) {
        let victim = Victim::start(NAME, &[path.to_str().unwrap()]);
        let mut heard = Heard::default();
        while !heard.is_opening {
            heard.hear(&victim.hear());
        }
        moment(None);
        for line in victim.kill() {
            heard.hear(&line);
        }
        self.count(&heard);
    }

    fn count(&mut self, heard: &Heard) {
        self.kills += 1;
        if heard.is_opening && !heard.is_open && heard.said.iter().all(Vec::is_empty) {
            *self.during.entry("opening").or_default() += 1;
        }
        for Said { operation, done } in heard.said.iter().flatten() {
            match done {
                true => *self.done.entry(operation.kind()).or_default() += 1,
                false => *self.during.entry(operation.kind()).or_default() += 1,
            }
        }
    }

    /// Opens what the last kill left, and finds in it for each worker one of those shares that it
    /// may have; they are what the next child begins with.
    fn check(&mut self, path: &Path, before: &[Share], said: &[Vec<Said>]) -> Vec<Share> {
        self.leftovers += u32::from(path.exists() && !leftovers(path).is_empty());
        let may_be: Vec<_> =
            before.iter().zip(said).map(|(share, said)| share.may_be(said)).collect();
        let (which, work) = match open(path) {
            Ok(opened) => opened,
            // It was not made yet, and nobody was told that it is.
            Err(StoreError::NotFound { .. }) if !may_be[KEEPER][0].exists => {
                return before.to_vec();
            }
            Err(error) => panic!("{error}: {error:?} after {said:?}"),
        };
        let other = Work::open(path, &passphrase(1 - which)).err();
        assert!(matches!(other, Some(StoreError::InUse { .. })), "{other:?}: it is open");
        assert_eq!(leftovers(path), [""; 0], "what a kill left is cleared away");
        let [epoch] = databases(path)[..] else { panic!("{:?}", databases(path)) };
        let found = Share::find(&work, which, epoch).unwrap();
        for ((share, may_be), said) in found.iter().zip(&may_be).zip(said) {
            let at = may_be.iter().position(|may_be| may_be.fits(share));
            let Some(at) = at else {
                panic!("{share:#?} is none of\n{may_be:#?}\nwhere was said {said:?}")
            };
            self.kept += u32::from(at > 0);
        }
        // No part of a token is left without the others.
        let tokens: usize = found.iter().map(|share| share.tokens.len()).sum();
        let records = work.count_records().unwrap();
        for tree in ["tokens", "secrets", "ledger"] {
            assert_eq!(records[tree], tokens, "{tree}");
        }
        assert_eq!((records["meta"], records["head"]), (1, 1));
        assert_eq!(records["audit"] + 48 * records["segments"], work.count_entries().unwrap());
        drop(work);
        let other = Work::open(path, &passphrase(1 - which)).err();
        assert!(matches!(other, Some(StoreError::WrongPassphrase)), "{other:?}");
        found
    }
}

/// What a child has said so far.
struct Heard {
    is_opening: bool,
    is_open: bool,
    said: Vec<Vec<Said>>,
    /// Operations that are done.
    done: u64,
}

impl Default for Heard {
    fn default() -> Self {
        let said = (0..WORKERS).map(|_| Vec::new()).collect();
        Self { is_opening: false, is_open: false, said, done: 0 }
    }
}

impl Heard {
    /// Hears a line; the kind of the operation that begins with it.
    fn hear(&mut self, line: &str) -> Option<&'static str> {
        // What is no word of the child's is libtest's own, or why the child gives up.
        match serde_json::from_str(line) {
            Ok(Word::Opening) => self.is_opening = true,
            Ok(Word::Opened) => self.is_open = true,
            Ok(Word::Begin(worker, operation)) => {
                let kind = operation.kind();
                self.said[worker].push(Said { operation, done: false });
                return Some(kind);
            }
            Ok(Word::Done(worker)) => {
                self.said[worker].last_mut().unwrap().done = true;
                self.done += 1;
            }
            Err(_) => assert!(!line.contains("failed"), "{line}"),
        }
        None
    }
}

/// Lets a moment pass: as likely some microseconds as some milliseconds, so that short steps are met;
/// or, where it is known how long an operation takes, any of its moments alike, so that its last
/// steps are.
fn moment(usual: Option<Duration>) {
    let below = match usual {
        Some(usual) if random(2) == 0 => u64::try_from(usual.as_micros()).unwrap() * 5 / 4,
        _ => 1 << random(MOMENT_MAX_LOG2),
    };
    thread::sleep(Duration::from_micros(random(below.max(1))));
}

fn passphrase(which: usize) -> Passphrase {
    Passphrase::new(["correct horse", "battery staple"][which])
}

/// Opens a store with the one of the two passphrases that opens it.
fn open(dir: &Path) -> Result<(usize, Work), StoreError> {
    match Work::open(dir, &passphrase(0)) {
        Err(StoreError::WrongPassphrase) => Ok((1, Work::open(dir, &passphrase(1))?)),
        opened => Ok((0, opened?)),
    }
}

/// The epochs of the databases that there are.
fn databases(dir: &Path) -> Vec<u32> {
    let names = names(dir).into_iter();
    names.filter_map(|name| name.strip_prefix("db.")?.parse().ok()).collect()
}

/// What is there only while something is under way.
fn leftovers(dir: &Path) -> Vec<String> {
    let databases = databases(dir);
    let in_database = |epoch: &u32| names(&dir.join(format!("db.{epoch}")));
    let mut left = names(dir);
    left.retain(|name| ["header.new", "CREATING"].contains(&name.as_str()));
    let cut_short = databases.iter().flat_map(in_database);
    left.extend(cut_short.filter(|name| name.ends_with(".generating")));
    left.extend(databases.iter().skip(1).map(|epoch| format!("db.{epoch}")));
    left
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}
