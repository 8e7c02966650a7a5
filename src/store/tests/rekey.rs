//! Another data key: nothing is lost on the way, wherever it ends, and the old key opens nothing.

use super::super::anchor;
use super::super::committer::Writer;
use super::super::{Header, SEALS_MAX, SEALS_REKEY, disk, header};
use super::*;
use std::sync::mpsc;

/// All that a vault keeps, told in a form to compare; its audit log without the rekeys.
pub(super) fn content(store: &Store) -> (Vec<String>, Vec<u128>, usize) {
    let mut tokens = Vec::new();
    let mut spent = Vec::new();
    for (record, sealed) in store.tokens().unwrap() {
        let secret = store.open_secret(record.lineage, &sealed).unwrap();
        tokens.push(format!("{record:?} {}", secret.token.expose()));
        spent.push(used(store, record.lineage));
    }
    let audit = store.audit().unwrap();
    let others = audit.iter().filter(|entry| entry.1 != AuditAction::Rekeyed).count();
    (tokens, spent, others)
}

/// A vault with tokens, spends, an account and an audit log.
pub(super) fn busy(dir: &Path) -> Store {
    let store = create(dir);
    for number in 0..40 {
        let lineage = add(&store, &format!("desk {number}"));
        store.reserve_alone(&lineage, &charge(number)).unwrap();
    }
    let (mut record, sealed) = store.tokens().unwrap().remove(0);
    let secret = store.open_secret(record.lineage, &sealed).unwrap();
    record.lineage = store.new_lineage().unwrap();
    let user = "5bd81700ae4b7d8a4f0e7e1d2a2ad0c1".to_owned();
    let account = Account { user, ecdh_xprv: crate::secret::EcdhXprv::new("xprv") };
    store.add_token(&record, &secret, Some(&account)).unwrap();
    for action in [AuditAction::ExposureAllowed, AuditAction::Exposed] {
        store.append_audit(action, record.info.id, None, NOW).unwrap();
    }
    store
}

pub(super) fn databases(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("db.")).collect();
    names.sort();
    names
}

#[test]
fn all_that_was_kept_is_kept_under_another_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = busy(dir.path());
    let before = content(&store);
    let sealed = store.tokens().unwrap().remove(0);
    let old_header = Header::read(dir.path()).unwrap();
    for epoch in 1..=3 {
        store.rekey(NOW).unwrap();
        assert_eq!(content(&store), before);
        assert_eq!(databases(dir.path()), [format!("db.{epoch}")]);
        let header = Header::read(dir.path()).unwrap();
        assert_eq!((header.epoch, header.vault_id), (epoch, old_header.vault_id));
        let user = "5bd81700ae4b7d8a4f0e7e1d2a2ad0c1";
        assert_eq!(store.account(user).unwrap().unwrap().ecdh_xprv.expose(), "xprv");
        // A token that was held through it opens as before, and the vault goes on.
        let secret = store.open_secret(sealed.0.lineage, &sealed.1).unwrap();
        assert_eq!(secret.token.expose(), TOKEN);
        store.renew_budget(sealed.0.lineage).unwrap();
        let killed = killed_copy(dir.path());
        assert_eq!(content(&open(killed.path()).unwrap()), before, "epoch {epoch}");
    }
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(content(&store), before);
    assert_eq!(mode_of(&dir.path().join("db.3/db")), 0o600);
    drop(store);
    // What was sealed before opens nowhere: the key is not in the header any more.
    let header = fs::read(dir.path().join(header::FILE)).unwrap();
    assert_eq!(header.len(), old_header.to_bytes().len(), "one wrapped key");
}

fn mode_of(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What the disk holds at each step is what a kill there leaves.
#[test]
fn a_rekey_killed_at_any_step_is_undone_or_finished() {
    let dir = tempfile::tempdir().unwrap();
    drop(busy(dir.path()));
    let (steps, copies) = mpsc::channel();
    let path = dir.path().to_owned();
    disk::watch_next(move |step| {
        if step != "granted" {
            steps.send((step, killed_copy(&path))).unwrap();
        }
    });
    let store = open(dir.path()).unwrap();
    store.append_audit(AuditAction::Rekeyed, None, None, NOW).unwrap();
    let before = content(&store);
    store.committer.alone(Writer::rekey).unwrap();
    drop(store);
    let mut seen = Vec::new();
    for (step, copy) in copies.try_iter() {
        seen.push(step);
        let is_over = seen.contains(&"header");
        for _ in 0..2 {
            let store = open(copy.path()).unwrap();
            assert_eq!(content(&store), before, "{step}");
            let epoch = u32::from(is_over);
            assert_eq!(databases(copy.path()), [format!("db.{epoch}")], "{step}");
            let header = Header::read(copy.path()).unwrap();
            assert_eq!(header.epoch, epoch, "{step}");
            let lineage = store.tokens().unwrap()[0].0.lineage;
            store.renew_budget(lineage).unwrap();
        }
        // It can be done again from there.
        let store = open(copy.path()).unwrap();
        store.rekey(NOW).unwrap();
        assert_eq!(content(&store), before, "{step}");
    }
    assert_eq!(seen, ["begun", "building", "built", "header", "anchor", "one key", "removed"]);
}

/// Nothing is removed on the word of a header that the anchor does not know.
#[test]
fn an_old_header_does_not_remove_the_new_database() {
    let dir = tempfile::tempdir().unwrap();
    let store = busy(dir.path());
    let old = killed_copy(dir.path());
    store.rekey(NOW).unwrap();
    drop(store);
    let new = fs::read(dir.path().join(header::FILE)).unwrap();
    fs::copy(old.path().join(header::FILE), dir.path().join(header::FILE)).unwrap();
    assert!(matches!(open(dir.path()).map(drop), Err(StoreError::DamagedDatabase { .. })));
    fs::create_dir(dir.path().join("db.0")).unwrap();
    copy(&old.path().join("db.0"), &dir.path().join("db.0"));
    let refused = open(dir.path()).map(drop);
    assert!(matches!(refused, Err(StoreError::DamagedAnchor { .. })), "{refused:?}");
    assert_eq!(databases(dir.path()), ["db.0", "db.1"]);
    fs::write(dir.path().join(header::FILE), new).unwrap();
    drop(open(dir.path()).unwrap());
    assert_eq!(databases(dir.path()), ["db.1"]);
    assert!(dir.path().join(anchor::FILE).exists());
}

#[test]
fn a_key_near_its_end_is_replaced_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = busy(dir.path());
    let before = content(&store);
    let lineage = store.tokens().unwrap()[0].0.lineage;
    let near_its_end = |writer: &mut Writer| {
        writer.seals = super::super::committer::Seals::new(SEALS_REKEY, SEALS_REKEY);
        Ok(())
    };
    store.committer.alone(near_its_end).unwrap();
    store.renew_budget(lineage).unwrap();
    assert_eq!(Header::read(dir.path()).unwrap().epoch, 1);
    assert_eq!(content(&store), before);
    let used = store.committer.alone(|writer| Ok(writer.seals.used)).unwrap();
    assert!(used < 200, "{used} seals of the new key are used");
    drop(store);
    assert_eq!(content(&open(dir.path()).unwrap()), before);
}

#[test]
fn a_key_that_cannot_be_replaced_ends_before_it_is_unsafe() {
    let dir = tempfile::tempdir().unwrap();
    let store = busy(dir.path());
    let lineage = store.tokens().unwrap()[0].0.lineage;
    // A file where the next database would be.
    fs::write(dir.path().join("db.1"), b"").unwrap();
    let use_up = |used| {
        move |writer: &mut Writer| {
            writer.seals = super::super::committer::Seals::new(used, used);
            Ok(())
        }
    };
    store.committer.alone(use_up(SEALS_REKEY)).unwrap();
    store.renew_budget(lineage).unwrap();
    store.committer.alone(use_up(SEALS_MAX - 1)).unwrap();
    let refused = store.renew_budget(lineage);
    assert!(matches!(refused, Err(LedgerError::Store(StoreError::SealsExhausted))), "{refused:?}");
    fs::remove_file(dir.path().join("db.1")).unwrap();
    store.renew_budget(lineage).unwrap();
    assert_eq!(Header::read(dir.path()).unwrap().epoch, 1);
}

/// A record that is not the one written is not carried over as if it were.
#[test]
fn a_rekey_copies_what_was_written_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = busy(dir.path());
    let epoch = store.disk.epoch();
    let (name, older) = epoch.values(Tree::Tokens).next().unwrap().unwrap();
    let lineage = LineageId::from_bytes(name);
    store.reserve_alone(&lineage, &charge(1)).unwrap();
    let newer = epoch.get(Tree::Tokens, &name).unwrap().unwrap();
    let put = |value: &[u8]| {
        let value = Some(value.to_vec());
        epoch.write(&[super::super::database::Change { tree: Tree::Tokens, name, value }]).unwrap();
    };
    put(&older);
    let refused = store.rekey(NOW);
    assert!(matches!(refused, Err(StoreError::Unreadable { tree: "tokens", .. })), "{refused:?}");
    assert_eq!(databases(dir.path()), ["db.0"]);
    put(&newer);
    store.reserve_alone(&lineage, &charge(1)).unwrap();
    drop(epoch);
    store.rekey(NOW).unwrap();
}
