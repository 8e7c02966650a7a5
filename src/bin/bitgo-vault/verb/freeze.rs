//! `freeze` and `thaw`: the kill switch.

use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use bitgo_vault::{Passphrase, Vault};
use clap::Args;
use serde::Serialize;

/// Stop all signing at once, without a passphrase
///
/// Whoever holds the vault stops within a second; it stays frozen over restarts. What is signed already, or was
/// handed out, only revoke stops.
#[derive(Args)]
pub(crate) struct Freeze {}

/// Let a frozen vault sign again
#[derive(Args)]
pub(crate) struct Thaw {}

#[derive(Serialize)]
struct Frozen {
    is_frozen: bool,
}

impl Tell for Frozen {
    fn tell(&self, page: &mut Page) {
        page.line(match self.is_frozen {
            true => "frozen: nothing is signed until bitgo-vault thaw",
            false => "thawed",
        });
    }
}

impl Freeze {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        match common.holder().await? {
            Some(holder) => holder.freeze().await?,
            None => Vault::freeze_at(common.store()?)?,
        }
        printer.say(&Frozen { is_frozen: true })
    }
}

impl Thaw {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        // The same passphrase opens the vault and thaws it.
        let passphrase = common.passphrase().await?;
        let again = Passphrase::new(passphrase.expose());
        let thawing =
            async |vault: &Vault| Ok(printer.busy("deriving the key", vault.thaw(again)).await?);
        common.opened(common.builder()?, passphrase, printer, thawing).await?;
        printer.say(&Frozen { is_frozen: false })
    }
}
