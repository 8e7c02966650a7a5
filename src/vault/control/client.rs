//! The other end of the control socket: for a command beside the bot that holds the vault.

use super::{Ask, ControlStatus, Declared, NAME, Reply, line};
use crate::error::ErrorKind;
use crate::policy::Request;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The longest answer, in bytes: a status of ten thousand tokens.
const ANSWER_MAX: usize = 32 << 20;
/// The longest an answer takes: one that asks BitGo waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Speaks to the process that holds a vault.
#[derive(Clone, Debug)]
pub struct Control {
    path: PathBuf,
}

/// Why the process that holds a vault could not be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody answers there.
    #[error("nobody serves a control socket at {}: open the vault, or ask whoever holds it", path.display())]
    NotServed {
        /// Where.
        path: PathBuf,
    },
    /// The other end is not of this user.
    #[error("the control socket at {} is served by another user: nothing was asked", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
    },
    /// It was asked and refused, or could not.
    #[error("{why}")]
    Refused {
        /// What it said.
        why: String,
        /// What that asks of you; [`ErrorKind::Other`] where it did not say.
        kind: ErrorKind,
    },
    /// The connection failed, or what came over it cannot be read.
    #[error("the control socket failed")]
    Io(#[from] io::Error),
}

/// What the rules say of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ControlVerdict {
    /// The rule that refuses, if one does.
    pub denied_by: Option<String>,
    /// That rule's section in the runbook ([`guide::operations`](crate::guide::operations)).
    pub see: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// How far a renewal has come that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ControlRenewal {
    /// It was begun, and may fail yet: the status tells.
    Begun,
    /// The token had been imported unverified, and was verified.
    Verified,
}

impl Control {
    /// The control socket of the vault in the directory `path`, if somebody serves it.
    ///
    /// # Errors
    /// [`ControlError::NotServed`], [`ControlError::Foreign`], [`ControlError::Io`].
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, ControlError> {
        let control = Self { path: path.as_ref().join(NAME) };
        control.open().await?;
        Ok(control)
    }

    /// What the vault holds, and how it stands.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn status(&self) -> Result<ControlStatus, ControlError> {
        self.ask(&Ask::Status {}).await
    }

    /// Freezes the vault. It is frozen when this answers; `Ok` means durably.
    ///
    /// # Errors
    /// [`ControlError`]. Where nobody answers, [`Vault::freeze_at`](crate::Vault::freeze_at) does it.
    pub async fn freeze(&self) -> Result<(), ControlError> {
        self.ask(&Ask::Freeze {}).await
    }

    /// Asks for the renewal of a token now, and tells how far that has come. How it went the status tells.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn renew(&self, label: &str) -> Result<ControlRenewal, ControlError> {
        self.ask(&Ask::Renew { label: label.into() }).await
    }

    /// Does what [`Vault::reconcile`](crate::Vault::reconcile) does.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn reconcile(&self, label: &str) -> Result<(), ControlError> {
        self.ask(&Ask::Reconcile { label: label.into() }).await
    }

    /// The last entries of the audit log, oldest first, each as a line of JSON as
    /// [`Vault::export_audit`](crate::Vault::export_audit) writes it; at most 47.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn audit(&self, entries: usize) -> Result<Vec<String>, ControlError> {
        self.ask(&Ask::Audit { entries }).await
    }

    /// What the rules say of a request, but for the budget. Nothing is reserved.
    ///
    /// # Errors
    /// [`ControlError`].
    ///
    /// # Security
    /// The body goes through the memory of both processes, where copies of it may stay. No rule reads a
    /// wallet's passphrase: leave it out.
    pub async fn check(
        &self,
        label: &str,
        request: &Request,
    ) -> Result<ControlVerdict, ControlError> {
        let body = String::from_utf8(request.body().to_vec())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let (label, target) = (label.into(), request.target().into());
        let method = request.method().as_str().into();
        let declared = request.declared().iter().map(|transfer| Declared {
            coin: transfer.coin.as_str().into(),
            amount: transfer.amount.to_string(),
            destination: transfer.destination.as_ref().into(),
        });
        let declared = declared.collect();
        self.ask(&Ask::Check { label, method, target, body, declared }).await
    }

    async fn open(&self) -> Result<UnixStream, ControlError> {
        let not_served = |_| ControlError::NotServed { path: self.path.clone() };
        let stream = UnixStream::connect(&self.path).await.map_err(not_served)?;
        match line::is_ours(&stream) {
            true => Ok(stream),
            false => Err(ControlError::Foreign { path: self.path.clone() }),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, ControlError> {
        let stream = self.open().await?;
        let answer = async {
            line::write(&stream, serde_json::to_vec(ask)?).await?;
            line::read(&stream, ANSWER_MAX).await
        };
        let answer = timeout(PATIENCE, answer).await.map_err(io::Error::from)??;
        match serde_json::from_slice(&answer).map_err(io::Error::from)? {
            Reply::Ok { ok } => Ok(ok),
            Reply::Error { error: why, kind } => {
                Err(ControlError::Refused { why, kind: ErrorKind::named(&kind) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_says_what_to_do() {
        let path = || PathBuf::from("vault/CONTROL");
        for (error, expect) in [
            (
                ControlError::NotServed { path: path() },
                "nobody serves a control socket at vault/CONTROL: open the vault, or ask whoever holds it",
            ),
            (
                ControlError::Foreign { path: path() },
                "the control socket at vault/CONTROL is served by another user: nothing was asked",
            ),
            (
                ControlError::Refused { why: "the vault is closed".into(), kind: ErrorKind::Other },
                "the vault is closed",
            ),
            (ControlError::Io(io::ErrorKind::UnexpectedEof.into()), "the control socket failed"),
        ] {
            assert_eq!(error.to_string(), expect);
        }
    }

    #[test]
    fn an_answer_of_before_there_were_kinds_is_read() {
        let read = |line: &str| match serde_json::from_str::<Reply<()>>(line).unwrap() {
            Reply::Ok { ok } => Ok(ok),
            Reply::Error { error, kind } => Err((error, ErrorKind::named(&kind))),
        };
        let frozen = |kind| Err(("it is frozen".to_owned(), kind));
        assert_eq!(read(r#"{"ok":null}"#), Ok(()));
        assert_eq!(read(r#"{"error":"it is frozen"}"#), frozen(ErrorKind::Other));
        let denied = r#"{"error":"it is frozen","kind":"denied"}"#;
        assert_eq!(read(denied), frozen(ErrorKind::Denied));
        let of_tomorrow = r#"{"error":"it is frozen","kind":"of tomorrow","since":1}"#;
        assert_eq!(read(of_tomorrow), frozen(ErrorKind::Other));
    }
}
