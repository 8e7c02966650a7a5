//! The one background task: it sleeps until the earliest deadline and does what is due.
//!
//! A token has at most one renewal and one probe on their way. Renewals that are due wait for room
//! (queue.rs), which a slow one takes up for a minute, and a login for two, whoever does not answer its
//! prompt, unless hundreds do not. The task is owned: it ends when it is told to or its [`Refresher`] is dropped, and what is on
//! its way with it. A renewal that is cut off has either swapped the token durably or left the old one.

use super::agenda::Agenda;
use super::queue::{AT_ONCE, LOGIN_PATIENCE, Queue, RENEWAL_PATIENCE};
use super::state::{Action, Event, Life, State, Verdict};
use super::tracker::{Board, Command, Inbox, lock};
use super::{Failure, Notice, Standing};
use crate::clock::Clock;
use crate::id::{LineageId, TokenId};
use chrono::{DateTime, Utc};
use getrandom::SysRng;
use rand_core::TryRng;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{AbortHandle, Id, JoinHandle, JoinSet};

/// The longest sleep: the wall clock may be set while we sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// As much as the wall clock may fall behind between two looks before it counts as set back.
const SET_BACK: Duration = Duration::from_secs(1);

/// Something on its way.
pub(crate) type Errand<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How tokens are renewed, and what else the task has others do.
pub(crate) trait Renew: Send + Sync + 'static {
    /// Renews one token and makes its successor durable.
    fn renew(self: Arc<Self>, lineage: LineageId) -> Errand<Result<Life, Failure>>;

    /// Asks the server after a token.
    fn probe(self: Arc<Self>, lineage: LineageId, token: TokenId) -> Errand<Verdict>;

    /// Gives leases of a token from now on, or holds them.
    fn stand(&self, lineage: LineageId, token: TokenId, standing: Standing);

    /// Tells a human.
    fn tell(&self, lineage: LineageId, notice: Notice);

    /// An attempt's end is known here: who asks for a renewal from now on gets another.
    fn landed(&self, lineage: LineageId);

    /// Whether somebody waits for a token's renewal.
    fn is_awaited(&self, lineage: LineageId) -> bool;

    /// Makes durable, in a while, what [`Tracker::memory`](super::Tracker::memory) has of a token.
    fn remember(self: Arc<Self>, lineage: LineageId);
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
        let Inbox { commands, board } = inbox;
        let desk = Desk {
            renew,
            clock,
            board,
            deadlines: Agenda::default(),
            renewals: Queue::new(AT_ONCE, RENEWAL_PATIENCE),
            logins: Queue::new(AT_ONCE, LOGIN_PATIENCE),
            on_their_way: HashMap::new(),
            errands: JoinSet::new(),
        };
        Self(runtime.spawn(desk.run(commands)))
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

/// What was sent out for a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Renewal,
    /// A renewal that logs in.
    Login,
    Probe(TokenId),
}

/// What the task works with.
struct Desk {
    renew: Arc<dyn Renew>,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    /// By the wall clock.
    deadlines: Agenda<DateTime<Utc>>,
    renewals: Queue,
    /// Renewals that log in.
    logins: Queue,
    on_their_way: HashMap<Id, (LineageId, Sent, AbortHandle)>,
    errands: JoinSet<Event>,
}

impl Desk {
    async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut seen = (self.clock.now(), self.clock.monotonic());
        loop {
            let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
            let passed = monotonic.saturating_sub(seen.1);
            // Deadlines that were reckoned by a later time than it is are reckoned anew.
            if (now + SET_BACK)
                .signed_duration_since(seen.0)
                .to_std()
                .is_ok_and(|by_wall| by_wall >= passed)
            {
                self.look_at_due(now);
            } else {
                let all = self.deadlines.lineages();
                all.into_iter().for_each(|lineage| self.happen(lineage, Event::Passed));
            }
            self.send_renewals(monotonic);
            seen = (now, monotonic);
            let left =
                self.deadlines.first().map(|(at, _)| (at - now).to_std().unwrap_or_default());
            let sleep = left.map_or(LONGEST_SLEEP, |left| left.min(LONGEST_SLEEP));
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Track(lineage, state)) => self.track(lineage, *state),
                    Some(Command::Happened(lineage, event)) => self.happen(lineage, event),
                    Some(Command::Awaited(lineage)) => self.hasten(lineage),
                    Some(Command::Stop) | None => return self.errands.shutdown().await,
                },
                Some(landed) = self.errands.join_next_with_id() => match landed {
                    Ok((id, event)) => self.land(id, Some(event)),
                    Err(error) => self.land(error.id(), None),
                },
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    fn look_at_due(&mut self, now: DateTime<Utc>) {
        while let Some((_, lineage)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.happen(lineage, Event::Passed);
        }
    }

    fn track(&mut self, lineage: LineageId, state: State) {
        let is_out = self.is_out(lineage);
        // It waits anew, should it be due.
        self.renewals.remove(lineage);
        self.logins.remove(lineage);
        let is_remembered = match lock(&self.board).get_mut(&lineage) {
            Some(former) => {
                let known = former.memory();
                *former = state.in_place_of(former, is_out);
                former.memory() == known
            }
            // It was removed since, which is heard of next.
            None => return,
        };
        if !is_remembered {
            self.act(lineage, Action::Remember);
        }
        self.happen(lineage, Event::Passed);
    }

    /// One step of one token.
    fn happen(&mut self, lineage: LineageId, event: Event) {
        let now = self.clock.now();
        let actions = {
            let mut board = lock(&self.board);
            match board.get_mut(&lineage) {
                Some(state) => {
                    let (next, actions) = state.step(event, now);
                    *state = next;
                    actions
                }
                // It was removed.
                None => vec![Action::End],
            }
        };
        actions.into_iter().for_each(|action| self.act(lineage, action));
        // How urgent it is may have changed while it waits.
        if self.renewals.holds(lineage) || self.logins.holds(lineage) {
            self.queue(lineage);
        }
    }

    fn act(&mut self, lineage: LineageId, action: Action) {
        let renew = Arc::clone(&self.renew);
        match action {
            Action::Renew => self.queue(lineage),
            Action::Begin => self.begin(lineage),
            Action::Probe(token) => self.send(lineage, Sent::Probe(token), async move {
                let verdict = renew.probe(lineage, token).await;
                Event::Probed { token, verdict, jitter: jitter() }
            }),
            Action::Stand(token, standing) => renew.stand(lineage, token, standing),
            Action::Tell(notice) => renew.tell(lineage, notice),
            Action::Remember => renew.remember(lineage),
            Action::WaitUntil(at) => self.deadlines.put(lineage, at),
            Action::End => {
                self.deadlines.take(lineage);
                self.renewals.remove(lineage);
                self.logins.remove(lineage);
                let of_it = self.on_their_way.values().filter(|(of, ..)| *of == lineage);
                of_it.for_each(|(_, _, errand)| errand.abort());
            }
        }
    }

    fn send(
        &mut self,
        lineage: LineageId,
        sent: Sent,
        errand: impl Future<Output = Event> + Send + 'static,
    ) {
        let errand = self.errands.spawn(errand);
        self.on_their_way.insert(errand.id(), (lineage, sent, errand));
    }

    /// What was sent out is back. Aborted, or it panicked: then it counts as failed, and is tried
    /// again.
    fn land(&mut self, id: Id, event: Option<Event>) {
        let Some((lineage, sent, _)) = self.on_their_way.remove(&id) else { return };
        let lost = || match sent {
            Sent::Renewal | Sent::Login => {
                let failure = Failure::Transient { retry_after: None };
                Event::Failed { failure, jitter: jitter() }
            }
            Sent::Probe(token) => {
                Event::Probed { token, verdict: Verdict::Unknown, jitter: jitter() }
            }
        };
        let event = event.unwrap_or_else(lost);
        match sent {
            Sent::Renewal => self.renewals.land(lineage, &event),
            Sent::Login => self.logins.land(lineage, &event),
            Sent::Probe(_) => {}
        }
        self.happen(lineage, event);
        if !matches!(sent, Sent::Probe(_)) {
            self.renew.landed(lineage);
        }
    }

    /// A renewal is due.
    fn queue(&mut self, lineage: LineageId) {
        let Some(state) = lock(&self.board).get(&lineage).copied() else { return };
        let urgency = state.urgency(self.clock.now());
        let queue = if state.is_costly() { &mut self.logins } else { &mut self.renewals };
        queue.add(lineage, urgency, self.renew.is_awaited(lineage));
    }

    /// Somebody waits for a token.
    fn hasten(&mut self, lineage: LineageId) {
        self.renewals.hasten(lineage);
        self.logins.hasten(lineage);
    }

    /// Sends out what is due, as far as there is room. Room that is given back is seen at the next look,
    /// the longest sleep later at the latest.
    fn send_renewals(&mut self, monotonic: Duration) {
        while let Some(lineage) = self.renewals.send(monotonic) {
            self.happen(lineage, Event::Sent);
            if !self.is_out(lineage) {
                self.renewals.stay(lineage);
            }
        }
        while let Some(lineage) = self.logins.send(monotonic) {
            self.happen(lineage, Event::Sent);
            if !self.is_out(lineage) {
                self.logins.stay(lineage);
            }
        }
    }

    fn begin(&mut self, lineage: LineageId) {
        let renew = Arc::clone(&self.renew);
        let is_costly = lock(&self.board).get(&lineage).is_some_and(State::is_costly);
        let sent = if is_costly { Sent::Login } else { Sent::Renewal };
        self.send(lineage, sent, async move {
            match renew.renew(lineage).await {
                Ok(life) => Event::Renewed { life, jitter: jitter() },
                Err(failure) => Event::Failed { failure, jitter: jitter() },
            }
        });
    }

    /// Whether its renewal is on its way.
    fn is_out(&self, lineage: LineageId) -> bool {
        let mut sent = self.on_their_way.values();
        sent.any(|(of, sent, _)| *of == lineage && matches!(sent, Sent::Renewal | Sent::Login))
    }
}

/// Spreads the attempts of many processes; without randomness they are merely not spread.
pub(super) fn jitter() -> u8 {
    SysRng.try_next_u32().map_or(0, |word| word.to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    mod storm;

    use super::super::tracker::{Tracker, channel};
    use super::super::windows::{WindowSettings, Windows};
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

    /// A life of so many seconds by the token's own word, which ends when it ends.
    fn life(expires_at: Option<DateTime<Utc>>, lifetime: Duration) -> Life {
        let windows = Windows::of(lifetime, WindowSettings::default());
        Life { token: TokenId::from_bytes([1; 16]), expires_at, lifetime, windows }
    }

    macro_rules! nothing_but_renewal {
        () => {
            fn probe(self: Arc<Self>, _: LineageId, _: TokenId) -> Errand<Verdict> {
                Box::pin(async { Verdict::Alive })
            }
            fn stand(&self, _: LineageId, _: TokenId, _: Standing) {}
            fn tell(&self, _: LineageId, _: Notice) {}
            fn landed(&self, _: LineageId) {}
            fn is_awaited(&self, _: LineageId) -> bool {
                false
            }
            fn remember(self: Arc<Self>, _: LineageId) {}
        };
    }

    impl Renew for Server {
        nothing_but_renewal!();

        fn renew(self: Arc<Self>, _: LineageId) -> Errand<Result<Life, Failure>> {
            Box::pin(async move {
                tokio::time::sleep(self.delay).await;
                if self.attempts.fetch_add(1, Ordering::Relaxed) < self.failures {
                    return Err(Failure::Transient { retry_after: None });
                }
                let expires_at = Some(self.clock.now() + self.left);
                Ok(life(expires_at, Duration::from_secs(60)))
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
        let expires_at = Some(clock.now() + TimeDelta::seconds(60));
        let state = State::new(life(expires_at, Duration::from_secs(60)), true);
        tracker.track(LineageId::from_bytes([1; 16]), state);
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
        nothing_but_renewal!();

        fn renew(self: Arc<Self>, _: LineageId) -> Errand<Result<Life, Failure>> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.attempts.fetch_add(1, Ordering::Relaxed);
                let expires_at = self.lives.map(|lives| self.clock.now() + lives);
                Ok(life(expires_at, self.said))
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
            tracker.track(LineageId::from_bytes([1; 16]), State::new(life(None, said), true));
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
