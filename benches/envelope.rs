//! What opening BitGo's envelopes costs at their usual parameters, beside the crates they are made
//! of, each called as its documentation shows.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use aes::Aes256;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitgo_vault::crypto::{Envelope, EnvelopeSession, V1Params, V2Params, seal_v1, seal_v2};
use ccm::Ccm;
use ccm::consts::{U8, U13};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use getrandom::SysRng;
use serde_json::Value;
use sha2::Sha256;
use std::hint::black_box;

const PASSWORD: &[u8] = b"correct horse";
const TOKEN: &str = "v2x5970f8a0723276938e9c690ec6f881216ca24de9251063741108df4c79d4b7ee";

fn bytes(envelope: &Value, part: &str) -> Vec<u8> {
    STANDARD.decode(envelope[part].as_str().unwrap()).unwrap()
}

fn v1(c: &mut Criterion) {
    let params = V1Params::default();
    let sealed = seal_v1(params, PASSWORD, "", TOKEN, &mut SysRng).unwrap();
    let mut group = c.benchmark_group("parse and open an envelope v1");
    group.bench_function(BenchmarkId::from_parameter(params.iterations), |b| {
        b.iter(|| Envelope::parse(black_box(&sealed)).unwrap().open(PASSWORD).unwrap());
    });
    group.bench_function(BenchmarkId::new("pbkdf2 and ccm", params.iterations), |b| {
        b.iter(|| {
            let envelope: Value = serde_json::from_str(black_box(&sealed)).unwrap();
            let mut key = [0; 32];
            let salt = bytes(&envelope, "salt");
            pbkdf2::pbkdf2_hmac::<Sha256>(PASSWORD, &salt, params.iterations, &mut key);
            let nonce = bytes(&envelope, "iv")[..13].try_into().unwrap();
            let cipher = Ccm::<Aes256, U8, U13>::new(&key.into());
            cipher.decrypt(&nonce, bytes(&envelope, "ct").as_slice()).unwrap()
        });
    });
    group.finish();
}

fn v2(c: &mut Criterion) {
    let params = V2Params::default();
    let costs = format!("{} MiB, t {}, p {}", params.m_cost / 1024, params.t_cost, params.p_cost);
    let sealed = seal_v2(params, PASSWORD, None, TOKEN, &mut SysRng).unwrap();
    let mut group = c.benchmark_group("parse and open an envelope v2");
    group.sample_size(10);
    group.bench_function(BenchmarkId::from_parameter(&costs), |b| {
        b.iter(|| Envelope::parse(black_box(&sealed)).unwrap().open(PASSWORD).unwrap());
    });
    group.bench_function(BenchmarkId::new("argon2 and aes-gcm", &costs), |b| {
        let params = Params::new(params.m_cost, params.t_cost, params.p_cost, Some(32)).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        b.iter(|| {
            let envelope: Value = serde_json::from_str(black_box(&sealed)).unwrap();
            let mut key = [0; 32];
            argon2.hash_password_into(PASSWORD, &bytes(&envelope, "salt"), &mut key).unwrap();
            let nonce = bytes(&envelope, "iv").as_slice().try_into().unwrap();
            let cipher = Aes256Gcm::new(&key.into());
            cipher.decrypt(&nonce, bytes(&envelope, "ct").as_slice()).unwrap()
        });
    });
    group.finish();

    let mut group = c.benchmark_group("open an envelope v2 in a session");
    group.sample_size(10);
    // Two strangers in turn, so that Argon2id runs each time, in memory that stays.
    group.bench_function(BenchmarkId::from_parameter("of another salt"), |b| {
        let mut session = EnvelopeSession::new(params, PASSWORD, &mut SysRng).unwrap();
        let others = [(); 2].map(|()| {
            let other = seal_v2(params, PASSWORD, None, TOKEN, &mut SysRng).unwrap();
            Envelope::parse(&other).unwrap()
        });
        let mut turn = 0;
        b.iter(|| {
            turn ^= 1;
            session.open(&others[turn]).unwrap()
        });
    });
    group.bench_function(BenchmarkId::from_parameter("of its own salt"), |b| {
        let mut session = EnvelopeSession::new(params, PASSWORD, &mut SysRng).unwrap();
        let own = session.seal(None, TOKEN, &mut SysRng).unwrap();
        let own = Envelope::parse(&own).unwrap();
        b.iter(|| session.open(black_box(&own)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, v1, v2);
criterion_main!(benches);
