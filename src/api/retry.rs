//! When a call that changes nothing is asked again, and when no more.
//!
//! ```text
//! failure (PROTOCOL section 7)        asked again after
//! no status, 408, 424, 5xx            half to all of 0.2 s, 0.4 s, 0.8 s … 5 s; Retry-After if later
//! 429                                 Retry-After, if the server says so; else as above
//! anything else                       never
//! ```
//!
//! Never more often than set, never past the call's end, and only while the budget lasts: it is
//! shared by all calls of a client, so that an outage is not met with a multiple of the load.

use super::error::ApiError;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long the first wait is at most.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// How long any wait is at most that the server has not asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What one repetition costs, where a call that succeeds earns 1.
const COST: u32 = 10;

/// How long to wait before a call that changes nothing is asked again; `None` if it is not.
///
/// `repeated` times it was already, of at most `most`; `left` is what remains of the call's time;
/// `jitter` is any number, evenly spread.
pub(super) fn wait_before_retry(
    error: &ApiError,
    repeated: u32,
    most: u32,
    left: Duration,
    jitter: u32,
) -> Option<Duration> {
    if repeated >= most || !error.is_transient() {
        return None;
    }
    let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(repeated)).min(LONGEST_WAIT);
    let share = longest.mul_f64(f64::from(jitter) / f64::from(u32::MAX) / 2.0);
    // What the server asks for is the least; jitter comes on top, or all would be back at once.
    let wait = match error.retry_after() {
        Some(asked) => asked.max(longest / 2).saturating_add(share),
        None => (longest / 2).saturating_add(share),
    };
    (wait < left).then_some(wait)
}

/// What may still be repeated: a bucket of tokens, in shares of `1 / COST`.
#[derive(Debug)]
pub(super) struct RetryBudget {
    left: AtomicU32,
    most: u32,
}

impl RetryBudget {
    /// A full bucket of `repetitions`.
    pub(super) fn new(repetitions: u32) -> Self {
        let most = repetitions.saturating_mul(COST);
        Self { left: AtomicU32::new(most), most }
    }

    /// Takes one repetition, if one is left.
    pub(super) fn take(&self) -> bool {
        let less = |left: u32| left.checked_sub(COST);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok()
    }

    /// Earns a tenth of a repetition.
    pub(super) fn earn(&self) {
        let more = |left: u32| (left < self.most).then_some(left + 1);
        // A full bucket stays full.
        let _ = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Distrust;
    use super::super::refusal::Refusal;
    use super::super::request_id::RequestId;
    use super::*;

    const ID: RequestId = RequestId::from_bytes([0xab; 16]);
    const MOST: u32 = 8;

    fn refusal(status: u16, retry_after_secs: Option<u64>) -> Refusal {
        Refusal::new(status, None, ID, None, retry_after_secs.map(Duration::from_secs))
    }

    /// Every row of PROTOCOL section 7, and what it is waited for.
    #[test]
    fn only_what_is_transient_is_asked_again() {
        let source = || Box::from("below");
        let limited = |secs| ApiError::RateLimited {
            refusal: refusal(429, secs),
            retry_after: secs.map(Duration::from_secs),
        };
        let transient = |status, secs| ApiError::Transient(refusal(status, secs));
        for (error, wait_ms) in [
            (ApiError::Unreachable { request_id: ID, source: source() }, Some(100)),
            (ApiError::Lost { request_id: ID, source: source() }, Some(100)),
            (transient(408, None), Some(100)),
            (transient(424, None), Some(100)),
            (transient(500, None), Some(100)),
            (transient(503, Some(3)), Some(3000)),
            (limited(None), Some(100)),
            (limited(Some(0)), Some(100)),
            (limited(Some(3)), Some(3000)),
            (limited(Some(29)), Some(29_000)),
            (limited(Some(30)), None),
            (limited(Some(3600)), None),
            (ApiError::TokenDead(refusal(401, None)), None),
            (ApiError::OtpRequired(refusal(401, None)), None),
            (ApiError::OtpRefused(refusal(401, None)), None),
            (ApiError::NeedsUnlock(refusal(401, None)), None),
            (ApiError::SsoRequired(refusal(401, None)), None),
            (ApiError::IpNotAllowed { refusal: refusal(401, None), egress: None }, None),
            (ApiError::Unauthorized(refusal(401, None)), None),
            (ApiError::Forbidden(refusal(403, None)), None),
            (ApiError::Rejected(refusal(400, None)), None),
            (ApiError::EndpointGone(refusal(404, None)), None),
            (ApiError::Untrusted { what: Distrust::HmacWrong, status: 200, request_id: ID }, None),
            (ApiError::Untrusted { what: Distrust::Html, status: 200, request_id: ID }, None),
            (ApiError::Unsendable("the target is no path"), None),
        ] {
            let wait = wait_before_retry(&error, 0, MOST, Duration::from_secs(30), 0);
            assert_eq!(wait, wait_ms.map(Duration::from_millis), "{error}");
        }
    }

    #[test]
    fn waits_double_are_jittered_and_end() {
        let error = ApiError::Transient(refusal(503, None));
        let left = Duration::from_secs(30);
        for (repeated, jitter, wait_ms) in [
            (0, 0, Some(100)),
            (0, u32::MAX, Some(200)),
            (1, 0, Some(200)),
            (1, u32::MAX, Some(400)),
            (2, u32::MAX / 2, Some(600)),
            (7, 0, Some(2500)),
            (7, u32::MAX, Some(5000)),
            (8, 0, None),
            (u32::MAX, 0, None),
        ] {
            let wait = wait_before_retry(&error, repeated, MOST, left, jitter);
            let rounded = wait.map(|wait| u64::try_from(wait.as_micros()).unwrap().div_ceil(1000));
            assert_eq!(rounded, wait_ms, "{repeated} {jitter}");
        }
        assert_eq!(wait_before_retry(&error, 0, 0, left, 0), None, "switched off");
        for (left_ms, waits) in [(101, true), (100, false), (0, false)] {
            let wait = wait_before_retry(&error, 0, MOST, Duration::from_millis(left_ms), 0);
            assert_eq!(wait.is_some(), waits, "{left_ms} ms are left");
        }
    }

    #[test]
    fn the_budget_ends_and_is_earned_back_by_success() {
        let budget = RetryBudget::new(2);
        budget.earn();
        assert!(budget.take() && budget.take(), "a full bucket holds no more");
        assert!(!budget.take());
        (1..COST).for_each(|_| budget.earn());
        assert!(!budget.take(), "nine tenths are not one");
        budget.earn();
        assert!(budget.take());
        assert!(!RetryBudget::new(0).take());
    }
}
