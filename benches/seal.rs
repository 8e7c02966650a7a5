//! What opening and sealing a record costs, beside the raw cipher with its key prebuilt.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use bitgo_vault::crypto::{DataKey, VaultId};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use getrandom::SysRng;
use std::hint::black_box;

const SIZES: [usize; 4] = [64, 256, 4096, 65536];
/// As long as a record's own associated data.
const AAD: [u8; 48] = [7; 48];

fn records(c: &mut Criterion) {
    let vault = VaultId::random(&mut SysRng).unwrap();
    let cipher = DataKey::generate(&mut SysRng).unwrap().record_cipher(&vault, 0, "tokens");
    let name = [1; 16];
    let raw = Aes256Gcm::new(&[3; 32].into());
    let nonce = Nonce::from([5; 12]);

    let mut group = c.benchmark_group("open");
    for size in SIZES {
        let plaintext = vec![0x5a; size];
        group.throughput(Throughput::Bytes(size as u64));
        let record = cipher.seal(&name, &plaintext, &mut SysRng).unwrap();
        group.bench_with_input(BenchmarkId::from_parameter(size), &record, |b, record| {
            b.iter(|| cipher.open(&name, black_box(record)).unwrap())
        });
        let sealed = raw.encrypt(&nonce, Payload { msg: &plaintext, aad: &AAD }).unwrap();
        group.bench_with_input(BenchmarkId::new("raw", size), &sealed, |b, sealed| {
            b.iter(|| raw.decrypt(&nonce, Payload { msg: black_box(sealed), aad: &AAD }).unwrap())
        });
    }
    group.finish();

    let mut group = c.benchmark_group("seal");
    for size in SIZES {
        let plaintext = vec![0x5a; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &plaintext, |b, plaintext| {
            b.iter(|| cipher.seal(&name, black_box(plaintext), &mut SysRng).unwrap())
        });
        // The raw side draws its nonce too: that is part of sealing.
        group.bench_with_input(BenchmarkId::new("raw", size), &plaintext, |b, plaintext| {
            b.iter(|| {
                let mut nonce = [0; 12];
                getrandom::fill(&mut nonce).unwrap();
                let payload = Payload { msg: black_box(plaintext), aad: &AAD };
                raw.encrypt(&nonce.into(), payload).unwrap()
            })
        });
    }
    group.finish();
}

criterion_group!(benches, records);
criterion_main!(benches);
