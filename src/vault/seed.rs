//! One-time passwords from a seed that the vault keeps, if its user insists.

use super::Vault;
use crate::crypto::TotpSeed;
use crate::error::Error;
use crate::provider::Provider;
use crate::secret::Otp;
use crate::store::AuditAction;
use crate::token::Label;

impl Vault {
    /// Keeps the seed of the one-time passwords of the account that the token kept as `label` belongs
    /// to, sealed as its keys are: [`Vault::one_time_passwords`] derives them from it. The audit log
    /// tells of it first.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]; [`Error::NoEcdhKey`] for an account that the vault keeps nothing of;
    /// [`Error::Store`].
    ///
    /// # Security
    /// **Whoever opens the vault has the second factor from then on, for good.** With the login
    /// password beside it that is the account. Prefer a prompt where a human is near.
    pub async fn dangerous_keep_totp_seed(&self, label: &str, seed: TotpSeed) -> Result<(), Error> {
        self.set_seed(label, Some(seed)).await
    }

    /// Forgets the seed of that account's one-time passwords. Its sealed bytes stay on disk until
    /// [`Vault::rekey`], and in backups.
    ///
    /// # Errors
    /// As [`Vault::dangerous_keep_totp_seed`].
    pub async fn forget_totp_seed(&self, label: &str) -> Result<(), Error> {
        self.set_seed(label, None).await
    }

    /// The one-time passwords of the account that the token kept as `label` belongs to, from the seed
    /// that is kept; `None` if none is.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`], [`Error::NoEcdhKey`], [`Error::Store`].
    pub async fn one_time_passwords(&self, label: &str) -> Result<Option<Provider<Otp>>, Error> {
        let user = self.account_of(label)?;
        let turns = self.core.turns_of(&user);
        let seed = self.core.blocking(move |core| core.store.totp_seed(&user)).await??;
        Ok(seed.map(|seed| Provider::totp(TotpSeed::kept(seed, turns))))
    }

    async fn set_seed(&self, label: &str, seed: Option<TotpSeed>) -> Result<(), Error> {
        let user = self.account_of(label)?;
        let kept = self.core.blocking(move |core| {
            let action = match seed {
                Some(_) => AuditAction::SeedKept,
                None => AuditAction::SeedForgotten,
            };
            core.store.append_audit(action, None, None, core.clock.now())?;
            core.store.keep_totp_seed(&user, seed.as_ref().map(TotpSeed::bytes))
        });
        match kept.await?? {
            true => Ok(()),
            false => Err(Error::NoEcdhKey),
        }
    }

    fn account_of(&self, label: &str) -> Result<String, Error> {
        let label = Label::new(label)?;
        let held = self.core.entry(&label)?.held().ok_or(Error::NoSuchToken { label })?;
        held.record.account.clone().ok_or(Error::NoEcdhKey)
    }
}
