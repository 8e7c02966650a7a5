//! `renew-budget`: what a token and its successors may spend, begun anew.

use super::by_label::Done;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::Printer;
use bitgo_vault::Vault;
use clap::Args;

/// Begin a token's budget anew: its totals no longer count what was spent so far
///
/// It is for totals that the vault's own rules set (policy set). What is pending or of unknown outcome still counts, and
/// so does BitGo's own limit. It asks for the passphrase once more.
#[derive(Args)]
pub(crate) struct RenewBudget {
    /// What the token is kept as
    label: String,
    /// Agree to it, where nobody is asked for the passphrase
    #[arg(long)]
    loosen: bool,
}

impl RenewBudget {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let Self { label, loosen } = self;
        let passphrase = common.passphrase().await?;
        let again = common.passphrase.repeat(&passphrase);
        if again.is_some() && !loosen {
            return Err(Failure::usage(
                "the token may spend all of its budget again: say --loosen, if that is meant",
            ));
        }
        let renewing = async |vault: &Vault| {
            vault.status(&label)?;
            let passphrase = again.map_or_else(|| common.passphrase.ask(), Ok)?;
            let renewing = vault.renew_budget(&label, passphrase);
            Ok(printer.busy("deriving the key", renewing).await?)
        };
        common.opened(common.builder()?, passphrase, printer, renewing).await?;
        printer.say(&Done { label, done: "its budget begins anew" })
    }
}
