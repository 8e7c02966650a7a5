//! What opening an envelope of BitGo's default parameters costs: the wait at login.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use bitgo_vault::crypto::{Envelope, V1Params, V2Params, seal_v1, seal_v2};
use criterion::{Criterion, criterion_group, criterion_main};
use getrandom::SysRng;

const PASSWORD: &[u8] = b"correct horse";
const TOKEN: &str = "v2x5970f8a0723276938e9c690ec6f881216ca24de9251063741108df4c79d4b7ee";

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("open an envelope");
    group.sample_size(10);
    for (name, envelope) in [
        (
            "v1, PBKDF2 10 000 rounds",
            seal_v1(V1Params::default(), PASSWORD, "", TOKEN, &mut SysRng),
        ),
        (
            "v2, Argon2id 64 MiB, 3 passes",
            seal_v2(V2Params::default(), PASSWORD, None, TOKEN, &mut SysRng),
        ),
    ] {
        let envelope = Envelope::parse(&envelope.unwrap()).unwrap();
        group.bench_function(name, |b| b.iter(|| envelope.open(PASSWORD).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, open);
criterion_main!(benches);
