//! Keeping a vault: another data key, a backup, and tokens whose past was lost.

use super::core::Core;
use super::{Vault, mint};
use crate::error::Error;
use crate::policy::LocalRules;
use crate::store::{Damage, TokenRecord};
use crate::token::{Label, Renewal, TokenKind};
use std::path::Path;
use std::sync::Arc;
use tracing::Instrument;

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
        let rekeyed = self.core.blocking(|core| core.store.rekey(core.clock.now()));
        Ok(rekeyed.instrument(tracing::info_span!("vault.rekey")).await??)
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
        let span = tracing::info_span!("vault.backup", path = %path.display());
        let backed_up = self.core.blocking(move |core| core.store.back_up(&path, core.clock.now()));
        Ok(backed_up.instrument(span).await??)
    }

    /// What is wrong with the vault, if it was opened all the same
    /// ([`VaultBuilder::unlock_degraded`](super::VaultBuilder::unlock_degraded)).
    pub fn damage(&self) -> Option<&Damage> {
        self.core.store.damage()
    }

    /// Asks BitGo about each token of which a repair left the token alone, and keeps what it says:
    /// the token is its own bearer. They are not renewed by themselves any more, and what their rules
    /// forbade is not known: they do nothing until [`Vault::set_rules`], and spend once they are
    /// reconciled. Answers their labels.
    ///
    /// # Errors
    /// [`Error::Api`], [`Error::Store`]; [`Error::KeptAlready`] for one that came again under another label
    /// since the repair. Those that were asked about before are kept.
    pub async fn reclaim(&self) -> Result<Vec<Label>, Error> {
        self.core.run_to_end(reclaim).await
    }
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
            // Its rules are lost with the rest, and may have forbidden anything.
            rules: LocalRules { actions: Some(Vec::new()), ..LocalRules::default() }.into(),
            is_revoked: false,
            info: mint::arrived(&core, info)?,
        };
        let kept = core.blocking(move |core| {
            let one_at_a_time = core.begin_change();
            core.check_sole(record.info.id, record.lineage, &one_at_a_time)?;
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
