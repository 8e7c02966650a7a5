//! `audit`: what the vault did, and proof that nobody rewrote it.

use super::doctor::Found;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell, Tone, toned};
use bitgo_vault::{AuditChain, AuditEntry, Vault, verify_audit_lines};
use chrono::{DateTime, Local, NaiveDate, Utc};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How often `--follow` looks again.
const EVERY: Duration = Duration::from_secs(1);
/// The most entries that the holder tells at once.
const TOLD: usize = 47;
/// How many entries are shown.
const SHOWN: usize = 50;

/// Show, verify, export or prune the audit log
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    /// Go on showing what comes, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// How many of the last entries are shown
    #[arg(long, short = 'n', value_name = "N", default_value_t = SHOWN)]
    last: usize,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Verify the chain, of the vault's log or of an exported file
    Verify {
        /// An exported file, which needs neither vault nor passphrase
        file: Option<PathBuf>,
        /// Look only at what can be seen without the passphrase: that header, anchor and database are there and
        /// well-formed. It does not show that entries are whole, or that none is missing
        #[arg(long, conflicts_with = "file")]
        structure: bool,
    },
    /// Write entries as lines of JSON whose chain anybody can verify
    Export {
        /// The new file
        file: PathBuf,
        /// The first day, or time (RFC 3339)
        #[arg(long, value_parser = time)]
        from: Option<DateTime<Utc>>,
        /// The day, or time, before which it ends
        #[arg(long, value_parser = time)]
        to: Option<DateTime<Utc>>,
    },
    /// Export the oldest entries to a new file, and remove them here
    Prune {
        /// The new file
        file: PathBuf,
        /// The day, or time, before which entries are removed
        #[arg(long, value_parser = time)]
        before: DateTime<Utc>,
    },
}

/// An entry, read of the vault or of a line that the process tells that holds it.
#[derive(Serialize, Deserialize)]
struct Entry {
    number: u64,
    at: DateTime<Utc>,
    action: String,
    token: Option<String>,
    rule: Option<String>,
    coin: Option<String>,
    amount: Option<String>,
    /// A line leaves it out where it is 1.
    #[serde(default = "once")]
    count: u64,
}

const fn once() -> u64 {
    1
}

impl From<&AuditEntry> for Entry {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            number: entry.number,
            at: entry.at,
            action: entry.action.as_str().into(),
            token: entry.token_id.map(|id| id.to_string()),
            rule: entry.rule.clone(),
            coin: entry.coin.as_ref().map(ToString::to_string),
            amount: entry.amount.map(|amount| amount.to_string()),
            count: entry.count,
        }
    }
}

#[derive(Serialize)]
struct Log {
    entries: Vec<Entry>,
}

impl Tell for Log {
    fn tell(&self, page: &mut Page) {
        let rows = self.entries.iter().map(|entry| {
            let amount = entry.amount.as_ref().zip(entry.coin.as_ref());
            [
                entry.number.to_string(),
                entry.at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string(),
                entry.action.clone(),
                entry.token.clone().unwrap_or_default(),
                amount.map(|(amount, coin)| format!("{amount} {coin}")).unwrap_or_default(),
                entry.rule.clone().unwrap_or_default(),
                entry.count.to_string(),
            ]
        });
        page.table(["#", "at", "what", "token", "amount", "rule", "times"], rows.collect());
    }
}

#[derive(Serialize)]
struct Chain {
    is_whole: bool,
    first: u64,
    entries: u64,
    last_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

impl Chain {
    fn of(chain: &AuditChain, file: Option<PathBuf>) -> Self {
        let AuditChain { first, entries, last, .. } = *chain;
        let last_hash = last.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { is_whole: true, first, entries, last_hash, file }
    }
}

impl Tell for Chain {
    fn tell(&self, page: &mut Page) {
        page.line(toned(Tone::Good, "the chain is whole"));
        page.pair("entries", self.entries);
        page.pair("last hash", &self.last_hash);
        if let Some(file) = &self.file {
            page.pair("file", file.display());
        }
    }
}

impl Audit {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<ExitCode, Failure> {
        let done = match self.what {
            None => self.show(common, printer).await,
            Some(What::Verify { structure: true, .. }) => {
                return Found::look(common, printer, None).await?.told(printer);
            }
            Some(What::Verify { file: Some(file), .. }) => {
                let opened = File::open(&file).map_err(Failure::at_file("open", &file))?;
                let chain = verify_audit_lines(BufReader::new(opened)).map_err(Failure::Altered)?;
                printer.say(&Chain::of(&chain, Some(file)))
            }
            Some(What::Verify { file: None, .. }) => {
                let verifying = async |vault: &Vault| {
                    Ok(printer.busy("verifying", vault.verify_audit()).await?)
                };
                printer.say(&Chain::of(&common.within(printer, verifying).await?, None))
            }
            Some(What::Export { file, from, to }) => {
                let exporting = async |vault: &Vault| {
                    let mut options = OpenOptions::new();
                    let made = options.write(true).create_new(true).mode(0o600).open(&file);
                    let made = made.map_err(Failure::at_file("make", &file))?;
                    let exporting = vault.export_audit(from, to, BufWriter::new(made));
                    Ok(printer.busy("exporting", exporting).await?)
                };
                let chain = common.within(printer, exporting).await?;
                printer.say(&Chain::of(&chain, Some(file)))
            }
            Some(What::Prune { file, before }) => {
                let pruning = async |vault: &Vault| {
                    Ok(printer.busy("pruning", vault.prune_audit(before, &file)).await?)
                };
                let pruned = common.within(printer, pruning).await?;
                printer.say(&Chain::of(&pruned, Some(file)))
            }
        };
        done.map(|()| ExitCode::SUCCESS)
    }

    async fn show(&self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let Some(holder) = common.holder().await? else {
            if self.follow {
                return Err(Failure::usage("nobody holds the vault: nothing will come to follow"));
            }
            let reading = async |vault: &Vault| Ok(vault.audit().await?);
            let entries = common.within(printer, reading).await?;
            let shown = entries.iter().skip(entries.len().saturating_sub(self.last));
            return printer.say(&Log { entries: shown.map(Entry::from).collect() });
        };
        let mut last = None;
        loop {
            // Of what came meanwhile, all that the holder tells.
            let lines = holder.audit(if last.is_some() { TOLD } else { self.last }).await?;
            let read = |line: &String| serde_json::from_str(line);
            let entries: Result<Vec<Entry>, _> = lines.iter().map(read).collect();
            let mut entries = entries.map_err(Failure::could_not("read what the holder told"))?;
            entries.retain(|entry| Some(entry.number) > last);
            let [oldest, newest] =
                [entries.first(), entries.last()].map(|entry| entry.map(|entry| entry.number));
            let missed = last.zip(oldest).map_or(0, |(last, oldest)| oldest - last - 1);
            if last.is_none() && entries.len() == TOLD && self.last > TOLD {
                printer.note(format_args!("its holder tells the last {TOLD}: see audit export"));
            }
            if missed > 0 {
                printer.note(format_args!("{missed} entries came too fast: see audit export"));
            }
            if newest.is_some() || !self.follow {
                last = newest.max(last);
                if !printer.is_heard(&Log { entries })? {
                    return Ok(());
                }
            }
            if !self.follow {
                return Ok(());
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// A day as it begins here, or a time.
fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let wanted = || "want a day as 2026-01-31, or a time as 2026-01-31T09:00:00Z".to_owned();
    let day: NaiveDate = text.parse().map_err(|_| wanted())?;
    let begins =
        day.and_hms_opt(0, 0, 0).and_then(|time| time.and_local_timezone(Local).earliest());
    begins.map(|time| time.to_utc()).ok_or_else(wanted)
}
