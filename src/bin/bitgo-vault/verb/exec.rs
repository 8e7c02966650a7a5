//! `exec`: a program with the token in its environment, for what cannot be signed.

use crate::cli::Common;
use crate::failure::Failure;
use crate::hush::PASSPHRASE_VARIABLE;
use crate::page::Printer;
use bitgo_vault::{Request, Vault};
use clap::Args;
use rustix::fs::{Access, access};
use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable in which the program finds the token.
const TOKEN_VARIABLE: &str = "BITGO_ACCESS_TOKEN";

/// Run a program with the token in BITGO_ACCESS_TOKEN, where the token's rules allow raw exposure
///
/// The audit log tells of it first, and all that the token may still spend counts as spent: from here on only BitGo's
/// own limit holds. The program takes this one's place, and so gets its signals and gives its exit code.
#[derive(Args)]
pub(crate) struct Exec {
    /// What the token is kept as
    label: String,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Exec {
    pub(crate) async fn run(
        self,
        common: &Common,
        printer: &Printer,
    ) -> Result<Infallible, Failure> {
        let exposing = async |vault: &Vault| {
            let any = Request::get("/api/v2/user/session").map_err(bitgo_vault::Error::from)?;
            Ok(vault.lease_wait(&self.label, &any).await?.expose_token().await?)
        };
        let mut words = self.command.iter();
        // Before anything is handed out, which costs all that the token may still spend.
        let program = words.next().and_then(|program| found(program));
        let program = program
            .ok_or_else(|| Failure::usage("there is no such program: nothing was handed out"))?;
        // The vault is closed before the program begins, which may open it.
        let token = common.within(printer, exposing).await?;
        // What the program inherits is the token, and nothing that opens the vault.
        let error = Command::new(program)
            .args(words)
            .env(TOKEN_VARIABLE, token.expose())
            .env_remove(PASSPHRASE_VARIABLE)
            .exec();
        Err(Failure::could_not("run the program, and the token counts as handed out")(error))
    }
}

/// Where a program is, by its path or in `PATH`, if it may be run.
fn found(program: &OsStr) -> Option<PathBuf> {
    let is_path = Path::new(program).components().count() > 1;
    let places = match is_path {
        true => OsString::from(""),
        false => env::var_os("PATH")?,
    };
    let mut candidates = env::split_paths(&places).map(|place| place.join(program));
    candidates.find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
}
