//! Seams for tests, benches and fuzz targets. No part of the crate's promises.
//!
//! ```text
//! clock            wall time and tokio's, moved together
//! parsers, backup  readers of bytes that an attacker may have written
//! request_grammar  requests, and what they move by a plain reading
//! ledger_model     a book against a plain model of who spent what
//! store, work      a store without a vault around it, for who kills the worker or damages its files
//! many_tokens      a store of many tokens, for who measures
//! exposed          a token handed out without the audit log's word, for who measures
//! vectors          the files of tests/vectors, played
//! ```

mod backup;
mod clock;
mod exposed;
mod ledger_model;
mod many_tokens;
mod parsers;
mod request_grammar;
mod store;
pub mod vectors;
mod work;

pub use backup::{open_backup, seal_backup};
pub use clock::TokioClock;
pub use exposed::expose_untold;
pub use ledger_model::{LedgerStep, run_ledger_model};
pub use many_tokens::{ManyTokens, user};
pub use parsers::{
    StoreHeader, judge, recode_anchor, recode_holder, recode_rows, recode_token_info,
};
pub use request_grammar::{Moved, generate, moved_by, plain_reading};
pub use store::{Kept, keep_in_store, open_from_store, secrets_in};
pub use work::{KeptToken, Work};

/// Does what takes one record as the store does it: with the stack wiped after it.
pub fn wiped_record<T>(work: impl FnOnce() -> T) -> T {
    crate::crypto::stack::wiped_record(work)
}

/// How many key derivations opening and sealing envelopes has cost this thread so far.
///
/// The difference of two readings shows what lies between them: of a refused envelope, nothing.
pub fn kdf_calls() -> u64 {
    crate::crypto::envelope::kdf_calls::so_far()
}
