//! The vault for code without a runtime: each call waits on the thread that makes it.

use super::runtime::Runtime;
use super::{
    Answer, Control, ControlError, ControlRenewal, ControlStatus, ControlVerdict, Event, Events,
    Lease, Login, RemoteTokens, Revocation, TokenStatus, Vault, VaultBuilder, passphrase,
};
use crate::api::{CreateToken, OauthClient};
use crate::crypto::{KdfParams, TotpSeed};
use crate::error::Error;
use crate::policy::{LocalRules, Request};
use crate::provider::Provider;
use crate::secret::{AccessToken, Otp, Passphrase, RefreshToken};
use crate::store::{AuditChain, AuditEntry, Repair, Report};
use crate::token::Label;
use chrono::{DateTime, Utc};
use std::future::Future;
use std::io::{self, Write};
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

/// Methods that wait for the ones of the same name.
macro_rules! waiting {
    ($of:literal: $(fn $name:ident($($given:ident: $kind:ty),*) -> $outcome:ty;)*) => {$(
        #[doc = concat!("Waits for [`", $of, "::", stringify!($name), "`].")]
        ///
        /// # Errors
        /// As that, and where this thread must not wait.
        pub fn $name(&self, $($given: $kind),*) -> $outcome {
            self.wait(self.0.$name($($given),*))
        }
    )*};
}

/// A [`Vault`] whose calls wait on the thread that makes them, from [`VaultBuilder::blocking`] or
/// [`Vault::blocking`]. Cheap to clone; all clones are one vault.
///
/// What needs no waiting is the vault's own, by `Deref`. Renewal goes on in the background as ever.
/// Any thread may wait, one of another runtime as well, which it then holds up. The one that must not
/// is a thread that turns the runtime the vault lives on, or did so until now: [`Error::WouldDeadlock`]. A
/// current-thread runtime turns only within its `block_on`; keep somebody there, or open the vault with
/// [`VaultBuilder::blocking`]. A runtime that has ended is [`Error::Interrupted`].
///
/// [`BlockingVault::close`] it before the program ends: else what the last clone leaves to be done may
/// be cut short, which costs allotments as a crash does.
#[derive(Clone, Debug)]
pub struct BlockingVault(Vault);

impl Vault {
    /// This vault for code that is not async: on a thread of its own, in `spawn_blocking`.
    pub fn blocking(&self) -> BlockingVault {
        BlockingVault(self.clone())
    }
}

impl Deref for BlockingVault {
    type Target = Vault;

    fn deref(&self) -> &Vault {
        &self.0
    }
}

impl BlockingVault {
    waiting! { "Vault":
        fn login(label: &str, login: Login) -> Result<TokenStatus, Error>;
        fn issue(session: &str, token: CreateToken, otp: impl Into<Provider<Otp>>) -> Result<TokenStatus, Error>;
        fn fetch_internal(session: &str, label: &str) -> Result<TokenStatus, Error>;
        fn sign_in_oauth(label: &str, client: OauthClient, refresh_token: RefreshToken) -> Result<TokenStatus, Error>;
        fn import(label: &str, token: AccessToken) -> Result<TokenStatus, Error>;
        fn send(label: &str, request: &Request) -> Result<Answer, Error>;
        fn renew(label: &str) -> Result<TokenStatus, Error>;
        fn reissue(label: &str, token: CreateToken, login: Login) -> Result<TokenStatus, Error>;
        fn reconcile(label: &str) -> Result<TokenStatus, Error>;
        fn renew_budget(label: &str, passphrase: Passphrase) -> Result<(), Error>;
        fn revoke(label: &str) -> Result<Revocation, Error>;
        fn remove(label: &str) -> Result<(), Error>;
        fn remove_and_shred(label: &str) -> Result<(), Error>;
        fn remote_tokens(session: &str) -> Result<RemoteTokens, Error>;
        fn unlock_session(label: &str, otp: impl Into<Provider<Otp>>, duration: Duration) -> Result<Option<DateTime<Utc>>, Error>;
        fn dangerous_unlock_removing_limits(label: &str, otp: impl Into<Provider<Otp>>, duration: Duration) -> Result<Option<DateTime<Utc>>, Error>;
        fn lock_session(label: &str) -> Result<(), Error>;
        fn logout(label: &str) -> Result<(), Error>;
        fn set_rules(label: &str, rules: LocalRules, passphrase: Option<Passphrase>) -> Result<(), Error>;
        fn dangerous_allow_raw_exposure(label: &str, passphrase: Passphrase) -> Result<(), Error>;
        fn forbid_raw_exposure(label: &str) -> Result<(), Error>;
        fn dangerous_keep_totp_seed(label: &str, seed: TotpSeed, passphrase: Passphrase) -> Result<(), Error>;
        fn forget_totp_seed(label: &str) -> Result<(), Error>;
        fn thaw(passphrase: Passphrase) -> Result<(), Error>;
        fn change_passphrase(current: Passphrase, new: Passphrase) -> Result<(), Error>;
        fn upgrade_kdf(passphrase: Passphrase, kdf: KdfParams) -> Result<(), Error>;
        fn rekey() -> Result<(), Error>;
        fn back_up(path: impl AsRef<Path>) -> Result<(), Error>;
        fn reclaim() -> Result<Vec<Label>, Error>;
        fn audit() -> Result<Vec<AuditEntry>, Error>;
        fn audit_since(number: u64) -> Result<Vec<AuditEntry>, Error>;
        fn verify_audit() -> Result<AuditChain, Error>;
        fn export_audit(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, writer: impl Write + Send + 'static) -> Result<AuditChain, Error>;
        fn prune_audit(before: DateTime<Utc>, path: impl AsRef<Path>) -> Result<AuditChain, Error>;
    }

    /// Waits for [`Vault::lease_wait`].
    ///
    /// # Errors
    /// As that, and where this thread must not wait.
    pub fn lease_wait<'r>(&self, label: &str, request: &'r Request) -> Result<Lease<'r>, Error> {
        self.wait(self.0.lease_wait(label, request))
    }

    /// Waits for [`Vault::freeze`]. Where this thread must not wait the vault is frozen all the same,
    /// for as long as it is open.
    ///
    /// # Errors
    /// As that, and where this thread must not wait.
    pub fn freeze(&self) -> Result<(), Error> {
        self.core.store.freeze().engage();
        self.wait(self.0.freeze())
    }

    /// The events of [`Vault::events`], one after the other, each waited for.
    pub fn events(&self) -> BlockingEvents {
        BlockingEvents { events: self.0.events(), runtime: self.core.runtime.unowned() }
    }

    /// Does what [`Vault::calibrate_kdf`] does, on this thread.
    ///
    /// # Errors
    /// As that.
    pub fn calibrate_kdf(target: Duration, max_memory_kib: u32) -> Result<KdfParams, Error> {
        passphrase::calibrate_kdf(target, max_memory_kib)
    }

    /// Waits for [`Vault::close`].
    ///
    /// # Errors
    /// As that. Where this thread must not wait, the last clone closes the vault as it goes.
    pub fn close(self) -> Result<(), Error> {
        let runtime = self.core.runtime.clone();
        runtime.wait(self.0.close())?
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.core.runtime.wait(future)?
    }
}

impl Lease<'_> {
    /// Waits for [`Lease::expose_token`].
    ///
    /// # Errors
    /// As that, and where this thread must not wait: the reservation is given back.
    ///
    /// # Security
    /// As of that.
    pub fn expose_token_blocking(self) -> Result<AccessToken, Error> {
        let runtime = self.runtime().clone();
        runtime.wait(self.expose_token())?
    }
}

/// The events of a vault, each waited for. They end with the vault, which this does not keep open.
#[derive(Debug)]
pub struct BlockingEvents {
    events: Events,
    runtime: Runtime,
}

impl Iterator for BlockingEvents {
    type Item = Result<Event, Error>;

    /// Waits for [`Events::next`].
    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.wait(self.events.next()).transpose()
    }
}

/// Opens a vault on a runtime of its own: one thread, which ends with the last of its clones, leases
/// and requests.
#[must_use]
pub struct BlockingBuilder(VaultBuilder);

impl VaultBuilder {
    /// Opens the vault for code without a runtime. Options are set before.
    pub fn blocking(self) -> BlockingBuilder {
        BlockingBuilder(self)
    }
}

impl BlockingBuilder {
    /// Waits for [`VaultBuilder::create`].
    ///
    /// # Errors
    /// As that; [`Error::OwnRuntime`].
    pub fn create(self, passphrase: Passphrase) -> Result<BlockingVault, Error> {
        self.wait(|builder| builder.create(passphrase)).map(BlockingVault)
    }

    /// Waits for [`VaultBuilder::unlock`].
    ///
    /// # Errors
    /// As that; [`Error::OwnRuntime`].
    pub fn unlock(self, passphrase: Passphrase) -> Result<BlockingVault, Error> {
        self.wait(|builder| builder.unlock(passphrase)).map(BlockingVault)
    }

    /// Waits for [`VaultBuilder::unlock_degraded`].
    ///
    /// # Errors
    /// As that; [`Error::OwnRuntime`].
    pub fn unlock_degraded(self, passphrase: Passphrase) -> Result<BlockingVault, Error> {
        self.wait(|builder| builder.unlock_degraded(passphrase)).map(BlockingVault)
    }

    /// Waits for [`VaultBuilder::restore`].
    ///
    /// # Errors
    /// As that; [`Error::OwnRuntime`].
    pub fn restore(
        self,
        backup: impl AsRef<Path>,
        passphrase: Passphrase,
    ) -> Result<BlockingVault, Error> {
        self.wait(|builder| builder.restore(backup, passphrase)).map(BlockingVault)
    }

    /// Waits for [`VaultBuilder::repair`].
    ///
    /// # Errors
    /// As that; [`Error::OwnRuntime`].
    pub fn repair(
        self,
        backup: Option<&Path>,
        passphrase: Passphrase,
    ) -> Result<(BlockingVault, Option<Repair>), Error> {
        let (vault, repair) = self.wait(|builder| builder.repair(backup, passphrase))?;
        Ok((BlockingVault(vault), repair))
    }

    /// Waits for [`VaultBuilder::doctor`].
    ///
    /// # Errors
    /// [`Error::OwnRuntime`].
    pub fn doctor(self, passphrase: Option<Passphrase>) -> Result<Report, Error> {
        self.wait(|builder| builder.doctor(passphrase))
    }

    fn wait<T, F: Future<Output = Result<T, Error>>>(
        self,
        open: impl FnOnce(VaultBuilder) -> F,
    ) -> Result<T, Error> {
        let runtime = Runtime::own().map_err(Error::OwnRuntime)?;
        runtime.wait(open(self.0.on(runtime.clone())))?
    }
}

/// A [`Control`] whose calls wait on the thread that makes them, by a runtime of its own: one thread.
#[derive(Clone, Debug)]
pub struct BlockingControl(Control, Runtime);

impl BlockingControl {
    /// Waits for [`Control::connect`].
    ///
    /// # Errors
    /// As that; [`ControlError::Io`] where the system gives no thread.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ControlError> {
        let runtime = Runtime::own()?;
        let control = wait_for_control(&runtime, Control::connect(path))?;
        Ok(Self(control, runtime))
    }

    waiting! { "Control":
        fn status() -> Result<ControlStatus, ControlError>;
        fn freeze() -> Result<(), ControlError>;
        fn renew(label: &str) -> Result<ControlRenewal, ControlError>;
        fn reconcile(label: &str) -> Result<(), ControlError>;
        fn audit(entries: usize) -> Result<Vec<String>, ControlError>;
        fn check(label: &str, request: &Request) -> Result<ControlVerdict, ControlError>;
    }

    fn wait<T>(
        &self,
        future: impl Future<Output = Result<T, ControlError>>,
    ) -> Result<T, ControlError> {
        wait_for_control(&self.1, future)
    }
}

fn wait_for_control<T>(
    runtime: &Runtime,
    future: impl Future<Output = Result<T, ControlError>>,
) -> Result<T, ControlError> {
    runtime.wait(future).map_err(|_| io::Error::from(io::ErrorKind::Deadlock))?
}
