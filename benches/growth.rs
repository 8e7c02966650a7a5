//! How what a user waits for grows: with the tokens in the vault, and with its audit log. The key
//! derivation costs next to nothing here.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]
#![expect(clippy::disallowed_methods, reason = "it measures time that has passed")]

use bitgo_vault::test_util::ManyTokens;
use bitgo_vault::{Environment, FileSystem, Passphrase, Request, Vault};
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main,
};
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const TOKENS: [usize; 5] = [10, 100, 1000, 10_000, 100_000];
/// More than these are not rekeyed or backed up ten times over.
const UPKEEP_MAX: usize = 10_000;
const ENTRIES: [usize; 3] = [100, 1000, 5000];
/// The most of either where it is only shown that the bench works: more take minutes to make.
const TESTED_MAX: usize = 1000;
const VIEW: &str = "/api/v2/tbtc/wallet/5dd01b8dd76ec6b8efe1ed0ef94e6b62";

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery staple")
}

fn up_to(numbers: &[usize], max: usize) -> impl Iterator<Item = usize> {
    let is_test = |argument: String| ["--test", "--quick"].contains(&argument.as_str());
    let max = if std::env::args().any(is_test) { max.min(TESTED_MAX) } else { max };
    numbers.iter().copied().filter(move |number| *number <= max)
}

/// A vault's directory, with as many tokens as said, each with an account of its own.
struct Place {
    dir: TempDir,
    runtime: Runtime,
}

impl Place {
    fn of(tokens: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let place = Self { dir: tempfile::tempdir().unwrap(), runtime };
        ManyTokens::create(&place.path(), &passphrase()).unwrap().add(tokens, 1).unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    fn unlock(&self) -> Vault {
        let vault = Vault::builder(self.path(), Environment::Test)
            .without_control_socket()
            .dangerous_allow_file_system(FileSystem::Overlayfs);
        self.runtime.block_on(vault.unlock(passphrase())).unwrap()
    }

    fn close(&self, vault: Vault) {
        self.runtime.block_on(vault.close()).unwrap();
    }

    /// Closing is not counted: it writes the header.
    fn timed_unlock(&self) -> Duration {
        let begin = Instant::now();
        let vault = self.unlock();
        let elapsed = begin.elapsed();
        self.close(vault);
        elapsed
    }
}

/// A group of what takes milliseconds and more.
fn slow<'c>(c: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = c.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(10);
    group
}

fn tokens(c: &mut Criterion) {
    for tokens in up_to(&TOKENS, usize::MAX) {
        let (place, id) = (Place::of(tokens), BenchmarkId::from_parameter(tokens));
        slow(c, "unlock, by tokens").bench_function(id.clone(), |b| {
            b.iter_custom(|times| (0..times).map(|_| place.timed_unlock()).sum());
        });
        let vault = place.unlock();
        let request = Request::get(VIEW).unwrap();
        let labels: Vec<String> = (0..tokens).map(|i| format!("market maker #{i}")).collect();
        // 7919 shares no divisor with their number: an order that no cache foresees.
        let mut order = (0..tokens).map(|i| &labels[i * 7919 % tokens]).cycle();
        c.benchmark_group("lease, by tokens").bench_function(id.clone(), |b| {
            b.iter(|| vault.lease(order.next().unwrap(), &request).unwrap().release());
        });
        slow(c, "list, by tokens").bench_function(id.clone(), |b| {
            b.iter(|| assert_eq!(black_box(vault.list()).len(), tokens));
        });
        if tokens <= UPKEEP_MAX {
            slow(c, "rekey, by tokens").bench_function(id.clone(), |b| {
                b.iter(|| place.runtime.block_on(vault.rekey()).unwrap());
            });
            let mut number = 0;
            slow(c, "back up, by tokens").bench_function(id, |b| {
                b.iter(|| {
                    number += 1;
                    let file = place.dir.path().join(format!("backup {number}"));
                    place.runtime.block_on(vault.back_up(file)).unwrap();
                });
            });
        }
        place.close(vault);
    }
}

fn audit(c: &mut Criterion) {
    let place = Place::of(1);
    let mut written = 0;
    for entries in up_to(&ENTRIES, usize::MAX) {
        let (vault, id) = (place.unlock(), BenchmarkId::from_parameter(entries));
        // Each is a durable write.
        for _ in written..entries {
            let tightened = vault.forbid_raw_exposure("market maker #0");
            place.runtime.block_on(tightened).unwrap();
        }
        written = entries;
        slow(c, "verify the audit log, by audit entries").bench_function(id.clone(), |b| {
            b.iter(|| place.runtime.block_on(vault.verify_audit()).unwrap());
        });
        place.close(vault);
        slow(c, "unlock, by audit entries").bench_function(id, |b| {
            b.iter_custom(|times| (0..times).map(|_| place.timed_unlock()).sum());
        });
    }
}

criterion_group!(benches, tokens, audit);
criterion_main!(benches);
