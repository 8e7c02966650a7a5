//! Bytes of a store are flipped, cut off, zeroed, its files removed: opening it never panics nor
//! hangs, and either gives exactly what was kept or says what is wrong. Opened degraded it gives
//! what is intact, and tells of the rest.
//!
//! sled 0.34.7 opens most damaged logs with fewer records and says nothing, and panics on others:
//! what is shown here is that the store's head, anchor and checksums see all of it.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use bitgo_vault::test_util::{KeptToken, Work};
use bitgo_vault::{Amount, AuditAction, Damage, Outcome, Passphrase, StoreError, TokenId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Write, stderr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const THREADS: usize = 2;
/// A case that takes so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Of files up to this length, and of the slots of the anchor, each byte is flipped.
const SMALL: usize = 256;
/// One byte in so many of what was never written to: the end of the log, and the reserve.
const REGION_EMPTY: usize = 32 << 10;

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse")
}

/// All that a store keeps.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    tokens: BTreeMap<String, KeptToken>,
    accounts: BTreeMap<String, Option<String>>,
    audit: Vec<(AuditAction, Option<TokenId>)>,
    records: BTreeMap<&'static str, usize>,
}

impl Content {
    fn of(work: &Work) -> Result<Self, StoreError> {
        let tokens = work.tokens()?;
        let accounts = tokens.keys().map(|label| Ok((label.clone(), work.account(label)?)));
        Ok(Self {
            accounts: accounts.collect::<Result<_, StoreError>>()?,
            tokens,
            audit: work.audit()?,
            records: work.count_records()?,
        })
    }
}

/// What a store is made with, and how closely it is looked at.
struct Plan {
    tokens: u64,
    spends: u64,
    /// Of longer files one byte in each of so many is flipped,
    region: usize,
    /// and so many are zeroed, at each multiple of that or of the region.
    zeroed: &'static [usize],
    /// They are cut at each multiple of this.
    cut: usize,
    /// Whether the log alone is harmed.
    only_log: bool,
}

/// All in one of sled's segments, every region of it.
const SMALL_STORE: Plan =
    Plan { tokens: 4, spends: 1, region: 16, zeroed: &[512, 4096], cut: 512, only_log: false };
/// Long records, that fill more than a segment. In all but the last segment sled does not look for
/// damage before it needs the page, and each of its pages holds only some of the records.
const GROWN_STORE: Plan = Plan {
    tokens: 100,
    spends: 5,
    region: 16 << 10,
    zeroed: &[4096],
    cut: 64 << 10,
    only_log: true,
};

/// A store, whole; and for each token what was kept of it at any time.
struct Original {
    plan: Plan,
    files: Vec<File>,
    content: Content,
    past: BTreeMap<String, Vec<KeptToken>>,
}

struct File {
    name: PathBuf,
    bytes: Vec<u8>,
    is_harmed: bool,
}

impl Original {
    fn make(plan: Plan) -> Self {
        let dir = TempDir::new_in(quick()).unwrap();
        let past: RefCell<BTreeMap<String, Vec<KeptToken>>> = RefCell::default();
        let note = |work: &Work| {
            for (label, token) in work.tokens().unwrap() {
                let (token, mut past) = (crashed(&token), past.borrow_mut());
                let past = past.entry(label).or_default();
                if past.last() != Some(&token) {
                    past.push(token);
                }
            }
        };
        let spend = |work: &Work, times, amount, outcome| {
            for _ in 0..times {
                work.reserve("bot-0", "tbtc", amount).unwrap();
                note(work);
                work.settle("bot-0", "tbtc", amount, outcome).unwrap();
                note(work);
            }
        };
        let work = Work::create(dir.path(), &passphrase()).unwrap();
        for number in 0..plan.tokens {
            let version = if plan.only_log { Work::LONG + number } else { number };
            work.put(&format!("bot-{number}"), version).unwrap();
        }
        note(&work);
        spend(&work, plan.spends, 30, Outcome::Accepted);
        // The header and the database are no longer the first.
        work.rekey().unwrap();
        spend(&work, plan.spends, 10, Outcome::Rejected);
        work.put("bot-1", 101).unwrap();
        note(&work);
        work.allow("bot-2", true).unwrap();
        note(&work);
        drop(work);
        let work = Work::open(dir.path(), &passphrase()).unwrap();
        spend(&work, plan.spends, 20, Outcome::Pending);
        work.note(3).unwrap();
        work.put("bot-3", 103).unwrap();
        note(&work);
        drop(work);
        let mut files = files(dir.path(), Path::new(""));
        let content = Content::of(&Work::open(dir.path(), &passphrase()).unwrap()).unwrap();
        assert_eq!(content.tokens.len() as u64, plan.tokens);
        let past = past.into_inner();
        for (label, token) in &content.tokens {
            assert_eq!(past[label].last(), Some(token), "a close keeps everything");
        }
        for file in &mut files {
            file.is_harmed = !plan.only_log || file.name.ends_with("db");
        }
        Self { plan, files, content, past }
    }

    fn copy(&self) -> TempDir {
        let dir = TempDir::new_in(quick()).unwrap();
        for File { name, bytes, .. } in &self.files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }
}

/// Memory, where there is a file system in it: nothing here asks for a disk.
fn quick() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn files(dir: &Path, within: &Path) -> Vec<File> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.join(within)).unwrap() {
        let name = within.join(entry.unwrap().file_name());
        let path = dir.join(&name);
        if path.is_dir() {
            found.extend(files(dir, &name));
        } else {
            found.push(File { bytes: fs::read(path).unwrap(), name, is_harmed: true });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    /// One bit of this byte is another.
    Flip {
        at: usize,
    },
    /// All from here on is gone.
    Cut {
        at: usize,
    },
    Zero {
        at: usize,
        len: usize,
    },
    Missing,
}

impl Harm {
    /// All that is done to one file.
    fn all(plan: &Plan, file: &File) -> Vec<Self> {
        let len = file.bytes.len();
        let mut harms = vec![Self::Missing];
        // What a file is filled up with was never written to, and the reserve is never read.
        let fill = file.bytes.last();
        let used = match file.name.to_str() {
            Some("RESERVE") => None,
            _ => file.bytes.iter().rposition(|byte| Some(byte) != fill),
        };
        let used = used.map_or(0, |at| at + 1);
        let is_anchor = file.name == Path::new("anchor");
        let mut at = 0;
        while at < len {
            let each = if len <= SMALL || is_anchor && at % 4096 < SMALL {
                1
            } else if at < used || is_anchor {
                plan.region
            } else {
                REGION_EMPTY
            };
            // Not always the first of the region.
            let within = (at / each * 7) % each;
            harms.push(Self::Flip { at: (at + within).min(len - 1) });
            at += each;
        }
        let cuts = (0..len).filter(|at| match at {
            _ if len <= SMALL => true,
            at if *at < used || is_anchor => at % plan.cut == 0,
            at => at % (16 * plan.cut) == 0,
        });
        harms.extend(cuts.map(|at| Self::Cut { at }));
        for &size in plan.zeroed {
            let zeroed =
                (0..used).step_by(size.max(plan.region)).map(|at| Self::Zero { at, len: size });
            harms.extend(zeroed);
        }
        harms
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Flip { .. } => "flips",
            Self::Cut { .. } => "cuts",
            Self::Zero { .. } => "zeroed",
            Self::Missing => "missing",
        }
    }

    /// Does it; `false` if that changes nothing.
    fn inflict(self, dir: &Path, File { name, bytes, .. }: &File) -> bool {
        let path = dir.join(name);
        let mut harmed = bytes.clone();
        match self {
            Self::Flip { at } => harmed[at] ^= 1 << (at % 8),
            Self::Cut { at } => harmed.truncate(at),
            Self::Zero { at, len } => {
                let end = (at + len).min(harmed.len());
                harmed[at..end].fill(0);
            }
            Self::Missing => {
                fs::remove_file(path).unwrap();
                return true;
            }
        }
        fs::write(path, &harmed).unwrap();
        harmed != *bytes
    }
}

/// What became of a store that was harmed.
struct Verdict {
    /// What opening it said.
    told: &'static str,
    /// How many tokens could be read, where it was opened degraded.
    readable: Option<u64>,
}

/// Harms a copy and opens it; an error tells what must not be.
fn judge(original: &Original, file: &File, harm: Harm) -> Result<Verdict, String> {
    let copy = original.copy();
    let dir = copy.path();
    let changed = harm.inflict(dir, file);
    let error = match Work::open(dir, &passphrase()) {
        Ok(work) => {
            let content = Content::of(&work).map_err(|error| format!("open, then {error}"))?;
            if content != original.content {
                return Err(format!("open, with {content:#?}"));
            }
            go_on(work, dir, &content)?;
            return Ok(Verdict { told: "unaffected", readable: None });
        }
        Err(_) if !changed => return Err("refused, though nothing was changed".into()),
        Err(error) => error,
    };
    let told = match &error {
        StoreError::DamagedHeader { .. } | StoreError::UnknownFormat { .. } => "damaged header",
        StoreError::NoAnchor { .. } | StoreError::DamagedAnchor { .. } => "damaged anchor",
        StoreError::Damaged { .. } => "damaged records",
        StoreError::RolledBack { .. } => "rolled back",
        StoreError::DamagedDatabase { what } => what,
        other => return Err(format!("{other}: {other:?}")),
    };
    let readable = match Work::open_degraded(dir, &passphrase()) {
        Ok(work) => Some(read_degraded(original, &work, &error)?),
        Err(again) if told != "damaged records" => {
            // What is told twice is told alike.
            if again.to_string() != error.to_string() {
                return Err(format!("{error}, degraded {again}"));
            }
            None
        }
        Err(again) => return Err(format!("{error}, and not even degraded: {again}: {again:?}")),
    };
    Ok(Verdict { told, readable })
}

/// A store that opens whole takes a write, and keeps everything.
fn go_on(work: Work, dir: &Path, content: &Content) -> Result<(), String> {
    work.reserve("bot-0", "hteth", 1).map_err(|error| format!("open, but {error}"))?;
    drop(work);
    let work = Work::open(dir, &passphrase());
    let work = work.map_err(|error| format!("open, and after a write {error}"))?;
    let mut after = Content::of(&work).map_err(|error| format!("after a write {error}"))?;
    for content in [&mut after, &mut content.clone()] {
        // Its counters alone have changed.
        content.tokens.get_mut("bot-0").unwrap().counters = None;
    }
    let mut before = content.clone();
    before.tokens.get_mut("bot-0").unwrap().counters = None;
    if after != before {
        return Err(format!("after a write {after:#?}"));
    }
    Ok(())
}

/// Reads what is intact; how many tokens that is.
fn read_degraded(original: &Original, work: &Work, error: &StoreError) -> Result<u64, String> {
    let none = Damage::default();
    let damage = work.damage().unwrap_or(&none);
    let is_last = !damage.head_is_lost
        && !damage.is_rolled_back
        && !matches!(error, StoreError::RolledBack { .. });
    let is_whole = |tree| is_last && damage.trees.iter().all(|damaged| damaged.tree != tree);
    // Each part is as it was last, or it is of a tree that is named, and is as it was at some time.
    let whole = &original.content;
    let tokens = work.tokens().map_err(|error| format!("no tokens: {error}"))?;
    for (label, found) in &tokens {
        let last = whole.tokens.get(label).ok_or(format!("a token {label} never was"))?;
        let past = &original.past[label];
        let parts = [
            ("tokens", (&found.info, &found.rules) == (&last.info, &last.rules), {
                past.iter().any(|past| (&past.info, &past.rules) == (&found.info, &found.rules))
            }),
            (
                "secrets",
                (&found.token, &found.extension_key) == (&last.token, &last.extension_key),
                {
                    let is = |past: &KeptToken| past.token == found.token;
                    past.iter().any(|past| is(past) && past.extension_key == found.extension_key)
                },
            ),
            ("ledger", found.counters == last.counters, {
                found.counters.is_none() || past.iter().any(|past| past.counters == found.counters)
            }),
        ];
        for (tree, is_last, was) in parts {
            if !was || !is_last && is_whole(tree) {
                let is = if was { "an older one" } else { "none that ever was" };
                return Err(format!("{label}'s record in {tree} is {is}, with {error}"));
            }
        }
    }
    // Who is neither readable nor named is gone from every tree, and is missed in the counts.
    let named: BTreeSet<_> =
        damage.tokens.iter().filter_map(|token| token.label.as_ref()).map(|l| l.as_str()).collect();
    let nameless = damage.tokens.iter().filter(|token| token.label.is_none()).count();
    let seen = tokens.keys().map(String::as_str).chain(named).collect::<BTreeSet<_>>().len();
    let gone = original.plan.tokens.saturating_sub((seen + nameless) as u64);
    for tree in ["tokens", "secrets", "ledger"] {
        let damaged = damage.trees.iter().find(|damaged| damaged.tree == tree);
        let missed = damaged.and_then(|damaged| Some(damaged.written? - damaged.found));
        if is_last && gone > missed.unwrap_or(0) {
            return Err(format!("{gone} tokens are gone from {tree} unsaid: {error}"));
        }
    }
    for (label, last) in &whole.accounts {
        let found = work.account(label);
        if !matches!(&found, Ok(found) if found == last) {
            let is_missed = matches!(found, Ok(None) | Err(_)) && !is_whole("accounts");
            if !is_missed {
                return Err(format!("{label}'s account is {found:?}, with {error}"));
            }
        }
    }
    match work.audit() {
        Ok(audit) if audit == whole.audit || !is_last => {}
        Err(_) if !is_whole("audit") => {}
        other => return Err(format!("the audit log is {other:?}, with {error}")),
    }
    let is_all = Content::of(work).is_ok_and(|content| content == *whole);
    if work.reserve("bot-0", "tbtc", 1).is_ok() && !is_all {
        return Err(format!("it spends, though {error}"));
    }
    Ok(tokens.len() as u64)
}

/// As it is found when it is opened again.
fn crashed(token: &KeptToken) -> KeptToken {
    let mut token = token.clone();
    for counter in token.counters.iter_mut().flat_map(BTreeMap::values_mut) {
        counter.uncertain = counter.uncertain.checked_add(counter.reserved).unwrap();
        counter.reserved = Amount::ZERO;
    }
    token
}

#[test]
fn whatever_byte_is_damaged_is_harmless_or_told() {
    check(SMALL_STORE);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "its long records are opened some thousand times")]
fn damage_in_a_grown_store_is_harmless_or_told() {
    let told = check(GROWN_STORE);
    assert!(told.contains_key("damaged records"), "sled finds all of it: {told:?}");
}

/// Does everything to a store; how often opening it said what.
fn check(plan: Plan) -> BTreeMap<&'static str, u32> {
    let original = Arc::new(Original::make(plan));
    let cases: Vec<_> = (original.files.iter().enumerate())
        .filter(|(_, file)| file.is_harmed)
        .flat_map(|(number, file)| {
            Harm::all(&original.plan, file).into_iter().map(move |harm| (number, harm))
        })
        .collect();
    let cases = Arc::new(cases);
    let next = Arc::new(AtomicUsize::new(0));
    let under_way = Arc::new(Mutex::new(BTreeMap::new()));
    let (report, reports) = mpsc::channel();
    // Not scoped: a thread that hangs must not keep the test from saying so.
    for thread in 0..THREADS {
        let (original, cases, next) = (original.clone(), cases.clone(), next.clone());
        let (report, under_way) = (report.clone(), under_way.clone());
        thread::spawn(move || {
            while let Some((number, harm)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let file = &original.files[*number];
                under_way.lock().unwrap().insert(thread, (file.name.clone(), *harm));
                let judged = catch_unwind(AssertUnwindSafe(|| judge(&original, file, *harm)));
                let judged = judged.unwrap_or_else(|_| Err("it panicked".into()));
                report.send((*number, *harm, judged)).unwrap();
            }
        });
    }
    drop(report);
    let (mut harms, mut told, mut wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    // Those opened degraded: how many, how many with all tokens, how many with none, and the tokens.
    let (mut degraded, mut all, mut none, mut readable) = (0, 0, 0, 0);
    for _ in 0..cases.len() {
        let Ok((number, harm, judged)) = reports.recv_timeout(SILENCE_MAX) else {
            panic!("it hangs: {:?}", under_way.lock().unwrap());
        };
        *harms.entry(harm.kind()).or_insert(0) += 1;
        match judged {
            Ok(verdict) => {
                *told.entry(verdict.told).or_insert(0) += 1;
                if let Some(tokens) = verdict.readable {
                    degraded += 1;
                    all += u64::from(tokens == original.plan.tokens);
                    none += u64::from(tokens == 0);
                    readable += tokens;
                }
            }
            Err(why) => wrong.push(format!("{:?} {harm:?}: {why}", original.files[number].name)),
        }
    }
    let line = format!(
        "damage to a store of {} tokens: {harms:?}; opening told {told:?}; opened degraded \
         {degraded}, of them {all} with every token, {none} with none, {readable} of {} tokens read\n",
        original.plan.tokens,
        degraded * original.plan.tokens,
    );
    // Past libtest, which keeps the words of tests that pass to itself.
    stderr().write_all(line.as_bytes()).unwrap();
    assert!(wrong.is_empty(), "{} are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    told
}
