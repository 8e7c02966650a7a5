//! The sealed database: what is kept on disk, and what `Ok` means.
//!
//! ```text
//! <vault>/header     format, KDF costs, salt, wrapped data key (header.rs)
//! <vault>/db.<epoch> sled: trees of sealed records under opaque names (record.rs)
//! <vault>/LOCK       held by the one process that has the vault open (lock.rs)
//! <vault>/CREATING   present only while the vault is being made (a kill may leave it)
//! <vault>/RESERVE    room for opening it on a full disk (reserve.rs)
//! ```
//!
//! A commit is durable when it answers: sled's log is flushed and the file synced, since
//! sled's own flush does not sync (committer.rs). sled stands in this module and nowhere else.

mod audit;
mod blobs;
mod committer;
mod directory;
mod error;
mod file_system;
mod header;
mod ledger;
mod lock;
mod passphrase;
mod record;
mod reserve;
mod snapshot;
mod tokens;

#[cfg(test)]
mod sled_faults;
#[cfg(test)]
mod tests;

pub use audit::AuditAction;
pub(crate) use directory::Place;
pub use error::StoreError;
pub use file_system::FileSystem;
pub(crate) use header::Header;
pub(crate) use ledger::LedgerError;
pub use lock::Holder;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use record::{recode_rows, recode_token_info};
pub(crate) use tokens::{Account, SealedSecret, TokenRecord, TokenSecret};

use crate::crypto::stack::{wiped, wiped_record};
use crate::crypto::{
    CryptoError, DataKey, KdfParams, KeyEncryptionKey, NameKey, RecordCipher, Salt, VaultId,
    key_encryption_key,
};
use crate::environment::Environment;
use crate::locked::{LockLevel, Locked};
use crate::secret::Passphrase;
use chrono::{DateTime, Utc};
use committer::{Committer, Ticket};
use directory::Directory;
use getrandom::SysRng;
use lock::LockFile;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The mark of a creation under way.
const CREATING: &str = "CREATING";
/// Seals granted first after opening, and the most granted at a time.
const SEALS_FIRST: u64 = 1 << 10;
const SEALS_BLOCK: u64 = 1 << 20;
/// The most seals under one data key.
const SEALS_MAX: u64 = 1 << 31;

/// The trees of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tree {
    /// What the vault is bound to.
    Meta,
    /// What is known of each token, by lineage.
    Tokens,
    /// The tokens themselves, by lineage.
    Secrets,
    /// The keys that tokens are issued to, by account.
    Accounts,
    /// What was spent, by lineage.
    Ledger,
    /// Exposures and changes of policy, by number.
    Audit,
}

impl Tree {
    const ALL: [Self; 6] =
        [Self::Meta, Self::Tokens, Self::Secrets, Self::Accounts, Self::Ledger, Self::Audit];

    fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Tokens => "tokens",
            Self::Secrets => "secrets",
            Self::Accounts => "accounts",
            Self::Ledger => "ledger",
            Self::Audit => "audit",
        }
    }
}

/// The name of a record within its tree.
type Name = [u8; 16];

/// One change to one record; `None` removes it.
struct Write {
    tree: Tree,
    name: Name,
    value: Option<Vec<u8>>,
}

/// An open vault directory.
pub(crate) struct Store {
    ciphers: Locked<[RecordCipher; Tree::ALL.len()]>,
    names: NameKey,
    /// Guards the count of seals under the data key; held over each rewrite of the header, so that
    /// none writes back what another has replaced.
    header: Mutex<Sealing>,
    /// Held over a whole change of the passphrase, its key derivations included: one at a time.
    changing: Mutex<()>,
    dir: PathBuf,
    trees: Vec<sled::Tree>,
    ledger: ledger::Accounts,
    audit: Mutex<audit::Head>,
    committer: Committer,
    // Last, so that it is released after sled has let go of its files.
    _lock: LockFile,
}

/// The header and the keys that a new seal budget needs.
struct Sealing {
    header: Header,
    key_encryption_key: KeyEncryptionKey,
    data_key: DataKey,
    used: u64,
    used_at_open: u64,
}

impl Store {
    /// Makes a vault in a place that must not hold one.
    pub(crate) fn create(
        place: &Place,
        passphrase: &Passphrase,
        kdf: KdfParams,
        environment: &Environment,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let directory = Directory::make(place)?;
        let dir = directory.path();
        let lock = LockFile::take(&directory, now)?;
        if dir.join(header::FILE).exists() {
            return Err(StoreError::AlreadyExists { path: dir.into() });
        }
        let (creating, db) = (dir.join(CREATING), database(dir, 0));
        if db.exists() {
            if !creating.exists() {
                return Err(StoreError::DamagedHeader { what: "it is missing beside a database" });
            }
            fs::remove_dir_all(&db)?;
        }
        directory.file(CREATING)?;
        sync(dir)?;
        fs::DirBuilder::new().mode(0o700).create(&db)?;

        let rng = &mut SysRng;
        let (vault_id, salt) = (VaultId::random(rng)?, Salt::random(rng)?);
        let key_encryption_key = key_encryption_key(passphrase, &salt, kdf)?;
        let data_key = DataKey::generate(rng)?;
        let mut header = Header::new(vault_id, kdf, salt);
        header.seal(&key_encryption_key, &data_key, SEALS_FIRST, rng)?;
        let store = Self::start(dir, header, 0, key_encryption_key, data_key, lock)?;
        directory.close_database(&database_name(0))?;
        store.bind(environment)?;
        // All that the header vouches for is on disk before the header is.
        for entry in fs::read_dir(&db)? {
            sync(&entry?.path())?;
        }
        sync(&db)?;
        sync(dir)?;
        header.prepare(dir)?.install()?;
        fs::remove_file(&creating)?;
        sync(dir)?;
        if let Some(parent) = fs::canonicalize(dir)?.parent() {
            // A parent we may not read was made durable by whoever owns it.
            let _ = sync(parent);
        }
        let _ = reserve::make(&directory);
        Ok(store)
    }

    /// Opens the vault in a place.
    pub(crate) fn open(
        place: &Place,
        passphrase: &Passphrase,
        environment: &Environment,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let dir = place.path();
        if !dir.join(header::FILE).exists() && !database(dir, 0).exists() {
            return Err(StoreError::NotFound { path: dir.into() });
        }
        let directory = Directory::open(place)?;
        let lock = LockFile::take(&directory, now)?;
        let creating = dir.join(CREATING);
        if creating.exists() && !dir.join(header::FILE).exists() {
            return Err(StoreError::NotFound { path: dir.into() });
        }
        let header = Header::read(dir)?;
        let key_encryption_key = key_encryption_key(passphrase, &header.salt, header.kdf)?;
        let data_key = header.unseal(&key_encryption_key)?;
        if creating.exists() {
            // The header came last, so the vault is whole; the mark must not outlive it.
            fs::remove_file(&creating)?;
            sync(dir)?;
        }
        if !database(dir, header.epoch).exists() {
            return Err(StoreError::Damaged { tree: "all", what: "the database is missing" });
        }
        let database = database_name(header.epoch);
        directory.close_database(&database)?;
        // All seals that were granted count as used: how many were is not known.
        let mut store = Self::start(dir, header, header.seals, key_encryption_key, data_key, lock)?;
        directory.close_database(&database)?;
        store.check_binding(environment)?;
        store.load_ledger()?;
        store.load_audit_head()?;
        // Nothing is missing of what it held.
        snapshot::forget(&dir.join(database));
        if !reserve::make(&directory) {
            store.committer.fail("the disk was full when it was opened".into());
        }
        Ok(store)
    }

    fn start(
        dir: &Path,
        header: Header,
        used: u64,
        key_encryption_key: KeyEncryptionKey,
        data_key: DataKey,
        lock: LockFile,
    ) -> Result<Self, StoreError> {
        let (vault_id, epoch) = (header.vault_id, header.epoch);
        // The ciphers are expanded on the stack and moved in.
        let ciphers = wiped(|| {
            let cipher = |tree: Tree| data_key.record_cipher(&vault_id, epoch, tree.name());
            Locked::new(Tree::ALL.map(cipher))
        })?;
        let names = data_key.name_key(&vault_id, epoch)?;
        let path = database(dir, epoch);
        let db = reserve::or_without(dir, || snapshot::open_database(&path))?;
        let trees = Tree::ALL
            .iter()
            .map(|tree| db.open_tree(tree.name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(StoreError::sled)?;
        let committer = Committer::start(db, trees.clone(), &path.join("db"))?;
        Ok(Self {
            ciphers,
            names,
            header: Mutex::new(Sealing {
                header,
                key_encryption_key,
                data_key,
                used,
                used_at_open: used,
            }),
            changing: Mutex::default(),
            dir: dir.into(),
            trees,
            ledger: ledger::Accounts::default(),
            audit: Mutex::default(),
            committer,
            _lock: lock,
        })
    }

    /// How well the keys are kept in memory.
    pub(crate) fn lock_level(&self) -> LockLevel {
        self.ciphers.level()
    }

    /// Seals a record for its place.
    fn seal(
        &self,
        tree: Tree,
        name: Name,
        row: &impl bincode::Encode,
    ) -> Result<Write, StoreError> {
        self.count_seal()?;
        let plaintext = record::encode(row)?;
        let cipher = &self.ciphers[tree as usize];
        let sealed = wiped_record(|| cipher.seal(&name, &plaintext, &mut SysRng))?;
        Ok(Write { tree, name, value: Some(sealed) })
    }

    /// Opens a sealed record of its place.
    fn unseal<T: bincode::Decode<()>>(
        &self,
        tree: Tree,
        name: &Name,
        sealed: &[u8],
    ) -> Result<T, StoreError> {
        let damaged = |what| StoreError::Damaged { tree: tree.name(), what };
        let cipher = &self.ciphers[tree as usize];
        let plaintext = wiped_record(|| cipher.open(name, sealed))
            .map_err(|_| damaged("a record does not open"))?;
        record::decode(&plaintext).map_err(|_| damaged("a record opens but cannot be read"))
    }

    /// Counts one seal; once the granted ones are used up, more are made durable first.
    ///
    /// AES-GCM with random nonces is safe for 2^32 messages under one key (NIST SP 800-38D,
    /// section 8.3); sealing stops at half of that. A crash loses what was granted and not used,
    /// so the first grant after opening is small, and each further one as large as all before it.
    fn count_seal(&self) -> Result<(), StoreError> {
        let mut sealing = lock(&self.header);
        if sealing.used >= SEALS_MAX {
            return Err(StoreError::SealsExhausted);
        }
        if sealing.used >= sealing.header.seals {
            let since_open = sealing.used - sealing.used_at_open;
            let granted = sealing.used + since_open.clamp(SEALS_FIRST, SEALS_BLOCK);
            self.grant_seals(&mut sealing, granted)?;
        }
        sealing.used += 1;
        Ok(())
    }

    fn grant_seals(&self, sealing: &mut Sealing, seals: u64) -> Result<(), StoreError> {
        let mut header = sealing.header.next();
        header.seal(&sealing.key_encryption_key, &sealing.data_key, seals, &mut SysRng)?;
        self.replace_header(sealing, header)
    }

    /// Makes `header` the one in use, durably. [`StoreError::ReadOnly`] if it is not known whether
    /// the disk holds it: then no other is written. After any other error nothing has changed.
    fn replace_header(&self, sealing: &mut Sealing, header: Header) -> Result<(), StoreError> {
        self.check_writable()?;
        self.install_header(sealing, header, header.prepare(&self.dir)?)
    }

    fn install_header(
        &self,
        sealing: &mut Sealing,
        header: Header,
        prepared: header::Prepared,
    ) -> Result<(), StoreError> {
        prepared.install().map_err(|error| self.committer.fail(format!("header: {error}")))?;
        sealing.header = header;
        Ok(())
    }

    /// Whether writing has not failed so far: asked before something is made that must be kept.
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        self.committer.check_writable()
    }

    /// The sealed bytes of one record, if it is there.
    fn get(&self, tree: Tree, name: &Name) -> Result<Option<sled::IVec>, StoreError> {
        self.trees[tree as usize].get(name).map_err(StoreError::sled)
    }

    /// All records of a tree, sealed.
    fn records(
        &self,
        tree: Tree,
    ) -> impl Iterator<Item = Result<(Name, sled::IVec), StoreError>> + '_ {
        self.trees[tree as usize].iter().map(move |entry| {
            let (key, value) = entry.map_err(StoreError::sled)?;
            let name = Name::try_from(key.as_ref())
                .map_err(|_| StoreError::Damaged { tree: tree.name(), what: "a record's name" })?;
            Ok((name, value))
        })
    }

    /// Makes the writes durable, all or none; `Ok` means they survive a crash.
    fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.submit(writes).wait()
    }

    /// Queues the writes in order; they are durable when the ticket says so.
    fn submit(&self, writes: Vec<Write>) -> Ticket {
        self.committer.submit(writes)
    }

    fn meta_name(&self) -> Name {
        self.names.name("meta", b"binding")
    }

    /// Binds a new vault to its environment.
    fn bind(&self, environment: &Environment) -> Result<(), StoreError> {
        let binding = record::Binding::of(environment);
        self.commit(vec![self.seal(Tree::Meta, self.meta_name(), &binding)?])
    }

    fn check_binding(&self, environment: &Environment) -> Result<(), StoreError> {
        let name = self.meta_name();
        let sealed = self
            .get(Tree::Meta, &name)?
            .ok_or(StoreError::Damaged { tree: "meta", what: "the binding record is missing" })?;
        let bound: record::Binding = self.unseal(Tree::Meta, &name, &sealed)?;
        if bound == record::Binding::of(environment) {
            Ok(())
        } else {
            Err(StoreError::OtherEnvironment { bound_to: bound.root_uri })
        }
    }
}

impl Drop for Store {
    /// Gives back the seals that were granted and not used. Failing that, they count as used.
    fn drop(&mut self) {
        let mut sealing = lock(&self.header);
        let used = sealing.used;
        // A creation that failed has no header yet, and must not get one here.
        if used < sealing.header.seals
            && !self.dir.join(CREATING).exists()
            && let Err(error) = self.grant_seals(&mut sealing, used)
        {
            tracing::warn!(%error, "the seals that were not used are lost");
        }
    }
}

fn database(dir: &Path, epoch: u32) -> PathBuf {
    dir.join(database_name(epoch))
}

fn database_name(epoch: u32) -> String {
    format!("db.{epoch}")
}

fn sync(path: &Path) -> Result<(), StoreError> {
    Ok(fs::File::open(path)?.sync_all()?)
}

/// The guard even where another thread panicked: the state behind our locks is replaced whole, never half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<CryptoError> for StoreError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}
