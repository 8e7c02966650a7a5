//! `sign`: the headers of one request, for a program that sends it itself.

use super::request::RequestArgs;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use bitgo_vault::Vault;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;

/// Sign one request, and print the headers to send it with
///
/// They are good for this request alone: its method, path and body to the byte, for some minutes. What it moves
/// counts as spent, whatever becomes of it, until the token is reconciled.
#[derive(Args)]
pub(crate) struct Sign {
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(Serialize)]
struct Headers {
    url: String,
    headers: BTreeMap<String, String>,
}

impl Tell for Headers {
    fn tell(&self, page: &mut Page) {
        for (name, value) in &self.headers {
            page.line(format_args!("{name}: {value}"));
        }
    }
}

impl Sign {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let request = self.request.read()?;
        let signing = async |vault: &Vault| {
            let signed = vault.lease_wait(&self.request.label, &request).await?.sign()?;
            let headers = signed.header_strings();
            let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let url = format!("{}{}", vault.environment().root_uri(), request.target());
            Ok(Headers { url, headers: headers.map(owned).collect() })
        };
        printer.say(&common.within(printer, signing).await?)
    }
}
