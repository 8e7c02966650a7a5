//! A vault for a while at a server that fails at random: tokens of 60 s, 50 readers that lease and
//! sign all the time. `soak [MINUTES]`, 1 unless said otherwise (fractions are taken).
//!
//! Ends when it is told to (SIGTERM, SIGINT), else with what the readers saw, and with an error if one of them was refused while the vault had a
//! token that was valid, or if a token was not renewed as often as lifetimes went by.

mod told_to_end;

use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{Clock, Coin, FileSystem, Login, Passphrase, Phase, Request, SystemClock, Vault};
use rand_core::TryRng;
use std::error::Error;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use told_to_end::End;

const LIFETIME: Duration = Duration::from_secs(60);
const READERS: usize = 50;
const LABELS: [&str; 2] = ["session", "internal"];
/// How a void lease tells of a swap; the next one is of the successor.
const SWAPPED: &str = "the token was renewed";
/// How long a reader rests between two leases.
const REST: Duration = Duration::from_millis(10);
/// What renews the two tokens that are read.
const RENEWALS: [&str; 2] =
    ["POST /api/v1/user/extendtoken", "GET /api/v2/user/internalaccesstoken"];
/// What else can go wrong on the way to a renewal.
const RECORD: &str = "GET /api/v2/user/session";

/// What one reader saw.
#[derive(Default)]
struct Seen {
    micros: Vec<u128>,
    /// Refused though the token was valid, and why the last was.
    failures: u32,
    why: Option<String>,
    /// Refused since the token had ended.
    ended: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let minutes: f64 = std::env::args().nth(1).map_or(Ok(1.0), |text| text.parse())?;
    let length = Duration::try_from_secs_f64(minutes * 60.0)?;
    let mut told = End::heard()?;
    let clock = Arc::new(SystemClock::new());
    let builder = Emulator::builder().session_lifetime(LIFETIME).internal_lifetime(LIFETIME);
    let bitgo = builder.start().await?;
    let dir = tempfile::tempdir()?;
    let vault = Vault::builder(dir.path().join("vault"), bitgo.environment().clone())
        .dangerous_allow_file_system(FileSystem::Overlayfs)
        .create(Passphrase::new("correct horse battery staple"))
        .await?;
    let login = Login::new(bitgo.email(), bitgo.password(), bitgo.otp()).extensible();
    vault.login("session", login).await?;
    vault.fetch_internal("session", "internal").await?;
    let wallet = bitgo.wallet(&Coin::new("tbtc")?);
    let request = Arc::new(Request::get(&format!("/api/v2/tbtc/wallet/{wallet}"))?);

    let end = clock.monotonic() + length;
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let label = LABELS[number % 2];
        let (vault, clock, request) = (vault.clone(), clock.clone(), Arc::clone(&request));
        readers.spawn(async move { read(&vault, label, &request, &clock, end).await });
    }
    let mut faults = 0;
    while clock.monotonic() < end {
        disturb(&bitgo)?;
        faults += 1;
        let rest = sleep(Duration::from_millis(200 + random(2000)?));
        if told.unless_told(rest).await.is_none() {
            readers.shutdown().await;
            vault.close().await?;
            writeln!(stdout(), "told to end: the vault is closed")?;
            return Ok(());
        }
    }
    bitgo.clear_faults();
    let mut all = Seen::default();
    for seen in readers.join_all().await {
        all.micros.extend(seen.micros);
        all.failures += seen.failures;
        all.ended += seen.ended;
        all.why = all.why.or(seen.why);
    }
    all.micros.sort_unstable();
    let at = |share: usize| all.micros.get(all.micros.len() * share / 100).copied().unwrap_or(0);
    let (mut renewals, mut idle) = (0, None);
    // A token that never ends is renewed within each lifetime.
    let at_least = length.as_secs() / LIFETIME.as_secs();
    for label in LABELS {
        let token = vault.status(label)?;
        renewals += token.renewals;
        if token.renewals < at_least {
            let why = token.last_error.unwrap_or_default();
            idle = Some(format!("{label}: {} renewals of {at_least}: {why}", token.renewals));
        }
    }
    // One call made the internal token what it was at first.
    let calls: usize = RENEWALS.iter().map(|call| bitgo.requests(call)).sum::<usize>() - 1;
    writeln!(
        stdout(),
        "{READERS} readers, {minutes} min, {faults} disturbances: {} leases, p50 {} us, p99 {} us\n\
         {renewals} renewals, {} retries\n\
         {} refused while no valid token existed\n\
         {} refused while a valid token existed",
        all.micros.len(),
        at(50),
        at(99),
        u64::try_from(calls)?.saturating_sub(renewals),
        all.ended,
        all.failures,
    )?;
    vault.close().await?;
    match all.why.or(idle) {
        None => Ok(()),
        Some(why) => Err(why.into()),
    }
}

async fn read(
    vault: &Vault,
    label: &str,
    request: &Request,
    clock: &SystemClock,
    end: Duration,
) -> Seen {
    let mut seen = Seen::default();
    while clock.monotonic() < end {
        // As it is before: a renewal may come while it is waited for.
        let phase = vault.status(label).map(|token| token.phase);
        let begun = Instant::now();
        let signed = match vault.lease_wait(label, request).await {
            Ok(lease) => lease.sign().map(drop),
            Err(error) => Err(error),
        };
        let took = begun.elapsed();
        match signed {
            Ok(()) => seen.micros.push(took.as_micros()),
            Err(bitgo_vault::Error::LeaseVoid { why }) if why.starts_with(SWAPPED) => continue,
            Err(error) => match phase {
                Ok(Phase::Expired) => seen.ended += 1,
                _ => {
                    seen.failures += 1;
                    seen.why = Some(format!("{label}: {error}"));
                }
            },
        }
        sleep(REST).await;
    }
    seen
}

/// Lets something go wrong with most of what a renewal calls.
fn disturb(bitgo: &Emulator) -> Result<(), Box<dyn Error>> {
    // What has not gone wrong by now does not: a token is fresh for 40 s, in which they would pile up.
    bitgo.clear_faults();
    for call in [RENEWALS[0], RENEWALS[1], RECORD] {
        let (method, path) = call.split_once(' ').ok_or("a method and a path")?;
        let kind = match random(16)? {
            0 => FaultKind::Status(503, "{}".into()),
            1 => FaultKind::Status(424, "{}".into()),
            2 => FaultKind::RetryAfter(2),
            3 => FaultKind::Html,
            4 => FaultKind::TornBody,
            5 => FaultKind::BadHmac,
            6 => FaultKind::NoHmac,
            7 => FaultKind::DropBefore,
            8 => FaultKind::DropAfterEffect,
            9 => FaultKind::Reset,
            10 => FaultKind::Delay(Duration::from_secs(3)),
            11 => FaultKind::Restart(Duration::from_millis(1 + random(4000)?)),
            // What extends a session for nothing would end it: that is no outage.
            12 if method == "GET" => FaultKind::AlreadyExpired,
            _ => continue,
        };
        bitgo.inject(Fault::new(kind).on(method, path).times(u32::try_from(1 + random(5)?)?));
    }
    Ok(())
}

fn random(below: u64) -> Result<u64, Box<dyn Error>> {
    Ok(getrandom::SysRng.try_next_u64()? % below)
}
