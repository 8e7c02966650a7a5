//! What tests need beyond Rust: without it they say that they were skipped, which fails in CI.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::env;
use std::io::{Write, stderr};
use std::process::{Command, Stdio};

/// Says that a test did not run, past libtest, which keeps the words of tests that pass to itself.
pub(crate) fn skipped(test: &str, why: &str) {
    stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes()).unwrap();
    assert_ne!(env::var("CI").as_deref(), Ok("true"), "{test} was skipped: {why}");
}

/// Runs one test again, in a user and mount namespace of its own, with this variable set; tells its words
/// past libtest.
pub(crate) fn run_in_namespace(test: &str, variable: &str, value: &str) {
    let ended = Command::new("unshare")
        .arg("-rm")
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, value)
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    stderr().write_all(&ended.stderr).unwrap();
}

/// Whether a command is there, and does what it is asked.
pub(crate) fn works(command: &[&str]) -> bool {
    let (program, args) = command.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|ended| ended.success())
}
