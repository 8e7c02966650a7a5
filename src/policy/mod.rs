//! What may leave the vault: pure and total functions that answer [`Denied`] with a reason.
//!
//! ```text
//! request   method, target and body as the exact bytes that will be signed
//! action    request → what it would do: permission, wallet, transfers
//! check     action × token → allowed, or the rule that forbids it
//! explain   what a request was read as, and every rule that was asked about it
//! limits    the counters of a spending limit, in checked arithmetic
//! book      all counters of a token and its successors: drawn upon, settled, reconciled
//! escrow    a book that many threads draw on, and its way to the disk
//! outcome   answer → what became of a signed spend
//! ```
//!
//! Deny by default: an unknown call, field, type or spelling is refused, never guessed.

mod action;
mod book;
mod check;
mod denied;
mod escrow;
mod explain;
mod json;
mod limits;
mod outcome;
mod request;
mod rules;
mod sync;

pub(crate) use action::Action;
pub use action::{ActionKind, Transfer};
pub use book::Drift;
pub(crate) use book::{Book, Draw, Meter, Moment, Sample, Sampling, Slot, Window, not_reconciled};
pub(crate) use check::{check, check_expiry};
pub use denied::{Denied, Rule};
pub(crate) use escrow::{Escrow, Ledger, Quiet};
pub use explain::{Consulted, Explanation};
pub use limits::Counter;
pub(crate) use limits::{Charge, charges};
pub use outcome::Outcome;
pub use request::{Draft, Method, Request, RequestError};
pub use rules::{CoinRules, CoinUnit, Decay, LocalRules, Purpose, TradingRules, WindowRule};
