//! Many tokens that end in the same minute: all are renewed, apart and not too many at once, and nobody
//! who uses one waits. Minutes pass in virtual time, against the emulator over HTTP.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, passphrase, until};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{Phase, Request, TokenStatus};
use chrono::{DateTime, TimeDelta, Utc};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
/// Renewal begins at 45:00, is urgent from 59:00 on, and turns are spread over 280 s.
const LIFETIME: Duration = Duration::from_secs(3600);
const TO_THE_WINDOW: Duration = Duration::from_secs(2700);
const TURNS: Duration = Duration::from_secs(280);
/// As many as are renewed at once.
const AT_ONCE: usize = 16;
/// As many as log in at once.
const LOGINS: usize = 32;
/// In a debug build they take about half a minute.
const MANY: usize = 1000;
/// More than are renewed at once, many times.
const SOME: usize = 120;
const EXTEND: (&str, &str) = ("POST", "/api/v1/user/extendtoken");
/// As many tokens are leased each second.
const READERS: usize = 50;
/// As long as BitGo takes over an answer.
const ANSWER: Duration = Duration::from_millis(150);

/// A vault that keeps so many sessions of one minute.
struct Storm {
    desk: Desk,
    view: Request,
    labels: Vec<String>,
    leased: usize,
    waited: usize,
}

impl Storm {
    async fn brew(tokens: usize, spread: Duration) -> Self {
        let builder = Emulator::builder().session_lifetime(LIFETIME).without_traffic();
        let desk = Desk::empty(builder).await;
        let labels: Vec<_> = (0..tokens).map(|number| format!("bot {number}")).collect();
        for labels in labels.chunks(LOGINS) {
            let mut logins = JoinSet::new();
            for label in labels {
                let label = label.clone();
                let (vault, login) = (desk.vault.clone(), desk.login().extensible());
                logins.spawn(async move { vault.login(&label, login).await.map(drop) });
            }
            for login in logins.join_all().await {
                login.unwrap();
            }
        }
        let options = desk.options().spread_renewals(spread);
        let desk = desk.reopened_with(options).await;
        let ends: Vec<_> = desk.vault.list().iter().map(end).collect();
        let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
        assert!(*last - *first < TimeDelta::minutes(1), "they end in the same minute");
        desk.bitgo.inject(Fault::new(FaultKind::Delay(ANSWER)).times(u32::MAX));
        desk.bitgo.most_at_once();
        let view = desk.view();
        Self { desk, view, labels, leased: 0, waited: 0 }
    }

    fn renewals(&self) -> u64 {
        self.desk.vault.list().iter().map(|token| token.renewals).sum()
    }

    /// Leases a token as one who would wait does. Who has his lease when he first looks did not.
    fn lease(&mut self, label: &str) {
        let mut lease = pin!(self.desk.vault.lease_wait(label, &self.view));
        self.leased += 1;
        match lease.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(lease) => drop(lease.unwrap().sign().unwrap()),
            Poll::Pending => self.waited += 1,
        }
    }

    /// Uses all tokens in turns, until all are renewed.
    async fn pass(&mut self) {
        let (labels, parts) = (self.labels.clone(), self.labels.len().div_ceil(READERS));
        for number in 0.. {
            assert!(number < 1000, "they are not renewed in their window: {:?}", self.slowest());
            for label in labels.iter().skip(number % parts).step_by(parts) {
                self.lease(label);
            }
            sleep(SECOND).await;
            if number % 10 == 9 && self.desk.vault.list().iter().all(|it| it.renewals > 0) {
                return;
            }
        }
    }

    fn slowest(&self) -> Option<TokenStatus> {
        self.desk.vault.list().into_iter().find(|token| token.renewals == 0)
    }
}

fn end(token: &TokenStatus) -> DateTime<Utc> {
    token.info.expires_at.unwrap()
}

/// All are renewed once, each in its turn.
async fn spread(tokens: usize) {
    let mut storm = Storm::brew(tokens, Duration::MAX).await;
    sleep(TO_THE_WINDOW - 60 * SECOND).await;
    let before = storm.desk.vault.list();
    assert!(before.iter().all(|token| token.renewals == 0 && token.phase == Phase::Fresh));
    let options = storm.desk.options().spread_renewals(Duration::MAX);
    storm.desk = storm.desk.reopened_with(options).await;
    let turn = |token: &TokenStatus| token.renewal_at;
    let again: Vec<_> = storm.desk.vault.list().iter().map(turn).collect();
    assert_eq!(again, before.iter().map(turn).collect::<Vec<_>>(), "after a restart as before");
    storm.pass().await;

    let after = storm.desk.vault.list();
    assert!(after.iter().all(|token| (token.renewals, token.failures) == (1, 0)));
    assert_eq!((storm.waited, storm.leased > tokens), (0, true));
    let at_once = storm.desk.bitgo.most_at_once();
    assert!((1..=AT_ONCE).contains(&at_once), "{at_once} at once");
    // BitGo ends each an hour after it was extended.
    let mut renewed: Vec<_> = after.iter().map(|token| end(token) - LIFETIME).collect();
    renewed.sort_unstable();
    let (first, last) = (renewed[0], renewed[tokens - 1]);
    let took = (last - first).to_std().unwrap();
    assert!(took > TURNS / 2, "{took:?}");
    let part = |at: &DateTime<Utc>| (*at - first).num_seconds() / 20;
    let parts = renewed.chunk_by(|a, b| part(a) == part(b));
    let most = parts.map(<[_]>::len).max().unwrap();
    // A fair share of 280 s is one in 14; where they bunch it is all.
    assert!(most < tokens / 5, "{most} of {tokens} in 20 seconds");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_end_together_are_renewed_apart_and_nobody_waits() {
    spread(MANY).await;
}

#[tokio::test(start_paused = true)]
#[cfg_attr(debug_assertions, ignore = "ten thousand logins take minutes without optimisation")]
async fn ten_thousand_tokens_that_end_together_are_renewed_apart_and_nobody_waits() {
    spread(10_000).await;
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_due_at_once_are_renewed_sixteen_at_a_time_and_nobody_waits() {
    let mut storm = Storm::brew(SOME, Duration::ZERO).await;
    sleep(TO_THE_WINDOW - 60 * SECOND).await;
    storm.pass().await;
    assert_eq!((storm.renewals(), storm.waited), (SOME as u64, 0));
    assert_eq!(storm.desk.bitgo.most_at_once(), AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn a_storm_that_bitgo_asks_to_be_patient_with_is_weathered_and_nobody_waits() {
    let mut storm = Storm::brew(SOME, Duration::ZERO).await;
    storm.desk.bitgo.clear_faults();
    let busy = Fault::new(FaultKind::RetryAfter(30)).on(EXTEND.0, EXTEND.1);
    storm.desk.bitgo.inject(busy.times(200));
    sleep(TO_THE_WINDOW - 60 * SECOND).await;
    storm.pass().await;
    assert_eq!((storm.renewals(), storm.waited), (SOME as u64, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_token_that_is_about_to_end_goes_before_the_queue() {
    let storm = Storm::brew(SOME, Duration::ZERO).await;
    let Storm { desk, view, .. } = storm;
    desk.bitgo.clear_faults();
    desk.bitgo.inject(Fault::new(FaultKind::Delay(SECOND)).times(u32::MAX));
    let last = desk.vault.list().into_iter().max_by_key(end).unwrap().label;
    // In its last minute. All are due as the vault is opened.
    let options = desk.options().spread_renewals(Duration::ZERO);
    let desk = desk.reopened_later(options, LIFETIME - 55 * SECOND).await;
    let status = || desk.vault.status(last.as_str()).unwrap();
    assert_eq!(status().phase, Phase::Mandatory);
    // It waits a second, and no longer.
    drop(desk.vault.lease_wait(last.as_str(), &view).await.unwrap().sign().unwrap());
    until(|| status().renewals == 1).await;
    let renewed: u64 = desk.vault.list().iter().map(|token| token.renewals).sum();
    assert!(renewed <= 2 * AT_ONCE as u64, "{renewed} of {SOME} went first");
}

#[tokio::test(start_paused = true)]
async fn a_vault_closes_in_the_midst_of_a_storm() {
    let storm = Storm::brew(SOME, Duration::ZERO).await;
    storm.desk.bitgo.clear_faults();
    storm.desk.bitgo.inject(Fault::new(FaultKind::Delay(LIFETIME)).times(u32::MAX));
    sleep(TO_THE_WINDOW + 5 * SECOND).await;
    let options = storm.desk.options();
    let closed = timeout(SECOND, storm.desk.closed()).await;
    let (bitgo, _dir) = closed.expect("it waits for what is due");
    assert_eq!(bitgo.most_at_once(), AT_ONCE);
    // None was lost by that, and none was renewed.
    bitgo.clear_faults();
    let vault = options.unlock(passphrase()).await.unwrap();
    until(|| vault.list().iter().all(|token| token.renewals == 1)).await;
}
