//! `freeze` and `thaw`: the kill switch.

use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use bitgo_vault::{Passphrase, Vault};
use clap::Args;
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;

/// How long the holder may take to say that it froze.
const PATIENCE: Duration = Duration::from_secs(2);

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
        // The file first, and whatever else fails: the holder's watch finds it within a second, however
        // busy it is, and so does its next start.
        Vault::freeze_at(common.store()?)?;
        let asking = async {
            if let Some(holder) = common.holder().await? {
                holder.freeze().await?;
            }
            Ok::<_, Failure>(())
        };
        match timeout(PATIENCE, asking).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => printer.note(format_args!("{failure}; FREEZE is written")),
            Err(_) => printer.note("its holder does not answer; FREEZE is written"),
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
