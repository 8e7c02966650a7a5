//! Seals under one data key: granted durably, used sparingly.

use super::super::{SEALS_FIRST, committer};
use super::*;

/// Reads the count of seals used.
fn seals_used(store: &Store) -> u64 {
    store.committer.alone(|writer| Ok(writer.seals.used)).unwrap()
}

fn use_seals(store: &Store, used: u64) {
    let set = move |writer: &mut committer::Writer| {
        writer.seals.used = used;
        Ok(())
    };
    store.committer.alone(set).unwrap();
}

#[test]
fn seals_are_granted_durably_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let granted = || Header::read(dir.path()).unwrap().seals;
    assert_eq!(granted(), SEALS_FIRST);
    use_seals(&store, SEALS_FIRST);
    add(&store, "desk");
    assert_eq!(granted(), 2 * SEALS_FIRST);
    let killed = killed_copy(dir.path());
    let reopened = open(killed.path()).unwrap();
    assert_eq!(seals_used(&reopened), 2 * SEALS_FIRST, "what a crash loses counts as used");
    let used = seals_used(&store);
    drop(store);
    assert_eq!(granted(), used, "a close gives back the rest");
}

/// A data key has seals for 2^31 records: opening must not use them up by itself.
#[test]
fn a_clean_opening_costs_the_seals_it_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    drop(store);
    let granted = || Header::read(dir.path()).unwrap().seals;
    for spends in (0..4).cycle().take(300) {
        let before = granted();
        let store = open(dir.path()).unwrap();
        for _ in 0..spends {
            store.renew_budget(lineage).unwrap();
        }
        drop(store);
        // A record and the head each.
        assert_eq!(granted() - before, 2 * spends);
    }
}

#[test]
fn a_killed_opening_costs_the_first_grant_at_most() {
    let mut dir = tempfile::tempdir().unwrap();
    let lineage = add(&create(dir.path()), "desk");
    for round in 0..30 {
        let before = Header::read(dir.path()).unwrap().seals;
        let store = open(dir.path()).unwrap();
        store.renew_budget(lineage).unwrap();
        let killed = killed_copy(dir.path());
        drop(store);
        let cost = Header::read(killed.path()).unwrap().seals - before;
        assert!(cost <= SEALS_FIRST, "round {round}: {cost} seals");
        dir = killed;
    }
    open(dir.path()).unwrap().reserve_alone(&lineage, &charge(100)).unwrap();
}
