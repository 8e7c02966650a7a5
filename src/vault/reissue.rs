//! Tokens that are minted anew by a fresh login, before they end. Both live for a while, so that
//! nobody is without one.
//!
//! ```text
//! step                                          a kill after it leaves
//! log in                                        a session, which ends by itself
//! the intent durable: the label with its suffix what is looked for by that label (minted.rs)
//! mint, then GET session by the new token       the same: nobody else can open it
//! swap: one commit with what is to be ended     both alive, the old one out of use
//! drained for as long as a lease lives          the same
//! the old one revoked by itself (retire)        nothing
//! ```
//!
//! Every attempt begins with what the last one left. What cannot be found or revoked then stays
//! written down and is told of, and the next token is minted all the same.

use super::Vault;
use super::clock_skew;
use super::core::Core;
use super::credential::Credential;
use super::entry::{Held, TokenStatus};
use super::login::{Login, Session};
use super::mint::{self, AccountOf, Opened};
use super::minted;
use super::renewal::{RenewalError, Successor};
use crate::api::wire::IssuedToken;
use crate::api::{ApiError, CreateToken};
use crate::error::Error;
use crate::id::LineageId;
use crate::money::Amount;
use crate::policy::Counter;
use crate::refresh;
use crate::store::{Minted, Reissue, Retired, SealedSecret, TokenRecord, TokenSecret};
use crate::token::{Label, Renewal, TokenKind};
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::{Arc, PoisonError};

/// The most tokens that may be out of reach before no other is minted.
pub(super) const ORPHANS_MAX: usize = 16;

impl Vault {
    /// From now on mints the token kept as `label` anew before it ends, each time by this login, and
    /// then revokes the former one. What is minted is `token` under that label: its caps are cut to
    /// what is left of the lineage's budget. A `login` needs a [`Provider`](crate::Provider) of
    /// one-time passwords that asks nobody, or somebody who is near whenever it is due.
    ///
    /// What is minted is kept, sealed; the login is not: after each opening give it again
    /// ([`Vault::provide_login`]).
    ///
    /// # Errors
    /// [`Error::UnfitToken`]; [`Error::NoSuchToken`]; [`Error::NotReissuable`] for what is no
    /// long-lived token of an account whose session was kept here; [`Error::Store`].
    pub async fn reissue(
        &self,
        label: &str,
        token: CreateToken,
        login: Login,
    ) -> Result<TokenStatus, Error> {
        for risk in token.check(&self.core.environment)? {
            tracing::warn!(name: "mint.risk", %risk, "a token is to be minted all the same");
        }
        let label = Label::new(label)?;
        let chosen = self.core.blocking(move |core| {
            let _one_at_a_time = core.begin_change();
            let entry = core.entry(&label)?;
            let held = entry.held().ok_or_else(|| Error::NoSuchToken { label: label.clone() })?;
            let is_minted =
                matches!(held.record.info.kind, TokenKind::LongLived | TokenKind::Imported);
            let plan = token.to_plan().ok();
            let plan = plan.filter(|_| is_minted && held.record.account.is_some());
            let plan = plan.ok_or(Error::NotReissuable { label })?;
            let lineage = held.record.lineage;
            let mut reissue = core.store.reissue(lineage)?.unwrap_or_else(|| none_yet(lineage));
            reissue.plan = plan;
            let record = TokenRecord { renewal: Renewal::Reissue, ..held.record.clone() };
            core.store.choose_reissue(&record, &reissue)?;
            core.keep_login(lineage, login);
            let successor = held.with(record);
            let state = successor.renewal_state();
            entry.replace(successor);
            // Only now: the first attempt may come at once, and must find it.
            core.tracker.track(lineage, state);
            core.status(&entry).ok_or(Error::Closed)
        });
        chosen.await?
    }

    /// Gives the login by which the token kept as `label` is minted anew. It is kept in memory alone,
    /// until the vault is closed.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]; [`Error::NotRenewable`] for a token that is not renewed so
    /// ([`Vault::reissue`]).
    pub fn provide_login(&self, label: &str, login: Login) -> Result<(), Error> {
        let label = Label::new(label)?;
        let held = self.core.entry(&label)?.held();
        let held = held.ok_or_else(|| Error::NoSuchToken { label: label.clone() })?;
        if held.record.renewal != Renewal::Reissue {
            return Err(Error::NotRenewable { label });
        }
        let lineage = held.record.lineage;
        self.core.keep_login(lineage, login);
        self.core.tracker.happened(lineage, refresh::Event::Provided);
        Ok(())
    }
}

impl Core {
    fn keep_login(&self, lineage: LineageId, login: Login) {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.insert(lineage, Arc::new(login));
    }

    pub(super) fn login_of(&self, lineage: LineageId) -> Option<Arc<Login>> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).get(&lineage).cloned()
    }

    /// Whether a login was given since this one was all there was.
    pub(super) fn has_other_login(&self, lineage: LineageId, known: Option<&Arc<Login>>) -> bool {
        let login = self.login_of(lineage);
        login.is_some_and(|login| known.is_none_or(|known| !Arc::ptr_eq(known, &login)))
    }
}

fn none_yet(lineage: LineageId) -> Reissue {
    let (plan, retired, orphans) = (String::new(), Vec::new(), Vec::new());
    Reissue { lineage, plan, intent: None, retired, orphans }
}

/// The next token of a lineage. It is written down that there may be one before it is asked for.
pub(super) async fn next(core: &Arc<Core>, held: &Held) -> Result<Successor, RenewalError> {
    let lineage = held.record.lineage;
    let login = core.login_of(lineage).ok_or(RenewalError::NoLogin)?;
    let read = core.blocking(move |core| core.store.reissue(lineage)).await?;
    let reissue = read.map_err(Error::from)?.ok_or(RenewalError::Incomplete)?;
    let plan = CreateToken::of_plan(&reissue.plan).map_err(|_| RenewalError::Incomplete)?;
    // A login would not help: they have to be waited for.
    let now = minted::earliest_now(core);
    let waited_for = reissue.orphans.iter().filter(|orphan| minted::may_still_come(orphan, now));
    if waited_for.count() > ORPHANS_MAX {
        return Err(RenewalError::Orphans);
    }
    let session = super::login::enter(core, &login, None).await?;
    let bearer = Credential::of(core, &session.opened.token)?;
    let minted = mint_next(core, held, &login, session, &bearer, reissue, plan).await;
    let client = core.client.clone();
    // It has served. Where it cannot be ended, it ends by itself.
    core.runtime.spawn(async move {
        if let Err(error) = client.logout(bearer.auth()).await {
            tracing::debug!(
                name: "session.left", %error,
                "the session that minted a token is left to end by itself"
            );
        }
    });
    minted
}

async fn mint_next(
    core: &Arc<Core>,
    held: &Held,
    login: &Login,
    session: Session,
    bearer: &Credential,
    left: Reissue,
    plan: CreateToken,
) -> Result<Successor, RenewalError> {
    let (lineage, label) = (held.record.lineage, held.record.label.clone());
    if held.record.account.as_deref() != Some(session.account.user()) {
        return Err(Error::OtherAccount { label }.into());
    }
    let former: Vec<_> = left.retired.iter().map(|retired| retired.token_id).collect();
    let user = session.account.user().to_owned();
    clock_skew::settle(core, bearer.auth()).await?;
    let orphans = end_leftovers(core, bearer, &label, &user, left).await?;
    if orphans.len() > ORPHANS_MAX {
        return Err(RenewalError::Orphans);
    }
    let sent = capped(core, lineage, &plan).labelled(mint::suffixed(&label)?);
    let intent = minted::intent(core, &sent, user);
    let forget = |reissue: &mut Reissue| reissue.intent = None;
    let otp = core.ask(&login.otp).await?;
    intend(core, lineage, orphans, intent).await?;
    let issued = match core.client.create_token(bearer.auth(), &sent, &otp).await {
        Ok(issued) => issued,
        Err(error) => {
            // Else the next attempt looks for it.
            if mint::is_surely_unminted(&error) {
                note(core, lineage, forget).await?;
            }
            return Err(error.into());
        }
    };
    let id = issued.record.id;
    // It is in use: nothing was minted, and nothing is revoked.
    if former.contains(&id) || minted::is_kept(core, id) {
        return Err(RenewalError::Unchanged);
    }
    match receive(core, held, issued, session.account).await {
        Ok(successor) => Ok(successor),
        Err(error) => {
            if mint::revoke(core, bearer, id).await.is_ok() {
                note(core, lineage, forget).await?;
            }
            Err(error.into())
        }
    }
}

/// Opens the token, and lets it prove itself.
async fn receive(
    core: &Arc<Core>,
    held: &Held,
    issued: IssuedToken,
    account: AccountOf,
) -> Result<Successor, Error> {
    let IssuedToken { issued, record } = issued;
    let Opened { token, in_clear } = mint::open_to(core, issued, account).await?;
    // A token that never travelled is not exchanged for one that does.
    if in_clear && !held.record.info.issued_in_clear {
        return Err(Error::IssuedInClear);
    }
    let own = mint::own_record(core, &token, Some(record.id)).await?;
    let mut info = own.to_info(TokenKind::LongLived, in_clear);
    info.expires_at = info.expires_at.or(record.expires);
    Ok(Successor { info, secret: TokenSecret { token, extension_key: None } })
}

/// Revokes what former attempts may have left, and tells of what could not be; what is left. An answer
/// that may come later is waited for: nothing is minted beside what is known to live.
async fn end_leftovers(
    core: &Core,
    bearer: &Credential,
    label: &Label,
    user: &str,
    left: Reissue,
) -> Result<Vec<Minted>, ApiError> {
    let sought: Vec<_> = left.intent.into_iter().chain(left.orphans).collect();
    let left = match minted::end(core, bearer, Some(user), sought.clone()).await {
        Err(error) if !error.is_transient() => {
            tracing::warn!(
                name: "mint.not_sought", %label, %error,
                "what former attempts minted cannot be looked for"
            );
            sought.iter().for_each(|minted| minted::tell(core, Some(label), minted));
            return Ok(sought);
        }
        left => left?,
    };
    let mut orphans = Vec::new();
    for left in left {
        match left.error {
            Some(error) if error.is_transient() => return Err(error),
            Some(_) => minted::tell(core, Some(label), &left.minted),
            None => {}
        }
        orphans.push(left.minted);
    }
    Ok(orphans)
}

/// Writes down what is about to be minted, and what else may live.
async fn intend(
    core: &Arc<Core>,
    lineage: LineageId,
    orphans: Vec<Minted>,
    intent: Minted,
) -> Result<(), RenewalError> {
    let intended = core.blocking(move |core| {
        let _one_at_a_time = core.begin_change();
        let held = core.entry_of(lineage).and_then(|entry| entry.held());
        let is_there = held.is_some_and(|held| !held.record.is_revoked);
        let read = core.store.reissue(lineage).map_err(Error::from)?;
        let reissue = read.filter(|_| is_there).ok_or(RenewalError::Removed)?;
        let reissue = Reissue { orphans, intent: Some(intent), ..reissue };
        Ok(core.store.keep_reissue(&reissue).map_err(Error::from)?)
    });
    intended.await?
}

/// The plan, with its caps cut to what is left of the lineage's budget.
fn capped(core: &Core, lineage: LineageId, plan: &CreateToken) -> CreateToken {
    let Some(escrow) = core.store.escrow(lineage) else { return plan.clone() };
    let left = |counter: &Counter, cap: Amount| match counter.total {
        Some(total) => {
            let used = counter.used_of_total().unwrap_or(Amount::MAX);
            cap.min(total.saturating_sub(used))
        }
        None => cap,
    };
    escrow.look(|book| {
        plan.capped(|coin, cap| {
            let mut coins = book.coins.iter();
            let meter = match coin {
                Some(name) => coins.find(|(coin, _)| coin.as_str() == name).map(|(_, meter)| meter),
                None => book.pool.as_deref(),
            };
            meter.map_or(cap, |meter| left(&meter.counter, cap))
        })
    })
}

/// Changes what is written down of a lineage's reissue, if something is.
pub(super) async fn note(
    core: &Arc<Core>,
    lineage: LineageId,
    change: impl FnOnce(&mut Reissue) + Send + 'static,
) -> Result<(), Error> {
    let noted = core.blocking(move |core| {
        let _one_at_a_time = core.begin_change();
        let Some(mut reissue) = core.store.reissue(lineage)? else { return Ok(()) };
        change(&mut reissue);
        Ok(core.store.keep_reissue(&reissue)?)
    });
    noted.await?
}

/// Puts a successor in the token's place, durably, together with what is to be ended. Whoever calls
/// it sees to it that nothing else changes meanwhile.
pub(super) fn swap(
    core: &Core,
    before: &Held,
    record: &TokenRecord,
    secret: &TokenSecret,
) -> Result<SealedSecret, Error> {
    let lineage = record.lineage;
    let mut reissue = core.store.reissue(lineage)?.unwrap_or_else(|| none_yet(lineage));
    reissue.intent = None;
    let expires_at = before.record.info.expires_at;
    if expires_at.is_none_or(|end| minted::earliest_now(core) < end) {
        let drain = TimeDelta::from_std(core.lease_lifetime).unwrap_or(TimeDelta::MAX);
        reissue.retired.push(Retired {
            token_id: before.record.info.id,
            token: core.store.open_secret(lineage, &before.secret)?.token,
            account: before.record.account.clone(),
            from: core.clock.now().checked_add_signed(drain).unwrap_or(DateTime::<Utc>::MAX_UTC),
            expires_at,
        });
    }
    let server_ms = core.moment().server_ms;
    Ok(core.store.reissue_token(record, secret, server_ms, &reissue)?)
}
