//! A session unlocked, locked, ended.

use super::{Empty, body, check_otp, session};
use crate::emulator::refused::Refused;
use crate::emulator::reply::Reply;
use crate::emulator::state::Visit;
use chrono::TimeDelta;

/// How long an unlock lasts that does not say, in seconds.
const DURATION_DEFAULT: u64 = 600;
const DURATION_MAX: u64 = 3600;

/// Unlocks the bearer for a while. Every spending limit it has is deleted, for good.
pub(super) fn unlock(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    visit.bearer()?;
    let body = body(visit.received)?;
    check_otp(visit.state, &body)?;
    let secs = body.count("duration")?.unwrap_or(DURATION_DEFAULT);
    if !(1..=DURATION_MAX).contains(&secs) {
        return Err(Refused::invalid("duration must lie between 1 and 3600"));
    }
    let now = visit.now;
    let until = now + TimeDelta::seconds(secs.cast_signed());
    visit.bearer()?.spending.unlock(now, until);
    session::read(visit)
}

pub(super) fn lock(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    visit.bearer()?.spending.lock();
    session::read(visit)
}

/// Ends the bearer, now.
pub(super) fn logout(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    let now = visit.now;
    visit.bearer_without_sso()?.expires = now;
    Ok(Reply::json(&Empty {}))
}
