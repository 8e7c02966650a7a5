//! The vault without a runtime: a bot that knows no tokio, and one that mixes both.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{self, Desk, coin, passphrase, told, withdrawal};
use bitgo_vault::emulator::{Emulator, EmulatorBuilder};
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    Amount, BlockingControl, BlockingVault, ControlError, Error, Event, Login, Outcome, Request,
    Vault,
};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// A blocking vault that keeps a session as `desk`, and a BitGo that lives on threads of its own.
struct Bot {
    vault: BlockingVault,
    bitgo: Emulator,
    bitgos_own: Runtime,
    dir: TempDir,
}

impl Bot {
    fn new() -> Self {
        Self::with(Emulator::builder())
    }

    fn with(builder: EmulatorBuilder) -> Self {
        let bitgos_own = Runtime::new().unwrap();
        let bitgo = bitgos_own.block_on(builder.start()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TokioClock::new());
        let options = desk::options(&dir.path().join("vault"), bitgo.environment(), &clock);
        let vault = options.blocking().create(passphrase()).unwrap();
        let login = Login::new(bitgo.email(), bitgo.password(), bitgo.otp()).extensible();
        vault.login("desk", login).unwrap();
        Self { vault, bitgo, bitgos_own, dir }
    }

    fn issue(&self, label: &str, limit: u128) {
        let token = desk::spender(label, self.bitgo.wallet(&coin()), limit);
        self.vault.issue("desk", token, self.bitgo.otp()).unwrap();
    }

    fn withdrawal(&self, amount: u128) -> Request {
        withdrawal(self.bitgo.wallet(&coin()), amount)
    }
}

#[test]
fn a_bot_without_a_runtime_spends_to_the_last_unit_from_all_its_threads() {
    let bot = Bot::new();
    bot.issue("bot", 1000);
    let request = bot.withdrawal(10);
    thread::scope(|threads| {
        for _ in 0..4 {
            let (vault, request) = (bot.vault.clone(), &request);
            threads.spawn(move || {
                for _ in 0..25 {
                    assert_eq!(vault.send("bot", request).unwrap().outcome(), Outcome::Accepted);
                }
            });
        }
    });
    assert_eq!(told(&bot.vault.send("bot", &request).unwrap_err()), "denied by limit");
    assert_eq!(bot.bitgo.spent(&coin()), Amount::new(1000));
    assert_eq!(bot.vault.audit().unwrap(), bot.vault.audit_since(0).unwrap());

    let (path, clock) = (bot.dir.path().join("vault"), Arc::new(TokioClock::new()));
    bot.vault.close().unwrap();
    let options = || desk::options(&path, bot.bitgo.environment(), &clock).blocking();
    assert!(options().doctor(Some(passphrase())).unwrap().faults.is_empty());
    let vault = options().unlock(passphrase()).unwrap();
    assert_eq!(vault.status("bot").unwrap().counters[&coin()].accepted, Amount::new(1000));
}

#[test]
fn its_tokens_are_renewed_beside_it() {
    let bot = Bot::with(Emulator::builder().session_lifetime(Duration::from_secs(3)));
    let renewed = || bot.vault.status("desk").unwrap().renewals;
    // In what is a test of nothing but patience, 60 s are enough.
    for _ in 0..6000 {
        if renewed() >= 2 {
            return bot.vault.close().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", bot.vault.status("desk").unwrap());
}

#[test]
fn a_thread_of_any_other_runtime_may_wait() {
    let bot = Bot::new();
    bot.issue("bot", 1000);
    let (vault, request) = (bot.vault.clone(), Arc::new(bot.withdrawal(1)));
    let send = move || vault.send("bot", &request).unwrap().outcome();
    for mut other in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let (in_future, in_task, in_blocking) = (send.clone(), send.clone(), send.clone());
        // With no drivers at all: it is the vault's that are used.
        let sent = other.build().unwrap().block_on(async move {
            let in_task = tokio::spawn(async move { in_task() });
            let in_blocking = tokio::task::spawn_blocking(in_blocking);
            [in_future(), in_task.await.unwrap(), in_blocking.await.unwrap()]
        });
        assert_eq!(sent, [Outcome::Accepted; 3]);
    }
    assert_eq!(bot.bitgo.spent(&coin()), Amount::new(6));
}

#[test]
fn leases_and_events_are_waited_for() {
    let bot = Bot::new();
    bot.issue("bot", 1000);
    let events = bot.vault.events();
    let heard = thread::spawn(move || events.map(Result::unwrap).collect::<Vec<_>>());
    let request = bot.withdrawal(1);
    let lease = bot.vault.lease_wait("bot", &request).unwrap();
    assert_eq!(told(&lease.expose_token_blocking().unwrap_err()), "denied by raw-exposure");
    bot.vault.dangerous_allow_raw_exposure("bot", passphrase()).unwrap();
    let lease = bot.vault.lease("bot", &request).unwrap();
    let token = lease.expose_token_blocking().unwrap();
    assert!(bot.bitgo.secrets().contains(&token.expose().to_owned()));
    assert_eq!(told(&bot.vault.send("bot", &request).unwrap_err()), "denied by limit");
    bot.vault.freeze().unwrap();
    assert!(bot.vault.is_frozen());
    bot.vault.close().unwrap();
    // With the vault they end.
    let heard = heard.join().unwrap();
    assert!(matches!(heard[..], [Event::Denied { .. }, Event::Frozen]), "{heard:?}");
}

/// It keeps the runtime that the blocking vault had made for it.
#[test]
fn the_async_vault_that_is_left_lives_on() {
    let bot = Bot::new();
    bot.issue("bot", 1000);
    let (vault, request) = (Vault::clone(&bot.vault), bot.withdrawal(1));
    drop(bot.vault);
    let sent = bot.bitgos_own.block_on(vault.send("bot", &request)).unwrap();
    assert_eq!(sent.outcome(), Outcome::Accepted);
    bot.bitgos_own.block_on(vault.close()).unwrap();
}

#[tokio::test]
async fn who_turns_the_vaults_runtime_is_refused_instead_of_hanging() {
    let desk = Desk::new().await;
    let vault = desk.vault.blocking();
    let refused = |error: Error| assert!(matches!(error, Error::WouldDeadlock), "{error}");
    refused(vault.send("desk", &desk.view()).unwrap_err());
    refused(vault.audit().unwrap_err());
    refused(vault.events().next().unwrap().unwrap_err());
    refused(vault.freeze().unwrap_err());
    assert!(vault.is_frozen(), "the kill switch waits for nobody");
    let (elsewhere, view) = (vault.clone(), desk.view());
    let there = move || elsewhere.send("desk", &view).map(drop).unwrap_err();
    let denied = tokio::task::spawn_blocking(there).await.unwrap();
    assert_eq!(told(&denied), "denied by frozen");
    drop(desk);
    refused(vault.close().unwrap_err());
}

#[test]
fn the_holder_of_a_vault_is_asked_without_a_runtime() {
    let bot = Bot::new();
    let path = bot.dir.path().join("vault");
    let control = BlockingControl::connect(&path).unwrap();
    assert_eq!(control.status().unwrap().tokens[0].label, "desk");
    let view = Request::get("/api/v2/user/session").unwrap();
    assert_eq!(control.check("desk", &view).unwrap().denied_by, None);
    assert!(matches!(control.reconcile("nobody"), Err(ControlError::Refused { .. })));
    control.freeze().unwrap();
    assert!(bot.vault.is_frozen());
    assert!(control.audit(1).unwrap()[0].contains("frozen"));
    bot.vault.close().unwrap();
    assert!(matches!(control.status(), Err(ControlError::NotServed { .. })));
}

/// The functions that stand in `code`, which begin with `with`, by the type that they are of.
fn functions(code: &str, with: &[&str]) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut of = String::new();
    for line in code.lines() {
        if let Some(head) = line.strip_prefix("impl") {
            // Of `impl<'r> Lease<'r> {` and `impl Iterator for Events {` the type.
            let head = head.rsplit(" for ").next().unwrap().trim_start_matches("<'r>");
            of = head.trim().split(['<', ' ']).next().unwrap().to_owned();
        }
        let line = line.trim_start();
        if let Some(rest) = with.iter().find_map(|with| line.strip_prefix(with)) {
            let name = rest.split(['(', '<']).next().unwrap();
            found.insert((of.clone(), name.to_owned()));
        }
    }
    found
}

#[test]
fn whatever_is_async_can_be_waited_for() {
    fn read(dir: &Path, code: &mut String) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => read(&path, code),
                false => code.push_str(&fs::read_to_string(path).unwrap()),
            }
        }
    }
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vault");
    let mut code = String::new();
    read(&room, &mut code);
    let blocking = fs::read_to_string(room.join("blocking.rs")).unwrap();
    let blocking = functions(&blocking, &["pub fn ", "fn "]);
    let asynchronous = functions(&code, &["pub async fn "]);
    assert!(asynchronous.len() > 45, "{} were found", asynchronous.len());
    for (of, name) in asynchronous {
        let counterpart = match of.as_str() {
            "Vault" => ("BlockingVault", name.clone()),
            "VaultBuilder" => ("BlockingBuilder", name.clone()),
            "Control" => ("BlockingControl", name.clone()),
            "Events" => ("BlockingEvents", name.clone()),
            "Lease" => ("Lease", format!("{name}_blocking")),
            _ => panic!("{of}::{name} has nobody who waits for it"),
        };
        let counterpart = (counterpart.0.to_owned(), counterpart.1);
        assert!(blocking.contains(&counterpart), "nothing waits for {of}::{name}");
    }
}
