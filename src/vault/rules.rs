//! The vault's own rules for a token: read, and edited in one commit with the audit log's entry.

use super::Vault;
use super::core::Core;
use crate::error::Error;
use crate::policy::LocalRules;
use crate::secret::Passphrase;
use crate::store::{AuditAction, TokenRecord};
use crate::token::Label;

impl Vault {
    /// The local rules of the token kept as `label`.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`].
    pub fn rules(&self, label: &str) -> Result<LocalRules, Error> {
        let label = Label::new(label)?;
        let held = self.core.entry(&label)?.held().ok_or(Error::NoSuchToken { label })?;
        Ok(LocalRules::clone(&held.record.rules))
    }

    /// Replaces the local rules of the token kept as `label`. Leases that were taken before are void.
    ///
    /// To tighten them is free. Rules that may allow any request that was not allowed before ask for
    /// the passphrase ([`LocalRules::loosens`]): whoever runs the bot must not be able to widen them.
    ///
    /// # Errors
    /// [`Error::Rules`] for rules that cannot be kept; [`Error::LoosensRules`] without a passphrase
    /// where one is wanted; [`StoreError::WrongPassphrase`](crate::StoreError::WrongPassphrase);
    /// [`Error::NoSuchToken`]; [`Error::Store`] if it cannot be made durable: then the rules are as
    /// they were.
    ///
    /// # Security
    /// With [`LocalRules::raw_exposure`] whoever gets the raw token is bound by BitGo's limit alone;
    /// with [`LocalRules::declared_amounts`] local limits hold only what the caller declares.
    pub async fn set_rules(
        &self,
        label: &str,
        rules: LocalRules,
        passphrase: Option<Passphrase>,
    ) -> Result<(), Error> {
        let label = Label::new(label)?;
        rules.validate()?;
        self.core
            .blocking(move |core| {
                let may_loosen = passphrase.is_some();
                if let Some(passphrase) = passphrase {
                    core.store.check_passphrase(&passphrase)?;
                }
                core.edit_rules(&label, |record| {
                    let before = &record.rules;
                    let loosens = rules.loosens(before) || opens_a_coin(&rules, record);
                    let action = match (loosens, may_loosen) {
                        (true, false) => return Err(Error::LoosensRules { label: label.clone() }),
                        // The one loosening that leaves the vault nothing more to say.
                        (true, true) if rules.raw_exposure && !before.raw_exposure => {
                            AuditAction::ExposureAllowed
                        }
                        (true, true) => AuditAction::RulesLoosened,
                        (false, _) => AuditAction::RulesTightened,
                    };
                    Ok((rules, action))
                })
            })
            .await?
    }
}

impl Core {
    pub(super) fn set_raw_exposure(&self, label: &Label, allowed: bool) -> Result<(), Error> {
        self.edit_rules(label, |record| {
            let action = match allowed {
                true => AuditAction::ExposureAllowed,
                false => AuditAction::ExposureForbidden,
            };
            Ok((LocalRules { raw_exposure: allowed, ..LocalRules::clone(&record.rules) }, action))
        })
    }

    /// Replaces the rules of a token by what `edit` makes of them, one edit at a time.
    fn edit_rules(
        &self,
        label: &Label,
        edit: impl FnOnce(&TokenRecord) -> Result<(LocalRules, AuditAction), Error>,
    ) -> Result<(), Error> {
        let _one_at_a_time = self.begin_change();
        let entry = self.entry(label)?;
        let held = entry.held().ok_or_else(|| Error::NoSuchToken { label: label.clone() })?;
        let mut record = held.record.clone();
        let (rules, action) = edit(&record)?;
        record.rules = record.rules.changed_to(rules);
        self.store.append_audit(action, record.info.id, Some(&record), self.clock.now())?;
        entry.replace(held.with(record));
        Ok(())
    }
}

/// Whether rules give a total to a coin for which BitGo has no limit: it could not be spent before.
fn opens_a_coin(rules: &LocalRules, record: &TokenRecord) -> bool {
    let has_limit = |coin| record.info.spending_limits.get(coin).is_some();
    let had_total = |coin| record.rules.coins.get(coin).is_some_and(|had| had.total.is_some());
    let mut totals = rules.coins.iter().filter(|(_, bounds)| bounds.total.is_some());
    totals.any(|(coin, _)| !has_limit(coin) && !had_total(coin))
}
