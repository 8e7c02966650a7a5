//! One request answered: by a route, or by the fault in its place; signed for a known bearer.

use super::auth::Identity;
use super::fault::FaultKind;
use super::received::Received;
use super::refused::Refused;
use super::reply::Reply;
use super::routes;
use super::state::{State, Visit};
use chrono::{DateTime, TimeDelta, Utc};

pub(super) fn answer(
    state: &mut State,
    received: &Received,
    fault: Option<&FaultKind>,
    now: DateTime<Utc>,
) -> Reply {
    let tokens_travel = !state.settings.has_ecdh_keychain;
    let identity = Identity::of(received, &state.tokens, tokens_travel, now);
    if let Some(FaultKind::Html) = fault {
        return Reply::html();
    }
    let instead = fault.and_then(|fault| instead(fault, state, received, now));
    let mut reply = instead.unwrap_or_else(|| {
        routes::answer(&mut Visit {
            state,
            received,
            identity: identity.as_ref(),
            now,
            already_expired: matches!(fault, Some(FaultKind::AlreadyExpired)),
        })
    });
    let bearer = identity.as_ref().and_then(|identity| {
        Some((identity, state.tokens.iter().find(|token| token.id == identity.token)?))
    });
    if let Some((identity, token)) = bearer {
        let skew_ms = match fault {
            Some(FaultKind::AnsweredAt(skew_ms)) => *skew_ms,
            _ => 0,
        };
        reply.sign(&token.key, identity, now.timestamp_millis().saturating_add(skew_ms));
    }
    match fault {
        Some(FaultKind::BadHmac) => reply.falsify_hmac(),
        Some(FaultKind::NoHmac | FaultKind::Unsigned(..)) => reply.drop_hmac(),
        _ => {}
    }
    reply
}

/// What a fault answers so that the call does not happen; `None` if it happens.
fn instead(
    fault: &FaultKind,
    state: &State,
    received: &Received,
    now: DateTime<Utc>,
) -> Option<Reply> {
    let id = &received.request_id;
    let refused = match fault {
        FaultKind::Status(status, body) | FaultKind::Unsigned(status, body) => {
            return Some(Reply::text(*status, body.clone()));
        }
        FaultKind::RetryAfter(secs) => return Some(Reply::retry_after(&secs.to_string(), id)),
        FaultKind::RetryAfterDate(secs) => {
            let until = now + TimeDelta::seconds(i64::from(*secs));
            let date = until.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            return Some(Reply::retry_after(&date, id));
        }
        FaultKind::Redirect(location) => return Some(Reply::redirect(location)),
        FaultKind::DeadToken => Refused::dead(),
        FaultKind::Unauthorized => Refused::new(401, "Unauthorized", "unauthorized"),
        FaultKind::NeedsOtp => Refused::needs_otp(),
        FaultKind::NeedsUnlock => Refused::needs_unlock(),
        FaultKind::NeedsSso => Refused::needs_sso(),
        FaultKind::IpNotAllowed => Refused::ip(state.source_ip),
        FaultKind::Forbidden => Refused::scope(),
        FaultKind::DropBefore | FaultKind::Reset | FaultKind::Restart(_) => {
            Refused::new(500, "Dropped", "never sent")
        }
        FaultKind::Html
        | FaultKind::AlreadyExpired
        | FaultKind::TornBody
        | FaultKind::BadHmac
        | FaultKind::NoHmac
        | FaultKind::AnsweredAt(_)
        | FaultKind::OtherRequestId
        | FaultKind::NoRequestId
        | FaultKind::DropAfterEffect
        | FaultKind::Delay(_)
        | FaultKind::Late(_) => return None,
    };
    Some(refused.answering(id).into())
}
