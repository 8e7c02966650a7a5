//! Tokens in the store: what is known of them, and the tokens themselves, apart.

use super::record::{AccountRow, InfoRow, RenewalRow, SecretRow, TokenRow};
use super::{Store, StoreError, Tree, Write};
use crate::crypto::random;
use crate::id::LineageId;
use crate::policy::LocalRules;
use crate::secret::{AccessToken, EcdhXprv};
use crate::token::{Label, Renewal, TokenInfo};
use getrandom::SysRng;
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
    pub(crate) rules: LocalRules,
    pub(crate) info: TokenInfo,
}

/// A token as it is held in memory: still sealed.
#[derive(Clone)]
pub(crate) struct SealedSecret(Arc<[u8]>);

/// A token, opened. It lives as long as it is needed and no longer.
pub(crate) struct TokenSecret {
    pub(crate) token: AccessToken,
    /// The key (WIF) that extends the session.
    pub(crate) extension_key: Option<Zeroizing<String>>,
}

/// The key that an account's tokens are issued to.
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) ecdh_xprv: EcdhXprv,
}

impl Store {
    /// A fresh lineage.
    pub(crate) fn new_lineage(&self) -> Result<LineageId, StoreError> {
        Ok(LineageId::from_bytes(random(&mut SysRng)?))
    }

    /// Keeps a new token with its ledger, and its account where it brought one; all or nothing.
    pub(crate) fn add_token(
        &self,
        record: &TokenRecord,
        secret: &TokenSecret,
        account: Option<&Account>,
    ) -> Result<SealedSecret, StoreError> {
        let (sealed, secret) = self.seal_secret(record.lineage, secret)?;
        let mut writes = vec![self.token_write(record)?, secret];
        if let Some(account) = account {
            let row = AccountRow {
                user: account.user.clone(),
                ecdh_xprv: account.ecdh_xprv.expose().into(),
            };
            let name = self.account_name(&account.user);
            writes.push(self.seal(Tree::Accounts, name, &row)?);
        }
        self.open_account(record.lineage, &record.info.spending_limits, writes)?;
        Ok(sealed)
    }

    /// Replaces a token by its successor, in one commit; the ledger stays the lineage's. A token
    /// that was removed meanwhile does not come back.
    pub(crate) fn replace_token(
        &self,
        record: &TokenRecord,
        secret: &TokenSecret,
    ) -> Result<SealedSecret, StoreError> {
        let (sealed, secret) = self.seal_secret(record.lineage, secret)?;
        let limits = &record.info.spending_limits;
        let writes = vec![self.token_write(record)?, secret];
        self.commit_to_account(record.lineage, limits, writes)?;
        Ok(sealed)
    }

    /// The write that updates what is known of a token, for a commit with others.
    pub(super) fn token_write(&self, record: &TokenRecord) -> Result<Write, StoreError> {
        self.seal(Tree::Tokens, *record.lineage.as_bytes(), &row(record))
    }

    /// Removes a token, its ledger and what is known of it.
    pub(crate) fn remove_token(&self, lineage: LineageId) -> Result<(), StoreError> {
        let name = *lineage.as_bytes();
        let remove = |tree| Write { tree, name, value: None };
        self.close_account(lineage, vec![remove(Tree::Tokens), remove(Tree::Secrets)])
    }

    /// All tokens, their secrets still sealed.
    pub(crate) fn tokens(&self) -> Result<Vec<(TokenRecord, SealedSecret)>, StoreError> {
        self.records(Tree::Tokens)
            .map(|entry| {
                let (name, sealed) = entry?;
                let unreadable =
                    |_| StoreError::Damaged { tree: "tokens", what: "a record cannot be read" };
                let row: TokenRow = self.unseal(Tree::Tokens, &name, &sealed)?;
                let secret = self
                    .get(Tree::Secrets, &name)?
                    .ok_or(StoreError::Damaged { tree: "secrets", what: "a record is missing" })?;
                let record = TokenRecord {
                    lineage: LineageId::from_bytes(name),
                    label: Label::new(&row.label).map_err(|error| unreadable(error.into()))?,
                    account: row.account,
                    renewal: match row.renewal {
                        RenewalRow::Manual => Renewal::Manual,
                        RenewalRow::Extend { lifetime_secs } => {
                            Renewal::Extend { lifetime: Duration::from_secs(lifetime_secs) }
                        }
                        RenewalRow::InternalToken => Renewal::InternalToken,
                    },
                    rules: LocalRules { raw_exposure: row.raw_exposure },
                    info: row.info.try_into().map_err(unreadable)?,
                };
                Ok((record, SealedSecret(secret.as_ref().into())))
            })
            .collect()
    }

    /// Opens a token.
    pub(crate) fn open_secret(
        &self,
        lineage: LineageId,
        sealed: &SealedSecret,
    ) -> Result<TokenSecret, StoreError> {
        let mut row: SecretRow = self.unseal(Tree::Secrets, lineage.as_bytes(), &sealed.0)?;
        Ok(TokenSecret {
            token: AccessToken::new(std::mem::take(&mut row.token)),
            extension_key: row.extension_key.take().map(Zeroizing::new),
        })
    }

    /// The key that `user`'s tokens are issued to, if it is known.
    pub(crate) fn account(&self, user: &str) -> Result<Option<Account>, StoreError> {
        let name = self.account_name(user);
        let Some(sealed) = self.get(Tree::Accounts, &name)? else { return Ok(None) };
        let mut row: AccountRow = self.unseal(Tree::Accounts, &name, &sealed)?;
        Ok(Some(Account {
            user: std::mem::take(&mut row.user),
            ecdh_xprv: EcdhXprv::new(std::mem::take(&mut row.ecdh_xprv)),
        }))
    }

    fn account_name(&self, user: &str) -> super::Name {
        self.names.name("accounts", user.as_bytes())
    }

    fn seal_secret(
        &self,
        lineage: LineageId,
        secret: &TokenSecret,
    ) -> Result<(SealedSecret, Write), StoreError> {
        let row = SecretRow {
            token: secret.token.expose().into(),
            extension_key: secret.extension_key.as_ref().map(|key| key.as_str().into()),
        };
        let write = self.seal(Tree::Secrets, *lineage.as_bytes(), &row)?;
        let sealed = SealedSecret(write.value.as_deref().unwrap_or_default().into());
        Ok((sealed, write))
    }
}

fn row(record: &TokenRecord) -> TokenRow {
    TokenRow {
        label: record.label.as_str().into(),
        account: record.account.clone(),
        renewal: match record.renewal {
            Renewal::Manual => RenewalRow::Manual,
            Renewal::Extend { lifetime } => {
                RenewalRow::Extend { lifetime_secs: lifetime.as_secs() }
            }
            Renewal::InternalToken => RenewalRow::InternalToken,
        },
        raw_exposure: record.rules.raw_exposure,
        info: InfoRow::from(&record.info),
    }
}
