//! Where the vault is, and how it is opened.
//!
//! A vault that exists knows which BitGo it was made for; `--env` and its kin are needed for a new one,
//! and hold it to that if they are given.

use crate::cli::Common;
use crate::failure::Failure;
use crate::page::Printer;
use bitgo_vault::{Control, Environment, FileSystem, Passphrase, StoreError, Vault, VaultBuilder};
use clap::ValueEnum;
use std::env;
use std::path::{Path, PathBuf};

/// A vault's directory below the data directory of the user.
const DEFAULT: &str = "bitgo-vault/vault";

/// Which BitGo a new vault speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// BitGo's production service.
    Prod,
    /// BitGo's test service.
    Test,
    /// Another server: give --root-uri and --server-xpub.
    Custom,
}

/// A file system on which a vault is refused unless it is named.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Judged {
    Nfs,
    Cifs,
    Overlayfs,
}

impl From<Judged> for FileSystem {
    fn from(judged: Judged) -> Self {
        match judged {
            Judged::Nfs => Self::Nfs,
            Judged::Cifs => Self::Cifs,
            Judged::Overlayfs => Self::Overlayfs,
        }
    }
}

impl Common {
    /// The vault's directory.
    pub(crate) fn store(&self) -> Result<PathBuf, Failure> {
        if let Some(store) = &self.store {
            return Ok(store.clone());
        }
        let data =
            env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".local/share"));
        data.or_else(home).map(|data| data.join(DEFAULT)).ok_or_else(|| {
            Failure::usage("neither HOME nor XDG_DATA_HOME is set: name the vault with --store")
        })
    }

    /// The BitGo that was named; `None` where none was.
    fn environment(&self) -> Result<Option<Environment>, Failure> {
        let custom = match (&self.root_uri, &self.server_xpub) {
            (None, None) => None,
            (Some(root_uri), Some(server_xpub)) => {
                Some(Environment::custom(root_uri, server_xpub)?)
            }
            _ => return Err(Failure::usage("--root-uri and --server-xpub go together")),
        };
        match (self.env, custom) {
            (None | Some(Service::Custom), Some(custom)) => Ok(Some(custom)),
            (Some(Service::Custom), None) => {
                Err(Failure::usage("--env custom wants --root-uri and --server-xpub"))
            }
            (Some(_), Some(_)) => {
                Err(Failure::usage("--root-uri and --server-xpub are for --env custom alone"))
            }
            (Some(Service::Prod), None) => Ok(Some(Environment::Prod)),
            (Some(Service::Test), None) => Ok(Some(Environment::Test)),
            (None, None) => Ok(None),
        }
    }

    /// How the vault is opened, made or looked at.
    pub(crate) fn builder(&self) -> Result<VaultBuilder, Failure> {
        let (store, environment) = (self.store()?, self.environment()?);
        // Plain http is for a server on this machine alone. What is kept for one is worth no more than it.
        let is_trial = environment.as_ref().is_some_and(|it| it.root_uri().starts_with("http://"));
        let mut builder = match environment {
            Some(environment) => Vault::builder(store, environment),
            None => Vault::reopen(store),
        };
        if let Some(anchor) = &self.anchor {
            builder = builder.anchor(anchor);
        }
        let trial = is_trial.then_some(Judged::Overlayfs);
        if let Some(judged) = self.dangerous_allow_file_system.or(trial) {
            builder = builder.dangerous_allow_file_system(judged.into());
        }
        if self.dangerous_accept_tokens_in_clear {
            builder = builder.dangerous_accept_tokens_in_clear();
        }
        Ok(builder)
    }

    /// How a new vault is made: the test service's, unless another is named.
    pub(crate) fn new_builder(&self) -> Result<VaultBuilder, Failure> {
        match self.environment()? {
            Some(_) => self.builder(),
            None => Self { env: Some(Service::Test), ..self.clone() }.builder(),
        }
    }

    /// Asks for the vault's passphrase; nobody types it in vain.
    pub(crate) async fn passphrase(&self) -> Result<Passphrase, Failure> {
        if self.passphrase.is_typed() {
            let report = self.builder()?.doctor(None).await?;
            let in_vain = |fault: &StoreError| {
                matches!(fault, StoreError::NotFound { .. } | StoreError::InUse { .. })
            };
            if let Some(fault) = report.faults.into_iter().find(in_vain) {
                return Err(bitgo_vault::Error::from(fault).into());
            }
        }
        self.passphrase.ask()
    }

    /// Refuses a place that holds a vault before somebody types the passphrase of a new one.
    pub(crate) async fn check_free(&self) -> Result<(), Failure> {
        if !self.passphrase.is_typed() {
            return Ok(());
        }
        let report = self.builder()?.doctor(None).await?;
        let is_none = |fault: &StoreError| matches!(fault, StoreError::NotFound { .. });
        match report.faults.iter().any(is_none) {
            true => Ok(()),
            false => {
                let taken = StoreError::AlreadyExists { path: self.store()? };
                Err(bitgo_vault::Error::from(taken).into())
            }
        }
    }

    /// Opens the vault for one verb, and closes it whatever becomes of that.
    pub(crate) async fn within<T>(
        &self,
        printer: &Printer,
        work: impl AsyncFnOnce(&Vault) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let passphrase = self.passphrase().await?;
        self.opened(self.builder()?, passphrase, printer, work).await
    }

    /// The same as somebody wants it opened, by a passphrase that was asked for already.
    pub(crate) async fn opened<T>(
        &self,
        builder: VaultBuilder,
        passphrase: Passphrase,
        printer: &Printer,
        work: impl AsyncFnOnce(&Vault) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // Nobody is to ask this process anything meanwhile.
        let unlocking = builder.without_control_socket().unlock(passphrase);
        let vault = printer.busy("deriving the key", unlocking).await?;
        during(vault, work).await
    }

    /// The process that holds the vault, if one does.
    pub(crate) async fn holder(&self) -> Result<Option<Control>, Failure> {
        match Control::connect(self.store()?).await {
            Ok(control) => Ok(Some(control)),
            Err(bitgo_vault::ControlError::NotServed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Does the work of a verb, and closes the vault whatever becomes of that: what was allotted goes back, and
/// nothing is left undone.
pub(crate) async fn during<T>(
    vault: Vault,
    work: impl AsyncFnOnce(&Vault) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let done = work(&vault).await;
    let closed = vault.close().await;
    // Why the verb failed says more than that the vault could not be closed after it.
    let done = done?;
    closed?;
    Ok(done)
}
