//! Whether a token lives: what a 401 says of it, and BitGo's answer to the token itself.
//!
//! While this machine's clock is known to differ from BitGo's by more than it may, no refusal but a
//! signed one ends a token.

use super::clock_skew;
use super::core::Core;
use super::credential::Credential;
use super::entry::Held;
use crate::api::wire::TokenRecord;
use crate::api::{ApiError, Doubt};
use crate::error::Error;
use crate::refresh::{self, Verdict};

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
    judged(held, clock_skew::session(core, credential.auth()).await)
}

/// What an answer about a token's own record says of it.
fn judged(held: &Held, answer: Result<TokenRecord, Error>) -> Verdict {
    match answer {
        Ok(record) if record.id == held.record.info.id || held.is_unverified() => Verdict::Alive,
        Ok(_) => Verdict::Unknown,
        Err(Error::Api(ApiError::TokenDead(refusal) | ApiError::Unauthorized(refusal))) => {
            match refusal.is_verified() {
                true => Verdict::Dead,
                false => Verdict::Refused,
            }
        }
        // Refused for something else, by who knows it.
        Err(Error::Api(error))
            if error
                .refusal()
                .is_some_and(|refusal| refusal.status() == 401 && refusal.is_verified()) =>
        {
            Verdict::Alive
        }
        Err(Error::ClockSkew { .. }) => Verdict::Skewed,
        Err(_) => Verdict::Unknown,
    }
}
