//! Many tokens that are due at once.

use super::*;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// A token's renewal never ends whose number is so large.
const SLOW: u8 = 200;

/// Renews each token in a second, and writes down which it began with.
struct Busy {
    clock: Arc<TokioClock>,
    under_way: AtomicUsize,
    most: AtomicUsize,
    begun: Mutex<Vec<u8>>,
    /// Somebody waits for this one whenever it is asked.
    awaited: u8,
}

impl Renew for Busy {
    fn renew(self: Arc<Self>, lineage: LineageId) -> Errand<Result<Life, Failure>> {
        Box::pin(async move {
            let number = lineage.as_bytes()[0];
            self.begun.lock().unwrap().push(number);
            let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(under_way, Ordering::Relaxed);
            tokio::time::sleep(if number >= SLOW { 1000 * HOUR } else { SECOND }).await;
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            Ok(life(Some(self.clock.now() + HOUR), HOUR))
        })
    }

    fn landed(&self, _: LineageId) {}

    fn is_awaited(&self, lineage: LineageId) -> bool {
        lineage == self::lineage(self.awaited)
    }

    fn probe(self: Arc<Self>, _: LineageId, _: TokenId) -> Errand<Verdict> {
        Box::pin(async { Verdict::Alive })
    }

    fn stand(&self, _: LineageId, _: TokenId, _: Standing) {}
    fn tell(&self, _: LineageId, _: Notice) {}
    fn remember(self: Arc<Self>, _: LineageId) {}
}

fn lineage(number: u8) -> LineageId {
    LineageId::from_bytes([number; 16])
}

struct Storm {
    server: Arc<Busy>,
    tracker: Tracker,
    refresher: Refresher,
}

impl Storm {
    /// The higher the number, the sooner a token ends; all are in their windows.
    fn brew(awaited: u8, numbers: impl Iterator<Item = u8>) -> Self {
        let clock = Arc::new(TokioClock::new());
        let (under_way, most, begun) = Default::default();
        let server = Arc::new(Busy { clock: Arc::clone(&clock), under_way, most, begun, awaited });
        let (tracker, inbox) = channel();
        for number in numbers {
            tracker.track(lineage(number), state(&clock, number));
        }
        let renew = Arc::clone(&server) as Arc<dyn Renew>;
        let refresher = Refresher::start(inbox, renew, clock, &Handle::current());
        Self { server, tracker, refresher }
    }

    async fn begun_after(&self, wait: Duration) -> Vec<u8> {
        tokio::time::sleep(wait).await;
        self.server.begun.lock().unwrap().clone()
    }
}

fn state(clock: &TokioClock, number: u8) -> State {
    let end = clock.now() + TimeDelta::seconds(800 - i64::from(number));
    State::new(life(Some(end), HOUR), true).costly(number >= SLOW)
}

/// What is heard first is under way before the rest is known.
const FIRST: usize = AT_ONCE;

#[tokio::test(start_paused = true)]
async fn no_more_are_renewed_at_once_than_there_is_room_for_and_who_ends_first_goes_first() {
    let storm = Storm::brew(255, 0..100);
    let begun = storm.begun_after(SECOND / 2).await;
    assert_eq!(begun.len(), AT_ONCE);
    let begun = storm.begun_after(20 * SECOND).await;
    assert_eq!((begun.len(), storm.server.most.load(Ordering::Relaxed)), (100, AT_ONCE));
    let waited = &begun[FIRST..];
    assert!(waited.is_sorted_by(|a, b| a > b), "{waited:?}");
    assert_eq!(storm.begun_after(1000 * SECOND).await.len(), 100, "each once");
}

#[tokio::test(start_paused = true)]
async fn who_is_waited_for_goes_before_the_queue() {
    let storm = Storm::brew(50, 0..100);
    tokio::time::sleep(SECOND / 2).await;
    storm.tracker.awaited(lineage(20));
    let begun = storm.begun_after(SECOND).await;
    assert_eq!(begun[FIRST..FIRST + 3], [50, 20, 99], "waited for when it was due, and since");
}

#[tokio::test(start_paused = true)]
async fn logins_that_a_human_sits_over_hold_up_no_other_renewal() {
    let storm = Storm::brew(255, (0..40).chain(SLOW..SLOW + 40));
    let begun = storm.begun_after(10 * SECOND).await;
    let logins = begun.iter().filter(|number| **number >= SLOW).count();
    assert_eq!((begun.len() - logins, logins), (40, AT_ONCE));
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_the_queue_is_renewed_once_or_forgotten() {
    let storm = Storm::brew(255, 0..100);
    tokio::time::sleep(SECOND / 2).await;
    storm.tracker.forget(lineage(30));
    storm.tracker.track(lineage(31), state(&storm.server.clock, 31));
    storm.tracker.happened(lineage(32), Event::Asked);
    let begun = storm.begun_after(100 * SECOND).await;
    let times = |number| begun.iter().filter(|begun| **begun == number).count();
    assert_eq!([30, 31, 32].map(times), [0, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn who_dies_while_it_waits_takes_the_place_of_the_dead() {
    let storm = Storm::brew(255, 0..100);
    tokio::time::sleep(SECOND / 2).await;
    let token = TokenId::from_bytes([1; 16]);
    storm.tracker.happened(lineage(20), Event::Refused { token, is_signed: true });
    let begun = storm.begun_after(SECOND).await;
    assert_eq!(begun[FIRST..FIRST + 2], [20, 99], "a quarter of the room is theirs");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_stopped_sends_none_of_those_that_wait() {
    let storm = Storm::brew(255, 0..100);
    tokio::time::sleep(SECOND / 2).await;
    storm.tracker.stop();
    storm.refresher.ended().await;
    assert_eq!(storm.server.begun.lock().unwrap().len(), AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn logins_that_nobody_answers_hold_up_the_others_for_a_while_and_no_longer() {
    let storm = Storm::brew(255, SLOW..SLOW + 40);
    let begun = storm.begun_after(SECOND).await;
    assert_eq!(begun.len(), AT_ONCE);
    let begun = storm.begun_after(2 * (LOGIN_PATIENCE + LONGEST_SLEEP)).await;
    assert_eq!(begun.len(), 40);
    assert_eq!(storm.begun_after(10 * HOUR).await.len(), 40, "each once");
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_and_hangs_holds_up_nobody_that_lives() {
    let storm = Storm::brew(255, 0..0);
    let clock = &storm.server.clock;
    for number in 0..40 {
        let dead = life(Some(clock.now() - SECOND), HOUR);
        storm.tracker.track(lineage(SLOW + number), State::new(dead, true));
    }
    for number in 0..40 {
        storm.tracker.awaited(lineage(SLOW + number));
    }
    tokio::time::sleep(SECOND / 2).await;
    for number in 0..40 {
        storm.tracker.track(lineage(number), state(clock, number));
    }
    let begun = storm.begun_after(15 * SECOND).await;
    let living = begun.iter().filter(|number| **number < SLOW).count();
    assert_eq!((begun.len() - living, living), (AT_ONCE * 3 / 4, 40));
}
