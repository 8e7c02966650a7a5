//! `status`: how the vault and its tokens stand, as the process that holds it sees them.

use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell, Tone, toned};
use bitgo_vault::{ControlStatus, ControlToken, Vault};
use clap::Args;
use serde::Serialize;
use std::time::Duration;

/// How often it looks again.
const EVERY: Duration = Duration::from_secs(2);

/// Show how the vault and its tokens stand
///
/// While a bot holds the vault it is asked, and no passphrase is needed.
#[derive(Args)]
pub(crate) struct Status {
    /// Look again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

#[derive(Serialize)]
struct Stands {
    #[serde(flatten)]
    status: ControlStatus,
    is_held: bool,
}

impl Tell for Stands {
    fn tell(&self, page: &mut Page) {
        let status = &self.status;
        if self.is_held {
            page.pair("held by", format_args!("process {}", status.pid));
        }
        if status.is_frozen {
            page.pair("frozen", toned(Tone::Bad, "nothing is signed; thaw it once you know why"));
        }
        if let Some(damage) = &status.damage {
            page.pair("damaged", toned(Tone::Bad, damage));
        }
        if let Some(why) = &status.read_only {
            page.pair("read only", toned(Tone::Bad, why));
        }
        let rows: Vec<_> = status.tokens.iter().map(row).collect();
        match rows.is_empty() {
            true => page.line("no tokens"),
            false => page.table(["label", "phase", "standing", "ends", "next", "you must"], rows),
        }
        for token in &status.tokens {
            for (coin, counter) in token.counters.iter().filter(|(_, it)| it.uncertain != "0") {
                page.line(format_args!(
                    "{}: {} base units of {coin} have no known outcome: reconcile it",
                    token.label, counter.uncertain
                ));
            }
        }
    }
}

fn row(token: &ControlToken) -> [String; 6] {
    [
        token.label.clone(),
        token.phase.clone(),
        token.standing.clone(),
        token.expires_at.clone().unwrap_or_else(|| "unknown".into()),
        token.next_action.clone(),
        token.advice.clone().unwrap_or_default(),
    ]
}

impl Status {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        loop {
            let stands = match common.holder().await? {
                Some(holder) => Stands { status: holder.status().await?, is_held: true },
                None if self.watch => {
                    return Err(Failure::usage(
                        "nobody holds the vault: there is nothing to watch",
                    ));
                }
                None => {
                    let standing = async |vault: &Vault| Ok(vault.control_status());
                    let status = common.within(printer, standing).await?;
                    Stands { status, is_held: false }
                }
            };
            printer.say(&stands)?;
            if !self.watch {
                return Ok(());
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
