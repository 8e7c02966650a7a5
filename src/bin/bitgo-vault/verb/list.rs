//! `list`: what the vault keeps.

use super::token::Token;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use bitgo_vault::Vault;
use clap::Args;
use serde::Serialize;

/// List the tokens that the vault keeps
#[derive(Args)]
pub(crate) struct List {
    /// Also list the account's tokens at BitGo: which are not kept here, and which are gone there
    #[arg(long)]
    remote: bool,
    /// The session that asks BitGo [default: the only one that lives]
    #[arg(long, value_name = "LABEL", requires = "remote")]
    session: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    tokens: Vec<Token>,
}

impl Tell for Listed {
    fn tell(&self, page: &mut Page) {
        match self.tokens.is_empty() {
            true => page.line("the vault keeps no token: run bitgo-vault login EMAIL"),
            false => page.table(
                ["label", "kind", "stands", "ends", "left"],
                self.tokens.iter().map(Token::row).collect(),
            ),
        }
    }
}

impl List {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let listing = async |vault: &Vault| Ok(vault.list().into_iter().map(Token::from).collect());
        let tokens = common.within(printer, listing).await?;
        printer.say(&Listed { tokens })
    }
}
