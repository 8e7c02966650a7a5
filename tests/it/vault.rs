//! The life of a vault: made, filled, closed, opened again; and who may have it open.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, bot, coin, options, passphrase, told, until, withdrawal};
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{Amount, Environment, Error, Outcome, Passphrase, Renewal, StoreError};
use bitgo_vault::{TokenKind, Vault};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn what_is_kept_survives_closing() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    desk.vault.fetch_internal("desk", "internal").await.unwrap();
    let answer = desk.vault.send("bot", &desk.withdrawal(300)).await.unwrap();
    assert_eq!((answer.status(), answer.outcome()), (200, Outcome::Accepted));
    assert!(String::from_utf8_lossy(answer.body()).contains("txid"), "the answer is the server's");
    desk.vault.lease("bot", &desk.withdrawal(700)).unwrap().release();

    // What the lease gave back is allotted until the book is idle for a while.
    until(|| desk.counter("bot").allotted == Amount::ZERO).await;
    let before = desk.vault.list();
    let labels: Vec<_> = before.iter().map(|token| token.label.as_str()).collect();
    assert_eq!(labels, ["bot", "desk", "internal"]);
    let desk = desk.reopened().await;
    assert_eq!(desk.vault.list(), before);
    assert_eq!(desk.used("bot"), 300);

    desk.vault.send("bot", &desk.withdrawal(700)).await.unwrap();
    let denied = desk.vault.send("bot", &desk.withdrawal(1)).await.unwrap_err();
    assert_eq!(told(&denied), "denied by limit");
    assert_eq!((desk.used("bot"), desk.spent()), (1000, 1000));
    desk.vault.send("internal", &desk.view()).await.unwrap();
}

#[tokio::test]
async fn each_kind_of_token_is_kept_as_bitgo_describes_it() {
    let desk = Desk::empty(Emulator::builder()).await;
    let session = desk.vault.login("desk", desk.login().extensible()).await.unwrap();
    assert_eq!(session.info.kind, TokenKind::Session);
    assert!(session.info.is_extensible && matches!(session.renewal, Renewal::Extend { .. }));

    let bot = desk.issue("bot", 1000).await;
    assert_eq!((bot.info.kind, bot.renewal), (TokenKind::LongLived, Renewal::Manual));
    assert_eq!(bot.info.permitted_wallets, Some(vec![desk.wallet]));
    assert_eq!(bot.counters[&coin()].limit, Some(Amount::new(1000)));
    assert!(!bot.rules.raw_exposure && !bot.info.issued_in_clear);

    let internal = desk.vault.fetch_internal("desk", "internal").await.unwrap();
    assert_eq!(
        (internal.info.kind, internal.renewal),
        (TokenKind::Internal, Renewal::InternalToken)
    );
    for (label, status) in [("desk", session), ("bot", bot), ("internal", internal)] {
        assert_eq!(desk.vault.status(label).unwrap(), status);
        desk.vault.send(label, &bitgo_session()).await.unwrap();
    }
}

fn bitgo_session() -> bitgo_vault::Request {
    bitgo_vault::Request::get("/api/v2/user/session").unwrap()
}

#[tokio::test]
async fn a_removed_token_is_gone_and_its_label_free() {
    let desk = Desk::new().await;
    let first = desk.issue("bot", 1000).await;
    desk.vault.remove("bot").await.unwrap();
    let gone = "no token is kept as bot: issue it, or list the labels";
    let view = desk.view();
    assert_eq!(told(&desk.vault.remove("bot").await.unwrap_err()), gone);
    assert_eq!(told(&desk.vault.status("bot").unwrap_err()), gone);
    assert_eq!(told(&desk.vault.lease("bot", &view).unwrap_err()), gone);
    assert_eq!(told(&desk.vault.lease_wait("bot", &view).await.unwrap_err()), gone);
    assert_eq!(told(&desk.vault.send("bot", &view).await.unwrap_err()), gone);

    let desk = desk.reopened().await;
    assert_eq!(told(&desk.vault.status("bot").unwrap_err()), gone);
    let second = desk.issue("bot", 500).await;
    assert_ne!(first.info.id, second.info.id);
    assert_eq!(desk.counter("bot").left(), Some(Amount::new(500)), "a budget of its own");
}

#[tokio::test]
async fn a_vault_opens_once_with_its_passphrase_and_its_environment() {
    let desk = Desk::empty(Emulator::builder()).await;
    let path = desk.path();
    let pid = std::process::id();
    for error in [
        desk.options().unlock(passphrase()).await.unwrap_err(),
        desk.options().create(passphrase()).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::Store(StoreError::InUse { path: at, holder: Some(by) }) if *at == path && by.pid == pid),
            "{error}"
        );
    }

    let (environment, clock) = (desk.bitgo.environment().clone(), desk.clock.clone());
    let xpub = environment.server_xpub();
    desk.vault.close().await.unwrap();
    let elsewhere = Environment::custom("http://127.0.0.1:1", xpub).unwrap();
    let other_key =
        Environment::custom(environment.root_uri(), Environment::Test.server_xpub()).unwrap();
    let nowhere = path.with_file_name("nowhere");
    let bound = format!(
        "the vault is bound to {}: unlock it with that environment and its server key",
        environment.root_uri()
    );
    for (error, line) in [
        (
            options(&path, &environment, &clock).create(passphrase()).await.unwrap_err(),
            format!(
                "there is a vault at {} already: unlock it, or choose another directory",
                path.display()
            ),
        ),
        (
            options(&path, &environment, &clock).unlock(Passphrase::new("")).await.unwrap_err(),
            "wrong passphrase".into(),
        ),
        (
            options(&path, &environment, &clock).unlock(Passphrase::new("x")).await.unwrap_err(),
            "wrong passphrase".into(),
        ),
        (options(&path, &elsewhere, &clock).unlock(passphrase()).await.unwrap_err(), bound.clone()),
        (options(&path, &other_key, &clock).unlock(passphrase()).await.unwrap_err(), bound),
        (
            options(&nowhere, &environment, &clock).unlock(passphrase()).await.unwrap_err(),
            format!("no vault at {}: create one first", nowhere.display()),
        ),
        (
            options(&nowhere, &environment, &clock).create(Passphrase::new("")).await.unwrap_err(),
            "an empty passphrase protects nothing: choose one".into(),
        ),
    ] {
        assert_eq!(told(&error), line);
    }
    assert!(!nowhere.exists(), "a refused vault leaves no directory");
    options(&path, &environment, &clock).unlock(passphrase()).await.unwrap();
}

#[tokio::test]
async fn two_vaults_of_one_process_do_not_meet() {
    let (one, other) = (Desk::new().await, Desk::new().await);
    one.issue("bot", 1000).await;
    other.issue("bot", 50).await;
    one.vault.send("bot", &one.withdrawal(60)).await.unwrap();
    other.vault.send("bot", &other.withdrawal(7)).await.unwrap();
    assert_eq!((one.used("bot"), one.spent()), (60, 60));
    assert_eq!((other.used("bot"), other.spent()), (7, 7));
    one.vault.close().await.unwrap();
    other.vault.send("bot", &other.withdrawal(43)).await.unwrap();
}

#[tokio::test]
async fn a_closed_vault_gives_no_lease_and_mints_nothing() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    let (view, spend) = (desk.view(), desk.withdrawal(1));
    let requests = desk.bitgo.requests("");
    assert!(matches!(desk.vault.clone().close().await, Err(Error::StillInUse)));

    let (clone, otp) = (&desk.vault, desk.bitgo.otp());
    for (what, error) in [
        ("lease", clone.lease("bot", &spend).map(drop).unwrap_err()),
        ("view", clone.lease("desk", &view).map(drop).unwrap_err()),
        ("lease_wait", clone.lease_wait("bot", &spend).await.map(drop).unwrap_err()),
        ("send", clone.send("bot", &spend).await.map(drop).unwrap_err()),
        ("login", clone.login("other", desk.login()).await.map(drop).unwrap_err()),
        ("issue", clone.issue("desk", bot("other"), otp).await.map(drop).unwrap_err()),
        ("fetch", clone.fetch_internal("desk", "i").await.map(drop).unwrap_err()),
    ] {
        assert!(matches!(error, Error::Closed), "{what}: {error}");
    }
    assert_eq!(clone.list().len(), 2, "what it keeps can still be told");
    assert_eq!(desk.bitgo.requests(""), requests, "nothing left the vault");
    desk.reopened().await.vault.send("bot", &spend).await.unwrap();
}

#[tokio::test]
async fn what_was_leased_before_closing_can_still_settle() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    let (spend, again, after) = (desk.withdrawal(100), desk.options(), desk.options());
    let signed = desk.vault.lease("bot", &spend).unwrap();
    let unsigned = desk.vault.lease("bot", &spend).unwrap();
    assert!(matches!(desk.vault.close().await, Err(Error::StillInUse)));
    let error = again.unlock(passphrase()).await.unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::InUse { .. })), "{error}");

    drop(unsigned);
    drop(signed.sign().unwrap());
    let vault = after.unlock(passphrase()).await.unwrap();
    let counter = vault.status("bot").unwrap().counters[&coin()];
    assert_eq!((counter.uncertain, counter.used()), (Amount::new(100), Some(Amount::new(100))));
}

/// `Ok` means that nothing of the vault is left: it opens again at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_vault_opens_again_at_once() {
    let builder = Emulator::builder().internal_lifetime(Duration::from_secs(2));
    let mut desk = Desk::with(builder).await;
    desk.issue("bot", 1000).await;
    // Renewed on the way, so that some rounds close over a renewal in flight.
    desk.vault.fetch_internal("desk", "internal").await.unwrap();
    let spend = desk.withdrawal(1);
    for round in 0..20 {
        // A caller that gives up waits no longer, but what it began runs on.
        let patience = Duration::from_micros(100 * (round % 5));
        drop(timeout(patience, desk.vault.lease_wait("bot", &spend)).await);
        drop(timeout(patience, desk.vault.forbid_raw_exposure("bot")).await);
        desk = desk.reopened().await;
    }
    assert_eq!(desk.used("bot"), 0, "who went away had not signed");
}

#[tokio::test]
async fn a_vault_is_in_use_as_long_as_a_clone_or_a_lease_lives() {
    let desk = Desk::new().await;
    let view = desk.view();
    let clone = desk.vault.clone();
    assert!(matches!(desk.vault.clone().close().await, Err(Error::StillInUse)));
    let (options, again, last) = (desk.options(), desk.options(), desk.options());
    drop(desk.vault);
    let lease = clone.lease("desk", &view);
    assert!(matches!(lease, Err(Error::Closed)));
    let error = options.unlock(passphrase()).await.unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::InUse { .. })), "{error}");
    clone.close().await.unwrap();

    let vault = again.unlock(passphrase()).await.unwrap();
    let lease = vault.lease("desk", &view).unwrap();
    assert!(matches!(vault.clone().close().await, Err(Error::StillInUse)));
    drop(vault);
    drop(lease);
    last.unlock(passphrase()).await.unwrap().close().await.unwrap();
}

/// A caller that goes away must not leave a token at BitGo that nobody keeps.
#[tokio::test]
async fn what_was_begun_is_kept_though_its_caller_went_away() {
    let desk = Desk::empty(Emulator::builder()).await;
    let slowly = |route| Fault::new(FaultKind::Delay(Duration::from_millis(50))).on("POST", route);
    let at_once = Duration::ZERO;

    desk.bitgo.inject(slowly("/api/auth/v1/session"));
    let login = desk.vault.login("desk", desk.login());
    tokio::time::timeout(at_once, login).await.unwrap_err();
    until(|| desk.vault.status("desk").is_ok()).await;

    desk.bitgo.inject(slowly("/user/accesstoken"));
    let issue = desk.vault.issue("desk", desk.spender("bot", 10), desk.bitgo.otp());
    tokio::time::timeout(at_once, issue).await.unwrap_err();
    until(|| desk.vault.status("bot").is_ok()).await;

    let fetch = desk.vault.fetch_internal("desk", "internal");
    tokio::time::timeout(at_once, fetch).await.unwrap_err();
    until(|| desk.vault.status("internal").is_ok()).await;
    assert_eq!(desk.reopened().await.vault.list().len(), 3);
}

/// A caller that goes away while its request is on the way must not get the spend back.
#[tokio::test(start_paused = true)]
async fn a_send_whose_caller_went_away_counts() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    let (spend, delay) = (desk.withdrawal(100), Duration::from_secs(10));
    desk.bitgo.inject(Fault::new(FaultKind::Delay(delay)).on("POST", "/tx/initiate"));
    // Paused time stands still until all have nothing to do but wait: the server has the request.
    let send = desk.vault.send("bot", &spend);
    tokio::time::timeout(Duration::from_secs(1), send).await.unwrap_err();
    assert_eq!(desk.counter("bot").uncertain, Amount::new(100));
    assert_eq!(desk.reopened().await.used("bot"), 100);
}

/// Work that a caller gave up runs on, such as the derivation of a key: closing waits for it.
#[tokio::test]
async fn closing_waits_for_work_that_was_given_up() {
    let desk = Desk::empty(Emulator::builder()).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    let slow = KdfParams::new(1 << 15, 2, 1).unwrap();
    let options = || options(&path, desk.bitgo.environment(), &desk.clock).kdf(slow);
    let mut vault = options().create(passphrase()).await.unwrap();
    for _ in 0..3 {
        let allow = vault.dangerous_allow_raw_exposure("nobody", passphrase());
        tokio::time::timeout(Duration::ZERO, allow).await.unwrap_err();
        vault.close().await.unwrap();
        vault = options().unlock(passphrase()).await.unwrap();
    }
}

#[tokio::test]
async fn a_vault_that_is_dropped_lets_go() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    desk.vault.send("bot", &desk.withdrawal(1)).await.unwrap();
    let options: Vec<_> = (0..100).map(|_| desk.options()).collect();
    let clone = desk.vault.clone();
    drop(desk.vault);
    clone.send("bot", &withdrawal(desk.wallet, 2)).await.unwrap();
    drop(clone);
    for options in options {
        match options.unlock(passphrase()).await {
            Ok(vault) => {
                let used = vault.status("bot").unwrap().counters[&coin()].used();
                return assert_eq!(used, Some(Amount::new(3)));
            }
            // The task that renews is told to end, and holds the store until it has.
            Err(Error::Store(StoreError::InUse { .. })) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it is held for ever");
}

#[test]
fn without_a_runtime_a_vault_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    let mut unlock = pin!(Vault::builder(&path, Environment::Test).create(passphrase()));
    let Poll::Ready(opened) = unlock.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("there is nothing to wait for");
    };
    assert!(matches!(opened.unwrap_err(), Error::NoRuntime));
    assert!(!path.exists());
}
