//! A clock that is wrong, by which every request is refused, and BitGo does not sign such refusals.
//!
//! So what nobody vouches for is asked once more, dated by BitGo's time: by what its verified answers
//! told, or by what the refusal says, which proves nothing until the answer to that one question is
//! verified ([`ServerClock`](crate::server_clock::ServerClock)). From then on requests are dated so, and
//! it is asked anew: that answer was judged by a date that anybody may have named, so that it may have
//! been kept for longer than BitGo's window, and nothing else of it is used.

use super::core::Core;
use super::events::Alarm;
use crate::api::wire::TokenRecord;
use crate::api::{ApiError, Auth, Client, Refusal};
use crate::error::Error;
use crate::server_clock::Guess;
use chrono::{DateTime, TimeDelta, Utc};
use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};

/// What was heard last when a clock was told to be wrong: until more is heard it is the same news.
pub(super) struct ToldOf(AtomicI64);

impl Default for ToldOf {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

/// Asks BitGo something that may be asked again, with a client that goes by BitGo's clock, if this
/// machine's may be why it was refused.
///
/// # Errors
/// [`Error::ClockSkew`] where the clock is to blame and cannot be made up for; else as the call.
pub(super) async fn ask<T, F>(
    core: &Core,
    auth: Auth<'_>,
    call: impl Fn(Client) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
{
    // Another question may show what the clock is off by, while this one is on its way.
    let dated_by = core.server_clock.offset_ms();
    let error = match call(core.client.clone()).await {
        Err(error) if error.may_be_of_clock() && matches!(auth, Auth::Hmac(..)) => error,
        answer => return Ok(answer?),
    };
    let said_ms = error.said_time().as_ref().map(DateTime::<Utc>::timestamp_millis);
    let now = core.moment();
    match core.server_clock.guess(dated_by, said_ms, now.wall_ms, now.monotonic) {
        None => Err(error.into()),
        Some(Guess::TooFar { offset_ms }) => Err(skewed(core, offset_ms)),
        Some(Guess::Try { offset_ms, is_certain }) => {
            match call(core.client.dated_by(offset_ms)).await {
                // Whoever refused it may have refused either clock.
                Err(again) if again.may_be_of_clock() => match is_certain {
                    true => Err(skewed(core, offset_ms)),
                    false => Err(error.into()),
                },
                Err(again) if !again.refusal().is_some_and(Refusal::is_verified) => {
                    Err(again.into())
                }
                Ok(_) | Err(_) => match call(core.client.clone()).await {
                    // One clock was answered, and the other, which was not moved by it, is not.
                    Err(again) if again.may_be_of_clock() => Err(skewed(core, offset_ms)),
                    answer => Ok(answer?),
                },
            }
        }
    }
}

/// Asks for the record behind a token, with the token itself.
pub(super) async fn session(core: &Core, auth: Auth<'_>) -> Result<TokenRecord, Error> {
    ask(core, auth, |client| async move { client.session(auth).await }).await
}

/// Sees to it, before something that is asked for once, that the clock will not be why it is refused:
/// costs a question where nothing was heard yet, or BitGo's clock is known to be apart.
///
/// # Errors
/// [`Error::ClockSkew`]; what else may be wrong the caller is told by its own call.
pub(super) async fn settle(core: &Core, auth: Auth<'_>) -> Result<(), Error> {
    let (now, clock) = (core.moment(), &core.server_clock);
    let is_heard = clock.heard_ms() > 0;
    let guess = clock.guess(clock.offset_ms(), None, now.wall_ms, now.monotonic);
    if (is_heard && guess.is_none()) || matches!(auth, Auth::Bearer(_)) {
        return Ok(());
    }
    match session(core, auth).await {
        Err(error @ Error::ClockSkew { .. }) => Err(error),
        _ => Ok(()),
    }
}

fn skewed(core: &Core, offset_ms: i64) -> Error {
    let ahead = TimeDelta::milliseconds(offset_ms.saturating_neg());
    let heard_ms = core.server_clock.heard_ms();
    if core.skew_told_of.0.swap(heard_ms, Ordering::Relaxed) != heard_ms {
        let alarm = Alarm::ClockSkew { ahead };
        tracing::error!(
            name: "clock.skewed",
            seconds = ahead.num_seconds(),
            see = %alarm.runbook(),
            "this machine's clock is ahead of bitgo's by more than requests may: set it",
        );
        core.events.raise(None, alarm);
    }
    Error::ClockSkew { ahead }
}
