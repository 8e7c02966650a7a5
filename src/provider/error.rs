//! Why a secret was not brought.

use super::input::Unread;
use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

/// Why a [`Provider`](super::Provider) brought no secret. It holds nothing of what was read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// Whoever was asked does not want to say.
    #[error("the prompt was cancelled")]
    Cancelled,
    /// The process has no terminal.
    #[error("there is no terminal to ask at")]
    NoTerminal(#[source] io::Error),
    /// A file, descriptor, terminal or command could not be read.
    #[error("{what} could not be read")]
    Unreadable {
        /// What it was.
        what: Cow<'static, str>,
        /// Why.
        source: io::Error,
    },
    /// The descriptor was read before, and is at its end.
    #[error("the descriptor was read already")]
    ReadAlready,
    /// The command is not there, or may not be run.
    #[error("the command could not be run")]
    NotRun(#[source] io::Error),
    /// The command said itself that it failed; what it wrote is not used.
    #[error("the command failed with status {status}")]
    CommandFailed {
        /// Its exit status.
        status: i32,
    },
    /// The command was killed; what it wrote is not used.
    #[error("the command was ended by a signal")]
    CommandKilled,
    /// The command took too long, and was killed with all that it started.
    #[error("the command brought nothing within {limit:?}")]
    TimedOut {
        /// How long it had.
        limit: Duration,
    },
    /// Nothing but a line's end was there.
    #[error("the secret is empty")]
    Empty,
    /// It is no UTF-8.
    #[error("the secret is no text")]
    NoText,
    /// No secret is that long.
    #[error("the secret is longer than {most} bytes")]
    TooLong {
        /// The most that is read.
        most: usize,
    },
    /// The caller's closure says no.
    #[error("the closure brought nothing")]
    Closure(#[source] Box<dyn Error + Send + Sync>),
}

impl ProviderError {
    /// A closure for `map_err` that names what could not be read.
    pub(super) fn of(what: impl Into<Cow<'static, str>>) -> impl FnOnce(Unread) -> Self {
        let what = what.into();
        move |unread| match unread {
            Unread::Io(source) => Self::Unreadable { what, source },
            Unread::TooLong { most } => Self::TooLong { most },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest of the lines are tested where they come from.
    #[test]
    fn the_lines_of_the_terminal() {
        let io = || io::Error::from(io::ErrorKind::NotFound);
        for (error, line) in [
            (ProviderError::Cancelled, "the prompt was cancelled"),
            (ProviderError::NoTerminal(io()), "there is no terminal to ask at"),
            (
                ProviderError::Unreadable { what: "the terminal".into(), source: io() },
                "the terminal could not be read",
            ),
        ] {
            assert_eq!(error.to_string(), line);
        }
    }
}
