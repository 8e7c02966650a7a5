//! `show`: one token in full.

use super::token::Token;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::Printer;
use crate::place::close;
use clap::Args;

/// Show one token in full, but for the token itself
#[derive(Args)]
pub(crate) struct Show {
    /// What it is kept as
    label: String,
}

impl Show {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let vault = common.open(printer).await?;
        let status = vault.status(&self.label)?;
        close(vault).await?;
        printer.say(&Token::from(status))
    }
}
