//! Verbs that do one thing to one token, and answer with how it stands then.

use super::token::Token;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use bitgo_vault::Vault;
use clap::Args;
use serde::Serialize;

/// A token, by what it is kept as.
#[derive(Args)]
pub(crate) struct ByLabel {
    /// What the token is kept as
    label: String,
}

/// What was done to a token that is not kept any more, or of which nothing else is to be told.
#[derive(Serialize)]
pub(super) struct Done {
    pub(super) label: String,
    pub(super) done: &'static str,
}

impl Tell for Done {
    fn tell(&self, page: &mut Page) {
        page.line(format_args!("{}: {}", self.label, self.done));
    }
}

impl ByLabel {
    /// Renews it now, by its own way. The process that holds the vault does it, if one does.
    pub(crate) async fn renew(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        if let Some(holder) = common.holder().await? {
            printer.busy("asking bitgo", holder.renew(&self.label)).await?;
            return printer.say(&Done { label: self.label, done: "its renewal has begun" });
        }
        let renewing = async |vault: &Vault| {
            let before = vault.status(&self.label)?;
            let ended = printer.busy("asking bitgo", vault.renew(&self.label)).await?;
            // Of one that BitGo could not be asked about before, that it could be now is all there is.
            match before.is_unverified {
                true => Ok(ended),
                false => Failure::of_renewal(ended, before.renewals),
            }
        };
        printer.say(&Token::from(common.within(printer, renewing).await?))
    }

    /// Locks a session that was unlocked.
    pub(crate) async fn lock(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let locking = async |vault: &Vault| Ok(vault.lock_session(&self.label).await?);
        common.within(printer, locking).await?;
        printer.say(&Done { label: self.label, done: "locked" })
    }

    /// Ends a session at BitGo and here.
    pub(crate) async fn log_out(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let ending = async |vault: &Vault| Ok(vault.logout(&self.label).await?);
        common.within(printer, ending).await?;
        printer.say(&Done { label: self.label, done: "logged out" })
    }
}

/// Forget a token here; at BitGo it lives on: see revoke
///
/// Its old bytes stay openable with the vault's key until a rekey, and in backups.
#[derive(Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    token: ByLabel,
    /// Seal everything else under a new key at once, so that its old bytes open no more
    #[arg(long)]
    shred: bool,
}

impl Remove {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let label = self.token.label;
        let removing = async |vault: &Vault| match self.shred {
            true => Ok(printer.busy("sealing anew", vault.remove_and_shred(&label)).await?),
            false => Ok(vault.remove(&label).await?),
        };
        common.within(printer, removing).await?;
        printer.say(&Done { label, done: "removed" })
    }
}
