//! `fetch-internal`: the user's internal token.

use super::token::{Token, session};
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::Printer;
use bitgo_vault::Vault;
use clap::Args;

/// Fetch the user's internal token, and renew it from then on
#[derive(Args)]
pub(crate) struct FetchInternal {
    /// What the token is kept as
    label: String,
    /// The session that fetches it [default: the only one that lives]
    #[arg(long, value_name = "LABEL")]
    session: Option<String>,
}

impl FetchInternal {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let fetching = async |vault: &Vault| {
            let session = session(vault, self.session.as_deref())?;
            let fetching = vault.fetch_internal(session.as_str(), &self.label);
            Ok(printer.busy("fetching the token", fetching).await?)
        };
        let status = common.within(printer, fetching).await?;
        printer.say(&Token::from(status))
    }
}
