//! `send`: one request, checked, reserved, signed, sent, verified and settled.

use super::request::RequestArgs;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell, Tone, toned};
use bitgo_vault::{Answer, Vault};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use std::process::ExitCode;

/// Send one request, if the rules allow it
///
/// The answer is believed only with BitGo's signature. Exit code 6 if BitGo refuses the request.
#[derive(Args)]
pub(crate) struct Send {
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(Serialize)]
struct Answered {
    status: u16,
    /// As JSON where it is, else as text.
    body: Value,
    is_verified: bool,
    request_id: String,
}

impl From<&Answer> for Answered {
    fn from(answer: &Answer) -> Self {
        let body = answer.body();
        let text = || String::from_utf8_lossy(body).into_owned().into();
        Self {
            status: answer.status(),
            body: serde_json::from_slice(body).unwrap_or_else(|_| text()),
            is_verified: answer.is_verified(),
            request_id: answer.request_id().to_string(),
        }
    }
}

impl Tell for Answered {
    fn tell(&self, page: &mut Page) {
        let tone = if self.status < 300 { Tone::Good } else { Tone::Bad };
        page.line(toned(tone, self.status));
        match serde_json::to_string_pretty(&self.body) {
            Ok(body) => page.line(body),
            Err(_) => page.line(&self.body),
        }
    }
}

impl Send {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<ExitCode, Failure> {
        let request = self.request.read()?;
        let sending = async |vault: &Vault| {
            let sending = vault.send(&self.request.label, &request);
            Ok(printer.busy("asking bitgo", sending).await?)
        };
        let answered = Answered::from(&common.within(printer, sending).await?);
        printer.say(&answered)?;
        Ok(if answered.status < 400 { ExitCode::SUCCESS } else { ExitCode::from(6) })
    }
}
