//! The one background task: it sleeps until the earliest deadline and renews what is due.
//!
//! A token has at most one renewal in flight, and a slow one holds up no other. The task is
//! owned: it ends when it is told to or its [`Refresher`] is dropped, and its flights with it. A
//! flight that is cut off has either swapped the token durably or left the old one as it was.

use super::{Failure, Schedule};
use crate::clock::Clock;
use crate::id::LineageId;
use chrono::{DateTime, Utc};
use getrandom::SysRng;
use rand_core::TryRng;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

/// The longest sleep: the wall clock may be set while we sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What a renewal brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewed {
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) lifetime: Duration,
}

/// A renewal in flight.
pub(crate) type Flight = Pin<Box<dyn Future<Output = Result<Renewed, Failure>> + Send>>;

/// How a token is renewed.
pub(crate) trait Renew: Send + Sync + 'static {
    /// Renews one token and makes its successor durable.
    fn renew(self: Arc<Self>, lineage: LineageId) -> Flight;
}

enum Command {
    Track(LineageId, Schedule),
    Forget(LineageId),
    Stop,
}

/// Tells the task what to renew.
#[derive(Clone)]
pub(crate) struct Tracker(UnboundedSender<Command>);

/// Where the task hears it.
pub(crate) struct Inbox(UnboundedReceiver<Command>);

/// A tracker, and the inbox of the task that is still to be started.
pub(crate) fn channel() -> (Tracker, Inbox) {
    let (commands, inbox) = unbounded_channel();
    (Tracker(commands), Inbox(inbox))
}

impl Tracker {
    /// Renews the token by this schedule from now on.
    pub(crate) fn track(&self, lineage: LineageId, schedule: Schedule) {
        self.tell(Command::Track(lineage, schedule));
    }

    /// Renews the token no longer.
    pub(crate) fn forget(&self, lineage: LineageId) {
        self.tell(Command::Forget(lineage));
    }

    /// Ends the task and its flights.
    pub(crate) fn stop(&self) {
        self.tell(Command::Stop);
    }

    /// A stopped task renews nothing any more; that is what stopping means.
    fn tell(&self, command: Command) {
        let _ = self.0.send(command);
    }
}

/// The owner of the task: it ends with it.
pub(crate) struct Refresher(JoinHandle<()>);

impl Refresher {
    /// Starts the task.
    pub(crate) fn start(
        inbox: Inbox,
        renew: Arc<dyn Renew>,
        clock: Arc<dyn Clock>,
        runtime: &Handle,
    ) -> Self {
        Self(runtime.spawn(run(inbox.0, renew, clock)))
    }

    /// Waits until the task has ended, once it was told to.
    pub(crate) async fn ended(mut self) {
        // It ends by itself or not at all; that it panicked is no reason not to go on closing.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(mut inbox: UnboundedReceiver<Command>, renew: Arc<dyn Renew>, clock: Arc<dyn Clock>) {
    let mut schedules: HashMap<LineageId, Schedule> = HashMap::new();
    let mut in_flight: HashMap<LineageId, AbortHandle> = HashMap::new();
    let mut flights = JoinSet::new();
    loop {
        let now = clock.now();
        let mut sleep = LONGEST_SLEEP;
        for (lineage, schedule) in &mut schedules {
            if in_flight.contains_key(lineage) {
                continue;
            }
            match (schedule.due_at(now) - now).to_std() {
                Ok(wait) if !wait.is_zero() => sleep = sleep.min(wait),
                _ => {
                    let (lineage, renew) = (*lineage, Arc::clone(&renew));
                    let flight =
                        flights.spawn(async move { (lineage, renew.renew(lineage).await) });
                    in_flight.insert(lineage, flight);
                }
            }
        }
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Track(lineage, schedule)) => {
                    schedules.insert(lineage, schedule);
                }
                Some(Command::Forget(lineage)) => {
                    schedules.remove(&lineage);
                    if let Some(flight) = in_flight.remove(&lineage) {
                        flight.abort();
                    }
                }
                Some(Command::Stop) | None => {
                    return flights.shutdown().await;
                }
            },
            Some(landed) = flights.join_next_with_id() => {
                let (flight, lineage, result) = match landed {
                    Ok((flight, (lineage, result))) => (flight, Some(lineage), result),
                    // Aborted, or it panicked: then it counts as failed, and is tried again.
                    Err(error) => (error.id(), None, Err(Failure::Transient { retry_after: None })),
                };
                let lineage = lineage.or_else(|| {
                    in_flight.iter().find(|(_, own)| own.id() == flight).map(|(lineage, _)| *lineage)
                });
                let Some(lineage) = lineage else { continue };
                in_flight.remove(&lineage);
                let Some(schedule) = schedules.get_mut(&lineage) else { continue };
                match result {
                    Ok(Renewed { expires_at, lifetime }) => {
                        let successor = Schedule::new(expires_at, lifetime);
                        schedule.renewed(successor, clock.now(), jitter());
                    }
                    Err(failure) => schedule.failed(failure, clock.now(), jitter()),
                }
            }
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Spreads the attempts of many processes; without randomness they are merely not spread.
fn jitter() -> u8 {
    SysRng.try_next_u32().map_or(0, |word| word.to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::TokioClock;
    use chrono::TimeDelta;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Renews to `left` of a minute at a time, after `delay`, once `failures` attempts have failed.
    struct Server {
        clock: Arc<TokioClock>,
        left: TimeDelta,
        delay: Duration,
        failures: u32,
        attempts: AtomicU32,
    }

    impl Renew for Server {
        fn renew(self: Arc<Self>, _: LineageId) -> Flight {
            Box::pin(async move {
                tokio::time::sleep(self.delay).await;
                if self.attempts.fetch_add(1, Ordering::Relaxed) < self.failures {
                    return Err(Failure::Transient { retry_after: None });
                }
                let expires_at = Some(self.clock.now() + self.left);
                Ok(Renewed { expires_at, lifetime: Duration::from_secs(60) })
            })
        }
    }

    fn start(delay: Duration, failures: u32) -> (Arc<Server>, Tracker, Refresher) {
        start_with(delay, failures, TimeDelta::seconds(60))
    }

    fn start_with(
        delay: Duration,
        failures: u32,
        left: TimeDelta,
    ) -> (Arc<Server>, Tracker, Refresher) {
        let clock = Arc::new(TokioClock::new());
        let attempts = AtomicU32::new(0);
        let server =
            Arc::new(Server { clock: Arc::clone(&clock), left, delay, failures, attempts });
        let (tracker, inbox) = channel();
        let renew = Arc::clone(&server) as Arc<dyn Renew>;
        let refresher = Refresher::start(inbox, renew, clock.clone(), &Handle::current());
        let schedule =
            Schedule::new(Some(clock.now() + TimeDelta::seconds(60)), Duration::from_secs(60));
        tracker.track(LineageId::from_bytes([1; 16]), schedule);
        (server, tracker, refresher)
    }

    async fn attempts_after(server: &Server, seconds: u64) -> u32 {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        server.attempts.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn one_renewal_per_window() {
        let (server, _tracker, _refresher) = start(Duration::from_millis(50), 0);
        assert_eq!(attempts_after(&server, 39).await, 0, "fresh for two thirds of a minute");
        assert_eq!(attempts_after(&server, 2).await, 1);
        assert_eq!(attempts_after(&server, 399).await, 10, "then every 40 seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_tried_again_within_the_window() {
        let (server, _tracker, _refresher) = start(Duration::ZERO, 3);
        assert_eq!(attempts_after(&server, 55).await, 4, "three failures, then a renewal");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_gains_little_is_not_asked_for_in_a_loop() {
        let (server, _tracker, _refresher) = start_with(Duration::ZERO, 0, TimeDelta::seconds(19));
        let attempts = attempts_after(&server, 640).await;
        assert!((100..400).contains(&attempts), "{attempts} attempts in ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_task_renews_nothing() {
        let (server, tracker, refresher) = start(Duration::from_secs(5), 0);
        tokio::time::sleep(Duration::from_secs(42)).await;
        tracker.stop();
        refresher.ended().await;
        assert_eq!(attempts_after(&server, 1000).await, 0, "the flight ended with the task");
    }

    #[tokio::test(start_paused = true)]
    async fn a_forgotten_token_is_renewed_no_more() {
        let (server, tracker, _refresher) = start(Duration::ZERO, 0);
        tracker.forget(LineageId::from_bytes([1; 16]));
        assert_eq!(attempts_after(&server, 1000).await, 0);
    }

    /// Hands out tokens that end when they please, a millisecond after it is asked.
    struct Careless {
        clock: Arc<TokioClock>,
        lives: Option<TimeDelta>,
        said: Duration,
        attempts: AtomicU32,
    }

    impl Renew for Careless {
        fn renew(self: Arc<Self>, _: LineageId) -> Flight {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.attempts.fetch_add(1, Ordering::Relaxed);
                let expires_at = self.lives.map(|lives| self.clock.now() + lives);
                Ok(Renewed { expires_at, lifetime: self.said })
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hands_out_what_is_due_is_not_asked_in_a_loop() {
        // Asked at 0, 0.5, 1.5, 3.5 and 7.5 s, or a little sooner each; one that still lives, and
        // only just, each quarter of what it has left.
        for (lives, said, at_most) in [
            (None, 3600, 6),
            (Some(0), 3600, 6),
            (Some(-3600), 3600, 6),
            (Some(1), 3600, 60),
            (None, 60, 6),
            (None, 1, 6),
            (None, 0, 6),
            (Some(0), 0, 6),
        ] {
            let clock = Arc::new(TokioClock::new());
            let (lives, attempts) = (lives.map(TimeDelta::seconds), AtomicU32::new(0));
            let said = Duration::from_secs(said);
            let server = Arc::new(Careless { clock: Arc::clone(&clock), lives, said, attempts });
            let (tracker, inbox) = channel();
            let renew = Arc::clone(&server) as Arc<dyn Renew>;
            let _refresher = Refresher::start(inbox, renew, clock, &Handle::current());
            tracker.track(LineageId::from_bytes([1; 16]), Schedule::new(None, said));
            tokio::time::sleep(Duration::from_secs(10)).await;
            let asked = server.attempts.load(Ordering::Relaxed);
            assert!((1..=at_most).contains(&asked), "{lives:?}, {said:?}: {asked} times");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_jumps_ahead_and_back_does_not_stall_renewal() {
        for days in [1, 30, 3650] {
            let (server, _tracker, _refresher) = start(Duration::ZERO, u32::MAX);
            server.clock.jump(TimeDelta::days(days));
            let ahead = attempts_after(&server, 120).await;
            assert!(ahead >= 2, "what has ended by the clock is asked for: {ahead} times");
            server.clock.jump(TimeDelta::days(-days));
            let within = attempts_after(&server, 3600 + 60).await;
            assert!(within > ahead, "{days} days: not asked again within the hour");
            assert!(attempts_after(&server, 600).await > within, "{days} days: nor after it");
        }
    }
}
