//! The command as people and scripts run it: a process with its arguments, environment and terminal.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod damage;
mod exec;
mod held;
mod scenario;
mod secrets;
mod signalled;
mod terminal;

use crate::desk::PASSPHRASE;
use bitgo_vault::emulator::Emulator;
use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What `cargo` has built beside this test.
const COMMAND: &str = env!("CARGO_BIN_EXE_bitgo-vault");

/// A program in `dir`, with what the command goes by in its environment, and nothing of this machine's.
///
/// The vault is `dir/vault`; the account's password is in `dir/password`.
fn program(program: impl AsRef<OsStr>, bitgo: &Emulator, dir: &Path) -> Command {
    let beside = Path::new(COMMAND).parent().unwrap().display();
    std::fs::write(dir.join("password"), bitgo.password().expose()).unwrap();
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null()).env_clear();
    command.env("PATH", format!("{beside}:/usr/bin:/bin")).env("HOME", dir);
    command.envs([("TZ", "UTC"), ("LC_ALL", "C"), ("BITGO_VAULT_PASSPHRASE", PASSPHRASE)]);
    command.env("BITGO_VAULT_ROOT_URI", bitgo.url());
    command.env("BITGO_VAULT_SERVER_XPUB", bitgo.server_xpub());
    command.env("BITGO_VAULT_STORE", dir.join("vault"));
    command
}

/// The command with these arguments.
fn bitgo_vault<const N: usize>(args: [&str; N], bitgo: &Emulator, dir: &Path) -> Command {
    let mut command = program(COMMAND, bitgo, dir);
    command.args(args);
    command
}

/// How it ended, and all that it printed.
fn ended(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = [stdout, stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (status.code(), said)
}
