//! The command `bitgo-vault`.
//!
//! ```text
//! cli     what may be said on the command line
//! verb/   what each verb does, one file each
//! ```

mod cli;
mod verb;

use clap::Parser;
use std::error::Error;
use std::io::{Write, stderr};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // What is said wrongly ends here, with status 2 and the usage.
    match verb::run(cli::Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nowhere left to say that it could not be said.
            let _ = writeln!(stderr(), "bitgo-vault: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error in one line, its causes behind it.
fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.extend([": ", &error.to_string()]);
        cause = error.source();
    }
    line
}
