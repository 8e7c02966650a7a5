//! Figures as BENCHMARKS.md has them.

use crate::turns::{Side, Times};

/// One row a side: its median, and what it takes by each of the sides that are named.
pub fn print(head: &str, sides: &[Side<'_>], times: &Times, by: &[(&str, usize)]) {
    let titles: String = by.iter().map(|(title, _)| format!(" by {title} |")).collect();
    println!("| {head} | median |{titles}\n|---|--:|{}", "--:|".repeat(by.len()));
    for (i, side) in sides.iter().enumerate() {
        let ratio = |&(_, by): &(&str, usize)| format!(" {} |", digits(times.ratio(i, by)));
        let ratios: String = by.iter().map(ratio).collect();
        println!("| {} | {} |{ratios}", side.name, time(times.median(i)));
    }
    println!();
}

/// The head of the verdicts that follow.
pub fn verdicts() {
    println!("| promise | target | measured | verdict |\n|---|--:|--:|---|");
}

/// Three digits and a unit, of seconds.
pub fn time(seconds: f64) -> String {
    let units = [("ns", 1e9), ("µs", 1e6), ("ms", 1e3), ("s", 1.0)];
    let (unit, scale) =
        units.into_iter().find(|(_, scale)| seconds * scale < 1000.0).unwrap_or(units[3]);
    format!("{} {unit}", digits(seconds * scale))
}

pub fn digits(value: f64) -> String {
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$}")
}
