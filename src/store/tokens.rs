//! Tokens in the store: what is known of them, and the tokens themselves, apart.

use super::accounts::Account;
use super::bundle::Bundle;
use super::epoch::Epoch;
use super::head::AuditEnd;
use super::record::{self, InfoRow, RenewalRow, SecretRow, TokenRow, Unreadable};
use super::rules::RulesRow;
use super::{Key, Name, Store, StoreError, Tree, Write, lock};
use crate::crypto::stack::wiped_record;
use crate::crypto::{RecordCipher, random};
use crate::id::LineageId;
use crate::policy::{Book, KeptRules};
use crate::secret::{AccessToken, SecretBytes};
use crate::token::{Label, Renewal, TokenInfo};
use getrandom::SysRng;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// What the vault knows of a token.
#[derive(Clone, Debug)]
pub(crate) struct TokenRecord {
    pub(crate) lineage: LineageId,
    pub(crate) label: Label,
    /// The account whose ECDH key opens this token's successors.
    pub(crate) account: Option<String>,
    pub(crate) renewal: Renewal,
    pub(crate) rules: KeptRules,
    /// Whether BitGo is asked to revoke it: then nothing is done with it but that.
    pub(crate) is_revoked: bool,
    pub(crate) info: TokenInfo,
}

/// A token as it is held in memory: sealed under a key that lives as long as the open vault.
///
/// What is sealed is the token, and behind it the key that extends it, where there is one. Most have
/// none, so that what is opened is the token, in the one buffer that it was opened into.
#[derive(Clone)]
pub(crate) struct SealedSecret {
    sealed: Arc<[u8]>,
    token_len: usize,
}

impl SealedSecret {
    /// Seals a row under the memory's key, for the token of that name.
    pub(super) fn seal(memory: &RecordCipher, name: &Name, row: &[u8]) -> Result<Self, StoreError> {
        wiped_record(|| Self::seal_unwiped(memory, name, row))
    }

    /// As [`SealedSecret::seal`]; the stack is wiped by whoever calls it.
    fn seal_unwiped(memory: &RecordCipher, name: &Name, row: &[u8]) -> Result<Self, StoreError> {
        let row: SecretRow = record::decode(row).map_err(|_| unreadable())?;
        let extension_key = row.extension_key.as_deref().unwrap_or_default();
        let text = Zeroizing::new([row.token.as_bytes(), extension_key.as_bytes()].concat());
        let sealed = memory.seal(name, &text, &mut SysRng)?.into();
        Ok(Self { sealed, token_len: row.token.len() })
    }

    /// The reverse of [`SealedSecret::seal_unwiped`].
    fn split(&self, opened: SecretBytes) -> Option<TokenSecret> {
        if opened.len() == self.token_len {
            let token = AccessToken::new(opened.into_text()?);
            return Some(TokenSecret { token, extension_key: None });
        }
        let (token, key) = std::str::from_utf8(&opened).ok()?.split_at_checked(self.token_len)?;
        let extension_key = Some(Zeroizing::new(key.into()));
        Some(TokenSecret { token: AccessToken::new(token), extension_key })
    }
}

/// A token, opened. It lives as long as it is needed and no longer.
pub(crate) struct TokenSecret {
    pub(crate) token: AccessToken,
    /// The key (WIF) that extends the session.
    pub(crate) extension_key: Option<Zeroizing<String>>,
}

impl Store {
    /// A fresh lineage.
    pub(crate) fn new_lineage(&self) -> Result<LineageId, StoreError> {
        Ok(LineageId::from_bytes(random(&mut SysRng)?))
    }

    /// Keeps a new token with its ledger, and its account where it brought one; all or nothing.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn add_token(
        &self,
        record: &TokenRecord,
        secret: &TokenSecret,
        account: Option<&Account>,
    ) -> Result<SealedSecret, StoreError> {
        self.add_token_by(record, secret, account, |writes, commit| commit(writes, None))
    }

    /// As `add_token`, with what `around` adds to the commit.
    pub(super) fn add_token_by(
        &self,
        record: &TokenRecord,
        secret: &TokenSecret,
        account: Option<&Account>,
        around: impl FnOnce(
            Vec<Write>,
            &dyn Fn(Vec<Write>, Option<AuditEnd>) -> Result<(), StoreError>,
        ) -> Result<(), StoreError>,
    ) -> Result<SealedSecret, StoreError> {
        let row = secret_row(record, secret);
        let mut writes = vec![self.token_write(record)?, secret_write(record.lineage, &row)?];
        let _one_at_a_time = account.map(|_| lock(&self.accounts));
        if let Some(account) = account {
            writes.push(self.account_write(account)?);
        }
        // That it may have been minted is written down no longer than it is not kept.
        writes.extend(self.intent_removal(record.lineage)?);
        around(writes, &|writes, end| self.open_account(record, writes, end))?;
        self.seal_in_memory(record.lineage, &row)
    }

    /// Replaces a token by its successor, in one commit; the ledger stays the lineage's. A token
    /// that was removed meanwhile does not come back.
    pub(crate) fn replace_token(
        &self,
        record: &TokenRecord,
        secret: &TokenSecret,
        server_ms: i64,
    ) -> Result<SealedSecret, StoreError> {
        self.succeed(record, secret, server_ms, Vec::new())
    }

    /// As [`Store::replace_token`], with writes that belong to it in the same commit.
    pub(super) fn succeed(
        &self,
        record: &TokenRecord,
        secret: &TokenSecret,
        server_ms: i64,
        mut writes: Vec<Write>,
    ) -> Result<SealedSecret, StoreError> {
        let row = secret_row(record, secret);
        let before = self.disk.epoch().row(Tree::Tokens, &key(record.lineage))?;
        let is_same = before.is_some_and(|before| {
            let before: Result<TokenRow<'_>, _> = record::decode(&before);
            before.is_ok_and(|before| before.info.token_id() == record.info.id)
        });
        let (info, rules) = (&record.info, &record.rules);
        let bounds = |book: &mut Book| match is_same {
            true => book.tighten(info, rules),
            false => book.succeed(info, rules, server_ms),
        };
        writes.extend([self.token_write(record)?, secret_write(record.lineage, &row)?]);
        self.commit_to_account(record.lineage, bounds, writes, None)?;
        self.seal_in_memory(record.lineage, &row)
    }

    /// The write that updates what is known of a token, for a commit with others.
    pub(super) fn token_write(&self, record: &TokenRecord) -> Result<Write, StoreError> {
        Write::put(Tree::Tokens, key(record.lineage), &row(record))
    }

    /// Removes a token, its ledger and what is known of it.
    pub(crate) fn remove_token(&self, lineage: LineageId) -> Result<(), StoreError> {
        let remove = |tree| Write::remove(tree, key(lineage));
        let mut writes = Vec::from([Tree::Tokens, Tree::Secrets, Tree::Grants].map(remove));
        writes.extend(self.renewal_removal(lineage)?);
        writes.extend(self.reissue_removal(lineage)?);
        self.close_account(lineage, writes)
    }

    /// The tokens that opening has read, their secrets sealed; of a damaged vault those that are
    /// whole. It has them once: who asks again reads [`Store::tokens`].
    pub(crate) fn take_opened(&self) -> Vec<(TokenRecord, SealedSecret)> {
        std::mem::take(&mut lock(&self.opened))
    }

    /// All tokens, read from the database, their secrets sealed.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn tokens(&self) -> Result<Vec<(TokenRecord, SealedSecret)>, StoreError> {
        let epoch = self.disk.epoch();
        let mut tokens = Vec::new();
        for entry in epoch.values(Tree::Tokens) {
            let (name, value) = entry?;
            let bundle = Bundle::split(Tree::Tokens, &value)?;
            if bundle.get(Tree::Tokens).is_some() {
                tokens.push(wiped_record(|| read(&epoch, &self.memory, name, &bundle))?);
            }
        }
        Ok(tokens)
    }

    /// The tokens of which nothing but themselves is left.
    pub(crate) fn orphans(&self) -> Result<Vec<(LineageId, Label, SealedSecret)>, StoreError> {
        let epoch = self.disk.epoch();
        let mut orphans = Vec::new();
        for entry in epoch.values(Tree::Tokens) {
            let (name, value) = entry?;
            let bundle = Bundle::split(Tree::Tokens, &value)?;
            if let (None, Some(sealed)) = (bundle.get(Tree::Tokens), bundle.get(Tree::Secrets)) {
                let row = epoch.keys.open(Tree::Secrets, &name, sealed)?;
                let label = label_of_secret(&row)?;
                let sealed = SealedSecret::seal(&self.memory, &name, &row)?;
                orphans.push((LineageId::from_bytes(name), label, sealed));
            }
        }
        Ok(orphans)
    }

    /// Keeps what is known of a token that was an orphan. Refused if it was removed meanwhile; the
    /// caller sees to it that it is not while this runs.
    pub(crate) fn adopt(&self, record: &TokenRecord) -> Result<(), StoreError> {
        if self.disk.epoch().row(Tree::Secrets, &key(record.lineage))?.is_none() {
            return Err(StoreError::Removed);
        }
        let writes = vec![self.token_write(record)?];
        self.adopt_account(record, writes)
    }

    /// Opens a token.
    pub(crate) fn open_secret(
        &self,
        lineage: LineageId,
        sealed: &SealedSecret,
    ) -> Result<TokenSecret, StoreError> {
        let opened = wiped_record(|| self.memory.open(lineage.as_bytes(), &sealed.sealed))
            .map_err(|_| StoreError::unreadable(Tree::Secrets, "a record does not open"))?;
        sealed.split(opened).ok_or_else(unreadable)
    }

    fn seal_in_memory(
        &self,
        lineage: LineageId,
        row: &SecretRow,
    ) -> Result<SealedSecret, StoreError> {
        SealedSecret::seal(&self.memory, lineage.as_bytes(), &record::encode(row)?)
    }
}

/// The token of that name, itself sealed by `memory`. The stack is wiped by whoever calls it.
pub(super) fn read(
    epoch: &Epoch,
    memory: &RecordCipher,
    name: Name,
    bundle: &Bundle<&[u8]>,
) -> Result<(TokenRecord, SealedSecret), StoreError> {
    let sealed = |tree| {
        let missing = StoreError::unreadable(tree, "a record is missing");
        bundle.get(tree).copied().ok_or(missing)
    };
    let record = info(epoch, name, sealed(Tree::Tokens)?)?;
    let secret = epoch.keys.open_unwiped(Tree::Secrets, &name, sealed(Tree::Secrets)?)?;
    Ok((record, SealedSecret::seal_unwiped(memory, &name, &secret)?))
}

/// What is known of the token of that name. The stack is wiped by whoever calls it.
pub(super) fn info(epoch: &Epoch, name: Name, sealed: &[u8]) -> Result<TokenRecord, StoreError> {
    let row = epoch.keys.open_unwiped(Tree::Tokens, &name, sealed)?;
    let known = record::decode(&row).and_then(|row| record(LineageId::from_bytes(name), row));
    known.map_err(|_| StoreError::unreadable(Tree::Tokens, "a record cannot be read"))
}

/// The label of the token that a row holds.
pub(super) fn label_of_secret(row: &[u8]) -> Result<Label, StoreError> {
    let label = || -> Result<_, Unreadable> {
        let row: SecretRow = record::decode(row)?;
        Ok(Label::new(&row.label)?)
    };
    label().map_err(|_| StoreError::unreadable(Tree::Secrets, "a record cannot be read"))
}

fn unreadable() -> StoreError {
    StoreError::unreadable(Tree::Secrets, "a record opens but cannot be read")
}

fn key(lineage: LineageId) -> Key {
    Key::Id(*lineage.as_bytes())
}

fn secret_write(lineage: LineageId, row: &SecretRow) -> Result<Write, StoreError> {
    Write::put(Tree::Secrets, key(lineage), row)
}

fn secret_row(record: &TokenRecord, secret: &TokenSecret) -> SecretRow {
    SecretRow {
        label: record.label.as_str().into(),
        token: secret.token.expose().into(),
        extension_key: secret.extension_key.as_ref().map(|key| key.as_str().into()),
    }
}

fn record(lineage: LineageId, row: TokenRow<'_>) -> Result<TokenRecord, Unreadable> {
    Ok(TokenRecord {
        lineage,
        label: Label::new(&row.label)?,
        account: row.account.map(Cow::into_owned),
        renewal: match row.renewal {
            RenewalRow::Manual => Renewal::Manual,
            RenewalRow::Extend { lifetime_secs } => {
                Renewal::Extend { lifetime: Duration::from_secs(lifetime_secs) }
            }
            RenewalRow::InternalToken => Renewal::InternalToken,
            RenewalRow::Oauth => Renewal::Oauth,
            RenewalRow::Reissue => Renewal::Reissue,
        },
        rules: row.rules.try_into()?,
        is_revoked: row.is_revoked,
        info: row.info.try_into()?,
    })
}

fn row(record: &TokenRecord) -> TokenRow<'_> {
    TokenRow {
        label: record.label.as_str().into(),
        account: record.account.as_deref().map(Cow::Borrowed),
        renewal: match record.renewal {
            Renewal::Manual => RenewalRow::Manual,
            Renewal::Extend { lifetime } => {
                RenewalRow::Extend { lifetime_secs: lifetime.as_secs() }
            }
            Renewal::InternalToken => RenewalRow::InternalToken,
            Renewal::Oauth => RenewalRow::Oauth,
            Renewal::Reissue => RenewalRow::Reissue,
        },
        rules: RulesRow::from(&record.rules),
        is_revoked: record.is_revoked,
        info: InfoRow::from(&record.info),
    }
}
