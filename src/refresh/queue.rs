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
pub(super) const AT_ONCE: usize = 16;
/// The most logins at a time, apart from those: a human may have to type for them, and each wants
/// another one-time password of an account.
pub(super) const LOGINS_AT_ONCE: usize = 4;

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
