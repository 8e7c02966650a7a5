//! What each verb does.

#[cfg(feature = "emulator")]
pub(crate) mod emulator;

use crate::cli::Cli;
use std::error::Error;

pub(crate) async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    match cli.verb {
        #[cfg(feature = "emulator")]
        crate::cli::Verb::Emulator(emulate) => emulate.run().await,
    }
}
