//! The table of the state machine, row by row, and what holds whatever happens.

use super::super::failure::RETRY_AFTER_MAX;
use super::super::windows::{Phase, WindowSettings};
use super::*;
use crate::id::LineageId;
use chrono::TimeDelta;
use proptest::prelude::*;

pub(super) const TOKEN: TokenId = TokenId::from_bytes([1; 16]);
pub(super) const OTHER: TokenId = TokenId::from_bytes([2; 16]);
pub(super) const TRANSIENT: Failure = Failure::Transient { retry_after: None };

pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

pub(super) fn life(token: TokenId, expires_at: Option<DateTime<Utc>>, secs: u64) -> Life {
    let lifetime = Duration::from_secs(secs);
    let windows = Windows::of(lifetime, WindowSettings::default());
    Life { token, expires_at, lifetime, windows }
}

/// A token of an hour, made at 0: its windows open at 2700 and 3540.
pub(super) fn hour() -> State {
    State::new(life(TOKEN, Some(at(3600)), 3600), true)
}

pub(super) fn failed(failure: Failure) -> Event {
    Event::Failed { failure, jitter: 0 }
}

pub(super) fn probed(verdict: Verdict) -> Event {
    Event::Probed { token: TOKEN, verdict, jitter: 0 }
}

pub(super) fn refused(is_signed: bool) -> Event {
    Event::Refused { token: TOKEN, is_signed }
}

/// Steps through events, each at its second, where there is always room; what was to be done, without
/// the waits.
pub(super) fn run(mut state: State, events: &[(i64, Event)]) -> (State, Vec<Vec<Action>>) {
    let mut all = Vec::new();
    for (second, event) in events {
        let (next, mut actions) = state.step(*event, at(*second));
        assert!(matches!(actions.pop(), Some(Action::WaitUntil(_))));
        actions.retain(|action| *action != Action::Remember);
        state = next;
        if actions.contains(&Action::Renew) {
            let (begun, sent) = state.step(Event::Sent, at(*second));
            assert!(sent.contains(&Action::Begin), "{sent:?}");
            state = begun;
        }
        all.push(actions);
    }
    (state, all)
}

#[test]
fn a_token_is_renewed_once_a_window() {
    let renewed = Event::Renewed { life: life(OTHER, Some(at(6300)), 3600), jitter: 0 };
    let (state, actions) = run(
        hour(),
        &[
            (0, Event::Passed),
            (2699, Event::Passed),
            (2700, Event::Passed),
            (2701, Event::Passed),
            (2702, renewed),
        ],
    );
    assert_eq!(actions, [vec![], vec![], vec![Action::Renew], vec![], vec![]]);
    assert_eq!(state.outlook(at(2702)).renewal_at, Some(at(5400)));
    let Life { expires_at, windows, .. } = state.life;
    assert_eq!(windows.phase(expires_at, at(2702)), Phase::Fresh);
}

#[test]
fn a_failure_is_remembered_and_waited_for() {
    let (state, actions) = hour().step(Event::Passed, at(2700));
    assert_eq!(actions, [Action::Renew, Action::WaitUntil(at(3600))]);
    let (state, actions) = state.step(Event::Sent, at(2700));
    assert_eq!(actions, [Action::Begin, Action::WaitUntil(DateTime::<Utc>::MAX_UTC)]);
    let retry_after = Some(Duration::from_secs(90));
    let (state, actions) = state.step(failed(Failure::Transient { retry_after }), at(2701));
    assert_eq!(actions, [Action::Remember, Action::WaitUntil(at(2791))]);
    let expect =
        RenewalMemory { failures: 1, not_before: Some(at(2791)), ..RenewalMemory::default() };
    assert_eq!(state.memory(), expect);
    // A restart does not make it ask sooner.
    let again = hour().recalling(expect, at(2702));
    assert_eq!(again.outlook(at(2702)).renewal_at, Some(at(2791)));
    // Somebody who asks does.
    let (_, actions) = again.step(Event::Asked, at(2702));
    assert_eq!(actions[0], Action::Renew);
}

#[test]
fn what_a_human_must_do_is_told_once_and_with_each_alarm() {
    let need = Failure::Terminal(Need::SignOn);
    let (state, actions) = run(
        hour(),
        &[
            (2700, Event::Passed),
            (2701, failed(need)),
            (2702, Event::Passed),
            (3601, Event::Passed),
        ],
    );
    assert_eq!(actions[1][0], Action::Tell(Notice::Needs(Need::SignOn)));
    let expires_at = at(3600);
    assert_eq!(actions[1][1], Action::Tell(Notice::Ending { expires_at }), "it is in its window");
    assert_eq!(actions[2], []);
    assert_eq!(actions[3], [Action::Renew, Action::Tell(Notice::Ended)]);
    assert_eq!(state.outlook(at(3601)).need, Some(Need::SignOn), "until it is renewed");
    let renewed = Event::Renewed { life: life(OTHER, Some(at(7200)), 3600), jitter: 0 };
    assert_eq!(state.step(renewed, at(3602)).0.memory(), RenewalMemory::default());
}

#[test]
fn a_token_refused_in_its_own_renewal_is_asked_about_and_used_meanwhile() {
    let (state, actions) = run(hour(), &[(2700, Event::Passed), (2701, failed(Failure::Refused))]);
    assert_eq!(actions[1], [Action::Probe(TOKEN)]);
    assert_eq!(state.outlook(at(2701)).standing, Standing::Good);
    let (state, actions) = run(state, &[(2702, probed(Verdict::Alive))]);
    assert_eq!((state.outlook(at(2702)).standing, &actions[0][..]), (Standing::Good, &[][..]));
}

#[test]
fn what_nobody_renews_is_watched_all_the_same() {
    let state = State::new(life(TOKEN, Some(at(3600)), 3600), false);
    let (state, actions) = run(
        state,
        &[(0, Event::Passed), (2700, Event::Passed), (3600, Event::Passed), (3601, Event::Asked)],
    );
    let ending = Action::Tell(Notice::Ending { expires_at: at(3600) });
    assert_eq!(actions, [vec![], vec![ending], vec![Action::Tell(Notice::Ended)], vec![]]);
    assert_eq!(state.outlook(at(3600)).need, Some(Need::NewToken));
    let (_, actions) = state.step(Event::Removed, at(3601));
    assert_eq!(actions, [Action::End]);
}

#[test]
fn an_unknown_end_is_due() {
    let state = State::new(life(TOKEN, None, 3600), true);
    assert_eq!(state.step(Event::Passed, at(0)).1[0], Action::Renew);
}

#[test]
fn a_successor_that_is_due_already_is_followed_up_as_a_failure() {
    let mut state = State::new(life(TOKEN, Some(at(60)), 60), true);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let renewed = Event::Renewed { life: life(TOKEN, None, 60), jitter: 0 };
        (state, _) = state.step(renewed, at(50));
        let due = state.outlook(at(50)).renewal_at.unwrap();
        waits.push((due - at(50)).as_seconds_f64());
    }
    assert_eq!(waits, [0.5, 1.0, 2.0]);
}

#[test]
fn a_clock_set_back_does_not_stall_renewal() {
    let mut state = State::new(life(TOKEN, Some(at(60)), 60), true);
    (state, _) = state.step(failed(TRANSIENT), at(1_000_000));
    for now in [50, 80, 3000] {
        (state, _) = state.step(Event::Passed, at(now));
        assert_eq!(state.outlook(at(now)).renewal_at, Some(at(50 + 3600)), "it comes nearer");
    }
}

pub(super) fn renewed(token: TokenId, end: i64) -> Event {
    Event::Renewed { life: life(token, Some(at(end)), 3600), jitter: 0 }
}

#[test]
fn another_way_of_renewal_forgets_nothing_of_how_the_token_stands() {
    let manual = State::new(life(TOKEN, Some(at(3600)), 3600), false);
    for (is_signed, standing) in [(false, Standing::Suspect), (true, Standing::Revoked)] {
        let (former, _) = run(manual, &[(10, refused(is_signed))]);
        let state = hour().in_place_of(&former, false);
        assert_eq!(state.outlook(at(11)).standing, standing);
        let (_, actions) = run(state, &[(11, Event::Passed)]);
        assert_eq!(actions[0].contains(&Action::Renew), is_signed, "by the new way: {actions:?}");
    }
    let (former, _) = run(manual, &[(10, refused(true))]);
    let other = State::new(life(OTHER, Some(at(3600)), 3600), true).in_place_of(&former, false);
    assert_eq!(other.outlook(at(11)).standing, Standing::Good, "it is another token");
}

#[test]
fn a_login_ends_the_wait_for_it_and_renews_nothing_that_is_not_due() {
    let (state, actions) = run(
        State::new(life(TOKEN, Some(at(365 * 86_400)), 365 * 86_400), true).lacking(Need::Login),
        &[(0, Event::Passed), (335 * 86_400, Event::Passed), (335 * 86_400, Event::Provided)],
    );
    let expires_at = at(365 * 86_400);
    let ending = Action::Tell(Notice::Ending { expires_at });
    assert_eq!(actions, [vec![], vec![ending], vec![]]);
    assert_eq!(state.outlook(at(335 * 86_400)).need, None);
    let (_, actions) = run(state, &[(358 * 86_400, Event::Passed)]);
    assert_eq!(actions[0], [], "the vault sees to it");

    let wanted = failed(Failure::Terminal(Need::Login));
    let (_, actions) =
        run(hour(), &[(2700, Event::Passed), (2701, wanted), (2702, Event::Provided)]);
    assert_eq!(actions[2], [Action::Renew]);
}

#[test]
fn who_asks_during_an_attempt_that_fails_gets_another() {
    for asked in [Event::Asked, Event::Provided] {
        let attempt = [(2700, Event::Passed), (2701, asked), (2702, failed(TRANSIENT))];
        assert_eq!(run(hour(), &attempt).1, [vec![Action::Renew], vec![], vec![Action::Renew]]);
    }
    let attempt = [(2700, Event::Passed), (2701, Event::Asked), (2702, renewed(OTHER, 6302))];
    assert_eq!(run(hour(), &attempt).1, [vec![Action::Renew], vec![], vec![]]);
}

#[test]
fn a_suspect_is_renewed_for_who_asks() {
    let (_, actions) = run(hour(), &[(10, refused(false)), (11, Event::Asked)]);
    assert_eq!(actions[1], [Action::Renew]);
}

/// Steps through events while there is no room but when [`Event::Sent`] says so.
fn crowded(mut state: State, events: &[(i64, Event)]) -> (State, Vec<Vec<Action>>) {
    let mut all = Vec::new();
    for (second, event) in events {
        let (next, mut actions) = state.step(*event, at(*second));
        actions.retain(|action| !matches!(action, Action::Remember | Action::WaitUntil(_)));
        (state, _) = (next, all.push(actions));
    }
    (state, all)
}

#[test]
fn what_a_human_must_do_is_told_while_a_renewal_waits_for_room() {
    let (state, actions) = crowded(
        hour().lacking(Need::Login),
        &[(2700, Event::Passed), (3600, Event::Passed), (3700, Event::Sent)],
    );
    let ending = Action::Tell(Notice::Ending { expires_at: at(3600) });
    let ended = Action::Tell(Notice::Ended);
    assert_eq!(actions, [vec![Action::Renew, ending], vec![ended], vec![Action::Begin]]);
    assert_eq!(state.outlook(at(3700)).renewal_at, Some(at(3700)));
}

#[test]
fn an_attempt_knows_what_came_while_it_waited_for_room() {
    let costly = Failure::Costly(Need::OneTimePassword);
    for came in [Event::Asked, Event::Provided] {
        let (state, actions) = crowded(
            hour().costly(true),
            &[(2700, Event::Passed), (2701, came), (2702, Event::Sent), (2703, failed(costly))],
        );
        assert_eq!(actions[..3], [vec![Action::Renew], vec![], vec![Action::Begin]]);
        assert!(!actions[3].contains(&Action::Renew), "{came:?}: {actions:?}");
        assert_eq!(state.outlook(at(2703)).renewal_at, Some(at(2703 + 900)), "{came:?}");
    }
}

#[test]
fn what_is_due_no_more_once_there_is_room_is_not_renewed_until_it_is() {
    let (state, actions) =
        crowded(hour(), &[(2700, Event::Passed), (2701, refused(false)), (2702, Event::Sent)]);
    assert_eq!(actions[2], [], "it is suspect");
    let (_, actions) = crowded(state, &[(2703, probed(Verdict::Alive)), (2704, Event::Sent)]);
    assert!(actions[0].contains(&Action::Renew), "{actions:?}");
    assert_eq!(actions[1], [Action::Begin]);

    let (former, _) = crowded(hour(), &[(10, Event::Asked)]);
    let (_, actions) = crowded(hour().in_place_of(&former, false), &[(11, Event::Passed)]);
    assert_eq!(actions[0], [Action::Renew], "who asked still waits");
}

#[test]
fn what_waits_for_room_is_looked_at_again_when_it_ends() {
    let (state, _) = crowded(hour(), &[(2700, Event::Passed)]);
    assert_eq!(state.urgency(at(2701)), Urgency::Ends(at(3600)));
    let (_, actions) = state.step(Event::Passed, at(2701));
    assert_eq!(actions, [Action::WaitUntil(at(3600))]);
    let (state, actions) = state.step(Event::Passed, at(3600));
    assert_eq!(state.urgency(at(3600)), Urgency::Ended(at(3600)));
    assert_eq!(actions, [Action::WaitUntil(DateTime::<Utc>::MAX_UTC)]);
}

fn event() -> impl Strategy<Value = Event> {
    let token = prop_oneof![Just(TOKEN), Just(OTHER)];
    let verdict = prop_oneof![
        Just(Verdict::Alive),
        Just(Verdict::Dead),
        Just(Verdict::Refused),
        Just(Verdict::Unknown),
        Just(Verdict::Skewed)
    ];
    let need = prop::sample::select(&Need::ALL[..]);
    let failure = prop_oneof![
        prop::option::of(0..9999u64)
            .prop_map(|secs| Failure::Transient { retry_after: secs.map(Duration::from_secs) }),
        Just(Failure::Refused),
        need.prop_map(Failure::Terminal),
    ];
    let ends = prop::option::of(-99..99_999i64);
    prop_oneof![
        Just(Event::Passed),
        Just(Event::Asked),
        Just(Event::Provided),
        Just(Event::Sent),
        (token.clone(), ends.clone(), 0..99_999u64, any::<u8>()).prop_map(
            |(token, ends, secs, jitter)| Event::Renewed {
                life: life(token, ends.map(at), secs),
                jitter
            }
        ),
        (failure, any::<u8>()).prop_map(|(failure, jitter)| Event::Failed { failure, jitter }),
        (token.clone(), any::<bool>())
            .prop_map(|(token, is_signed)| Event::Refused { token, is_signed }),
        token.clone().prop_map(|token| Event::AnsweredAhead { token }),
        (token, verdict, any::<u8>()).prop_map(|(token, verdict, jitter)| Event::Probed {
            token,
            verdict,
            jitter
        }),
        ends.prop_map(|until| Event::Unlocked { until: until.map(at) }),
    ]
}

proptest! {
    /// Over an outage of the whole window, attempts go on and never wait past a quarter of it.
    #[test]
    fn a_window_is_never_slept_through(
        lifetime in 3u64..100_000,
        jitter: u8,
        lineage: [u8; 16],
    ) {
        let end = at(lifetime.cast_signed());
        let mut life = life(TOKEN, Some(end), lifetime);
        life.windows =
            life.windows.in_turn(LineageId::from_bytes(lineage), WindowSettings::default());
        let mut state = State::new(life, true);
        let (mut now, mut attempts) = (state.outlook(at(0)).renewal_at.unwrap(), 0);
        prop_assert_eq!(life.windows.phase(Some(end), now), Phase::Advisory);
        while now < end {
            let (next, actions) = state.step(Event::Passed, now);
            prop_assert!(actions.contains(&Action::Renew));
            let left = left_in_window(&state.life, false, now);
            let failed = Event::Failed { failure: TRANSIENT, jitter };
            state = next.step(failed, now).0;
            let wait = (state.outlook(now).renewal_at.unwrap() - now).to_std().unwrap();
            prop_assert!(wait <= (left / 4).max(Duration::from_millis(100)), "{wait:?} of {left:?}");
            prop_assert!(wait >= Duration::from_millis(100) && wait <= Duration::from_secs(60));
            now += wait;
            attempts += 1;
        }
        prop_assert!(attempts >= 3, "{attempts} attempts");
    }

    /// Whatever happens, in whatever order of times: one renewal and one probe at a time, a look that
    /// lies ahead, no wait beyond an hour, and a token that lives and is good is never held.
    #[test]
    fn nothing_happens_twice_at_once(
        renews: bool,
        events in prop::collection::vec((event(), -5..9999i64), 1..60),
    ) {
        let mut state = State::new(life(TOKEN, Some(at(3600)), 3600), renews);
        let (mut now, mut waits, mut renewing) = (at(0), false, false);
        let (mut probing, mut shown) = (None, Standing::Good);
        for (event, passed) in events {
            now += TimeDelta::seconds(passed);
            match event {
                Event::Renewed { .. } | Event::Failed { .. } if !renewing => continue,
                Event::Renewed { .. } | Event::Failed { .. } => renewing = false,
                Event::Probed { token, .. } if probing != Some(token) => continue,
                Event::Probed { .. } => probing = None,
                Event::Sent if !waits => continue,
                Event::Sent => waits = false,
                _ => {}
            }
            let token = state.life.token;
            let (next, actions) = state.step(event, now);
            if next.life.token != token {
                (probing, shown) = (None, Standing::Good);
            }
            for action in &actions {
                match action {
                    Action::Renew => {
                        prop_assert!(renews && !waits && !renewing);
                        waits = true;
                    }
                    Action::Begin => {
                        prop_assert!(event == Event::Sent && !renewing);
                        renewing = true;
                    }
                    Action::Probe(token) => {
                        prop_assert_eq!((*token, probing), (next.life.token, None));
                        probing = Some(*token);
                    }
                    Action::Stand(token, standing) => {
                        prop_assert_eq!(*token, next.life.token);
                        shown = *standing;
                    }
                    Action::WaitUntil(at) => prop_assert!(*at > now),
                    Action::Tell(_) | Action::Remember => {}
                    Action::End => prop_assert!(false, "nobody removed it"),
                }
            }
            prop_assert_eq!(shown, next.standing);
            let wait = next.not_before.map(|until| (until - now).to_std().unwrap_or_default());
            prop_assert!(wait.unwrap_or_default() <= RETRY_AFTER_MAX);
            state = next;
        }
    }
}
