//! `exec`: the program takes the command's place.

use super::bitgo_vault;
use crate::desk::{Desk, PASSPHRASE, passphrase};
use bitgo_vault::AuditAction;
use bitgo_vault::emulator::Emulator;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The command, to run a line of shell with the token `bot`.
fn exec(line: &str, bitgo: &Emulator, dir: &Path) -> Command {
    bitgo_vault(["exec", "bot", "--", "/bin/sh", "-c", line], bitgo, dir)
}

fn said(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap().trim_end()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_the_token_its_signals_and_gives_its_exit_code() {
    let desk = Desk::new().await;
    desk.mint(desk.spender("bot", 1000).scope("wallet_view_all".parse().unwrap())).await;
    desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.unwrap();
    let desk = desk.reopened().await;
    let options = desk.options();
    let (bitgo, dir) = desk.closed().await;
    let dir = dir.path();

    let child = exec("echo $$ $BITGO_ACCESS_TOKEN; exit 42", &bitgo, dir);
    let child = { child }.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(42), "{output:?}");
    let (own, token) = said(&output).split_once(' ').unwrap();
    assert_eq!(own, pid, "it is the same process");
    assert!(bitgo.secrets().iter().any(|secret| secret == token), "it is the token");

    let killed = exec("kill -TERM $$", &bitgo, dir).output().unwrap();
    assert_eq!(killed.status.signal(), Some(15));

    // It inherits nothing that opens the vault, and the vault is free meanwhile.
    let environment = exec("env", &bitgo, dir).output().unwrap();
    assert!(said(&environment).contains("BITGO_ACCESS_TOKEN=v2x"), "{environment:?}");
    for kept in [PASSPHRASE, bitgo.password().expose()] {
        assert!(!said(&environment).contains(kept), "{environment:?}");
    }
    fs::write(dir.join("passphrase"), PASSPHRASE).unwrap();
    let list = "bitgo-vault list --passphrase-file passphrase --json";
    let listed = exec(list, &bitgo, dir).output().unwrap();
    let tokens: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(tokens["tokens"].as_array().map(Vec::len), Some(2), "{listed:?}");

    let missing = bitgo_vault(["exec", "bot", "--", "no-such-program"], &bitgo, dir).output();
    let missing = missing.unwrap();
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(missing.stderr.starts_with(b"bitgo-vault: there is no such program"), "{missing:?}");

    let vault = options.unlock(passphrase()).await.unwrap();
    let audit = vault.audit().await.unwrap();
    let exposed = audit.iter().filter(|entry| entry.action == AuditAction::Exposed).count();
    assert_eq!(exposed, 4, "each time the log tells of it first, and not where nothing runs");
    vault.close().await.unwrap();
}
