//! `passwd`, `rekey`, `backup` and `restore`: what keeps a vault well.

use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use crate::place::during;
use crate::secrets::NewPassphraseArgs;
use bitgo_vault::{AuditAction, Clock, Passphrase, SystemClock, Vault};
use clap::Args;
use rustix::fs::{Access, access};
use serde::Serialize;
use std::path::PathBuf;

/// Change the passphrase
///
/// Older backups open with the passphrase of their time. After a leak: passwd, then rekey, then revoke the tokens.
#[derive(Args)]
pub(crate) struct Passwd {
    #[command(flatten)]
    new: NewPassphraseArgs,
}

/// Seal everything under a new key, which also makes the database small again
#[derive(Args)]
pub(crate) struct Rekey {}

/// Write all that the vault keeps to one file, sealed under the passphrase
#[derive(Args)]
pub(crate) struct Backup {
    /// The new file
    file: PathBuf,
}

/// Make a vault of a backup, mend a damaged one, or take one that was rolled back as it is
///
/// What the tokens spent since then is not known: each spends once it is reconciled.
#[derive(Args)]
pub(crate) struct Restore {
    /// The backup
    #[arg(required_unless_present_any = ["repair", "in_place"])]
    file: Option<PathBuf>,
    /// Mend the vault that is there, with what is intact of it, and from the backup if one is given
    #[arg(long)]
    repair: bool,
    /// Take the vault that is there, or the backup, for the last that was written, though its anchor knows a later one or
    /// is lost: tokens that were removed and rules that were tightened since are back
    #[arg(long, conflicts_with = "repair")]
    dangerous_accept_rollback: bool,
    /// It is the vault that is there which is taken so: a backup whose name is missing does not come to that
    #[arg(long, requires = "dangerous_accept_rollback", conflicts_with_all = ["file", "repair"])]
    in_place: bool,
}

/// What was done.
#[derive(Serialize)]
struct Kept {
    done: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// Tokens that are kept now.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<usize>,
    /// Where the vault is kept as it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_at: Option<PathBuf>,
}

impl Kept {
    fn of(done: &'static str) -> Self {
        Self { done, file: None, tokens: None, kept_at: None }
    }
}

impl Tell for Kept {
    fn tell(&self, page: &mut Page) {
        page.line(self.done);
        if let Some(file) = &self.file {
            page.pair("file", file.display());
        }
        if let Some(tokens) = self.tokens {
            page.pair("tokens", tokens);
        }
        if let Some(kept_at) = &self.kept_at {
            page.pair("as it was", kept_at.display());
        }
    }
}

impl Passwd {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let passphrase = common.passphrase().await?;
        let current = Passphrase::new(passphrase.expose());
        let changing = async |vault: &Vault| {
            let new = self.new.ask()?;
            if new.expose() == current.expose() {
                return Err(Failure::usage(
                    "it is the passphrase that the vault has: choose another",
                ));
            }
            let changing = vault.change_passphrase(current, new);
            Ok(printer.busy("deriving the keys", changing).await?)
        };
        common.opened(common.builder()?, passphrase, printer, changing).await?;
        printer.say(&Kept::of("the passphrase is changed"))
    }
}

impl Rekey {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let sealing = async |vault: &Vault| {
            Ok(printer.busy("sealing everything anew", vault.rekey()).await?)
        };
        common.within(printer, sealing).await?;
        printer.say(&Kept::of("everything is sealed under a new key"))
    }
}

impl Backup {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let writing = async |vault: &Vault| {
            Ok(printer.busy("writing the backup", vault.back_up(&self.file)).await?)
        };
        common.within(printer, writing).await?;
        printer.say(&Kept { file: Some(self.file), ..Kept::of("backed up") })
    }
}

impl Restore {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        if let Some(file) = &self.file {
            // Nobody is to type in vain.
            access(file, Access::READ_OK)
                .map_err(|error| Failure::at_file("open the backup", file)(error.into()))?;
        }
        let passphrase = common.passphrase.ask()?;
        let mut builder = common.builder()?.without_control_socket();
        if self.dangerous_accept_rollback {
            builder = builder.dangerous_accept_rollback();
        }
        let (vault, kept) = match (self.repair, self.file) {
            (true, file) => {
                let mending = builder.repair(file.as_deref(), passphrase);
                let (vault, repair) = printer.busy("mending", mending).await?;
                let kept = match repair {
                    None => Kept::of("there was nothing to mend"),
                    Some(repair) => Kept {
                        kept_at: Some(repair.kept_at),
                        ..Kept::of("the vault is whole again")
                    },
                };
                (vault, kept)
            }
            (false, Some(file)) => {
                let restoring = builder.restore(file, passphrase);
                (printer.busy("restoring", restoring).await?, Kept::of("restored"))
            }
            (false, None) => {
                let began = SystemClock::new().now().timestamp_millis();
                let vault = printer.busy("deriving the key", builder.unlock(passphrase)).await?;
                let is_accepted = vault.audit().await?.iter().any(|entry| {
                    entry.action == AuditAction::RollbackAccepted
                        && entry.at.timestamp_millis() >= began
                });
                let kept = match is_accepted {
                    true => {
                        "the vault is taken as it is: bitgo-vault reconcile each token that spends"
                    }
                    false => "the vault is the last that was written: there was nothing to accept",
                };
                (vault, Kept::of(kept))
            }
        };
        let tokens = Some(during(vault, async |vault| Ok(vault.list().len())).await?);
        printer.say(&Kept { tokens, ..kept })
    }
}
