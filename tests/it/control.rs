//! The control socket: another process asks the one that holds the vault, and is told no secret.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, coin, passphrase, told, until, withdrawal};
use crate::victim::{self, Victim, say};
use bitgo_vault::emulator::{Fault, FaultKind};
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    Amount, Control, ControlError, ControlRenewal, ControlStatus, ControlToken, ControlUnavailable,
    Environment, ErrorKind, Request, Standing, Vault,
};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.mint(desk.spender("bot", 1000).scope("wallet_view_all".parse().unwrap())).await;
    desk
}

fn socket(desk: &Desk) -> PathBuf {
    desk.path().join("CONTROL")
}

/// What is answered to a line.
fn raw(path: &Path, line: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // What is not wanted may be refused before all of it is sent.
    let _ = stream.write_all(line);
    let mut answer = String::new();
    let _ = BufReader::new(stream).read_line(&mut answer);
    answer
}

/// The child: asks what it is told to.
#[test]
fn another_process_asks() {
    let Some(given) = victim::given() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let control = Control::connect(&given[0]).await.unwrap();
        match given[1].as_str() {
            "freeze" => format!("{:?}", control.freeze().await),
            _ => format!("pid {}", control.status().await.unwrap().pid),
        }
    });
    say(&answer);
    thread::sleep(Duration::from_secs(60));
}

async fn asked_by_another_process(path: &Path, what: &str) -> String {
    let child = Victim::start("control::another_process_asks", &[path.to_str().unwrap(), what]);
    let heard = tokio::task::spawn_blocking(move || {
        let answer = loop {
            let line = child.hear();
            if line.starts_with("pid") || line.starts_with("Ok") || line.starts_with("Err") {
                break line;
            }
        };
        child.kill();
        answer
    });
    heard.await.unwrap()
}

#[tokio::test]
async fn another_process_asks_and_freezes() {
    let desk = desk().await;
    let mode = fs::metadata(desk.vault.control_socket().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let pid = format!("pid {}", std::process::id());
    assert_eq!(asked_by_another_process(&desk.path(), "status").await, pid);
    assert_eq!(asked_by_another_process(&desk.path(), "freeze").await, "Ok(())");
    assert!(desk.vault.is_frozen());
    let refused = desk.vault.lease("bot", &desk.view()).map(drop).unwrap_err();
    assert_eq!(told(&refused), "denied by frozen");
    let desk = desk.reopened().await;
    assert!(desk.vault.is_frozen());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verb_answers_and_none_tells_a_secret() {
    let desk = desk().await;
    desk.vault.send("bot", &desk.withdrawal(100)).await.unwrap();
    desk.vault.fetch_internal("desk", "internal").await.unwrap();
    let control = Control::connect(desk.path()).await.unwrap();
    let status = control.status().await.unwrap();
    assert!(!status.is_frozen && !status.is_degraded);
    let bot = status.tokens.iter().find(|token| token.label == "bot").unwrap();
    let spent = &bot.counters["tbtc"];
    assert_eq!((spent.used.as_deref(), spent.left.as_deref()), (Some("100"), Some("900")));
    assert_eq!((&*bot.who_acts, bot.need.as_deref()), ("human", Some("new-token")));
    assert_eq!((&*bot.next_action, &bot.renewal_at), ("none", &None));
    let internal = status.tokens.iter().find(|token| token.label == "internal").unwrap();
    assert_eq!((&*internal.who_acts, &*internal.next_action), ("vault", "renew"));
    assert!(internal.renewal_at < internal.expires_at);
    assert_eq!(status, desk.vault.control_status(), "whoever holds the vault asks it by itself");

    let before = desk.vault.status("internal").unwrap().renewals;
    assert_eq!(control.renew("internal").await.unwrap(), ControlRenewal::Begun);
    until(|| {
        desk.vault.status("internal").unwrap().failures > 0
            || desk.vault.status("internal").unwrap().renewals > before
    })
    .await;
    let manual = control.renew("bot").await.unwrap_err();
    assert_eq!(manual.to_string(), "bot is not renewed by the vault: issue it anew");
    control.reconcile("bot").await.unwrap();
    let unknown = control.reconcile("nobody").await.unwrap_err();
    assert!(
        matches!(&unknown, ControlError::Refused { why, .. } if why.starts_with("no token is kept as nobody"))
    );
    let kind = |error: ControlError| match error {
        ControlError::Refused { kind, .. } => kind,
        error => panic!("{error}"),
    };
    assert_eq!((kind(manual), kind(unknown)), (ErrorKind::NeedsHuman, ErrorKind::Other));
    assert_eq!(kind(control.reconcile("no\nlabel").await.unwrap_err()), ErrorKind::Usage);
    let refusing = Fault::new(FaultKind::Status(400, "{}".into()));
    desk.bitgo.inject(refusing.on("GET", "/api/v2/user/session").times(u32::MAX));
    assert_eq!(kind(control.reconcile("bot").await.unwrap_err()), ErrorKind::Api);
    desk.bitgo.clear_faults();

    assert_eq!(control.check("bot", &desk.view()).await.unwrap().denied_by, None);
    let denied = control.check("bot", &Request::get("/api/v2/nothing").unwrap()).await.unwrap();
    assert_eq!(denied.denied_by.as_deref(), Some("unknown-call"));
    desk.vault.freeze().await.unwrap();
    let frozen = control.check("bot", &desk.view()).await.unwrap();
    assert_eq!(frozen.denied_by.as_deref(), Some("frozen"));
    let lines = control.audit(1).await.unwrap();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("\"frozen\""), "{lines:?}");

    let all = format!("{status:?}{lines:?}{frozen:?}");
    for secret in desk.bitgo.secrets() {
        assert!(!all.contains(&secret));
    }
    for verb in ["thaw", "lease", "expose", "unlock", "Status", ""] {
        let answer = raw(&socket(&desk), format!("{{\"verb\":\"{verb}\"}}\n").as_bytes());
        assert_eq!(
            answer, "{\"error\":\"the request cannot be read\",\"kind\":\"usage\"}\n",
            "{verb}"
        );
    }
    assert!(desk.vault.is_frozen());
    desk.vault.thaw(passphrase()).await.unwrap();
}

/// How the vault stands, and its token of that label.
async fn shown(desk: &Desk, label: &str) -> (ControlStatus, ControlToken) {
    let status = Control::connect(desk.path()).await.unwrap().status().await.unwrap();
    let token = status.tokens.iter().find(|token| token.label == label).unwrap().clone();
    (status, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_tells_of_a_refused_token_a_freeze_and_a_revocation() {
    let desk = desk().await;
    desk.bitgo.revoke(desk.vault.status("bot").unwrap().info.id);
    desk.vault.send("bot", &desk.view()).await.unwrap();
    until(|| desk.vault.status("bot").unwrap().standing == Standing::Revoked).await;
    assert_eq!(shown(&desk, "bot").await.1.standing, "revoked");
    desk.issue("other", 1).await;
    desk.vault.freeze().await.unwrap();
    let (status, other) = shown(&desk, "other").await;
    assert!(status.is_frozen && !status.is_degraded);
    assert_eq!((status.read_only, other.is_revoked), (None, false));
    let deletion = Fault::new(FaultKind::DropBefore).on("DELETE", "/api/v2/user/accesstoken");
    desk.bitgo.inject(deletion.times(u32::MAX));
    desk.vault.revoke("other").await.unwrap();
    let (_, other) = shown(&desk, "other").await;
    assert_eq!(
        (other.is_revoked, &*other.next_action, &*other.who_acts),
        (true, "revoke", "vault")
    );
}

/// The child: leases, and holds what it leased.
#[tokio::test]
async fn what_a_killed_process_had_leased_is_told_of_as_uncertain() {
    if let Some(given) = victim::given() {
        let [path, url, xpub, wallet] = &given[..] else { panic!("{given:?}") };
        let environment = Environment::custom(url, xpub).unwrap();
        let clock = Arc::new(TokioClock::new());
        let options = crate::desk::options(Path::new(path), &environment, &clock);
        let vault = options.unlock(passphrase()).await.unwrap();
        let spend = withdrawal(wallet.parse().unwrap(), 300);
        let _lease = vault.lease("bot", &spend).unwrap();
        say("leased");
        thread::sleep(Duration::from_secs(60));
        return;
    }
    let desk = desk().await;
    desk.vault.send("bot", &desk.withdrawal(100)).await.unwrap();
    let (path, wallet) = (desk.path().display().to_string(), desk.wallet.to_string());
    let (url, xpub) = (desk.bitgo.url().to_owned(), desk.bitgo.server_xpub().to_owned());
    let desk = desk
        .reopened_after(|| {
            let name = "control::what_a_killed_process_had_leased_is_told_of_as_uncertain";
            let child = Victim::start(name, &[&path, &url, &xpub, &wallet]);
            while child.hear() != "leased" {}
            child.kill();
        })
        .await;
    let counter = &shown(&desk, "bot").await.1.counters["tbtc"];
    assert_eq!((&*counter.accepted, &*counter.uncertain), ("100", "300"));
    assert_eq!(counter.left.as_deref(), Some("600"));
}

#[tokio::test]
async fn a_vault_that_takes_no_writes_says_so() {
    let desk = desk().await;
    let options = desk.options();
    let (bitgo, dir) = desk.closed().await;
    let vault = options.unlock_degraded(passphrase()).await.unwrap();
    let status = vault.control_status();
    assert!(status.read_only.is_some(), "{status:?}");
    vault.close().await.unwrap();
    drop((bitgo, dir));
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_and_those_who_say_nothing_keep_nobody_out() {
    let desk = desk().await;
    let path = socket(&desk);
    for line in
        [&b"junk\n"[..], b"{}\n", b"[1]\n", b"{\"verb\":\"status\",\"more\":1}\n", b"\xff\n"]
    {
        assert_eq!(
            raw(&path, line),
            "{\"error\":\"the request cannot be read\",\"kind\":\"usage\"}\n",
            "{line:?}"
        );
    }
    assert_eq!(raw(&path, &vec![b'x'; 8 << 20]), "", "what is too long is not heard out");
    let silent: Vec<_> = (0..20).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let control = Control::connect(desk.path()).await.unwrap();
    assert_eq!(control.status().await.unwrap().tokens.len(), 2, "they are sent away in the end");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_waits_for_nobody_who_is_being_answered() {
    let desk = desk().await;
    let slow = Fault::new(FaultKind::Delay(Duration::from_secs(20)));
    desk.bitgo.inject(slow.on("GET", "/api/v2/user/session").times(u32::MAX));
    let waiting: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = UnixStream::connect(socket(&desk)).unwrap();
            stream.write_all(b"{\"verb\":\"reconcile\",\"label\":\"bot\"}\n").unwrap();
            stream
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let control = Control::connect(desk.path()).await.unwrap();
    let frozen = tokio::time::timeout(Duration::from_secs(10), control.freeze()).await;
    frozen.expect("an answer before theirs").unwrap();
    assert!(desk.vault.is_frozen());
    let busy = control.status().await.unwrap_err();
    assert_eq!(busy.to_string(), "too many are being answered: ask again in a moment");
    drop(waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_renew_an_unverified_token_is_to_verify_it() {
    let desk = desk().await;
    let token = desk.newest();
    desk.vault.remove("bot").await.unwrap();
    desk.bitgo
        .inject(Fault::new(FaultKind::Status(503, "{}".into())).on("GET", "/api/v2/user/session"));
    assert!(desk.vault.import("bot", token).await.unwrap().is_unverified);
    let control = Control::connect(desk.path()).await.unwrap();
    assert_eq!(control.renew("bot").await.unwrap(), ControlRenewal::Verified);
    assert!(!desk.vault.status("bot").unwrap().is_unverified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_reads_what_the_vault_itself_would() {
    let desk = desk().await;
    let control = Control::connect(desk.path()).await.unwrap();
    let opaque = || {
        let target = format!("/api/v2/tbtc/wallet/{}/tx/send", desk.wallet);
        let body = br#"{"halfSigned":{"txHex":"0f"}}"#.to_vec();
        Request::post(&target).bytes(body).unwrap()
    };
    let declared = |amount| opaque().declaring(&coin(), Amount::new(amount), "tb1qexample");
    let mut rules = desk.vault.rules("bot").unwrap();
    rules.declared_amounts = true;
    desk.vault.set_rules("bot", rules, Some(passphrase())).await.unwrap();
    // No rule reads the passphrase of a wallet, so that a check goes without.
    let target = format!("/api/v2/tbtc/wallet/{}/sendcoins", desk.wallet);
    let coins = |more: &str| {
        let body = format!(r#"{{"address":"tb1qexample","amount":"1"{more}}}"#);
        Request::post(&target).bytes(body.into_bytes()).unwrap()
    };
    // The largest body, and the one that JSON spells the longest.
    let escaped = Request::post(&target).bytes(vec![1; 1 << 20]).unwrap();
    for request in [
        opaque(),
        declared(15),
        declared(1001),
        coins(""),
        coins(r#","walletPassphrase":"secret""#),
        escaped,
    ] {
        let verdict = control.check("bot", &request).await.unwrap();
        let itself = desk.vault.check("bot", &request).unwrap();
        let denied_by = itself.verdict().map_err(|denied| denied.rule().to_string()).err();
        assert_eq!(verdict.denied_by, denied_by, "{request:?}");
    }
    let denied_by = async |request| control.check("bot", &request).await.unwrap().denied_by;
    assert_eq!(denied_by(declared(15)).await, None);
    assert_eq!(denied_by(declared(1001)).await.as_deref(), Some("limit"));
    assert_eq!(denied_by(coins("")).await, None);
}

#[tokio::test]
async fn a_close_takes_the_socket_along_and_waits_for_nobody() {
    let desk = desk().await;
    let path = socket(&desk);
    let silent = UnixStream::connect(&path).unwrap();
    let (bitgo, dir) = desk.closed().await;
    assert!(!path.exists());
    let gone = Control::connect(path.parent().unwrap()).await.unwrap_err();
    assert!(matches!(gone, ControlError::NotServed { .. }));
    drop((silent, bitgo, dir));
}

#[tokio::test]
async fn what_a_killed_process_left_is_replaced_and_nothing_else_is() {
    let desk = desk().await;
    let path = socket(&desk);
    let of_dead = path.clone();
    let desk = desk.reopened_after(move || drop(UnixListener::bind(of_dead).unwrap())).await;
    assert_eq!(desk.vault.control_socket().unwrap(), path);
    Control::connect(desk.path()).await.unwrap().status().await.unwrap();

    let live = path.clone();
    let (keep, kept) = std::sync::mpsc::channel();
    let desk =
        desk.reopened_after(move || keep.send(UnixListener::bind(live).unwrap()).unwrap()).await;
    let occupied = ControlUnavailable::Occupied { path: path.clone() };
    assert_eq!(desk.vault.control_socket().unwrap_err(), &occupied);
    drop(kept);
    let file = path.clone();
    fs::remove_file(&path).unwrap();
    let desk = desk.reopened_after(move || fs::write(file, "a file").unwrap()).await;
    assert_eq!(desk.vault.control_socket().unwrap_err(), &occupied);
    desk.vault.send("bot", &desk.withdrawal(1)).await.unwrap();
    let desk = desk.reopened().await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "a file", "it is not ours to remove");
    drop(desk);
}

#[tokio::test]
async fn a_vault_does_without_where_it_is_switched_off_or_its_path_is_too_long() {
    let desk = desk().await;
    let options = desk.options().without_control_socket();
    let desk = desk.reopened_with(options).await;
    assert_eq!(desk.vault.control_socket().unwrap_err(), &ControlUnavailable::Off);
    assert!(!socket(&desk).exists());

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x".repeat(110));
    let options = crate::desk::options(&path, desk.bitgo.environment(), &desk.clock);
    let vault: Vault = options.create(passphrase()).await.unwrap();
    let why = vault.control_socket().unwrap_err();
    assert!(matches!(why, ControlUnavailable::PathTooLong { .. }), "{why}");
    assert!(why.to_string().ends_with(
        "is too long for a socket, which may have 107 bytes: keep the vault under a shorter path"
    ));
    vault.close().await.unwrap();
}
