//! The rows of the audit log.

use bincode::{Decode, Encode};

/// A record of the audit log's open segment.
#[derive(Encode, Decode)]
pub(in crate::store) enum AuditRow {
    Entry {
        /// From 0 on; the entry's name is made of it.
        number: u64,
        previous: [u8; 32],
        entry: EntryRow,
    },
    /// What a token did this minute.
    Open { token_id: [u8; 16], entries: Vec<EntryRow> },
    /// What was pruned: how many entries, and the hash of the last.
    Pruned { entries: u64, last: [u8; 32] },
}

/// One entry of the audit log, without its place.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(in crate::store) struct EntryRow {
    pub(in crate::store) at_ms: i64,
    pub(in crate::store) action: u8,
    /// Zeros where it befell no token.
    pub(in crate::store) token_id: [u8; 16],
    /// The name of the rule that refused; empty where none did.
    pub(in crate::store) rule: String,
    /// Empty where no money was to move.
    pub(in crate::store) coin: String,
    pub(in crate::store) amount: u128,
    pub(in crate::store) count: u64,
    pub(in crate::store) since_ms: i64,
    /// Zeros where it is of no request.
    pub(in crate::store) first_request: [u8; 16],
    pub(in crate::store) last_request: [u8; 16],
}

/// Entries of the audit log that will not change.
#[derive(Encode, Decode)]
pub(in crate::store) struct SegmentRow {
    /// The number of the first; the segment's name is made of it.
    pub(in crate::store) first: u64,
    pub(in crate::store) previous: [u8; 32],
    pub(in crate::store) entries: Vec<EntryRow>,
}
