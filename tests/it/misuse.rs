//! The vault in careless and in hostile hands. Each attempt ends in a typed error or in what was wanted:
//! no panic, no hang, and nothing that BitGo counted is forgotten.
//!
//! What stands elsewhere: a full disk (`full_disk`), two processes (`holder`), kills (`crash`, `killed`),
//! futures that are dropped (`cancelled`), bodies and answers made up (`bad_input`, `request_policy`), a
//! fork (`locked`, `store::lock`).
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{self, Desk, bot, coin, passphrase, spender, told, until, withdrawal};
use crate::tools::{run_in_namespace, skipped, works};
use bitgo_vault::api::CreateToken;
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    AccessToken, Error, Label, LocalRules, Login, LoginPassword, Otp, Passphrase, Request, Scope,
    StoreError, Vault,
};
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustix::process::{Signal, getpid, kill_process};
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const LIMIT: u128 = 1_000_000;
const MEGABYTE: usize = 1 << 20;
const NO_LABEL: &str = "not a label: 1 to 128 bytes without control characters are wanted";
const UNVOUCHED: &str =
    "the answer is not trusted: it carries no hmac; if the request moved money, it counts as spent";
const READ_ONLY_SINCE: &str = "the vault is read-only since a write failed (No such file or directory \
                               (os error 2)): free space or mend the disk, then reopen it";

async fn desk_with_bot() -> Desk {
    let desk = Desk::new().await;
    desk.issue("bot", LIMIT).await;
    desk
}

/// What BitGo counted counts here, now and after the next opening; and a spend goes through.
async fn spends(desk: Desk) {
    desk.vault.send("bot", &desk.withdrawal(1)).await.unwrap();
    assert!(desk.used("bot") >= desk.spent());
    let desk = desk.reopened().await;
    assert!(desk.used("bot") >= desk.spent());
    desk.vault.verify_audit().await.unwrap();
    desk.vault.close().await.unwrap();
}

fn refused<T>(result: Result<T, Error>, by: &str) {
    let error = result.map(drop).unwrap_err();
    assert_eq!(told(&error), by);
}

#[tokio::test]
async fn misuse_calls_in_the_wrong_order() {
    let desk = Desk::empty(Emulator::builder()).await;
    let vault = &desk.vault;
    let nobody = "no token is kept as bot: issue it, or list the labels";
    refused(vault.lease("bot", &desk.view()), nobody);
    refused(vault.reconcile("bot").await, nobody);
    refused(vault.revoke("bot").await, nobody);
    refused(vault.renew("bot").await, nobody);
    refused(vault.logout("bot").await, nobody);
    refused(vault.remove("bot").await, nobody);
    refused(vault.renew_budget("bot", passphrase()).await, nobody);
    let no_session = "no token is kept as desk: issue it, or list the labels";
    refused(vault.issue("desk", bot("bot"), desk.bitgo.otp()).await, no_session);
    refused(vault.fetch_internal("desk", "bot").await, no_session);
    vault.thaw(passphrase()).await.unwrap();

    vault.login("desk", desk.login()).await.unwrap();
    desk.issue("bot", LIMIT).await;
    // Any token may ask for the internal one: BitGo decides.
    vault.fetch_internal("bot", "internal").await.unwrap();
    // Two leases: what the one's request is answered does not settle the other's.
    let (first, second) = (desk.withdrawal(10), desk.withdrawal(20));
    let kept = vault.lease("bot", &first).unwrap();
    let signed = vault.lease("bot", &second).unwrap().sign().unwrap();
    refused(signed.finish(200, &HeaderMap::new(), b"{}"), UNVOUCHED);
    vault.freeze().await.unwrap();
    refused(kept.sign(), "denied by frozen");
    vault.thaw(passphrase()).await.unwrap();
    let old = vault.lease("bot", &first).unwrap();
    vault.remove("bot").await.unwrap();
    refused(old.sign(), "the lease is void (the token was removed): take a new one");
    assert_eq!(desk.spent(), 0);
    let (again, options) = (vault.clone(), desk.options());
    drop(desk.vault);
    again.close().await.unwrap();
    options.unlock(passphrase()).await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn misuse_giant_inputs() {
    let desk = desk_with_bot().await;
    let vault = &desk.vault;
    let giant = "x".repeat(MEGABYTE);
    refused(vault.lease(&giant, &desk.view()), NO_LABEL);
    refused(vault.login(&giant, desk.login()).await, NO_LABEL);
    refused(vault.fetch_internal("desk", &giant).await, NO_LABEL);
    refused(
        vault.import("large", AccessToken::new(giant.clone())).await,
        "the token cannot sign requests, only tokens that begin with v2x can: to let it travel in \
         clear, open the vault with dangerous_accept_tokens_in_clear",
    );
    let login = Login::new(&giant, LoginPassword::new(giant.clone()), Otp::new(giant.clone()));
    refused(vault.login("large", login).await, "rejected");
    assert!(giant.parse::<Scope>().is_err());
    assert!(Request::get(&format!("/api/v2/{giant}")).is_err());
    assert!(LocalRules::from_json(&format!("{{\"{giant}\":{giant}}}")).is_err());
    let mut many = LocalRules::default();
    many.destinations = Some((0..100_000).map(|n| format!("tb1q{n}")).collect());
    refused(
        vault.set_rules("bot", many, None).await,
        "destinations has more than 256 entries: name fewer",
    );
    let source = &giant[..1000];
    let wordy = (0..10_000).fold(bot("large"), |token, _| token.ip_restrict(source));
    let error = vault.issue("desk", wordy, desk.bitgo.otp()).await.unwrap_err().to_string();
    assert!(error.ends_with("; and 9992 more") && error.len() < 1200, "{error}");
    let for_ever = CreateToken::new(&Label::new("large").unwrap(), Duration::MAX);
    refused(
        vault.issue("desk", for_ever.no_spending_limit(), desk.bitgo.otp()).await,
        "the token is not minted: it would live 213503982334602 days: more than none and at most 10 \
         years are wanted",
    );
    // As long as BitGo unlocks at all.
    vault.unlock_session("desk", desk.bitgo.otp(), Duration::MAX).await.unwrap();
    assert_eq!(vault.audit_since(u64::MAX).await.unwrap(), []);
    let ends = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    vault.export_audit(Some(ends.1), Some(ends.0), std::io::sink()).await.unwrap();
    vault.prune_audit(ends.0, desk.path().join("pruned")).await.unwrap();

    // An answer that is larger than any, with as many headers as a map takes.
    let request = desk.withdrawal(1);
    let signed = vault.lease("bot", &request).unwrap().sign().unwrap();
    let headers: HeaderMap = (0..10_000)
        .map(|n| (HeaderName::try_from(format!("x-{n}")).unwrap(), HeaderValue::from_static("1")))
        .collect();
    refused(signed.finish(u16::MAX, &headers, giant.repeat(64).as_bytes()), UNVOUCHED);

    let (long, dir) = (Passphrase::new(giant.clone()), tempfile::tempdir().unwrap());
    let options =
        || desk::options(&dir.path().join("vault"), desk.bitgo.environment(), &desk.clock);
    let other = options()
        .lease_lifetime(Duration::MAX)
        .renew_before(Duration::MAX)
        .urgent_before(Duration::MAX)
        .reconcile_every(Duration::MAX);
    other.create(long).await.unwrap().close().await.unwrap();
    refused(options().unlock(passphrase()).await, "wrong passphrase");
    assert!(KdfParams::new(u32::MAX, u32::MAX, u32::MAX).is_err());
    spends(desk).await;
}

/// What a bot does wrong when all its threads do all that there is.
#[tokio::test(flavor = "multi_thread")]
async fn misuse_everything_at_once() {
    let desk = Arc::new(desk_with_bot().await);
    let dir = tempfile::tempdir().unwrap();
    let tasks = (0..8_u32).map(|task| {
        let (desk, dir) = (Arc::clone(&desk), dir.path().to_owned());
        tokio::spawn(async move {
            for round in 0..12_u32 {
                drop(disturb(&desk, &dir, task, round).await);
                // Frozen, locked out or renewed by another: any answer will do, but for none.
                drop(desk.vault.send("bot", &desk.withdrawal(1)).await);
                drop(desk.vault.lease("bot", &desk.withdrawal(2)).map(|lease| lease.sign()));
                drop(desk.vault.status("bot"));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let desk = Arc::into_inner(desk).unwrap();
    desk.vault.thaw(passphrase()).await.unwrap();
    spends(desk).await;
}

async fn disturb(desk: &Desk, dir: &Path, task: u32, round: u32) -> Result<(), Error> {
    let (vault, own) = (&desk.vault, format!("own-{task}"));
    match (task + round) % 12 {
        0 => vault.rekey().await,
        1 => vault.freeze().await,
        2 | 3 => vault.thaw(passphrase()).await,
        4 => vault.back_up(dir.join(format!("{task}-{round}"))).await,
        5 => vault.change_passphrase(passphrase(), passphrase()).await,
        6 => vault.reconcile("bot").await.map(drop),
        7 => vault.renew("desk").await.map(drop),
        8 => vault.verify_audit().await.map(drop),
        9 => {
            drop(vault.remove(&own).await);
            let token = spender(&own, desk.wallet, 10);
            vault.issue("desk", token, desk.bitgo.otp()).await.map(drop)
        }
        10 => vault.set_rules("bot", LocalRules::default(), Some(passphrase())).await,
        _ => vault.revoke(&own).await.map(drop),
    }
}

/// The machine's clock says something else altogether, before the opening or in the midst of it, and
/// then what is right.
#[tokio::test]
async fn misuse_a_clock_that_says_1970_or_2100() {
    for years in [-56, 74] {
        let off = Arc::new(TokioClock::new());
        let mut desk = desk_with_bot().await;
        for is_open in [false, true] {
            let far = TimeDelta::days(365 * years);
            if is_open {
                desk = desk.reopened_with_clock(&off).await;
                off.jump(far);
            } else {
                off.jump(far);
                desk = desk.reopened_with_clock(&off).await;
            }
            let sent = desk.vault.send("bot", &desk.withdrawal(1)).await;
            refused(sent, if years < 0 { UNVOUCHED } else { "denied by expired" });
            assert!(desk.used("bot") >= desk.spent());
            off.jump(-far);
            desk = desk.reopened_with_clock(&off).await;
        }
        spends(desk).await;
    }
}

/// Signals that nobody waits for, while all kinds of system calls are under way.
#[tokio::test(flavor = "multi_thread")]
async fn misuse_signals_in_the_middle() {
    let _heard = signal(SignalKind::user_defined1()).unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let shower = std::thread::spawn({
        let is_done = Arc::clone(&is_done);
        move || {
            while !is_done.load(Ordering::Relaxed) {
                kill_process(getpid(), Signal::USR1).unwrap();
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    let mut desk = desk_with_bot().await;
    for round in 0..5 {
        desk.vault.send("bot", &desk.withdrawal(10)).await.unwrap();
        desk.vault.rekey().await.unwrap();
        desk.vault.change_passphrase(passphrase(), passphrase()).await.unwrap();
        desk.issue(&format!("bot-{round}"), 10).await;
        desk = desk.reopened().await;
    }
    is_done.store(true, Ordering::Relaxed);
    shower.join().unwrap();
    spends(desk).await;
}

/// Nothing that is to be durable can be: no spend is signed by then.
#[tokio::test]
async fn misuse_a_directory_that_is_deleted_while_open() {
    let desk = desk_with_bot().await;
    desk.vault.send("bot", &desk.withdrawal(1)).await.unwrap();
    fs::remove_dir_all(desk.path()).unwrap();
    // More than is allotted.
    let answer = desk.vault.send("bot", &desk.withdrawal(LIMIT / 2)).await;
    refused(answer, READ_ONLY_SINCE);
    refused(desk.vault.freeze().await, READ_ONLY_SINCE);
    assert_eq!(desk.spent(), 1);
    desk.vault.close().await.unwrap();
}

/// Where the child is to mount its disk.
const CHILD: &str = "BITGO_VAULT_READ_ONLY_CHILD";
const READ_ONLY: &str = "misuse::misuse_a_disk_that_is_read_only";

#[test]
fn misuse_a_disk_that_is_read_only() {
    if let Ok(given) = env::var(CHILD) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(read_only(Path::new(&given)));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    if !works(&["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", path]) {
        return skipped(READ_ONLY, "no user namespace in which a tmpfs could be mounted");
    }
    run_in_namespace(READ_ONLY, CHILD, path);
}

async fn read_only(disk: &Path) {
    let mount = |how: &str| works(&["mount", "-o", how, "tmpfs", disk.to_str().unwrap()]);
    assert!(works(&["mount", "-t", "tmpfs", "tmpfs", disk.to_str().unwrap()]));
    let clock = Arc::new(TokioClock::new());
    let bitgo = Emulator::builder().clock(clock.clone()).start().await.unwrap();
    let (wallet, path) = (bitgo.wallet(&coin()), disk.join("vault"));
    let options = || desk::options(&path, bitgo.environment(), &clock);
    let vault = options().create(passphrase()).await.unwrap();
    let login = Login::new(bitgo.email(), bitgo.password(), bitgo.otp());
    vault.login("desk", login).await.unwrap();
    vault.issue("desk", spender("bot", wallet, LIMIT), bitgo.otp()).await.unwrap();
    vault.close().await.unwrap();

    // sled's threads let go of their files a little after the close.
    until(|| mount("remount,ro")).await;
    is_read_only(options().unlock(passphrase()).await);
    let new = desk::options(&disk.join("new"), bitgo.environment(), &clock);
    is_read_only(new.create(passphrase()).await);
    assert!(mount("remount,rw"));
    let vault = options().unlock(passphrase()).await.unwrap();
    vault.send("bot", &withdrawal(wallet, 10)).await.unwrap();
    vault.close().await.unwrap();
}

fn is_read_only(opened: Result<Vault, Error>) {
    let error = opened.map(drop).unwrap_err();
    let Error::Store(StoreError::Io(cause)) = &error else { panic!("{error:?}") };
    assert_eq!(cause.kind(), ErrorKind::ReadOnlyFilesystem);
}
