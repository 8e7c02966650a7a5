//! What a signature costs on the hot path, beside the bare HMAC over the same 300 bytes.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use bitgo_vault::AccessToken;
use bitgo_vault::crypto::{AuthKey, AuthVersion, Subject};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::hint::black_box;

const TOKEN: &str = "v2x5970f8a0723276938e9c690ec6f881216ca24de9251063741108df4c79d4b7ee";
const TARGET: &str = "/api/v2/tbtc/wallet/5941b202b42fcbc707170d5b597491d9/tx/initiate";
const SUBJECT_BYTES: usize = 300;

fn sign(c: &mut Criterion) {
    let key = AuthKey::new(&AccessToken::new(TOKEN));
    let head = format!("POST|1515748528011|3.0|{TARGET}|");
    let body = "x".repeat(SUBJECT_BYTES - head.len());
    let whole = format!("{head}{body}");
    let subject = Subject {
        version: AuthVersion::V3,
        timestamp_ms: 1_515_748_528_011,
        method: "POST",
        target: TARGET,
        auth_request_id: "",
    };
    let raw = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).unwrap();

    let mut group = c.benchmark_group("sign a request of 300 bytes");
    group.throughput(Throughput::Elements(1));
    group.bench_function("AuthKey::sign_request", |b| {
        b.iter(|| key.sign_request(black_box(&subject), black_box(body.as_bytes())));
    });
    group.bench_function("raw hmac, keyed once", |b| {
        b.iter(|| raw.clone().chain_update(black_box(&whole)).finalize().into_bytes());
    });
    group.bench_function("raw hmac, keyed each time", |b| {
        b.iter(|| {
            let mac = Hmac::<Sha256>::new_from_slice(black_box(TOKEN.as_bytes())).unwrap();
            mac.chain_update(black_box(&whole)).finalize().into_bytes()
        });
    });
    group.finish();
}

criterion_group!(benches, sign);
criterion_main!(benches);
