//! `send`: one request, checked, reserved, signed, sent, verified and settled.

use super::request::RequestArgs;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell, Tone, toned};
use bitgo_vault::{Answer, Outcome, Vault};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use std::process::ExitCode;

/// Send one request, if the rules allow it
///
/// The answer is believed only with BitGo's signature. Exit code 5 if somebody must approve the request at BitGo,
/// 6 if BitGo refuses it or what became of it is not known.
#[derive(Args)]
pub(crate) struct Send {
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(Serialize)]
struct Answered {
    status: u16,
    /// As JSON where it is, else as text. People are shown it without what would steer their terminal.
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
        if !self.is_verified {
            page.line(toned(
                Tone::Doubtful,
                "nobody vouches for this answer: what it moves counts as spent",
            ));
        }
        match serde_json::to_string_pretty(&self.body) {
            Ok(body) => page.text(body),
            Err(_) => page.text(&self.body),
        }
    }
}

impl Send {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<ExitCode, Failure> {
        let request = self.request.read()?;
        let sending = async |vault: &Vault| {
            let sending = vault.send(&self.request.label, &request);
            let answer = printer.busy("asking bitgo", sending).await?;
            // Before the vault is closed: whatever fails from here on, the request was made.
            printer.say(&Answered::from(&answer))?;
            Ok(match answer.outcome() {
                Outcome::Accepted => ExitCode::SUCCESS,
                Outcome::Pending => ExitCode::from(5),
                _ => ExitCode::from(6),
            })
        };
        common.within(printer, sending).await
    }
}
