//! `revoke`: a token's end, at BitGo and here.

use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use bitgo_vault::{Revocation, Vault};
use clap::Args;
use serde::Serialize;

/// Revoke a token at BitGo, and forget it
///
/// From now on nothing is signed with it. Until BitGo confirms, each opening of the vault asks again.
#[derive(Args)]
pub(crate) struct Revoke {
    /// What it is kept as
    label: String,
}

#[derive(Serialize)]
struct Revoked {
    label: String,
    is_confirmed: bool,
}

impl Tell for Revoked {
    fn tell(&self, page: &mut Page) {
        let Self { label, .. } = self;
        match self.is_confirmed {
            true => page.line(format_args!("{label} is revoked")),
            false => page.line(format_args!(
                "{label} signs nothing any more; bitgo has not confirmed yet, and is asked with each opening"
            )),
        }
    }
}

impl Revoke {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let revoking = async |vault: &Vault| {
            Ok(printer.busy("asking bitgo", vault.revoke(&self.label)).await?)
        };
        let revocation = common.within(printer, revoking).await?;
        let is_confirmed = revocation == Revocation::Confirmed;
        printer.say(&Revoked { label: self.label, is_confirmed })
    }
}
