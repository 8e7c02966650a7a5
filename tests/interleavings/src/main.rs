//! Runs the library's own source files with the threads, locks and atomics of `loom`, which tries
//! each order in which they may meet, and each value that a relaxed load may see.
//!
//! ```sh
//! cargo run --release --manifest-path tests/interleavings/Cargo.toml
//! ```
#![allow(dead_code, unused_imports, unreachable_pub)] // of what is included not all is run

mod sync;

// What the two below are made of, and the two.
#[path = "../../../src/coin_map.rs"]
mod coin_map;
#[path = "../../../src/coin_table/mod.rs"]
mod coin_table;
#[path = "../../../src/decimal.rs"]
mod decimal;
#[path = "../../../src/id.rs"]
mod id;
#[path = "../../../src/money.rs"]
mod money;
#[path = "../../../src/scope.rs"]
mod scope;
#[path = "../../../src/secret.rs"]
mod secret;
#[path = "../../../src/token.rs"]
mod token;
#[path = "../../../src/word_error.rs"]
mod word_error;

#[path = "../../../src/crypto/key_slots.rs"]
mod key_slots;
#[path = "../../../src/policy/mod.rs"]
mod policy;

mod escrow;
mod keys;

use std::env;
use std::io::{Write, stdout};

/// What is run, by the fact that it shows.
type Model = (&'static str, fn());

/// How often a thread is interrupted where it would not have to be: two or three find what there
/// is to find, as loom's authors have seen, and more take hours.
const PREEMPTIONS: usize = 3;

fn main() -> std::io::Result<()> {
    let wanted = env::args().nth(1).unwrap_or_default();
    let models = keys::MODELS.into_iter().chain(escrow::MODELS);
    for (name, model) in models.filter(|(name, _)| name.contains(&wanted)) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(PREEMPTIONS);
        builder.check(model);
        writeln!(stdout(), "{name}: holds")?;
    }
    Ok(())
}
