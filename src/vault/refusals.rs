//! That one refusal gives back one reservation.
//!
//! BitGo's answers are signed over method, time, target, status and body (PROTOCOL section 3),
//! not over what was asked. A refusal that somebody on the way keeps, and shows again for another
//! request to the same target, would free budget that was spent. So a refusal counts only if it is
//! newer than all that the server was known to have said when the request was signed, by the
//! server's own clock, and only once. What was said before the vault was opened is not known, so
//! that nothing counts from before that ([`Core::opened_ms`](super::core::Core::opened_ms)).

use crate::crypto::WINDOW_BACK_MS;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub(super) struct Refusals {
    /// The refusals that have counted, within the window in which they could be shown again.
    /// Held for one look-up and one insertion.
    counted: Mutex<BTreeSet<(i64, String)>>,
}

impl Refusals {
    /// Whether a refusal may count for a request that was signed when `floor_ms` was the latest time that
    /// the server was known to have signed.
    pub(super) fn counts(&self, floor_ms: i64, answered_at_ms: i64, hmac: &str) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = floor_ms.saturating_sub(2 * WINDOW_BACK_MS);
        *counted = counted.split_off(&(oldest, String::new()));
        answered_at_ms >= floor_ms && counted.insert((answered_at_ms, hmac.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_once_and_only_if_it_is_news() {
        let (refusals, floor) = (Refusals::default(), 1000);
        assert!(refusals.counts(floor, 1000, "ab"));
        assert!(!refusals.counts(floor, 1000, "ab"), "shown again");
        assert!(!refusals.counts(floor, 999, "cd"), "from before the request");
        let floor = 1000 + 3 * WINDOW_BACK_MS;
        assert!(!refusals.counts(floor, 1000, "ab"), "forgotten, but too old");
        assert!(refusals.counted.lock().unwrap().is_empty());
    }
}
