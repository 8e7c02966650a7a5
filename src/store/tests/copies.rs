//! Backups become vaults, and what is damaged becomes whole; neither spends on the word of the past.

use super::super::{Contents, Minted, Opening, Reissue, Report, anchor, header};
use super::head::{edit, strip};
use super::rekey::{busy, content, databases};
use super::*;
use crate::secret::EcdhXprv;
use std::path::PathBuf;

pub(super) fn restore(opening: Opening, place: &Place, backup: &Path) -> Result<Store, StoreError> {
    Store::restore(opening, place, backup, &passphrase(), kdf(), &Environment::Test, NOW)
}

pub(super) fn repair(
    dir: &Path,
    backup: Option<&Path>,
) -> Result<(Store, Option<Repair>), StoreError> {
    Store::repair(&place(dir), &passphrase(), &Environment::Test, backup, NOW)
}

fn assert_unreconciled(store: &Store, lineage: LineageId) {
    match store.reserve_alone(&lineage, &charge(1)) {
        Err(LedgerError::Denied(denied)) => assert_eq!(denied.rule(), Rule::Unreconciled),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_backup_becomes_a_vault_that_spends_once_it_is_reconciled() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let store = busy(&path("vault"));
    store.back_up(&path("backup"), NOW).unwrap();
    let before = content(&store);
    let again = store.back_up(&path("backup"), NOW);
    assert!(matches!(again, Err(StoreError::BackupExists { .. })), "{again:?}");

    let restored = restore(Opening::Whole, &place(&path("restored")), &path("backup")).unwrap();
    let (tokens, spent, audit) = content(&restored);
    assert_eq!((&tokens, &spent), (&before.0, &before.1));
    assert_eq!(audit, before.2 + 1, "the restore is noted");
    let user = "5bd81700ae4b7d8a4f0e7e1d2a2ad0c1";
    assert_eq!(restored.account(user).unwrap().unwrap().ecdh_xprv.expose(), "xprv");
    let (old, new) = (store.disk.epoch(), restored.disk.epoch());
    let (name, value) = old.values(Tree::Accounts).next().unwrap().unwrap();
    assert!(new.keys.open(Tree::Accounts, &name, &value).is_err(), "it has a key of its own");
    drop((old, new));

    let record = restored.tokens().unwrap().swap_remove(3).0;
    let lineage = record.lineage;
    assert!(restored.is_unreconciled(lineage));
    assert_unreconciled(&restored, lineage);
    // BitGo has seen 60 of the 100 spent, and now allows 90.
    let limit = SpendingLimit { limit: Some(Amount::new(90)), spent: Amount::new(60) };
    restored.reconcile(lineage, &info_of([(tbtc(), limit)]), &LocalRules::default(), 1).unwrap();
    restored.reserve_alone(&lineage, &charge(30)).unwrap();
    assert!(restored.reserve_alone(&lineage, &charge(1)).is_err());
    drop(restored);
    let reopened = open(&path("restored")).unwrap();
    assert_eq!(used(&reopened, lineage), 90);
    // What is known is not begun anew.
    reopened
        .reconcile(
            lineage,
            &info_of([(tbtc(), SpendingLimit { spent: Amount::ZERO, ..limit })]),
            &LocalRules::default(),
            1,
        )
        .unwrap();
    assert_eq!(used(&reopened, lineage), 90);
}

#[test]
fn a_restore_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let store = busy(&path("vault"));
    store.back_up(&path("backup"), NOW).unwrap();
    let before = content(&store);
    let refused = restore(Opening::Whole, &place(&path("vault")), &path("backup")).map(drop);
    assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
    drop(store);
    for opening in [Opening::Whole, Opening::AcceptRollback] {
        let refused = restore(opening, &place(&path("vault")), &path("backup")).map(drop);
        assert!(matches!(refused, Err(StoreError::AlreadyExists { .. })), "{refused:?}");
    }
    assert_eq!(content(&open(&path("vault")).unwrap()), before);
}

/// The anchor outlived the vault: it tells whether the backup is the last that there was.
#[test]
fn a_restore_passes_the_anchor_of_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let anchored = |name: &str| place(&path(name)).anchor(&path("anchor"));
    let store = try_create(&anchored("vault")).unwrap();
    let lineage = add(&store, "desk");
    store.back_up(&path("backup"), NOW).unwrap();
    let at_backup = fs::read(path("anchor")).unwrap();
    store.reserve_alone(&lineage, &charge(90)).unwrap();
    drop(store);
    let refused = restore(Opening::Whole, &anchored("new"), &path("backup")).map(drop);
    let older = "the backup is older than the anchor";
    assert!(
        matches!(refused, Err(StoreError::RolledBack { what }) if what == older),
        "{refused:?}"
    );
    assert!(!path("new/header").exists());
    let later = fs::read(path("anchor")).unwrap();
    fs::write(path("anchor"), at_backup).unwrap();
    drop(restore(Opening::Whole, &anchored("new"), &path("backup")).unwrap());
    drop(Store::open(&anchored("new"), &passphrase(), &Environment::Test, NOW).unwrap());
    // Another vault's is not replaced, accepted or not.
    for opening in [Opening::Whole, Opening::AcceptRollback] {
        let refused = restore(opening, &anchored("newer"), &path("backup")).map(drop);
        assert!(matches!(refused, Err(StoreError::AnchorExists { .. })), "{refused:?}");
    }
    fs::write(path("anchor"), later).unwrap();
    let accepted = restore(Opening::AcceptRollback, &anchored("newest"), &path("backup")).unwrap();
    assert_unreconciled(&accepted, lineage);
}

#[test]
fn of_a_backup_that_is_damaged_no_vault_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    busy(&path("vault")).back_up(&path("backup"), NOW).unwrap();
    let whole = fs::read(path("backup")).unwrap();
    for at in [5, 100, 300, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(path("damaged"), damaged).unwrap();
        let refused = restore(Opening::Whole, &place(&path("new")), &path("damaged")).map(drop);
        assert!(matches!(refused, Err(StoreError::DamagedBackup { .. })), "{at}: {refused:?}");
        assert!(matches!(open(&path("new")).map(drop), Err(StoreError::NotFound { .. })));
    }
    let wrong = Passphrase::new("wrong");
    let refused = Store::restore(
        Opening::Whole,
        &place(&path("new")),
        &path("backup"),
        &wrong,
        kdf(),
        &Environment::Test,
        NOW,
    );
    assert!(matches!(refused.map(drop), Err(StoreError::WrongPassphrase)));
    let refused = Store::restore(
        Opening::Whole,
        &place(&path("new")),
        &path("backup"),
        &passphrase(),
        kdf(),
        &Environment::Prod,
        NOW,
    );
    assert!(matches!(refused.map(drop), Err(StoreError::OtherEnvironment { .. })));
    // What was cut short is in nobody's way.
    drop(restore(Opening::Whole, &place(&path("new")), &path("backup")).unwrap());
}

/// Four tokens, of which parts are removed; a backup from before. Answers the lineages.
pub(super) fn broken(dir: &Path, parts: &[(Tree, usize)]) -> (Vec<LineageId>, PathBuf) {
    let backup = dir.join("backup");
    let dir = dir.join("vault");
    let store = create(&dir);
    let lineages: Vec<_> = ["a", "b", "c", "d"].iter().map(|label| add(&store, label)).collect();
    let (mut record, sealed) = store.tokens().unwrap().swap_remove(0);
    let secret = store.open_secret(record.lineage, &sealed).unwrap();
    record.rules = LocalRules { raw_exposure: true, ..LocalRules::default() }.into();
    store.append_audit(AuditAction::ExposureAllowed, record.info.id, Some(&record), NOW).unwrap();
    let removed = add(&store, "removed since");
    let user = "user".to_owned();
    let mut gone = record.clone();
    (gone.lineage, gone.label) = (removed, Label::new("removed since").unwrap());
    let account = Account { user, ecdh_xprv: EcdhXprv::new("xprv") };
    store.remove_token(removed).unwrap();
    store.add_token(&gone, &secret, Some(&account)).unwrap();
    store.back_up(&backup, NOW).unwrap();
    store.remove_token(removed).unwrap();
    for lineage in &lineages {
        store.reserve_alone(lineage, &charge(10)).unwrap();
    }
    drop(store);
    edit(&dir, |db| parts.iter().for_each(|(tree, token)| strip(db, lineages[*token], *tree)));
    (lineages, dir)
}

/// Of one token the secret, of one what is known of it, and all of a third.
const PARTS: [(Tree, usize); 5] = [
    (Tree::Secrets, 0),
    (Tree::Tokens, 1),
    (Tree::Tokens, 2),
    (Tree::Secrets, 2),
    (Tree::Ledger, 2),
];

fn labels(labels: &[Label]) -> Vec<&str> {
    labels.iter().map(Label::as_str).collect()
}

#[test]
fn a_repair_keeps_what_is_intact_and_says_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (lineages, vault) = broken(dir.path(), &PARTS);
    assert!(matches!(open(&vault).map(drop), Err(StoreError::Damaged { .. })));
    let (store, told) = repair(&vault, None).unwrap();
    let told = told.unwrap();
    assert_eq!(labels(&told.lost), ["a", "c"]);
    assert_eq!(labels(&told.unknown), ["b"]);
    assert!(told.restored.is_empty() && told.is_unreconciled);
    assert!(store.damage().is_none());
    let tokens = store.tokens().unwrap();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].0.label.as_str(), "d");
    let orphans = store.orphans().unwrap();
    assert_eq!(orphans.len(), 1);
    assert_eq!((orphans[0].0, orphans[0].1.as_str()), (lineages[1], "b"));
    let secret = store.open_secret(lineages[1], &orphans[0].2).unwrap();
    assert_eq!(secret.token.expose(), TOKEN);
    assert_unreconciled(&store, lineages[3]);
    assert_eq!(used(&store, lineages[3]), 10);
    store.append_audit(AuditAction::Exposed, None, None, NOW).unwrap();
    assert_eq!(store.audit().unwrap().len(), 4);
    drop(store);
    assert_eq!(databases(&vault), ["db.1"]);
    drop(open(&vault).unwrap());
    // What was found is kept, as a vault.
    assert_eq!(told.kept_at, vault.join("damaged.0"));
    let kept = Store::open_as(
        Opening::Degraded,
        &place(&told.kept_at),
        &passphrase(),
        &Environment::Test,
        NOW,
    );
    assert_eq!(kept.unwrap().damage(), Some(&told.damage));
}

#[test]
fn a_repair_takes_from_a_backup_what_is_missing_and_nothing_that_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (lineages, vault) = broken(dir.path(), &PARTS);
    let (store, told) = repair(&vault, Some(&dir.path().join("backup"))).unwrap();
    let told = told.unwrap();
    assert_eq!(labels(&told.restored), ["a", "b", "c"]);
    assert!(told.lost.is_empty() && told.unknown.is_empty());
    assert!(told.is_unreconciled, "any of the ledgers may be an older one");
    let tokens = store.tokens().unwrap();
    let mut found: Vec<_> = tokens.iter().map(|(record, _)| record.label.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, ["a", "b", "c", "d"]);
    for (record, sealed) in &tokens {
        assert_eq!(store.open_secret(record.lineage, sealed).unwrap().token.expose(), TOKEN);
        assert!(!record.rules.raw_exposure, "rules come back strict");
    }
    for (lineage, spent) in lineages.iter().zip([10, 10, 0, 10]) {
        assert_eq!(used(&store, *lineage), spent, "c has the backup's ledger");
        assert_unreconciled(&store, *lineage);
    }
    drop(store);
    drop(open(&vault).unwrap());
}

#[test]
fn a_lost_ledger_comes_back_unreconciled() {
    let dir = tempfile::tempdir().unwrap();
    for backup in [false, true] {
        let dir = dir.path().join(backup.to_string());
        fs::create_dir(&dir).unwrap();
        let (lineages, vault) = broken(&dir, &[(Tree::Ledger, 2)]);
        let backup = backup.then(|| dir.join("backup"));
        let (store, told) = repair(&vault, backup.as_deref()).unwrap();
        assert!(told.unwrap().is_unreconciled, "one of them is missing: none is believed");
        assert_eq!(store.tokens().unwrap().len(), 4);
        lineages.iter().for_each(|lineage| assert_unreconciled(&store, *lineage));
        // It can be renewed all the same.
        let (record, sealed) = store.tokens().unwrap().swap_remove(0);
        let secret = store.open_secret(record.lineage, &sealed).unwrap();
        store.replace_token(&record, &secret, 1).unwrap();
    }
}

/// The audit log knows that a token was handed out, when its ledger does not any more.
#[test]
fn an_exposed_token_whose_ledger_is_lost_stays_exposed() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineages = ["exposed", "kept"].map(|label| add(&store, label));
    let (mut record, sealed) = store.tokens().unwrap().swap_remove(0);
    let secret = store.open_secret(record.lineage, &sealed).unwrap();
    record.info.id = TokenId::from_bytes([7; 16]);
    record.lineage = lineages[0];
    store.replace_token(&record, &secret, 1).unwrap();
    store.append_audit(AuditAction::Exposed, record.info.id, None, NOW).unwrap();
    store.exhaust(lineages[0], 1).unwrap();
    drop(store);
    edit(dir.path(), |db| lineages.iter().for_each(|lineage| strip(db, *lineage, Tree::Ledger)));
    let (store, _) = repair(dir.path(), None).unwrap();
    let limit = SpendingLimit { limit: Some(Amount::new(100)), spent: Amount::ZERO };
    for (lineage, spent) in lineages.iter().zip([100, 0]) {
        store.reconcile(*lineage, &info_of([(tbtc(), limit)]), &LocalRules::default(), 1).unwrap();
        assert_eq!(used(&store, *lineage), spent);
    }
}

#[test]
fn a_vault_that_lost_its_environment_is_repaired_by_who_names_it() {
    let (dir, backup_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (dir, backup) = (dir.path(), backup_dir.path().join("backup"));
    let store = create(dir);
    add(&store, "desk");
    store.back_up(&backup, NOW).unwrap();
    let name = store.disk.epoch().keys.name(Tree::Meta, &Key::binding());
    drop(store);
    edit(dir, |db| drop(db.remove([&[Tree::Meta as u8], &name[..]].concat()).unwrap()));
    let unnamed = |backup: Option<&Path>| {
        Store::repair(&place(dir), &passphrase(), None, backup, NOW).map(|(store, _)| store)
    };
    for opening in [Opening::Whole, Opening::Degraded] {
        let opened = Store::open_as(opening, &place(dir), &passphrase(), None, NOW);
        assert_eq!(opened.is_ok(), opening == Opening::Degraded);
        assert!(
            opened.is_ok_and(|store| store.environment().is_err()) || opening == Opening::Whole
        );
    }
    assert!(matches!(unnamed(None), Err(StoreError::NoEnvironment)));
    assert_eq!(databases(dir), ["db.0"], "nothing has changed");
    let mended = unnamed(Some(&backup)).unwrap();
    assert_eq!(mended.environment().unwrap(), Environment::Test, "the backup tells it");
}

#[test]
fn a_repair_of_what_is_whole_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (lineages, vault) = broken(dir.path(), &[]);
    let before = fs::read(vault.join(header::FILE)).unwrap();
    let (store, told) = repair(&vault, None).unwrap();
    assert_eq!(told, None);
    store.reserve_alone(&lineages[0], &charge(1)).unwrap();
    drop(store);
    let epoch = |bytes: &[u8]| Header::parse(bytes).unwrap().epoch;
    assert_eq!(epoch(&fs::read(vault.join(header::FILE)).unwrap()), epoch(&before));
}

#[test]
fn another_vaults_backup_mends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_, vault) = broken(dir.path(), &[(Tree::Tokens, 1)]);
    let other = dir.path().join("other");
    busy(&other).back_up(&dir.path().join("of another"), NOW).unwrap();
    let refused = repair(&vault, Some(&dir.path().join("of another"))).map(drop);
    assert!(matches!(refused, Err(StoreError::OtherBackup)), "{refused:?}");
    assert_eq!(databases(&vault), ["db.0"]);
    assert!(!vault.join("damaged.0").exists());
}

#[test]
fn a_repair_killed_at_any_step_is_done_again_or_done() {
    let dir = tempfile::tempdir().unwrap();
    let (_, vault) = broken(dir.path(), &[(Tree::Secrets, 0), (Tree::Tokens, 1)]);
    let (steps, copies) = std::sync::mpsc::channel();
    let from = vault.clone();
    super::super::disk::watch_next(move |step| steps.send((step, killed_copy(&from))).unwrap());
    let (store, _) = repair(&vault, None).unwrap();
    let expect = content(&store);
    drop(store);
    let mut seen = Vec::new();
    for (step, copy) in copies.try_iter() {
        seen.push(step);
        let copy = copy.path();
        let store = match seen.contains(&"header") {
            true => open(copy).unwrap(),
            false => {
                assert!(matches!(open(copy).map(drop), Err(StoreError::Damaged { .. })), "{step}");
                let (store, told) = repair(copy, None).unwrap();
                assert!(told.is_some(), "{step}");
                store
            }
        };
        let (tokens, spent, _) = content(&store);
        assert_eq!((&tokens, &spent), (&expect.0, &expect.1), "{step}");
        drop(store);
        assert_eq!(databases(copy), ["db.1"], "{step}");
    }
    assert_eq!(seen.len(), 7);
}

#[test]
fn the_doctor_tells_what_opening_would_say() {
    let dir = tempfile::tempdir().unwrap();
    let vault = dir.path().join("vault");
    let look = |passphrase: Option<&Passphrase>| Report::of(&place(&vault), passphrase, NOW);
    let fault = |report: &Report| report.faults.first().map(ToString::to_string);
    assert!(matches!(look(None).faults[..], [StoreError::NotFound { .. }]));
    let store = busy(&vault);
    let report = look(Some(&passphrase()));
    assert_eq!(report.holder.unwrap().pid, std::process::id());
    assert!(matches!(report.faults[..], [StoreError::InUse { .. }]));
    drop(store);
    let report = look(None);
    assert!(report.faults.is_empty() && report.contents.is_none() && report.leftovers.is_empty());
    assert_eq!(report.header.unwrap().epoch, 0);
    assert!(report.size_on_disk > 8192);
    let report = look(Some(&passphrase()));
    assert!(report.faults.is_empty(), "{:?}", fault(&report));
    let Contents { tokens, accounts, audit_entries, .. } = report.contents.unwrap();
    assert_eq!((tokens, accounts, audit_entries), (41, 1, 2));
    let wrong = look(Some(&Passphrase::new("wrong")));
    assert!(matches!(wrong.faults[..], [StoreError::WrongPassphrase]));

    fs::create_dir(vault.join("db.7")).unwrap();
    fs::write(vault.join("header.new"), b"").unwrap();
    assert_eq!(look(None).leftovers, ["db.7", "header.new"]);
    fs::remove_file(vault.join(anchor::FILE)).unwrap();
    for passphrase in [None, Some(&passphrase())] {
        assert!(matches!(look(passphrase).faults[..], [StoreError::NoAnchor { .. }]));
    }
    fs::write(vault.join(header::FILE), b"junk").unwrap();
    assert!(matches!(look(None).faults[..], [StoreError::DamagedHeader { .. }]));
}

/// The original may keep by now what was being minted when the copy was made.
#[test]
fn on_the_word_of_a_copy_no_token_is_looked_for_to_be_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let (store, backup) = (create(dir.path()), dir.path().join("backup"));
    let (planned, lineage) = (add(&store, "bot"), store.new_lineage().unwrap());
    let minted = |label: &str| Minted {
        label: label.into(),
        account: "u1".into(),
        asked_at: DateTime::UNIX_EPOCH,
    };
    store.intend(lineage, minted("new#ab")).unwrap();
    let (plan, retired) = ("{}".to_owned(), Vec::new());
    let (intent, orphans) = (Some(minted("bot#cd")), vec![minted("bot#ef")]);
    let reissue = Reissue { lineage: planned, plan, intent, retired, orphans };
    store.keep_reissue(&reissue).unwrap();
    store.back_up(&backup, DateTime::UNIX_EPOCH).unwrap();
    assert_eq!(store.unkept().unwrap().len(), 2);
    let restored = restore(Opening::Whole, &place(&dir.path().join("restored")), &backup).unwrap();
    assert_eq!(restored.unended().unwrap(), []);
    assert_eq!(restored.reissue(planned).unwrap().unwrap().plan, "{}");
}
