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

/// The anchor vouches for a copy that was put back only once its ledgers are not believed any more.
#[test]
fn an_accepted_rollback_killed_at_any_step_spends_nothing() {
    for seals in [0, SEALS_REKEY] {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path());
        let lineage = add(&store, "desk");
        if seals > 0 {
            // Its key is near its end: the first commit replaces it.
            store.disk.grant_seals(seals).unwrap();
        }
        let old = killed_copy(dir.path());
        spend(&store, lineage, 90);
        put(dir.path(), old.path(), anchor::FILE);
        drop(store);
        let (steps, copies) = mpsc::channel();
        let path = old.path().to_owned();
        disk::watch_next(move |step| steps.send((step, killed_copy(&path))).unwrap());
        drop(open_as(Opening::AcceptRollback, &place(old.path())).unwrap());
        let mut seen = Vec::new();
        for (step, copy) in copies.try_iter() {
            seen.push(step);
            match open(copy.path()) {
                Ok(store) => assert!(store.is_unreconciled(lineage), "{step}"),
                Err(StoreError::RolledBack { .. } | StoreError::DamagedAnchor { .. }) => {}
                Err(error) => panic!("{step}: {error}"),
            }
            let store = open_as(Opening::AcceptRollback, &place(copy.path())).unwrap();
            assert!(store.is_unreconciled(lineage), "{step}");
        }
        assert!(seen.contains(&"granted"), "{seen:?}");
        assert_eq!(seen.contains(&"one key"), seals > 0, "{seen:?}");
        let store = open(old.path()).unwrap();
        assert!(store.is_unreconciled(lineage));
    }
}

/// Until a backup has proved to be whole, its origin keeps its anchor.
#[test]
fn a_restore_that_is_refused_leaves_the_anchor_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let anchored = |name: &str| place(&path(name)).anchor(&path("anchor"));
    let store = try_create(&anchored("vault")).unwrap();
    let lineage = add(&store, "desk");
    store.back_up(&path("older"), NOW).unwrap();
    store.reserve_alone(&lineage, &charge(90)).unwrap();
    store.back_up(&path("newer"), NOW).unwrap();
    drop(store);
    let mut damaged = fs::read(path("newer")).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(path("damaged"), damaged).unwrap();
    let before = fs::read(path("anchor")).unwrap();
    let refused = restore(Opening::Whole, &anchored("new"), &path("damaged")).map(drop);
    assert!(matches!(refused, Err(StoreError::DamagedBackup { .. })), "{refused:?}");
    assert!(fs::read(path("anchor")).unwrap() == before);
    // What it left behind opens no door to an older one.
    let refused = restore(Opening::Whole, &anchored("new"), &path("older")).map(drop);
    assert!(matches!(refused, Err(StoreError::RolledBack { .. })), "{refused:?}");
    drop(Store::open(&anchored("vault"), &passphrase(), &Environment::Test, NOW).unwrap());
    drop(restore(Opening::Whole, &anchored("new"), &path("newer")).unwrap());
}

/// The mark of a creation under way is no leave to replace any anchor.
#[test]
fn a_planted_mark_lets_no_anchor_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let anchored = |name: &str| place(&path(name)).anchor(&path("anchor"));
    drop(try_create(&anchored("vault")).unwrap());
    let before = fs::read(path("anchor")).unwrap();
    drop(create(&path("other")));
    fs::remove_file(path("other").join(header::FILE)).unwrap();
    fs::write(path("other").join(CREATING), b"").unwrap();
    let refused = try_create(&anchored("other")).map(drop);
    assert!(matches!(refused, Err(StoreError::AnchorExists { .. })), "{refused:?}");
    assert!(fs::read(path("anchor")).unwrap() == before);
}

/// Of an exposed token nothing is left, whichever of its coins is over its limit.
#[test]
fn all_coins_of_an_exposed_token_are_charged() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    add(&store, "one coin");
    let (mut record, sealed) = store.tokens().unwrap().swap_remove(0);
    let secret = store.open_secret(record.lineage, &sealed).unwrap();
    let teth = Coin::new("teth").unwrap();
    let over = [(tbtc(), limit(100, 150)), (teth.clone(), limit(100, 0))];
    record.lineage = store.new_lineage().unwrap();
    record.label = Label::new("two coins").unwrap();
    record.info.spending_limits = over.clone().into();
    store.add_token(&record, &secret, None).unwrap();
    store.exhaust(record.lineage, 1).unwrap();
    let left = |store: &Store| store.counters(record.lineage).unwrap()[&teth].left();
    assert_eq!(left(&store), Some(Amount::ZERO));
    store.distrust_ledgers().unwrap();
    store.reconcile(record.lineage, &info_of(over), &LocalRules::default(), 1).unwrap();
    assert_eq!(left(&store), Some(Amount::ZERO));
    let one = [Charge::withdrawal(teth, Amount::new(1))];
    assert!(store.reserve_alone(&record.lineage, &one).is_err());
}

/// Two copies of one vault do not spend side by side where they share an anchor.
#[test]
fn an_anchor_is_held_by_one_vault_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let anchored = |dir: &Path| place(dir).anchor(&path("anchor"));
    let lineage = add(&try_create(&anchored(&path("vault"))).unwrap(), "desk");
    let copy = killed_copy(&path("vault"));
    let first = open_as(Opening::Whole, &anchored(&path("vault"))).unwrap();
    for opening in [Opening::Whole, Opening::AcceptRollback] {
        let second = open_as(opening, &anchored(copy.path())).map(drop);
        assert!(matches!(second, Err(StoreError::InUse { .. })), "{second:?}");
    }
    // To look at it is another thing.
    drop(open_as(Opening::Degraded, &anchored(copy.path())).unwrap());
    first.reserve_alone(&lineage, &charge(100)).unwrap();
    drop(first);
    let second = open_as(Opening::Whole, &anchored(copy.path())).map(drop);
    assert!(matches!(second, Err(StoreError::RolledBack { .. })), "{second:?}");
}

/// A vault that is open does not lose its anchor to a copy.
#[test]
fn a_restore_does_not_take_the_anchor_from_an_open_vault() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let anchored = |name: &str| place(&path(name)).anchor(&path("anchor"));
    let store = try_create(&anchored("vault")).unwrap();
    let lineage = add(&store, "desk");
    store.back_up(&path("backup"), NOW).unwrap();
    for opening in [Opening::Whole, Opening::AcceptRollback] {
        let refused = restore(opening, &anchored("new"), &path("backup")).map(drop);
        assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
    }
    store.reserve_alone(&lineage, &charge(1)).unwrap();
    drop(store);
    drop(open_as(Opening::Whole, &anchored("vault")).unwrap());
}

/// Who asks for a vault that only reads gets one, also where there was nothing wrong.
#[test]
fn a_vault_that_is_opened_for_reading_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let lineage = add(&create(dir.path()), "desk");
    let store = open_as(Opening::Degraded, &place(dir.path())).unwrap();
    assert_eq!(store.damage(), None);
    assert!(matches!(store.check_writable(), Err(StoreError::Degraded)));
    assert!(store.reserve_alone(&lineage, &charge(1)).is_err());
    drop(store);
    assert_eq!(used(&open(dir.path()).unwrap(), lineage), 0);
}

/// What its predecessor spent a renewed token's counter at the server does not tell.
#[test]
fn a_renewal_in_between_makes_no_fresh_budget() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    store.reserve_alone(&lineage, &charge(90)).unwrap();
    store.settle_latest(&lineage, &charge(90), Outcome::Accepted);
    store.distrust_ledgers().unwrap();
    // As an internal token is renewed: under another id, its counter at the server at nought.
    let (mut record, sealed) = store.tokens().unwrap().remove(0);
    record.info.id = TokenId::from_bytes([6; 16]);
    let secret = store.open_secret(lineage, &sealed).unwrap();
    store.replace_token(&record, &secret, 1).unwrap();
    store
        .reconcile(lineage, &info_of([(tbtc(), limit(100, 0))]), &LocalRules::default(), 1)
        .unwrap();
    assert!(store.reserve_alone(&lineage, &charge(11)).is_err(), "it is one limit for the lineage");
}

/// What waits for an approval may still go out, and the server does not tell of it.
#[test]
fn what_waits_for_an_approval_outlives_a_reconciliation() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    store.reserve_alone(&lineage, &charge(60)).unwrap();
    store.settle_latest(&lineage, &charge(60), Outcome::Pending);
    store.distrust_ledgers().unwrap();
    store
        .reconcile(lineage, &info_of([(tbtc(), limit(100, 0))]), &LocalRules::default(), 1)
        .unwrap();
    assert_eq!(used(&store, lineage), 60);
}

/// An older record of the same epoch opens as well: what a rule allowed then it may not allow now.
#[test]
fn a_repair_takes_no_leave_from_a_rule_that_may_be_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    add(&store, "desk");
    let (mut record, _) = store.tokens().unwrap().swap_remove(0);
    record.rules = LocalRules { raw_exposure: true, ..LocalRules::default() }.into();
    let say = |record: &TokenRecord| {
        store.append_audit(AuditAction::ExposureAllowed, None, Some(record), NOW)
    };
    say(&record).unwrap();
    let epoch = store.disk.epoch();
    let (name, loose) = epoch.values(Tree::Tokens).next().unwrap().unwrap();
    drop(epoch);
    record.rules = LocalRules { raw_exposure: false, ..LocalRules::default() }.into();
    say(&record).unwrap();
    drop(store);
    edit(dir.path(), |db| {
        let key = [&[Tree::Tokens as u8], &name[..]].concat();
        db.insert(key, loose).unwrap().unwrap();
    });
    let (store, told) = repair(dir.path(), None).unwrap();
    assert_eq!(told.unwrap().damage.to_string(), "tokens: records were replaced");
    assert!(!store.tokens().unwrap()[0].0.rules.raw_exposure);
}

/// Neither an acceptance nor a repair is about the vault next door.
#[test]
fn the_anchor_of_another_vault_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    drop(create(&path("other")));
    let others: PathBuf = path("other").join(anchor::FILE);
    let before = fs::read(&others).unwrap();
    let (_, vault) = broken(dir.path(), &[(Tree::Secrets, 0)]);
    let refused =
        Store::repair(&place(&vault).anchor(&others), &passphrase(), &Environment::Test, None, NOW);
    assert!(matches!(refused.map(drop), Err(StoreError::AnchorExists { .. })));
    drop(repair(&vault, None).unwrap());
    let refused = open_as(Opening::AcceptRollback, &place(&vault).anchor(&others)).map(drop);
    assert!(matches!(refused, Err(StoreError::AnchorExists { .. })), "{refused:?}");
    assert!(fs::read(&others).unwrap() == before);
}

/// A kill between the first header and the anchor's word on it leaves a vault that opens.
#[test]
fn a_creation_that_granted_seals_survives_a_kill_before_its_anchor() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, copies) = (dir.path().join("vault"), mpsc::channel());
    let (steps, from) = (copies.0, vault.clone());
    disk::watch_next(move |step| {
        if step == "first header" {
            steps.send(killed_copy(&from)).unwrap();
        }
    });
    let fill = |store: &Store| {
        store.bind(&Environment::Test)?;
        store.disk.grant_seals(1 << 11)?;
        store.disk.grant_seals(1 << 12)
    };
    drop(Store::make(&place(&vault), &passphrase(), kdf(), NOW, |_| Ok(()), fill).unwrap());
    let killed = copies.1.try_recv().unwrap();
    drop(open(killed.path()).unwrap());
    drop(open(&vault).unwrap());
}

/// What is too large a reserve is one all the same.
#[test]
fn a_reserve_that_is_too_large_does_not_keep_a_vault_from_writing() {
    let dir = tempfile::tempdir().unwrap();
    let lineage = add(&create(dir.path()), "desk");
    let reserve = fs::OpenOptions::new().write(true).open(dir.path().join("RESERVE")).unwrap();
    reserve.set_len(4 << 20).unwrap();
    open(dir.path()).unwrap().reserve_alone(&lineage, &charge(1)).unwrap();
}

/// A mark that is planted while the vault is open does not keep its grants off the disk.
#[test]
fn a_vault_that_is_made_is_not_being_made() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    fs::write(dir.path().join(CREATING), b"").unwrap();
    store.disk.grant_seals(1 << 12).unwrap();
    assert_eq!(Header::read(dir.path()).unwrap().seals, 1 << 12);
}

/// Who reads the old database while it is replaced does no harm by it.
#[test]
fn a_reader_may_hold_an_epoch_over_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = busy(dir.path());
    let (before, held) = (content(&store), store.disk.epoch());
    store.rekey(NOW).unwrap();
    assert!(held.values(Tree::Tokens).count() > 0);
    drop(held);
    let lineage = store.tokens().unwrap()[0].0.lineage;
    store.renew_budget(lineage).unwrap();
    drop(store);
    assert_eq!(content(&open(dir.path()).unwrap()), before);
    assert_eq!(databases(dir.path()), ["db.1"]);
}

/// A key that no record has does not hide those after it.
#[test]
fn what_stands_under_no_name_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_, vault) = broken(dir.path(), &[]);
    edit(&vault, |db| {
        for tree in Tree::KEPT {
            db.insert(vec![tree as u8, 0], b"junk").unwrap();
        }
    });
    assert!(matches!(open(&vault).map(drop), Err(StoreError::Damaged { .. })));
    let (store, _) = repair(&vault, None).unwrap();
    assert_eq!(store.tokens().unwrap().len(), 4);
    store.rekey(NOW).unwrap();
}

/// A lineage that was removed does not come back by a record of junk under its old name.
#[test]
fn junk_brings_no_removed_token_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_, vault) = broken(dir.path(), &[]);
    // The name of the token that was removed since: it stood in clear, as all names do.
    let backup = super::super::repair::read_backup(
        &dir.path().join("backup"),
        &passphrase(),
        Header::read(&vault).unwrap().vault_id,
    );
    let names: Vec<_> = backup
        .unwrap()
        .into_keys()
        .filter(|(tree, _)| *tree == Tree::Tokens as u8)
        .map(|(_, key)| key[1..].to_vec())
        .collect();
    assert_eq!(names.len(), 5);
    edit(&vault, |db| {
        for name in names {
            let key = [&[Tree::Tokens as u8], &name[..]].concat();
            if db.get(&key).unwrap().is_none() {
                db.insert(key, b"junk").unwrap();
            }
        }
    });
    let (store, told) = repair(&vault, Some(&dir.path().join("backup"))).unwrap();
    assert_eq!(store.tokens().unwrap().len(), 4, "{told:?}");
}

/// An anchor of junk is damaged, whoever looks at it.
#[test]
fn the_doctor_calls_a_damaged_anchor_damaged() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    fs::write(dir.path().join(anchor::FILE), [0xa5; 8192]).unwrap();
    for passphrase in [None, Some(&passphrase())] {
        let report = super::super::Report::of(&place(dir.path()), passphrase, NOW);
        let [fault] = &report.faults[..] else { panic!("{:?}", report.faults) };
        assert!(matches!(fault, StoreError::DamagedAnchor { .. }), "{fault:?}");
    }
}
