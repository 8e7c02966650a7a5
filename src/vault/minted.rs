//! Tokens that may have been minted and are not kept: each is looked for by its label, which no other
//! has, and revoked.
//!
//! ```text
//! it is found          revoked, and the label forgotten
//! it cannot be revoked the label stays, and a human is told
//! it is not found      the label stays for a quarter of an hour: its call may come to BitGo later than
//!                      it was given up here; then it is forgotten, if the session is of its account
//! ```

use super::core::Core;
use super::credential::Credential;
use super::events::Alarm;
use super::mint;
use crate::api::{ApiError, CreateToken};
use crate::id::TokenId;
use crate::store::Minted;
use crate::token::Label;
use chrono::{DateTime, TimeDelta, Utc};

/// How long a call may be on its way, however it was given up.
const LATE: TimeDelta = TimeDelta::minutes(15);

/// One that is not known to be gone, and why it could not be revoked if it was to be.
pub(super) struct Left {
    pub(super) minted: Minted,
    pub(super) error: Option<ApiError>,
}

/// What is about to be minted for the account of `user`, as it is written down before.
pub(super) fn intent(core: &Core, sent: &CreateToken, user: String) -> Minted {
    // By BitGo's time if it is known: the machine's may be far ahead.
    let known = Some(core.moment().server_ms).filter(|server_ms| *server_ms > 0);
    let known = known.and_then(DateTime::from_timestamp_millis);
    let asked_at = known.unwrap_or_else(|| core.clock.now());
    Minted { label: sent.label().to_owned(), account: user, asked_at }
}

/// Revokes those that live at BitGo, by a session of the account of `user`. Answers what is left.
pub(super) async fn end(
    core: &Core,
    bearer: &Credential,
    user: Option<&str>,
    sought: Vec<Minted>,
) -> Result<Vec<Left>, ApiError> {
    if sought.is_empty() {
        return Ok(Vec::new());
    }
    let labels: Vec<&str> = sought.iter().map(|minted| minted.label.as_str()).collect();
    let found = mint::find(core, bearer, &labels).await?;
    // Only now: what was found has brought the time of BitGo.
    let now = earliest_now(core);
    let mut left = Vec::new();
    for minted in sought {
        let ids = || found.iter().filter(|(label, _)| **label == *minted.label).map(|(_, id)| *id);
        let mut error = None;
        // What is kept is nobody's orphan, whatever it is called.
        for id in ids().filter(|id| !is_kept(core, *id)) {
            error = mint::revoke(core, bearer, id).await.err().or(error);
        }
        let is_late = user == Some(&minted.account) && !may_still_come(&minted, now);
        if error.is_some() || ids().next().is_none() && !is_late {
            left.push(Left { minted, error });
        }
    }
    Ok(left)
}

/// Whether the call that mints it may come to BitGo later than this.
pub(super) fn may_still_come(minted: &Minted, now: DateTime<Utc>) -> bool {
    minted.asked_at.checked_add_signed(LATE).is_some_and(|late| now <= late)
}

/// Whether it is the token of a label here.
pub(super) fn is_kept(core: &Core, id: TokenId) -> bool {
    core.keeps(id)
}

/// The earlier of the machine's time and BitGo's, if that is known: what must be over is over by both.
pub(super) fn earliest_now(core: &Core) -> DateTime<Utc> {
    let now = core.clock.now();
    match core.moment().server_ms {
        0 => now,
        server_ms => DateTime::from_timestamp_millis(server_ms).map_or(now, |time| time.min(now)),
    }
}

/// Tells of one that a human may have to revoke.
pub(super) fn tell(core: &Core, label: Option<&Label>, minted: &Minted) {
    let minted = minted.label.as_str();
    let alarm = Alarm::Orphan { label: minted.into() };
    tracing::error!(
        name: "token.orphaned", minted, see = %alarm.runbook(),
        "a token may have been minted and is not known to be revoked"
    );
    core.events.raise(label, alarm);
}
