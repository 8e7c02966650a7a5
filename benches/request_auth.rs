//! What a signature and its check cost on the hot path, beside the bare HMAC over the same bytes.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use bitgo_vault::AccessToken;
use bitgo_vault::crypto::{AuthKey, AuthVersion, Subject};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit, Mac};
use ring::hmac as ring_hmac;
use sha2::Sha256;
use std::hint::black_box;

const TOKEN: &str = "v2x5970f8a0723276938e9c690ec6f881216ca24de9251063741108df4c79d4b7ee";
const TARGET: &str = "/api/v2/tbtc/wallet/5941b202b42fcbc707170d5b597491d9/tx/initiate";
/// The length of the subject: what a spend with two recipients has.
const SUBJECT: usize = 300;

fn requests(c: &mut Criterion) {
    let key = AuthKey::new(&AccessToken::new(TOKEN));
    let head = format!("POST|1515748528011|3.0|{TARGET}|");
    let body = "x".repeat(SUBJECT - head.len());
    let whole = format!("{head}{body}");
    let subject = Subject {
        version: AuthVersion::V3,
        timestamp_ms: 1_515_748_528_011,
        method: "POST",
        target: TARGET,
        auth_request_id: "",
    };
    let raw = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).unwrap();
    let ring = ring_hmac::Key::new(ring_hmac::HMAC_SHA256, TOKEN.as_bytes());

    let mut group = c.benchmark_group("sign a request");
    group.throughput(Throughput::Bytes(SUBJECT as u64));
    group.bench_function(BenchmarkId::from_parameter(SUBJECT), |b| {
        b.iter(|| key.sign_request(black_box(&subject), black_box(body.as_bytes())));
    });
    group.bench_function(BenchmarkId::new("hmac and sha2, keyed once", SUBJECT), |b| {
        b.iter(|| raw.clone().chain_update(black_box(&whole)).finalize().into_bytes());
    });
    group.bench_function(BenchmarkId::new("hmac and sha2, keyed each time", SUBJECT), |b| {
        b.iter(|| {
            let mac = Hmac::<Sha256>::new_from_slice(black_box(TOKEN.as_bytes())).unwrap();
            mac.chain_update(black_box(&whole)).finalize().into_bytes()
        });
    });
    group.bench_function(BenchmarkId::new("ring, keyed once", SUBJECT), |b| {
        b.iter(|| ring_hmac::sign(&ring, black_box(whole.as_bytes())));
    });
    group.finish();

    let mut group = c.benchmark_group("check a request");
    group.throughput(Throughput::Bytes(SUBJECT as u64));
    let hmac = key.sign_request(&subject, body.as_bytes());
    group.bench_function(BenchmarkId::from_parameter(SUBJECT), |b| {
        b.iter(|| key.verify_request(black_box(&subject), body.as_bytes(), &hmac).unwrap());
    });
    let tag = raw.clone().chain_update(&whole).finalize().into_bytes();
    group.bench_function(BenchmarkId::new("hmac and sha2, keyed once", SUBJECT), |b| {
        b.iter(|| raw.clone().chain_update(black_box(&whole)).verify(&tag).unwrap());
    });
    group.finish();

    // Once for each token that is opened.
    let mut group = c.benchmark_group("ready a token to sign");
    group.bench_function(BenchmarkId::from_parameter("v2x"), |b| {
        let token = AccessToken::new(TOKEN);
        b.iter(|| AuthKey::new(black_box(&token)));
    });
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
