//! The vault's store beside SQLCipher, and what it takes of disk and memory.
//!
//! Prints sections of BENCHMARKS.md; with `quick`, from so few tokens that only the program is
//! tested. All sides run in one process and take turns, so that a busy machine slows each of them.
//! What memory a store needs is measured in a process that does nothing else.
#![expect(clippy::disallowed_methods, reason = "it measures time that has passed")]

mod growth;
mod read;
mod store;
mod write;

use std::error::Error;
use std::time::Duration;

/// How much is measured.
struct Scale {
    few: usize,
    some: usize,
    many: usize,
    overwrites: usize,
    turns: usize,
}

const FULL: Scale = Scale { few: 1000, some: 10_000, many: 100_000, overwrites: 1000, turns: 41 };
const QUICK: Scale = Scale { few: 50, some: 100, many: 200, overwrites: 10, turns: 5 };

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let scale = match arguments[..] {
        ["measure", what, dir] => return growth::measure(what, dir.as_ref()),
        ["quick"] => QUICK,
        [] => FULL,
        _ => return Err("usage: peers [quick]".into()),
    };
    read::section(&scale)?;
    write::section(&scale)?;
    growth::section(&scale)
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Three digits and a unit.
fn time(duration: Duration) -> String {
    let nanoseconds = duration.as_secs_f64() * 1e9;
    let units = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    let fits = units.iter().find(|(_, scale)| nanoseconds < 1000.0 * scale);
    let (unit, scale) = fits.unwrap_or(&units[3]);
    format!("{} {unit}", digits(nanoseconds / scale))
}

fn digits(value: f64) -> String {
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$}")
}
