//! What happens in a vault, told to who listens. Nobody who works waits for a listener: one that is
//! slow misses the oldest events, and is told how many. Where nobody listens, nothing is made.

use super::Vault;
use crate::id::TokenId;
use crate::money::{Amount, Coin};
use crate::policy::{Denied, Drift, Rule};
use crate::refresh::Standing;
use crate::renewal_memory::Need;
use crate::telemetry;
use crate::token::Label;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::OnceLock;
use tokio::sync::broadcast::{self, error::RecvError};

/// How many events are kept for a listener that does not come to take them.
const KEPT: usize = 256;

/// What happened in a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A rule refused a request, before anything left the vault.
    #[non_exhaustive]
    Denied {
        /// The token it was for.
        label: Label,
        /// The rule.
        rule: Rule,
        /// The coin in question, where there is one.
        coin: Option<Coin>,
        /// What was asked for, in base units.
        asked: Option<Amount>,
        /// What is left of the limit, in base units.
        left: Option<Amount>,
    },
    /// BitGo's count of what a token spent and the vault's went apart, or came together again; the
    /// budget is as the vault has it from now on.
    #[non_exhaustive]
    Drift {
        /// The token.
        label: Label,
        /// The two counts.
        drift: Drift,
    },
    /// Something that a human should look at.
    #[non_exhaustive]
    Alarm {
        /// The token it is about, where it is about one.
        label: Option<Label>,
        /// What it is.
        alarm: Alarm,
    },
    /// A token was renewed.
    #[non_exhaustive]
    Renewed {
        /// The token.
        label: Label,
        /// When it ends now.
        expires_at: Option<DateTime<Utc>>,
    },
    /// The vault was frozen: nothing is leased, signed or handed out until it is thawed.
    Frozen,
    /// The vault was thawed.
    Thawed,
    /// BitGo has confirmed that a token is revoked.
    #[non_exhaustive]
    Revoked {
        /// The name it is kept under.
        label: Label,
        /// The token.
        token_id: TokenId,
    },
    /// A token could not be revoked at BitGo so far. It is denied here, and BitGo is asked again.
    #[non_exhaustive]
    RevocationFailed {
        /// The name it is kept under.
        label: Label,
        /// Why.
        error: String,
    },
    /// This listener was too slow: so many events were not kept for it.
    #[non_exhaustive]
    Missed {
        /// How many.
        events: u64,
    },
}

/// Something that a human should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alarm {
    /// Others spend with the token, which the vault is told of only afterwards: its limit at BitGo is
    /// the one bound for all of them.
    #[non_exhaustive]
    SpentByOthers {
        /// The two counts.
        drift: Drift,
    },
    /// BitGo has counted less than it has verifiably accepted from here: one of the two is wrong.
    #[non_exhaustive]
    CountedLess {
        /// The two counts.
        drift: Drift,
    },
    /// What ERC-20 coins share of a limit stands in the list of tokens alone, which no token kept here
    /// can read: what was spent of it by others, or got lost, is not known. Log in to the same account.
    PoolUnreadable,
    /// A token ends, and a human must renew it: told 30, 14, 7 and 1 days before, and once it would be
    /// renewed.
    #[non_exhaustive]
    Ending {
        /// When.
        expires_at: DateTime<Utc>,
    },
    /// A token has ended, and a human must renew it.
    Ended,
    /// A token is not renewed until a human acts. It is used while it lives.
    #[non_exhaustive]
    NeedsHuman {
        /// What to do.
        need: Need,
    },
    /// A token was refused: unsigned, so that BitGo is asked and leases wait; or by BitGo, so that it
    /// is not used any more.
    #[non_exhaustive]
    Refused {
        /// How it stands now.
        standing: Standing,
    },
    /// A token was minted, or may have been, is not kept, and could not be revoked so far: see to it at
    /// BitGo. It is tried again with each login.
    #[non_exhaustive]
    Orphan {
        /// The label that it bears at BitGo.
        label: Box<str>,
    },
    /// A token that was replaced lives on: BitGo refuses to revoke it. It is asked again; revoke it there.
    #[non_exhaustive]
    FormerAlive {
        /// The token.
        token_id: TokenId,
    },
    /// This machine's clock and BitGo's are so far apart that requests are refused, and further than the
    /// vault makes up for: set it. No token is held to be dead for that.
    #[non_exhaustive]
    ClockSkew {
        /// How far this machine's is ahead; less than nothing where it is behind.
        ahead: TimeDelta,
    },
    /// A token that was unlocked at BitGo locks again.
    #[non_exhaustive]
    Locking {
        /// When.
        until: DateTime<Utc>,
    },
}

impl Alarm {
    /// The alarm's name in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SpentByOthers { .. } => "spent-by-others",
            Self::CountedLess { .. } => "counted-less",
            Self::PoolUnreadable => "pool-unreadable",
            Self::Ending { .. } => "ending",
            Self::Ended => "ended",
            Self::NeedsHuman { .. } => "needs-human",
            Self::Refused { .. } => "refused",
            Self::Orphan { .. } => "orphan",
            Self::FormerAlive { .. } => "former-alive",
            Self::Locking { .. } => "locking",
            Self::ClockSkew { .. } => "clock-skew",
        }
    }
    /// The alarm's section in the runbook ([`guide::operations`](crate::guide::operations)), which stays.
    /// The alarm's event tells it in the field `see`.
    pub fn runbook(&self) -> &'static str {
        match self {
            Self::SpentByOthers { .. } => "BV-0201",
            Self::CountedLess { .. } => "BV-0202",
            Self::PoolUnreadable => "BV-0203",
            Self::Ending { .. } => "BV-0204",
            Self::Ended => "BV-0205",
            Self::NeedsHuman { .. } => "BV-0206",
            Self::Refused { .. } => "BV-0207",
            Self::Orphan { .. } => "BV-0208",
            Self::FormerAlive { .. } => "BV-0209",
            Self::Locking { .. } => "BV-0210",
            Self::ClockSkew { .. } => "BV-0211",
        }
    }
}

impl Event {
    pub(super) fn denied(label: &Label, denied: &Denied) -> Self {
        Self::Denied {
            label: label.clone(),
            rule: denied.rule(),
            coin: denied.coin().cloned(),
            asked: denied.asked(),
            left: denied.left(),
        }
    }
}

/// Where events come in.
#[derive(Default)]
pub(super) struct Outlet(OnceLock<broadcast::Sender<Event>>);

impl Outlet {
    /// Tells of an event, which is made only if somebody listens.
    pub(super) fn emit(&self, event: impl FnOnce() -> Event) {
        if let Some(sender) = self.0.get().filter(|sender| sender.receiver_count() > 0) {
            // The last listener may just have gone.
            let _ = sender.send(event());
        }
    }

    /// Counts an alarm, and tells of it. Whoever raises it has traced it, with what he knows of it.
    pub(super) fn raise(&self, label: Option<&Label>, alarm: Alarm) {
        telemetry::alarmed(alarm.as_str());
        self.emit(|| Event::Alarm { label: label.cloned(), alarm });
    }

    fn listen(&self) -> Events {
        Events(self.0.get_or_init(|| broadcast::Sender::new(KEPT)).subscribe())
    }
}

/// The events of a vault, from when this was asked for. It does not keep the vault open.
pub struct Events(broadcast::Receiver<Event>);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// The next event; `None` once the vault is closed. A future that is dropped loses none.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(events)) => Some(Event::Missed { events }),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Vault {
    /// What happens in the vault from now on. The last 256 events are kept for a listener; one that
    /// takes longer is told how many it has missed ([`Event::Missed`]).
    ///
    /// The audit log is what tells of the past, and of what nobody listened to.
    pub fn events(&self) -> Events {
        self.core.events.listen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_made_where_nobody_listens() {
        let outlet = Outlet::default();
        outlet.emit(|| unreachable!("nobody listens"));
        drop(outlet.listen());
        outlet.emit(|| unreachable!("nobody listens any more"));
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_how_much_it_missed() {
        let outlet = Outlet::default();
        let mut events = outlet.listen();
        for _ in 0..=KEPT {
            outlet.emit(|| Event::Thawed);
        }
        outlet.emit(|| Event::Frozen);
        assert_eq!(events.next().await, Some(Event::Missed { events: 2 }));
        for _ in 1..KEPT {
            assert_eq!(events.next().await, Some(Event::Thawed));
        }
        assert_eq!(events.next().await, Some(Event::Frozen));
        drop(outlet);
        assert_eq!(events.next().await, None, "with the vault the events end");
    }
}
