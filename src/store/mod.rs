//! The sealed database: what is kept on disk, and what `Ok` means.
//!
//! ```text
//! <vault>/header     format, KDF costs, salt, wrapped data keys (header.rs)
//! <vault>/db.<epoch> sled: sealed records under opaque names (database.rs, record.rs)
//! <vault>/anchor     which state of all that is the last (anchor.rs); it may lie elsewhere
//! <vault>/LOCK       held by the one process that has the vault open (lock.rs)
//! <vault>/CREATING   present only while the vault is being made (a kill may leave it)
//! <vault>/RESERVE    room for opening it on a full disk (reserve.rs)
//! <vault>/FREEZE     the kill switch, once somebody has pressed it (freeze.rs)
//!
//! sled's key = tree (1) ‖ name (16)      its value = a sealed record (crypto/aead.rs); of a token
//!                                        those of four trees, each sealed by itself (bundle.rs)
//! tree          0 meta    1 tokens (6 secrets, 7 ledger, 8 grants)  2 accounts  3 audit     4 index     5 head
//! name made of  "binding" lineage                                   the user    number (8)  number (4)  "head"
//! row           Binding   TokenRow, SecretRow, LedgerRow, GrantRow  AccountRow  AuditRow    IndexRow    HeadRow
//!
//! Besides: 0 "frozen" (freeze.rs), "clock" (clock_offset.rs), "renewal" and "reissue" ‖ lineage (renewals.rs, reissues.rs); 3 "open" ‖ token id, "pruned"; 9 segments, by number (8) (audit/mod.rs).
//! ```
//!
//! A lineage is random and is the name as it is; a name made of text is a keyed hash (keys.rs), which
//! the audit log's numbers, big-endian, count as. Rows are drawn in record.rs, a backup in backup/mod.rs.
//!
//! A commit is durable when it answers: sled's log is flushed and its file synced, then the anchor
//! (committer.rs). At open all values must add up to the head (members.rs), and the head must be
//! the anchor's: what is missing, replaced or rolled back is noticed there (damage.rs).
//! sled stands in `database.rs` and nowhere else.

mod accounts;
mod anchor;
mod audit;
pub(crate) mod backup;
mod batch;
mod blobs;
mod bundle;
mod clock_offset;
mod committer;
mod copies;
mod damage;
mod database;
mod derivation;
mod directory;
mod disk;
mod doctor;
mod epoch;
mod error;
mod file_system;
mod freeze;
mod grants;
mod head;
mod header;
mod index;
mod keys;
mod ledger;
mod lock;
mod members;
mod opening;
mod passphrase;
mod record;
mod reissues;
mod rekey;
mod renewals;
mod repair;
mod reserve;
mod rules;
mod snapshot;
mod ticker;
mod tokens;

#[cfg(test)]
mod tests;

pub(crate) use accounts::Account;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use anchor::recode_anchor;
pub use audit::{AuditAction, AuditChain, AuditEntry, verify_audit_lines};
pub use damage::{Damage, DamagedToken, DamagedTree};
pub(crate) use derivation::derive_key;
pub(crate) use directory::Place;
pub use doctor::{Contents, HeaderReport, Report};
pub use error::StoreError;
pub use file_system::FileSystem;
pub(crate) use freeze::freeze_at;
pub(crate) use grants::Grant;
pub(crate) use header::Header;
pub(crate) use ledger::LedgerError;
pub use lock::Holder;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use lock::recode_holder;
pub(crate) use opening::Opening;
#[cfg(any(test, feature = "test-util"))]
pub(crate) use record::{recode_rows, recode_token_info};
pub(crate) use reissues::{Minted, Reissue, Retired};
pub use repair::Repair;
pub(crate) use tokens::{SealedSecret, TokenRecord, TokenSecret};

use crate::clock::Clock;
use crate::crypto::{CryptoError, DataKey, RecordCipher, VaultId};
use crate::environment::Environment;
use crate::locked::{LockLevel, Locked};
use crate::secret::SecretBytes;
use crate::server_clock::ServerClock;
use chrono::{DateTime, Utc};
use committer::{Committer, Ticket};
use disk::Disk;
use getrandom::SysRng;
use head::Head;
use keys::Keys;
use lock::LockFile;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use ticker::{Round, Ticker};

/// The mark of a creation under way.
const CREATING: &str = "CREATING";
/// Every so many rounds what was noted is written: within a second of its being noted.
const FLUSH_ROUNDS: u32 = 3;
/// Seals granted first after opening, and the most granted at a time.
const SEALS_FIRST: u64 = 1 << 10;
const SEALS_BLOCK: u64 = 1 << 20;
/// Seals after which a data key is replaced, and the most under one.
const SEALS_REKEY: u64 = SEALS_MAX - (SEALS_BLOCK << 4);
const SEALS_MAX: u64 = 1 << 31;

/// The trees of records, each sealed under a key of its own. Their numbers stand on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tree {
    /// What the vault is bound to.
    Meta,
    /// What is known of each token, by lineage.
    Tokens,
    /// The keys that tokens are issued to, by account.
    Accounts,
    /// Exposures and changes of policy, by number.
    Audit,
    /// Which tokens there are, by segment.
    Index,
    /// What all others add up to.
    Head,
    /// The tokens themselves, by lineage.
    Secrets,
    /// What was spent, by lineage.
    Ledger,
    /// What tokens are renewed with, by lineage, where that is more than the token.
    Grants,
    /// The audit log's older entries, many to a record. Its chain vouches for them.
    Segments,
}

impl Tree {
    /// Those whose values the head vouches for.
    const KEPT: [Self; 5] = [Self::Meta, Self::Tokens, Self::Accounts, Self::Audit, Self::Index];
    const ALL: [Self; 10] = [
        Self::Meta,
        Self::Tokens,
        Self::Accounts,
        Self::Audit,
        Self::Index,
        Self::Head,
        Self::Secrets,
        Self::Ledger,
        Self::Grants,
        Self::Segments,
    ];
    /// Those whose records stand with their token's.
    const OF_TOKENS: [Self; 4] = [Self::Tokens, Self::Secrets, Self::Ledger, Self::Grants];
    /// Of these, those that hold a record of every token.
    const OF_EVERY_TOKEN: [Self; 3] = [Self::Tokens, Self::Secrets, Self::Ledger];

    /// The tree among whose values its records stand.
    const fn home(self) -> Self {
        match self {
            Self::Secrets | Self::Ledger | Self::Grants => Self::Tokens,
            other => other,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Tokens => "tokens",
            Self::Secrets => "secrets",
            Self::Accounts => "accounts",
            Self::Ledger => "ledger",
            Self::Grants => "grants",
            Self::Audit => "audit",
            Self::Index => "index",
            Self::Head => "head",
            Self::Segments => "segments",
        }
    }

    /// The tree of records that bears this number in a backup.
    fn numbered(number: u8) -> Result<Self, StoreError> {
        let unknown = StoreError::DamagedBackup { what: "a tree that is not known" };
        let numbered = Self::ALL.get(usize::from(number)).copied();
        numbered.filter(|tree| ![Self::Index, Self::Head].contains(tree)).ok_or(unknown)
    }

    /// Its name with zeros after it, as MACs take it.
    fn padded(self) -> [u8; 11] {
        let mut padded = [0; 11];
        padded.iter_mut().zip(self.name().bytes()).for_each(|(place, byte)| *place = byte);
        padded
    }
}

/// The name of a value within its tree, on disk.
type Name = [u8; 16];

/// What a record is called, whatever the epoch: its name on disk is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// A random id.
    Id([u8; 16]),
    /// A text that must not be read on disk.
    Text(Vec<u8>),
}

impl Key {
    /// The key of a record that was found: what its name does not tell is told by the row.
    fn of(keys: &Keys, tree: Tree, name: Name, row: &[u8]) -> Result<Self, StoreError> {
        let key = match tree {
            Tree::Tokens | Tree::Secrets | Tree::Ledger | Tree::Grants => Self::Id(name),
            Tree::Meta => {
                let of_row = [renewals::key_of(row), reissues::key_of(row)];
                let known = [Self::binding(), freeze::key(), clock_offset::key()].into_iter();
                let mut known = known.chain(of_row.into_iter().flatten());
                let known = known.find(|key| keys.name(tree, key) == name);
                known.ok_or(StoreError::unreadable(tree, "a record is not known"))?
            }
            Tree::Head => Head::key(),
            Tree::Accounts => accounts::account_key(row)?,
            Tree::Audit | Tree::Segments => audit::key_of(tree, row)?,
            Tree::Index => index::segment_key(row)?,
        };
        match keys.name(tree, &key) == name {
            true => Ok(key),
            false => Err(StoreError::unreadable(tree, "a record stands under another's name")),
        }
    }

    /// As it stands in a backup: 0 ‖ id, or 1 ‖ text.
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Id(id) => [&[0], &id[..]].concat(),
            Self::Text(text) => [&[1], &text[..]].concat(),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let unreadable = StoreError::DamagedBackup { what: "the key of a record" };
        match bytes.split_first() {
            Some((0, id)) => Ok(Self::Id(id.try_into().map_err(|_| unreadable)?)),
            Some((1, text)) => Ok(Self::Text(text.into())),
            _ => Err(unreadable),
        }
    }

    fn binding() -> Self {
        Self::Text(b"binding".to_vec())
    }
}

/// One change to one record; without a row it is removed.
struct Write {
    tree: Tree,
    key: Key,
    row: Option<SecretBytes>,
}

impl Write {
    fn put(tree: Tree, key: Key, row: &impl bincode::Encode) -> Result<Self, StoreError> {
        Ok(Self { tree, key, row: Some(record::encode(row)?) })
    }

    fn remove(tree: Tree, key: Key) -> Self {
        Self { tree, key, row: None }
    }
}

/// An open vault directory.
pub(crate) struct Store {
    // First, so that what they do ends before what they do it with.
    tickers: Mutex<Vec<Ticker>>,
    disk: Arc<Disk>,
    /// Seals tokens in memory, under a key that is never written.
    memory: Locked<RecordCipher>,
    /// Held over a whole change of the passphrase, its key derivations included: one at a time.
    changing: Mutex<()>,
    ledger: Arc<ledger::Books>,
    /// Held over what reads an account and writes it again: else a key or a seed would come back
    /// that was replaced or forgotten meanwhile.
    accounts: Mutex<()>,
    /// What opening has read, until it is taken.
    opened: Mutex<Vec<(TokenRecord, SealedSecret)>>,
    audit: Arc<audit::Log>,
    freeze: Arc<freeze::Freeze>,
    damage: Option<Damage>,
    committer: Arc<Committer>,
    // Last, so that it is released after sled has let go of its files.
    _lock: LockFile,
}

impl Store {
    /// What is wrong with the database, if it was opened all the same.
    pub(crate) fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// How well the keys are kept in memory.
    pub(crate) fn lock_level(&self) -> LockLevel {
        self.disk.epoch().keys.lock_level()
    }

    /// Whether writing has not failed so far: asked before something is made that must be kept.
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        Ok(self.disk.check_writable()?)
    }

    /// Seals everything under a new data key, which also makes the database small again. `Ok`
    /// means that the old key opens nothing on disk any more. Commits wait meanwhile.
    pub(crate) fn rekey(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.append_audit(AuditAction::Rekeyed, None, None, now)?;
        self.committer.alone(committer::Writer::rekey)
    }

    /// As [`Store::rekey`]. `Ok` also means that the vault's directory holds no copy of what was
    /// sealed before: neither the old database nor what a repair has kept aside.
    pub(crate) fn shred(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.rekey(now)?;
        let dir = self.disk.directory.path();
        match doctor::leftovers(dir, Some(self.disk.epoch().number))?.first() {
            None => Ok(()),
            Some(name) => Err(StoreError::CopyLeft { path: dir.join(name) }),
        }
    }

    /// Sets the threads to work that look for FREEZE and write what may come later than it happens,
    /// and tells `frozen` when the vault freezes (`true`) or thaws. They end with the store.
    pub(crate) fn watch(
        &self,
        clock: &Arc<dyn Clock>,
        server_clock: &Arc<ServerClock>,
        frozen: impl Fn(bool) + Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        self.freeze.listen(frozen);
        if self.damage.is_none() {
            self.ledger.settle_crash();
        }
        let (freeze, now) = (Arc::clone(&self.freeze), Arc::clone(clock));
        let watch = Ticker::start("bitgo-vault-watch", move |round| {
            if round == Round::Regular {
                freeze.tick(now.now());
            }
        });
        let (log, now) = (Arc::clone(&self.audit), Arc::clone(clock));
        let (ledger, mut rounds) = (Arc::clone(&self.ledger), 0_u32);
        let (server_clock, mut offset) = (Arc::clone(server_clock), self.kept_offset());
        // What may be written later than it happens is written here, apart from the watch over FREEZE,
        // which a commit must not hold up.
        let flush = Ticker::start("bitgo-vault-flush", move |round| {
            rounds = rounds.wrapping_add(1);
            if round == Round::Regular {
                ledger.post();
            }
            if round == Round::Last || rounds.is_multiple_of(FLUSH_ROUNDS) {
                // What cannot be written waits, and whoever cannot write is told elsewhere.
                let _ = log.flush(now.now(), round == Round::Last);
                let _ = offset.keep(server_clock.offset_ms());
            }
        });
        lock(&self.tickers).extend([watch?, flush?]);
        Ok(())
    }

    /// How many records each tree has, by its name.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn count_records(
        &self,
    ) -> Result<std::collections::BTreeMap<&'static str, usize>, StoreError> {
        let epoch = self.disk.epoch();
        let mut counts: std::collections::BTreeMap<_, _> =
            Tree::ALL.map(|tree| (tree.name(), 0)).into();
        for home in Tree::KEPT.into_iter().chain([Tree::Head, Tree::Segments]) {
            for entry in epoch.values(home) {
                let value = entry?.1;
                for (tree, _) in bundle::Bundle::split(home, &value)?.records(home) {
                    *counts.entry(tree.name()).or_default() += 1;
                }
            }
        }
        Ok(counts)
    }

    /// Makes the writes durable, all or none; `Ok` means they survive a crash.
    fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.submit(writes).wait()
    }

    /// Queues the writes in order; they are durable when the ticket says so.
    fn submit(&self, writes: Vec<Write>) -> Ticket {
        self.committer.submit(writes, None)
    }

    /// Binds a new vault to its environment.
    fn bind(&self, environment: &Environment) -> Result<(), StoreError> {
        let binding = record::Binding::of(environment);
        self.commit(vec![Write::put(Tree::Meta, Key::binding(), &binding)?])
    }

    /// The environment that the vault is bound to.
    pub(crate) fn environment(&self) -> Result<Environment, StoreError> {
        let unreadable = |_| StoreError::unreadable(Tree::Meta, "the binding cannot be read");
        self.binding()?.environment().map_err(unreadable)
    }

    /// Refuses an environment that the vault is not bound to. Without one it need only be bound.
    fn check_binding(&self, environment: Option<&Environment>) -> Result<(), StoreError> {
        let bound = self.binding()?;
        match environment.is_none_or(|environment| bound == record::Binding::of(environment)) {
            true => Ok(()),
            false => Err(StoreError::OtherEnvironment { bound_to: bound.root_uri }),
        }
    }

    fn binding(&self) -> Result<record::Binding, StoreError> {
        let missing = StoreError::unreadable(Tree::Meta, "the binding record is missing");
        self.disk.epoch().find(Tree::Meta, &Key::binding())?.ok_or(missing)
    }
}

impl Drop for Store {
    /// What nobody drew is returned; the committer, which goes next, writes it.
    fn drop(&mut self) {
        self.ledger.return_allotments();
    }
}

fn sync(path: &Path) -> Result<(), StoreError> {
    Ok(fs::File::open(path)?.sync_all()?)
}

/// The guard even where another thread panicked: the state behind our locks is replaced whole, never half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cipher for what is sealed in memory, under a key of its own.
fn memory_cipher() -> Result<Locked<RecordCipher>, StoreError> {
    let (vault_id, key) = (VaultId::random(&mut SysRng)?, DataKey::generate(&mut SysRng)?);
    Ok(crate::crypto::stack::wiped(|| Locked::new(key.record_cipher(&vault_id, 0, "memory")))?)
}

impl From<CryptoError> for StoreError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}
