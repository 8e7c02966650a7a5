//! What nobody is to see: not in what is printed, in what is started, or in the process itself.

use super::terminal::Terminal;
use super::{COMMAND, bitgo_vault, ended, program};
use crate::desk::{PASSPHRASE, coin};
use bitgo_vault::Otp;
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

#[tokio::test(flavor = "multi_thread")]
async fn one_time_passwords_serve_in_order_and_each_once() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let (dir, email) = (dir.path(), bitgo.email());
    bitgo.take_each_once(["111111", "222222", "333333", "444444", "555555"].map(Otp::new));
    let login = ["login", email, "--password-file", "password", "--otp"];
    let issue = ["issue", "bot", "--scope", "wallet_view_all", "--no-limit", "--otp"];
    let rotate = ["rotate", "bot", "--email", email, "--password-file", "password"];
    let refused = "the one-time password was refused, use the next one";
    for (args, expect, says) in [
        (["init", "--kdf", "1,1,1"].to_vec(), 0, "made a vault"),
        ([login.as_slice(), &["111111"]].concat(), 0, "session (session): good"),
        ([issue.as_slice(), &["111111"]].concat(), 5, refused),
        ([issue.as_slice(), &["222222"]].concat(), 0, "bot (long-lived): good"),
        ([rotate.as_slice(), &["--otp", "333333"]].concat(), 5, "--otp CODE --otp CODE"),
        ([rotate.as_slice(), &["--otp", "444444", "--otp", "555555"]].concat(), 0, "is revoked"),
    ] {
        let (code, said) = ended(program(COMMAND, &bitgo, dir).args(&args));
        assert_eq!(code, Some(expect), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bitgo_sends_does_not_steer_the_terminal() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let (dir, email) = (dir.path(), bitgo.email());
    let listed = r#"{"accessTokens":[{"id":"0123456789abcdef0123456789abcdef","label":"\u001b]0;owned\u0007\u009b2J","scope":[]}]}"#;
    for args in [
        ["init", "--kdf", "1,1,1"].as_slice(),
        &["login", email, "--password-file", "password", "--otp", "0000000"],
    ] {
        let (code, said) = ended(program(COMMAND, &bitgo, dir).args(args));
        assert_eq!(code, Some(0), "{said}");
    }
    let answer = Fault::new(FaultKind::Status(200, listed.into()));
    bitgo.inject(answer.on("GET", "/api/v2/user/accesstoken").times(u32::MAX));
    let mut terminal = Terminal::start(["list", "--remote"], &bitgo, dir);
    terminal.sees("vault passphrase: ");
    terminal.types(&format!("{PASSPHRASE}\r"));
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(0), "{shown:?}");
    assert!(shown.contains("]0;owned"), "{shown:?}");
    assert!(!shown.contains("\x1b]") && !shown.contains(['\x07', '\u{9b}']), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verb_prints_a_secret_or_hands_it_to_what_it_starts() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    let path = format!("/api/v2/tbtc/wallet/{}", bitgo.wallet(&coin()));
    let body = r#"{"recipients": [{"address": "tb1qexample", "amount": "1"}]}"#;
    fs::write(dir.join("body"), body).unwrap();
    fs::write(dir.join("new"), "another passphrase").unwrap();
    // Tells, beside the secret, how it was started, and by whom.
    let told = |secret: &str| {
        format!(
            "tr '\\0' '\\n' < /proc/$$/environ >> told; tr '\\0' ' ' < /proc/$PPID/cmdline >> told; cat {secret}"
        )
    };
    fs::write(dir.join("otp"), bitgo.otp().expose()).unwrap();
    fs::write(dir.join("passphrase"), PASSPHRASE).unwrap();
    let (password, otp) = (told("password"), told("otp"));
    let (passphrase, spend) = (told("passphrase"), format!("{path}/tx/initiate"));
    let issue = ["issue", "bot", "--scope", "wallet_spend_all", "--scope", "wallet_view_all"];
    let issue = [issue.as_slice(), &["--limit", "tbtc=1", "--otp-command", &otp]].concat();
    let mut all = String::new();
    for (expect, args) in [
        (0, ["init", "--kdf", "1,1,1", "--passphrase-command", &passphrase].as_slice()),
        (0, &["login", bitgo.email(), "--password-command", &password, "--otp-command", &otp]),
        (0, &issue),
        (0, &["fetch-internal", "internal"]),
        (0, &["list"]),
        (0, &["show", "bot"]),
        (0, &["status"]),
        (0, &["check", "bot", "POST", &spend, "--body", "body"]),
        (0, &["send", "bot", "POST", &spend, "--body", "body"]),
        (0, &["sign", "bot", "GET", &path]),
        (0, &["send", "session", "GET", "/api/v2/user/session"]),
        (3, &["exec", "bot", "--", "env"]),
        (3, &["unlock", "bot", "--otp-command", &otp]),
        (0, &["reconcile", "bot"]),
        (6, &["renew", "internal"]),
        (0, &["audit"]),
        (0, &["doctor", "--deep"]),
        (0, &["backup", "kept"]),
        (0, &["revoke", "bot"]),
        (0, &["rekey"]),
        (0, &["passwd", "--new-passphrase-file", "new"]),
        (4, &["list"]),
    ] {
        for json in [false, true].into_iter().take(1 + usize::from(args[0] == "list")) {
            let mut command = program(COMMAND, &bitgo, dir);
            command.args(args).arg("-v").args(json.then_some("--json"));
            let (code, said) = ended(&mut command);
            assert_eq!(code, Some(expect), "{args:?}: {said}");
            all += &said;
        }
    }
    let told = fs::read_to_string(dir.join("told")).unwrap();
    assert!(told.contains("BITGO_VAULT_STORE=") && told.contains("wallet_spend_all"), "{told}");
    let own = [PASSPHRASE.to_owned(), "another passphrase".to_owned()];
    for secret in bitgo.secrets().iter().chain(&own) {
        assert!(!all.contains(secret.as_str()), "printed: {all}");
        assert!(!told.contains(secret.as_str()), "given to a child: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn nobody_looks_into_a_process_that_asks_for_the_passphrase() {
    // What is not dumpable belongs to root in /proc, which shows with another user alone.
    let user = rustix::process::getuid().is_root().then_some(65_534);
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    chown(dir.path(), user, user).unwrap();
    let owner = |terminal: &Terminal| {
        fs::metadata(format!("/proc/{}/environ", terminal.child.id())).unwrap().uid()
    };
    let mut terminal = Terminal::of(&[COMMAND, "init"], 80, user, &bitgo, dir.path());
    terminal.sees("vault passphrase: ");
    assert_eq!(owner(&terminal), 0);
    let limits = fs::read_to_string(format!("/proc/{}/limits", terminal.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    terminal.child.kill().unwrap();
    terminal.child.wait().unwrap();

    // Any other program does belong to its user.
    let mut other =
        Terminal::of(&["/bin/sh", "-c", "echo asks; cat"], 80, user, &bitgo, dir.path());
    other.sees("asks");
    assert_eq!(Some(owner(&other)), user.or(Some(rustix::process::getuid().as_raw())));
    other.child.kill().unwrap();
    other.child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_option_takes_a_secret_itself() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    for option in ["--passphrase", "--password", "--new-passphrase", "--token"] {
        let args = ["list", option, "secret"];
        let (code, said) = ended(&mut bitgo_vault(args, &bitgo, dir.path()));
        assert_eq!(code, Some(2), "{option}: {said}");
    }
}
