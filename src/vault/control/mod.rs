//! The control socket: by it another process of the same user asks the one that holds the vault.
//!
//! ```text
//! <vault>/CONTROL   a Unix socket, 0600; both ends check that the other is of the same user
//! one line of JSON each way, then it is closed
//!   {"verb":"status"}                          {"verb":"renew","label":"…"}
//!   {"verb":"freeze"}                          {"verb":"reconcile","label":"…"}
//!   {"verb":"audit","entries":20}              {"verb":"check","label":"…","method":"POST","target":"/…","body":"…"}
//!   answer: {"ok":…} or {"error":"…"}
//! ```
//!
//! What `status` answers is in [`status`]; `docs/CONTROL.md` tells every field. A request has a capped length and time, and few are heard at once. No answer holds a token, a key or
//! a signature, and nothing loosens: to thaw, unlock, expose or allow takes the vault itself.

mod client;
mod line;
mod server;
mod status;

pub use client::{Control, ControlError, ControlVerdict};
pub use server::ControlUnavailable;
pub(super) use server::Server;
pub use status::{ControlCounter, ControlStatus, ControlToken};

use super::Vault;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The socket's name in the vault's directory.
const NAME: &str = "CONTROL";

/// What is asked.
#[derive(Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "camelCase", deny_unknown_fields)]
enum Ask {
    Status {},
    Freeze {},
    Renew { label: String },
    Reconcile { label: String },
    Audit { entries: usize },
    Check { label: String, method: String, target: String, body: String },
}

/// What is answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Reply<T> {
    Ok(T),
    Error(String),
}

impl Vault {
    /// Where the control socket is.
    ///
    /// # Errors
    /// Why there is none. The vault does without.
    pub fn control_socket(&self) -> Result<&Path, &ControlUnavailable> {
        self.core.control.path()
    }
}
