//! `doctor`: what is wrong with a vault.

use crate::cli::Common;
use crate::failure::{DAMAGED, Failure};
use crate::page::{Page, Printer, Tell, Tone, toned};
use bitgo_vault::{LockLevel, Passphrase, Report, StoreError};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Look at a vault, and say what is wrong with it; mends and changes nothing
///
/// Without the passphrase it sees the files and the clear part of the header; while somebody holds the vault no more
/// is looked at than that. Exit code 8 if anything is wrong.
#[derive(Args)]
pub(crate) struct Doctor {
    /// Open it as well, and look at every record
    #[arg(long)]
    deep: bool,
}

/// What was found, as far as it was looked for.
#[derive(Serialize)]
pub(super) struct Found {
    is_well: bool,
    faults: Vec<String>,
    see: Option<&'static str>,
    held_by: Option<String>,
    generation: Option<u64>,
    epoch: Option<u32>,
    seals: Option<u64>,
    is_rekeying: Option<bool>,
    size_on_disk: u64,
    leftovers: Vec<String>,
    tokens: Option<u64>,
    accounts: Option<u64>,
    audit_entries: Option<u64>,
    key_memory: Option<&'static str>,
}

impl From<&Report> for Found {
    fn from(report: &Report) -> Self {
        let (header, contents) = (report.header.as_ref(), report.contents.as_ref());
        // That somebody works with the vault is not wrong with it.
        let is_held = |fault: &&StoreError| matches!(fault, StoreError::InUse { .. });
        let held_by = report.faults.iter().find(is_held).map(|_| match &report.holder {
            Some(holder) => holder.to_string(),
            None => "a process that did not say who it is".into(),
        });
        let faults = report.faults.iter().filter(|fault| !is_held(fault));
        let faults: Vec<_> = faults.map(ToString::to_string).collect();
        Self {
            is_well: faults.is_empty(),
            see: (!faults.is_empty()).then_some(DAMAGED),
            faults,
            held_by,
            generation: header.map(|header| header.generation),
            epoch: header.map(|header| header.epoch),
            seals: header.map(|header| header.seals),
            is_rekeying: header.map(|header| header.is_rekeying),
            size_on_disk: report.size_on_disk,
            leftovers: report.leftovers.clone(),
            tokens: contents.map(|contents| contents.tokens),
            accounts: contents.map(|contents| contents.accounts),
            audit_entries: contents.map(|contents| contents.audit_entries),
            key_memory: contents.map(|contents| key_memory(contents.lock_level)),
        }
    }
}

/// How well keys are kept in memory here.
fn key_memory(level: LockLevel) -> &'static str {
    match level {
        LockLevel::Secret => "secret, out of the kernel's own map",
        LockLevel::Locked => "locked, and kept out of core dumps",
        _ => "wiped on release only: the system refused to lock them",
    }
}

impl Found {
    /// Looks at the vault; at its records too, if the passphrase is given.
    pub(super) async fn look(
        common: &Common,
        printer: &Printer,
        passphrase: Option<Passphrase>,
    ) -> Result<Self, Failure> {
        let looking = common.builder()?.doctor(passphrase);
        let mut report = printer.busy("looking", looking).await?;
        // Where there is no vault, none is damaged.
        let is_none = |fault: &mut StoreError| matches!(fault, StoreError::NotFound { .. });
        let none = report.faults.extract_if(.., is_none).next();
        match none {
            Some(none) => Err(bitgo_vault::Error::from(none).into()),
            None => Ok(Self::from(&report)),
        }
    }

    /// Prints it, and answers how the verb ends.
    pub(super) fn told(&self, printer: &Printer) -> Result<ExitCode, Failure> {
        printer.say(self)?;
        Ok(if self.is_well { ExitCode::SUCCESS } else { ExitCode::from(8) })
    }
}

impl Tell for Found {
    fn tell(&self, page: &mut Page) {
        match self.is_well {
            true => page.line(toned(Tone::Good, "nothing is wrong, as far as could be seen")),
            false => self.faults.iter().for_each(|fault| page.line(toned(Tone::Bad, fault))),
        }
        if let Some(holder) = &self.held_by {
            page.pair("held by", holder);
        }
        page.pair("size", format_args!("{} KiB", self.size_on_disk / 1024));
        if let Some(seals) = self.seals {
            page.pair("seals", format_args!("{seals} of 2147483648"));
        }
        if let (Some(tokens), Some(accounts)) = (self.tokens, self.accounts) {
            page.pair("keeps", format_args!("{tokens} tokens, keys of {accounts} accounts"));
        }
        if let Some(entries) = self.audit_entries {
            page.pair("audit log", format_args!("{entries} entries"));
        }
        if let Some(level) = &self.key_memory {
            page.pair("keys in memory", level);
        }
        for leftover in &self.leftovers {
            page.pair("left over", leftover);
        }
        if let Some(see) = self.see {
            page.line(format_args!("see: {see}"));
        }
    }
}

impl Doctor {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<ExitCode, Failure> {
        let passphrase = self.deep.then(|| common.passphrase.ask()).transpose()?;
        Found::look(common, printer, passphrase).await?.told(printer)
    }
}
