//! Renewals that are due and wait until there is room: many tokens may end in the same minute, and
//! BitGo, the disk and whoever reads meanwhile are not to meet them all at once.
//!
//! | first to last | among themselves |
//! |---|---|
//! | somebody waits for it | who ends first |
//! | it lives | who ends first |
//! | it has ended, or is dead | who was due first: those that cannot be renewed come again and again |
//!
//! An answer that asks for patience (429, or `Retry-After` with another) halves the room, down to one
//! at a time; each renewal adds one again. The token that got the answer waits as it says; the others
//! are asked for all the same, since such limits may be an account's.

use super::agenda::Agenda;
use super::failure::Failure;
use super::state::Event;
use crate::id::LineageId;
use chrono::{DateTime, Utc};

/// The most renewals at a time. One takes two answers of BitGo's, about half a second: 10 000 sessions
/// of an hour that end together are renewed in five minutes of the nine that are left when the last of
/// them has its turn. Each holds a connection, and one commit is made at a time.
///
/// As many logins may be on their way beside them, in a queue of their own: a human may sit over each, on
/// a thread of those that also commit.
pub(super) const AT_ONCE: usize = 16;

/// Where a token stands among those that are due: the least comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Somebody waits for it; when it was to end, or was due.
    Awaited(DateTime<Utc>),
    /// It lives until then.
    Ends(DateTime<Utc>),
    /// It does not, and was due then.
    Ended(DateTime<Utc>),
}

impl Urgency {
    pub(super) fn awaited(self) -> Self {
        let (Self::Awaited(at) | Self::Ends(at) | Self::Ended(at)) = self;
        Self::Awaited(at)
    }
}

pub(super) struct Queue {
    waiting: Agenda<Urgency>,
    on_their_way: usize,
    /// As many may be on their way now.
    room: usize,
    /// As many may ever be.
    at_once: usize,
}

impl Queue {
    pub(super) fn new(at_once: usize) -> Self {
        Self { waiting: Agenda::default(), on_their_way: 0, room: at_once, at_once }
    }

    pub(super) fn add(&mut self, lineage: LineageId, urgency: Urgency) {
        self.waiting.put(lineage, urgency);
    }

    /// Somebody waits for a token, should it be here.
    pub(super) fn hasten(&mut self, lineage: LineageId) {
        if let Some(urgency) = self.waiting.take(lineage) {
            self.waiting.put(lineage, urgency.awaited());
        }
    }

    pub(super) fn remove(&mut self, lineage: LineageId) {
        self.waiting.take(lineage);
    }

    pub(super) fn holds(&self, lineage: LineageId) -> bool {
        self.waiting.holds(lineage)
    }

    /// Who goes next, if there is room.
    pub(super) fn send(&mut self) -> Option<LineageId> {
        let next = (self.on_their_way < self.room).then(|| self.waiting.take_first())?;
        self.on_their_way += usize::from(next.is_some());
        next
    }

    /// One is back, and this came of it.
    pub(super) fn land(&mut self, came: &Event) {
        self.on_their_way -= 1;
        match came {
            Event::Renewed { .. } => self.room = (self.room + 1).min(self.at_once),
            Event::Failed { failure: Failure::Transient { retry_after: Some(_) }, .. } => {
                self.room = (self.room / 2).max(1);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Life;
    use super::super::windows::{WindowSettings, Windows};
    use super::*;
    use crate::id::TokenId;
    use chrono::TimeDelta;
    use std::time::Duration;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn token(number: u8) -> LineageId {
        LineageId::from_bytes([number; 16])
    }

    fn failed(retry_after: Option<u64>) -> Event {
        let retry_after = retry_after.map(Duration::from_secs);
        Event::Failed { failure: Failure::Transient { retry_after }, jitter: 0 }
    }

    /// An answer that leaves the room as it is.
    const NOTHING_NEW: Event =
        Event::Failed { failure: Failure::Transient { retry_after: None }, jitter: 0 };

    /// Those that go out now.
    fn sent(queue: &mut Queue) -> Vec<LineageId> {
        std::iter::from_fn(|| queue.send()).collect()
    }

    #[test]
    fn who_is_waited_for_goes_first_then_who_ends_first_and_the_dead_in_turns() {
        let mut queue = Queue::new(1);
        for (number, urgency) in [
            (1, Urgency::Ended(at(20))),
            (2, Urgency::Ended(at(10))),
            (3, Urgency::Ends(at(200))),
            (4, Urgency::Ends(at(100))),
            (5, Urgency::Ends(at(300))),
            (6, Urgency::Ended(at(30))),
            (7, Urgency::Ends(at(400)).awaited()),
            (8, Urgency::Ends(at(50))),
        ] {
            queue.add(token(number), urgency);
        }
        queue.hasten(token(6));
        queue.hasten(token(9));
        queue.remove(token(8));
        let mut order = Vec::new();
        loop {
            let sent = sent(&mut queue);
            let [first] = sent[..] else { break };
            order.push(first.as_bytes()[0]);
            queue.land(&NOTHING_NEW);
        }
        assert_eq!(order, [6, 7, 4, 3, 5, 2, 1]);
    }

    #[test]
    fn no_more_go_than_there_is_room_for_and_each_once() {
        let mut queue = Queue::new(3);
        (0..9).for_each(|number| queue.add(token(number), Urgency::Ends(at(number.into()))));
        queue.add(token(0), Urgency::Ended(at(0)));
        assert_eq!(sent(&mut queue), [1, 2, 3].map(token));
        assert_eq!(sent(&mut queue), []);
        queue.land(&NOTHING_NEW);
        assert!(queue.holds(token(4)));
        assert_eq!(sent(&mut queue), [token(4)]);
        assert!(!queue.holds(token(4)));
    }

    #[test]
    fn a_server_that_asks_for_patience_is_asked_less_until_it_answers() {
        let mut queue = Queue::new(4);
        (0..40).for_each(|number| queue.add(token(number), Urgency::Ends(at(number.into()))));
        let mut out = sent(&mut queue).len();
        assert_eq!(out, 4);
        let mut land = |came: Event| {
            queue.land(&came);
            out = out - 1 + sent(&mut queue).len();
            out
        };
        let lifetime = Duration::from_secs(60);
        let windows = Windows::of(lifetime, WindowSettings::default());
        let token = TokenId::from_bytes([1; 16]);
        let life = Life { token, expires_at: None, lifetime, windows };
        let renewed = Event::Renewed { life, jitter: 0 };
        let patience = failed(Some(60));
        assert_eq!([patience; 6].map(&mut land), [3, 2, 1, 1, 1, 1], "one is asked about");
        assert_eq!(land(NOTHING_NEW), 1);
        assert_eq!([renewed; 5].map(&mut land), [2, 3, 4, 4, 4]);
    }
}
