//! A seed of one-time passwords, kept sealed if the user insists, and what is derived from it.

use super::Vault;
use super::core::Core;
use crate::crypto::TotpSeed;
use crate::error::Error;
use crate::provider::Provider;
use crate::secret::{Otp, Passphrase};
use crate::store::AuditAction;
use crate::token::Label;
use std::sync::{Arc, Weak};

impl Vault {
    /// Keeps the seed of the one-time passwords of the account that the token kept as `label` belongs
    /// to, sealed, in place of one that is kept. It asks for the passphrase, and the audit log tells of
    /// it first.
    ///
    /// # Errors
    /// [`StoreError::WrongPassphrase`](crate::StoreError::WrongPassphrase); [`Error::NoSuchToken`];
    /// [`Error::NoEcdhKey`] for an account that is kept without a key of its own; [`Error::Store`].
    ///
    /// # Security
    /// Whoever has the vault and its passphrase then has the account's second factor, for good. Prefer
    /// [`Provider::prompt`] where a human is near. Its sealed bytes stay in the database's file, once
    /// forgotten, until the next [`Vault::rekey`], and in backups.
    pub async fn dangerous_keep_totp_seed(
        &self,
        label: &str,
        seed: TotpSeed,
        passphrase: Passphrase,
    ) -> Result<(), Error> {
        let label = Label::new(label)?;
        let kept = self.core.blocking(move |core| {
            core.store.check_passphrase(&passphrase)?;
            let user = user_of(core, &label)?;
            keep(core, &user, Some(seed.bytes()), AuditAction::TotpSeedKept)
        });
        kept.await?
    }

    /// Forgets the seed that is kept for the account of the token kept as `label`, if there is one.
    ///
    /// # Errors
    /// As [`Vault::dangerous_keep_totp_seed`], which asks for the passphrase.
    pub async fn forget_totp_seed(&self, label: &str) -> Result<(), Error> {
        let label = Label::new(label)?;
        let forgotten = self.core.blocking(move |core| {
            let user = user_of(core, &label)?;
            keep(core, &user, None, AuditAction::TotpSeedForgotten)
        });
        forgotten.await?
    }

    /// One-time passwords from the seed that is kept for the account of the token kept as `label`. The
    /// seed is opened each time one is wanted; the second within 30 s is waited for. The provider does
    /// not keep the vault open.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]; [`Error::NoTotpSeed`]; [`Error::Store`].
    pub fn kept_totp(&self, label: &str) -> Result<Provider<Otp>, Error> {
        let label = Label::new(label)?;
        let user = user_of(&self.core, &label)?;
        self.core.store.totp_seed(&user)?.ok_or(Error::NoTotpSeed { label: label.clone() })?;
        let core = Arc::downgrade(&self.core);
        Ok(Provider::closure(move || Ok(password(&core, &user, &label)?)))
    }
}

fn password(core: &Weak<Core>, user: &str, label: &Label) -> Result<Otp, Box<Error>> {
    let (seed, now) = {
        let core = core.upgrade().ok_or(Error::Closed)?;
        let bytes = core.store.totp_seed(user).map_err(Error::from)?;
        let bytes = bytes.ok_or(Error::NoTotpSeed { label: label.clone() })?;
        (TotpSeed::kept(bytes, core.turns_of(user)), core.clock.now())
    };
    let turn = seed.take_turn(now);
    // None where it is due.
    std::thread::sleep((turn - now).to_std().unwrap_or_default());
    Ok(seed.password_at(turn))
}

fn user_of(core: &Core, label: &Label) -> Result<String, Error> {
    let held = core.entry(label)?.held();
    let held = held.ok_or_else(|| Error::NoSuchToken { label: label.clone() })?;
    held.record.account.clone().ok_or(Error::NoEcdhKey)
}

fn keep(core: &Core, user: &str, seed: Option<&[u8]>, action: AuditAction) -> Result<(), Error> {
    let _one_at_a_time = core.begin_change();
    core.store.append_audit(action, None, None, core.clock.now())?;
    match core.store.keep_totp_seed(user, seed)? {
        true => Ok(()),
        false => Err(Error::NoEcdhKey),
    }
}
