//! What renewal costs those who read meanwhile: a lease of a token in its advisory window while BitGo
//! takes its time over the next one, beside a lease of a fresh token.
//!
//! Both tokens are leased in turns of a few hundred microseconds, each lease timed by itself, so that
//! a busy machine changes both sides' percentiles alike.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]
#![expect(clippy::print_stdout, reason = "it tells what it measured")]
#![expect(clippy::disallowed_methods, reason = "it measures time that has passed")]

mod promise;

use bitgo_vault::api::{ClientSettings, CreateToken};
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::{Emulator, EmulatorBuilder, Fault, FaultKind};
use bitgo_vault::{
    Clock, Coin, FileSystem, Label, Login, Passphrase, Phase, Request, SystemClock, Vault,
};
use chrono::{DateTime, TimeDelta, Utc};
use promise::Promise;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Of the internal token: it is advised from 6:40 on.
const LIFETIME: Duration = Duration::from_secs(600);
const INTO_THE_WINDOW: TimeDelta = TimeDelta::seconds(405);
/// Longer than anything is measured here.
const LONG: Duration = Duration::from_secs(3600);
const TURN: usize = 500;
const TURNS: usize = 2500;
const MILLION: usize = 1_000_000;
/// The distribution that is told, in millionths: where the tail is, ever closer.
const PARTS: [usize; 10] =
    [10_000, 100_000, 500_000, 900_000, 950_000, 990_000, 999_000, 999_900, 999_990, MILLION];

/// The machine's clock, and on top of it what a bench lets pass.
struct ShiftedClock {
    clock: SystemClock,
    shift_ms: AtomicI64,
}

impl ShiftedClock {
    fn new() -> Arc<Self> {
        Arc::new(Self { clock: SystemClock::new(), shift_ms: AtomicI64::new(0) })
    }

    fn shift(&self, by: TimeDelta) {
        self.shift_ms.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + TimeDelta::milliseconds(self.shift_ms.load(Ordering::Relaxed))
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms() + self.shift_ms.load(Ordering::Relaxed)
    }

    fn grain(&self) -> Duration {
        self.clock.grain()
    }

    fn monotonic(&self) -> Duration {
        let shift = self.shift_ms.load(Ordering::Relaxed).unsigned_abs();
        self.clock.monotonic() + Duration::from_millis(shift)
    }
}

/// An empty vault at its own BitGo, both by one clock.
struct Desk {
    bitgo: Emulator,
    vault: Vault,
    clock: Arc<ShiftedClock>,
    view: Request,
    _dir: TempDir,
}

impl Desk {
    async fn new(bitgo: EmulatorBuilder) -> Self {
        let (clock, dir) = (ShiftedClock::new(), tempfile::tempdir().unwrap());
        let bitgo = bitgo.clock(clock.clone()).start().await.unwrap();
        let vault = Vault::builder(dir.path().join("vault"), bitgo.environment().clone())
            .kdf(KdfParams::new(8, 1, 1).unwrap())
            .clock(clock.clone())
            .client(ClientSettings::default().timeout(LONG))
            .without_control_socket()
            .dangerous_allow_file_system(FileSystem::Overlayfs);
        let vault = vault.create(Passphrase::new("correct horse battery staple")).await.unwrap();
        let wallet = bitgo.wallet(&Coin::new("tbtc").unwrap());
        let view = Request::get(&format!("/api/v2/tbtc/wallet/{wallet}")).unwrap();
        Self { bitgo, vault, clock, view, _dir: dir }
    }

    /// How long a lease takes, in nanoseconds.
    fn timed(&self, label: &str) -> u64 {
        let begin = Instant::now();
        self.vault.lease(black_box(label), &self.view).unwrap().release();
        nanoseconds(begin)
    }

    /// The same for a reader who would wait.
    async fn timed_wait(&self, label: &str) -> u64 {
        let begin = Instant::now();
        self.vault.lease_wait(black_box(label), &self.view).await.unwrap().release();
        nanoseconds(begin)
    }
}

fn nanoseconds(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_nanos()).unwrap()
}

/// How long leases of one kind took.
#[derive(Default)]
struct Leases(Vec<u64>);

impl Leases {
    /// The one that so many of a million are below.
    fn percentile(&mut self, part: usize) -> f64 {
        let place = (self.0.len() - 1) * part / MILLION;
        *self.0.select_nth_unstable(place).1 as f64
    }

    /// One line for `benches/tables.py`, which draws it: millionths, and nanoseconds.
    fn told(&mut self, what: &str) {
        print!("distribution of leases, {what}:");
        for part in PARTS {
            print!(" {part}={:.0}", self.percentile(part));
        }
        println!();
    }
}

/// Readers of a token whose renewal is under way for all that time, beside those of a fresh one.
async fn advised(turns: usize) {
    let desk = Desk::new(Emulator::builder().internal_lifetime(LIFETIME)).await;
    let (bitgo, vault) = (&desk.bitgo, &desk.vault);
    let login = Login::new(bitgo.email(), bitgo.password(), bitgo.otp());
    vault.login("desk", login).await.unwrap();
    let fresh = CreateToken::new(&Label::new("fresh").unwrap(), 24 * LONG)
        .scope("wallet_view_all".parse().unwrap())
        .no_spending_limit();
    vault.issue("desk", fresh, bitgo.otp()).await.unwrap();
    vault.fetch_internal("desk", "advised").await.unwrap();
    let renewals = || bitgo.requests("GET /api/v2/user/internalaccesstoken");
    let slow = Fault::new(FaultKind::Delay(LONG)).on("GET", "/user/internalaccesstoken");
    bitgo.inject(slow.times(u32::MAX));
    desk.clock.shift(INTO_THE_WINDOW);
    vault.lease("advised", &desk.view).unwrap().release();
    // The task sleeps at most half a minute; asked, it looks at once.
    let _asked = tokio::spawn({
        let vault = vault.clone();
        async move { vault.renew("advised").await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;

    let [mut fresh, mut advised, mut fresh_wait, mut advised_wait] =
        [const { Leases(Vec::new()) }; 4];
    for _ in 0..turns {
        fresh.0.extend((0..TURN).map(|_| desk.timed("fresh")));
        advised.0.extend((0..TURN).map(|_| desk.timed("advised")));
        for _ in 0..TURN {
            fresh_wait.0.push(desk.timed_wait("fresh").await);
        }
        for _ in 0..TURN {
            advised_wait.0.push(desk.timed_wait("advised").await);
        }
    }
    let status = vault.status("advised").unwrap();
    assert_eq!((status.phase, status.renewals, status.failures), (Phase::Advisory, 0, 0));
    assert_eq!(renewals(), 1, "one was answered, and the other is under way");
    fresh.told("of a fresh token");
    advised.told("while renewal is under way");
    fresh_wait.told("that may wait, of a fresh token");
    advised_wait.told("that may wait, while renewal is under way");
    for (what, advised, fresh) in [
        ("a lease", &mut advised, &mut fresh),
        ("a lease that may wait", &mut advised_wait, &mut fresh_wait),
    ] {
        let promise = format!("{what}: p99 while renewal is under way, by a fresh token's");
        Promise::at_most(2.0, promise)
            .judge(advised.percentile(990_000) / fresh.percentile(990_000));
    }
}

fn main() {
    let has = |wanted| std::env::args().any(|argument| argument == wanted);
    if has("--profile-time") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // One turn of a bench that is only tested shows that it runs.
    runtime.block_on(advised(if has("--test") { 1 } else { TURNS }));
}
