//! The options of a vault, and its opening.

use super::Vault;
use super::control::Server;
use super::core::Core;
use super::events::Event;
use super::hands::Hands;
use super::keys::Keys;
use super::reconciliation::{RECONCILE_EVERY, Reconciler};
use super::runtime::Runtime;
use crate::api::{Client, ClientSettings};
use crate::clock::{Clock, SystemClock};
use crate::crypto::{AuthVersion, EcdhPublicKey, KdfParams};
use crate::environment::Environment;
use crate::error::Error;
use crate::refresh::{self, Refresher, Renew, WindowSettings};
use crate::secret::Passphrase;
use crate::store::{FileSystem, Opening, Place, Repair, Report, Store, StoreError};
use crate::telemetry;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::{Instrument, Span};

/// How long a lease lives unsigned.
const LEASE_LIFETIME: Duration = Duration::from_secs(60);

/// Opens a vault.
#[must_use]
pub struct VaultBuilder {
    place: Place,
    /// `None` for the one that the vault, or the backup, is bound to.
    environment: Option<Environment>,
    kdf: KdfParams,
    auth_version: AuthVersion,
    accepts_clear: bool,
    accepts_rollback: bool,
    lease_lifetime: Duration,
    windows: WindowSettings,
    reconcile_every: Duration,
    serves_control: bool,
    client: ClientSettings,
    clock: Arc<dyn Clock>,
    /// `None` for the caller's.
    runtime: Option<Runtime>,
}

impl VaultBuilder {
    pub(super) fn new(path: &Path, environment: Option<Environment>) -> Self {
        Self {
            place: Place::new(path),
            environment,
            kdf: KdfParams::DEFAULT,
            auth_version: AuthVersion::V3,
            accepts_clear: false,
            accepts_rollback: false,
            lease_lifetime: LEASE_LIFETIME,
            windows: WindowSettings::default(),
            reconcile_every: RECONCILE_EVERY,
            serves_control: true,
            client: ClientSettings::default(),
            clock: Arc::new(SystemClock::new()),
            runtime: None,
        }
    }

    /// The costs of deriving the key of a new vault; 64 MiB, 3 passes, 4 lanes unless said
    /// otherwise. A vault that exists keeps its own.
    pub fn kdf(mut self, kdf: KdfParams) -> Self {
        self.kdf = kdf;
        self
    }

    /// The version of BitGo's request authentication; 3 unless said otherwise. Version 4 binds
    /// each answer to its request, but BitGo has not yet said what headers its answers bear.
    pub fn auth_version(mut self, version: AuthVersion) -> Self {
        self.auth_version = version;
        self
    }

    /// Takes tokens that BitGo issues in clear, as it does to accounts without an ECDH keychain
    /// (legacy and SSO), and older tokens of 40 or 64 hex digits, which cannot sign. They are
    /// marked for good: [`TokenInfo::issued_in_clear`](crate::TokenInfo::issued_in_clear). Without
    /// this they are refused as they come; one that was kept and cannot sign is then not used.
    ///
    /// # Security
    /// A token in clear was seen by whatever ends TLS on its way. One that cannot sign travels with
    /// every request and its answers bear no HMAC: the connection alone vouches for them, so all
    /// that it spends counts, and it spends by [`Vault::send`] only.
    pub fn dangerous_accept_tokens_in_clear(mut self) -> Self {
        self.accepts_clear = true;
        self
    }

    /// Lets the vault lie on a file system that may lose its lock or its last writes: NFS, CIFS and
    /// overlayfs are refused unless they are named here, each by itself. Only Linux tells what a
    /// directory lies on; elsewhere none is refused.
    ///
    /// # Security
    /// With the lock two processes may hold the vault, and spend each the whole limit. With the last
    /// writes go reservations: a bot killed with its container, after spends of 30 000 of 50 000,
    /// may start again with all 50 000. BitGo's own limit is then the only one.
    pub fn dangerous_allow_file_system(mut self, file_system: FileSystem) -> Self {
        self.place = self.place.allow(file_system);
        self
    }

    /// Keeps the anchor at `path` instead of in the vault's directory: a file of 8 KiB, in a directory
    /// that is there. Every opening must say the same.
    ///
    /// # Security
    /// The anchor knows the vault's last state. On other media than the vault it shows that the
    /// whole directory was replaced by an older copy, with limits that are not yet used up; beside
    /// the database it shows that of the database alone.
    pub fn anchor(mut self, path: impl AsRef<Path>) -> Self {
        self.place = self.place.anchor(path.as_ref());
        self
    }

    /// Takes a vault for the last one though its anchor knows another, or is gone; for
    /// [`VaultBuilder::unlock`] and [`VaultBuilder::restore`]. If it comes to that, its tokens spend
    /// nothing until they are reconciled ([`Vault::reconcile`]). What is damaged stays refused.
    ///
    /// # Security
    /// What was written after this copy was made is gone: tokens that were removed are back, rules
    /// that were tightened are loose again, an older passphrase may be the one that opens it.
    pub fn dangerous_accept_rollback(mut self) -> Self {
        self.accepts_rollback = true;
        self
    }

    /// How long a lease may wait for its signature; 60 s unless said otherwise. An older lease is
    /// refused by [`Lease::sign`](super::Lease::sign), which gives its reservation back; one that
    /// is kept and never signed goes on holding it.
    pub fn lease_lifetime(mut self, lifetime: Duration) -> Self {
        self.lease_lifetime = lifetime;
        self
    }

    /// How long before its end a token's renewal begins, beside its use: 5 minutes for one that lives up
    /// to 20, 15 minutes below an hour and a half, else an hour; never more than a third of its life.
    ///
    /// A token of 24 hours with 2 hours here is renewed from its 22nd hour on, one of 3 hours from its
    /// second on.
    pub fn renew_before(mut self, end: Duration) -> Self {
        self.windows.advisory = Some(end);
        self
    }

    /// How long before its end a token's renewal is urgent, so that who can wait a moment for it does:
    /// a minute; never more than a tenth of its life, nor than [`VaultBuilder::renew_before`].
    ///
    /// With 2 minutes here a reader of a token of an hour waits for its renewal, at most a second, from
    /// 58 minutes on.
    pub fn urgent_before(mut self, end: Duration) -> Self {
        self.windows.mandatory = Some(end);
        self
    }

    /// By how much the renewals of tokens that end together are spread at most: each token has its own
    /// turn, the same over restarts, in the first third between [`VaultBuilder::renew_before`] and
    /// [`VaultBuilder::urgent_before`]. At most 16 are renewed at once in any case, and 16 more by a
    /// login: those that somebody waits for first, then those that end first.
    ///
    /// A session of an hour is renewed between 45:00 and 49:40; with a minute here, between 45:00 and
    /// 46:00; with zero, at 45:00.
    pub fn spread_renewals(mut self, over: Duration) -> Self {
        self.windows.spread = Some(over);
        self
    }

    /// How often BitGo is asked what a token that spends has spent ([`Vault::reconcile`]); 5 minutes
    /// unless said otherwise. A token that does not spend is not asked about.
    pub fn reconcile_every(mut self, every: Duration) -> Self {
        self.reconcile_every = every;
        self
    }

    /// Serves no control socket. Unless this is said, the vault makes the Unix socket `CONTROL` in its
    /// directory, for processes of the same user ([`Control`](crate::Control)); where it cannot, it
    /// does without ([`Vault::control_socket`]).
    pub fn without_control_socket(mut self) -> Self {
        self.serves_control = false;
        self
    }

    /// How BitGo is called: timeouts and paths.
    pub fn client(mut self, settings: ClientSettings) -> Self {
        self.client = settings;
        self
    }

    /// Where the time comes from; the machine's clock unless said otherwise.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lets the vault live on this runtime.
    pub(super) fn on(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    fn runtime(&self) -> Result<Runtime, Error> {
        self.runtime.clone().map_or_else(Runtime::current, Ok)
    }

    /// Makes a new vault and opens it. The directory is made if it is not there.
    ///
    /// # Errors
    /// [`Error::EmptyPassphrase`]; [`Error::NoRuntime`]; [`Error::Store`], such as
    /// [`AlreadyExists`](crate::StoreError::AlreadyExists),
    /// [`UnsafeDirectory`](crate::StoreError::UnsafeDirectory) and
    /// [`UnsafeFileSystem`](crate::StoreError::UnsafeFileSystem), and
    /// [`NoEnvironment`](crate::StoreError::NoEnvironment) of a builder by [`Vault::reopen`].
    pub async fn create(self, passphrase: Passphrase) -> Result<Vault, Error> {
        if passphrase.expose().is_empty() {
            return Err(Error::EmptyPassphrase);
        }
        let environment = self.environment.clone().ok_or(StoreError::NoEnvironment)?;
        self.open(move |options| {
            let Self { place, kdf, .. } = options;
            Store::create(place, &passphrase, *kdf, &environment, options.clock.now())
        })
        .await
    }

    /// Opens a vault, if it is whole and the last that its anchor knows.
    ///
    /// # Errors
    /// [`Error::NoRuntime`]; [`Error::Store`]: [`NotFound`](crate::StoreError::NotFound),
    /// [`WrongPassphrase`](crate::StoreError::WrongPassphrase),
    /// [`InUse`](crate::StoreError::InUse), [`MemoryLimit`](crate::StoreError::MemoryLimit),
    /// [`UnsafeDirectory`](crate::StoreError::UnsafeDirectory),
    /// [`UnsafeFileSystem`](crate::StoreError::UnsafeFileSystem),
    /// [`OtherEnvironment`](crate::StoreError::OtherEnvironment);
    /// [`DamagedHeader`](crate::StoreError::DamagedHeader),
    /// [`DamagedDatabase`](crate::StoreError::DamagedDatabase) and
    /// [`Damaged`](crate::StoreError::Damaged), which tells what is missing;
    /// [`RolledBack`](crate::StoreError::RolledBack), [`NoAnchor`](crate::StoreError::NoAnchor) and
    /// [`DamagedAnchor`](crate::StoreError::DamagedAnchor).
    pub async fn unlock(self, passphrase: Passphrase) -> Result<Vault, Error> {
        let opening = self.opening();
        self.unlock_as(opening, passphrase).await
    }

    /// Opens a vault for reading though it is damaged or rolled back: tokens that are whole are
    /// listed and sign what moves no money. Nothing is spent, exposed, renewed or written.
    /// [`Vault::damage`] tells what is wrong.
    ///
    /// # Errors
    /// As [`VaultBuilder::unlock`], but for [`Damaged`](crate::StoreError::Damaged) and what is said
    /// of the anchor; [`NoEnvironment`](crate::StoreError::NoEnvironment) where that is lost as well.
    pub async fn unlock_degraded(self, passphrase: Passphrase) -> Result<Vault, Error> {
        self.unlock_as(Opening::Degraded, passphrase).await
    }

    /// Makes a vault of a backup ([`Vault::back_up`]) and opens it, with the passphrase that the
    /// backup was made under. It is a new vault: its origin's data key opens nothing of it. Key
    /// derivation costs what this builder says, or what the backup says if that is more.
    ///
    /// What the tokens spent since the backup is not known: each spends once it is reconciled
    /// ([`Vault::reconcile`]).
    ///
    /// # Errors
    /// As [`VaultBuilder::create`], since nothing is overwritten; of the anchor that is there already
    /// [`RolledBack`](crate::StoreError::RolledBack) if it knows a later state of the backup's origin,
    /// and [`AnchorExists`](crate::StoreError::AnchorExists) if it is another vault's;
    /// [`WrongPassphrase`](crate::StoreError::WrongPassphrase);
    /// [`DamagedBackup`](crate::StoreError::DamagedBackup): then no vault was made;
    /// [`OtherEnvironment`](crate::StoreError::OtherEnvironment).
    ///
    /// # Security
    /// Tokens that were removed, and rules that were tightened after the backup was made, are back.
    pub async fn restore(
        self,
        backup: impl AsRef<Path>,
        passphrase: Passphrase,
    ) -> Result<Vault, Error> {
        let backup = backup.as_ref().to_owned();
        let opening = self.opening();
        self.open(move |options| {
            let Self { place, kdf, environment, .. } = options;
            let (environment, now) = (environment.as_ref(), options.clock.now());
            Store::restore(opening, place, &backup, &passphrase, *kdf, environment, now)
        })
        .await
    }

    /// Makes a damaged vault whole and opens it: with every record that is intact, and from the
    /// backup, if one is given, what a token that is partly left lacks. The vault as it was found is
    /// kept beside ([`Repair::kept_at`]). `None` where there was nothing to mend.
    ///
    /// Tokens whose ledger was lost or altered spend once they are reconciled ([`Vault::reconcile`]);
    /// those of which the token alone is left are described anew by BitGo ([`Vault::reclaim`]).
    ///
    /// # Errors
    /// As [`VaultBuilder::unlock`], but for [`Damaged`](crate::StoreError::Damaged);
    /// [`DamagedBackup`](crate::StoreError::DamagedBackup) and
    /// [`OtherBackup`](crate::StoreError::OtherBackup);
    /// [`NoEnvironment`](crate::StoreError::NoEnvironment) where that is lost as well. Nothing has
    /// changed then.
    pub async fn repair(
        self,
        backup: Option<&Path>,
        passphrase: Passphrase,
    ) -> Result<(Vault, Option<Repair>), Error> {
        let backup = backup.map(Path::to_owned);
        let told = Arc::new(OnceLock::new());
        let tell = Arc::clone(&told);
        let vault = self.open(move |options| {
            let Self { place, environment, .. } = options;
            let (environment, backup) = (environment.as_ref(), backup.as_deref());
            let now = options.clock.now();
            let (store, repair) = Store::repair(place, &passphrase, environment, backup, now)?;
            let _ = tell.set(repair);
            Ok(store)
        });
        let vault = vault.await?;
        Ok((vault, told.get().cloned().flatten()))
    }

    /// Looks at a vault and says what it finds; it mends and changes nothing. Without the passphrase it
    /// sees the files and the clear part of the header, with it whether every record is there and
    /// the last. Whatever is wrong is in [`Report::faults`].
    ///
    /// # Errors
    /// [`Error::NoRuntime`].
    pub async fn doctor(self, passphrase: Option<Passphrase>) -> Result<Report, Error> {
        let runtime = self.runtime()?;
        let look = move || Report::of(&self.place, passphrase.as_ref(), self.clock.now());
        runtime.spawn_blocking(look).await.map_err(Error::of_task)
    }

    fn opening(&self) -> Opening {
        match self.accepts_rollback {
            true => Opening::AcceptRollback,
            false => Opening::Whole,
        }
    }

    async fn unlock_as(self, opening: Opening, passphrase: Passphrase) -> Result<Vault, Error> {
        self.open(move |options| {
            let Self { place, environment, .. } = options;
            let (environment, now) = (environment.as_ref(), options.clock.now());
            Store::open_as(opening, place, &passphrase, environment, now)
        })
        .await
    }

    async fn open(
        self,
        open: impl FnOnce(&Self) -> Result<Store, StoreError> + Send + 'static,
    ) -> Result<Vault, Error> {
        telemetry::register();
        let span = tracing::info_span!("vault.open", path = %self.place.path().display());
        self.open_by(open).instrument(span).await
    }

    async fn open_by(
        self,
        open: impl FnOnce(&Self) -> Result<Store, StoreError> + Send + 'static,
    ) -> Result<Vault, Error> {
        let runtime = self.runtime()?;
        runtime.spawn(use_drivers()).await.map_err(|_| Error::NoRuntime)?;
        // Where it is known already, settings that do not fit are told before anything is made.
        let named = self.environment.clone().map(|named| Counterpart::of(named, &self));
        let named = named.transpose()?;
        let span = Span::current();
        let opened = runtime.spawn_blocking(move || {
            let store = span.in_scope(|| open(&self))?;
            let counterpart = match named {
                Some(named) => named,
                None => Counterpart::of(bound_to(&store)?, &self)?,
            };
            let tokens = store.take_opened();
            Ok::<_, Error>((self, store, counterpart, tokens))
        });
        let (options, store, counterpart, tokens) = opened.await.map_err(Error::of_task)??;
        let Counterpart { environment, server_key, client } = counterpart;
        let (tracker, inbox) = refresh::channel();
        let keys = Keys::new()?;
        let (dir, serves) = (options.place.path().to_owned(), options.serves_control);
        let serve = |core: &Weak<Core>, runtime: &Handle| match serves {
            true => Server::start(&dir, Weak::clone(core), runtime),
            false => Server::off(),
        };
        let core = Arc::new_cyclic(|core| {
            Core::new(
                store,
                client,
                options.clock,
                environment,
                server_key,
                options.auth_version,
                options.accepts_clear,
                options.lease_lifetime,
                options.windows,
                tracker,
                runtime.clone(),
                keys,
                serve(core, &runtime),
            )
        });
        let (events, keys) = (Arc::clone(&core.events), Arc::clone(&core.keys));
        core.store.watch(&core.clock, &core.server_clock, move |is_frozen| {
            match is_frozen {
                true => keys.shut(),
                false => keys.reopen(),
            }
            events.emit(|| if is_frozen { Event::Frozen } else { Event::Thawed });
        })?;
        for (record, secret) in tokens {
            let (lineage, is_revoked) = (record.lineage, record.is_revoked);
            core.keep_on(record, secret);
            if is_revoked && core.store.check_writable().is_ok() {
                core.revocations.go_on(&core, lineage, Duration::ZERO);
            }
        }
        if core.store.check_writable().is_ok() {
            let unended = core.store.unended()?;
            unended.into_iter().for_each(|lineage| core.retirements.go_on(&core, lineage));
        }
        let renew = Arc::clone(&core) as Arc<dyn Renew>;
        let clock = Arc::clone(&core) as Arc<dyn Clock>;
        let refresher = Refresher::start(inbox, renew, clock, &core.runtime);
        let reconciler = Reconciler::start(&core, options.reconcile_every, &core.runtime);
        let hands = Arc::new(Hands::of(&core));
        let refresher = Arc::new(refresher);
        Ok(Vault { core, hands, refresher, reconciler: Arc::new(reconciler) })
    }
}

/// The BitGo that a vault speaks to.
struct Counterpart {
    environment: Environment,
    server_key: EcdhPublicKey,
    client: Client,
}

impl Counterpart {
    fn of(environment: Environment, options: &VaultBuilder) -> Result<Self, Error> {
        let server_key = EcdhPublicKey::parse(environment.server_xpub())
            .map_err(Error::crypto("environment's server key"))?;
        let client = Client::new(&environment, Arc::clone(&options.clock), options.client.clone())?;
        Ok(Self { environment, server_key, client })
    }
}

/// What the vault itself says. One that is damaged may have lost it.
fn bound_to(store: &Store) -> Result<Environment, StoreError> {
    match store.environment() {
        Err(_) if store.damage().is_some() => Err(StoreError::NoEnvironment),
        told => told,
    }
}

/// Uses the runtime's timer and reactor once, in a task that panics where one is switched off:
/// better there and now than in the renewal that needs them.
async fn use_drivers() {
    tokio::time::sleep(Duration::ZERO).await;
    drop(tokio::net::UnixDatagram::unbound());
}
