//! A ledger under leases, answers, crashes, closings, samples, successors and changes of rules in any
//! order, against a plain model of who spent what (src/test_util/ledger_model.rs): nothing goes beyond a
//! limit, nothing that was taken is forgotten, and all of a limit can be used.
//!
//! Input: steps of a few bytes each.

#![no_main]

use bitgo_vault::test_util::{LedgerStep, run_ledger_model};
use bitgo_vault_fuzz::Script;
use libfuzzer_sys::fuzz_target;

const STEPS: usize = 400;

fn step(script: &mut Script<'_>) -> Option<LedgerStep> {
    Some(match script.byte()? % 24 {
        0..=8 => LedgerStep::Lease {
            units: script.byte()?,
            after_secs: match script.byte()? {
                // Most come at once, as in a burst; some a slot or a window later.
                few @ 0..=199 => u16::from(few % 4),
                many => u16::from(many - 199) * 90,
            },
            durable: script.byte()? % 8 != 0,
        },
        9..=15 => LedgerStep::End { which: script.below(64)?, end: script.byte()? % 6 },
        16 => LedgerStep::Post,
        17 => LedgerStep::Return,
        18 => LedgerStep::Crash { keeps: script.below(8)? },
        19 => LedgerStep::Close,
        20 => LedgerStep::Foreign(script.byte()?),
        21 => LedgerStep::Sample,
        22 => match script.byte()? % 2 {
            0 => LedgerStep::Successor,
            _ => LedgerStep::RenewBudget,
        },
        _ => LedgerStep::Rules(u16::from(script.byte()?) * 3),
    })
}

fuzz_target!(|input: &[u8]| {
    let mut script = Script::new(input);
    let steps: Vec<_> = std::iter::from_fn(|| step(&mut script)).take(STEPS).collect();
    run_ledger_model(&steps);
});
