//! How a token stands with the server: what a 401 and the answer to a question make of it.
//!
//! The server's own word ends a token. Anybody else's is asked about, and so is a death that nobody
//! vouched for: it may have been this machine's clock.

use super::super::failure::{HUMAN_WAIT, RETRY_AFTER_MAX, backoff};
use super::super::windows::after;
use super::{Attempt, Probe, Standing, State, Verdict};
use crate::id::TokenId;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// When a token is asked about again that no answer came of for the clock.
const SKEW_PROBE: Duration = Duration::from_secs(60);
/// As much of the window as a probe may be away from the next: it has none of its own.
const PROBE_WINDOW: Duration = Duration::from_secs(60);
/// How long after the last a dead token is asked about that nobody vouched for: it may have been a clock.
const SLOW_PROBE: Duration = Duration::from_secs(15 * 60);
/// A token that dies so soon after it was renewed is not renewed at once.
const SOON: Duration = Duration::from_secs(600);

impl State {
    pub(super) fn refused(&mut self, token: TokenId, is_signed: bool, now: DateTime<Utc>) {
        if token != self.life.token {
            if self.attempt == Attempt::Out {
                self.stray = Some((token, is_signed || self.stray == Some((token, true))));
            }
            return;
        }
        if is_signed && self.probe == Probe::Out {
            self.probe = Probe::Overruled;
        }
        match self.standing {
            Standing::Revoked => {}
            _ if is_signed => self.die(now),
            Standing::Good => self.suspect(false, now),
            Standing::Suspect => {}
        }
    }

    /// The clock is to blame, of which the question tells whoever should know.
    pub(super) fn answered_ahead(&mut self, token: TokenId, now: DateTime<Utc>) {
        if token == self.life.token && self.standing == Standing::Good {
            self.suspect(true, now);
        }
    }

    fn suspect(&mut self, is_unrefused: bool, now: DateTime<Utc>) {
        (self.standing, self.is_unrefused) = (Standing::Suspect, is_unrefused);
        if self.probe != Probe::Out {
            self.probe = Probe::Due(now);
        }
    }

    pub(super) fn probed(
        &mut self,
        token: TokenId,
        verdict: Verdict,
        now: DateTime<Utc>,
        jitter: u8,
    ) {
        if token != self.life.token {
            return;
        }
        let is_overruled = self.probe == Probe::Overruled;
        self.probe = Probe::None;
        match verdict {
            Verdict::Alive if is_overruled => {}
            Verdict::Alive => (self.standing, self.unknown) = (Standing::Good, 0),
            Verdict::Dead => self.die(now),
            Verdict::Refused => {
                self.die(now);
                if !is_overruled {
                    self.probe = Probe::Due(after(now, SLOW_PROBE));
                }
            }
            Verdict::Skewed if self.standing == Standing::Suspect => {
                self.probe = Probe::Due(after(now, SKEW_PROBE));
            }
            Verdict::Unknown | Verdict::Skewed => {
                self.probe = self.after_silence(is_overruled, now, jitter);
            }
        }
    }

    /// Where the wall clock was set back meanwhile, no probe waits longer than its kind does.
    pub(super) fn cut_probe(&self, now: DateTime<Utc>) -> Probe {
        let longest = match self.standing {
            Standing::Revoked => SLOW_PROBE,
            Standing::Good | Standing::Suspect => PROBE_WINDOW / 4,
        };
        match self.probe {
            Probe::Due(at) => Probe::Due(at.min(after(now, longest))),
            probe => probe,
        }
    }

    /// When it is asked again about a token of which nothing was heard.
    fn after_silence(&mut self, is_overruled: bool, now: DateTime<Utc>, jitter: u8) -> Probe {
        match self.standing {
            Standing::Suspect => {
                self.unknown = self.unknown.saturating_add(1);
                Probe::Due(after(now, backoff(self.unknown, PROBE_WINDOW, jitter)))
            }
            Standing::Revoked if !is_overruled => Probe::Due(after(now, SLOW_PROBE)),
            Standing::Good | Standing::Revoked => Probe::None,
        }
    }

    /// The token is dead. Its successor, where one can be had, is wanted at once, unless they die as
    /// they come.
    fn die(&mut self, now: DateTime<Utc>) {
        if self.standing == Standing::Revoked {
            return;
        }
        (self.standing, self.unknown) = (Standing::Revoked, 0);
        if !self.is_firm {
            self.not_before = None;
        }
        if self.renewed_at.is_none_or(|renewed| after(renewed, SOON) <= now) {
            self.deaths = 0;
            return;
        }
        self.deaths = self.deaths.saturating_add(1);
        let wait = match self.is_costly {
            true => HUMAN_WAIT,
            false => backoff(self.deaths, RETRY_AFTER_MAX, 0),
        };
        self.not_before = self.not_before.max(Some(after(now, wait)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::super::{Action, Event, Failure, Need, Notice, RenewalMemory};
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn tokens_that_die_as_they_come_do_not_cost_a_renewal_each() {
        for (is_costly, waits) in [(false, [0.5, 1.0, 2.0]), (true, [900.0, 900.0, 900.0])] {
            let (mut state, _) = run(hour().costly(is_costly), &[(10, refused(true))]);
            let (mut now, mut waited) = (at(10), Vec::new());
            for number in 0..3 {
                let token = [OTHER, TOKEN][number % 2];
                (state, _) = state.step(renewed(token, 90_000), now);
                (state, _) = state.step(Event::Refused { token, is_signed: true }, now);
                let due = state.outlook(now).renewal_at.unwrap();
                waited.push((due - now).as_seconds_f64());
                (state, _) = state.step(Event::Passed, due);
                now = due;
            }
            assert_eq!(waited, waits);
            // One that lived for a while is replaced at once.
            (state, _) = state.step(renewed(TOKEN, 90_000), now);
            let later = now + TimeDelta::minutes(10);
            let (_, actions) = state.step(refused(true), later);
            assert!(actions.contains(&Action::Renew), "{actions:?}");
        }
    }

    #[test]
    fn a_crash_loop_on_tokens_that_die_as_they_come_does_not_cost_a_renewal_each() {
        for (is_costly, waits) in [(false, [0.5, 1.0, 2.0, 4.0]), (true, [900.0; 4])] {
            let (mut memory, mut now, mut waited) = (RenewalMemory::default(), at(10), Vec::new());
            for number in 0..4 {
                // Each process knows of the token that the one before it got, and what was remembered.
                let (token, end) = ([TOKEN, OTHER][number % 2], now + TimeDelta::minutes(60));
                let life = life(token, Some(end), 3600);
                let start = State::new(life, true).costly(is_costly).recalling(memory, now);
                let (state, actions) = start.step(Event::Refused { token, is_signed: true }, now);
                assert!(!actions.contains(&Action::Renew), "{actions:?}");
                assert!(actions.contains(&Action::Remember));
                let due = state.outlook(now).renewal_at.unwrap();
                waited.push((due - now).as_seconds_f64());
                let (state, _) = state.step(Event::Passed, due);
                let next = [OTHER, TOKEN][number % 2];
                let (state, _) = state.step(renewed(next, due.timestamp() + 3600), due);
                (memory, now) = (state.memory(), due);
            }
            assert_eq!(waited, waits);
        }
    }

    #[test]
    fn a_token_that_lived_before_a_restart_is_replaced_at_once_when_it_dies() {
        let deaths = RenewalMemory { deaths: 5, ..RenewalMemory::default() };
        let (state, actions) = run(hour().recalling(deaths, at(600)), &[(601, refused(true))]);
        assert!(actions[0].contains(&Action::Renew), "{actions:?}");
        assert_eq!(state.memory().deaths, 0);
    }

    #[test]
    fn a_death_cuts_no_wait_short_that_bitgo_asked_for_or_that_spares_an_account() {
        let busy = Failure::Transient { retry_after: Some(Duration::from_secs(90)) };
        for (failure, due) in
            [(busy, 2791), (Failure::Terminal(Need::OneTimePassword), 3601), (TRANSIENT, 2702)]
        {
            let (state, actions) = run(
                hour(),
                &[(2700, Event::Passed), (2701, failed(failure)), (2702, refused(true))],
            );
            assert_eq!(state.outlook(at(2702)).renewal_at, Some(at(due)), "{failure:?}");
            assert_eq!(actions[2].contains(&Action::Renew), failure == TRANSIENT, "{failure:?}");
        }
    }

    #[test]
    fn an_answer_from_before_a_signed_401_does_not_bring_a_token_back() {
        let events = [
            (10, refused(false)),
            (11, refused(true)),
            (12, failed(TRANSIENT)),
            (13, probed(Verdict::Alive)),
        ];
        let (state, _) = run(hour(), &events);
        assert_eq!(state.outlook(at(13)).standing, Standing::Revoked);
    }

    #[test]
    fn a_401_of_the_successor_counts_once_the_renewal_is_heard_of() {
        let stray = |is_signed| Event::Refused { token: OTHER, is_signed };
        for (is_signed, standing) in [(false, Standing::Suspect), (true, Standing::Revoked)] {
            let events =
                [(2700, Event::Passed), (2701, stray(is_signed)), (2702, renewed(OTHER, 6302))];
            assert_eq!(run(hour(), &events).0.outlook(at(2702)).standing, standing);
        }
        let events = [(2700, Event::Passed), (2701, stray(true)), (2702, failed(TRANSIENT))];
        let (state, _) = run(hour(), &[&events[..], &[(2703, renewed(OTHER, 6303))]].concat());
        assert_eq!(state.outlook(at(2703)).standing, Standing::Good, "it was of that attempt");
    }

    #[test]
    fn a_death_that_nobody_vouches_for_is_asked_about_again() {
        let manual = State::new(life(TOKEN, Some(at(86_400)), 86_400), false);
        let (state, _) = run(manual, &[(10, refused(false)), (11, probed(Verdict::Refused))]);
        assert_eq!(state.outlook(at(11)).standing, Standing::Revoked);
        assert_eq!(state.outlook(at(11)).probe_at, Some(at(911)));
        let (state, actions) = run(state, &[(911, Event::Passed), (912, probed(Verdict::Alive))]);
        assert_eq!(actions[0], [Action::Probe(TOKEN)]);
        assert_eq!(actions[1], [Action::Stand(TOKEN, Standing::Good)]);
        assert_eq!(state.outlook(at(912)).probe_at, None);

        // A clock that is set back does not put it off, nor a question about a suspect.
        let (state, _) = run(manual, &[(8999, refused(false)), (9000, probed(Verdict::Unknown))]);
        let (state, _) = run(state, &[(20, Event::Passed)]);
        assert_eq!(state.outlook(at(20)).probe_at, Some(at(35)));
        let (state, _) = run(manual, &[(10, refused(false)), (9000, probed(Verdict::Refused))]);
        let (state, _) = run(state, &[(20, Event::Passed)]);
        assert_eq!(state.outlook(at(20)).probe_at, Some(at(920)));

        let (state, _) = run(manual, &[(10, refused(true)), (11, Event::Passed)]);
        assert_eq!(state.outlook(at(11)).probe_at, None, "bitgo's own word is enough");
    }

    #[test]
    fn an_unsigned_401_makes_a_token_suspect_and_one_question_decides() {
        for (verdict, standing) in
            [(Verdict::Alive, Standing::Good), (Verdict::Dead, Standing::Revoked)]
        {
            let (state, actions) = run(hour(), &[(10, refused(false)), (10, refused(false))]);
            let suspect = Standing::Suspect;
            let told = Action::Tell(Notice::Standing(suspect));
            let held = [Action::Stand(TOKEN, suspect), told, Action::Probe(TOKEN)];
            assert_eq!(actions, [held.to_vec(), vec![]], "many may be on their way");
            let (state, actions) = run(state, &[(11, probed(verdict))]);
            assert_eq!(state.outlook(at(11)).standing, standing);
            assert_eq!(actions[0][0], Action::Stand(TOKEN, standing));
            assert_eq!(actions[0].contains(&Action::Renew), standing == Standing::Revoked);
        }
    }

    #[test]
    fn an_answer_that_is_ahead_is_asked_about_and_nobody_told() {
        let ahead = |token| Event::AnsweredAhead { token };
        let (state, actions) = run(hour(), &[(10, ahead(TOKEN)), (11, probed(Verdict::Refused))]);
        let held = Action::Stand(TOKEN, Standing::Suspect);
        assert_eq!(actions[0], [held, Action::Probe(TOKEN)]);
        let dead = Action::Tell(Notice::Standing(Standing::Revoked));
        assert!(actions[1].contains(&dead), "{actions:?}");
        assert_eq!(state.step(ahead(TOKEN), at(12)).0.outlook(at(12)).standing, Standing::Revoked);
        assert_eq!(hour().step(ahead(OTHER), at(10)).0, hour());
    }

    #[test]
    fn a_suspect_that_the_clock_holds_up_is_asked_about_seldom() {
        let manual = State::new(life(TOKEN, Some(at(86_400)), 86_400), false);
        let (mut state, _) = run(manual, &[(10, refused(false))]);
        for (now, due) in [(10, 70), (70, 130), (130, 190)] {
            (state, _) = run(state, &[(now, Event::Passed), (now, probed(Verdict::Skewed))]);
            let outlook = state.outlook(at(now));
            assert_eq!((outlook.standing, outlook.probe_at), (Standing::Suspect, Some(at(due))));
        }
        let (state, _) = run(state, &[(190, Event::Passed), (190, probed(Verdict::Unknown))]);
        assert!(state.outlook(at(190)).probe_at <= Some(at(191)), "the clock is right again");
    }

    #[test]
    fn a_signed_401_ends_the_token_it_was_got_with_and_no_other() {
        let (state, actions) = run(hour(), &[(10, refused(true))]);
        assert_eq!(actions[0][0], Action::Stand(TOKEN, Standing::Revoked));
        assert!(actions[0].contains(&Action::Renew));
        assert_eq!(state.memory().dead, Some(TOKEN));
        // After a restart the server is asked once more.
        let again = hour().recalling(state.memory(), at(20));
        let (again, actions) = run(again, &[(20, Event::Passed), (21, probed(Verdict::Alive))]);
        assert!(actions[0].contains(&Action::Probe(TOKEN)), "{actions:?}");
        assert_eq!(again.outlook(at(21)).standing, Standing::Good);

        for is_signed in [false, true] {
            let stale = Event::Refused { token: OTHER, is_signed };
            assert_eq!(hour().step(stale, at(10)).0, hour());
            let late = Event::Probed { token: OTHER, verdict: Verdict::Dead, jitter: 0 };
            assert_eq!(hour().step(late, at(10)).0, hour());
        }
    }

    #[test]
    fn a_suspect_is_asked_about_until_an_answer_comes_and_not_renewed_meanwhile() {
        let (state, _) = run(hour(), &[(2699, refused(false))]);
        let (state, actions) =
            run(state, &[(2710, probed(Verdict::Unknown)), (2711, Event::Passed)]);
        assert_eq!(actions, [vec![], vec![Action::Probe(TOKEN)]]);
        let (_, actions) = run(state, &[(2712, probed(Verdict::Alive))]);
        assert_eq!(actions[0], [Action::Stand(TOKEN, Standing::Good), Action::Renew]);
    }
}
