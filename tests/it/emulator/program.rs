//! The emulator as a program: one line, then service until a signal.

use bitgo_vault::api::{Client, ClientSettings, LoginOptions};
use bitgo_vault::{Environment, LoginPassword, Otp, SystemClock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// It must not outlive its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended cannot be killed.
        let _ = self.0.kill();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitgo-vault"));
    command.arg("emulator").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn it_says_how_to_log_in_and_ends_with_a_signal() {
    for (signal, args) in [
        (Signal::TERM, ["--listen", "127.0.0.1:0"].as_slice()),
        (Signal::INT, &["--envelope", "2"]),
    ] {
        let mut program = Program(command(args).spawn().unwrap());
        let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let mut names: Vec<&String> = line.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["email", "otp", "password", "serverXpub", "url"]);

        let text = |name: &str| line[name].as_str().unwrap();
        let environment = Environment::custom(text("url"), text("serverXpub")).unwrap();
        let clock = Arc::new(SystemClock::new());
        let client = Client::new(&environment, clock, ClientSettings::default()).unwrap();
        let (password, otp) = (LoginPassword::new(text("password")), Otp::new(text("otp")));
        let options = LoginOptions::default();
        client.login(text("email"), &password, &otp, &options).await.unwrap();

        // With a connection that is still open.
        kill_process(Pid::from_child(&program.0), signal).unwrap();
        assert!(program.0.wait().unwrap().success());
        assert!(lines.next().is_none(), "one line is all it prints");
    }
}

#[test]
fn what_it_is_told_wrongly_is_a_usage_error() {
    for args in [["--listen", "0.0.0.0:0"], ["--listen", "[::]:0"], ["--envelope", "3"]] {
        let ended = command(&args).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{args:?}");
        assert!(ended.stdout.is_empty());
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains(args[1]), "{said}");
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_that_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = command(&["--listen", &address]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "bitgo-vault: could not start the emulator");
    let why = ["  see: BV-0001", "  because: no port on loopback could be had"];
    assert_eq!(lines[1..], why, "{said}");
}
