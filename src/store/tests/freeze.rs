//! The kill switch where its record cannot be written, or is gone.

use super::super::freeze::{FILE, key};
use super::copies::repair;
use super::head::edit;
use super::*;
use crate::store::committer::Writer;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

fn degraded(dir: &Path) -> Store {
    Store::open_as(Opening::Degraded, &place(dir), &passphrase(), &Environment::Test, NOW).unwrap()
}

/// What the meta tree's names are.
fn remove_record(dir: &Path, store: &Store) {
    let name = store.disk.epoch().keys.name(Tree::Meta, &key());
    let key = [&[Tree::Meta as u8], &name[..]].concat();
    edit(dir, |db| assert!(db.remove(key).unwrap().is_some()));
}

#[test]
fn memory_and_the_file_hold_where_nothing_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    store.disk.fail("the disk is gone".into());
    assert!(matches!(store.freeze_durably(NOW), Err(StoreError::ReadOnly { .. })));
    assert!(store.freeze().is_frozen());
    assert!(matches!(store.thaw(&passphrase(), NOW), Err(StoreError::ReadOnly { .. })));
    assert!(store.freeze().is_frozen() && dir.path().join(FILE).exists());
    drop(store);
    let store = open(dir.path()).unwrap();
    assert!(store.freeze().is_frozen());
    fs::remove_file(dir.path().join(FILE)).unwrap();
    drop(store);
    assert!(open(dir.path()).unwrap().freeze().is_frozen(), "opening has written it down");
}

#[test]
fn a_record_that_is_missing_is_damage_and_the_vault_stays_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    store.freeze_durably(NOW).unwrap();
    fs::remove_file(dir.path().join(FILE)).unwrap();
    let names = killed_copy(dir.path());
    drop(store);
    let intact = degraded(names.path());
    assert!(intact.freeze().is_frozen());
    remove_record(dir.path(), &intact);
    assert!(matches!(open(dir.path()), Err(StoreError::Damaged { .. })));
    assert!(degraded(dir.path()).freeze().is_frozen(), "nobody knows that it was not");
    let (store, told) = repair(dir.path(), None).unwrap();
    assert!(told.is_some() && store.freeze().is_frozen());
    store.thaw(&passphrase(), NOW).unwrap();
    drop(store);
    assert!(!open(dir.path()).unwrap().freeze().is_frozen());
}

/// What a repair takes of a backup does not freeze what was thawed since.
#[test]
fn a_repair_neither_thaws_nor_freezes() {
    for is_frozen in [true, false] {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let backup = elsewhere.path().join("backup");
        let store = create(dir.path());
        let lineage = add(&store, "desk");
        store.freeze_durably(NOW).unwrap();
        store.back_up(&backup, NOW).unwrap();
        if !is_frozen {
            store.thaw(&passphrase(), NOW).unwrap();
        }
        drop(store);
        let _ = fs::remove_file(dir.path().join(FILE));
        edit(dir.path(), |db| super::head::strip(db, lineage, Tree::Ledger));
        let (store, told) = repair(dir.path(), Some(&backup)).unwrap();
        assert!(told.is_some());
        assert_eq!(store.freeze().is_frozen(), is_frozen);
    }
}

/// The first to be told is slow, and what it does last would stand, were the next told beside it.
#[test]
fn a_freeze_and_a_thaw_that_cross_are_told_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (is_told, told) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let (hearing, wait) = (Arc::clone(&heard), Mutex::new(wait));
    store.freeze().listen(move |is_frozen| {
        if is_frozen {
            is_told.send(()).unwrap();
            let _ = lock(&wait).recv_timeout(Duration::from_millis(500));
        }
        lock(&hearing).push(is_frozen);
    });
    thread::scope(|scope| {
        scope.spawn(|| store.freeze().engage());
        told.recv().unwrap();
        store.thaw(&passphrase(), NOW).unwrap();
        // Where the thaw was told meanwhile, the freeze comes last.
        let _ = go_on.send(());
    });
    assert!(!store.freeze().is_frozen());
    assert_eq!(*lock(&heard), [true, false]);
}

#[test]
fn a_rekey_keeps_it_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    store.freeze_durably(NOW).unwrap();
    store.committer.alone(Writer::rekey).unwrap();
    fs::remove_file(dir.path().join(FILE)).unwrap();
    drop(store);
    assert!(open(dir.path()).unwrap().freeze().is_frozen());
}
