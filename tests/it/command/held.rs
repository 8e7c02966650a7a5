//! While a process holds the vault: what it is asked by its control socket, and that it is frozen so.

use super::{bitgo_vault, ended};
use crate::desk::{self, Desk, passphrase, told};
use crate::tools::skipped;
use crate::victim::{self, Victim, say};
use bitgo_vault::emulator::Emulator;
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{Environment, Lease, Request};
use serde_json::Value;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Runs the command without the passphrase: its exit code, and what it printed.
fn asked<const N: usize>(args: [&str; N], desk: &Desk) -> (Option<i32>, String) {
    let dir = desk.path();
    let mut command = bitgo_vault(args, &desk.bitgo, dir.parent().unwrap());
    ended(command.env("BITGO_VAULT_PASSPHRASE", "not the passphrase"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_vault_is_asked_and_needs_no_passphrase() {
    let desk = Desk::new().await;
    desk.mint(desk.spender("bot", 1000).scope("wallet_view_all".parse().unwrap())).await;
    desk.vault.fetch_internal("desk", "internal").await.unwrap();
    desk.vault.send("bot", &desk.withdrawal(100)).await.unwrap();
    let view = format!("/api/v2/tbtc/wallet/{}", desk.wallet);
    let pid = format!("process {}", std::process::id());

    let (code, status) = asked(["status"], &desk);
    assert_eq!(code, Some(0), "{status}");
    assert!(status.contains(&pid) && status.contains("internal"), "{status}");
    for (args, expect, says) in [
        (["check", "bot", "GET", &view].as_slice(), 0, "allowed"),
        (&["check", "bot", "GET", "/api/v2/nothing"], 3, "denied: "),
        (&["reconcile", "bot"], 0, "bot: reconciled"),
        (&["renew", "internal"], 0, "internal: its renewal has begun"),
        (&["renew", "bot"], 5, "bot is not renewed by the vault"),
        (&["reconcile", "a\tb"], 2, "label"),
        (&["reconcile", "nobody"], 1, "no token is kept as nobody"),
        (&["doctor"], 0, "held by"),
        (&["list"], 7, "ask the process that holds it"),
        (&["send", "bot", "GET", &view], 7, "ask the process that holds it"),
        (&["thaw"], 7, "ask the process that holds it"),
        (&["freeze"], 0, "frozen"),
        (&["audit", "-n", "1"], 0, "  frozen "),
        (&["check", "bot", "GET", &view], 3, "frozen"),
        (&["status"], 0, "nothing is signed; thaw it once you know why"),
    ] {
        for json in [false, true] {
            let mut args = args.to_vec();
            args.extend(json.then_some("--json"));
            let mut command = bitgo_vault([], &desk.bitgo, desk.path().parent().unwrap());
            command.args(&args).env("BITGO_VAULT_PASSPHRASE", "not the passphrase");
            let (code, said) = ended(&mut command);
            assert_eq!(code, Some(expect), "{args:?}: {said}");
            if json {
                let told: Value = serde_json::from_str(&said).unwrap();
                assert!(told.is_object(), "{said}");
            } else {
                assert!(said.contains(says), "{args:?}: {said}");
            }
            for secret in desk.bitgo.secrets() {
                assert!(!said.contains(&secret), "{args:?}");
            }
        }
    }
    assert!(desk.vault.is_frozen());
    let view = Request::get(&view).unwrap();
    assert_eq!(told(&desk.vault.lease("bot", &view).map(drop).unwrap_err()), "denied by frozen");
}

/// A command that goes on telling, and what it tells, an object of JSON to each line.
fn telling<const N: usize>(args: [&str; N], desk: &Desk) -> (Child, impl Iterator<Item = Value>) {
    let mut command = bitgo_vault(args, &desk.bitgo, desk.path().parent().unwrap());
    command.arg("--json").env_remove("BITGO_VAULT_PASSPHRASE");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_is_followed_until_nobody_reads() {
    let desk = Desk::new().await;
    let (mut follow, mut told) = telling(["audit", "--follow"], &desk);
    let actions = |log: &Value| -> Vec<String> {
        let entries = log["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(actions(&told.next().unwrap()), ["loggedIn"]);
    desk.vault.freeze().await.unwrap();
    assert_eq!(actions(&told.next().unwrap()), ["frozen"], "what was told is not told again");
    desk.vault.thaw(passphrase()).await.unwrap();
    assert_eq!(actions(&told.next().unwrap()), ["thawed"]);
    drop(told);
    desk.vault.freeze().await.unwrap();
    assert_eq!(follow.wait().unwrap().code(), Some(0), "nobody reads any more");

    let (mut watch, mut told) = telling(["status", "--watch"], &desk);
    assert_eq!(told.next().unwrap()["is_frozen"], true);
    desk.vault.thaw(passphrase()).await.unwrap();
    told.find(|status| status["is_frozen"] == false).unwrap();
    drop(told);
    assert_eq!(watch.wait().unwrap().code(), Some(0), "nobody reads any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_answers_nobody_is_in_use() {
    let desk = Desk::new().await;
    let options = desk.options().without_control_socket();
    let desk = desk.reopened_with(options).await;
    for verb in ["status", "list", "audit"] {
        let (code, said) = asked([verb], &desk);
        assert_eq!(code, Some(7), "{said}");
        assert!(said.contains(&std::process::id().to_string()), "{said}");
    }
    let (code, said) = asked(["list", "--json"], &desk);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, told["error"]["kind"].as_str()), (Some(7), Some("in-use")), "{said}");
    let (code, said) = asked(["freeze"], &desk);
    assert_eq!(code, Some(0), "{said}");
    desk::until(|| desk.vault.is_frozen()).await;
}

/// The child: a bot that signs without a rest, until it is killed.
async fn sign_on(path: &Path, environment: &Environment, target: &str) {
    let options = desk::options(path, environment, &Arc::new(TokioClock::new()));
    let vault = options.unlock(passphrase()).await.unwrap();
    let view = Request::get(target).unwrap();
    loop {
        match vault.lease("bot", &view).and_then(Lease::sign) {
            Ok(signed) => {
                drop(signed);
                say("signed");
            }
            Err(error) => say(&told(&error)),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_signs_nothing_more_a_second_after_another_process_froze_it() {
    if let Some(given) = victim::given() {
        let [path, url, xpub, target] = &given[..] else { panic!("{given:?}") };
        return sign_on(Path::new(path), &Environment::custom(url, xpub).unwrap(), target).await;
    }
    let desk = Desk::new().await;
    desk.mint(desk::bot("bot").scope("wallet_view_all".parse().unwrap())).await;
    let (path, target) = (desk.path(), format!("/api/v2/tbtc/wallet/{}", desk.wallet));
    let (bitgo, dir) = desk.closed().await;
    let name = "command::held::a_bot_signs_nothing_more_a_second_after_another_process_froze_it";
    let given = [path.to_str().unwrap(), bitgo.url(), bitgo.server_xpub(), &target];
    let bot = Victim::start(name, &given);
    for _ in 0..20 {
        while bot.hear() != "signed" {}
    }
    let mut freeze = bitgo_vault(["freeze"], &bitgo, dir.path());
    let (code, said) = ended(freeze.env_remove("BITGO_VAULT_PASSPHRASE"));
    assert_eq!(code, Some(0), "{said}");
    thread::sleep(Duration::from_secs(1));
    let lines = bot.kill();
    let denied = lines.iter().position(|line| line == "denied by frozen");
    let denied = denied.expect("a second later it is refused");
    assert!(lines[denied..].iter().all(|line| line != "signed"), "nothing was signed after that");
    assert!(lines.len() > denied + 20, "it went on asking");
}

/// What `cargo test` builds along with the tests.
#[tokio::test(flavor = "multi_thread")]
async fn the_trading_bot_is_frozen_by_the_command() {
    let test = env::current_exe().unwrap();
    let bot = test.ancestors().nth(2).unwrap().join("examples/trading_bot");
    if !bot.exists() {
        return skipped("the_trading_bot_is_frozen_by_the_command", "the example is not built");
    }
    let mut bot = Command::new(bot).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(bot.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let path = first.strip_prefix("A vault is made at ").unwrap().split(", its keys").next();
    let path = path.unwrap();
    assert!(lines.any(|line| line.contains("withdrew")));
    let (nobody, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let mut freeze = bitgo_vault(["freeze", "--store", path], &nobody, dir.path());
    let (code, said) = ended(freeze.env_remove("BITGO_VAULT_PASSPHRASE"));
    assert_eq!(code, Some(0), "{said}");
    let withdrawn = lines.filter(|line| line.contains("withdrew")).count();
    assert!(withdrawn <= 1, "but for what was under way nothing leaves: {withdrawn}");
    assert!(!bot.wait().unwrap().success());
    let mut why = String::new();
    bot.stderr.take().unwrap().read_to_string(&mut why).unwrap();
    assert!(why.to_lowercase().contains("frozen"), "{why}");
}
