//! Where secrets come from: never from the command line, where every user of the machine reads them.
//!
//! ```text
//! --passphrase-fd N | --passphrase-file F | --passphrase-command CMD
//!     else $BITGO_VAULT_PASSPHRASE, else systemd's credential bitgo-vault-passphrase, else a prompt
//! --password-fd, --password-file, --password-command       else a prompt
//! --token-fd, --token-file, --token-command                else a prompt
//! --otp CODE, --otp-fd, --otp-file, --otp-command          else a prompt: it is good once, so argv may
//!                                                          carry it; several serve in order
//! ```

use crate::failure::Failure;
use crate::hush::PASSPHRASE_VARIABLE;
use bitgo_vault::{
    AccessToken, Clock, LoginPassword, Otp, Passphrase, Provided, Provider, SecretCommand,
    SystemClock,
};
use clap::Args;
use std::collections::VecDeque;
use std::env;
use std::fs::File;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Where systemd puts credentials (`LoadCredential=`), and what ours is called there.
const CREDENTIALS: (&str, &str) = ("CREDENTIALS_DIRECTORY", "bitgo-vault-passphrase");

/// A descriptor that the process was started with. It is taken over before anything else is started, so
/// that no child inherits what it holds.
#[derive(Clone, Debug)]
struct Descriptor(Arc<File>);

impl Descriptor {
    fn take(number: &str) -> Result<Self, String> {
        let number: RawFd = number.parse().map_err(|_| "want the number of a descriptor")?;
        let file = File::open(format!("/dev/fd/{number}")).map_err(|error| error.to_string())?;
        // Standard input is read to its end, and everybody's.
        if number > 2 {
            nix::unistd::close(number).map_err(|error| error.to_string())?;
        }
        Ok(Self(Arc::new(file)))
    }
}

/// Where the vault's passphrase comes from
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
pub(crate) struct PassphraseArgs {
    /// Read the passphrase from this open descriptor
    #[arg(long, global = true, value_name = "N", value_parser = Descriptor::take, help_heading = "Passphrase")]
    passphrase_fd: Option<Descriptor>,
    /// Read the passphrase from this file
    #[arg(long, global = true, value_name = "FILE", help_heading = "Passphrase")]
    passphrase_file: Option<PathBuf>,
    /// Read the passphrase from the first line that this shell command prints
    #[arg(long, global = true, value_name = "COMMAND", help_heading = "Passphrase")]
    passphrase_command: Option<String>,
}

/// Where a vault's next passphrase comes from
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
pub(crate) struct NewPassphraseArgs {
    /// Read the new passphrase from this open descriptor
    #[arg(long, value_name = "N", value_parser = Descriptor::take)]
    new_passphrase_fd: Option<Descriptor>,
    /// Read the new passphrase from this file
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from the first line that this shell command prints
    #[arg(long, value_name = "COMMAND")]
    new_passphrase_command: Option<String>,
}

/// Where the BitGo account's password comes from
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
pub(crate) struct PasswordArgs {
    /// Read the password from this open descriptor
    #[arg(long, value_name = "N", value_parser = Descriptor::take)]
    password_fd: Option<Descriptor>,
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Read the password from the first line that this shell command prints
    #[arg(long, value_name = "COMMAND")]
    password_command: Option<String>,
}

/// Where a token comes from that somebody has already
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
pub(crate) struct TokenArgs {
    /// Read the token from this open descriptor
    #[arg(long, value_name = "N", value_parser = Descriptor::take)]
    token_fd: Option<Descriptor>,
    /// Read the token from this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Read the token from the first line that this shell command prints
    #[arg(long, value_name = "COMMAND")]
    token_command: Option<String>,
}

/// Where the one-time password comes from
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
pub(crate) struct OtpArgs {
    /// The one-time password itself. Where two are wanted, the first and then the next: BitGo takes each once, but for
    /// the one of its test environment, which serves throughout
    #[arg(long, value_name = "CODE")]
    otp: Vec<String>,
    /// Read the one-time password from this open descriptor
    #[arg(long, value_name = "N", value_parser = Descriptor::take)]
    otp_fd: Option<Descriptor>,
    /// Read the one-time password from this file
    #[arg(long, value_name = "FILE")]
    otp_file: Option<PathBuf>,
    /// Read the one-time password from the first line that this shell command prints
    #[arg(long, value_name = "COMMAND")]
    otp_command: Option<String>,
}

impl PassphraseArgs {
    /// Asks for the passphrase of a vault that exists.
    pub(crate) fn ask(&self) -> Result<Passphrase, Failure> {
        ask(self.provider())
    }

    /// Whether somebody types it.
    pub(crate) fn is_typed(&self) -> bool {
        self.told().is_none()
    }

    /// The same passphrase for a second use, where nobody typed it: a descriptor is read once. Whoever
    /// types is asked anew.
    pub(crate) fn repeat(&self, passphrase: &Passphrase) -> Option<Passphrase> {
        self.told().map(|_| Passphrase::new(passphrase.expose()))
    }

    /// Asks for the passphrase of a new vault: twice, where somebody types it.
    pub(crate) fn ask_new(&self) -> Result<Passphrase, Failure> {
        let Some(provider) = self.told() else { return twice() };
        ask(provider)
    }

    fn provider(&self) -> Provider<Passphrase> {
        self.told().unwrap_or_else(Provider::prompt)
    }

    /// Where it was said to come from; `None` where nobody said.
    fn told(&self) -> Option<Provider<Passphrase>> {
        let Self { passphrase_fd, passphrase_file, passphrase_command } = self;
        of(passphrase_fd.as_ref(), passphrase_file.as_ref(), passphrase_command.as_ref())
            .or_else(|| {
                let text = Zeroizing::new(env::var(PASSPHRASE_VARIABLE).ok()?);
                Some(Passphrase::new(text.as_str()).into())
            })
            .or_else(|| {
                let credential = PathBuf::from(env::var_os(CREDENTIALS.0)?).join(CREDENTIALS.1);
                credential.exists().then(|| Provider::file(credential))
            })
    }
}

impl NewPassphraseArgs {
    /// Asks for it: twice, where somebody types it.
    pub(crate) fn ask(&self) -> Result<Passphrase, Failure> {
        let Self { new_passphrase_fd, new_passphrase_file, new_passphrase_command } = self;
        of(
            new_passphrase_fd.as_ref(),
            new_passphrase_file.as_ref(),
            new_passphrase_command.as_ref(),
        )
        .map_or_else(twice, ask)
    }
}

impl PasswordArgs {
    pub(crate) fn ask(&self) -> Result<LoginPassword, Failure> {
        ask(self.provider())
    }

    pub(crate) fn provider(&self) -> Provider<LoginPassword> {
        let Self { password_fd, password_file, password_command } = self;
        of(password_fd.as_ref(), password_file.as_ref(), password_command.as_ref())
            .unwrap_or_else(Provider::prompt)
    }
}

impl TokenArgs {
    pub(crate) fn ask(&self) -> Result<AccessToken, Failure> {
        let Self { token_fd, token_file, token_command } = self;
        let told = of(token_fd.as_ref(), token_file.as_ref(), token_command.as_ref());
        ask(told.unwrap_or_else(Provider::prompt))
    }
}

impl OtpArgs {
    pub(crate) fn provider(&self) -> Provider<Otp> {
        let Self { otp, otp_fd, otp_file, otp_command } = self;
        given(otp)
            .or_else(|| of(otp_fd.as_ref(), otp_file.as_ref(), otp_command.as_ref()))
            .unwrap_or_else(Provider::prompt)
    }
}

/// One-time passwords of the command line. One that is alone serves throughout; several serve once each.
fn given(otps: &[String]) -> Option<Provider<Otp>> {
    match otps {
        [] => None,
        [otp] => Some(Otp::new(otp.as_str()).into()),
        _ => {
            let left: VecDeque<_> = otps.iter().map(|otp| Otp::new(otp.as_str())).collect();
            let left = Mutex::new(left);
            Some(Provider::closure(move || {
                let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                next.ok_or_else(|| "each --otp was used: give one more".into())
            }))
        }
    }
}

/// Types a new passphrase twice: one that was mistyped opens nothing ever again.
fn twice() -> Result<Passphrase, Failure> {
    let [first, second] = [ask(Provider::<Passphrase>::prompt())?, ask(Provider::prompt())?];
    match first.expose() == second.expose() {
        true => Ok(first),
        false => Err(Failure::usage("the two passphrases differ: nothing was done")),
    }
}

/// Asks now, on this thread: nothing else is to be done meanwhile.
fn ask<S: Provided>(provider: Provider<S>) -> Result<S, Failure> {
    provider.ask(SystemClock::new().now()).map_err(|error| Failure::Vault(error.into()))
}

fn of<S: Provided>(
    descriptor: Option<&Descriptor>,
    file: Option<&PathBuf>,
    command: Option<&String>,
) -> Option<Provider<S>> {
    if let Some(Descriptor(file)) = descriptor {
        return Some(match file.try_clone() {
            Ok(file) => Provider::descriptor(file),
            Err(error) => {
                let kind = error.kind();
                Provider::closure(move || Err(std::io::Error::from(kind).into()))
            }
        });
    }
    let by_shell = |command: &String| {
        let command = SecretCommand::new("/bin/sh").arg("-c").arg(command);
        Provider::command(command.without(PASSPHRASE_VARIABLE))
    };
    file.map(Provider::file).or_else(|| command.map(by_shell))
}
