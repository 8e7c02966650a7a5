//! Runs the library's own source files with the threads, locks and atomics of `loom`, which tries
//! each order in which they may meet, and each value that a relaxed load may see.
//!
//! ```sh
//! cargo run --release --manifest-path tests/interleavings/Cargo.toml
//! ```

mod sync;

#[path = "../../../src/crypto/key_slots.rs"]
mod key_slots;
mod keys;

use std::env;
use std::io::{Write, stdout};

/// How often a thread is interrupted where it would not have to be: with three, loom's authors
/// have found what they knew of; more take hours.
const PREEMPTIONS: usize = 3;

fn main() -> std::io::Result<()> {
    let wanted = env::args().nth(1).unwrap_or_default();
    for (name, model) in keys::MODELS.into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(PREEMPTIONS);
        builder.check(model);
        writeln!(stdout(), "{name}: holds")?;
    }
    Ok(())
}
