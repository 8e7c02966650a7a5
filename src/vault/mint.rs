//! From BitGo into the store: issue, fetch.
//!
//! A token that comes is opened, then asked for its own record with itself as the bearer: that
//! proves it works and gives its expiry and counters, and on whose behalf it acts. Only then is it
//! kept, in one commit; any failure before leaves the store as it was.
//!
//! A long-lived token bears at BitGo the vault's label and a random suffix (`market-maker#9f2c…`). That is
//! written down before it is asked for, until it is kept or known to be gone. Where the answer to its
//! making is lost, or the process is killed, it is looked for by that, and revoked: nobody holds it.

use super::clock_skew;
use super::core::Core;
use super::credential::Credential;
use super::entry::TokenStatus;
use super::{minted, reissue};
use crate::api::wire::{Issued, IssuedToken, TokenRecord as WireRecord};
use crate::api::{ApiError, CreateToken, Page, Sort};
use crate::crypto::{self, EcdhPrivateKey};
use crate::error::Error;
use crate::id::{LineageId, TokenId};
use crate::policy::{self, KeptRules};
use crate::provider::Provider;
use crate::secret::{AccessToken, Otp};
use crate::store::{Account, AuditAction, TokenRecord, TokenSecret};
use crate::token::{Label, Renewal, TokenInfo, TokenKind};
use getrandom::SysRng;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// How long after a lost answer the token is looked for once more: its request may still be on its way.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn issue(
    core: Arc<Core>,
    session: Label,
    token: CreateToken,
    otp: Provider<Otp>,
) -> Result<TokenStatus, Error> {
    for risk in token.check(&core.environment)? {
        tracing::warn!(name: "mint.risk", %risk, "a token is minted all the same");
    }
    let label = Label::new(token.label())?;
    let _claim = core.claim(&label)?;
    // Before anybody is asked for a password.
    let bearer = Bearer::of(&core, &session)?;
    clock_skew::settle(&core, bearer.credential.auth()).await?;
    let otp = core.ask(&Arc::new(otp)).await?;
    let bearer = Bearer::of(&core, &session)?;
    let sent = token.labelled(suffixed(&label)?);
    if core.blocking(|core| core.store.unkept()).await??.len() >= reissue::ORPHANS_MAX {
        return Err(Error::TooManyOrphans);
    }
    let (lineage, intent) =
        (core.store.new_lineage()?, minted::intent(&core, &sent, bearer.user.clone()));
    core.blocking(move |core| core.store.intend(lineage, intent)).await??;
    match mint(&core, &bearer, &sent, &otp, lineage, label).await {
        Ok(status) => Ok(status),
        Err(Unkept { error, is_gone }) => {
            if is_gone {
                // Else the next opening looks for it, and finds that it is gone.
                let _ = reissue::note(&core, lineage, |left| left.intent = None).await;
            } else {
                core.retirements.go_on(&core, lineage);
            }
            Err(error)
        }
    }
}

/// Why what was to be minted is not kept, and whether nothing of it lives at BitGo.
struct Unkept {
    error: Error,
    is_gone: bool,
}

async fn mint(
    core: &Arc<Core>,
    bearer: &Bearer,
    sent: &CreateToken,
    otp: &Otp,
    lineage: LineageId,
    label: Label,
) -> Result<TokenStatus, Unkept> {
    let issued = match core.client.create_token(bearer.credential.auth(), sent, otp).await {
        Ok(issued) => issued,
        Err(error) if is_surely_unminted(&error) => {
            return Err(Unkept { error: error.into(), is_gone: true });
        }
        Err(error) => return Err(undo(core, bearer, sent.label(), error).await),
    };
    let id = issued.record.id;
    let arrival = Arrival { lineage, label, kind: TokenKind::LongLived, renewal: Renewal::Manual };
    match receive(core, bearer, issued, arrival).await {
        Ok(status) => Ok(status),
        // It is in use: nothing was minted.
        Err(error @ Error::KeptAlready { .. }) => Err(Unkept { error, is_gone: true }),
        // A token that nobody holds must not live on; one that is not found does not, if it is
        // the server that says so.
        Err(error) => match revoke(core, &bearer.credential, id).await {
            Ok(()) => Err(Unkept { error, is_gone: true }),
            Err(_) => {
                let error = Error::Orphaned { id, source: Box::new(error) };
                Err(Unkept { error, is_gone: false })
            }
        },
    }
}

/// The label that a token bears at BitGo: there is no other of that.
pub(super) fn suffixed(label: &Label) -> Result<String, Error> {
    let suffix: [u8; 8] = crypto::random(&mut SysRng).map_err(Error::crypto("label's suffix"))?;
    Ok(format!("{label}#{:016x}", u64::from_be_bytes(suffix)))
}

/// Whether nothing was minted, by what failed: nothing left, or the server itself refused.
pub(super) fn is_surely_unminted(error: &ApiError) -> bool {
    match error {
        ApiError::Setup(_) | ApiError::Unsendable(_) | ApiError::Unreachable { .. } => true,
        ApiError::Transient(_) => false,
        other => other.refusal().is_some_and(|refusal| refusal.is_verified()),
    }
}

/// Looks for a token that may have been minted, and revokes it. The answer is why it is not kept.
async fn undo(core: &Core, bearer: &Bearer, label: &str, error: ApiError) -> Unkept {
    let (error, is_gone) = match find(core, &bearer.credential, &[label]).await.as_deref() {
        // Its call may come to BitGo yet.
        Ok([]) => (error.into(), false),
        Ok([(_, id), ..]) => match revoke(core, &bearer.credential, *id).await {
            Ok(()) => (error.into(), true),
            Err(_) => (Error::Orphaned { id: *id, source: Box::new(error.into()) }, false),
        },
        Err(_) => {
            (Error::Unresolved { label: label.into(), source: Box::new(error.into()) }, false)
        }
    };
    Unkept { error, is_gone }
}

/// The living tokens of those labels at BitGo, newest first: looked for now, and if one is missing once
/// more a moment later.
pub(super) async fn find(
    core: &Core,
    bearer: &Credential,
    labels: &[&str],
) -> Result<Vec<(Box<str>, TokenId)>, ApiError> {
    let mut found = Vec::new();
    for wait in [Duration::ZERO, LOOK_AGAIN] {
        tokio::time::sleep(wait).await;
        found.clear();
        let page = Page { sort: Sort::Descending, ..Page::default() };
        let mut tokens = core.client.tokens(bearer.auth(), page);
        while let Some(record) = tokens.next().await {
            let record = record?;
            let label = record.label.filter(|label| labels.contains(&&**label));
            found.extend(label.map(|label| (label, record.id)));
            if found.len() >= labels.len() {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Revokes a token. One that is not found is revoked, if it is the server that says so.
pub(super) async fn revoke(core: &Core, bearer: &Credential, id: TokenId) -> Result<(), ApiError> {
    match core.client.delete_token(bearer.auth(), id).await {
        Ok(_) => Ok(()),
        Err(ApiError::Rejected(refusal)) if refusal.status() == 404 && refusal.is_verified() => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn fetch_internal(
    core: Arc<Core>,
    session: Label,
    label: Label,
) -> Result<TokenStatus, Error> {
    let _claim = core.claim(&label)?;
    let bearer = Bearer::of(&core, &session)?;
    let issued = core.client.internal_access_token(bearer.credential.auth()).await?;
    let (lineage, renewal) = (core.store.new_lineage()?, Renewal::InternalToken);
    let arrival = Arrival { lineage, label, kind: TokenKind::Internal, renewal };
    receive(&core, &bearer, issued, arrival).await
}

/// What a token that comes is kept as.
pub(super) struct Arrival {
    pub(super) lineage: LineageId,
    pub(super) label: Label,
    pub(super) kind: TokenKind,
    pub(super) renewal: Renewal,
}

/// Opens an issued token, lets it prove itself, and keeps it.
async fn receive(
    core: &Arc<Core>,
    bearer: &Bearer,
    issued: IssuedToken,
    arrival: Arrival,
) -> Result<TokenStatus, Error> {
    let IssuedToken { issued, record } = issued;
    let Opened { token, in_clear } = open_for(core, issued, bearer.user.clone()).await?;
    let own = own_record(core, &token, Some(record.id)).await?;
    look_for_spoofer(core, &token, record.id).await?;
    let mut info = own.to_info(arrival.kind, in_clear);
    info.expires_at = info.expires_at.or(record.expires);
    let secret = TokenSecret { token, extension_key: None };
    keep(core, arrival, info, secret, AccountOf::Known(bearer.user.clone())).await
}

/// A token of the vault that vouches for a call of the vault's own.
struct Bearer {
    credential: Credential,
    user: String,
}

impl Bearer {
    fn of(core: &Core, label: &Label) -> Result<Self, Error> {
        // What is minted must be kept, so a store that cannot is no place to mint for.
        core.store.check_writable()?;
        let gone = || Error::NoSuchToken { label: label.clone() };
        let held = core.entry(label)?.held().ok_or_else(gone)?;
        policy::check_expiry(&held.record.info, core.moment().latest_ms())?;
        let secret = core.store.open_secret(held.record.lineage, &held.secret)?;
        let user = held.record.account.clone().ok_or(Error::NoEcdhKey)?;
        Ok(Self { credential: Credential::of(core, &secret.token)?, user })
    }
}

/// A token that came, and whether it is to be marked: it came in clear, or must travel so.
pub(super) struct Opened {
    pub(super) token: AccessToken,
    pub(super) in_clear: bool,
}

/// Opens a token issued to an account that was just logged in to, or is known.
pub(super) async fn open_to(
    core: &Arc<Core>,
    issued: Issued,
    account: AccountOf,
) -> Result<Opened, Error> {
    let opened = core.blocking(move |core| match &account {
        AccountOf::New(account) => open(core, issued, || {
            EcdhPrivateKey::parse(&account.ecdh_xprv).map_err(Error::crypto("account's ecdh key"))
        }),
        AccountOf::Known(user) => open_of(core, issued, user),
    });
    opened.await?
}

/// Opens a token issued to the account of `user`.
pub(super) async fn open_for(
    core: &Arc<Core>,
    issued: Issued,
    user: String,
) -> Result<Opened, Error> {
    core.blocking(move |core| open_of(core, issued, &user)).await?
}

pub(super) fn open_of(core: &Core, issued: Issued, user: &str) -> Result<Opened, Error> {
    open(core, issued, || {
        let account = core.store.account(user)?.ok_or(Error::NoEcdhKey)?;
        EcdhPrivateKey::parse(&account.ecdh_xprv).map_err(Error::crypto("account's ecdh key"))
    })
}

/// Opens a token, with the account's key if it is sealed.
pub(super) fn open(
    core: &Core,
    issued: Issued,
    key: impl FnOnce() -> Result<EcdhPrivateKey, Error>,
) -> Result<Opened, Error> {
    let (token, in_clear) = match issued {
        Issued::Clear(token) if core.accepts_clear => (token, true),
        Issued::Clear(_) => return Err(Error::IssuedInClear),
        Issued::Sealed { encrypted_token, derivation_path } => {
            let (client, server) = (key()?, &core.server_key);
            let token = crypto::open_token(&client, server, &derivation_path, &encrypted_token)
                .map_err(Error::crypto("issued token"))?;
            (token, false)
        }
    };
    let in_clear = in_clear || !token.can_sign();
    Ok(Opened { token, in_clear })
}

/// The record behind a token, asked with the token itself; it must be alive and its own.
pub(super) async fn own_record(
    core: &Arc<Core>,
    token: &AccessToken,
    id: Option<TokenId>,
) -> Result<WireRecord, Error> {
    let credential = Credential::of(core, token)?;
    let record = clock_skew::session(core, credential.auth()).await?;
    if id.is_some_and(|id| id != record.id) {
        return Err(Error::WrongRecord);
    }
    if record.is_spoofed() {
        note_spoofer(core, record.id).await?;
    }
    Ok(record)
}

/// Asks on whose behalf a token acts that is new here. That the server does not tell is no reason to
/// refuse the token.
pub(super) async fn look_for_spoofer(
    core: &Arc<Core>,
    token: &AccessToken,
    id: TokenId,
) -> Result<(), Error> {
    let credential = Credential::of(core, token)?;
    match core.client.scoped_session(credential.auth(), true).await {
        Ok(session) if session.is_spoofed() => note_spoofer(core, id).await,
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::debug!(
                name: "spoofer.unknown", token = %id, %error,
                "bitgo does not tell on whose behalf it acts"
            );
            Ok(())
        }
    }
}

/// Says, and writes down, that somebody else acts as the user.
pub(super) async fn note_spoofer(core: &Arc<Core>, id: TokenId) -> Result<(), Error> {
    tracing::warn!(
        name: "spoofer.seen", token = %id,
        "somebody else acts as this user (spooferContext)"
    );
    let noted = core.blocking(move |core| {
        core.store.append_audit(AuditAction::SpooferSeen, id, None, core.clock.now())
    });
    Ok(noted.await??)
}

/// Refuses a token that has ended, and notes when it came where it does not tell.
pub(super) fn arrived(core: &Core, mut info: TokenInfo) -> Result<TokenInfo, Error> {
    let now = core.latest_now();
    if let Some(expired_at) = info.expires_at.filter(|expires_at| *expires_at <= now) {
        return Err(Error::ArrivedExpired { expired_at });
    }
    info.created_at.get_or_insert(now);
    Ok(info)
}

/// Whose ECDH key opens a token's successors. An account without one is known by its name alone.
pub(super) enum AccountOf {
    New(Account),
    Known(String),
}

impl AccountOf {
    pub(super) fn user(&self) -> &str {
        match self {
            Self::New(account) => &account.user,
            Self::Known(user) => user,
        }
    }
}

pub(super) async fn keep(
    core: &Arc<Core>,
    arrival: Arrival,
    info: TokenInfo,
    secret: TokenSecret,
    account: AccountOf,
) -> Result<TokenStatus, Error> {
    let info = arrived(core, info)?;
    let (user, account) = match account {
        AccountOf::New(account) => (account.user.clone(), Some(account)),
        AccountOf::Known(user) => (user, None),
    };
    let Arrival { lineage, label, renewal, .. } = arrival;
    let (user, rules, is_revoked) = (Some(user), KeptRules::default(), false);
    let record = TokenRecord { lineage, label, account: user, renewal, rules, is_revoked, info };
    hold(core, record, secret, account).await
}

/// Keeps a token under its lineage, and holds it from then on.
pub(super) async fn hold(
    core: &Arc<Core>,
    record: TokenRecord,
    secret: TokenSecret,
    account: Option<Account>,
) -> Result<TokenStatus, Error> {
    let held = core.blocking(move |core| {
        let one_at_a_time = core.begin_change();
        put(core, record, &secret, account.as_ref(), &one_at_a_time)
    });
    held.await?
}

/// As [`hold`], for the change that was begun.
pub(super) fn put(
    core: &Core,
    record: TokenRecord,
    secret: &TokenSecret,
    account: Option<&Account>,
    one_at_a_time: &MutexGuard<'_, ()>,
) -> Result<TokenStatus, Error> {
    core.check_sole(record.info.id, record.lineage, one_at_a_time)?;
    let (action, now) = (arrived_by(record.info.kind), core.clock.now());
    let sealed = core.store.append_arrival(action, &record, secret, account, now)?;
    let label = record.label.clone();
    let entry = core.keep(record, sealed);
    core.status(&entry).ok_or(Error::NoSuchToken { label })
}

/// What the audit log says of how a token came.
fn arrived_by(kind: TokenKind) -> AuditAction {
    match kind {
        TokenKind::Session => AuditAction::LoggedIn,
        TokenKind::LongLived => AuditAction::Issued,
        TokenKind::Internal => AuditAction::Fetched,
        TokenKind::Oauth => AuditAction::SignedIn,
        TokenKind::Imported | TokenKind::Unverified => AuditAction::Imported,
    }
}
