//! What is waited for once in a while: a vault is created, a token is renewed. BitGo is the emulator
//! on this machine, so that of a renewal there is no network in it.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]
#![expect(clippy::disallowed_methods, reason = "it measures time that has passed")]

use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{FileSystem, Login, Passphrase, Vault, VaultBuilder};
use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery staple")
}

fn place(bitgo: &Emulator, dir: &TempDir) -> VaultBuilder {
    Vault::builder(dir.path().join("vault"), bitgo.environment().clone())
        .kdf(KdfParams::new(8, 1, 1).unwrap())
        .without_control_socket()
        .dangerous_allow_file_system(FileSystem::Overlayfs)
}

fn upkeep(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let bitgo = runtime.block_on(Emulator::builder().without_traffic().start()).unwrap();

    let mut group = c.benchmark_group("create, without the key derivation");
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(10);
    group.bench_function(BenchmarkId::from_parameter("a vault"), |b| {
        b.iter_custom(|times| (0..times).map(|_| timed_create(&runtime, &bitgo)).sum());
    });
    group.finish();

    let dir = tempfile::tempdir().unwrap();
    let vault = runtime.block_on(place(&bitgo, &dir).create(passphrase())).unwrap();
    let login = Login::new(bitgo.email(), bitgo.password(), bitgo.otp()).extensible();
    runtime.block_on(vault.login("desk", login)).unwrap();
    let mut group = c.benchmark_group("renew a token");
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::from_parameter("a session, extended"), |b| {
        b.iter_custom(|times| (0..times).map(|_| timed_renewal(&runtime, &vault)).sum());
    });
    group.finish();
    runtime.block_on(vault.close()).unwrap();
}

fn timed_renewal(runtime: &Runtime, vault: &Vault) -> Duration {
    let begin = Instant::now();
    let status = runtime.block_on(vault.renew("desk")).unwrap();
    let elapsed = begin.elapsed();
    assert!(status.last_error.is_none(), "{:?}", status.last_error);
    elapsed
}

/// Closing is not counted.
fn timed_create(runtime: &Runtime, bitgo: &Emulator) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let vault = runtime.block_on(place(bitgo, &dir).create(passphrase())).unwrap();
    let elapsed = begin.elapsed();
    runtime.block_on(vault.close()).unwrap();
    elapsed
}

criterion_group!(benches, upkeep);
criterion_main!(benches);
