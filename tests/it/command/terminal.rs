//! What a human sees at a terminal: questions, colours, a sign of life, tables that fit.

use super::{COMMAND, bitgo_vault, ended, program};
use crate::desk::PASSPHRASE;
use crate::pty;
use bitgo_vault::emulator::Emulator;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// The child becomes the program whose words stand here, a line each.
const WORDS: &str = "BITGO_VAULT_AT_TERMINAL";
/// Whom the child becomes first.
const USER: &str = "BITGO_VAULT_AT_TERMINAL_AS";
/// What shows nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// The child: takes its standard input for its terminal, and becomes the program.
#[test]
fn a_program_at_its_terminal() {
    let Ok(words) = env::var(WORDS) else { return };
    let terminal = pty::own();
    let other = || Stdio::from(terminal.try_clone().unwrap());
    let mut words = words.lines();
    let mut program = Command::new(words.next().unwrap());
    program.args(words).env_remove(WORDS).env_remove(USER);
    program.stdin(other()).stdout(other()).stderr(other());
    if let Some(user) = env::var(USER).ok().and_then(|user| user.parse().ok()) {
        program.gid(user).uid(user);
    }
    panic!("{}", program.exec());
}

/// A program at a terminal of its own, and the human in front of it.
pub(super) struct Terminal {
    keys: File,
    pub(super) child: Child,
    screen: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    /// Starts the command, with these arguments and no passphrase in its environment.
    pub(super) fn start<const N: usize>(args: [&str; N], bitgo: &Emulator, dir: &Path) -> Self {
        let words = [[COMMAND].as_slice(), &args].concat();
        Self::of(&words, 60, None, bitgo, dir)
    }

    /// Starts a program at a terminal so wide, as this user.
    pub(super) fn of(
        words: &[&str],
        columns: u16,
        user: Option<u32>,
        bitgo: &Emulator,
        dir: &Path,
    ) -> Self {
        let (ours, theirs) = pty::open();
        let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).unwrap();
        let mut child = program(env::current_exe().unwrap(), bitgo, dir);
        child.args(["--exact", "command::terminal::a_program_at_its_terminal", "--nocapture"]);
        child.env_remove("BITGO_VAULT_PASSPHRASE").env("TERM", "xterm");
        child.env(WORDS, words.join("\n")).stdin(theirs).stdout(Stdio::null());
        if let Some(user) = user {
            child.env(USER, user.to_string());
        }
        let child = child.spawn().unwrap();
        let (show, screen) = mpsc::channel();
        let mut reader = ours.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Where nobody has the other end open any more, reading fails.
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                let _ = show.send(bytes[..read].to_vec());
            }
        });
        Self { keys: ours, child, screen, shown: String::new() }
    }

    /// Waits until this is shown, after what was waited for before; what was shown up to its end.
    pub(super) fn sees(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.shown.find(text) {
                let rest = self.shown.split_off(at + text.len());
                return std::mem::replace(&mut self.shown, rest);
            }
            let bytes = self.screen.recv_timeout(SILENCE_MAX);
            let bytes = bytes.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.shown));
            self.shown += &String::from_utf8_lossy(&bytes);
        }
    }

    pub(super) fn types(&mut self, keys: &str) {
        assert!(!tcgetattr(&self.keys).unwrap().local_modes.contains(LocalModes::ECHO));
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for its end: its exit code, and what was shown since.
    pub(super) fn ends(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        while let Ok(bytes) = self.screen.recv_timeout(SILENCE_MAX) {
            self.shown += &String::from_utf8_lossy(&bytes);
        }
        (code, self.shown)
    }
}

const PROMPT: &str = "vault passphrase: ";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_passphrase_is_typed_twice_and_its_mistyping_is_seen() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    for (second, expect, says) in [
        ("another\r", Some(2), "the two passphrases differ: nothing was done"),
        ("\x03", Some(4), "bitgo-vault:"),
        ("a passphrase\r", Some(0), "made a vault for http://127.0.0.1:"),
    ] {
        let mut terminal = Terminal::start(["init", "--kdf", "1,1,1"], &bitgo, dir.path());
        assert_eq!(terminal.sees(PROMPT), PROMPT);
        terminal.types("a passphrase\r");
        let between = terminal.sees(PROMPT);
        terminal.types(second);
        let (code, shown) = terminal.ends();
        assert_eq!(code, expect, "{shown}");
        assert!(shown.contains(says), "{shown}");
        assert!(!between.contains("a passphrase") && !shown.contains("a passphrase"));
        assert_eq!(dir.path().join("vault").exists(), expect == Some(0));
    }
    for (typed, expect, says) in [
        ("a passhprase\r", Some(4), "do:"),
        ("\r", Some(4), "bitgo-vault:"),
        ("a passphrase\r", Some(0), "the vault keeps no token"),
    ] {
        let mut terminal = Terminal::start(["list"], &bitgo, dir.path());
        terminal.sees(PROMPT);
        terminal.types(typed);
        let (code, shown) = terminal.ends();
        assert_eq!(code, expect, "{shown}");
        assert!(shown.contains(says), "{shown}");
        assert!(!shown.contains(typed.trim_end()) || typed == "\r", "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_the_command_while_it_asks_gets_the_echo_back() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(ended(&mut bitgo_vault(["init", "--kdf", "1,1,1"], &bitgo, dir.path())).0, Some(0));
    let mut terminal = Terminal::start(["list"], &bitgo, dir.path());
    terminal.sees(PROMPT);
    let keys = terminal.keys.try_clone().unwrap();
    let has_echo = || tcgetattr(&keys).unwrap().local_modes.contains(LocalModes::ECHO);
    assert!(!has_echo());
    let child = Pid::from_child(&terminal.child);
    kill_process(child, Signal::TERM).unwrap();
    assert_eq!(terminal.ends().0, Some(128 + 15));
    assert!(has_echo());
}

/// In a job of its own in the background, the terminal is somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn who_ends_the_command_in_the_background_stops_nobody() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let script = "mkfifo never; exec 4<>never; set -m; \
                  bitgo-vault list --passphrase-command 'echo asked > said; cat never' 4>&- & \
                  until grep -qs asked said; do sleep 0.1; done; kill -TERM $!; wait $!; echo ended $?";
    let words = ["/bin/sh", "-c", script];
    let mut terminal = Terminal::of(&words, 60, None, &bitgo, dir.path());
    terminal.sees("ended 143");
    assert_eq!(terminal.ends().0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_killed_is_repeated_at_a_terminal() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let vault = dir.path().join("vault");
    assert_eq!(ended(&mut bitgo_vault(["init", "--kdf", "1,1,1"], &bitgo, dir.path())).0, Some(0));
    // As a kill leaves it before the header is written.
    for name in ["header", "anchor"] {
        std::fs::remove_file(vault.join(name)).unwrap();
    }
    std::fs::write(vault.join("CREATING"), b"").unwrap();
    let mut terminal = Terminal::start(["init", "--kdf", "1,1,1"], &bitgo, dir.path());
    for _ in 0..2 {
        terminal.sees(PROMPT);
        terminal.types("a passphrase\r");
    }
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("made a vault"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reconciles_a_restored_vault_sees_how_long_it_waits_and_may_end_it() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let (dir, email) = (dir.path(), bitgo.email());
    let login = ["login", email, "--password-file", "password", "--otp", "0000000"];
    let issue = ["issue", "bot", "--scope", "wallet_view_all", "--no-limit", "--otp", "0000000"];
    let restore = ["--store", "other", "restore", "kept"];
    for args in [&["init", "--kdf", "1,1,1"][..], &login, &issue, &["backup", "kept"], &restore] {
        let (code, said) = ended(program(COMMAND, &bitgo, dir).args(args));
        assert_eq!(code, Some(0), "{said}");
    }
    for (signal, expect) in [(Signal::INT, None), (Signal::TERM, Some(128 + 15))] {
        let words = [COMMAND, "reconcile", "bot", "--store", "other"];
        let mut terminal = Terminal::of(&words, 200, None, &bitgo, dir);
        terminal.sees(PROMPT);
        terminal.types(&format!("{PASSPHRASE}\r"));
        terminal.sees("bot: what was signed before may still be on its way: ");
        terminal.sees("left");
        kill_process(Pid::from_child(&terminal.child), signal).unwrap();
        assert_eq!(terminal.ends().0, expect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_types_a_new_passphrase_where_a_vault_is() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(ended(&mut bitgo_vault(["init", "--kdf", "1,1,1"], &bitgo, dir.path())).0, Some(0));
    for (args, says) in [
        (["init", "--kdf", "1,1,1"].as_slice(), "there is a vault at"),
        (&["restore", "nothing-here"], "could not open the backup nothing-here"),
    ] {
        let words = [[COMMAND].as_slice(), args].concat();
        let (code, shown) = Terminal::of(&words, 200, None, &bitgo, dir.path()).ends();
        assert_eq!(code, Some(1), "{shown}");
        assert!(shown.contains(says) && !shown.contains(PROMPT), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn password_and_one_time_password_are_asked_for_as_they_are_wanted() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let passphrase = bitgo_vault(["init", "--kdf", "1,1,1"], &bitgo, dir.path());
    assert_eq!(ended(&mut { passphrase }).0, Some(0));
    let mut terminal = Terminal::start(["login", bitgo.email()], &bitgo, dir.path());
    let password = bitgo.password();
    for (prompt, answer) in [
        (PROMPT, PASSPHRASE),
        ("BitGo password: ", password.expose()),
        ("BitGo one-time password: ", bitgo.otp().expose()),
    ] {
        let before = terminal.sees(prompt);
        assert!(!before.contains(PASSPHRASE) && !before.contains(password.expose()));
        terminal.types(&format!("{answer}\r"));
    }
    let (code, shown) = terminal.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("session (session): \x1b[32mgood\x1b[0m"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_long_shows_that_it_lives_and_is_wiped_from_the_screen() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let init = ["init", "--kdf", "256,12,1"];
    let mut terminal = Terminal::start(init, &bitgo, dir.path());
    for _ in 0..2 {
        terminal.sees(PROMPT);
        terminal.types("a passphrase\r");
    }
    terminal.sees("deriving the key");
    let rest = terminal.sees("made a vault");
    assert!(rest.contains("\x1b[2K"), "the line of the spinner is wiped: {rest:?}");
    assert_eq!(terminal.ends().0, Some(0));
    let piped = tempfile::tempdir().unwrap();
    let (code, said) = ended(&mut bitgo_vault(init, &bitgo, piped.path()));
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("deriving") && !said.contains('\x1b'), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_fit_the_terminal_and_colours_are_left_out_where_they_are_not_wanted() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    let email = bitgo.email();
    let long = "a-label-that-is-much-longer-than-anybody-would-want-it-to-be";
    for args in [
        vec!["init", "--kdf", "1,1,1"],
        vec!["login", email, "--password-file", "password", "--otp", "0000000", "--label", long],
    ] {
        let (code, said) = ended(program(COMMAND, &bitgo, dir).args(args));
        assert_eq!(code, Some(0), "{said}");
    }
    for (verb, columns) in [("list", 60), ("status", 60), ("list", 30)] {
        let words = [COMMAND, verb];
        let mut terminal = Terminal::of(&words, columns, None, &bitgo, dir);
        terminal.sees(PROMPT);
        terminal.types(&format!("{PASSPHRASE}\r"));
        let (code, shown) = terminal.ends();
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.lines().count() > 1, "{shown}");
        for line in shown.lines() {
            assert!(line.chars().count() <= usize::from(columns), "{verb}, {columns}: {line:?}");
        }
    }
    for (switch, is_coloured) in [("TERM=xterm", true), ("TERM=dumb", false), ("NO_COLOR=1", false)]
    {
        let words = ["/usr/bin/env", switch, COMMAND, "doctor"];
        let (code, shown) = Terminal::of(&words, 60, None, &bitgo, dir).ends();
        assert_eq!(code, Some(0), "{shown}");
        assert_eq!(shown.contains('\x1b'), is_coloured, "{switch}: {shown:?}");
    }
}
