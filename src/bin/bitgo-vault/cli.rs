//! What may be said on the command line.

use clap::{Parser, Subcommand};

/// A local, encrypted vault for BitGo access tokens.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    #[cfg(feature = "emulator")]
    Emulator(crate::verb::emulator::Emulate),
}
