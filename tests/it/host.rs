//! What a host allows a bot, and other bots beside it.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{self, Desk, coin, passphrase, told, withdrawal};
use crate::victim::{self, Victim, say};
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{Amount, Environment, Error, StoreError, VaultBuilder};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// In a process of its own, whose limits are nobody else's.
const ALONE: &str = "BITGO_VAULT_ALONE";

/// Runs the test of this name again in a process of its own, which does `work`.
fn alone(test: &str, work: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return work();
    }
    let mut child = Command::new(env::current_exe().unwrap());
    let child = child.args(["--exact", &format!("host::{test}"), "--nocapture"]).env(ALONE, "");
    let ended = child.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

fn limit(resource: Resource, bytes: u64) {
    setrlimit(resource, Rlimit { current: Some(bytes), maximum: Some(bytes) }).unwrap();
}

fn options(path: &Path) -> VaultBuilder {
    desk::options(path, &Environment::Test, &Arc::new(TokioClock::new()))
}

/// The most of the address space that this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_derivation_that_a_limit_would_cut_short_is_not_begun() {
    alone("a_derivation_that_a_limit_would_cut_short_is_not_begun", || {
        const KDF_MIB: u32 = 1024;
        limit(Resource::As, (u64::from(KDF_MIB + 64) << 20) - 1);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        let kdf = KdfParams::new(KDF_MIB << 10, 1, 1).unwrap();
        let before = peak_kib();
        let refused = options(&path).kdf(kdf).blocking().create(passphrase()).unwrap_err();
        let Error::Store(StoreError::MemoryLimit { needed_mib, allowed_mib, set_by }) = refused
        else {
            panic!("{refused}");
        };
        assert_eq!((needed_mib, allowed_mib), (1088, 1087));
        assert!(set_by.contains("RLIMIT_AS"), "{set_by}");
        assert!(peak_kib() < before + (512 << 10), "nothing of the kind was taken");
        // With less to derive by, the same limit does.
        options(&path).blocking().create(passphrase()).unwrap().close().unwrap();
    });
}

#[test]
fn a_process_that_may_lock_no_memory_is_told_so_and_goes_on() {
    alone("a_process_that_may_lock_no_memory_is_told_so_and_goes_on", || {
        // Who has this is not bound by the limit. What this thread starts has it no more either.
        let mut have = capabilities(None).unwrap();
        for set in [&mut have.effective, &mut have.permitted, &mut have.inheritable] {
            set.remove(CapabilitySet::IPC_LOCK);
        }
        set_capabilities(None, have).unwrap();
        limit(Resource::Memlock, 0);
        let dir = tempfile::tempdir().unwrap();
        let vault = options(&dir.path().join("vault")).blocking().create(passphrase()).unwrap();
        assert_eq!(format!("{:?}", vault.lock_level()), "Wiped");
        assert!(vault.list().is_empty());
        vault.close().unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_asks_nobody_and_leaves_nothing_allotted() {
    let desk = Desk::new().await;
    desk.issue("bot", 10_000).await;
    for _ in 0..40 {
        desk.vault.send("bot", &desk.withdrawal(10)).await.unwrap();
    }
    assert!(desk.counter("bot").allotted > Amount::ZERO, "{:?}", desk.counter("bot"));
    // Whoever asked now would wait for long.
    desk.bitgo.inject(Fault::new(FaultKind::Delay(desk::DAY)).times(u32::MAX));
    let asked = desk.bitgo.traffic().len();
    let options = desk.options();
    let (bitgo, _dir) = desk.closed().await;
    assert_eq!(bitgo.traffic().len(), asked);
    let vault = options.unlock(passphrase()).await.unwrap();
    let counter = vault.status("bot").unwrap().counters[&coin()];
    assert_eq!((counter.allotted, counter.uncertain), (Amount::ZERO, Amount::ZERO));
    assert_eq!(counter.used(), Some(Amount::new(400)));
}

/// Opens the vault at `path` and spends with its token until its limit is used up.
async fn spend_all(path: &Path, environment: &Environment, wallet: &str) {
    let options = desk::options(path, environment, &Arc::new(TokioClock::new()));
    let vault = options.unlock(passphrase()).await.unwrap();
    let request = withdrawal(wallet.parse().unwrap(), 10);
    let refused = loop {
        match vault.send("bot", &request).await {
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    assert_eq!(told(&refused), "denied by limit");
    vault.close().await.unwrap();
}

/// One store and one limited token each, of one account at BitGo.
#[tokio::test(flavor = "multi_thread")]
async fn bots_of_two_processes_each_spend_their_own_limit_and_no_more() {
    if let Some(given) = victim::given() {
        let [path, url, xpub, wallet] = &given[..] else { panic!("{given:?}") };
        spend_all(Path::new(path), &Environment::custom(url, xpub).unwrap(), wallet).await;
        say("spent");
        return std::thread::park();
    }
    // What holds them is the vaults' alone.
    let bitgo = Emulator::builder().without_limits().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (clock, wallet) = (Arc::new(TokioClock::new()), bitgo.wallet(&coin()));
    let mut tokens = Vec::new();
    for (name, limit) in [("one", 1000), ("other", 500)] {
        let options = desk::options(&dir.path().join(name), bitgo.environment(), &clock);
        let vault = options.create(passphrase()).await.unwrap();
        let login = bitgo_vault::Login::new(bitgo.email(), bitgo.password(), bitgo.otp());
        vault.login("desk", login).await.unwrap();
        let token = desk::spender("bot", wallet, limit);
        tokens.push((vault.issue("desk", token, bitgo.otp()).await.unwrap().info.id, limit));
        vault.close().await.unwrap();
    }
    let (other, paying) = (dir.path().join("other"), wallet.to_string());
    let given = [other.to_str().unwrap(), bitgo.url(), bitgo.server_xpub(), &paying];
    let name = "host::bots_of_two_processes_each_spend_their_own_limit_and_no_more";
    let beside = Victim::start(name, &given);
    spend_all(&dir.path().join("one"), bitgo.environment(), &paying).await;
    while beside.hear() != "spent" {}
    beside.kill();
    for (id, limit) in tokens {
        assert_eq!(bitgo.spent_by(id, &coin()), Amount::new(limit));
    }
}
