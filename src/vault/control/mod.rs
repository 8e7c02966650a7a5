//! The control socket: by it another process of the same user asks the one that holds the vault.
//!
//! ```text
//! <vault>/CONTROL   a Unix socket, 0600; both ends check that the other is of the same user
//! one line of JSON each way, then it is closed
//!   {"verb":"status"}                          {"verb":"renew","label":"…"}
//!   {"verb":"freeze"}                          {"verb":"reconcile","label":"…"}
//!   {"verb":"audit","entries":20}              {"verb":"check","label":"…","method":"POST","target":"/…","body":"…"}
//!                                                and where it declares them, "declared":[{"coin":"…","amount":"…","destination":"…"}]
//!   answer: {"ok":…} or {"error":"…","kind":"…"}
//! ```
//!
//! `docs/CONTROL.md` tells every field of what `status` answers. A request has a capped length and time,
//! and few are heard at once. No answer holds a token, a key or a signature, and nothing loosens: to
//! thaw, unlock, expose or allow takes the vault itself.

mod client;
mod line;
mod server;
mod status;

pub use client::{Control, ControlError, ControlRenewal, ControlVerdict};
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
    Renew {
        label: String,
    },
    Reconcile {
        label: String,
    },
    Audit {
        entries: usize,
    },
    Check {
        label: String,
        method: String,
        target: String,
        body: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        declared: Vec<Declared>,
    },
}

/// What the caller says that a request moves.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    coin: String,
    /// In base units, in digits.
    amount: String,
    destination: String,
}

/// What is answered.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Reply<T> {
    Ok {
        ok: T,
    },
    Error {
        error: String,
        /// The name of an [`ErrorKind`](crate::ErrorKind). A holder of before there were any has none.
        #[serde(default)]
        kind: String,
    },
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
