//! The key derivations: Argon2id of the vault's passphrase, and PBKDF2 inside BitGo's older
//! envelopes, beside the crates that do the same and the compressions it cannot do without.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use argon2::{Algorithm, Argon2, Params, Version};
use bitgo_vault::Passphrase;
use bitgo_vault::crypto::{Envelope, KdfParams, Salt, V1Params, key_encryption_key, seal_v1};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use getrandom::SysRng;
use ring::pbkdf2 as ring_pbkdf2;
use sha2::Sha256;
use sha2::block_api::compress256;
use std::hint::black_box;
use std::num::NonZeroU32;

const PASSWORD: &str = "correct horse battery staple";
const SALT: [u8; 16] = [9; 16];
const ROUNDS: u32 = 10_000;

fn passphrase(c: &mut Criterion) {
    let mut group = c.benchmark_group("derive the vault's key");
    group.sample_size(10);
    let passphrase = Passphrase::new(PASSWORD);
    let salt = Salt::random(&mut SysRng).unwrap();
    for (m_cost, t_cost, p_cost) in [(65_536, 3, 4), (65_536, 3, 1)] {
        let costs = format!("{} MiB, t {t_cost}, p {p_cost}", m_cost / 1024);
        let params = KdfParams::new(m_cost, t_cost, p_cost).unwrap();
        group.bench_function(BenchmarkId::from_parameter(&costs), |b| {
            b.iter(|| key_encryption_key(&passphrase, &salt, params).unwrap());
        });
        let params = Params::new(m_cost, t_cost, p_cost, Some(32)).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        group.bench_function(BenchmarkId::new("argon2", &costs), |b| {
            b.iter(|| {
                let mut key = [0; 32];
                argon2.hash_password_into(PASSWORD.as_bytes(), &SALT, &mut key).unwrap();
                key
            });
        });
    }
    group.finish();
}

/// Ours is reached through an envelope with an empty text, whose parse is not counted.
fn pbkdf2_rounds(c: &mut Criterion) {
    let params = V1Params { iterations: ROUNDS, ..V1Params::default() };
    let envelope = seal_v1(params, PASSWORD.as_bytes(), "", "", &mut SysRng).unwrap();
    let envelope = Envelope::parse(&envelope).unwrap();
    let mut key = [0; 32];

    let mut group = c.benchmark_group("PBKDF2-HMAC-SHA256, in an envelope");
    group.bench_function(BenchmarkId::from_parameter(ROUNDS), |b| {
        b.iter(|| envelope.open(black_box(PASSWORD.as_bytes())).unwrap());
    });
    group.bench_function(BenchmarkId::new("pbkdf2", ROUNDS), |b| {
        b.iter(|| {
            pbkdf2::pbkdf2_hmac::<Sha256>(black_box(PASSWORD.as_bytes()), &SALT, ROUNDS, &mut key);
        });
    });
    group.bench_function(BenchmarkId::new("ring", ROUNDS), |b| {
        let rounds = NonZeroU32::new(ROUNDS).unwrap();
        let algorithm = ring_pbkdf2::PBKDF2_HMAC_SHA256;
        b.iter(|| {
            ring_pbkdf2::derive(algorithm, rounds, &SALT, PASSWORD.as_bytes(), black_box(&mut key));
        });
    });
    group.bench_function(BenchmarkId::new("its compressions alone", ROUNDS), |b| {
        let (mut state, block) = ([1; 8], [[7; 64]]);
        b.iter(|| (0..2 * ROUNDS).for_each(|_| compress256(black_box(&mut state), &block)));
    });
    group.finish();
}

criterion_group!(benches, passphrase, pbkdf2_rounds);
criterion_main!(benches);
