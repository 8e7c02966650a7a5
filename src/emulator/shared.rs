//! What the server's task and its owner share: the state, the time, and whether it listens.

use super::state::State;
use crate::clock::Clock;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What the server's task and its owner share.
pub(super) struct Shared {
    /// Held while one request is answered, never across an await: the server does one thing at a time.
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    offset_ms: AtomicI64,
    /// How long it shall be down next.
    outage: watch::Sender<Option<Duration>>,
    is_up: watch::Sender<bool>,
    /// Requests that are not answered yet, and the most that there were.
    open: AtomicUsize,
    most_open: AtomicUsize,
}

/// A request until it is answered, or its client has gone.
pub(super) struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    pub(super) fn new(state: State, clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Mutex::new(state),
            clock,
            offset_ms: AtomicI64::new(0),
            outage: watch::Sender::new(None),
            is_up: watch::Sender::new(true),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now() + TimeDelta::milliseconds(self.offset_ms.load(Ordering::Relaxed))
    }

    pub(super) fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// A request has come.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_open.fetch_max(open, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// The most requests that were open since this was asked last.
    pub(super) fn take_most_open(&self) -> usize {
        self.most_open.swap(self.open.load(Ordering::Relaxed), Ordering::Relaxed)
    }

    /// Asks the server to go down for this long.
    pub(super) fn go_down(&self, downtime: Duration) {
        self.outage.send_replace(Some(downtime));
    }

    /// Waits until it shall go down; answers for how long.
    pub(super) async fn outage(&self) -> Duration {
        let mut asked = self.outage.subscribe();
        // It lives as long as its sender, which is here.
        let _ = asked.wait_for(Option::is_some).await;
        self.outage.send_replace(None).unwrap_or_default()
    }

    pub(super) fn set_up(&self, is_up: bool) {
        self.is_up.send_replace(is_up);
    }

    /// Waits until it listens, or does not.
    pub(super) async fn wait_until_up(&self, is_up: bool) {
        let mut seen = self.is_up.subscribe();
        let _ = seen.wait_for(|now| *now == is_up).await;
    }
}
