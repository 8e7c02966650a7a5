//! `show`: one token in full.

use super::token::Token;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::Printer;
use bitgo_vault::Vault;
use clap::Args;

/// Show one token in full, but for the token itself
#[derive(Args)]
pub(crate) struct Show {
    /// What it is kept as
    label: String,
}

impl Show {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let showing = async |vault: &Vault| Ok(vault.status(&self.label)?);
        let status = common.within(printer, showing).await?;
        printer.say(&Token::from(status))
    }
}
