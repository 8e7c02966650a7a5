//! What is missing, replaced, put back or crossed with another copy is noticed at open.

use super::super::anchor;
use super::super::bundle::Bundle;
use super::super::{Opening, header};
use super::*;

fn open_as(opening: Opening, dir: &Path) -> Result<Store, StoreError> {
    Store::open_as(opening, &place(dir), &passphrase(), &Environment::Test, NOW)
}

/// Changes the database behind the store's back.
pub(super) fn edit(dir: &Path, change: impl FnOnce(&sled::Db)) {
    let db = sled::Config::new().path(dir.join("db.0")).open().unwrap();
    change(&db);
    db.flush().unwrap();
}

fn keys_of(db: &sled::Db, tree: Tree) -> Vec<sled::IVec> {
    db.scan_prefix([tree as u8]).keys().map(Result::unwrap).collect()
}

/// Takes one record of a token away, or all that stands under its name.
pub(super) fn strip(db: &sled::Db, lineage: LineageId, tree: Tree) {
    let key = [&[Tree::Tokens as u8], &lineage.as_bytes()[..]].concat();
    let value = db.get(&key).unwrap().unwrap();
    let mut bundle = Bundle::split(Tree::Tokens, &value).unwrap().to_owned();
    assert!(bundle.get(tree).is_some());
    bundle.set(tree, None);
    match bundle.join(Tree::Tokens) {
        Some(value) => drop(db.insert(key, value).unwrap()),
        None => drop(db.remove(key).unwrap()),
    }
}

/// Puts one file or directory of a vault in the place of another vault's.
pub(super) fn put(from: &Path, to: &Path, name: &str) {
    let (from, to) = (from.join(name), to.join(name));
    if to.is_dir() {
        fs::remove_dir_all(&to).unwrap();
        fs::create_dir(&to).unwrap();
        copy(&from, &to);
    } else {
        fs::copy(&from, &to).unwrap();
    }
}

fn rolled_back(dir: &Path) -> &'static str {
    match open(dir).map(drop) {
        Err(StoreError::RolledBack { what }) => what,
        other => panic!("{other:?}"),
    }
}

fn damage(dir: &Path) -> Damage {
    match open(dir).map(drop) {
        Err(StoreError::Damaged { damage }) => *damage,
        other => panic!("{other:?}"),
    }
}

pub(super) fn spend(store: &Store, lineage: LineageId, times: usize) {
    (0..times).for_each(|_| assert!(store.reserve_alone(&lineage, &charge(1)).is_ok()));
}

fn change_passphrase(store: &Store) {
    store.change_passphrase(&passphrase(), &passphrase(), NOW).unwrap();
}

#[test]
fn parts_of_two_times_do_not_make_a_vault() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let old = killed_copy(dir.path());
    spend(&store, lineage, 5);
    for _ in 0..2 {
        change_passphrase(&store);
    }
    let new = killed_copy(dir.path());
    drop(store);
    for (part, into, expect) in [
        ("db.0", &new, "its database is older than its anchor"),
        (anchor::FILE, &new, "its database is not the one that its anchor knows"),
        (header::FILE, &new, "its header is older than its anchor"),
        ("db.0", &old, "its database is not the one that its anchor knows"),
        (anchor::FILE, &old, "its database is older than its anchor"),
        (header::FILE, &old, "its header is not the one that its anchor knows"),
    ] {
        let from = if into.path() == new.path() { &old } else { &new };
        let crossed = killed_copy(into.path());
        put(from.path(), crossed.path(), part);
        assert_eq!(rolled_back(crossed.path()), expect, "{part}");
        put(into.path(), crossed.path(), part);
        drop(open(crossed.path()).unwrap());
    }
    drop((open(old.path()).unwrap(), open(new.path()).unwrap()));
}

/// Two copies that went on from the same state, for as many commits.
#[test]
fn a_fork_is_not_the_original() {
    let dir = tempfile::tempdir().unwrap();
    let lineage = add(&create(dir.path()), "desk");
    for commits in [1, 2, 5] {
        let fork = killed_copy(dir.path());
        for copy in [dir.path(), fork.path()] {
            spend(&open(copy).unwrap(), lineage, commits);
        }
        let crossed = killed_copy(dir.path());
        put(fork.path(), crossed.path(), "db.0");
        let expect = "its database is not the one that its anchor knows";
        assert_eq!(rolled_back(crossed.path()), expect, "{commits} commits");
    }
}

/// A kill between the database's sync and the anchor's: nobody was answered, all is there.
#[test]
fn an_anchor_one_commit_behind_is_brought_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    for (at, change) in [
        ("commit", &(|| spend(&store, lineage, 1)) as &dyn Fn()),
        ("header", &|| store.disk.grant_seals(1 << 12).unwrap()),
    ] {
        let before = killed_copy(dir.path());
        change();
        let killed = killed_copy(dir.path());
        put(before.path(), killed.path(), anchor::FILE);
        let reopened = open(killed.path()).unwrap();
        assert_eq!(used(&reopened, lineage), 1, "{at}");
        spend(&reopened, lineage, 1);
        drop(reopened);
        drop(open(killed.path()).unwrap());
    }
    let before = killed_copy(dir.path());
    spend(&store, lineage, 2);
    let killed = killed_copy(dir.path());
    put(before.path(), killed.path(), anchor::FILE);
    rolled_back(killed.path());
}

#[test]
fn a_whole_directory_put_back_is_seen_by_an_anchor_elsewhere() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let anchored = |dir: &Path| place(dir).anchor(&elsewhere.path().join("anchor"));
    let open = |opening, dir: &Path| {
        Store::open_as(opening, &anchored(dir), &passphrase(), &Environment::Test, NOW)
    };
    let vault = dir.path().join("vault");
    let store = try_create(&anchored(&vault)).unwrap();
    assert!(!vault.join(anchor::FILE).exists());
    let lineage = add(&store, "desk");
    let last_week = killed_copy(&vault);
    spend(&store, lineage, 90);
    drop(store);
    let refused = open(Opening::Whole, last_week.path()).map(drop);
    assert!(matches!(refused, Err(StoreError::RolledBack { .. })), "{refused:?}");
    // Where nothing was said of it, it is looked for in its usual place.
    let refused = super::open(&vault).map(drop);
    assert!(matches!(refused, Err(StoreError::NoAnchor { .. })), "{refused:?}");
    // Another vault does not take it over.
    let refused = try_create(&anchored(&dir.path().join("other"))).map(drop);
    assert!(matches!(refused, Err(StoreError::AnchorExists { .. })), "{refused:?}");

    let accepted = open(Opening::AcceptRollback, last_week.path()).unwrap();
    assert_eq!(accepted.tokens().unwrap().len(), 1);
    for _ in 0..2 {
        match accepted.reserve_alone(&lineage, &charge(1)) {
            Err(LedgerError::Denied(denied)) => assert_eq!(denied.rule(), Rule::Unreconciled),
            other => panic!("{other:?}"),
        }
    }
    drop(accepted);
    let reopened = open(Opening::Whole, last_week.path()).unwrap();
    assert!(reopened.reserve_alone(&lineage, &charge(1)).is_err(), "it stays so");
    drop(reopened);
    let refused = open(Opening::Whole, &vault).map(drop);
    assert!(
        matches!(refused, Err(StoreError::RolledBack { .. })),
        "the other is now the older one"
    );
}

#[test]
fn an_accepted_rollback_that_is_killed_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let old = killed_copy(dir.path());
    spend(&store, lineage, 3);
    put(dir.path(), old.path(), anchor::FILE);
    // Killed after the database's sync: the ledgers are marked, the anchor knows nothing of it.
    let anchor = fs::read(old.path().join(anchor::FILE)).unwrap();
    drop(open_as(Opening::AcceptRollback, old.path()).unwrap());
    fs::write(old.path().join(anchor::FILE), anchor).unwrap();
    rolled_back(old.path());
    let accepted = open_as(Opening::AcceptRollback, old.path()).unwrap();
    assert!(accepted.reserve_alone(&lineage, &charge(1)).is_err());
}

#[test]
fn an_anchor_that_is_gone_or_damaged_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    spend(&store, add(&store, "desk"), 2);
    drop(store);
    let path = dir.path().join(anchor::FILE);
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), 8192);
    fs::remove_file(&path).unwrap();
    assert!(matches!(open(dir.path()).map(drop), Err(StoreError::NoAnchor { .. })));
    for bytes in [Vec::new(), vec![0; 8192], vec![0xa5; 8192], whole[..100].to_vec()] {
        fs::write(&path, bytes).unwrap();
        let refused = open(dir.path()).map(drop);
        assert!(matches!(refused, Err(StoreError::DamagedAnchor { .. })), "{refused:?}");
    }
    // That of another vault.
    let other = tempfile::tempdir().unwrap();
    drop(create(other.path()));
    put(other.path(), dir.path(), anchor::FILE);
    assert!(matches!(open(dir.path()).map(drop), Err(StoreError::DamagedAnchor { .. })));
    fs::write(&path, &whole).unwrap();
    // A write cut short leaves the slot before it, which is one commit behind at most.
    for slot in [0, 4096] {
        for at in [0, 60, 117, 130, 4095] {
            let mut torn = whole.clone();
            torn[slot + at] ^= 1;
            fs::write(&path, &torn).unwrap();
            drop(open(dir.path()).unwrap());
        }
    }
}

/// Accepting a rollback of one vault must not cost another its anchor.
#[test]
fn the_anchor_of_another_vault_is_not_replaced() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(create(two.path()));
    add(&create(one.path()), "desk");
    let path = two.path().join(anchor::FILE);
    let before = fs::read(&path).unwrap();
    let at = place(one.path()).anchor(&path);
    let (passphrase, environment) = (passphrase(), Environment::Test);
    let open = |opening| Store::open_as(opening, &at, &passphrase, &environment, NOW).map(drop);
    assert!(matches!(open(Opening::Whole), Err(StoreError::DamagedAnchor { .. })));
    assert!(matches!(open(Opening::AcceptRollback), Err(StoreError::AnchorExists { .. })));
    edit(one.path(), |db| drop(db.remove(&keys_of(db, Tree::Tokens)[0]).unwrap().unwrap()));
    let repaired = Store::repair(&at, &passphrase, &environment, None, NOW).map(drop);
    assert!(matches!(repaired, Err(StoreError::AnchorExists { .. })), "{repaired:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_lost_anchor_may_be_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let lineage = add(&create(dir.path()), "desk");
    fs::remove_file(dir.path().join(anchor::FILE)).unwrap();
    let accepted = open_as(Opening::AcceptRollback, dir.path()).unwrap();
    assert!(accepted.reserve_alone(&lineage, &charge(1)).is_err());
    drop(accepted);
    drop(open(dir.path()).unwrap());
    // A vault that needs no acceptance is not changed by it.
    let other = tempfile::tempdir().unwrap();
    let lineage = add(&create(other.path()), "desk");
    let accepted = open_as(Opening::AcceptRollback, other.path()).unwrap();
    accepted.reserve_alone(&lineage, &charge(1)).unwrap();
}

#[test]
fn every_record_that_is_missing_altered_or_too_many_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let one = add(&store, "one");
    add(&store, "two");
    let older = killed_copy(dir.path());
    spend(&store, one, 3);
    store.append_audit(AuditAction::Exposed, None, None, NOW).unwrap();
    drop(store);
    let mut values = Vec::new();
    edit(older.path(), |db| {
        values.extend(db.scan_prefix([Tree::Tokens as u8]).map(Result::unwrap));
    });
    let mut cases = 0;
    for tree in [Tree::Meta, Tree::Tokens, Tree::Audit, Tree::Index] {
        let mut names = Vec::new();
        edit(killed_copy(dir.path()).path(), |db| names = keys_of(db, tree));
        assert!(!names.is_empty(), "{tree:?}");
        for key in names {
            for how in ["removed", "altered", "moved", "copied"] {
                let broken = killed_copy(dir.path());
                edit(broken.path(), |db| {
                    let value = db.get(&key).unwrap().unwrap();
                    let mut elsewhere = key.to_vec();
                    elsewhere[9] ^= 1;
                    let mut altered = value.to_vec();
                    altered[20] ^= 1;
                    match how {
                        "altered" => drop(db.insert(&key, altered).unwrap()),
                        "copied" => drop(db.insert(elsewhere, value).unwrap()),
                        "moved" => {
                            db.remove(&key).unwrap();
                            db.insert(elsewhere, value).unwrap();
                        }
                        _ => drop(db.remove(&key).unwrap()),
                    }
                });
                let damage = damage(broken.path());
                assert!(!damage.head_is_lost);
                let trees: Vec<_> = damage.trees.iter().map(|damaged| damaged.tree).collect();
                assert_eq!(trees, [tree.name()], "{how}");
                let of_token = tree == Tree::Tokens && how != "copied";
                let lacking = damage.tokens.iter().filter(|token| token.label.is_some()).count();
                assert_eq!(lacking, usize::from(of_token), "{how} in {tree:?}: {damage}");
                cases += 1;
            }
        }
    }
    // A record as it was before: it opens, and it is not the last.
    edit(dir.path(), |db| {
        values.iter().for_each(|(key, value)| drop(db.insert(key, value).unwrap()))
    });
    assert_eq!(damage(dir.path()).to_string(), "tokens: records were replaced");
    eprintln!("{cases} records removed, altered, moved or copied: all told");
}

/// Its records add up to no head, and the head is not the last: the one does not hide the other.
#[test]
fn what_is_damaged_and_rolled_back_is_told_as_both() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    let old = killed_copy(dir.path());
    spend(&store, lineage, 3);
    let new = killed_copy(dir.path());
    drop(store);
    put(new.path(), old.path(), anchor::FILE);
    for (copy, is_rolled_back) in [(&new, false), (&old, true)] {
        edit(copy.path(), |db| {
            let key = keys_of(db, Tree::Tokens).pop().unwrap();
            db.remove(key).unwrap();
        });
        assert_eq!(damage(copy.path()).is_rolled_back, is_rolled_back);
    }
}

#[test]
fn a_lost_head_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    add(&create(dir.path()), "desk");
    edit(dir.path(), |db| {
        let key = keys_of(db, Tree::Head).pop().unwrap();
        db.remove(key).unwrap();
    });
    assert_eq!(damage(dir.path()), Damage { head_is_lost: true, ..Damage::default() });
    let refused = open_as(Opening::AcceptRollback, dir.path()).map(drop);
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "no rollback, but damage");
}

#[test]
fn damage_names_the_tokens_it_befell() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineages = ["a", "b", "c", "d"].map(|label| add(&store, label));
    drop(store);
    edit(dir.path(), |db| {
        for (tree, token) in [
            (Tree::Tokens, 0),
            (Tree::Secrets, 1),
            (Tree::Ledger, 1),
            (Tree::Tokens, 2),
            (Tree::Secrets, 2),
            (Tree::Ledger, 2),
        ] {
            strip(db, lineages[token], tree);
        }
    });
    assert_eq!(
        damage(dir.path()).to_string(),
        "tokens: 3 of 4 records are left; a lacks its tokens; b lacks its secrets, ledger; \
         c lacks its tokens, secrets, ledger"
    );
    let store = open_as(Opening::Degraded, dir.path()).unwrap();
    assert!(store.damage().is_some());
    let tokens = store.take_opened();
    let labels: Vec<_> = tokens.iter().map(|(record, _)| record.label.as_str()).collect();
    assert_eq!(labels, ["d"]);
    let (record, sealed) = &tokens[0];
    let secret = store.open_secret(record.lineage, sealed).unwrap();
    assert_eq!(secret.token.expose(), TOKEN);
    let before = fs::read(dir.path().join(header::FILE)).unwrap();
    let spent = store.reserve_alone(&lineages[3], &charge(1));
    assert!(matches!(spent, Err(LedgerError::Store(StoreError::Degraded))), "{spent:?}");
    for refused in [
        store.add_token(record, &secret, None).map(drop),
        store.remove_token(record.lineage),
        store.append_audit(AuditAction::Exposed, None, None, NOW),
        store.rekey(NOW),
        store.change_passphrase(&passphrase(), &passphrase(), NOW),
        store.check_writable(),
    ] {
        assert!(matches!(refused, Err(StoreError::Degraded)), "{refused:?}");
    }
    drop(store);
    assert_eq!(fs::read(dir.path().join(header::FILE)).unwrap(), before);
    damage(dir.path());
}
