//! `unlock`: a token without limits may spend for a while.

use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use crate::secrets::OtpArgs;
use crate::words::{duration, when};
use bitgo_vault::{Clock, SystemClock, Vault};
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use std::time::Duration;

/// Unlock a session or token at BitGo, so that it may spend
///
/// Refused where that would delete a limit at BitGo: unlocking a token that has limits deletes them for good.
#[derive(Args)]
pub(crate) struct Unlock {
    /// What it is kept as
    label: String,
    /// For how long
    #[arg(long = "for", value_name = "10m", value_parser = duration, default_value = "10m")]
    duration: Duration,
    #[command(flatten)]
    otp: OtpArgs,
}

#[derive(Serialize)]
struct Unlocked {
    label: String,
    until: Option<DateTime<Utc>>,
}

impl Tell for Unlocked {
    fn tell(&self, page: &mut Page) {
        let until = self.until.map(|until| when(until, SystemClock::new().now()));
        let until = until.unwrap_or_else(|| "an end that bitgo does not tell".into());
        page.line(format_args!("{} is unlocked until {until}", self.label));
    }
}

impl Unlock {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let Self { label, duration, otp } = self;
        let unlocking = async |vault: &Vault| {
            Ok(vault.unlock_session(&label, otp.provider(), duration).await?)
        };
        let until = common.within(printer, unlocking).await?;
        printer.say(&Unlocked { label, until })
    }
}
