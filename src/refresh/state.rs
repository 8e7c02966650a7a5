//! The renewal of one token as a pure function: `(state, event, now) → (state, actions)`.
//!
//! A token stands somewhere in its life ([`Phase`](super::Phase): time alone moves it) and it
//! stands well or not with the server (`standing`). What a human must do is kept beside, since a
//! token that still lives is used on.
//!
//! | standing | event | becomes | actions |
//! |---|---|---|---|
//! | good | its turn in the advisory window has come, no wait is on | | renew |
//! | any | there is room for it, and it is due still | | begin |
//! | any | there is room for it, and it is due no more | | none: it is renewed once it is due again |
//! | any | renewed | good | forget failures, waits and needs; hold no lease |
//! | any | attempt failed | | remember; wait (failure.rs); tell what a human must do |
//! | any | attempt failed: refused as its own bearer | | as above, and probe |
//! | good | 401 by a use, unsigned | suspect | hold leases, probe, tell |
//! | good | a use, answered in the future | suspect | hold leases, probe: it is the clock |
//! | good, suspect | 401 by a use, signed | revoked | hold leases, tell; renew at once |
//! | suspect | 401 by a use, unsigned | suspect | none: many were on their way when the first came |
//! | any | probe: alive | good | hold no lease |
//! | any | probe: dead | revoked | hold leases, tell; renew at once |
//! | any | probe: again unsigned | revoked | as above, and probe each quarter of an hour |
//! | revoked, by a signed 401 since it was sent | probe: alive | revoked | none: it is older |
//! | suspect | probe: no answer | suspect | probe again, later each time |
//! | suspect | probe: the clock is too far off | suspect | probe in a minute, then each quarter of an hour |
//! | revoked | probe: no answer | revoked | probe in a quarter of an hour |
//! | any | 401 of another token, while renewing | | counts if that is the successor |
//! | any | 401 or probe of a former token | | none |
//! | needs a human | 30, 14, 7, 1 days to its end, its window, its end | | tell |
//! | any | unlocked, soon no more | | tell |
//! | any | asked for | | renew, whatever the phase, the standing and the wait; once more where an attempt under way fails |
//! | needs a login | given one | | renew as if none had been wanted; once more where an attempt under way fails |
//! | any | removed | | end |
//!
//! To "renew" is to have it wait for room (queue.rs): till it begins, the token is as one that is not
//! renewed, and a human is told what it needs. "At once" is as soon as no wait is on that BitGo asked for or that spares an account; and a token that
//! dies soon after it was renewed counts as a failure, or each use would cost a renewal.
//!
//! Every list of actions but the last ends in `WaitUntil`: until then nothing has to be looked at.
//! After a restart a token remembers its failures, its wait, its need, how many before it died as they
//! came, and that it was dead; then it is probed once, for the server has the last word. It counts as
//! renewed when it was made.

use super::failure::{Failure, HUMAN_WAIT, cut, left_in_window};
use super::notice::{self, Notice};
use super::queue::Urgency;
use super::windows::{Windows, after, before};
use crate::id::TokenId;
use crate::renewal_memory::{Need, RenewalMemory};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// No two looks at one token are nearer to each other.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// The life of one token of a lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) token: TokenId,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) lifetime: Duration,
    pub(crate) windows: Windows,
}

/// How a token stands with the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// As far as is known it is good.
    #[default]
    Good,
    /// Somebody said that it is not authorized, and did not sign that: new leases are held until the
    /// server was asked.
    Suspect,
    /// The server says that it is dead.
    Revoked,
}

impl Standing {
    /// The standing's name, which stays.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Suspect => "suspect",
            Self::Revoked => "revoked",
        }
    }
}

/// What became of a question after a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Alive,
    /// Dead by the server's word.
    Dead,
    /// Refused a second time, by somebody.
    Refused,
    /// Nothing that could be believed came.
    Unknown,
    /// Nor will any while this machine's clock is as it is.
    Skewed,
}

/// What happens to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Time went by.
    Passed,
    /// Somebody wants it renewed now.
    Asked,
    /// The login was given that renews it.
    Provided,
    Renewed {
        life: Life,
        jitter: u8,
    },
    Failed {
        failure: Failure,
        jitter: u8,
    },
    /// A use of this token was answered 401.
    Refused {
        token: TokenId,
        is_signed: bool,
    },
    /// A use of this token was answered, by the server's word at a time still to come.
    AnsweredAhead {
        token: TokenId,
    },
    Probed {
        token: TokenId,
        verdict: Verdict,
        jitter: u8,
    },
    /// It is unlocked at the server until then.
    Unlocked {
        until: Option<DateTime<Utc>>,
    },
    /// There is room for the renewal that it waits for.
    Sent,
    Removed,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Have it renewed once there is room.
    Renew,
    /// Renew it now: there is.
    Begin,
    Probe(TokenId),
    /// From now on leases of this token are given, or not.
    Stand(TokenId, Standing),
    Tell(Notice),
    /// What outlives a restart has changed.
    Remember,
    WaitUntil(DateTime<Utc>),
    End,
}

/// The renewal that was asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    None,
    /// It waits for room.
    Waits,
    Out,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    None,
    Due(DateTime<Utc>),
    Out,
    /// Out, and since then the server has said that the token is dead.
    Overruled,
}

/// The renewal of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    life: Life,
    /// Whether anything here can renew it.
    renews: bool,
    standing: Standing,
    /// As it was last acted upon.
    shown: Standing,
    need: Option<Need>,
    shown_need: Option<Need>,
    /// What the next attempt will want, as far as is known before it is made.
    lack: Option<Need>,
    failures: u32,
    not_before: Option<DateTime<Utc>>,
    /// Whether a token's death may not cut the wait short.
    is_firm: bool,
    /// Whether each attempt is a login, too many of which lock an account.
    is_costly: bool,
    is_asked: bool,
    attempt: Attempt,
    renewed_at: Option<DateTime<Utc>>,
    /// Tokens in a row that died soon after they were renewed.
    deaths: u32,
    probe: Probe,
    unknown: u32,
    /// Whether it is suspect, and nobody refused it.
    is_unrefused: bool,
    /// A 401 that came while renewing, of a token that may be the successor, and whether it was signed.
    stray: Option<(TokenId, bool)>,
    alarms: notice::Alarms,
}

/// What is next, and who does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outlook {
    pub(crate) standing: Standing,
    pub(crate) need: Option<Need>,
    pub(crate) renewal_at: Option<DateTime<Utc>>,
    pub(crate) probe_at: Option<DateTime<Utc>>,
}

impl State {
    pub(crate) fn new(life: Life, renews: bool) -> Self {
        Self {
            life,
            renews,
            standing: Standing::Good,
            shown: Standing::Good,
            need: None,
            shown_need: None,
            lack: None,
            failures: 0,
            not_before: None,
            is_firm: false,
            is_costly: false,
            is_asked: false,
            attempt: Attempt::None,
            renewed_at: None,
            deaths: 0,
            probe: Probe::None,
            unknown: 0,
            is_unrefused: false,
            stray: None,
            alarms: notice::Alarms::default(),
        }
    }

    /// Goes on where it was before a restart.
    pub(crate) fn recalling(mut self, memory: RenewalMemory, now: DateTime<Utc>) -> Self {
        let RenewalMemory { failures, not_before, need, dead, deaths } = memory;
        (self.failures, self.not_before, self.need) = (failures, cut(not_before, now), need);
        // A process that dies with its tokens, and is started again, must not renew one for each start.
        let made_at = self.life.expires_at.map(|end| before(end, self.life.lifetime).min(now));
        (self.deaths, self.renewed_at) = (deaths, made_at);
        // What it was for is not remembered.
        self.is_firm = not_before.is_some();
        if dead == Some(self.life.token) {
            (self.standing, self.probe) = (Standing::Revoked, Probe::Due(now));
        }
        self
    }

    /// Each attempt to renew it is a login.
    pub(crate) fn costly(self, is_costly: bool) -> Self {
        Self { is_costly, ..self }
    }

    /// The next attempt will want this of a human, who is told before the token ends.
    pub(crate) fn lacking(self, need: Need) -> Self {
        Self { lack: Some(need), ..self }
    }

    /// What its grant says of whether a human must sign in, whatever was remembered of that.
    pub(crate) fn wanting_sign_in(mut self, wants: bool) -> Self {
        match (wants, self.need) {
            (true, _) => self.need = Some(Need::RefreshToken),
            (false, Some(Need::RefreshToken)) => (self.need, self.not_before) = (None, None),
            (false, _) => {}
        }
        self
    }

    /// Takes another's place, while that one's attempt is on its way or not; one that waits for room is
    /// forgotten. How the token stands with the server has nothing to do with how it is renewed; what it
    /// waited for has. Who asked for a renewal is still to get one.
    pub(crate) fn in_place_of(self, former: &Self, is_out: bool) -> Self {
        let attempt = if is_out { Attempt::Out } else { Attempt::None };
        let is_asked = self.renews && former.is_asked;
        if former.life.token != self.life.token {
            return Self { attempt, is_asked, ..self };
        }
        Self {
            attempt,
            is_asked,
            standing: former.standing,
            shown: former.shown,
            probe: former.probe,
            unknown: former.unknown,
            is_unrefused: former.is_unrefused,
            failures: former.failures,
            renewed_at: former.renewed_at,
            deaths: former.deaths,
            stray: former.stray,
            alarms: former.alarms,
            ..self
        }
    }

    pub(crate) fn memory(&self) -> RenewalMemory {
        let dead = (self.standing == Standing::Revoked).then_some(self.life.token);
        let Self { failures, not_before, need, deaths, .. } = *self;
        RenewalMemory { failures, not_before, need, dead, deaths }
    }

    pub(crate) fn outlook(&self, now: DateTime<Utc>) -> Outlook {
        Outlook {
            standing: self.standing,
            need: self.need.or(self.lack).or((!self.renews).then_some(Need::NewToken)),
            renewal_at: match self.attempt {
                Attempt::Out => Some(now),
                Attempt::Waits => self.due_at(now).map(|due| due.max(now)),
                Attempt::None => self.due_at(now),
            },
            probe_at: match self.probe {
                Probe::None => None,
                Probe::Due(at) => Some(at),
                Probe::Out | Probe::Overruled => Some(now),
            },
        }
    }

    /// Where it stands among those that are due.
    pub(super) fn urgency(&self, now: DateTime<Utc>) -> Urgency {
        match self.life.expires_at.filter(|end| *end > now && !self.is_lost()) {
            Some(end) => Urgency::Ends(end),
            None => Urgency::Ended(now),
        }
    }

    /// Whether each attempt is a login.
    pub(super) fn is_costly(&self) -> bool {
        self.is_costly
    }

    /// What an event makes of it, and what is to be done.
    pub(crate) fn step(mut self, event: Event, now: DateTime<Utc>) -> (Self, Vec<Action>) {
        let before = self.memory();
        self.not_before = cut(self.not_before, now);
        self.probe = self.cut_probe(now);
        match event {
            Event::Passed => {}
            Event::Asked => (self.is_asked, self.not_before) = (self.renews, None),
            Event::Provided => self.provided(),
            Event::Renewed { life, jitter } => self.renewed(life, now, jitter),
            Event::Failed { failure, jitter } => self.failed(failure, now, jitter),
            Event::Refused { token, is_signed } => self.refused(token, is_signed, now),
            Event::AnsweredAhead { token } => self.answered_ahead(token, now),
            Event::Probed { token, verdict, jitter } => self.probed(token, verdict, now, jitter),
            Event::Unlocked { until } => self.alarms.unlocked(until, now),
            Event::Sent => {}
            Event::Removed => return (self, vec![Action::End]),
        }
        let mut actions = Vec::new();
        if event == Event::Sent && self.attempt == Attempt::Waits {
            self.sent(now, &mut actions);
        }
        self.act(now, &mut actions);
        if self.memory() != before {
            actions.push(Action::Remember);
        }
        actions.push(Action::WaitUntil(self.wakes_at(now)));
        (self, actions)
    }

    /// One that leaves the token within its window (a server that moves the end by little, or not at
    /// all) is followed up as a failure is, or it would be asked for in a loop.
    fn renewed(&mut self, life: Life, now: DateTime<Utc>, jitter: u8) {
        let (before, alarms) = (*self, self.alarms.of_successor());
        let fresh = Self::new(life, before.renews).costly(before.is_costly);
        let is_out = matches!(before.probe, Probe::Out | Probe::Overruled);
        // A token that was extended is the same: what was asked of it is still on its way. Another's
        // leases are given as any new token's are.
        let (shown, probe) = match life.token == before.life.token {
            true if is_out => (before.shown, Probe::Out),
            true => (before.shown, Probe::None),
            false => (Standing::Good, Probe::None),
        };
        // Where the one before lived to be renewed, it is over that they die.
        let deaths = if before.is_lost() { before.deaths } else { 0 };
        *self = Self { shown, probe, alarms, deaths, renewed_at: Some(now), ..fresh };
        if self.is_due(now) {
            self.failures = before.failures;
            self.failed(Failure::Transient { retry_after: None }, now, jitter);
        }
        // It was in use before this was heard.
        if let Some((token, is_signed)) = before.stray {
            self.refused(token, is_signed, now);
        }
    }

    /// What came while it waited for room is known to the attempt, or it is not made any more.
    fn sent(&mut self, now: DateTime<Utc>, actions: &mut Vec<Action>) {
        self.attempt = match self.is_due(now) {
            true => Attempt::Out,
            false => Attempt::None,
        };
        if self.attempt == Attempt::Out {
            self.is_asked = false;
            actions.push(Action::Begin);
        }
    }

    /// Whoever asks while an attempt is on its way asks for one more, should that one fail: it began
    /// without what was given since.
    fn failed(&mut self, failure: Failure, now: DateTime<Utc>, jitter: u8) {
        (self.attempt, self.stray) = (Attempt::None, None);
        self.failures = self.failures.saturating_add(1);
        let left = left_in_window(&self.life, self.is_lost(), now);
        let wait = failure.wait(self.failures, left, jitter);
        self.not_before = (!self.is_asked).then(|| after(now, wait));
        self.is_firm = match failure {
            Failure::Transient { retry_after } => retry_after.is_some(),
            Failure::Terminal(_) | Failure::Costly(_) => wait >= HUMAN_WAIT,
            Failure::Refused => false,
        };
        match failure {
            Failure::Terminal(need) | Failure::Costly(need) => self.need = Some(need),
            Failure::Refused if self.probe == Probe::None => self.probe = Probe::Due(now),
            // What went wrong before may have been mended: the server is merely busy.
            Failure::Refused | Failure::Transient { .. } => {}
        }
    }

    /// The login is there: what waited for it waits no more, and what is not due is not renewed.
    fn provided(&mut self) {
        self.lack = None;
        // An attempt on its way may have begun without it.
        self.is_asked |= self.attempt == Attempt::Out;
        if matches!(self.need, Some(Need::Login | Need::OneTimePassword)) {
            (self.need, self.not_before) = (None, None);
        }
    }

    /// Whether there is no window left that a wait could miss.
    fn is_lost(&self) -> bool {
        self.standing == Standing::Revoked
    }

    /// When the next attempt is due; `None` while none is to be made.
    fn due_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let is_held = self.standing == Standing::Suspect && !self.is_asked;
        if !self.renews || self.attempt == Attempt::Out || is_held {
            return None;
        }
        let its_turn = match self.life.expires_at {
            Some(end) if !self.is_asked && !self.is_lost() => before(end, self.life.windows.turn),
            _ => now,
        };
        Some(self.not_before.map_or(its_turn, |wait| wait.max(its_turn)))
    }

    fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.due_at(now).is_some_and(|due| due <= now)
    }

    /// What is due by now.
    fn act(&mut self, now: DateTime<Utc>, actions: &mut Vec<Action>) {
        let token = self.life.token;
        if self.shown != self.standing {
            self.shown = self.standing;
            actions.push(Action::Stand(token, self.standing));
            let is_news = match self.standing {
                Standing::Good => false,
                Standing::Suspect => !self.is_unrefused,
                Standing::Revoked => true,
            };
            if is_news {
                actions.push(Action::Tell(Notice::Standing(self.standing)));
            }
        }
        if self.shown_need != self.need {
            self.shown_need = self.need;
            actions.extend(self.need.map(|need| Action::Tell(Notice::Needs(need))));
        }
        if matches!(self.probe, Probe::Due(at) if at <= now) {
            self.probe = Probe::Out;
            actions.push(Action::Probe(token));
        }
        if self.attempt == Attempt::None && self.is_due(now) {
            self.attempt = Attempt::Waits;
            actions.push(Action::Renew);
        }
        let needs_human = self.needs_human();
        actions.extend(self.alarms.due(&self.life, needs_human, now).map(Action::Tell));
    }

    fn needs_human(&self) -> bool {
        // Of what is lacking an attempt on its way tells by itself.
        let lack = self.lack.filter(|_| self.attempt != Attempt::Out);
        !self.renews || self.need.or(lack).is_some()
    }

    /// When there is something to look at again.
    fn wakes_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let probe_at = match self.probe {
            Probe::Due(at) => Some(at),
            _ => None,
        };
        let alarm_at = self.alarms.next_at(&self.life, self.needs_human(), now);
        let renewal_at = match self.attempt {
            // It is sent once there is room, and goes behind those that live when it does not any more.
            Attempt::Waits => self.life.expires_at.filter(|end| *end > now),
            Attempt::None | Attempt::Out => self.due_at(now),
        };
        let next = [renewal_at, probe_at, alarm_at].into_iter().flatten().min();
        next.unwrap_or(DateTime::<Utc>::MAX_UTC).max(after(now, SHORTEST_LOOK))
    }
}

mod standing;
#[cfg(test)]
mod tests;
