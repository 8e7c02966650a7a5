//! Logins whose password and one-time password are brought by providers; prompts at a real terminal.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, passphrase, told};
use bitgo_vault::crypto::TotpSeed;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{
    AuditAction, Clock, Error, Login, LoginPassword, Otp, Passphrase, Provider, ProviderError,
    SecretCommand, StoreError, SystemClock,
};
use chrono::TimeDelta;
use rustix::process::setsid;
use rustix::termios::{LocalModes, tcgetattr};
use std::env;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Set where the child is to ask at the terminal that is its standard input.
const TERMINAL: &str = "BITGO_VAULT_TERMINAL";
const SECRET: &str = "correct hörse";

/// A provider of this text that counts how often it is asked.
fn counted(text: &'static str) -> (Provider<Otp>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let provider = Provider::closure(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Otp::new(text))
    });
    (provider, asked)
}

#[tokio::test]
async fn a_one_time_password_is_asked_for_once_it_is_wanted() {
    let desk = Desk::empty(Emulator::builder()).await;
    let password = desk.bitgo.password();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", password.expose())).unwrap();
    let from_file = || Provider::<LoginPassword>::file(file.path());

    let (otp, asked) = counted("0000000");
    let login = Login::new(desk.bitgo.email(), from_file(), otp);
    desk.vault.login("desk", login).await.unwrap();
    assert_eq!((asked.load(Ordering::Relaxed), desk.bitgo.requests("POST")), (1, 2));

    let (otp, asked) = counted("1111111");
    let login = Login::new(desk.bitgo.email(), from_file(), otp);
    assert_eq!(told(&desk.vault.login("wrong", login).await.unwrap_err()), "otp refused");
    assert_eq!((asked.load(Ordering::Relaxed), desk.bitgo.requests("POST")), (1, 4), "not again");

    let (otp, asked) = counted("0000000");
    let login = Login::new(desk.bitgo.email(), LoginPassword::new("wrong"), otp);
    assert_eq!(told(&desk.vault.login("wrong", login).await.unwrap_err()), "unauthorized");
    assert_eq!(asked.load(Ordering::Relaxed), 0, "a wrong password asks nobody");

    // What is given goes along at once, and nobody is asked where it is not wanted.
    let before = desk.bitgo.requests("POST");
    desk.vault.login("given", desk.login()).await.unwrap();
    let login = Login::new(desk.bitgo.email(), from_file(), Otp::new(""));
    assert_eq!(told(&desk.vault.login("none", login).await.unwrap_err()), "otp");
    assert_eq!(desk.bitgo.requests("POST") - before, 2);

    let command = SecretCommand::new("printf").arg("0000000");
    let minted = desk.vault.issue("desk", desk.spender("bot", 10), Provider::command(command));
    minted.await.unwrap();
    let unbrought =
        desk.vault.login("none", Login::new("a@b", Provider::file("/none"), Otp::new("")));
    assert_eq!(told(&unbrought.await.unwrap_err()), "the file /none could not be read");
    assert_eq!(desk.vault.list().len(), 3);
}

/// `12345678901234567890`, the seed of RFC 6238's vectors.
const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

fn seed() -> TotpSeed {
    TotpSeed::from_base32(SEED).unwrap()
}

#[tokio::test]
async fn a_seed_that_is_kept_is_sealed_and_gives_each_password_once() {
    let desk = Desk::new().await;
    let no_seed =
        "no totp seed is kept for the account of desk: keep one, or bring the password otherwise";
    assert_eq!(told(&desk.vault.kept_totp("desk").unwrap_err()), no_seed);
    let wrong = desk.vault.dangerous_keep_totp_seed("desk", seed(), Passphrase::new("wrong"));
    assert!(matches!(wrong.await, Err(Error::Store(StoreError::WrongPassphrase))));
    assert_eq!(told(&desk.vault.kept_totp("desk").unwrap_err()), no_seed);
    desk.vault.dangerous_keep_totp_seed("desk", seed(), passphrase()).await.unwrap();

    let desk = desk.reopened().await;
    for file in files(&desk.path()) {
        let text = std::fs::read(&file).unwrap();
        for needle in [SEED.as_bytes(), b"12345678901234567890"] {
            let found = text.windows(needle.len()).any(|part| part == needle);
            assert!(!found, "{}", file.display());
        }
    }
    // Just before a step ends, so that the next is soon waited for.
    let into_step = desk.clock.now().timestamp_millis().rem_euclid(30_000);
    desk.clock.jump(TimeDelta::milliseconds(29_500 - into_step));
    let provider = desk.vault.kept_totp("desk").unwrap();
    let now = desk.clock.now();
    let first = provider.ask(now).unwrap();
    assert_eq!(first.expose(), seed().password_at(now).expose());
    let login = Login::new(desk.bitgo.email(), desk.bitgo.password(), provider);
    assert_eq!(told(&desk.vault.login("other", login).await.unwrap_err()), "otp refused");
    let sent = desk.bitgo.traffic().pop().unwrap();
    let second = seed().password_at(now + TimeDelta::seconds(30));
    assert_ne!(first.expose(), second.expose());
    assert!(
        sent.contains(second.expose()),
        "the emulator knows no seed, but it was asked with one"
    );

    let provider = desk.vault.kept_totp("desk").unwrap();
    desk.vault.forget_totp_seed("desk").await.unwrap();
    assert_eq!(told(&desk.vault.kept_totp("desk").unwrap_err()), no_seed);
    assert!(provider.ask(now).is_err(), "it is opened anew each time");
    let audit = crate::desk::audited(&desk.vault).await;
    let kept_and_forgotten = [AuditAction::TotpSeedKept, AuditAction::TotpSeedForgotten];
    assert_eq!(audit, kept_and_forgotten.map(|action| (action, None)));
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let all = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    // An open vault has a socket there as well.
    all.filter(|path| path.is_file()).collect()
}

/// The child: asks at its terminal, and says what came of it where the parent reads it.
fn ask_at_terminal() {
    let terminal = crate::pty::own();
    let before = tcgetattr(&terminal).unwrap();
    let asked = Provider::<LoginPassword>::prompt().ask(SystemClock::new().now());
    let after = tcgetattr(&terminal).unwrap();
    assert_eq!(after.local_modes, before.local_modes, "the terminal is as it was");
    eprintln!(
        "asked: {}",
        match asked {
            Ok(password) if password.expose() == SECRET => "the secret".to_owned(),
            Ok(_) => "something else".to_owned(),
            Err(ProviderError::Cancelled) => "cancelled".to_owned(),
            Err(error) => format!("{error:?}"),
        }
    );
}

/// Types into a prompt of a child at a terminal of its own: what the child says, and what the
/// terminal showed.
fn type_in(keys: &[u8]) -> (String, String) {
    // As long as their end is open here, the terminal is not hung up.
    let (mut screen, mut theirs) = crate::pty::open();
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "login::a_prompt_shows_nothing_of_what_is_typed", "--nocapture"])
        .env(TERMINAL, "")
        .stdin(theirs.try_clone().unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = Vec::new();
    while !shown.ends_with(b": ") {
        let mut byte = [0];
        screen.read_exact(&mut byte).unwrap();
        shown.push(byte[0]);
    }
    assert!(!tcgetattr(&theirs).unwrap().local_modes.contains(LocalModes::ECHO));
    screen.write_all(keys).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{said}");
    // What is left on the screen: it is ours to mark where it ends.
    theirs.write_all(b"\x04").unwrap();
    while !shown.ends_with(b"\x04") && !shown.ends_with(b"^D") {
        let mut byte = [0];
        screen.read_exact(&mut byte).unwrap();
        shown.push(byte[0]);
    }
    (said, String::from_utf8_lossy(&shown).into_owned())
}

#[test]
fn a_prompt_shows_nothing_of_what_is_typed() {
    if env::var_os(TERMINAL).is_some() {
        return ask_at_terminal();
    }
    for (keys, comes_of_it) in [
        (format!("{SECRET}\r"), "the secret"),
        (format!("{SECRET}\n"), "the secret"),
        (format!("wrong\x15{SECRET}\r"), "the secret"),
        (format!("{SECRET}ü\x7f\r"), "the secret"),
        (format!("{SECRET}\x03"), "cancelled"),
        ("\x04".to_owned(), "cancelled"),
        ("\r".to_owned(), "Empty"),
    ] {
        let (said, shown) = type_in(keys.as_bytes());
        assert!(said.contains(&format!("asked: {comes_of_it}")), "{keys:?}: {said}");
        assert!(shown.starts_with("BitGo password: "), "{shown:?}");
        for typed in ["correct", "rse", "wrong"] {
            assert!(!shown.contains(typed) && !said.contains(typed), "{shown:?} {said}");
        }
    }
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    const CHILD: &str = "BITGO_VAULT_NO_TERMINAL";
    if env::var_os(CHILD).is_some() {
        // A session of its own has no terminal.
        setsid().unwrap();
        let asked = Provider::<Otp>::prompt().ask(SystemClock::new().now());
        return assert!(matches!(asked, Err(ProviderError::NoTerminal(_))), "{asked:?}");
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "login::without_a_terminal_nobody_is_asked"])
        .env(CHILD, "")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}
