//! A book against the plain model, and each bound by itself.

use crate::test_util::{LedgerStep, run_ledger_model};
use proptest::prelude::*;

fn step() -> impl Strategy<Value = LedgerStep> {
    use LedgerStep::*;
    let after_secs = prop_oneof![Just(0u16), 1..5u16, 60..1200u16];
    let lease = (1u8..90, after_secs, prop::bool::weighted(0.9));
    prop_oneof![
        12 => lease.prop_map(|(units, after_secs, durable)| Lease { units, after_secs, durable }),
        10 => (any::<usize>(), 0u8..6).prop_map(|(which, end)| End { which, end }),
        2 => Just(Post),
        1 => Just(Return),
        1 => any::<usize>().prop_map(|keeps| Crash { keeps }),
        1 => Just(Close),
        1 => (1u8..50).prop_map(Foreign),
        2 => Just(Sample),
        1 => Just(Successor),
        1 => Just(RenewBudget),
        1 => (100u16..600).prop_map(Rules),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Never over a limit, never a spend forgotten, and with no crash all of it to the last unit.
    #[test]
    fn it_holds_whatever_comes(steps in prop::collection::vec(step(), 1..120)) {
        run_ledger_model(&steps);
    }
}
