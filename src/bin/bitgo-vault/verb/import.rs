//! `import`: a token that somebody has already.

use super::token::Token;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::Printer;
use crate::secrets::TokenArgs;
use bitgo_vault::Vault;
use clap::Args;

/// Take a token that you have already into the vault
///
/// BitGo is asked first what it may do, what it has spent and when it ends. Where BitGo is not reached it is kept
/// unverified: it only views, until it is reconciled. Whoever had it still has it: to have it alone, rotate it.
#[derive(Args)]
pub(crate) struct Import {
    /// What the token is kept as
    label: String,
    #[command(flatten)]
    token: TokenArgs,
}

impl Import {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let importing = async |vault: &Vault| {
            let importing = vault.import(&self.label, self.token.ask()?);
            Ok(printer.busy("asking bitgo", importing).await?)
        };
        printer.say(&Token::from(common.within(printer, importing).await?))
    }
}
