//! A refusal by the server: its status, name and request, never its body.

use super::request_id::RequestId;
use chrono::{DateTime, Utc};
use std::fmt;
use std::time::Duration;

/// A refusal by the server, or by something that answers in its place.
#[derive(Clone)]
pub struct Refusal {
    status: u16,
    name: Option<Box<str>>,
    request_id: RequestId,
    server_time: Option<DateTime<Utc>>,
    said_time: Option<DateTime<Utc>>,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(
        status: u16,
        name: Option<Box<str>>,
        request_id: RequestId,
        server_time: Option<DateTime<Utc>>,
        retry_after: Option<Duration>,
    ) -> Self {
        Self { status, name, request_id, server_time, said_time: None, retry_after }
    }

    /// The refusal, which bears this `Date`.
    pub(super) fn saying(self, said_time: Option<DateTime<Utc>>) -> Self {
        Self { said_time, ..self }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// BitGo's name for the error.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The id of the request that was refused.
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// Whether the refusal carried a valid HMAC within the window.
    pub fn is_verified(&self) -> bool {
        self.server_time.is_some()
    }

    /// How long the server asks to wait, at most an hour; `None` where it does not say.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The time by its `Date`: nobody vouches for it.
    pub(super) fn said_time(&self) -> Option<DateTime<Utc>> {
        self.said_time
    }

    /// The server's time, known only where it was signed.
    pub(super) fn server_time(&self) -> Option<DateTime<Utc>> {
        self.server_time
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        if !self.is_verified() {
            f.write_str(", not signed")?;
        }
        write!(f, ", request {}", self.request_id)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusal({self})")
    }
}
