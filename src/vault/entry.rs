//! One token as the open vault holds it: sealed, and replaced whole when it is renewed.

use super::keys::Keys;
use crate::coin_map::CoinMap;
use crate::crypto::KeyPlace;
use crate::error::Error;
use crate::id::TokenId;
use crate::policy::{Counter, Denied, LocalRules, Rule};
use crate::refresh::{Life, Outlook, Phase, Standing, State, WindowSettings, Windows};
use crate::renewal_memory::{Need, RenewalMemory};
use crate::store::{SealedSecret, TokenRecord};
use crate::token::{Label, Renewal, TokenInfo, TokenKind};
use chrono::{DateTime, Utc};
use std::sync::atomic::{AtomicU8, Ordering};
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
    /// By its place among [`STANDINGS`], for as long as it is the same token. Leases look here as well.
    standing: Arc<AtomicU8>,
    /// Why it is not the entry's any more. Leases look here, and at nothing that others write.
    end: OnceLock<&'static str>,
}

/// In the order in which they are written down for leases.
const STANDINGS: [Standing; 3] = [Standing::Good, Standing::Suspect, Standing::Revoked];

impl Held {
    pub(super) fn new(record: TokenRecord, secret: SealedSecret, settings: WindowSettings) -> Self {
        let windows = Windows::of(lifetime(&record.info), settings);
        let windows = windows.in_turn(record.lineage, settings);
        let (key, standing) = (KeyPlace::nowhere(), Arc::default());
        Self { record, secret, key, windows, standing, end: OnceLock::new() }
    }

    /// The same token, of which something else is known.
    pub(super) fn with(&self, record: TokenRecord) -> Self {
        let (secret, standing) = (self.secret.clone(), Arc::clone(&self.standing));
        let (key, windows) = (KeyPlace::nowhere(), self.windows);
        Self { record, secret, key, windows, standing, end: OnceLock::new() }
    }

    /// Whether BitGo has yet to be asked what it may do.
    pub(super) fn is_unverified(&self) -> bool {
        self.record.info.kind == TokenKind::Unverified
    }

    /// How it stands with the server.
    pub(super) fn standing(&self) -> Standing {
        let place = usize::from(self.standing.load(Ordering::Relaxed));
        STANDINGS.get(place).copied().unwrap_or_default()
    }

    pub(super) fn stand(&self, standing: Standing) {
        let place = STANDINGS.iter().position(|known| *known == standing);
        let place = place.and_then(|place| u8::try_from(place).ok());
        self.standing.store(place.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Refuses a token that the server may not take.
    pub(super) fn check_standing(&self) -> Result<(), Denied> {
        match self.standing() {
            Standing::Good => Ok(()),
            Standing::Suspect => Err(Denied::new(
                Rule::Suspect,
                "somebody refused the token without signing that, and bitgo is asked: try again in a moment",
            )),
            Standing::Revoked => Err(Denied::new(
                Rule::Revoked,
                "bitgo says that the token is dead; issue a new one",
            )),
        }
    }

    /// Why this is not how the token stands any more; `None` while it is.
    pub(super) fn end(&self) -> Option<&'static str> {
        self.end.get().copied()
    }

    /// Whether a reader should wait for a renewal.
    pub(super) fn awaits_renewal(&self, now: DateTime<Utc>) -> bool {
        self.standing() == Standing::Suspect
            || self.record.renewal != Renewal::Manual
                && (self.standing() == Standing::Revoked
                    || matches!(self.phase(now), Phase::Mandatory | Phase::Expired))
    }

    pub(super) fn phase(&self, now: DateTime<Utc>) -> Phase {
        self.windows.phase(self.record.info.expires_at, now)
    }

    pub(super) fn life(&self) -> Life {
        let info = &self.record.info;
        let (token, expires_at) = (info.id, info.expires_at);
        Life { token, expires_at, lifetime: lifetime(info), windows: self.windows }
    }

    /// Where its renewal begins.
    pub(super) fn renewal_state(&self) -> State {
        let way = self.record.renewal;
        State::new(self.life(), way != Renewal::Manual).costly(way == Renewal::Reissue)
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
    /// Attempts that had failed when the vault was opened.
    failures_before: u32,
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
    /// Attempts of which the task knows that they have: asked from then on, it makes another.
    landed: u64,
    /// Whether the task knows that somebody waits, or waited, for the attempt that lands next.
    is_told: bool,
    /// How often it has come to stand otherwise with the server.
    stood: u64,
    /// Whether waiting is in vain: asking again will not help, or nobody will ask.
    is_hopeless: bool,
}

impl Entry {
    pub(super) fn new(held: Arc<Held>, keys: Arc<Keys>, memory: RenewalMemory) -> Self {
        let (held, progress) = (RwLock::new(Some(held)), OnceLock::new());
        Self { held, keys, progress, failures_before: memory.failures }
    }

    fn progress(&self) -> &watch::Sender<Progress> {
        self.progress.get_or_init(|| {
            watch::Sender::new(Progress { failures: self.failures_before, ..Progress::default() })
        })
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
        drop(held);
        // Who waits looks again, and takes this lock while it does.
        if let Some(progress) = self.progress.get() {
            progress.send_modify(|_| {});
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
            let Progress { landed, is_told, stood, .. } = *progress;
            *progress = Progress { renewals, ended, landed, is_told, stood, ..Progress::default() };
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

    /// Notes that the task knows of an attempt's end.
    pub(super) fn landed(&self) {
        self.progress().send_modify(|progress| {
            (progress.landed, progress.is_told) = (progress.landed + 1, false);
        });
    }

    /// Notes that what failed has come about, though not by a renewal.
    pub(super) fn mended(&self) {
        self.progress().send_modify(|progress| {
            (progress.failures, progress.last_error, progress.is_hopeless) = (0, None, false);
        });
    }

    /// Gives leases of this token from now on, or holds them.
    pub(super) fn stand(&self, token: TokenId, standing: Standing) {
        if let Some(held) = self.held().filter(|held| held.record.info.id == token) {
            held.stand(standing);
            self.progress().send_modify(|progress| progress.stood += 1);
        }
    }

    /// Waits while a renewal is due: the reader of a valid token for the end of an attempt, and
    /// no more than a moment; that of an expired one for a renewal, while there is hope for one; that
    /// of a suspect one for the server's word, no longer than the first. Whether it came or not, the
    /// token is then to be judged as it is. `tell` tells who renews it that somebody waits: once an
    /// attempt, however many do.
    pub(super) async fn await_renewal(&self, now: DateTime<Utc>, tell: impl FnOnce()) {
        // How a token is renewed does not change. For the rest: subscribed before anything is looked
        // at, so that no wake-up is missed.
        let mut progress = self.progress().subscribe();
        let (renewals, ended, stood) = {
            let before = progress.borrow();
            (before.renewals, before.ended, before.stood)
        };
        let Some(held) = self.held().filter(|held| held.awaits_renewal(now)) else { return };
        if self.is_first_to_wait() {
            tell();
        }
        match held.phase(now) {
            _ if held.standing() == Standing::Suspect => {
                let news = progress.wait_for(|now| now.stood != stood || now.renewals != renewals);
                let _ = tokio::time::timeout(VALID_WAIT, news).await;
            }
            _ if held.standing() == Standing::Revoked => {
                let news = progress.wait_for(|now| now.renewals != renewals || now.is_hopeless);
                let _ = tokio::time::timeout(EXPIRED_WAIT, news).await;
            }
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

    /// Whether the next attempt is hoped for and the task was not told that somebody waits for it. Now it
    /// is to be.
    fn is_first_to_wait(&self) -> bool {
        let mut is_first = false;
        // It is news to nobody who waits.
        self.progress().send_if_modified(|progress| {
            is_first = !progress.is_hopeless && !progress.is_told;
            progress.is_told |= is_first;
            false
        });
        is_first
    }

    /// Whether somebody waits for its renewal, or did since the last attempt: one who reads it often is
    /// there again.
    pub(super) fn is_awaited(&self) -> bool {
        self.progress
            .get()
            .is_some_and(|progress| progress.receiver_count() > 0 || progress.borrow().is_told)
    }

    /// Waits until an attempt to renew it has ended that `begin` asks for, or that was on its way; or
    /// until none will come any more.
    pub(super) async fn await_attempt(
        &self,
        begin: impl FnOnce() -> Result<(), Error>,
        is_over: impl Fn() -> bool,
    ) -> Result<(), Error> {
        let mut progress = self.progress().subscribe();
        let landed = progress.borrow().landed;
        begin()?;
        let _ = progress.wait_for(|now| now.landed != landed || is_over()).await;
        Ok(())
    }

    pub(super) fn status(
        &self,
        held: &Held,
        counters: Option<CoinMap<Counter>>,
        is_unreconciled: bool,
        outlook: Outlook,
        now: DateTime<Utc>,
    ) -> TokenStatus {
        let progress = self.progress.get().map(|progress| progress.borrow().clone());
        let failures = self.failures_before;
        let progress = progress.unwrap_or(Progress { failures, ..Progress::default() });
        let Progress { renewals, failures, last_error, .. } = progress;
        TokenStatus {
            label: held.record.label.clone(),
            info: held.record.info.clone(),
            renewal: held.record.renewal,
            rules: LocalRules::clone(&held.record.rules),
            rules_version: held.record.rules.version(),
            is_revoked: held.record.is_revoked,
            is_unreconciled,
            is_unverified: held.is_unverified(),
            phase: held.phase(now),
            standing: held.standing(),
            renewal_at: outlook.renewal_at,
            probe_at: outlook.probe_at,
            need: outlook.need,
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
    /// How often those were edited, each time with an entry of the audit log.
    pub rules_version: u64,
    /// Whether BitGo is asked to revoke it: nothing is leased with it any more.
    pub is_revoked: bool,
    /// Whether it spends nothing until it is reconciled ([`Vault::reconcile`](crate::Vault::reconcile)):
    /// its past is not known.
    pub is_unreconciled: bool,
    /// Whether BitGo could not be asked about it since it was imported ([`Vault::import`](crate::Vault::import)):
    /// it only views, and what is told of it here is not known yet.
    pub is_unverified: bool,
    /// Where it stands in its life.
    pub phase: Phase,
    /// How it stands with the server.
    pub standing: Standing,
    /// When it is tried next to renew it; `None` where nobody does.
    pub renewal_at: Option<DateTime<Utc>>,
    /// When BitGo is asked next whether the token lives; `None` where nobody doubts that.
    pub probe_at: Option<DateTime<Utc>>,
    /// What a human must do; `None` where the vault sees to it.
    pub need: Option<Need>,
    /// Renewals since the vault was opened.
    pub renewals: u64,
    /// Attempts that failed since the last renewal, over restarts.
    pub failures: u32,
    /// Why the last of them failed, where the vault has not been reopened since.
    pub last_error: Option<String>,
    /// What was spent, by coin.
    pub counters: CoinMap<Counter>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::environment::Environment;
    use crate::secret::{AccessToken, EcdhXprv, Passphrase};
    use crate::store::{FileSystem, Place, Store};
    use crate::test_util::{Kept, keep_in_store};
    use std::sync::atomic::AtomicUsize;

    /// An entry whose token has ended.
    fn expired() -> (Entry, DateTime<Utc>) {
        let (dir, now) = (tempfile::tempdir().unwrap(), SystemClock::new().now());
        let (dir, passphrase) = (dir.path().join("vault"), Passphrase::new("of a test, and long"));
        let kept = Kept {
            token: AccessToken::new("v2x1"),
            extension_key: String::from("wif").into(),
            ecdh_xprv: EcdhXprv::new("xprv"),
        };
        keep_in_store(&dir, &passphrase, kept, |_| {}).unwrap();
        let place = Place::new(&dir).allow(FileSystem::Overlayfs);
        let store = Store::open(&place, &passphrase, &Environment::Test, now).unwrap();
        let (mut record, secret) = store.tokens().unwrap().pop().unwrap();
        (record.renewal, record.info.expires_at) = (Renewal::InternalToken, Some(now));
        let held = Arc::new(Held::new(record, secret, WindowSettings::default()));
        let keys = Arc::new(Keys::new().unwrap());
        (Entry::new(held, keys, RenewalMemory::default()), now)
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_wait_the_task_is_told_once_an_attempt_and_not_where_it_is_in_vain() {
        let (entry, now) = expired();
        let told = AtomicUsize::new(0);
        let tell = || _ = told.fetch_add(1, Ordering::Relaxed);
        for (told_by_then, is_hopeless) in [(1, false), (2, true), (2, false), (3, false)] {
            for _ in 0..3 {
                entry.await_renewal(now, tell).await;
            }
            assert_eq!(told.load(Ordering::Relaxed), told_by_then);
            entry.failed("it hangs".into(), is_hopeless);
            entry.landed();
            assert!(!entry.is_awaited());
        }
    }
}
