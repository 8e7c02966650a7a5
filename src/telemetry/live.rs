//! With the feature `metrics`: the handles of what is counted and timed.
//!
//! Those of the hot path are registered once, at the first opening of a vault in the process: a lease
//! then costs two looks at the clock, and what the recorder's counter and histogram cost. What comes
//! with the network or with a refusal is looked up by its name each time.

use crate::clock::Stopwatch;
use crate::money::{Amount, Coin};
use crate::token::Label;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use std::collections::BTreeMap;
use std::sync::OnceLock;

const LEASES: &str = "bitgo_vault_leases_total";
const DENIALS: &str = "bitgo_vault_denials_total";
const RENEWALS: &str = "bitgo_vault_renewals_total";
const RENEWAL_FAILURES: &str = "bitgo_vault_renewal_failures_total";
const ALARMS: &str = "bitgo_vault_alarms_total";
const SECONDS_TO_EXPIRY: &str = "bitgo_vault_seconds_to_expiry";
const ESCROW_LEFT: &str = "bitgo_vault_escrow_left_base_units";
const LEASE: &str = "bitgo_vault_lease_seconds";
const SIGN: &str = "bitgo_vault_sign_seconds";
const COMMIT: &str = "bitgo_vault_commit_seconds";
const RENEWAL: &str = "bitgo_vault_renewal_seconds";
const HTTP: &str = "bitgo_vault_http_seconds";

/// The kinds of requests that have a handle each.
const KINDS: [&str; 5] = ["view", "build", "spend", "order", "cancel-order"];

/// The handles of the hot path.
struct Handles {
    leases: [(&'static str, Counter); KINDS.len()],
    lease: Histogram,
    sign: Histogram,
    commit: Histogram,
}

impl Handles {
    fn new() -> Self {
        describe();
        Self {
            leases: KINDS.map(|kind| (kind, counter!(LEASES, "kind" => kind))),
            lease: histogram!(LEASE),
            sign: histogram!(SIGN),
            commit: histogram!(COMMIT),
        }
    }
}

fn describe() {
    describe_counter!(LEASES, Unit::Count, "Leases that were granted, by kind of request.");
    describe_counter!(DENIALS, Unit::Count, "Requests that a rule refused, by rule.");
    describe_counter!(RENEWALS, Unit::Count, "Renewals, by way.");
    describe_counter!(RENEWAL_FAILURES, Unit::Count, "Attempts to renew that failed.");
    describe_counter!(ALARMS, Unit::Count, "What a human should look at, by alarm.");
    describe_gauge!(SECONDS_TO_EXPIRY, Unit::Seconds, "How long a token lives yet.");
    describe_gauge!(ESCROW_LEFT, Unit::Count, "What is left of a token's limit for a coin.");
    describe_histogram!(LEASE, Unit::Seconds, "Taking a lease that was granted.");
    describe_histogram!(SIGN, Unit::Seconds, "Signing a request.");
    describe_histogram!(COMMIT, Unit::Seconds, "A group of commits, until it is on disk.");
    describe_histogram!(RENEWAL, Unit::Seconds, "An attempt to renew a token.");
    describe_histogram!(HTTP, Unit::Seconds, "An HTTP call, until its answer is whole.");
}

fn handles() -> &'static Handles {
    static HANDLES: OnceLock<Handles> = OnceLock::new();
    HANDLES.get_or_init(Handles::new)
}

/// Registers with the recorder, before anything is counted.
pub(crate) fn register() {
    handles();
}

/// A lease was granted for a request of this kind.
#[inline]
pub(crate) fn leased(kind: &'static str, since: Stopwatch) {
    let handles = handles();
    handles.lease.record(since.elapsed());
    match handles.leases.iter().find(|(known, _)| *known == kind) {
        Some((_, leases)) => leases.increment(1),
        None => counter!(LEASES, "kind" => kind).increment(1),
    }
}

/// A request was signed.
#[inline]
pub(crate) fn signed(since: Stopwatch) {
    handles().sign.record(since.elapsed());
}

/// A rule refused a request.
pub(crate) fn denied(rule: &'static str) {
    counter!(DENIALS, "rule" => rule).increment(1);
}

/// A group of commits is on disk.
pub(crate) fn committed(since: Stopwatch) {
    handles().commit.record(since.elapsed());
}

/// A request was sent, or could not be.
pub(crate) fn called(method: &'static str, outcome: &'static str, since: Stopwatch) {
    histogram!(HTTP, "method" => method, "outcome" => outcome).record(since.elapsed());
}

/// A token was renewed.
pub(crate) fn renewed(way: &'static str, since: Stopwatch) {
    counter!(RENEWALS, "way" => way).increment(1);
    histogram!(RENEWAL, "way" => way).record(since.elapsed());
}

/// An attempt to renew a token failed.
pub(crate) fn not_renewed(way: &'static str, kind: &'static str, since: Stopwatch) {
    counter!(RENEWAL_FAILURES, "way" => way, "kind" => kind).increment(1);
    histogram!(RENEWAL, "way" => way).record(since.elapsed());
}

/// A human should look at something.
pub(crate) fn alarmed(alarm: &'static str) {
    counter!(ALARMS, "alarm" => alarm).increment(1);
}

/// What the gauges of a token show.
pub(crate) struct TokenNumbers {
    pub(crate) label: Label,
    /// Below zero once it has ended; `None` where its end is not known.
    pub(crate) seconds_to_expiry: Option<f64>,
    /// Of each coin that has a cap.
    pub(crate) left: Vec<(Coin, Amount)>,
}

/// The gauges of a vault's tokens.
#[derive(Default)]
pub(crate) struct TokenGauges(BTreeMap<Label, Gauges>);

#[derive(Default)]
struct Gauges {
    expiry: Option<Gauge>,
    left: BTreeMap<Coin, Gauge>,
    /// Whether it was shown since the last sweep.
    is_shown: bool,
}

impl TokenGauges {
    /// Shows a token as it stands now.
    pub(crate) fn show(&mut self, token: TokenNumbers) {
        let TokenNumbers { label, seconds_to_expiry, left } = token;
        let gauges = self.0.entry(label.clone()).or_default();
        let name = || label.as_str().to_owned();
        let expiry =
            gauges.expiry.get_or_insert_with(|| gauge!(SECONDS_TO_EXPIRY, "label" => name()));
        expiry.set(seconds_to_expiry.unwrap_or(f64::NAN));
        gauges.left.retain(|coin, gauge| {
            let is_capped = left.iter().any(|(capped, _)| capped == coin);
            if !is_capped {
                gauge.set(f64::NAN);
            }
            is_capped
        });
        for (coin, left) in left {
            let named =
                || gauge!(ESCROW_LEFT, "label" => name(), "coin" => coin.as_str().to_owned());
            gauges.left.entry(coin.clone()).or_insert_with(named).set(left.base_units() as f64);
        }
        gauges.is_shown = true;
    }

    /// Takes the gauges off the tokens that were not shown since the last time: what is gone has no
    /// number, and raises no alarm.
    pub(crate) fn sweep(&mut self) {
        self.0.retain(|_, gauges| {
            let is_shown = std::mem::take(&mut gauges.is_shown);
            if !is_shown {
                gauges.blank();
            }
            is_shown
        });
    }
}

/// The numbers of a vault that is closed would stand still as if its tokens lived on.
impl Drop for TokenGauges {
    fn drop(&mut self) {
        self.0.values().for_each(Gauges::blank);
    }
}

impl Gauges {
    fn blank(&self) {
        let all = self.expiry.iter().chain(self.left.values());
        all.for_each(|gauge| gauge.set(f64::NAN));
    }
}
