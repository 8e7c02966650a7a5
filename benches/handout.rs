//! What a bot pays for each request: a lease and its signature, or the token handed out; and how
//! that scales with threads. Beside each the least that could do it, in the same run.
//!
//! What is promised of them are ratios, and those are
//! judged from turns of a few milliseconds that the sides take one after the other: of one thread
//! each side's fastest turn counts, of two the median of the turns' ratios. A busy machine changes
//! the first but little; the second wants both processors.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]
#![expect(clippy::print_stdout, reason = "it tells what it measured")]
#![expect(clippy::disallowed_methods, reason = "it measures time that has passed")]

mod desk;
mod promise;

use aes_gcm::aead::{Aead, AeadInOut, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base16ct::lower;
use bitgo_vault::test_util::wiped_record;
use bitgo_vault::{Outcome, Signed};
use criterion::{BatchSize, BenchmarkId, Criterion, SamplingMode, criterion_group};
use desk::{ANSWER, Desk, SUBJECT};
use hmac::{Hmac, Mac};
use http::HeaderMap;
use promise::Promise;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const TOKEN: &str = "v2x5970f8a0723276938e9c690ec6f881216ca24de9251063741108df4c79d4b7ee";
/// As long as a record's own associated data.
const AAD: [u8; 48] = [7; 48];
const NONCE: [u8; 12] = [5; 12];
/// Short enough for some of them to be left alone on a busy machine.
const TURN: Duration = Duration::from_micros(500);
const TURNS: usize = 400;
/// Of two threads: they must first have begun.
const LONG_TURN: Duration = Duration::from_millis(5);
const LONG_TURNS: usize = 60;

/// What nobody does without: a token that is sealed in memory, found by its label.
struct Floor {
    tokens: HashMap<String, (u32, Vec<u8>)>,
    cipher: Aes256Gcm,
    subject: String,
}

impl Floor {
    fn new() -> Self {
        let cipher = Aes256Gcm::new(&[3; 32].into());
        let payload = Payload { msg: TOKEN.as_bytes(), aad: &AAD };
        let sealed = cipher.encrypt(&Nonce::from(NONCE), payload).unwrap();
        let tokens = ["a", "b", "desk"].map(|label| (label.to_owned(), (6, sealed.clone())));
        Self { tokens: tokens.into(), cipher, subject: "x".repeat(SUBJECT) }
    }

    fn open(&self, sealed: &[u8]) -> Zeroizing<String> {
        let (text, tag) = sealed.split_last_chunk::<16>().unwrap();
        let mut token = text.to_vec();
        let place = token.as_mut_slice().into();
        self.cipher.decrypt_inout_detached(&NONCE.into(), &AAD, place, tag.into()).unwrap();
        Zeroizing::new(String::from_utf8(token).unwrap())
    }

    fn hand_out(&self, label: &str) {
        let (scopes, sealed) = &self.tokens[black_box(label)];
        assert!(scopes & black_box(2) != 0);
        black_box(self.open(sealed));
    }

    /// Opened, hashed for the bearer, keyed, signed, and the four strings of the headers.
    fn sign(&self) {
        let token = self.open(black_box(&self.tokens["a"].1));
        let bearer = ["Bearer ", &lower::encode_string(&Sha256::digest(token.as_bytes()))].concat();
        let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).unwrap();
        mac.update(black_box(self.subject.as_bytes()));
        let hmac = lower::encode_string(&mac.finalize().into_bytes());
        let id = lower::encode_string(black_box(&[7_u8; 16]));
        black_box((bearer, hmac, id, black_box(1_515_748_528_011_i64).to_string()));
    }
}

/// What nobody does without who would know what a request spends.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    recipients: Vec<Recipient<'a>>,
    comment: &'a str,
}

#[derive(Deserialize)]
struct Recipient<'a> {
    address: &'a str,
    amount: &'a str,
}

fn read(body: &str) {
    let Body { recipients, comment } = serde_json::from_str(black_box(body)).unwrap();
    for Recipient { address, amount } in &recipients {
        black_box((address, amount.parse::<u128>().unwrap()));
    }
    black_box(comment);
}

fn handout(c: &mut Criterion) {
    let (desk, floor) = (Desk::new(), Floor::new());
    let mut group = c.benchmark_group("lease and sign");
    group.bench_function(BenchmarkId::from_parameter("a view"), |b| {
        b.iter(|| desk.sign("a", &desk.view))
    });
    group.bench_function(BenchmarkId::from_parameter("a spend"), |b| {
        b.iter(|| desk.sign("a", &desk.spend));
    });
    let peer = BenchmarkId::new("aes-gcm, sha2 and hmac", "a view");
    group.bench_function(peer, |b| b.iter(|| floor.sign()));
    group.finish();
    let mut group = c.benchmark_group("lease, and give back");
    for (what, request) in [("a view", &desk.view), ("a spend", &desk.spend)] {
        group.bench_function(BenchmarkId::from_parameter(what), |b| {
            b.iter(|| desk.give_back(request));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("settle");
    let key = desk.key("a");
    for (what, request) in [("a view", &desk.view), ("a spend", &desk.spend)] {
        group.bench_function(BenchmarkId::from_parameter(what), |b| {
            let asked = || desk.asked(request, &key);
            let settle = |(signed, headers): (Signed<'_>, HeaderMap)| {
                assert_eq!(signed.finish(200, &headers, ANSWER).unwrap(), Outcome::Accepted);
            };
            b.iter_batched(asked, settle, BatchSize::SmallInput);
        });
    }
    group.finish();
    let mut group = c.benchmark_group("lease and hand out");
    group.bench_function(BenchmarkId::from_parameter("a token"), |b| b.iter(|| desk.hand_out("a")));
    let peer = BenchmarkId::new("look-up and aes-gcm", "a token");
    group.bench_function(peer, |b| b.iter(|| floor.hand_out("a")));
    group.finish();
    let mut group = c.benchmark_group("expose, told to the audit log");
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::from_parameter("a token"), |b| {
        b.iter(|| {
            let lease = desk.vault.lease("viewer", &desk.session).unwrap();
            black_box(desk.runtime.block_on(lease.expose_token()).unwrap());
        });
    });
    group.finish();
    let mut group = c.benchmark_group("lease and sign, by threads");
    let cores = thread::available_parallelism().unwrap().get();
    for (what, request) in [("a view", &desk.view), ("a spend", &desk.spend)] {
        for threads in (1..=cores).filter(|n| n.is_power_of_two() || *n == cores) {
            group.bench_function(BenchmarkId::new(what, threads), |b| {
                b.iter_custom(|times| desk.sign_by(threads, times, request));
            });
        }
    }
    group.finish();
}

/// How long one takes, in nanoseconds, over a turn.
fn turn(length: Duration, mut op: impl FnMut()) -> f64 {
    let (mut done, begin) = (0_u32, Instant::now());
    loop {
        for _ in 0..16 {
            op();
        }
        done += 16;
        let elapsed = begin.elapsed();
        if elapsed >= length {
            return elapsed.as_nanos() as f64 / f64::from(done);
        }
    }
}

/// How many times as much two threads do as one. Which of the two a thread is, it is told.
fn scaling(op: &(impl Fn(usize) + Sync)) -> f64 {
    let one = turn(LONG_TURN, || op(0)).recip();
    let begin = Barrier::new(2);
    let both = thread::scope(|scope| {
        let threads = [0, 1].map(|thread| {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                turn(LONG_TURN, || op(thread)).recip()
            })
        });
        threads.map(|thread| thread.join().unwrap()).iter().sum::<f64>()
    });
    both / one
}

fn fastest(turns: usize, ops: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let mut fastest = vec![f64::MAX; ops.len()];
    for _ in 0..turns {
        for (fastest, op) in fastest.iter_mut().zip(ops.iter_mut()) {
            *fastest = fastest.min(turn(TURN, &mut **op));
        }
    }
    fastest
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn verdicts(turns: usize, long_turns: usize) {
    let (desk, floor) = (Desk::new(), Floor::new());
    let [sign, spend, sign_floor, out, out_floor] = fastest(
        turns,
        &mut [
            &mut || desk.sign("a", &desk.view),
            &mut || desk.sign("a", &desk.spend),
            &mut || floor.sign(),
            &mut || desk.hand_out("a"),
            &mut || floor.hand_out("a"),
        ],
    )[..] else {
        return;
    };
    let [lease, lease_spend, to_map, wipe, body] = fastest(
        turns,
        &mut [
            &mut || desk.give_back(&desk.view),
            &mut || desk.give_back(&desk.spend),
            &mut || desk.sign_to_map(&desk.view),
            &mut || wiped_record(|| ()),
            &mut || read(&desk.body),
        ],
    )[..] else {
        return;
    };
    println!("\nlease and sign: view {sign:.0} ns, spend {spend:.0} ns, floor {sign_floor:.0} ns");
    println!("lease and sign, and the headers as a map: view {to_map:.0} ns");
    println!("lease alone: view {lease:.0} ns, spend {lease_spend:.0} ns");
    println!("lease and hand out: {out:.0} ns, its floor {out_floor:.0} ns");
    Promise::at_most(1.3, "lease and sign a view, by the floor").judge(sign / sign_floor);
    Promise::at_most(1.3, "lease and sign a spend, by the floor").judge(spend / sign_floor);
    if sign_floor < 1500.0 {
        Promise::at_most(2.0, "lease and sign, where the floor is below 1.5 µs")
            .in_unit(" µs")
            .judge(sign.max(spend) / 1e3);
    }
    Promise::at_most(1.5, "lease and hand out, by the floor")
        .missed_because(format!(
            "the floor does not wipe its stack, which takes {wipe:.0} ns: by both {:.2}",
            out / (out_floor + wipe)
        ))
        .judge(out / out_floor);
    Promise::at_most(2.0, "lease a spend, by leasing a view")
        .missed_because(format!(
            "serde_json alone reads that body in {body:.0} ns: by a view and that {:.2}",
            lease_spend / (lease + body)
        ))
        .judge(lease_spend / lease);

    let bare = |_| drop(black_box(floor.open(&floor.tokens["a"].1)));
    for (what, labels, request) in [
        ("view on one label", ["a", "a"], &desk.view),
        ("view on two labels", ["a", "b"], &desk.view),
        ("spend on one limit", ["a", "a"], &desk.spend),
        ("spend on two limits", ["a", "b"], &desk.spend),
    ] {
        let sign = |thread: usize| desk.sign(labels[thread], request);
        let measured: Vec<_> = (0..long_turns).map(|_| (scaling(&bare), scaling(&sign))).collect();
        let ours = median(measured.iter().map(|(_, ours)| *ours).collect());
        let ratio = median(measured.iter().map(|(bare, ours)| ours / bare).collect());
        Promise::at_least(0.9, format!("two threads {what}: their scaling by bare AES-GCM's"))
            .judge(ratio);
        Promise::at_least(1.0, format!("two threads {what}: by one")).judge(ours);
    }
}

criterion_group!(benches, handout);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    let has = |wanted| std::env::args().any(|argument| argument == wanted);
    if has("--profile-time") {
        return;
    }
    // One turn of a bench that is only tested shows that it runs.
    let (turns, long_turns) = if has("--test") { (1, 1) } else { (TURNS, LONG_TURNS) };
    verdicts(turns, long_turns);
}
