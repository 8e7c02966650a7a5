//! What a spend costs where its budget is kept: drawn from an allotment in memory, or made durable by
//! itself. The latter is what the same ledger does that takes no more than it is asked for, and what
//! a bot would do that syncs each spend before it signs.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]
#![expect(clippy::print_stdout, reason = "it tells what it measured")]
#![expect(clippy::disallowed_methods, reason = "it measures time that has passed")]

mod promise;

use bitgo_vault::Passphrase;
use bitgo_vault::test_util::ManyTokens;
use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group};
use promise::Promise;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TOKENS: usize = 8;
/// How long each side spends in its turn, and how often it is its turn.
const TURN: Duration = Duration::from_millis(300);
const TURNS: usize = 9;

fn store() -> (TempDir, ManyTokens) {
    let dir = tempfile::tempdir().unwrap();
    let vault = dir.path().join("vault");
    let passphrase = Passphrase::new("correct horse battery staple");
    let mut store = ManyTokens::create(&vault, &passphrase).unwrap();
    store.add(TOKENS, 1).unwrap();
    (dir, store)
}

fn spend(c: &mut Criterion) {
    let (_dir, store) = store();
    let begin = Instant::now();
    let mut group = c.benchmark_group("a spend reserved and settled");
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::from_parameter("from an allotment"), |b| {
        b.iter(|| store.spend(0, begin.elapsed()).unwrap());
    });
    group.bench_function(BenchmarkId::from_parameter("durably by itself"), |b| {
        b.iter(|| {
            store.reserve(1).unwrap();
            store.settle(1);
        });
    });
    group.finish();
}

/// How many spends a second `spend` makes, over one turn.
fn rate(mut spend: impl FnMut()) -> f64 {
    let (begin, mut spends) = (Instant::now(), 0u32);
    while begin.elapsed() < TURN {
        spend();
        spends += 1;
    }
    f64::from(spends) / begin.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// The sides in turn, so that a disk that drifts hits both.
fn judge() {
    let (_dir, store) = store();
    let begin = Instant::now();
    let (mut gains, mut two) = (Vec::new(), Vec::new());
    let (mut drawn, mut durable) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let escrow = rate(|| store.spend(0, begin.elapsed()).unwrap());
        let each = rate(|| store.reserve(1).unwrap());
        let together: f64 = thread::scope(|scope| {
            let spend = || rate(|| store.spend(0, begin.elapsed()).unwrap());
            let threads = [scope.spawn(spend), scope.spawn(spend)];
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        gains.push(escrow / each);
        two.push(together / escrow);
        drawn.push(escrow);
        durable.push(each);
    }
    println!("spends a second: {:.0} drawn, {:.0} durable", median(drawn), median(durable));
    println!("two threads on one limit, nothing signed: {:.2} x one thread's", median(two));
    Promise::at_least(30.0, "spends from an allotment, by a sync for each").judge(median(gains));
}

criterion_group!(benches, spend);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    if !std::env::args().any(|argument| argument == "--test") {
        judge();
    }
}
