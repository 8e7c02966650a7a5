//! What a user waits for: a token read from the vault, a durable write, such as an allotment is.
//! Beside each the least that could do it: sled and AES-GCM without the vault, one block of 4 KiB
//! written and synced.
//!
//! The disk is the one that holds the directory for temporary files. `benches/peers` measures the
//! same with the sides in turn, which a busy disk does not spoil.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]
#![expect(clippy::disallowed_methods, reason = "it measures time that has passed")]

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use bitgo_vault::Passphrase;
use bitgo_vault::test_util::{ManyTokens, user};
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TOKENS: usize = 1000;
const WRITERS: usize = 32;
const BLOCK: usize = 4096;
/// Bytes of the two records that are read, before they are sealed: token with extension key;
/// account with its key.
const RECORDS: [usize; 2] = [136, 159];
/// As long as a record's own associated data.
const AAD: [u8; 48] = [7; 48];
const KEY: [u8; 32] = [3; 32];
const NONCE: [u8; 12] = [5; 12];

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery staple")
}

/// A store with an account to each token, in `vault` below the directory; opened anew, as one is.
fn store_of(tokens: usize) -> (TempDir, ManyTokens) {
    let dir = tempfile::tempdir().unwrap();
    let vault = dir.path().join("vault");
    ManyTokens::create(&vault, &passphrase()).unwrap().add(tokens, 1).unwrap();
    let store = ManyTokens::open(&vault, &passphrase()).unwrap();
    (dir, store)
}

/// All numbers below `n` once, in an order that no cache foresees: 7919 shares no divisor with `n`.
fn scattered(n: usize) -> impl Iterator<Item = usize> {
    (0..n).map(move |i| i * 7919 % n).cycle()
}

/// The records of a store, sealed by the bare cipher and kept by sled as the store has it.
struct Floor {
    tree: sled::Tree,
    cipher: Aes256Gcm,
    names: Vec<[u8; 16]>,
    _dir: TempDir,
}

impl Floor {
    fn of(records: usize, len: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let config = sled::Config::new().path(dir.path()).cache_capacity(8 << 20);
            let config = config.flush_every_ms(None).mode(sled::Mode::HighThroughput);
            // sled's own lock may outlive its drop by a moment.
            let opened = (0..40).find_map(|_| match config.open() {
                Err(sled::Error::Io(_)) => {
                    thread::sleep(Duration::from_millis(50));
                    None
                }
                opened => Some(opened),
            });
            opened.unwrap().unwrap().open_tree("records").unwrap()
        };
        let tree = open();
        let cipher = Aes256Gcm::new(&KEY.into());
        let names: Vec<[u8; 16]> = (0..records)
            .map(|_| {
                let mut name = [0; 16];
                getrandom::fill(&mut name).unwrap();
                name
            })
            .collect();
        for name in &names {
            let payload = Payload { msg: &vec![0x5a; len], aad: &AAD };
            tree.insert(name, cipher.encrypt(&Nonce::from(NONCE), payload).unwrap()).unwrap();
        }
        tree.flush().unwrap();
        drop(tree);
        Self { tree: open(), cipher, names, _dir: dir }
    }

    fn read(&self, i: usize) -> Vec<u8> {
        let sealed = self.tree.get(self.names[i]).unwrap().unwrap();
        let payload = Payload { msg: &sealed, aad: &AAD };
        self.cipher.decrypt(&Nonce::from(NONCE), payload).unwrap()
    }
}

fn read(c: &mut Criterion) {
    let (_dir, store) = store_of(TOKENS);
    let users: Vec<String> = (0..TOKENS).map(user).collect();
    let floors = RECORDS.map(|len| Floor::of(TOKENS, len));
    let mut group = c.benchmark_group("read one record of 1000");
    let floor = |group: &mut BenchmarkGroup<'_, WallTime>, value: &str, floor: &Floor| {
        let mut at = scattered(TOKENS);
        group.bench_function(BenchmarkId::new("sled and aes-gcm", value), |b| {
            b.iter(|| floor.read(at.next().unwrap()));
        });
    };
    floor(&mut group, "a token, sealed in memory", &floors[0]);
    let mut at = scattered(TOKENS);
    group.bench_function(BenchmarkId::from_parameter("a token, sealed in memory"), |b| {
        b.iter(|| store.read(at.next().unwrap()).unwrap());
    });
    floor(&mut group, "an account, from sled", &floors[1]);
    group.bench_function(BenchmarkId::from_parameter("an account, from sled"), |b| {
        b.iter(|| store.read_account(&users[at.next().unwrap()]).unwrap());
    });
    group.finish();
}

/// A block that is overwritten in place and synced.
struct Block(File);

impl Block {
    fn make(dir: &Path) -> Self {
        let file = File::create(dir.join("block")).unwrap();
        file.write_all_at(&[0; BLOCK], 0).unwrap();
        file.sync_all().unwrap();
        Self(file)
    }

    fn write(&self, byte: u8) {
        self.0.write_all_at(&[byte; BLOCK], 0).unwrap();
        self.0.sync_data().unwrap();
    }
}

fn write(c: &mut Criterion) {
    let (dir, store) = store_of(TOKENS);
    let block = Block::make(dir.path());
    let mut group = c.benchmark_group("write durably");
    group.sampling_mode(SamplingMode::Flat);
    // A shared disk drifts from one second to the next: floor and vault follow each other closely.
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(3));
    let floor = |group: &mut BenchmarkGroup<'_, WallTime>, value: &str| {
        group.bench_function(BenchmarkId::new("4 KiB and fdatasync", value), |b| {
            b.iter(|| block.write(1));
        });
    };
    floor(&mut group, "a reservation");
    let mut at = scattered(TOKENS);
    group.bench_function(BenchmarkId::from_parameter("a reservation"), |b| {
        b.iter(|| store.reserve(at.next().unwrap()).unwrap());
    });
    floor(&mut group, "a reservation, 32 writers");
    group.bench_function(BenchmarkId::from_parameter("a reservation, 32 writers"), |b| {
        b.iter_custom(|reservations| reserve_together(&store, reservations));
    });
    group.finish();
}

/// How long so many reservations take when 32 threads share them.
fn reserve_together(store: &ManyTokens, reservations: u64) -> Duration {
    let (next, begin) = (AtomicUsize::new(0), Barrier::new(WRITERS + 1));
    let reservations = usize::try_from(reservations).unwrap();
    // Fewer than the writers would not measure what they share.
    let made = reservations.next_multiple_of(WRITERS);
    let elapsed = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| {
                    begin.wait();
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= made {
                            break;
                        }
                        store.reserve(i * 7919 % TOKENS).unwrap();
                    }
                })
            })
            .collect();
        begin.wait();
        let begin = Instant::now();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        begin.elapsed()
    });
    elapsed.mul_f64(reservations as f64 / made as f64)
}

criterion_group!(benches, read, write);
criterion_main!(benches);
