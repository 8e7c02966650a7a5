//! What may leave the vault: pure and total functions that answer [`Denied`] with a reason.
//!
//! ```text
//! request    method, target and body as the exact bytes that will be signed
//! action     request → what it would do: permission, wallet, transfers
//! json       what it is read with: json_reader finds values, json closed lists of fields
//! coins      how a coin that is named is counted
//! rules      the vault's own rules for a token; their bounds; whether others loosen them
//! rules_json the rules as people write and read them
//! check      action × token × rules → allowed, or the rule that forbids it
//! explain    what a request was read as, and every rule that was asked about it
//! charges    what an action is charged, by purpose and coin
//! limits     the counters of a spending limit, in checked arithmetic
//! book       all counters of a token and its successors: drawn upon, settled, reconciled
//! escrow     a book that many threads draw on, and its way to the disk
//! outcome    answer → what became of a signed spend
//! ```
//!
//! Deny by default: an unknown call, field, type or spelling is refused, never guessed.

mod action;
#[cfg(test)]
mod any;
mod book;
mod bounds;
mod charges;
mod check;
mod coins;
mod denied;
mod escrow;
mod explain;
mod json;
mod json_reader;
mod limits;
mod loosening;
mod moment;
mod outcome;
mod request;
mod rules;
mod rules_json;
mod sync;

pub(crate) use action::Action;
pub use action::{ActionKind, Transfer};
#[cfg(test)]
pub(crate) use any::any_rules;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use book::Drawn;
pub use book::Drift;
#[cfg(test)]
pub(crate) use book::WINDOWS_MAX;
pub(crate) use book::{Book, Draw, Meter, Sample, Sampling, Slot, Window, not_reconciled};
pub use bounds::RulesError;
pub(crate) use charges::charges;
pub(crate) use check::{check, check_expiry, consult, unverified};
pub use denied::{Denied, Rule};
pub(crate) use escrow::{Escrow, Ledger, Quiet};
pub use explain::{Consulted, Explanation};
pub(crate) use limits::Charge;
pub use limits::Counter;
pub(crate) use moment::Moment;
pub use outcome::Outcome;
pub(crate) use request::BODY_MAX;
pub use request::{Draft, Method, Request, RequestError};
pub(crate) use rules::KeptRules;
pub use rules::{CoinRules, CoinUnit, Decay, LocalRules, Purpose, TradingRules, WindowRule};
pub(crate) use rules_json::RulesJson;
