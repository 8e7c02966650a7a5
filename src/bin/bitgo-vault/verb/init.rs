//! `init`: a new vault.

use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use crate::place::during;
use bitgo_vault::crypto::KdfParams;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Make a new vault
///
/// Its directory is made with it. Choose a long passphrase: whoever has the files and the passphrase has the
/// tokens, and nobody can help who has lost it.
#[derive(Args)]
pub(crate) struct Init {
    /// What deriving the key costs: memory in MiB, passes, lanes
    #[arg(long, value_name = "MIB,PASSES,LANES", default_value = "64,3,4", value_parser = kdf)]
    kdf: KdfParams,
}

#[derive(Serialize)]
struct Made {
    store: PathBuf,
    root_uri: String,
}

impl Tell for Made {
    fn tell(&self, page: &mut Page) {
        page.line(format_args!("made a vault for {}", self.root_uri));
        page.pair("directory", self.store.display());
        page.line("next: bitgo-vault login EMAIL");
    }
}

impl Init {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let builder = common.new_builder()?.without_control_socket().kdf(self.kdf);
        common.check_free().await?;
        let passphrase = common.passphrase.ask_new()?;
        let vault = printer.busy("deriving the key", builder.create(passphrase)).await?;
        let root_uri =
            during(vault, async |vault| Ok(vault.environment().root_uri().to_owned())).await?;
        printer.say(&Made { store: common.store()?, root_uri })
    }
}

fn kdf(text: &str) -> Result<KdfParams, String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
    match numbers.as_deref() {
        Ok([mib, passes, lanes]) => {
            let kib = mib.checked_mul(1024).ok_or("that much memory is not to be had")?;
            KdfParams::new(kib, *passes, *lanes).map_err(|error| error.to_string())
        }
        _ => Err("want three numbers, such as 64,3,4".into()),
    }
}
