//! `completions` and `man`: what a shell and a reader want of the command.

use crate::cli::Cli;
use crate::failure::Failure;
use crate::page::put;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::fs;
use std::io::stdout;
use std::path::PathBuf;

/// Print the completions of a shell
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Print the manual page, or write the pages of all verbs
#[derive(Args)]
pub(crate) struct Man {
    /// The directory that gets a page for the command and one for each verb
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "bitgo-vault", &mut text);
        put(stdout(), &text).map(drop)
    }
}

impl Man {
    pub(crate) fn run(self) -> Result<(), Failure> {
        if let Some(directory) = self.directory {
            return fs::create_dir_all(&directory)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), &directory))
                .map_err(Failure::at_file("write the manual pages to", directory));
        }
        let mut text = Vec::new();
        let man = clap_mangen::Man::new(Cli::command());
        man.render(&mut text).map_err(Failure::could_not("write the manual page"))?;
        put(stdout(), &text).map(drop)
    }
}
