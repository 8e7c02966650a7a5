//! What the vault tells the task, and what it may look up meanwhile: one table of all tokens.

use super::Failure;
use super::state::{Event, Outlook, State};
use super::task::jitter;
use crate::id::LineageId;
use crate::renewal_memory::RenewalMemory;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What the task is told.
pub(super) enum Command {
    Track(LineageId, Box<State>),
    Happened(LineageId, Event),
    Awaited(LineageId),
    Stop,
}

/// The tokens as the task sees them. Held for one step or one look.
pub(super) type Board = Mutex<HashMap<LineageId, State>>;

pub(super) fn lock(board: &Board) -> MutexGuard<'_, HashMap<LineageId, State>> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the task what to renew and what has happened, and tells how its tokens stand.
#[derive(Clone)]
pub(crate) struct Tracker {
    commands: UnboundedSender<Command>,
    board: Arc<Board>,
}

/// Where the task hears it.
pub(crate) struct Inbox {
    pub(super) commands: UnboundedReceiver<Command>,
    pub(super) board: Arc<Board>,
}

/// A tracker, and the inbox of the task that is still to be started.
pub(crate) fn channel() -> (Tracker, Inbox) {
    let (sender, commands) = unbounded_channel();
    let board = Arc::default();
    (Tracker { commands: sender, board: Arc::clone(&board) }, Inbox { commands, board })
}

impl Tracker {
    /// Sees to a token from now on, in place of what the lineage had before.
    pub(crate) fn track(&self, lineage: LineageId, state: State) {
        // It can be looked at from now on. What is on its way for one that is there the task alone knows.
        lock(&self.board).entry(lineage).or_insert(state);
        self.tell(Command::Track(lineage, Box::new(state)));
    }

    /// Something happened to a token.
    pub(crate) fn happened(&self, lineage: LineageId, event: Event) {
        self.tell(Command::Happened(lineage, event));
    }

    /// Has a token renewed now, for somebody who waits for it. Whether the task hears of it: it may have
    /// ended, with its runtime.
    #[must_use]
    pub(crate) fn ask(&self, lineage: LineageId) -> bool {
        self.tell(Command::Happened(lineage, Event::Asked)) && self.tell(Command::Awaited(lineage))
    }

    /// Waits until the task has ended.
    pub(crate) async fn ended(&self) {
        self.commands.closed().await;
    }

    /// Somebody waits for a token's renewal: should it be due, it goes before those that nobody waits for.
    pub(crate) fn awaited(&self, lineage: LineageId) {
        self.tell(Command::Awaited(lineage));
    }

    /// An attempt failed that somebody else made: who makes the next waits as after his own, over restarts
    /// too ([`Tracker::may_try`]).
    pub(crate) fn failed(&self, lineage: LineageId, failure: Failure) {
        self.happened(lineage, Event::Failed { failure, jitter: jitter() });
    }

    /// Whether no wait is on.
    pub(crate) fn may_try(&self, lineage: LineageId, now: DateTime<Utc>) -> bool {
        let not_before = self.memory(lineage).and_then(|memory| memory.not_before);
        not_before.is_none_or(|wait| wait <= now)
    }

    /// Sees to the token no longer.
    pub(crate) fn forget(&self, lineage: LineageId) {
        lock(&self.board).remove(&lineage);
        self.happened(lineage, Event::Removed);
    }

    /// Ends the task and what it has on its way.
    pub(crate) fn stop(&self) {
        self.tell(Command::Stop);
    }

    /// What is next for a token.
    pub(crate) fn outlook(&self, lineage: LineageId, now: DateTime<Utc>) -> Option<Outlook> {
        lock(&self.board).get(&lineage).map(|state| state.outlook(now))
    }

    /// What of a token outlives a restart.
    pub(crate) fn memory(&self, lineage: LineageId) -> Option<RenewalMemory> {
        lock(&self.board).get(&lineage).map(State::memory)
    }

    /// Whether the task hears it. A stopped one renews nothing any more; that is what stopping means.
    fn tell(&self, command: Command) -> bool {
        self.commands.send(command).is_ok()
    }
}
