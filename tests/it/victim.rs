//! The test as a process of its own that is killed: started again as the child, listened to, ended
//! with SIGKILL at a moment that nobody chose.
//!
//! A child speaks in lines, each given to the pipe by one write before it goes on, so that what was
//! said before the kill is heard after it. What libtest prints itself comes between.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::env;
use std::io::{BufRead, BufReader, Write, stdout};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// How often a child is killed, unless a test says otherwise; `.ci/full` raises it.
const KILLS: &str = "BITGO_VAULT_KILLS";
/// What the child is given; in the parent it is not set.
const GIVEN: &str = "BITGO_VAULT_VICTIM";
/// A child that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How often to kill.
pub(crate) fn kills(default: u32) -> u32 {
    env::var(KILLS).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// What the parent gave, if this is the child.
pub(crate) fn given() -> Option<Vec<String>> {
    let given = env::var(GIVEN).ok()?;
    Some(given.split('\n').map(str::to_owned).collect())
}

/// Says a line to the parent.
pub(crate) fn say(line: &str) {
    // What libtest has printed before may lack its end.
    stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

pub(crate) fn random(below: u64) -> u64 {
    getrandom::u64().unwrap() % below
}

/// The child, as its parent sees it.
pub(crate) struct Victim {
    child: Child,
    lines: Receiver<String>,
}

impl Victim {
    /// Runs the test of this name again, as the child.
    pub(crate) fn start(test: &str, given: &[&str]) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(GIVEN, given.join("\n"))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut pipe = BufReader::new(child.stdout.take().unwrap());
        let (hear, lines) = mpsc::channel();
        // Read as it comes: a child that waits for a full pipe does no work.
        thread::spawn(move || {
            let mut line = Vec::new();
            // A last line that the kill cut short has no end: it was not said.
            while pipe.read_until(b'\n', &mut line).is_ok() && line.pop() == Some(b'\n') {
                // Nobody may be listening any more.
                let _ = hear.send(String::from_utf8(std::mem::take(&mut line)).unwrap());
            }
        });
        Self { child, lines }
    }

    /// The child's next line.
    pub(crate) fn hear(&self) -> String {
        self.lines.recv_timeout(SILENCE_MAX).expect("the child speaks until it is killed")
    }

    /// Kills the child; what it said and was not heard yet.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let ended = self.child.wait().unwrap();
        assert_eq!(ended.signal(), Some(9), "the child ended by itself: {ended}");
        self.lines.iter().collect()
    }
}
