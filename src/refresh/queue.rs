//! Renewals that are due and wait until there is room: many tokens may end in the same minute, and
//! BitGo, the disk and whoever reads meanwhile are not to meet them all at once.
//!
//! | first to last | among themselves | of the room |
//! |---|---|---|
//! | it lives | somebody waits for it; then who ends first | all that the others leave |
//! | it has ended, or is dead | somebody waits for it; then who was due first: those that cannot be renewed come again and again | a quarter, while any wait; never more than three |
//!
//! So neither those that live nor those that do not are ever held up by the others alone. One that takes
//! longer than its patience goes on and takes up no room any more.
//!
//! An answer that asks for patience (429, or `Retry-After` with another) halves the room, down to four;
//! each renewal adds one again. The token that got the answer waits as it says; the others are asked for
//! all the same, since such limits may be an account's.

use super::agenda::Agenda;
use super::failure::Failure;
use super::state::Event;
use crate::id::LineageId;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::time::Duration;

/// The most renewals at a time. One takes two answers of BitGo's, about half a second: 10 000 sessions
/// of an hour that end together are renewed in five minutes of the nine that are left when the last of
/// them has its turn; in seven, where a quarter of the room is taken by what has ended. Each holds a
/// connection, and one commit is made at a time.
///
/// As many logins may be on their way beside them, in a queue of their own: a human may sit over each, on
/// a thread of those that also commit.
pub(super) const AT_ONCE: usize = 16;
/// The least room there is, whatever the server asks for.
const ROOM_MIN: usize = 4;
/// The most that are on their way, with those that take long: half of the threads that may block, of
/// which each may hold one, and commits need some.
const OUT_MAX: usize = 256;
/// How long a renewal takes up room: no answer is waited for so long.
pub(super) const RENEWAL_PATIENCE: Duration = Duration::from_secs(60);
/// How long a login does: who is there has typed a one-time password by then, and who is not holds up
/// nobody else.
pub(super) const LOGIN_PATIENCE: Duration = Duration::from_secs(120);

/// How a token stands that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It lives until then.
    Ends(DateTime<Utc>),
    /// It does not, and was due then.
    Ended(DateTime<Utc>),
}

/// Where a token stands among its like: the least comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    is_unawaited: bool,
    at: DateTime<Utc>,
}

/// What is on its way.
struct Out {
    /// In the clock's monotonic time.
    since: Duration,
    had_ended: bool,
}

pub(super) struct Queue {
    living: Agenda<Place>,
    ended: Agenda<Place>,
    out: HashMap<LineageId, Out>,
    /// As many may take up room now.
    room: usize,
    /// As many ever may.
    at_once: usize,
    /// How long each takes up room.
    patience: Duration,
}

impl Queue {
    pub(super) fn new(at_once: usize, patience: Duration) -> Self {
        let (living, ended, out) = Default::default();
        Self { living, ended, out, room: at_once, at_once, patience }
    }

    /// Adds a token for which somebody waits, or not; or puts it where it stands by now.
    pub(super) fn add(&mut self, lineage: LineageId, urgency: Urgency, is_awaited: bool) {
        self.living.take(lineage);
        let before = self.ended.take(lineage);
        let is_unawaited = !is_awaited;
        match urgency {
            Urgency::Ends(at) => self.living.put(lineage, Place { is_unawaited, at }),
            Urgency::Ended(at) => {
                let at = before.map_or(at, |before| before.at.min(at));
                self.ended.put(lineage, Place { is_unawaited, at });
            }
        }
    }

    /// Somebody waits for a token, should it be here.
    pub(super) fn hasten(&mut self, lineage: LineageId) {
        for agenda in [&mut self.living, &mut self.ended] {
            if let Some(place) = agenda.take(lineage) {
                agenda.put(lineage, Place { is_unawaited: false, ..place });
            }
        }
    }

    pub(super) fn remove(&mut self, lineage: LineageId) {
        self.living.take(lineage);
        self.ended.take(lineage);
    }

    pub(super) fn holds(&self, lineage: LineageId) -> bool {
        self.living.holds(lineage) || self.ended.holds(lineage)
    }

    /// Who goes next, if there is room `now`, by the clock's monotonic time.
    pub(super) fn send(&mut self, now: Duration) -> Option<LineageId> {
        let taking_room = self.out.values().filter(|out| now < out.since + self.patience);
        let (ended, living) =
            taking_room.fold((0, 0), |(ended, living), out| match out.had_ended {
                true => (ended + 1, living),
                false => (ended, living + 1),
            });
        if ended + living >= self.room || self.out.len() >= OUT_MAX {
            return None;
        }
        let share = self.room / 4;
        let some_live = self.living.first().is_some();
        let had_ended = self.ended.first().is_some()
            && (ended < share || !some_live && ended < self.room - share);
        let waiting = if had_ended { &mut self.ended } else { &mut self.living };
        let first = waiting.take_first()?;
        self.out.insert(first, Out { since: now, had_ended });
        Some(first)
    }

    /// One that was sent is not on its way after all.
    pub(super) fn stay(&mut self, lineage: LineageId) {
        self.out.remove(&lineage);
    }

    /// One is back, and this came of it.
    pub(super) fn land(&mut self, lineage: LineageId, came: &Event) {
        self.out.remove(&lineage);
        match came {
            Event::Renewed { .. } => self.room = (self.room + 1).min(self.at_once),
            Event::Failed { failure: Failure::Transient { retry_after: Some(_) }, .. } => {
                self.room = (self.room / 2).max(ROOM_MIN.min(self.at_once));
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

    /// Those that go out at that second.
    fn sent_at(queue: &mut Queue, second: u64) -> Vec<u8> {
        let next = || queue.send(Duration::from_secs(second)).map(|lineage| lineage.as_bytes()[0]);
        std::iter::from_fn(next).collect()
    }

    fn sent(queue: &mut Queue) -> Vec<u8> {
        sent_at(queue, 0)
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    fn queue(at_once: usize) -> Queue {
        Queue::new(at_once, PATIENCE)
    }

    #[test]
    fn who_lives_goes_first_who_is_waited_for_before_the_others_and_the_dead_in_turns() {
        let mut queue = queue(1);
        for (number, urgency, is_awaited) in [
            (1, Urgency::Ended(at(20)), false),
            (2, Urgency::Ended(at(10)), false),
            (3, Urgency::Ends(at(200)), false),
            (4, Urgency::Ends(at(100)), false),
            (5, Urgency::Ends(at(300)), false),
            (6, Urgency::Ended(at(30)), false),
            (7, Urgency::Ends(at(400)), true),
            (8, Urgency::Ends(at(50)), false),
            (9, Urgency::Ended(at(5)), false),
            (10, Urgency::Ends(at(60)), false),
        ] {
            queue.add(token(number), urgency, is_awaited);
        }
        queue.hasten(token(6));
        queue.hasten(token(11));
        queue.remove(token(8));
        // What was due goes on having been due then, and what has ended while it waited lives no more.
        queue.add(token(9), Urgency::Ended(at(90)), false);
        queue.add(token(10), Urgency::Ended(at(60)), false);
        let mut order = Vec::new();
        loop {
            let sent = sent(&mut queue);
            let [first] = sent[..] else { break };
            order.push(first);
            queue.land(token(first), &NOTHING_NEW);
        }
        assert_eq!(order, [7, 4, 3, 5, 6, 9, 2, 1, 10]);
    }

    #[test]
    fn no_more_go_than_there_is_room_for_and_each_once() {
        let mut queue = queue(3);
        (0..9).for_each(|number| queue.add(token(number), Urgency::Ends(at(number.into())), false));
        queue.add(token(0), Urgency::Ended(at(0)), false);
        assert_eq!(sent(&mut queue), [1, 2, 3]);
        assert!(sent(&mut queue).is_empty());
        queue.land(token(2), &NOTHING_NEW);
        assert!(queue.holds(token(4)));
        assert_eq!(sent(&mut queue), [4]);
        assert!(!queue.holds(token(4)));
        queue.stay(token(4));
        assert_eq!(sent(&mut queue), [5]);
    }

    #[test]
    fn what_has_ended_never_takes_all_the_room_nor_is_it_left_without() {
        let mut queue = queue(16);
        let ended = |number: u8| (token(number), Urgency::Ended(at(number.into())));
        let lives = |number: u8| (token(number), Urgency::Ends(at(number.into())));
        for (lineage, urgency) in (0..40).map(ended) {
            queue.add(lineage, urgency, true);
        }
        assert_eq!(sent(&mut queue).len(), 12);
        for (lineage, urgency) in (100..140).map(lives) {
            queue.add(lineage, urgency, false);
        }
        assert_eq!(sent(&mut queue), [100, 101, 102, 103], "room was left for them");
        // Those that live take what becomes free, until a quarter is left to the others.
        for back in 0..12 {
            queue.land(token(back), &NOTHING_NEW);
            let next = if back < 8 { 104 + back } else { 12 + back - 8 };
            assert_eq!(sent(&mut queue), [next]);
        }
    }

    #[test]
    fn what_takes_long_takes_up_no_room_any_more_but_some_threads_are_left() {
        let mut queue = queue(4);
        let lineage = |number: u16| {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&number.to_le_bytes());
            LineageId::from_bytes(bytes)
        };
        (0..600).for_each(|number| queue.add(lineage(number), Urgency::Ends(at(0)), false));
        assert_eq!(sent_at(&mut queue, 0).len(), 4);
        assert_eq!(sent_at(&mut queue, 59).len(), 0);
        assert_eq!(sent_at(&mut queue, 60).len(), 4);
        assert_eq!(sent_at(&mut queue, 119).len(), 0);
        let all: usize = (2..200).map(|minute| sent_at(&mut queue, 60 * minute).len()).sum();
        assert_eq!(8 + all, OUT_MAX);
    }

    #[test]
    fn a_server_that_asks_for_patience_is_asked_less_until_it_answers() {
        let mut queue = queue(16);
        (0..100)
            .for_each(|number| queue.add(token(number), Urgency::Ends(at(number.into())), false));
        let mut out = sent(&mut queue);
        assert_eq!(out.len(), 16);
        let mut land = |came: Event| {
            queue.land(token(out.pop().unwrap()), &came);
            out.append(&mut sent(&mut queue));
            out.len()
        };
        let lifetime = Duration::from_secs(60);
        let windows = Windows::of(lifetime, WindowSettings::default());
        let token = TokenId::from_bytes([1; 16]);
        let life = Life { token, expires_at: None, lifetime, windows };
        let renewed = Event::Renewed { life, jitter: 0 };
        let patience = failed(Some(60));
        (0..12).for_each(|_| _ = land(patience));
        assert_eq!([patience; 3].map(&mut land), [4, 4, 4], "four are asked about");
        assert_eq!(land(NOTHING_NEW), 4);
        assert_eq!([renewed; 3].map(&mut land), [5, 6, 7]);
    }
}
