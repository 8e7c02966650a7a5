//! Fails where PBKDF2 takes more than three times as long as its compressions of SHA-256: some
//! build flags make the new `sha2` a hundred times slower (`-C target-cpu=native` with fat LTO),
//! and nothing else would say so. The compressions are ring's, whose assembly no flag reaches.
//!
//! The two sides take turns, and each counts its fastest one: a busy machine changes neither.
#![expect(clippy::unwrap_used, reason = "a guard that cannot be set up is no guard")]
#![expect(clippy::print_stdout, reason = "it tells what it measured")]
#![expect(clippy::disallowed_methods, reason = "it measures time that has passed")]

mod promise;

use bitgo_vault::crypto::{Envelope, V1Params, seal_v1};
use getrandom::SysRng;
use promise::Promise;
use ring::digest::{SHA256, digest};
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 10_000;
const TURNS: u32 = 20;
const LIMIT: f64 = 3.0;

fn main() -> ExitCode {
    let params = V1Params { iterations: ROUNDS, ..V1Params::default() };
    let envelope = seal_v1(params, b"password", "", "", &mut SysRng).unwrap();
    let envelope = Envelope::parse(&envelope).unwrap();
    // Two compressions a round, 64 bytes each.
    let message = vec![7; 64 * 2 * ROUNDS as usize];
    let (mut ours, mut floor) = (Duration::MAX, Duration::MAX);
    for _ in 0..TURNS {
        let begin = Instant::now();
        black_box(envelope.open(black_box(b"password")).unwrap());
        ours = ours.min(begin.elapsed());

        let begin = Instant::now();
        black_box(digest(&SHA256, black_box(&message)));
        floor = floor.min(begin.elapsed());
    }
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!(
        "PBKDF2 with {ROUNDS} rounds: {ours:?}, its compressions alone: {floor:?}, ratio {ratio:.2}"
    );
    Promise::at_most(LIMIT, "PBKDF2, by its compressions alone").judge(ratio);
    if ratio > LIMIT {
        println!("more than {LIMIT}: look at the compiler's flags");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
