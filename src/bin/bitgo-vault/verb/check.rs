//! `check`: what the rules say of a request, without making it.

use super::request::RequestArgs;
use crate::cli::Common;
use crate::failure::{Failure, denied_to_json};
use crate::page::{Page, Printer, Tell, Tone, toned};
use bitgo_vault::{Consulted, Explanation, Vault};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Say whether a request would be allowed now, by which rules, with their numbers
///
/// Nothing is sent or reserved. Exit code 3 if it is denied.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    request: RequestArgs,
}

#[derive(Serialize)]
struct Verdict {
    allowed: bool,
    denied: Option<Value>,
    kind: Option<String>,
    transfers: Vec<Value>,
    consulted: Vec<Value>,
    #[serde(skip)]
    rows: Vec<[String; 5]>,
}

impl Verdict {
    fn of(explanation: &Explanation) -> Self {
        let denied = explanation.verdict().err();
        let transfers = explanation.transfers.iter().map(|moved| {
            json!({
                "coin": moved.coin.as_str(),
                "amount": moved.amount.to_string(),
                "destination": &*moved.destination,
            })
        });
        Self {
            allowed: denied.is_none(),
            denied: denied.map(denied_to_json),
            kind: explanation.kind.map(|kind| kind.as_str().to_owned()),
            transfers: transfers.collect(),
            consulted: explanation.consulted.iter().map(consulted).collect(),
            rows: explanation.consulted.iter().map(row).collect(),
        }
    }
}

fn consulted(consulted: &Consulted) -> Value {
    let text = |amount: Option<bitgo_vault::Amount>| amount.map(|amount| amount.to_string());
    json!({
        "rule": consulted.rule.as_str(),
        "allows": consulted.denied.is_none(),
        "coin": consulted.coin.as_ref().map(|coin| coin.as_str()),
        "asked": text(consulted.asked),
        "limit": text(consulted.limit),
        "left": text(consulted.left),
        "resets_at": consulted.resets_at.map(|time| time.to_rfc3339()),
    })
}

fn row(consulted: &Consulted) -> [String; 5] {
    let coin = consulted.coin.as_ref().map_or(String::new(), |coin| format!(" ({coin})"));
    let number =
        |amount: Option<bitgo_vault::Amount>| amount.map_or("-".into(), |it| it.to_string());
    [
        format!("{}{coin}", consulted.rule.as_str()),
        if consulted.denied.is_none() { "allows" } else { "DENIES" }.into(),
        number(consulted.asked),
        number(consulted.limit),
        number(consulted.left),
    ]
}

impl Tell for Verdict {
    fn tell(&self, page: &mut Page) {
        let reason = self.denied.as_ref().and_then(|denied| denied.get("reason")?.as_str());
        match reason {
            None => page.line(toned(Tone::Good, "allowed")),
            Some(reason) => page.line(format_args!("{}: {reason}", toned(Tone::Bad, "denied"))),
        }
        if !self.rows.is_empty() {
            page.table(["rule", "says", "asked", "limit", "left"], self.rows.clone());
        }
        if let Some(see) = self.denied.as_ref().and_then(|denied| denied.get("see")?.as_str()) {
            page.line(format_args!("see: {see}"));
        }
    }
}

impl Check {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<ExitCode, Failure> {
        let request = self.request.read()?;
        let verdict = match common.holder().await? {
            Some(holder) => {
                let told = holder.check(&self.request.label, &request).await?;
                let denied = told.denied_by.as_ref();
                let denied = denied
                    .map(|rule| json!({"rule": rule, "see": told.see, "reason": told.reason}));
                Verdict {
                    allowed: denied.is_none(),
                    denied,
                    kind: None,
                    transfers: Vec::new(),
                    consulted: Vec::new(),
                    rows: Vec::new(),
                }
            }
            None => {
                let checking = async |vault: &Vault| {
                    Ok(Verdict::of(&vault.check(&self.request.label, &request)?))
                };
                common.within(printer, checking).await?
            }
        };
        printer.say(&verdict)?;
        Ok(if verdict.allowed { ExitCode::SUCCESS } else { ExitCode::from(3) })
    }
}
