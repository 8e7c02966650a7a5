//! Where passwords and one-time passwords come from when they are wanted: a closure, a prompt on the
//! terminal, a command, a file or descriptor, a TOTP seed.
//!
//! What is read lands in a buffer of fixed size that is wiped, and nowhere else: never in argv, the
//! environment, `Debug` or a log.
//!
//! ```text
//! input     bytes → one line of secret text
//! command   a program's output, within a time limit
//! terminal  a prompt on /dev/tty, without echo
//! ```

mod command;
mod error;
mod input;
mod terminal;

pub use command::SecretCommand;
pub use error::ProviderError;

use crate::crypto::TotpSeed;
use crate::secret::{AccessToken, LoginPassword, Otp, Passphrase};
use chrono::{DateTime, Utc};
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// A secret that a [`Provider`] can bring: [`AccessToken`], [`LoginPassword`], [`Otp`] or [`Passphrase`].
pub trait Provided: sealed::Sealed + Sized + Send + Sync + 'static {}

mod sealed {
    pub trait Sealed {
        /// What a prompt asks for.
        const NAME: &'static str;
        fn of(text: &str) -> Self;
        fn text(&self) -> &str;
    }
}

macro_rules! provided {
    ($($name:ident: $asked:literal;)*) => {$(
        impl sealed::Sealed for $name {
            const NAME: &'static str = $asked;

            fn of(text: &str) -> Self {
                Self::new(text)
            }

            fn text(&self) -> &str {
                self.expose()
            }
        }

        impl Provided for $name {}
    )*};
}

provided! {
    AccessToken: "BitGo access token";
    LoginPassword: "BitGo password";
    Otp: "BitGo one-time password";
    Passphrase: "vault passphrase";
}

/// Where a secret of kind `S` comes from. It is asked each time the secret is wanted.
///
/// ```
/// use bitgo_vault::{LoginPassword, Otp, Provider, SecretCommand};
/// # use std::error::Error;
/// # fn main() -> Result<(), Box<dyn Error>> {
/// let password: Provider<LoginPassword> =
///     Provider::command(SecretCommand::new("pass").arg("show").arg("bitgo"));
/// let otp: Provider<Otp> = Provider::prompt();
/// # Ok(()) }
/// ```
pub struct Provider<S>(Source<S>);

/// A caller's own way to a secret.
type Closure<S> = Box<dyn Fn() -> Result<S, Box<dyn Error + Send + Sync>> + Send + Sync>;

enum Source<S> {
    Given(S),
    Closure(Closure<S>),
    Prompt,
    Command(SecretCommand),
    /// Read once, and then gone.
    Descriptor(Mutex<Option<File>>),
    File(PathBuf),
    Totp(Arc<TotpSeed>),
}

impl<S> fmt::Debug for Provider<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Source::Given(_) => "Provider(given)",
            Source::Closure(_) => "Provider(closure)",
            Source::Prompt => "Provider(prompt)",
            Source::Command(_) => "Provider(command)",
            Source::Descriptor(_) => "Provider(descriptor)",
            Source::File(_) => "Provider(file)",
            Source::Totp(_) => "Provider(totp)",
        })
    }
}

impl<S: Provided> From<S> for Provider<S> {
    /// A secret that is known.
    fn from(secret: S) -> Self {
        Self(Source::Given(secret))
    }
}

impl<S: Provided> Provider<S> {
    /// Asks `closure`, on a thread that may block.
    pub fn closure(
        closure: impl Fn() -> Result<S, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        Self(Source::Closure(Box::new(closure)))
    }

    /// Asks whoever sits at the process's terminal (`/dev/tty`), whatever its input and output are
    /// redirected to. What is typed is not shown. Ctrl-C and Ctrl-D cancel, Ctrl-U begins anew.
    pub fn prompt() -> Self {
        Self(Source::Prompt)
    }

    /// Runs a command, such as a password manager's, and takes the first line of its output.
    pub fn command(command: SecretCommand) -> Self {
        Self(Source::Command(command))
    }

    /// Reads an open descriptor to its end, such as a pipe's. It is good for one reading.
    pub fn descriptor(descriptor: impl Into<OwnedFd>) -> Self {
        Self(Source::Descriptor(Mutex::new(Some(descriptor.into().into()))))
    }

    /// Reads a file to its end, each time anew. `/dev/fd/3` is the descriptor that the process was
    /// started with as number 3.
    ///
    /// # Security
    /// Who may read the file is not judged: secrets that a container mounts are open to all in it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// Whether the secret is there without anybody being asked.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self.0, Source::Given(_))
    }

    /// Brings the secret. It may block: on a human, a command, a pipe.
    ///
    /// # Errors
    /// [`ProviderError`], which holds nothing of what was read.
    pub fn ask(&self, now: DateTime<Utc>) -> Result<S, ProviderError> {
        let line = match &self.0 {
            Source::Given(secret) => return Ok(S::of(secret.text())),
            Source::Closure(closure) => return closure().map_err(ProviderError::Closure),
            Source::Totp(seed) => {
                let turn = seed.take_turn(now);
                // None where it is due.
                std::thread::sleep((turn - now).to_std().unwrap_or_default());
                return Ok(S::of(seed.password_at(turn).expose()));
            }
            Source::Prompt => terminal::ask(S::NAME)?,
            Source::Command(command) => command.line()?,
            Source::Descriptor(descriptor) => {
                let file = descriptor.lock().unwrap_or_else(PoisonError::into_inner).take();
                let mut file = file.ok_or(ProviderError::ReadAlready)?;
                input::line(&mut file).map_err(ProviderError::of("the descriptor"))?
            }
            Source::File(path) => {
                let file = File::open(path).map_err(input::Unread::from);
                let line = file.and_then(|mut file| input::line(&mut file));
                line.map_err(ProviderError::of(format!("the file {}", path.display())))?
            }
        };
        Ok(S::of(line.text()?))
    }
}

impl Provider<Otp> {
    /// Derives one-time passwords from the seed that an authenticator was set up with. A server takes
    /// each once, so that the second within 30 s is waited for: share one seed (`Arc`) among the
    /// providers of one account.
    ///
    /// # Security
    /// A process that holds both password and seed has both factors: whoever takes it over needs
    /// neither you nor your phone. Prefer a prompt where a human is near.
    pub fn totp(seed: impl Into<Arc<TotpSeed>>) -> Self {
        Self(Source::Totp(seed.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Write, pipe};
    use std::time::Duration;

    fn ask(provider: &Provider<Otp>) -> Result<String, String> {
        let now = DateTime::from_timestamp(59, 0).unwrap();
        provider.ask(now).map(|otp| otp.expose().to_owned()).map_err(|error| error.to_string())
    }

    fn sh(script: &str) -> Provider<Otp> {
        Provider::command(SecretCommand::new("sh").arg("-c").arg(script))
    }

    #[test]
    fn each_way_brings_the_secret_and_prints_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("otp");
        std::fs::write(&path, "123456\n").unwrap();
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"123456\r\n").unwrap();
        drop(writer);
        let seed = || TotpSeed::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        for (provider, name, brings) in [
            (Otp::new("123456").into(), "given", "123456"),
            (Provider::closure(|| Ok(Otp::new("123456"))), "closure", "123456"),
            (sh("echo 123456"), "command", "123456"),
            (Provider::file(&path), "file", "123456"),
            (Provider::descriptor(reader), "descriptor", "123456"),
            (Provider::totp(seed()), "totp", "287082"),
        ] {
            assert_eq!(ask(&provider).as_deref(), Ok(brings));
            assert_eq!(format!("{provider:?}"), format!("Provider({name})"));
            match name {
                "descriptor" => {
                    assert_eq!(ask(&provider).unwrap_err(), "the descriptor was read already");
                }
                // RFC 6238 has no vector for the step after: that it is another is what counts.
                "totp" => assert_ne!(ask(&provider).as_deref(), Ok(brings)),
                _ => assert_eq!(ask(&provider).as_deref(), Ok(brings), "as often as wanted"),
            }
        }
    }

    #[test]
    fn what_goes_wrong_is_told_without_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = |content: &[u8]| {
            let path = dir.path().join(content.len().to_string());
            std::fs::write(&path, content).unwrap();
            Provider::file(path)
        };
        let slow = SecretCommand::new("sh").arg("-c").arg("echo secret; sleep 60");
        let silent = SecretCommand::new("sh").arg("-c").arg("echo secret; exec >&-; sleep 60");
        for (provider, line) in [
            (Provider::file("/nonexistent"), "the file /nonexistent could not be read"),
            (file(b""), "the secret is empty"),
            (file(b"\n"), "the secret is empty"),
            (file(b"\xff\xfe"), "the secret is no text"),
            (file(&[b'x'; 4097]), "the secret is longer than 4096 bytes"),
            (sh("echo secret; exit 3"), "the command failed with status 3"),
            (sh("echo secret; kill -9 $$"), "the command was ended by a signal"),
            (sh("true"), "the secret is empty"),
            (Provider::command(SecretCommand::new("/nonexistent")), "the command could not be run"),
            (
                Provider::command(slow.time_limit(Duration::from_millis(100))),
                "the command brought nothing within 100ms",
            ),
            (
                Provider::command(silent.time_limit(Duration::from_millis(100))),
                "the command brought nothing within 100ms",
            ),
            (Provider::closure(|| Err("no".into())), "the closure brought nothing"),
        ] {
            assert_eq!(ask(&provider).unwrap_err(), line, "{provider:?}");
        }
    }
}
