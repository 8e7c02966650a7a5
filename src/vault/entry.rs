//! One token as the open vault holds it: sealed, and replaced whole when it is renewed.

use super::keys::Keys;
use crate::coin_map::CoinMap;
use crate::crypto::KeyPlace;
use crate::policy::{Counter, LocalRules};
use crate::refresh::{Phase, Schedule, Windows};
use crate::store::{SealedSecret, TokenRecord};
use crate::token::{Label, Renewal, TokenInfo};
use chrono::{DateTime, Utc};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// The lifetime assumed where a token does not tell when it was made.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(3600);

/// The longest a reader waits for the renewal of a token that is still valid.
const VALID_WAIT: Duration = Duration::from_secs(1);
/// The longest a reader waits for the renewal of a token that has expired: the longest wait
/// between two attempts, and an attempt.
const EXPIRED_WAIT: Duration = Duration::from_secs(90);

/// A token and all that is known of it, at one moment.
pub(super) struct Held {
    pub(super) record: TokenRecord,
    pub(super) secret: SealedSecret,
    /// Where its key is, while it is in use.
    pub(super) key: KeyPlace,
    windows: Windows,
    /// Why it is not the entry's any more. Leases look here, and at nothing that others write.
    end: OnceLock<&'static str>,
}

impl Held {
    pub(super) fn new(record: TokenRecord, secret: SealedSecret) -> Self {
        let windows = Windows::of(lifetime(&record.info));
        Self { record, secret, key: KeyPlace::nowhere(), windows, end: OnceLock::new() }
    }

    /// Why this is not how the token stands any more; `None` while it is.
    pub(super) fn end(&self) -> Option<&'static str> {
        self.end.get().copied()
    }

    /// Whether a reader should wait for a renewal.
    pub(super) fn awaits_renewal(&self, now: DateTime<Utc>) -> bool {
        self.record.renewal != Renewal::Manual
            && matches!(self.phase(now), Phase::Mandatory | Phase::Expired)
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
    /// Where a token's key is wiped as soon as the token is not this entry's any more.
    keys: Arc<Keys>,
    /// Made when it is first needed: most tokens of many are never waited for, and a channel takes up
    /// half a kilobyte.
    progress: OnceLock<watch::Sender<Progress>>,
}

/// How the attempts to renew a token go.
#[derive(Clone, Default)]
struct Progress {
    renewals: u64,
    /// Attempts that failed since the last renewal.
    failures: u32,
    last_error: Option<String>,
    /// Attempts that have ended.
    ended: u64,
    /// Whether waiting is in vain: asking again will not help, or nobody will ask.
    is_hopeless: bool,
}

impl Entry {
    pub(super) fn new(held: Held, keys: Arc<Keys>) -> Self {
        Self { held: RwLock::new(Some(Arc::new(held))), keys, progress: OnceLock::new() }
    }

    fn progress(&self) -> &watch::Sender<Progress> {
        self.progress.get_or_init(watch::Sender::default)
    }

    /// The token now, unless it was removed.
    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Swaps the token, unless it was removed.
    pub(super) fn replace(&self, successor: Held) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_mut() {
            let before = std::mem::replace(held, Arc::new(successor));
            self.ended(&before, "the token was renewed or its rules changed");
        }
    }

    /// Takes the token out.
    pub(super) fn take(&self) -> Option<Arc<Held>> {
        let taken = self.held.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(taken) = &taken {
            self.ended(taken, "the token was removed");
        }
        self.give_up();
        taken
    }

    /// Voids the leases of what the entry held.
    fn ended(&self, held: &Held, why: &'static str) {
        // It ends once: it is taken out under the lock.
        let _ = held.end.set(why);
        self.keys.end(&held.key);
    }

    /// Tells who waits for a renewal that none will come any more.
    pub(super) fn give_up(&self) {
        self.progress().send_modify(|progress| progress.is_hopeless = true);
    }

    /// Notes a renewal.
    pub(super) fn renewed(&self) {
        self.progress().send_modify(|progress| {
            let (renewals, ended) = (progress.renewals + 1, progress.ended + 1);
            *progress = Progress { renewals, ended, ..Progress::default() };
        });
    }

    /// Notes an attempt that failed, and whether asking again is in vain.
    pub(super) fn failed(&self, error: String, is_hopeless: bool) {
        self.progress().send_modify(|progress| {
            progress.failures = progress.failures.saturating_add(1);
            progress.last_error = Some(error);
            progress.ended += 1;
            progress.is_hopeless = is_hopeless;
        });
    }

    /// Waits while a renewal is due: the reader of a valid token for the end of an attempt, and
    /// no more than a moment; that of an expired one for a renewal, while there is hope for one.
    /// Whether it came or not, the token is then to be judged as it is.
    pub(super) async fn await_renewal(&self, now: DateTime<Utc>) {
        // How a token is renewed does not change. For the rest: subscribed before anything is looked
        // at, so that no wake-up is missed.
        if self.held().is_none_or(|held| held.record.renewal == Renewal::Manual) {
            return;
        }
        let mut progress = self.progress().subscribe();
        let (renewals, ended) = {
            let before = progress.borrow();
            (before.renewals, before.ended)
        };
        let Some(held) = self.held() else { return };
        match held.phase(now) {
            Phase::Mandatory => {
                let left = held.record.info.expires_at.and_then(|end| (end - now).to_std().ok());
                let patience = VALID_WAIT.min(left.unwrap_or_default() / 2);
                let news = progress.wait_for(|now| now.ended != ended || now.is_hopeless);
                let _ = tokio::time::timeout(patience, news).await;
            }
            Phase::Expired => {
                let news = progress.wait_for(|now| now.renewals != renewals || now.is_hopeless);
                let _ = tokio::time::timeout(EXPIRED_WAIT, news).await;
            }
            _ => {}
        }
    }

    pub(super) fn status(
        &self,
        held: &Held,
        counters: Option<CoinMap<Counter>>,
        now: DateTime<Utc>,
    ) -> TokenStatus {
        let progress = self.progress.get().map(|progress| progress.borrow().clone());
        let Progress { renewals, failures, last_error, .. } = progress.unwrap_or_default();
        TokenStatus {
            label: held.record.label.clone(),
            info: held.record.info.clone(),
            renewal: held.record.renewal,
            rules: LocalRules::clone(&held.record.rules),
            phase: held.phase(now),
            renewals,
            failures,
            last_error,
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
    pub counters: CoinMap<Counter>,
}
