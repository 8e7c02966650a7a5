//! Keeping a vault: another data key, a backup, and tokens whose past was lost.

use super::core::Core;
use super::entry::TokenStatus;
use super::{Vault, mint};
use crate::crypto::WINDOW_BACK_MS;
use crate::error::Error;
use crate::policy::{Denied, LocalRules, Rule};
use crate::store::{AuditAction, Damage, TokenRecord};
use crate::token::{Label, Renewal, TokenKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long after opening what was signed before it may still be on its way: BitGo takes requests
/// that are so old, and may count what it took a while later.
const ON_ITS_WAY: Duration =
    Duration::from_millis(WINDOW_BACK_MS.unsigned_abs()).saturating_add(Duration::from_secs(300));

impl Vault {
    /// Seals everything under a new data key, which also makes the database small again. `Ok` means
    /// that what the old key sealed is gone from the vault's directory, removed tokens among it. Writes
    /// wait meanwhile. A vault does it by itself before a key has sealed 2^31 records.
    ///
    /// # Errors
    /// [`Error::Store`]; but for [`ReadOnly`](crate::StoreError::ReadOnly) nothing has changed then.
    ///
    /// # Security
    /// The medium may keep removed blocks, and a backup keeps its own copy. After a leak also change
    /// the passphrase, and revoke the tokens.
    pub async fn rekey(&self) -> Result<(), Error> {
        Ok(self.core.blocking(|core| core.store.rekey(core.clock.now())).await??)
    }

    /// Writes all that the vault keeps to the new file `path`, sealed and authenticated as a whole.
    /// `Ok` means that it is on disk. Writes wait meanwhile: about 3 ms for 1 000 tokens.
    /// [`VaultBuilder::restore`](super::VaultBuilder::restore) makes a vault of it.
    ///
    /// # Errors
    /// [`Error::Store`]: [`BackupExists`](crate::StoreError::BackupExists),
    /// [`BackupUnfinished`](crate::StoreError::BackupUnfinished), or what the file system said.
    ///
    /// # Security
    /// It opens with the passphrase that the vault has now, whatever becomes of that later. The
    /// audit log tells of it first: it is a copy of every token.
    pub async fn back_up(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref().to_owned();
        Ok(self.core.blocking(move |core| core.store.back_up(&path, core.clock.now())).await??)
    }

    /// What is wrong with the vault, if it was opened all the same
    /// ([`VaultBuilder::unlock_degraded`](super::VaultBuilder::unlock_degraded)).
    pub fn damage(&self) -> Option<&Damage> {
        self.core.store.damage()
    }

    /// Asks BitGo what the token kept as `label` has spent, and lets it spend again: after a restore,
    /// a repair or an accepted rollback the vault does not know. A token that the vault does know
    /// about is left as it is. An internal token has to be reconciled before it is renewed: its
    /// successor's counter at BitGo does not tell what it spent, so that its budget is then gone.
    ///
    /// # Errors
    /// [`Error::Denied`] within ten minutes of the opening: what was signed before it may still be
    /// on its way, and BitGo has not counted it. [`Error::Api`], [`Error::Store`].
    pub async fn reconcile(&self, label: &str) -> Result<TokenStatus, Error> {
        let label = Label::new(label)?;
        self.core.run_to_end(move |core| reconcile(core, label)).await
    }

    /// Asks BitGo about each token of which a repair left the token alone, and keeps what it says:
    /// the token is its own bearer. They are not renewed by themselves any more, nor exposed, and
    /// spend once they are reconciled. Answers their labels.
    ///
    /// # Errors
    /// [`Error::Api`], [`Error::Store`]: those that were asked about before are kept.
    pub async fn reclaim(&self) -> Result<Vec<Label>, Error> {
        self.core.run_to_end(reclaim).await
    }
}

pub(super) async fn reconcile(core: Arc<Core>, label: Label) -> Result<TokenStatus, Error> {
    let entry = core.entry(&label)?;
    let held = entry.held().ok_or_else(|| Error::NoSuchToken { label: label.clone() })?;
    let lineage = held.record.lineage;
    if core.store.is_unreconciled(lineage) {
        let open_for = core.clock.monotonic().saturating_sub(core.opened_at);
        if let Some(left) = ON_ITS_WAY.checked_sub(open_for).filter(|left| !left.is_zero()) {
            let why = format!(
                "what was signed before the vault was opened may still be on its way: reconcile in {} s",
                left.as_secs() + 1
            );
            return Err(Denied::new(Rule::Unreconciled, why).into());
        }
        let secret = core.store.open_secret(lineage, &held.secret)?;
        if !secret.token.can_sign() {
            let why = "answers to this token bear no HMAC, so what they say frees nothing: issue a new one";
            return Err(Denied::new(Rule::Unreconciled, why).into());
        }
        let record = mint::own_record(&core, &secret.token, Some(held.record.info.id)).await?;
        mint::look_for_spoofer(&core, &secret.token, record.id).await?;
        let info = record.to_info(held.record.info.kind, held.record.info.issued_in_clear);
        let of_entry = Arc::clone(&entry);
        let reconciled = core.blocking(move |core| {
            // What BitGo said is of this token, and neither of its successor nor of one removed.
            let _one_at_a_time = core.begin_change();
            if !of_entry.held().is_some_and(|now| Arc::ptr_eq(&now, &held)) {
                let why = "the token was removed, renewed or its rules changed meanwhile: reconcile again";
                return Err(Error::from(Denied::new(Rule::Unreconciled, why)));
            }
            let now = core.clock.now();
            core.store.append_audit(AuditAction::Reconciled, info.id, None, now)?;
            Ok(core.store.reconcile(lineage, &info.spending_limits)?)
        });
        reconciled.await??;
    }
    core.status(&entry).ok_or(Error::NoSuchToken { label })
}

async fn reclaim(core: Arc<Core>) -> Result<Vec<Label>, Error> {
    let mut reclaimed = Vec::new();
    for (lineage, label, sealed) in core.store.orphans()? {
        if core.entry(&label).is_ok() {
            continue;
        }
        let claim = core.claim(&label)?;
        let secret = core.store.open_secret(lineage, &sealed)?;
        let record = mint::own_record(&core, &secret.token, None).await?;
        mint::look_for_spoofer(&core, &secret.token, record.id).await?;
        // How it came is not told. One that cannot sign came in clear.
        let info = record.to_info(TokenKind::LongLived, !secret.token.can_sign());
        let record = TokenRecord {
            lineage,
            label: label.clone(),
            account: None,
            renewal: Renewal::Manual,
            rules: LocalRules::default(),
            is_revoked: false,
            info: mint::arrived(&core, info)?,
        };
        let kept = core.blocking(move |core| {
            let _one_at_a_time = core.begin_change();
            core.store.adopt(&record)?;
            core.keep(record, sealed);
            Ok::<_, Error>(())
        });
        kept.await??;
        drop(claim);
        reclaimed.push(label);
    }
    Ok(reclaimed)
}
