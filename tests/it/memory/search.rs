//! Where to look: all writable memory of a child that stands still.

use super::CHILD;
use super::needles::{CARRIED, Needles};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write, stderr};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::{env, mem};

/// As many bytes in a row as make a hit.
const WINDOW: usize = 16;
const PAGE: usize = 4096;
/// The stack of the thread that the child works on.
const STACK: u64 = 2 << 20;

/// The child, stopped at a stage.
pub(super) struct Watched {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    started: bool,
}

impl Watched {
    pub(super) fn start(dir: &Path, test: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("memory::{test}"), "--nocapture"])
            .env(CHILD, dir)
            .env("RUST_MIN_STACK", STACK.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout), started: false }
    }

    /// Lets the child go on to the next stage, which must be this one; the stage as the child has it.
    pub(super) fn stage(&mut self, name: &str) -> String {
        if mem::replace(&mut self.started, true) {
            self.stdin.write_all(b"\n").unwrap();
        }
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.stdout.read_line(&mut line).unwrap() > 0,
                "the child never came to {name}"
            );
            if let Some(stage) = line.strip_prefix("stage ") {
                assert!(stage.starts_with(name), "{stage} comes before {name}");
                return stage.trim_end().to_owned();
            }
        }
    }

    pub(super) fn end(mut self) {
        self.stdin.write_all(b"\n").unwrap();
        let mut rest = String::new();
        while self.stdout.read_line(&mut rest).unwrap() > 0 {}
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }

    pub(super) fn scan(&self, needles: &Needles) -> Vec<Hit> {
        let pid = self.child.id();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut index = Index::new(needles);
        for mapping in mappings(&fs::read_to_string(format!("/proc/{pid}/maps")).unwrap()) {
            let mut bytes = vec![0; usize::try_from(mapping.end - mapping.start).unwrap()];
            match memory.read_exact_at(&mut bytes, mapping.start) {
                Ok(()) => index.search(&mapping, &bytes),
                // Secret memory is not to be read even so.
                Err(_) if mapping.name.contains("secretmem") => {}
                Err(error) => panic!("{} cannot be read: {error}", mapping.name),
            }
        }
        index.hits
    }
}

struct Mapping {
    start: u64,
    end: u64,
    name: String,
    /// Where the stack at its start ends, should it be one.
    stack_end: u64,
}

/// What can be read of the child's memory, but for the kernel's own pages.
fn mappings(maps: &str) -> Vec<Mapping> {
    let mut guard_end = 0;
    let mut mappings = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        let permissions = fields.next().unwrap();
        let name = fields.nth(3).unwrap_or("anonymous").to_owned();
        if permissions.starts_with("---") {
            // A thread's stack begins above a page that nobody may touch; a heap of the
            // allocator's may too, but at a round address.
            guard_end = if end % (64 << 20) == 0 { 0 } else { end };
        } else if permissions.starts_with("rw")
            || permissions.starts_with('r') && !name.starts_with(['/', '['])
        {
            let stack_end = match name.as_str() {
                "[stack]" => end,
                "anonymous" if start == guard_end => start + STACK,
                _ => 0,
            };
            mappings.push(Mapping { start, end, name, stack_end });
        }
    }
    mappings
}

/// Where part of a secret was found.
pub(super) struct Hit {
    needle: String,
    on_stack: bool,
    length: usize,
    place: String,
}

/// Every window of every needle, by its first bytes.
struct Index<'a> {
    needles: Vec<(&'a str, &'a [u8])>,
    begins: Vec<bool>,
    windows: HashMap<[u8; 8], Vec<(usize, usize)>>,
    hits: Vec<Hit>,
}

impl<'a> Index<'a> {
    fn new(needles: &'a Needles) -> Self {
        let needles: Vec<_> =
            needles.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let (mut begins, mut windows) = (vec![false; 1 << 16], HashMap::new());
        for (at, (name, value)) in needles.iter().enumerate() {
            assert!(value.len() >= WINDOW, "{name} is too short to be looked for");
            for (offset, window) in value.windows(WINDOW).enumerate() {
                begins[usize::from(window[0]) << 8 | usize::from(window[1])] = true;
                let places: &mut Vec<_> =
                    windows.entry(window[..8].try_into().unwrap()).or_default();
                places.push((at, offset));
            }
        }
        Self { needles, begins, windows, hits: Vec::new() }
    }

    fn search(&mut self, mapping: &Mapping, bytes: &[u8]) {
        let last = (bytes.len() + 1).saturating_sub(WINDOW);
        for page in (0..last).step_by(PAGE) {
            if bytes[page..].starts_with(&[0; PAGE]) {
                continue;
            }
            // Plain steps: this runs over all memory, in tests that are not optimised.
            let (mut at, end) = (page, last.min(page + PAGE));
            while at < end {
                if self.begins[usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1])] {
                    self.look(mapping, bytes, at);
                }
                at += 1;
            }
        }
    }

    fn look(&mut self, mapping: &Mapping, bytes: &[u8], at: usize) {
        let first: [u8; 8] = bytes[at..at + 8].try_into().unwrap();
        for &(needle, offset) in self.windows.get(&first).into_iter().flatten() {
            let (name, value) = self.needles[needle];
            // A longer match was noted where it began.
            let goes_on = at > 0 && offset > 0 && bytes[at - 1] == value[offset - 1];
            let same = bytes[at..].iter().zip(&value[offset..]).take_while(|(a, b)| a == b);
            let length = same.count();
            if length < WINDOW || goes_on {
                continue;
            }
            let address = mapping.start + at as u64;
            let on_stack = address < mapping.stack_end;
            let place = match on_stack {
                true => format!("a stack, {} bytes below its top", mapping.stack_end - address),
                false => format!("{}, {} bytes in", mapping.name, address - mapping.start),
            };
            let before = bytes[at.saturating_sub(24)..at].escape_ascii();
            let place = format!("{place}, behind \"{before}\"");
            self.hits.push(Hit { needle: name.to_owned(), on_stack, length, place });
        }
    }
}

/// What a stage must show beside the control.
pub(super) enum Expect<'a> {
    Nothing,
    /// These, somewhere, for they are in use.
    Held(&'a [&'a str]),
    All,
}

#[derive(Default)]
pub(super) struct Report {
    /// What was found though it should not, and the stage that first showed it.
    left: BTreeMap<(bool, String), String>,
    failures: Vec<String>,
}

impl Report {
    pub(super) fn note(
        &mut self,
        stage: &str,
        needles: &Needles,
        hits: Vec<Hit>,
        expect: Expect<'_>,
    ) {
        let mut missing = |name: &str| {
            let whole = |hit: &Hit| hit.needle == name && hit.length == needles[name].len();
            if !hits.iter().any(whole) {
                self.failures.push(format!("{stage}: {name} is not found"));
            }
        };
        ["control", "freed control"].into_iter().for_each(&mut missing);
        let may_be_there = |name: &str| match expect {
            Expect::Nothing => name.ends_with("control"),
            // What is locked away is not to be read though it is in use.
            Expect::Held(_) => !(name.starts_with("store's") && stage.ends_with("Secret")),
            Expect::All => true,
        };
        match expect {
            Expect::Nothing => {}
            Expect::Held(names) => names.iter().for_each(|name| missing(name)),
            Expect::All => needles.keys().for_each(|name| missing(name)),
        }
        for hit in hits.into_iter().filter(|hit| !may_be_there(&hit.needle)) {
            // Half a key may be left on a stack, in the padding of what is returned, say.
            let is_part = hit.length < 32 && hit.length < needles[&hit.needle].len();
            let is_tolerated = hit.on_stack && is_part || hit.needle.starts_with(CARRIED);
            let line = format!("{} ({} bytes) in {}", hit.needle, hit.length, hit.place);
            self.left.entry((is_tolerated, line)).or_insert_with(|| stage.to_owned());
        }
    }

    pub(super) fn finish(mut self) {
        let mut stderr = stderr().lock();
        for ((is_tolerated, line), stage) in &self.left {
            let mark = if *is_tolerated { "best effort" } else { "LEFT" };
            writeln!(stderr, "{mark}: {line}, after: {stage}").unwrap();
        }
        self.left.retain(|(is_tolerated, _), _| !*is_tolerated);
        assert!(self.failures.is_empty() && self.left.is_empty(), "{:?}", self.failures);
    }
}
