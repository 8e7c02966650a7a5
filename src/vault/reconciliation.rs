//! What BitGo counted of a token's spends, asked for and held against the ledger (policy/book/sample.rs).
//!
//! ```text
//! due                                                      after
//! a token spent, or its rules run on confirmations         RECONCILE_EVERY since the last sample
//! a crash, or a lost answer, left something uncertain      at once, and once a sample can resolve it
//! its ledger is not believed                               once a sample can begin it anew
//! it was imported unverified                               once a failed question's wait is over (failure.rs),
//!                                                          and RECONCILE_EVERY since (import.rs)
//! ```
//!
//! A sample resolves what is uncertain only if nothing that was signed can still be on its way: BitGo
//! takes a request for as long as its window is, and may count it a while later.

use super::Vault;
use super::core::Core;
use super::credential::Credential;
use super::entry::{Entry, Held, TokenStatus};
use super::events::{Alarm, Event};
use super::{clock_skew, import, mint, session};
use crate::api::{ApiError, Client};
use crate::crypto::WINDOW_BACK_MS;
use crate::error::Error;
use crate::policy::{Book, Denied, Drift, Escrow, Quiet, Rule, Sample};
use crate::refresh::{self, Standing};
use crate::secret::Passphrase;
use crate::store::AuditAction;
use crate::token::{Label, SpendingLimit};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::Instrument;

/// How often a token that spends is reconciled, unless said otherwise.
pub(super) const RECONCILE_EVERY: Duration = Duration::from_secs(300);
/// How often it is looked for tokens that are due.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// The most tokens that are reconciled in one look.
const AT_ONCE: usize = 32;

/// The most tokens that are looked at before others have their turn on the thread.
const LOOKS_AT_ONCE: usize = 256;

/// How long what was signed may be on its way: BitGo's window, and a while to count it.
const ON_ITS_WAY_MS: i64 = WINDOW_BACK_MS + 300_000;
const ON_ITS_WAY: Duration = Duration::from_millis(ON_ITS_WAY_MS.unsigned_abs());
/// By then it is so by BitGo's clock as well: one that is asked before is asked again only much later.
const BOTH_CLOCKS: Duration = Duration::from_secs(30);
/// How much older than the question an answer may be by the two clocks.
const CLOCKS_APART_MS: i64 = 60_000;

impl Vault {
    /// Asks BitGo what the token kept as `label` has spent, and brings the ledger to it: what others
    /// spent with it counts at once; what was uncertain is freed as far as BitGo did not count it, once
    /// nothing that was signed can still be on its way. [`Vault::events`] tells where the counts went
    /// apart. The vault does this by itself ([`VaultBuilder::reconcile_every`](super::VaultBuilder::reconcile_every)).
    ///
    /// After a restore, a repair or an accepted rollback the vault does not know what was spent: this
    /// lets the token spend again. An internal token has to be reconciled before it is renewed: its
    /// successor's counter at BitGo does not tell what it spent, so that its budget is then gone.
    ///
    /// A token that was imported unverified ([`Vault::import`]) is verified by it.
    ///
    /// # Errors
    /// [`Error::Denied`] for a token whose ledger is not believed within ten minutes of the opening:
    /// what was signed before it may still be on its way. For one that cannot sign, answers prove
    /// nothing: denied too. [`Error::Api`], [`Error::Store`].
    pub async fn reconcile(&self, label: &str) -> Result<TokenStatus, Error> {
        let label = Label::new(label)?;
        let reconciled = self.core.run_to_end(async move |core| {
            let entry = core.entry(&label)?;
            reconcile(&core, &label, &entry).await?;
            core.status(&entry).ok_or(Error::NoSuchToken { label })
        });
        reconciled.await
    }

    /// Begins the budget of the token kept as `label` anew: its totals no longer count what was spent
    /// so far. What is pending or uncertain still counts, and BitGo's own limit of the token stands.
    /// It is for tokens that are renewed, whose successors otherwise share one total. Loosening asks
    /// for the passphrase.
    ///
    /// # Errors
    /// [`StoreError::WrongPassphrase`](crate::StoreError::WrongPassphrase); [`Error::NoSuchToken`];
    /// [`Error::Store`].
    pub async fn renew_budget(&self, label: &str, passphrase: Passphrase) -> Result<(), Error> {
        let label = Label::new(label)?;
        let renewed = self.core.blocking(move |core| {
            core.store.check_passphrase(&passphrase)?;
            let _one_at_a_time = core.begin_change();
            let gone = || Error::NoSuchToken { label: label.clone() };
            let held = core.entry(&label)?.held().ok_or_else(gone)?;
            let (lineage, id) = (held.record.lineage, held.record.info.id);
            core.store.append_audit(AuditAction::BudgetRenewed, id, None, core.clock.now())?;
            Ok(core.store.renew_budget(lineage)?)
        });
        renewed.await?
    }
}

/// Takes one sample of a token, or begins its ledger anew if that is not believed.
pub(super) async fn reconcile(
    core: &Arc<Core>,
    label: &Label,
    entry: &Arc<Entry>,
) -> Result<(), Error> {
    let span = tracing::debug_span!("vault.reconcile", %label);
    let reconciled = async {
        if let Some(held) = entry.held().filter(|held| held.is_unverified()) {
            import::verify(core, label, entry).await?;
            // One that came back by a restore may have spent as verified before.
            if !core.store.is_unreconciled(held.record.lineage) {
                return Ok(());
            }
        }
        take_sample(core, label, entry).await
    };
    reconciled.instrument(span).await
}

async fn take_sample(core: &Arc<Core>, label: &Label, entry: &Arc<Entry>) -> Result<(), Error> {
    let held = entry.held().ok_or_else(|| Error::NoSuchToken { label: label.clone() })?;
    let lineage = held.record.lineage;
    let is_believed = !core.store.is_unreconciled(lineage);
    if !is_believed {
        let open_for = core.clock.monotonic().saturating_sub(core.opened_at);
        if let Some(left) = ON_ITS_WAY.checked_sub(open_for).filter(|left| !left.is_zero()) {
            let why = format!(
                "what was signed before the vault was opened may still be on its way: reconcile in {} s",
                left.as_secs() + 1
            );
            return Err(too_early(core, why, left));
        }
    }
    let secret = core.store.open_secret(lineage, &held.secret)?;
    let credential = Credential::of(core, &secret.token)?;
    let escrow = core.store.escrow(lineage);
    let before = escrow.as_ref().map(|escrow| (escrow.look(Book::sampling), escrow.quiet()));
    let asked_ms = core.moment().server_ms;
    let auth = credential.auth();
    let sample = |client: Client| async move { client.session_sample(auth).await };
    let (record, answered_at) = clock_skew::ask(core, auth, sample).await?;
    let Some(answered_ms) = answered_at.map(|at| at.timestamp_millis()) else {
        return Err(unreconciled(
            "answers to this token bear no hmac, so what they say frees nothing: issue a new one",
        ));
    };
    if answered_ms < asked_ms - CLOCKS_APART_MS {
        return Err(unreconciled("the answer is older than the question: reconcile again"));
    }
    let left_ms = core.opened_ms().saturating_add(ON_ITS_WAY_MS).saturating_sub(answered_ms);
    if !is_believed && left_ms >= 0 {
        let why = "by bitgo's clock, what was signed before the vault was opened may still be on its way: \
                   reconcile again";
        return Err(too_early(core, why, Duration::from_millis(left_ms.unsigned_abs())));
    }
    if record.id != held.record.info.id {
        return Err(Error::WrongRecord);
    }
    if record.is_spoofed() {
        mint::note_spoofer(core, record.id).await?;
    }
    let unlocked = refresh::Event::Unlocked { until: record.unlock.expires };
    core.tracker.happened(lineage, unlocked);
    let mut info = record.to_info(held.record.info.kind, held.record.info.issued_in_clear);
    let has_pool = escrow.as_ref().is_some_and(|escrow| escrow.look(|book| book.pool.is_some()));
    if has_pool || !is_believed {
        info.erc20_limit = pool(core, label, &held).await?;
    }
    if !is_believed {
        mint::look_for_spoofer(core, &secret.token, record.id).await?;
    }
    drop((secret, credential));
    let of_entry = Arc::clone(entry);
    let drifts = core.blocking(move |core| {
        // What BitGo said is of this token, and neither of its successor nor of one removed.
        let _one_at_a_time = core.begin_change();
        let now = of_entry.held().filter(|now| now.record.info.id == held.record.info.id);
        let Some(now) = now else {
            return Err(unreconciled(
                "the token was removed or renewed meanwhile: reconcile again",
            ));
        };
        let rules = now.record.rules.clone();
        match (escrow, before) {
            (Some(escrow), Some((sampling, quiet))) if is_believed => {
                let sample = Sample {
                    limits: &info.spending_limits,
                    pool: info.erc20_limit,
                    server_ms: answered_ms,
                    is_quiescent: false,
                };
                let is_quiescent = || is_quiescent(core, &escrow, quiet, answered_ms);
                Ok(core.store.sample(lineage, &sampling, sample, is_quiescent)?)
            }
            _ => {
                let now = core.clock.now();
                core.store.append_audit(AuditAction::Reconciled, info.id, None, now)?;
                core.store.reconcile(lineage, &info, &rules, answered_ms)?;
                Ok(Vec::new())
            }
        }
    });
    let drifts = drifts.await??;
    drifts.into_iter().for_each(|drift| tell(core, label, drift));
    Ok(())
}

/// Whether nothing of ours can have been on its way when the server answered: nothing was, before it
/// was asked and since, and all that ever was signed is too old.
fn is_quiescent(core: &Core, escrow: &Escrow, before: Option<Quiet>, answered_ms: i64) -> bool {
    let open_for = core.clock.monotonic().saturating_sub(core.opened_at);
    before.is_some_and(|quiet| {
        let last_ms = quiet.last_signed_ms.max(core.opened_ms());
        escrow.quiet() == Some(quiet)
            && open_for >= ON_ITS_WAY
            && answered_ms > last_ms.saturating_add(ON_ITS_WAY_MS)
    })
}

/// The limit that ERC-20 coins share stands in the list of tokens alone. Who cannot read that keeps
/// what is known.
async fn pool(core: &Core, label: &Label, held: &Held) -> Result<Option<SpendingLimit>, Error> {
    match session::listed(core, label, held).await {
        Ok(record) => Ok(record.unlock.to_erc20_limit()),
        Err(Error::LimitsUnknown { .. }) => {
            let alarm = Alarm::PoolUnreadable;
            tracing::warn!(
                name: "reconcile.pool_unreadable", %label, see = %alarm.runbook(),
                "the limit that erc-20 coins share is not reconciled"
            );
            core.events.raise(Some(label), alarm);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn tell(core: &Core, label: &Label, drift: Drift) {
    let coin = drift.coin.as_ref().map_or("erc-20 coins", |coin| coin.as_str());
    let (counted, accepted, foreign) = (drift.counted, drift.accepted, drift.foreign);
    let alarm = if drift.is_contradiction() {
        let alarm = Alarm::CountedLess { drift: drift.clone() };
        tracing::error!(
            name: "reconcile.counted_less", %label, coin, %counted, %accepted, see = %alarm.runbook(),
            "bitgo counted less than it accepted"
        );
        Some(alarm)
    } else if drift.is_of_others() {
        let alarm = Alarm::SpentByOthers { drift: drift.clone() };
        tracing::warn!(
            name: "reconcile.spent_by_others", %label, coin, %counted, %foreign, see = %alarm.runbook(),
            "others spend with this token"
        );
        Some(alarm)
    } else {
        tracing::info!(
            name: "reconcile.done", %label, coin, %counted, resolved = %drift.resolved,
            "reconciled"
        );
        None
    };
    if let Some(alarm) = alarm {
        core.events.raise(Some(label), alarm);
    }
    core.events.emit(|| Event::Drift { label: label.clone(), drift });
}

fn unreconciled(why: impl Into<String>) -> Error {
    Denied::new(Rule::Unreconciled, why).into()
}

/// The same where it is only to be waited for so long.
fn too_early(core: &Core, why: impl Into<String>, left: Duration) -> Error {
    Denied::new(Rule::Unreconciled, why).until(core.clock.now() + left).into()
}

/// The task that reconciles what is due. It ends with its owner.
pub(super) struct Reconciler(JoinHandle<()>);

/// When a token was last asked about, and what it had done until then.
#[derive(Clone, Copy, Default)]
struct Asked {
    at: Duration,
    draws: u64,
}

impl Reconciler {
    pub(super) fn start(core: &Arc<Core>, every: Duration, runtime: &Handle) -> Self {
        let core = Arc::downgrade(core);
        #[cfg(feature = "metrics")]
        let gauges = super::gauges::run(Weak::clone(&core));
        Self(runtime.spawn(async move {
            #[cfg(feature = "metrics")]
            tokio::join!(run(core, every), gauges);
            #[cfg(not(feature = "metrics"))]
            run(core, every).await;
        }))
    }

    /// Ends it; what it has begun to write is written all the same.
    pub(super) async fn end(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(core: Weak<Core>, every: Duration) {
    let mut asked: HashMap<Label, Asked> = HashMap::new();
    loop {
        {
            let Some(core) = core.upgrade() else { return };
            let now = core.clock.monotonic();
            let (holdings, mut due) = (core.holdings(), Vec::new());
            for holdings in holdings.chunks(LOOKS_AT_ONCE) {
                let due_now =
                    holdings.iter().filter(|held| is_due(&core, held, &asked, every, now));
                let entry = |held: &Arc<Held>| {
                    let label = held.record.label.clone();
                    core.entry(&label).ok().map(|entry| (label, entry))
                };
                due.extend(due_now.filter_map(entry));
                tokio::task::yield_now().await;
            }
            drop(holdings);
            // Who has waited longest comes first: with many tokens not all have their turn at once. Those
            // that spend nothing yet come after all that may have money uncertain.
            due.sort_by_key(|(label, entry)| {
                let is_unverified = entry.held().is_some_and(|held| held.is_unverified());
                (is_unverified, asked.get(label).map(|last| last.at))
            });
            asked.retain(|label, _| core.entry(label).is_ok());
            for (label, entry) in due.into_iter().take(AT_ONCE) {
                let draws = entry.held().and_then(|held| core.store.escrow(held.record.lineage));
                let draws = draws.map_or(0, |escrow| escrow.look(Book::draws));
                if let Err(error) = reconcile(&core, &label, &entry).await {
                    match &error {
                        Error::Api(ApiError::Unreachable { .. } | ApiError::Lost { .. }) => {
                            tracing::debug!(
                                name: "reconcile.failed", %label, %error,
                                "not reconciled"
                            );
                        }
                        error => tracing::warn!(
                            name: "reconcile.failed", %label, %error,
                            "not reconciled"
                        ),
                    }
                }
                asked.insert(label, Asked { at: core.clock.monotonic(), draws });
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn is_due(
    core: &Core,
    held: &Held,
    asked: &HashMap<Label, Asked>,
    every: Duration,
    now: Duration,
) -> bool {
    let Some(escrow) = core.store.escrow(held.record.lineage) else { return false };
    let (is_counted, is_unreconciled, draws, has_reason) = escrow.look(|book| {
        let is_counted = book.pool.is_some() || book.is_counted();
        let has_reason = book.decay.is_some() || book.has_uncertain();
        (is_counted, book.is_unreconciled, book.draws(), has_reason)
    });
    let last = asked.get(&held.record.label);
    let has_waited = last.is_none_or(|last| now >= last.at.saturating_add(every));
    if held.is_unverified() {
        // How it stands is asked by itself. An opening asks no earlier than the process before would have.
        let may_try = || core.tracker.may_try(held.record.lineage, core.latest_now());
        return has_waited && held.standing() == Standing::Good && may_try();
    }
    // BitGo counts nothing, or its answers prove nothing.
    if !is_counted || held.record.info.issued_in_clear && !core.signs(held) {
        return false;
    }
    if is_unreconciled {
        return has_waited && now.saturating_sub(core.opened_at) >= ON_ITS_WAY + BOTH_CLOCKS;
    }
    // What was drawn before it was asked about may have become uncertain since. The first draws since
    // the opening are on their way: BitGo's count would tell of them as of others'.
    let since = last.map_or(core.opened_at, |last| last.at);
    let has_drawn = draws != last.map_or(0, |last| last.draws);
    has_waited && has_reason || has_drawn && now >= since.saturating_add(every)
}
