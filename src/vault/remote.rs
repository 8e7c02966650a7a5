//! The long-lived tokens that BitGo lists for an account, beside those that are kept here.

use super::Vault;
use super::clock_skew;
use super::core::Core;
use super::credential::Credential;
use super::entry::Held;
use super::probe;
use crate::api::Page;
use crate::error::Error;
use crate::policy;
use crate::refresh::Verdict;
use crate::token::{Label, TokenInfo, TokenKind};
use std::collections::HashSet;
use std::sync::Arc;

/// A long-lived token as BitGo lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteToken {
    /// What BitGo says of it.
    pub info: TokenInfo,
    /// What it is called at BitGo: of one that a vault has minted its label there and a random suffix.
    pub label: Option<Box<str>>,
    /// The label that it is kept under here; `None` where it is not.
    pub kept_as: Option<Label>,
    /// The OAuth client that it was made through.
    pub client: Option<Box<str>>,
    /// The address that it was made from.
    pub made_from: Option<Box<str>>,
}

/// What BitGo lists for an account, and what it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteTokens {
    /// The tokens that live at BitGo, oldest first.
    pub listed: Vec<RemoteToken>,
    /// The labels of the account's tokens that are kept here and are dead at BitGo: they were revoked,
    /// or have ended.
    pub gone: Vec<Label>,
}

impl Vault {
    /// Lists the long-lived tokens of the account whose session is kept as `session`, as many pages as
    /// there are, up to 20 000 tokens. Sessions and internal tokens BitGo does not list, so that those kept
    /// here are never called gone; another that is not listed is asked about by itself.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]; [`Error::Denied`] for a session that has expired; [`Error::ClockSkew`],
    /// [`Error::Api`]: then nothing is told, since what a page that is missing would list must not pass
    /// for gone.
    pub async fn remote_tokens(&self, session: &str) -> Result<RemoteTokens, Error> {
        let session = Label::new(session)?;
        self.core.run_to_end(move |core| list(core, session)).await
    }
}

async fn list(core: Arc<Core>, session: Label) -> Result<RemoteTokens, Error> {
    let bearer = core.entry(&session)?.held().ok_or(Error::NoSuchToken { label: session })?;
    policy::check_expiry(&bearer.record.info, core.moment().latest_ms())?;
    let secret = core.store.open_secret(bearer.record.lineage, &bearer.secret)?;
    let credential = Credential::of(&core, &secret.token)?;
    clock_skew::settle(&core, credential.auth()).await?;
    // As they are before: one that is minted while BitGo lists may be on a page that was read.
    let before = core.holdings();
    let mut told = RemoteTokens::default();
    let mut tokens = core.client.tokens(credential.auth(), Page::default());
    while let Some(record) = tokens.next().await {
        let record = record?;
        told.listed.push(RemoteToken {
            info: record.to_info(TokenKind::LongLived, false),
            label: record.label,
            kept_as: None,
            client: record.client,
            made_from: record.ip,
        });
    }
    let kept = core.holdings();
    for token in &mut told.listed {
        let same = kept.iter().find(|held| held.record.info.id == token.info.id);
        if let Some(held) = same {
            token.kept_as = Some(held.record.label.clone());
            token.info.issued_in_clear = held.record.info.issued_in_clear;
        }
    }
    let listed: HashSet<_> = told.listed.iter().map(|token| token.info.id).collect();
    // One without an account may be anybody's.
    let Some(account) = bearer.record.account.as_deref() else { return Ok(told) };
    for held in before.iter().filter(|held| held.record.account.as_deref() == Some(account)) {
        let id = held.record.info.id;
        // Removed or replaced meanwhile, it is no token of the vault's any more.
        let is_kept = kept.iter().any(|now| now.record.info.id == id);
        if is_kept && !listed.contains(&id) && is_dead(&core, held).await {
            told.gone.push(held.record.label.clone());
        }
    }
    Ok(told)
}

/// Whether a token that is not listed is dead: of a kind that BitGo never lists that tells nothing.
async fn is_dead(core: &Core, held: &Held) -> bool {
    match held.record.info.kind {
        TokenKind::LongLived | TokenKind::Imported => probe::ask(core, held).await == Verdict::Dead,
        _ => false,
    }
}
