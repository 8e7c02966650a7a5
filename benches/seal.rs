//! What opening and sealing a record costs, beside the bare cipher over the same bytes and the
//! same amount of associated data: the `aes-gcm` crate with its key prebuilt, and ring as the floor.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use bitgo_vault::crypto::{DataKey, VaultId};
use bitgo_vault::test_util::wiped_record;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use getrandom::SysRng;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce as RingNonce, UnboundKey};
use std::hint::black_box;

const SIZES: [usize; 6] = [64, 256, 1024, 4096, 16384, 65536];
/// As long as a record's own associated data.
const AAD: [u8; 48] = [7; 48];
const NONCE: [u8; 12] = [5; 12];
const KEY: [u8; 32] = [3; 32];
const NAME: [u8; 16] = [1; 16];

/// Leaves free blocks of a record's size below one that is kept, so that each side finds one:
/// else whoever comes first pays for a heap that grows and is trimmed with every record.
fn free_blocks(size: usize) -> Box<[u8]> {
    let blocks = [(); 4].map(|()| vec![1_u8; size + 64]);
    let above = vec![1; 2048].into_boxed_slice();
    drop(black_box(blocks));
    above
}

fn fresh_nonce() -> [u8; 12] {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).unwrap();
    nonce
}

fn records(c: &mut Criterion) {
    let vault = VaultId::random(&mut SysRng).unwrap();
    let cipher = DataKey::generate(&mut SysRng).unwrap().record_cipher(&vault, 0, "tokens");
    let raw = Aes256Gcm::new(&KEY.into());
    let ring = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).unwrap());
    let ring_nonce = RingNonce::assume_unique_for_key;

    let mut group = c.benchmark_group("open");
    for size in SIZES {
        let plaintext = vec![0x5a; size];
        let _above = free_blocks(size);
        group.throughput(Throughput::Bytes(size as u64));
        let record = cipher.seal(&NAME, &plaintext, &mut SysRng).unwrap();
        group.bench_with_input(BenchmarkId::from_parameter(size), &record, |b, record| {
            b.iter(|| cipher.open(&NAME, black_box(record)).unwrap())
        });
        let nonce = Nonce::from(NONCE);
        let sealed = raw.encrypt(&nonce, Payload { msg: &plaintext, aad: &AAD }).unwrap();
        group.bench_with_input(BenchmarkId::new("aes-gcm", size), &sealed, |b, sealed| {
            b.iter(|| raw.decrypt(&nonce, Payload { msg: black_box(sealed), aad: &AAD }).unwrap())
        });
        // The store wipes the stack after each record.
        let store = BenchmarkId::new("bitgo-vault's store", size);
        group.bench_with_input(store, &record, |b, record| {
            b.iter(|| wiped_record(|| cipher.open(&NAME, black_box(record))).unwrap())
        });
        group.bench_with_input(BenchmarkId::new("ring", size), &sealed, |b, sealed| {
            b.iter(|| {
                let mut buffer = black_box(sealed).clone();
                let aad = Aad::from(&AAD);
                ring.open_in_place(ring_nonce(NONCE), aad, &mut buffer).unwrap();
                buffer
            })
        });
    }
    group.finish();

    // Each side draws its nonce: that is part of sealing.
    let mut group = c.benchmark_group("seal");
    for size in SIZES {
        let plaintext = vec![0x5a; size];
        let _above = free_blocks(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &plaintext, |b, plaintext| {
            b.iter(|| cipher.seal(&NAME, black_box(plaintext), &mut SysRng).unwrap())
        });
        group.bench_with_input(BenchmarkId::new("aes-gcm", size), &plaintext, |b, plaintext| {
            b.iter(|| {
                let payload = Payload { msg: black_box(plaintext), aad: &AAD };
                raw.encrypt(&fresh_nonce().into(), payload).unwrap()
            })
        });
        let store = BenchmarkId::new("bitgo-vault's store", size);
        group.bench_with_input(store, &plaintext, |b, plaintext| {
            b.iter(|| {
                wiped_record(|| cipher.seal(&NAME, black_box(plaintext), &mut SysRng)).unwrap()
            })
        });
        group.bench_with_input(BenchmarkId::new("ring", size), &plaintext, |b, plaintext| {
            b.iter(|| {
                let mut buffer = Vec::with_capacity(size + 16);
                buffer.extend_from_slice(black_box(plaintext));
                let (nonce, aad) = (ring_nonce(fresh_nonce()), Aad::from(&AAD));
                ring.seal_in_place_append_tag(nonce, aad, &mut buffer).unwrap();
                buffer
            })
        });
    }
    group.finish();
}

criterion_group!(benches, records);
criterion_main!(benches);
