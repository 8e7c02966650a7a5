//! `envelope`: BitGo's password envelopes, opened and sealed.

use crate::failure::Failure;
use crate::page::{Page, Printer, Tell};
use crate::secrets::PasswordArgs;
use bitgo_vault::crypto::{Envelope, MAX_ENVELOPE_BYTES, V1Params, V2Params, seal_v1, seal_v2};
use clap::{Args, Subcommand, ValueEnum};
use getrandom::SysRng;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use std::io::{Read, stdin};
use zeroize::Zeroizing;

/// Open or seal a password envelope, as BitGo keeps keys in
#[derive(Args)]
pub(crate) struct Envelopes {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Open the envelope that stands on standard input, and print what it holds
    Open {
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Seal what stands on standard input, and print the envelope
    // `--version` is the envelope's here.
    #[command(disable_version_flag = true)]
    Seal {
        /// The envelope's version
        #[arg(long, value_name = "VERSION", default_value = "2")]
        version: Version,
        #[command(flatten)]
        password: PasswordArgs,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "1")]
    V1,
    #[value(name = "2")]
    V2,
}

/// What an envelope held: it is what was asked for, so it is printed.
#[derive(Serialize)]
struct Opened<'a> {
    text: &'a str,
}

impl Tell for Opened<'_> {
    fn tell(&self, page: &mut Page) {
        page.raw(self.text);
    }
}

#[derive(Serialize)]
struct Sealed {
    envelope: Value,
}

impl Tell for Sealed {
    fn tell(&self, page: &mut Page) {
        page.line(&self.envelope);
    }
}

impl Envelopes {
    pub(crate) fn run(self, printer: &Printer) -> Result<(), Failure> {
        let crypto =
            |what| move |source| Failure::from(bitgo_vault::Error::Crypto { what, source });
        match self.what {
            What::Open { password } => {
                let input = input()?;
                let envelope = Envelope::parse(input.trim()).map_err(crypto("envelope"))?;
                let password = password.ask()?;
                let text =
                    envelope.open(password.expose().as_bytes()).map_err(crypto("envelope"))?;
                printer.say(&Opened { text: text.expose_secret() })
            }
            What::Seal { version, password } => {
                let (input, password) = (input()?, password.ask()?);
                let (text, password) = (input.trim_end_matches('\n'), password.expose().as_bytes());
                let sealed = match version {
                    Version::V1 => seal_v1(V1Params::default(), password, "", text, &mut SysRng),
                    Version::V2 => seal_v2(V2Params::default(), password, None, text, &mut SysRng),
                };
                let sealed = sealed.map_err(crypto("text"))?;
                let envelope = serde_json::from_str(&sealed)
                    .map_err(Failure::could_not("write the envelope"))?;
                printer.say(&Sealed { envelope })
            }
        }
    }
}

/// All of standard input, up to the longest envelope.
fn input() -> Result<Zeroizing<String>, Failure> {
    let mut input = Zeroizing::new(String::new());
    let most = u64::try_from(MAX_ENVELOPE_BYTES).unwrap_or(u64::MAX);
    stdin()
        .lock()
        .take(most)
        .read_to_string(&mut input)
        .map_err(Failure::could_not("read standard input"))?;
    Ok(input)
}
