//! The vault beside its peers, and what it takes of disk and memory.
//!
//! Prints sections of BENCHMARKS.md, and below each what was promised of it with a verdict; with
//! `quick`, from so little that only the program is tested. All sides run in one process and take
//! turns, so that a busy machine slows each of them. What memory a store needs, and how long a start
//! takes, is measured in processes that do nothing else.
#![expect(clippy::disallowed_methods, reason = "it measures time that has passed")]

mod cold;
mod growth;
mod peer;
mod peers;
mod primitives;
#[path = "../../promise/mod.rs"]
mod promise;
mod read;
mod table;
mod turns;
mod unlock;
mod write;

use turns::Failure;

/// How much is measured.
struct Scale {
    few: usize,
    some: usize,
    many: usize,
    overwrites: usize,
    turns: usize,
    /// Of what takes a good part of a second.
    slow_turns: usize,
}

const FULL: Scale =
    Scale { few: 1000, some: 10_000, many: 100_000, overwrites: 1000, turns: 41, slow_turns: 21 };
const QUICK: Scale =
    Scale { few: 50, some: 100, many: 200, overwrites: 10, turns: 5, slow_turns: 1 };

const SECTIONS: [(&str, Section); 6] = [
    ("unlock", unlock::section),
    ("cold", cold::section),
    ("read", read::section),
    ("write", write::section),
    ("primitives", primitives::section),
    ("growth", growth::section),
];

type Section = fn(&Scale) -> Result<(), Failure>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (scale, wanted) = match arguments[..] {
        ["measure", "cold", dir] => return cold::measure(dir.as_ref()),
        ["measure", what, dir] => return growth::measure(what, dir.as_ref()),
        ["quick", ref wanted @ ..] => (QUICK, wanted),
        ref wanted => (FULL, wanted),
    };
    let is_section = |wanted: &&str| SECTIONS.iter().any(|(name, _)| name == wanted);
    if !wanted.iter().all(is_section) {
        return Err("usage: peers [quick] [unlock|cold|read|write|primitives|growth]...".into());
    }
    let mut chosen = SECTIONS.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name));
    chosen.try_for_each(|(_, section)| section(&scale))
}
