//! Accounts at BitGo: the key that their tokens are issued to, and, if the user insists, the seed of
//! their one-time passwords.

use super::record::{self, AccountRow};
use super::{Key, Store, StoreError, Tree, Write, lock};
use crate::secret::{EcdhXprv, SecretBytes};
use zeroize::Zeroize;

/// The key that an account's tokens are issued to.
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) ecdh_xprv: EcdhXprv,
}

impl Store {
    /// The key that `user`'s tokens are issued to, if it is known.
    pub(crate) fn account(&self, user: &str) -> Result<Option<Account>, StoreError> {
        Ok(self.account_row(user)?.map(|mut row| Account {
            user: std::mem::take(&mut row.user),
            ecdh_xprv: EcdhXprv::new(std::mem::take(&mut row.ecdh_xprv)),
        }))
    }

    /// The seed of `user`'s one-time passwords, if it is kept.
    pub(crate) fn totp_seed(&self, user: &str) -> Result<Option<SecretBytes>, StoreError> {
        let row = self.account_row(user)?;
        Ok(row.and_then(|row| row.totp_seed.as_deref().map(SecretBytes::copy_of)))
    }

    /// Keeps the seed of `user`'s one-time passwords, or forgets it; `false` if there is no such
    /// account.
    pub(crate) fn keep_totp_seed(
        &self,
        user: &str,
        seed: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let _one_at_a_time = lock(&self.accounts);
        let Some(mut row) = self.account_row(user)? else { return Ok(false) };
        row.totp_seed.zeroize();
        row.totp_seed = seed.map(Vec::from);
        self.commit(vec![Write::put(Tree::Accounts, user_key(user), &row)?])?;
        Ok(true)
    }

    /// The write that keeps an account's key. A seed that is kept stays: until it is durable, whoever
    /// calls this holds `accounts`.
    pub(super) fn account_write(&self, account: &Account) -> Result<Write, StoreError> {
        let mut before = self.account_row(&account.user)?;
        let row = AccountRow {
            user: account.user.clone(),
            ecdh_xprv: account.ecdh_xprv.expose().into(),
            totp_seed: before.as_mut().and_then(|before| before.totp_seed.take()),
        };
        Write::put(Tree::Accounts, user_key(&account.user), &row)
    }

    fn account_row(&self, user: &str) -> Result<Option<AccountRow>, StoreError> {
        self.disk.epoch().find(Tree::Accounts, &user_key(user))
    }
}

fn user_key(user: &str) -> Key {
    Key::Text(user.into())
}

/// The key of the account that a row holds.
pub(super) fn account_key(row: &[u8]) -> Result<Key, StoreError> {
    let row: Result<AccountRow, _> = record::decode(row);
    let unreadable = |_| StoreError::unreadable(Tree::Accounts, "a record cannot be read");
    Ok(user_key(&row.map_err(unreadable)?.user))
}
