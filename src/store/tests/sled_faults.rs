//! What sled is known to do, done to it, and what the store makes of it. The rest of the table is
//! in `tests/place.rs` (a snapshot cut short), `tests/it/crash.rs` (writes that were not flushed: a
//! commit is), `tests/it/syscalls` (no fsync in flush), `tests/it/full_disk.rs` and
//! `tests/it/sled_faults.rs`.

use super::super::{Name, reserve};
use super::place::set_mode;
use super::*;
use crate::crypto::RECORD_MAX;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

const SEGMENT: usize = 512 << 10;

/// A record of `len` bytes in all, in a tree whose records opening does not read.
fn record(number: u8, len: usize) -> Result<Write, StoreError> {
    // bincode writes the length first.
    Write::put(Tree::Accounts, Key::Id([number; 16]), &vec![number; len - 8])
}

/// All that the trees hold, sealed.
fn held(store: &Store) -> BTreeMap<(&'static str, Name), Vec<u8>> {
    let epoch = store.disk.epoch();
    let records = |tree: Tree| {
        epoch.values(tree).map(move |entry| {
            let (name, value) = entry.unwrap();
            ((tree.name(), name), value.to_vec())
        })
    };
    Tree::KEPT.into_iter().flat_map(records).collect()
}

/// A vault whose log was rewritten several times over and has more than two segments, closed;
/// and what it held.
fn worked(dir: &Path) -> BTreeMap<(&'static str, Name), Vec<u8>> {
    let store = create(dir);
    let lineage = add(&store, "desk");
    for round in 0..12 {
        for number in 0..12 {
            store.commit(vec![record(number, 20_000 + round).unwrap()]).unwrap();
        }
        store.reserve_alone(&lineage, &charge(1)).unwrap();
    }
    drop(store);
    // The first opening writes a snapshot of what was there.
    let store = open(dir).unwrap();
    let held = held(&store);
    drop(store);
    assert!(fs::metadata(dir.join("db.0/db")).unwrap().len() >= 2 * SEGMENT as u64);
    assert_eq!(snapshots(dir).len(), 1);
    held
}

fn snapshots(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("db.0")).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("snap."))
        .map(|entry| entry.path())
        .collect()
}

/// What sled makes of a database by itself.
fn bare(dir: &Path) -> std::thread::Result<sled::Result<sled::Db>> {
    let config = sled::Config::new().path(dir.join("db.0")).flush_every_ms(None);
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    if !matches!(opened, Ok(Ok(_))) {
        // What is left of it may hold the lock for a while, on a busy machine for longer than a
        // vault waits for that.
        let log = fs::File::open(dir.join("db.0/db")).unwrap();
        (0..1000).find(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            log.try_lock().is_ok()
        });
    }
    opened
}

/// Pages of more than 128 KiB go to files of their own. A record is too small for that, whatever
/// is in it; many that are large are not (`tests/it/syscalls` shows that those files are synced).
#[test]
fn no_record_is_large_enough_for_a_blob_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = || fs::read_dir(dir.path().join("db.0/blobs")).unwrap().count();
    let store = create(dir.path());
    assert!(matches!(record(0, RECORD_MAX + 1), Err(StoreError::TooLarge)));
    for _ in 0..100 {
        store.commit(vec![record(0, RECORD_MAX).unwrap()]).unwrap();
        assert_eq!(blobs(), 0);
    }
    drop(store);
    drop(open(dir.path()).unwrap());
    assert_eq!(blobs(), 0);
}

/// Were there none, nothing would be shown by syncing them.
#[test]
fn pages_of_large_records_come_back_from_their_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    let blobs = || fs::read_dir(dir.path().join("db.0/blobs")).unwrap().count();
    for round in 0..3 {
        for number in 0..24 {
            store.commit(vec![record(number, 16_000 + round).unwrap()]).unwrap();
        }
    }
    assert!(blobs() > 0);
    let before = held(&store);
    let killed = killed_copy(dir.path());
    drop(store);
    for dir in [killed.path(), dir.path()] {
        assert!(held(&open(dir).unwrap()) == before);
    }
}

#[test]
fn a_snapshot_repeats_what_the_log_holds() {
    let dir = tempfile::tempdir().unwrap();
    let before = worked(dir.path());
    for snapshot in snapshots(dir.path()) {
        fs::remove_file(snapshot).unwrap();
    }
    assert!(held(&open(dir.path()).unwrap()) == before);
}

#[test]
fn a_broken_snapshot_does_not_keep_a_vault_shut() {
    let dir = tempfile::tempdir().unwrap();
    let before = worked(dir.path());
    let aside = dir.path().join("db.0.aside");
    let last = dir.path().join("db.0/snap.7FFFFFFFFFFFFFFF");
    type Break<'b> = &'b dyn Fn(&Path);
    let flip: Break<'_> = &|snapshot| {
        let mut bytes = fs::read(snapshot).unwrap();
        bytes[20] ^= 1;
        fs::write(snapshot, bytes).unwrap();
    };
    let cut: Break<'_> = &|snapshot| {
        let bytes = fs::read(snapshot).unwrap();
        fs::write(snapshot, &bytes[..bytes.len() / 2]).unwrap();
    };
    let empty: Break<'_> = &|snapshot| fs::write(snapshot, []).unwrap();
    let junk: Break<'_> = &|_| fs::write(&last, [0xa5; 300]).unwrap();
    for damage in [flip, cut, empty, junk] {
        damage(&snapshots(dir.path())[0]);
        assert!(bare(dir.path()).unwrap().is_err(), "sled opens it by itself");
        // What a kill left of a copy is in nobody's way.
        let unfinished = dir.path().join("db.0.aside.new");
        fs::create_dir(&unfinished).unwrap();
        fs::write(unfinished.join("db"), b"half").unwrap();
        let store = open(dir.path()).unwrap();
        assert!(held(&store) == before);
        assert!(
            !aside.exists() && !unfinished.exists(),
            "the copy is gone when nothing is missing"
        );
        drop(store);
        drop(open(dir.path()).unwrap());
        assert!(!snapshots(dir.path()).is_empty(), "sled has written another");
    }
}

/// The settings are broken too, so that it does not open without its snapshot either.
#[test]
fn what_opens_neither_with_nor_without_a_snapshot_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let before = worked(dir.path());
    let (database, aside) = (dir.path().join("db.0"), dir.path().join("db.0.aside"));
    let (conf, snapshot) = (database.join("conf"), snapshots(dir.path()).remove(0));
    let (settings, whole) = (fs::read(&conf).unwrap(), fs::read(&snapshot).unwrap());
    let mut broken = settings.clone();
    broken[14] ^= 1;
    fs::write(&conf, &broken).unwrap();
    fs::write(&snapshot, &whole[1..]).unwrap();
    let log = fs::read(database.join("db")).unwrap();
    for _ in 0..2 {
        let refused = open(dir.path()).map(drop);
        assert!(matches!(refused, Err(StoreError::DamagedDatabase { .. })), "{refused:?}");
        let kept = aside.join(snapshot.file_name().unwrap());
        assert!(fs::read(kept).unwrap() == whole[1..], "the snapshot is in the copy");
        assert!(fs::read(aside.join("db")).unwrap() == log, "and so is the log");
        assert_eq!(fs::read(aside.join("conf")).unwrap(), broken);
    }
    fs::write(&conf, settings).unwrap();
    assert!(held(&open(dir.path()).unwrap()) == before);
    assert!(!aside.exists());
}

#[test]
fn damaged_settings_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path()));
    let conf = dir.path().join("db.0/conf");
    let whole = fs::read(&conf).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&conf, flipped).unwrap();
        match open(dir.path()).map(drop) {
            Err(StoreError::DamagedDatabase { .. }) => assert!(at < whole.len() - 4, "byte {at}"),
            // sled does not insist on the checksum: the settings are what they were.
            other => assert!(other.is_ok() && at >= whole.len() - 4, "byte {at}: {other:?}"),
        }
    }
}

/// sled panics where the log ends before the segment that its snapshot calls the last: `index out
/// of bounds: the len is 2 but the index is 2`, at most of these lengths.
#[test]
fn a_panic_of_sleds_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    for number in 0..200 {
        store.commit(vec![record(number, 7_000).unwrap()]).unwrap();
    }
    drop(store);
    drop(open(dir.path()).unwrap());
    let mut panicked = 0;
    for len in [10, 1_000, 50_000, 100_000, 300_000, 520_000, 1_000_000, 1_040_000, 1_100_000] {
        let cut = killed_copy(dir.path());
        let log = fs::File::options().write(true).open(cut.path().join("db.0/db")).unwrap();
        log.set_len(len).unwrap();
        let alone = killed_copy(cut.path());
        let panics = bare(alone.path()).is_err();
        panicked += u32::from(panics);
        set_mode(cut.path(), 0o700);
        // Without its snapshot sled takes what is left of the log for all of it: the head does not.
        match open(cut.path()).map(drop) {
            Err(
                StoreError::DamagedDatabase { .. }
                | StoreError::Damaged { .. }
                | StoreError::RolledBack { .. },
            ) => assert!(!panics || cut.path().join("db.0.aside").exists(), "{len}"),
            other => panic!("{len}: {other:?}"),
        }
    }
    assert!(panicked > 0, "sled does not panic any more");
    // This process goes on with other vaults.
    open(dir.path()).unwrap();
}

/// Where sled's lock outlives the process that held it, opening tries again.
#[cfg(target_os = "linux")]
mod lock_that_lingers {
    use super::*;
    use rustix::fs::{FlockOperation, flock, inotify};
    use std::mem::MaybeUninit;
    use std::thread;

    /// sled's lock, held by another open file.
    fn lingering(dir: &Path) -> fs::File {
        let log = fs::File::open(dir.join("db.0/db")).unwrap();
        flock(&log, FlockOperation::NonBlockingLockExclusive).unwrap();
        log
    }

    #[test]
    fn it_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        drop(create(dir.path()));
        let held = lingering(dir.path());
        // sled opens its log to write, and closes it when it cannot lock it.
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        let log = dir.path().join("db.0/db");
        inotify::add_watch(&watch, &log, inotify::WatchFlags::CLOSE_WRITE).unwrap();
        thread::scope(|scope| {
            let opened = scope.spawn(|| {
                let opened = open(dir.path());
                // Who gave up at once is heard as well.
                drop(fs::File::options().write(true).open(&log).unwrap());
                opened
            });
            let mut buffer = [MaybeUninit::uninit(); 512];
            let mut refusals = inotify::Reader::new(&watch, &mut buffer);
            for _ in 0..2 {
                refusals.next().unwrap();
            }
            drop(held);
            opened.join().unwrap().unwrap();
        });
    }

    #[test]
    fn it_is_not_waited_for_without_end() {
        let dir = tempfile::tempdir().unwrap();
        drop(create(dir.path()));
        let _held = lingering(dir.path());
        let refused = open(dir.path()).map(drop);
        assert!(matches!(refused, Err(StoreError::InUse { holder: None, .. })), "{refused:?}");
    }
}

/// A vault that gave its reserve up has it back once there is room.
#[test]
fn the_reserve_is_made_again_at_opening() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("vault");
    drop(create(&dir));
    let file = dir.join(reserve::FILE);
    let whole = fs::metadata(&file).unwrap().len();
    fs::remove_file(&file).unwrap();
    let store = open(&dir).unwrap();
    let lineage = add(&store, "desk");
    store.reserve_alone(&lineage, &charge(7)).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), whole);
    drop(store);
    set_mode(&file, 0o606);
    assert!(matches!(open(&dir).map(drop), Err(StoreError::UnsafeDirectory { .. })));
    set_mode(&file, 0o600);
    assert_eq!(used(&open(&dir).unwrap(), lineage), 7);
    let again = try_create(&place(&dir)).map(drop);
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })));
}
