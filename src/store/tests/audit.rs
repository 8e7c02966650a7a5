//! The audit log over segments, kills, copies and prunings.

use super::copies::repair;
use super::head::edit;
use super::*;
use crate::store::committer::Writer;
use chrono::TimeDelta;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const ID: TokenId = TokenId::from_bytes([5; 16]);

fn at(seconds: i64) -> DateTime<Utc> {
    NOW + TimeDelta::seconds(seconds)
}

/// Appends so many entries, a second apart.
fn fill(store: &Store, entries: std::ops::Range<i64>) {
    for number in entries {
        store.append_audit(AuditAction::Exposed, ID, None, at(number)).unwrap();
    }
}

fn names(store: &Store, tree: Tree) -> usize {
    store.disk.epoch().values(tree).count()
}

fn lines(store: &Store) -> String {
    let mut lines = Vec::new();
    store.export_audit(None, None, &mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}

fn actions(store: &Store) -> Vec<(AuditAction, u64)> {
    store.audit().unwrap().iter().map(|entry| (entry.action, entry.count)).collect()
}

#[test]
fn a_segment_of_the_longest_entries_fits_in_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    for number in 0..192 {
        let coin = Coin::new(&format!("{number:0>100}")).unwrap();
        let charges = [Charge::withdrawal(coin, Amount::MAX)];
        store.note_signed(ID, &charges, [0xff; 16], at(number).timestamp_millis());
    }
    store.flush_audit(at(192), true).unwrap();
    assert_eq!((names(&store, Tree::Segments), names(&store, Tree::Audit)), (4, 0));
    assert_eq!(store.verify_audit().unwrap().entries, 192);
    // With so many coins they do not wait for their minute either.
    for number in 0..192 {
        let coin = Coin::new(&format!("{number:0>100}")).unwrap();
        store.note_signed(
            ID,
            &[Charge::withdrawal(coin, Amount::MAX)],
            [0xff; 16],
            at(300).timestamp_millis(),
        );
    }
    store.flush_audit(at(301), false).unwrap();
    assert_eq!(store.verify_audit().unwrap().entries, 384);
}

#[test]
fn full_segments_are_sealed_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    fill(&store, 0..600);
    assert_eq!((names(&store, Tree::Segments), names(&store, Tree::Audit)), (12, 24));
    let told = lines(&store);
    drop(store);
    let store = open(dir.path()).unwrap();
    fill(&store, 600..1030);
    assert_eq!((names(&store, Tree::Segments), names(&store, Tree::Audit)), (21, 22));
    assert!(lines(&store).starts_with(&told));
    let entries = store.audit().unwrap();
    assert!(entries.iter().enumerate().all(|(number, entry)| entry.number == number as u64
        && entry.at == at(number as i64)
        && entry.token_id == Some(ID)));
    let verified = store.verify_audit().unwrap();
    assert_eq!((verified.first, verified.entries), (0, 1030));
    assert_eq!(verify_audit_lines(lines(&store).as_bytes()).unwrap(), verified);
    let (told, all) = (store.audit_tail(4).unwrap(), lines(&store));
    assert_eq!(told, all.lines().skip(1026).collect::<Vec<_>>());
}

/// Takes nothing before it is told to.
struct Stuck {
    is_asked: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
    written: Vec<u8>,
}

impl io::Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Once it may go on, nobody is there to tell it again.
        let _ = self.is_asked.send(());
        let _ = self.go_on.recv();
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_is_stuck_holds_up_no_entry() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    fill(&store, 0..600);
    let (is_asked, asked) = mpsc::channel();
    let (go, go_on) = mpsc::channel();
    let mut stuck = Stuck { is_asked, go_on, written: Vec::new() };
    let (stuck, exported) = thread::scope(|scope| {
        let export = scope.spawn(|| {
            let exported = store.export_audit(None, None, &mut stuck);
            (stuck, exported)
        });
        asked.recv().unwrap();
        let (done, is_done) = mpsc::channel();
        let store = &store;
        scope.spawn(move || {
            // Segments are sealed and the data key is replaced meanwhile.
            fill(store, 600..700);
            store.note_signed(ID, &[], [1; 16], at(700).timestamp_millis());
            store.flush_audit(at(800), false).unwrap();
            store.rekey(at(801)).unwrap();
            let verified = store.verify_audit().unwrap().entries;
            done.send(verified).unwrap();
        });
        let verified = is_done.recv_timeout(Duration::from_secs(30));
        drop(go);
        let of_export = export.join().unwrap();
        assert_eq!(verified, Ok(702));
        of_export
    });
    let exported = exported.unwrap();
    assert_eq!((exported.first, exported.entries), (0, 600), "what there was when it began");
    assert_eq!(verify_audit_lines(&*stuck.written).unwrap(), exported);
    assert!(lines(&store).as_bytes().starts_with(&stuck.written));
}

#[test]
fn whatever_is_done_to_a_segment_verifying_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    fill(&store, 0..520);
    drop(store);
    let segment = |dir: &Path, change: &dyn Fn(&sled::Db, sled::IVec, sled::IVec)| {
        edit(dir, |db| {
            let (key, value) = db.scan_prefix([Tree::Segments as u8]).next().unwrap().unwrap();
            change(db, key, value);
        });
    };
    for how in ["removed", "altered", "swapped"] {
        let broken = killed_copy(dir.path());
        segment(broken.path(), &|db, key, value| {
            let mut altered = value.to_vec();
            altered[200] ^= 1;
            let other = db.scan_prefix([Tree::Segments as u8]).nth(1).unwrap().unwrap();
            match how {
                "removed" => drop(db.remove(key).unwrap()),
                "altered" => drop(db.insert(key, altered).unwrap()),
                _ => drop(db.insert(key, other.1).unwrap()),
            }
        });
        let store = open(broken.path()).unwrap();
        assert!(matches!(store.verify_audit(), Err(StoreError::Unreadable { .. })), "{how}");
        assert!(store.audit().is_err() && store.export_audit(None, None, &mut Vec::new()).is_err());
        // It keeps nobody from working, nor from sealing anew what is left.
        fill(&store, 520..530);
        store.rekey(at(530)).unwrap();
        assert!(store.verify_audit().is_err());
    }
}

#[test]
fn the_log_outlives_rekey_restore_and_repair() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = elsewhere.path().join("backup");
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    fill(&store, 0..300);
    store.committer.alone(Writer::rekey).unwrap();
    assert_eq!(store.verify_audit().unwrap().entries, 300);
    store.back_up(&backup, at(300)).unwrap();
    let told = lines(&store);
    drop(store);

    let copy = elsewhere.path().join("copy");
    let restored = Store::restore(
        Opening::Whole,
        &place(&copy),
        &backup,
        &passphrase(),
        kdf(),
        &Environment::Test,
        at(301),
    );
    let restored = restored.unwrap();
    assert_eq!(restored.verify_audit().unwrap().entries, 302, "and that it was restored");
    assert!(lines(&restored).starts_with(&told));

    edit_epoch(dir.path(), 1, |db| super::head::strip(db, lineage, Tree::Ledger));
    let (repaired, what) = repair(dir.path(), None).unwrap();
    assert!(what.is_some());
    assert_eq!(repaired.verify_audit().unwrap().entries, 302, "and that it was repaired");
    assert!(lines(&repaired).starts_with(&told));
}

fn edit_epoch(dir: &Path, epoch: u32, change: impl FnOnce(&sled::Db)) {
    let db = sled::Config::new().path(dir.join(format!("db.{epoch}"))).open().unwrap();
    change(&db);
    db.flush().unwrap();
}

#[test]
fn what_is_pruned_is_exported_and_the_rest_verifies() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| elsewhere.path().join(name);
    let store = create(dir.path());
    fill(&store, 0..800);
    let whole = lines(&store);
    let nothing = store.prune_audit(at(47), &path("none"), at(800)).unwrap();
    assert_eq!((nothing.entries, fs::read(path("none")).unwrap()), (0, Vec::new()));
    let pruned = store.prune_audit(at(600), &path("pruned"), at(800)).unwrap();
    assert_eq!((pruned.first, pruned.entries), (0, 576), "whole segments");
    let exported = fs::read_to_string(path("pruned")).unwrap();
    assert!(whole.starts_with(&exported));
    assert_eq!(verify_audit_lines(exported.as_bytes()).unwrap(), pruned);
    assert!(store.prune_audit(at(600), &path("pruned"), at(801)).is_err(), "nothing is replaced");

    drop(store);
    let store = open(dir.path()).unwrap();
    let rest = store.verify_audit().unwrap();
    assert_eq!((rest.first, rest.entries), (576, 225), "and that it was pruned");
    assert_eq!(rest.before, pruned.last);
    assert!((exported + &lines(&store)).starts_with(&whole));
    assert_eq!(names(&store, Tree::Segments), 4);
    fill(&store, 801..1100);
    store.rekey(at(1100)).unwrap();
    let again = store.prune_audit(at(5000), &path("again"), at(1101)).unwrap();
    assert_eq!((again.first, again.before), (576, pruned.last));
    assert_eq!(store.verify_audit().unwrap().before, again.last);
    drop(store);
    open(dir.path()).unwrap().verify_audit().unwrap();
}

#[test]
fn exports_hold_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    fill(&store, 0..300);
    for (from, to, expect) in [
        (None, None, (0, 300)),
        (Some(10), Some(270), (10, 260)),
        (Some(299), None, (299, 1)),
        (None, Some(0), (300, 0)),
        (Some(400), None, (300, 0)),
    ] {
        let mut lines = Vec::new();
        let told = store.export_audit(from.map(at), to.map(at), &mut lines).unwrap();
        assert_eq!((told.first, told.entries), expect, "{from:?} to {to:?}");
        let verified = verify_audit_lines(&lines[..]).unwrap();
        assert!(expect.1 == 0 && verified.entries == 0 || verified == told);
    }
}

#[test]
fn what_moved_money_outlives_a_kill_within_its_minute() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    store.reserve_alone(&lineage, &charge(7)).unwrap();
    store.note_signed(ID, &charge(7), [1; 16], at(0).timestamp_millis());
    store.note_signed(ID, &[], [2; 16], at(1).timestamp_millis());
    store.note_denied(ID, Rule::Limit, at(1));
    store.flush_audit(at(1), false).unwrap();
    store.note_signed(ID, &charge(8), [3; 16], at(2).timestamp_millis());
    store.flush_audit(at(2), false).unwrap();
    assert_eq!(actions(&store), [], "its minute is not over");
    assert_eq!(names(&store, Tree::Audit), 1, "one record, written over");
    let killed = killed_copy(dir.path());
    store.flush_audit(at(60), false).unwrap();
    let whole = [(AuditAction::Signed, 2), (AuditAction::Viewed, 1), (AuditAction::Denied, 1)];
    assert_eq!(actions(&store), whole);
    assert_eq!(names(&store, Tree::Audit), 3, "nothing stands beside the chain any more");
    drop(store);

    let killed = killed.path();
    let store = open(killed).unwrap();
    assert_eq!(actions(&store)[..3], whole);
    assert_eq!(actions(&store)[3..], [(AuditAction::Gap, 1)]);
    let entry = &store.audit().unwrap()[0];
    assert_eq!((entry.amount, entry.coin.clone()), (Some(Amount::new(15)), Some(tbtc())));
    assert_eq!(entry.first_request.as_deref(), Some("01".repeat(16).as_str()));
    assert_eq!(entry.last_request.as_deref(), Some("03".repeat(16).as_str()));
    assert_eq!((entry.since, entry.at), (at(0), at(2)));
    assert_eq!(store.audit().unwrap()[3].token_id, Some(ID), "whose requests may be missing");
    store.verify_audit().unwrap();
}

#[test]
fn a_clean_close_leaves_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let lineage = add(&store, "desk");
    store.reserve_alone(&lineage, &charge(7)).unwrap();
    store.note_signed(ID, &charge(7), [1; 16], at(0).timestamp_millis());
    store.settle_latest(&lineage, &charge(7), Outcome::Accepted);
    store.flush_audit(at(1), true).unwrap();
    drop(store);
    assert_eq!(actions(&open(dir.path()).unwrap()), [(AuditAction::Signed, 1)]);
}

#[test]
fn a_key_that_is_replaced_by_itself_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let near_its_end = |writer: &mut Writer| {
        let granted = SEALS_REKEY;
        writer.seals = super::super::committer::Seals::new(granted, granted);
        Ok(())
    };
    store.committer.alone(near_its_end).unwrap();
    add(&store, "desk");
    assert_eq!(store.disk.epoch().number, 1);
    store.flush_audit(at(1), false).unwrap();
    assert_eq!(actions(&store), [(AuditAction::Rekeyed, 1)]);
}

#[test]
fn what_cannot_be_written_waits() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    store.note_signed(ID, &charge(7), [1; 16], at(0).timestamp_millis());
    let near_its_end = |writer: &mut Writer| {
        writer.seals = super::super::committer::Seals::new(SEALS_MAX, SEALS_MAX);
        Ok(())
    };
    let (path, kept) = (dir.path().join("db.1"), dir.path().join("db.0"));
    assert!(kept.exists());
    // A rekey is refused while something stands in its place.
    fs::write(&path, "in the way").unwrap();
    store.committer.alone(near_its_end).unwrap();
    assert!(matches!(store.flush_audit(at(61), false), Err(StoreError::SealsExhausted)));
    assert!(store.flush_audit(at(62), false).is_err());
    fs::remove_file(&path).unwrap();
    store.flush_audit(at(63), false).unwrap();
    assert_eq!(actions(&store)[0], (AuditAction::Signed, 1));
}

/// Half a million notes, two hundred thousand entries: what five months of a token come to.
#[test]
#[ignore = "it takes a minute, and shows what many entries cost"]
fn many_entries_stay_small_and_open_as_soon() {
    let clock = crate::clock::SystemClock::new();
    let timed = |work: &mut dyn FnMut()| {
        let start = crate::clock::Clock::monotonic(&clock);
        work();
        crate::clock::Clock::monotonic(&clock) - start
    };
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    let mut entries = 0_i64;
    for upto in [48, 100_000, 500_000] {
        let store = open(dir.path()).unwrap();
        while entries < upto {
            for number in entries..(entries + 2048).min(upto) {
                let id = TokenId::from_bytes([u8::try_from(number % 200).unwrap(); 16]);
                store.note_signed(id, &charge(7), [1; 16], at(number).timestamp_millis());
                if number % 480 == 479 {
                    store.flush_audit(at(number), true).unwrap();
                }
            }
            entries = (entries + 2048).min(upto);
        }
        store.flush_audit(at(upto), true).unwrap();
        let count = store.disk.epoch().values(Tree::Segments).count();
        drop(store);
        let opened = timed(&mut || drop(open(dir.path()).unwrap()));
        let opened = opened.min(timed(&mut || drop(open(dir.path()).unwrap())));
        let store = open(dir.path()).unwrap();
        let verified = timed(&mut || assert!(store.verify_audit().is_ok()));
        let size = |dir: &Path| -> u64 {
            let files = fs::read_dir(dir).unwrap();
            files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
        };
        let database = dir.path().join("db.0");
        let size = size(&database) + size(&database.join("blobs"));
        eprintln!(
            "{upto} entries, {count} segments: {size} bytes, opened in {opened:?}, verified in {verified:?}"
        );
    }
}
