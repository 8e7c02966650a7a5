//! The examples' bots, ended by signals: what `status` then shows of their limits.

use super::{bitgo_vault, ended};
use crate::tools::skipped;
use bitgo_vault::emulator::Emulator;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Ends a bot by a signal once it has spent `times` times; what of its limit is then neither spent nor
/// free. `cargo test` builds it along with the tests.
async fn stranded(bot: &str, given: &[&str], times: usize, signal: Signal) -> Option<u128> {
    let test = env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(bot);
    if !program.exists() {
        skipped("a_bot_ended_by_a_signal", "the examples are not built");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("vault");
    let mut bot = Command::new(program);
    // With neither home nor passphrase, nor whatever else stands around here.
    let bot = bot.args(given).arg(&store).env_clear().stdout(Stdio::piped());
    let mut bot = bot.spawn().unwrap();
    let lines = BufReader::new(bot.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut spent = lines.filter(|line| line.contains("withdrew"));
    assert_eq!(spent.by_ref().take(times).count(), times);
    kill_process(Pid::from_child(&bot), signal).unwrap();
    // It may not be stopped by a pipe that nobody reads.
    spent.for_each(drop);
    let status = bot.wait().unwrap();
    match signal {
        Signal::KILL => assert_eq!(status.signal(), Some(9)),
        _ => assert!(status.success(), "{status}"),
    }
    Some(uncertain(&store).await)
}

/// What `status` shows to have no known outcome, all tokens together; and that it says so in words.
async fn uncertain(store: &Path) -> u128 {
    let (nobody, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let status = |args: &[&str]| {
        let mut command = bitgo_vault(["status", "--store"], &nobody, dir.path());
        // The vault knows its BitGo, which ended with the bot.
        command.env_remove("BITGO_VAULT_ROOT_URI").env_remove("BITGO_VAULT_SERVER_XPUB");
        let (code, said) = ended(command.arg(store).args(args));
        assert_eq!(code, Some(0), "{said}");
        said
    };
    let told: Value = serde_json::from_str(&status(&["--json"])).unwrap();
    let tokens = told["tokens"].as_array().unwrap().iter();
    let counters = tokens.flat_map(|token| token["counters"].as_object().unwrap().values());
    let mut uncertain = 0;
    for counter in counters {
        assert_eq!((&counter["allotted"], &counter["reserved"]), (&"0".into(), &"0".into()));
        uncertain += counter["uncertain"].as_str().unwrap().parse::<u128>().unwrap();
    }
    assert_eq!(status(&[]).contains("no known outcome"), uncertain > 0);
    uncertain
}

#[tokio::test]
async fn a_bot_that_is_told_to_end_strands_nothing() {
    for signal in [Signal::TERM, Signal::INT] {
        for (bot, given, times) in
            [("blocking_bot", [].as_slice(), 20), ("trading_bot", &["--store"], 2)]
        {
            let stranded = stranded(bot, given, times, signal).await;
            assert!(stranded.is_none_or(|amount| amount == 0), "{bot}: {stranded:?}");
        }
    }
}

#[tokio::test]
async fn what_a_kill_strands_is_shown() {
    let stranded = stranded("blocking_bot", &[], 20, Signal::KILL).await;
    assert!(stranded.is_none_or(|amount| amount > 0), "{stranded:?}");
}
