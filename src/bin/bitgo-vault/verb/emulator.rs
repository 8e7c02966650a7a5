//! `emulator`: a BitGo on this machine, until a signal.

use crate::failure::Failure;
use bitgo_vault::crypto::EnvelopeVersion;
use bitgo_vault::emulator::Emulator;
use clap::{Args, ValueEnum};
use serde::Serialize;

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long it waits at its end for answers that are still under way.
const GRACE: Duration = Duration::from_secs(5);

/// Serve as BitGo does, on this machine, until SIGINT or SIGTERM
///
/// Prints one line of JSON: its url, the key that tokens are issued under, and how to log in.
#[derive(Args)]
pub(crate) struct Emulate {
    /// The loopback address to listen at; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", value_parser = loopback)]
    listen: SocketAddr,
    /// The envelope version that tokens are sealed in
    #[arg(long, value_name = "VERSION", default_value = "1")]
    envelope: Envelope,
    /// Be an account without an ECDH key: tokens come in clear
    #[arg(long)]
    in_clear: bool,
    /// Want of a new token what the production service wants
    #[arg(long)]
    as_prod: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Envelope {
    #[value(name = "1")]
    V1,
    #[value(name = "2")]
    V2,
}

/// The line by which a script finds its way in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WayIn<'a> {
    url: &'a str,
    server_xpub: &'a str,
    email: &'a str,
    password: &'a str,
    otp: &'a str,
}

impl Emulate {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        // Before anybody knows of it, so that no signal meets the default.
        let heard = |kind| signal(kind).map_err(Failure::could_not("listen for signals"));
        let mut interrupt = heard(SignalKind::interrupt())?;
        let mut terminate = heard(SignalKind::terminate())?;
        let bitgo = self.start().await.map_err(Failure::could_not("start the emulator"))?;
        let line = serde_json::to_string(&WayIn {
            url: bitgo.url(),
            server_xpub: bitgo.server_xpub(),
            email: bitgo.email(),
            password: bitgo.password().expose(),
            otp: bitgo.otp().expose(),
        });
        let line = line.map_err(Failure::could_not("write the way in"))?;
        writeln!(stdout(), "{line}")
            .and_then(|()| stdout().flush())
            .map_err(Failure::could_not("write the way in"))?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // What takes longer is cut off: a script that ends its emulator waits for it.
        let _ = tokio::time::timeout(GRACE, bitgo.shutdown()).await;
        Ok(())
    }

    async fn start(&self) -> Result<Emulator, bitgo_vault::emulator::EmulatorError> {
        let mut builder = Emulator::builder().listen(self.listen).without_traffic();
        builder = builder.envelope_version(match self.envelope {
            Envelope::V1 => EnvelopeVersion::V1,
            Envelope::V2 => EnvelopeVersion::V2,
        });
        if self.in_clear {
            builder = builder.without_ecdh_keychain();
        }
        if self.as_prod {
            builder = builder.as_prod();
        }
        builder.start().await
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "want an address and a port".to_owned())?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err("it is not an address of loopback".to_owned()),
    }
}
