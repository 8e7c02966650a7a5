//! What a hostile review found: each test failed before its fault was mended.

use super::super::{Opening, anchor, disk, header};
use super::copies::{broken, repair, restore};
use super::head::{edit, put, spend};
use super::rekey::{busy, content, databases};
use super::*;
use std::path::PathBuf;
use std::sync::mpsc;

fn open_as(opening: Opening, place: &Place) -> Result<Store, StoreError> {
    Store::open_as(opening, place, &passphrase(), &Environment::Test, NOW)
}

fn limit(limit: u128, spent: u128) -> SpendingLimit {
    SpendingLimit { limit: Some(Amount::new(limit)), spent: Amount::new(spent) }
}

/// Where the last header of a rekey cannot be written, the new database is in use already.
#[test]
fn a_rekey_that_cannot_forget_the_old_key_keeps_the_new_database() {
    let dir = tempfile::tempdir().unwrap();
    drop(busy(dir.path()));
    let in_the_way = dir.path().join(header::TEMPORARY);
    let obstacle = in_the_way.clone();
    disk::watch_next(move |step| {
        if step == "anchor" {
            fs::create_dir(&obstacle).unwrap();
        }
    });
    let store = open(dir.path()).unwrap();
    let before = content(&store);
    let refused = store.rekey(NOW);
    assert_eq!(databases(dir.path()), ["db.0", "db.1"], "{refused:?}");
    assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
    assert!(store.check_writable().is_err(), "what it is in between nobody writes to");
    drop(store);
    fs::remove_dir(in_the_way).unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(content(&store), before);
    assert_eq!(databases(dir.path()), ["db.1"]);
}

/// Who reads the old database while it is replaced does no harm by it.
#[test]
fn a_reader_may_hold_an_epoch_over_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = busy(dir.path());
    let (before, held) = (content(&store), store.disk.epoch());
    store.rekey(NOW).unwrap();
    assert!(held.records(Tree::Secrets).count() > 0);
    drop(held);
    let lineage = store.tokens().unwrap()[0].0.lineage;
    store.reserve(&lineage, &charge(0)).unwrap();
    drop(store);
    assert_eq!(content(&open(dir.path()).unwrap()), before);
    assert_eq!(databases(dir.path()), ["db.1"]);
}
