//! The command `bitgo-vault`.
//!
//! ```text
//! cli      what may be said on the command line
//! verb/    what each verb does, one file each
//! place    where the vault is, and how it is opened
//! secrets  where passphrases, passwords and one-time passwords come from
//! words    amounts, durations and times, as people write and read them
//! page     what is printed: for people, or one object of JSON
//! failure  what went wrong, what to do, and the exit code
//! hush     what the process keeps from others on the machine
//! murmur   what the vault warns of meanwhile
//! terminal left as it was found
//! ```

mod cli;
mod failure;
mod hush;
mod murmur;
mod page;
mod place;
mod secrets;
mod terminal;
mod verb;
mod words;

use clap::Parser;
use cli::Cli;
use page::Printer;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything is read that is nobody else's business.
    hush::keep_to_itself();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return Printer::of_arguments().usage(&error),
    };
    let printer = Printer::new(cli.common.json, cli.common.verbose);
    murmur::to_whom_it_may_concern();
    if cli.verb.asks() {
        terminal::leave_as_found();
    }
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failure::Failure::could_not("start the runtime"))
        .and_then(|runtime| runtime.block_on(verb::run(cli, &printer)));
    match done {
        Ok(code) => code,
        Err(failure) => printer.failure(&failure),
    }
}
