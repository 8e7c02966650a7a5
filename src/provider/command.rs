//! A secret from the output of a program, such as a password manager.

use super::error::ProviderError;
use super::input::{self, Line, Unread};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a command may take: some ask a human first.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked whether a command whose output has ended has ended as well.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A program with its arguments, run without a shell. It gets no input; what it complains about goes
/// where this process's complaints go.
pub struct SecretCommand {
    program: OsString,
    arguments: Vec<OsString>,
    without: Vec<OsString>,
    time_limit: Duration,
}

impl fmt::Debug for SecretCommand {
    /// Leaves out the arguments: somebody may put there what does not belong there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretCommand").field("program", &self.program).finish_non_exhaustive()
    }
}

impl SecretCommand {
    /// The program: a path, or a name that is looked up in `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            without: Vec::new(),
            time_limit: TIME_LIMIT,
        }
    }

    /// Adds an argument, as it stands.
    ///
    /// # Security
    /// Every user of the machine can read the arguments of a running program: put no secret there.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Keeps a variable of this process's environment from the program, such as one that holds a secret.
    pub fn without(mut self, variable: impl Into<OsString>) -> Self {
        self.without.push(variable.into());
        self
    }

    /// How long it may take: 30 s unless said otherwise. Then it is killed, with what it started.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    pub(super) fn line(&self) -> Result<Line, ProviderError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        for variable in &self.without {
            command.env_remove(variable);
        }
        // A group of its own, by which all that it started can be ended.
        let child = command.process_group(0).spawn().map_err(ProviderError::NotRun)?;
        let mut running = Running(child);
        let output = running.0.stdout.take();
        let (sender, brought) = mpsc::channel();
        std::thread::spawn(move || {
            let read = match output {
                Some(mut output) => input::line(&mut output),
                None => Ok(Line::new()),
            };
            // Whoever waited may have gone: what was read is then wiped here.
            let _ = sender.send(read);
        });
        let limit = self.time_limit;
        let read: Result<Line, Unread> =
            brought.recv_timeout(limit).map_err(|_| ProviderError::TimedOut { limit })?;
        let line = read.map_err(ProviderError::of("the command's output"))?;
        match running.ended(limit)?.code() {
            Some(0) => Ok(line),
            Some(status) => Err(ProviderError::CommandFailed { status }),
            None => Err(ProviderError::CommandKilled),
        }
    }
}

/// A command that does not outlive its use.
struct Running(Child);

impl Running {
    /// Waits until it ends, which it does at once where its output has; at most `limit`.
    fn ended(&mut self, limit: Duration) -> Result<ExitStatus, ProviderError> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = self.0.try_wait().map_err(ProviderError::NotRun)? {
                return Ok(status);
            }
            if waited >= limit {
                return Err(ProviderError::TimedOut { limit });
            }
            std::thread::sleep(LOOK_AGAIN);
            waited += LOOK_AGAIN;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it has ended, and was waited for, its number may be another's: then nothing is done.
        if let Ok(None) = self.0.try_wait() {
            if let Some(group) = Pid::from_raw(self.0.id().cast_signed()) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }
}
