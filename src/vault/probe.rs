//! Whether a token lives: what a 401 says of it, and BitGo's answer to the token itself.
//!
//! A clock that is wrong makes every request a refused one, and BitGo does not sign such refusals. So
//! what nobody vouches for is asked once more by BitGo's own time where that is known to differ, and
//! while it differs no refusal but a signed one ends a token.

use super::core::Core;
use super::credential::Credential;
use super::entry::Held;
use crate::api::wire::TokenRecord;
use crate::api::{ApiError, Doubt};
use crate::clock::Clock;
use crate::crypto::WINDOW_FORWARD_MS;
use crate::refresh::{self, Verdict};
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;
use std::time::Duration;

/// What a 401 to a request of this token says of it: it may be dead, or is.
pub(super) fn note_refusal(core: &Core, held: &Held, doubt: Option<Doubt>, is_verified: bool) {
    let Some(doubt) = doubt else { return };
    let is_signed = is_verified && doubt == Doubt::Dead;
    let token = held.record.info.id;
    core.tracker.happened(held.record.lineage, refresh::Event::Refused { token, is_signed });
}

/// Asks for a token's own record with the token itself.
pub(super) async fn ask(core: &Core, held: &Held) -> Verdict {
    let Ok(secret) = core.store.open_secret(held.record.lineage, &held.secret) else {
        return Verdict::Unknown;
    };
    let Ok(credential) = Credential::of(core, &secret.token) else { return Verdict::Unknown };
    let verdict = judged(held, core.client.session(credential.auth()).await);
    // By a clock that is wrong every request is refused, and nobody signs that: BitGo is asked once
    // more, by its own time.
    let Some(apart) = (verdict == Verdict::Refused).then(|| ClocksApart::of(core)).flatten() else {
        return verdict;
    };
    tracing::warn!(
        name: "clock.skewed",
        label = %held.record.label,
        seconds = apart.ahead.num_seconds(),
        "this machine's clock differs from bitgo's by more than requests may: set it",
    );
    let is_certain = apart.is_certain;
    let client = core.client.by_clock(Arc::new(apart));
    match judged(held, client.session(credential.auth()).await) {
        // Whoever refused it may have refused the clock.
        Verdict::Refused if is_certain => Verdict::Unknown,
        verdict => verdict,
    }
}

/// What an answer about a token's own record says of it.
fn judged(held: &Held, answer: Result<TokenRecord, ApiError>) -> Verdict {
    match answer {
        Ok(record) if record.id == held.record.info.id || held.is_unverified() => Verdict::Alive,
        Ok(_) => Verdict::Unknown,
        Err(ApiError::TokenDead(refusal) | ApiError::Unauthorized(refusal)) => {
            match refusal.is_verified() {
                true => Verdict::Dead,
                false => Verdict::Refused,
            }
        }
        // Refused for something else, by who knows it.
        Err(error)
            if error
                .refusal()
                .is_some_and(|refusal| refusal.status() == 401 && refusal.is_verified()) =>
        {
            Verdict::Alive
        }
        Err(_) => Verdict::Unknown,
    }
}

/// BitGo's clock, where this machine's differs from it by more than a request or its answer may.
struct ClocksApart {
    clock: Arc<dyn Clock>,
    /// How far this machine's is ahead.
    ahead: TimeDelta,
    /// Whether BitGo's time may not merely be one that was heard long ago.
    is_certain: bool,
}

impl ClocksApart {
    /// `None` where they agree, or nothing is known of BitGo's.
    fn of(core: &Core) -> Option<Self> {
        let (server_ms, now_ms) = (core.moment().server_ms, core.clock.now_ms());
        let ahead = TimeDelta::milliseconds(now_ms.saturating_sub(server_ms));
        let is_known = server_ms > 0 && ahead.num_milliseconds().abs() > WINDOW_FORWARD_MS;
        // What was remembered when the vault was opened has stood still since it was closed.
        let is_certain = core.client.heard_ms() > 0 || ahead < TimeDelta::zero();
        is_known.then(|| Self { clock: Arc::clone(&core.clock), ahead, is_certain })
    }
}

impl Clock for ClocksApart {
    fn now(&self) -> DateTime<Utc> {
        let now = self.clock.now();
        now.checked_sub_signed(self.ahead).unwrap_or(now)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}
