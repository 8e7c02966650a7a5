//! `fetch-internal`: the user's internal token.

use super::token::{Token, session};
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::Printer;
use crate::place::close;
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
        let vault = common.open(printer).await?;
        let session = session(&vault, self.session.as_deref())?;
        let fetching = vault.fetch_internal(session.as_str(), &self.label);
        let status = printer.busy("fetching the token", fetching).await?;
        close(vault).await?;
        printer.say(&Token::from(status))
    }
}
