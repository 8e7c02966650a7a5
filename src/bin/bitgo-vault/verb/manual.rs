//! `completions` and `man`: what a shell and a reader want of the command.

use crate::cli::Cli;
use crate::failure::Failure;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::{Write, stdout};

/// Print the completions of a shell
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Print the manual page
#[derive(Args)]
pub(crate) struct Man {}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "bitgo-vault", &mut text);
        put(&text)
    }
}

impl Man {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut text = Vec::new();
        let man = clap_mangen::Man::new(Cli::command());
        man.render(&mut text).map_err(Failure::could_not("write the manual page"))?;
        put(&text)
    }
}

fn put(text: &[u8]) -> Result<(), Failure> {
    stdout().write_all(text).map_err(Failure::could_not("write to standard output"))
}
