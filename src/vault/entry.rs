//! One token as the open vault holds it: sealed, and replaced whole when it is renewed.

use crate::money::Coin;
use crate::policy::{Counter, LocalRules};
use crate::refresh::{Phase, Schedule, Windows};
use crate::store::{SealedSecret, TokenRecord};
use crate::token::{Label, Renewal, TokenInfo};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// The lifetime assumed where a token does not tell when it was made.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(3600);

/// A token and all that is known of it, at one moment.
pub(super) struct Held {
    pub(super) record: TokenRecord,
    pub(super) secret: SealedSecret,
    windows: Windows,
}

impl Held {
    pub(super) fn new(record: TokenRecord, secret: SealedSecret) -> Self {
        let windows = Windows::of(lifetime(&record.info));
        Self { record, secret, windows }
    }

    pub(super) fn phase(&self, now: DateTime<Utc>) -> Phase {
        self.windows.phase(self.record.info.expires_at, now)
    }

    pub(super) fn schedule(&self) -> Schedule {
        Schedule::new(self.record.info.expires_at, lifetime(&self.record.info))
    }
}

/// How long a token lives from when it was made, or was last extended.
pub(super) fn lifetime(info: &TokenInfo) -> Duration {
    match (info.created_at, info.expires_at) {
        (Some(from), Some(to)) => (to - from).to_std().unwrap_or(UNKNOWN_LIFETIME),
        _ => UNKNOWN_LIFETIME,
    }
}

/// One label's token.
pub(super) struct Entry {
    /// `None` once removed. Held for a clone or a swap only.
    held: RwLock<Option<Arc<Held>>>,
    /// Held to read or to note one attempt only.
    attempts: Mutex<Attempts>,
    /// Counts the attempts that have ended, for those who wait for one.
    ended: watch::Sender<u64>,
}

/// What became of the attempts to renew.
#[derive(Clone, Default)]
struct Attempts {
    renewals: u64,
    failures: u32,
    last_error: Option<String>,
}

impl Entry {
    pub(super) fn new(held: Held) -> Self {
        Self {
            held: RwLock::new(Some(Arc::new(held))),
            attempts: Mutex::default(),
            ended: watch::Sender::new(0),
        }
    }

    /// The token now, unless it was removed.
    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Swaps the token, unless it was removed.
    pub(super) fn replace(&self, successor: Held) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            *held = Some(Arc::new(successor));
        }
    }

    /// Takes the token out.
    pub(super) fn take(&self) -> Option<Arc<Held>> {
        let taken = self.held.write().unwrap_or_else(PoisonError::into_inner).take();
        self.wake();
        taken
    }

    /// Wakes who waits for an attempt to end: none may come any more.
    pub(super) fn wake(&self) {
        self.ended.send_modify(|ended| *ended += 1);
    }

    /// Notes how an attempt to renew ended, and wakes who waits for it.
    pub(super) fn attempt_ended(&self, error: Option<String>) {
        {
            let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            match error {
                None => {
                    *attempts = Attempts { renewals: attempts.renewals + 1, ..Attempts::default() };
                }
                Some(_) => {
                    attempts.failures = attempts.failures.saturating_add(1);
                    attempts.last_error = error;
                }
            }
        }
        self.wake();
    }

    /// Hears of every attempt that ends from now on.
    pub(super) fn attempts(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    pub(super) fn status(
        &self,
        held: &Held,
        counters: Option<BTreeMap<Coin, Counter>>,
        now: DateTime<Utc>,
    ) -> TokenStatus {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        TokenStatus {
            label: held.record.label.clone(),
            info: held.record.info.clone(),
            renewal: held.record.renewal,
            rules: held.record.rules.clone(),
            phase: held.phase(now),
            renewals: attempts.renewals,
            failures: attempts.failures,
            last_error: attempts.last_error,
            counters: counters.unwrap_or_default(),
        }
    }
}

/// A token as it stands. Never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenStatus {
    /// The name it is kept under.
    pub label: Label,
    /// What BitGo says of it.
    pub info: TokenInfo,
    /// How it is renewed.
    pub renewal: Renewal,
    /// The vault's own rules for it.
    pub rules: LocalRules,
    /// Where it stands in its life.
    pub phase: Phase,
    /// Renewals since the vault was opened.
    pub renewals: u64,
    /// Attempts that failed since the last renewal.
    pub failures: u32,
    /// Why the last of them failed.
    pub last_error: Option<String>,
    /// What was spent, by coin.
    pub counters: BTreeMap<Coin, Counter>,
}
