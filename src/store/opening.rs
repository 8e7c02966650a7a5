//! Making a vault, and opening one: nothing is believed that the anchor does not vouch for.
//!
//! ```text
//! records   add up to the head
//! head      is the anchor's, or the one after it     (a kill before the anchor's write)
//! header    its generation is the anchor's, or the one after it     (as above)
//! ```
//!
//! What a kill left half done is finished only after all three hold.

use super::anchor::{self, Anchor, State};
use super::audit::Log;
use super::committer::{Committer, Seals, Writer};
use super::damage::Found;
use super::database::{self, Database};
use super::directory::Directory;
use super::disk::{Disk, Keyring, Refused};
use super::epoch::Epoch;
use super::freeze::Freeze;
use super::index::Index;
use super::keys::Keys;
use super::ledger::Books;
use super::lock::LockFile;
use super::repair::{Plan, Repair, read_backup};
use super::{
    AuditAction, CREATING, Header, Place, SEALS_FIRST, Store, StoreError, Tree, derive_key, header,
    lock, memory_cipher, rekey, reserve, snapshot, sync,
};
use crate::crypto::{DataKey, KdfParams, RecordCipher, Salt, VaultId};
use crate::environment::Environment;
use crate::locked::Locked;
use crate::secret::Passphrase;
use chrono::{DateTime, Utc};
use getrandom::SysRng;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What is done about a vault that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It is refused.
    Whole,
    /// What is intact can be read, and nothing is written, be it damaged or not.
    Degraded,
    /// If it is only not the one its anchor knows, it is taken as it is, and spends nothing until
    /// it is reconciled.
    AcceptRollback,
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
        let may_replace = |anchor: &Path| match anchor.exists() {
            true => Err(StoreError::AnchorExists { path: anchor.into() }),
            false => Ok(()),
        };
        Self::make(place, passphrase, kdf, now, may_replace, |store| store.bind(environment))
    }

    /// Makes a vault of what `fill` commits. `may_replace` says whether an anchor that may be there
    /// already is to be replaced. Where it fails, what it made is removed.
    pub(super) fn make(
        place: &Place,
        passphrase: &Passphrase,
        kdf: KdfParams,
        now: DateTime<Utc>,
        may_replace: impl FnOnce(&Path) -> Result<(), StoreError>,
        fill: impl FnOnce(&Self) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let was_there = fs::symlink_metadata(place.path()).is_ok();
        let made = Self::try_make(place, passphrase, kdf, now, may_replace, fill);
        made.inspect_err(|_| discard(place, was_there, now))
    }

    fn try_make(
        place: &Place,
        passphrase: &Passphrase,
        kdf: KdfParams,
        now: DateTime<Utc>,
        may_replace: impl FnOnce(&Path) -> Result<(), StoreError>,
        fill: impl FnOnce(&Self) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let directory = Directory::make(place)?;
        let dir = place.path();
        let lock_file = LockFile::take(&directory, now)?;
        if dir.join(header::FILE).exists() {
            return Err(StoreError::AlreadyExists { path: dir.into() });
        }
        let (creating, db) = (dir.join(CREATING), Database::path(dir, 0));
        let anchor_path = place.anchor_path();
        if Database::is_any_in(dir) && !creating.exists() {
            return Err(StoreError::DamagedHeader { what: "it is missing beside a database" });
        }
        // Held meanwhile: who has the anchor open must not lose it unseen.
        let _replaced = anchor::hold(&anchor_path)?;
        may_replace(&anchor_path)?;
        if db.exists() {
            // What an earlier creation left: no header ever vouched for it.
            fs::remove_dir_all(&db)?;
        }
        directory.file(CREATING)?;
        sync(dir)?;
        fs::DirBuilder::new().mode(0o700).create(&db)?;

        let rng = &mut SysRng;
        let (vault_id, salt) = (VaultId::random(rng)?, Salt::random(rng)?);
        let key_encryption_key = derive_key(passphrase, &salt, kdf)?;
        let data_key = DataKey::generate(rng)?;
        let mut header = Header::new(vault_id, kdf, salt);
        header.seals = SEALS_FIRST;
        header.seal(&key_encryption_key, &data_key, None, rng)?;
        let epoch = Epoch::open(dir, 0, &data_key, &vault_id)?;
        directory.close_database(&Database::directory_name(0))?;
        let keyring = Keyring { header, key_encryption_key, data_key, before: None };
        // Until the vault is made, what has the anchor's name keeps it.
        let anchor = Anchor::make(&anchor::unfinished(&anchor_path), vault_id)?;
        let disk = Disk::new(directory, keyring, Some(anchor), epoch).creating();
        let (seals, memory) = (Seals::new(0, SEALS_FIRST), memory_cipher()?);
        let store = Self::start(disk, Found::default(), seals, memory, lock_file)?;
        fill(&store)?;
        // All that the header vouches for is on disk before the header is.
        database::sync_files(&db)?;
        sync(dir)?;
        store.disk.install_first_header(&anchor_path)?;
        fs::remove_file(&creating)?;
        sync(dir)?;
        if let Some(parent) = fs::canonicalize(dir)?.parent() {
            // A parent we may not read was made durable by whoever owns it.
            let _ = sync(parent);
        }
        let _ = reserve::make(&store.disk.directory);
        store.begin_frozen(now);
        Ok(store)
    }

    /// Opens the vault in a place, if it is whole. Without an environment, whichever it is bound to.
    pub(crate) fn open<'e>(
        place: &Place,
        passphrase: &Passphrase,
        environment: impl Into<Option<&'e Environment>>,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        Self::open_as(Opening::Whole, place, passphrase, environment, now)
    }

    /// Opens the vault in a place.
    pub(crate) fn open_as<'e>(
        opening: Opening,
        place: &Place,
        passphrase: &Passphrase,
        environment: impl Into<Option<&'e Environment>>,
        opened_at: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let Unlocked { directory, mut lock_file, keyring, epoch, anchor } =
            Unlocked::new(place, passphrase, opened_at)?;
        let memory = memory_cipher()?;
        let mut found = Found::examine(&epoch, &memory)?;
        let seals = Seals::new(keyring.header.seals, keyring.header.seals);
        let now = state(&found, &keyring.header);
        if let Some(mut damage) = found.damage.take() {
            // What is left of it may also be left of an older one.
            let judged = judge(&found, &anchor, now);
            damage.is_rolled_back = is_rolled_back(&judged) && !damage.head_is_lost;
            found.damage = Some(damage);
        }
        let (anchor, refused) = match (judge(&found, &anchor, now), opening) {
            (_, Opening::Degraded) => (None, None),
            (Ok(()), _) => (Some(anchor?), None),
            (Err(refused), Opening::Whole) => return Err(refused),
            (Err(refused), Opening::AcceptRollback) if found.damage.is_some() => {
                return Err(refused);
            }
            (Err(refused), Opening::AcceptRollback) => {
                let anchor = anchor.or_else(|_| replace_anchor(place, keyring.header.vault_id))?;
                (Some(anchor), Some(refused))
            }
        };
        let disk = Disk::new(directory, keyring, anchor, epoch);
        match &refused {
            _ if opening == Opening::Degraded => drop(disk.refuse(Refused::Damaged)),
            None => disk.finish(now)?,
            Some(_) => disk.believe(now),
        }
        // Only one that was cut off left budget reserved for a request that nobody tells of.
        let cut_off = match opening {
            // Nothing is written.
            Opening::Degraded => Vec::new(),
            _ if lock_file.settle() || found.log.is_cut_off() => found.cut_off(),
            _ => Vec::new(),
        };
        let store = Self::start(disk, found, seals, memory, lock_file)?;
        match store.check_binding(environment.into()) {
            // Told by the damage. Where nothing is written or spent, whoever unlocks it is believed.
            Err(StoreError::Unreadable { .. } | StoreError::DamagedDatabase { .. })
                if opening == Opening::Degraded && store.damage.is_some() => {}
            checked => checked?,
        }
        if refused.is_some() {
            // The anchor knows this vault from here on, and no ledger is believed.
            store.distrust_ledgers()?;
            store.append_audit(AuditAction::RollbackAccepted, None, None, opened_at)?;
        }
        if opening != Opening::Degraded && !reserve::make(&store.disk.directory) {
            store.disk.fail("the disk was full when it was opened".into());
        }
        store.begin_frozen(opened_at);
        if opening != Opening::Degraded {
            store.tell_of_gaps(&cut_off, opened_at);
        }
        Ok(store)
    }

    /// Makes a damaged vault whole, and opens it; `None` where there was nothing to mend.
    pub(crate) fn repair<'e>(
        place: &Place,
        passphrase: &Passphrase,
        environment: impl Into<Option<&'e Environment>>,
        backup: Option<&Path>,
        opened_at: DateTime<Utc>,
    ) -> Result<(Self, Option<Repair>), StoreError> {
        let environment = environment.into();
        let unlocked = Unlocked::new(place, passphrase, opened_at)?;
        let memory = memory_cipher()?;
        let mut found = Found::examine(&unlocked.epoch, &memory)?;
        let Some(mut damage) = found.damage.take() else {
            drop(unlocked);
            let store = Self::open(place, passphrase, environment, opened_at)?;
            return Ok((store, None));
        };
        let Unlocked { directory, lock_file, keyring, epoch, anchor } = unlocked;
        let vault_id = keyring.header.vault_id;
        let now = state(&found, &keyring.header);
        let judged = judge(&found, &anchor, now);
        damage.is_rolled_back = is_rolled_back(&judged) && !damage.head_is_lost;
        let is_last = judged.is_ok();
        let plan = Plan {
            trusts_tokens: is_last && !damage.befell(Tree::Tokens),
            backup: backup.map(|path| read_backup(path, passphrase, vault_id)).transpose()?,
            environment: environment.cloned(),
            damage,
        };
        if let Ok(anchor) = &anchor {
            // What is made whole follows the last that was written, and not what is left of it.
            let (mut head, _) = found.head.unwrap_or_default();
            head.sequence = anchor.state().sequence;
            found.head = Some((head, anchor.state().head));
        }
        let anchor = anchor.or_else(|_| replace_anchor(place, vault_id))?;
        let seals = Seals::new(keyring.header.seals, keyring.header.seals);
        let disk = Disk::new(directory, keyring, Some(anchor), epoch);
        let store = Self::start(disk, found, seals, memory, lock_file)?;
        let repair = store.committer.alone(move |writer| writer.repair(plan))?;
        // It is read as any other from here on.
        drop(store);
        let store = Self::open(place, passphrase, environment, opened_at)?;
        store.append_audit(AuditAction::Repaired, None, None, opened_at)?;
        Ok((store, Some(repair)))
    }

    /// Sets the writer to work. Nothing is written by that.
    fn start(
        disk: Disk,
        found: Found,
        seals: Seals,
        memory: Locked<RecordCipher>,
        lock_file: LockFile,
    ) -> Result<Self, StoreError> {
        let disk = Arc::new(disk);
        let Found { members, head, damage, tokens, books, log, .. } = found;
        let (head, head_hash) = head.unwrap_or_default();
        let index = Index::default();
        let writer = Writer { disk: Arc::clone(&disk), members, head, head_hash, seals, index };
        let committer = Arc::new(Committer::start(writer)?);
        let audit = Arc::new(Log::new(Arc::clone(&disk), Arc::clone(&committer), log, head.audit));
        let freeze = Arc::new(Freeze::new(Arc::clone(&disk), Arc::clone(&audit)));
        let ledger = Books::new(Arc::clone(&committer), Arc::clone(&freeze), books);
        Ok(Self {
            tickers: Mutex::default(),
            freeze,
            disk,
            memory,
            changing: Mutex::default(),
            ledger: Arc::new(ledger),
            accounts: Mutex::default(),
            opened: Mutex::new(tokens),
            audit,
            damage,
            committer,
            _lock: lock_file,
        })
    }
}

/// Removes what a creation left that failed, as far as that can be done: the next begins anew all the same.
fn discard(place: &Place, was_there: bool, now: DateTime<Utc>) {
    let (dir, creating) = (place.path(), place.path().join(CREATING));
    let Ok(lock_file) = Directory::open(place).and_then(|it| LockFile::take(&it, now)) else {
        return;
    };
    // A header vouches for what is there: that is a vault.
    if dir.join(header::FILE).exists() || !creating.exists() {
        return;
    }
    let _ = fs::remove_dir_all(Database::path(dir, 0));
    let _ = fs::remove_file(anchor::unfinished(&place.anchor_path()));
    let _ = fs::remove_file(creating);
    if !was_there {
        // While it is held: whoever opened it meanwhile sees that it is gone.
        let _ = fs::remove_file(dir.join(lock::FILE));
        drop(lock_file);
        let _ = fs::remove_dir(dir);
    }
}

/// A vault whose passphrase was right, and of whose records nothing is believed yet.
pub(super) struct Unlocked {
    directory: Directory,
    pub(super) keyring: Keyring,
    pub(super) epoch: Epoch,
    pub(super) anchor: Result<Anchor, StoreError>,
    // Last, so that it is released after the anchor and sled are.
    lock_file: LockFile,
}

impl Unlocked {
    pub(super) fn new(
        place: &Place,
        passphrase: &Passphrase,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let dir = place.path();
        if !dir.join(header::FILE).exists() && !Database::is_any_in(dir) {
            return Err(StoreError::NotFound { path: dir.into() });
        }
        let directory = Directory::open(place)?;
        let lock_file = LockFile::take(&directory, now)?;
        if dir.join(CREATING).exists() && !dir.join(header::FILE).exists() {
            return Err(StoreError::NotFound { path: dir.into() });
        }
        let header = Header::read(dir)?;
        let key_encryption_key = derive_key(passphrase, &header.salt, header.kdf)?;
        let (data_key, before) = header.unseal(&key_encryption_key)?;
        let (vault_id, number) = (header.vault_id, header.epoch);
        if !Database::path(dir, number).exists() {
            return Err(StoreError::DamagedDatabase { what: "it is missing" });
        }
        let database = Database::directory_name(number);
        directory.close_database(&database)?;
        let epoch = reserve::or_without(dir, || Epoch::open(dir, number, &data_key, &vault_id))?;
        directory.close_database(&database)?;
        let keys_before = match &before {
            Some((number, key)) => Some((*number, Keys::new(key, &vault_id, *number)?)),
            None => None,
        };
        let open_anchor = |path: &Path| {
            Anchor::open(path, vault_id, |asked| match &keys_before {
                Some((before, keys)) if *before == asked => Some(keys),
                _ => (asked == number).then_some(&epoch.keys),
            })
        };
        let path = place.anchor_path();
        let mut anchor = open_anchor(&path);
        if anchor.is_err()
            && dir.join(CREATING).exists()
            && let Ok(first) = open_anchor(&anchor::unfinished(&path))
        {
            // The kill came between the vault's header and its anchor's name.
            Anchor::install(&path)?;
            anchor = Ok(first);
        }
        let keyring = Keyring { header, key_encryption_key, data_key, before };
        Ok(Self { directory, lock_file, keyring, epoch, anchor })
    }
}

/// Makes an anchor where there is none of this vault, nor of another.
fn replace_anchor(place: &Place, vault_id: VaultId) -> Result<Anchor, StoreError> {
    let path = place.anchor_path();
    anchor::check_replaceable(&path, vault_id)?;
    Anchor::make(&path, vault_id)
}

/// What the anchor should say of what was found.
pub(super) fn state(found: &Found, header: &Header) -> State {
    let (head, hash) = found.head.unwrap_or_default();
    State {
        sequence: head.sequence,
        head: hash,
        generation: header.generation,
        epoch: header.epoch,
        audit: head.audit.last,
    }
}

fn is_rolled_back(judged: &Result<(), StoreError>) -> bool {
    matches!(judged, Err(StoreError::RolledBack { .. }))
}

/// Whether what was found adds up, and is the last that the anchor knows of, or the one after it.
pub(super) fn judge(
    found: &Found,
    anchor: &Result<Anchor, StoreError>,
    now: State,
) -> Result<(), StoreError> {
    if let Some(damage) = &found.damage {
        return Err(StoreError::Damaged { damage: Box::new(damage.clone()) });
    }
    let last = match anchor {
        Ok(anchor) => anchor.state(),
        Err(StoreError::NoAnchor { path }) => {
            return Err(StoreError::NoAnchor { path: path.clone() });
        }
        Err(StoreError::DamagedAnchor { path }) => {
            return Err(StoreError::DamagedAnchor { path: path.clone() });
        }
        Err(StoreError::InUse { path, .. }) => {
            return Err(StoreError::InUse { path: path.clone(), holder: None });
        }
        Err(_) => return Err(StoreError::RolledBack { what: "its anchor cannot be read" }),
    };
    let previous = found.head.unwrap_or_default().0.previous;
    let is_last = now.sequence == last.sequence && now.head == last.head;
    let is_next = Some(now.sequence) == last.sequence.checked_add(1) && previous == last.head;
    let what = if now.sequence < last.sequence {
        "its database is older than its anchor"
    } else if !is_last && !is_next {
        "its database is not the one that its anchor knows"
    } else if now.generation < last.generation {
        "its header is older than its anchor"
    } else if now.generation - last.generation > 1 {
        "its header is not the one that its anchor knows"
    } else {
        return Ok(());
    };
    Err(StoreError::RolledBack { what })
}

impl Disk {
    /// Finishes what a kill left half done.
    fn finish(&self, now: State) -> Result<(), StoreError> {
        let epoch = self.epoch();
        let keyring = &mut *lock(&self.keyring);
        if self.anchor_state() != Some(now) {
            self.advance_anchor(&epoch, |state| *state = now)?;
        }
        if keyring.before.is_some() {
            self.forget_key_before(keyring)?;
        }
        let dir = self.directory.path();
        // Nothing is missing of what the database held.
        snapshot::forget(&Database::path(dir, epoch.number));
        let creating = dir.join(CREATING);
        if creating.exists() {
            // The header came last, so the vault is whole; the mark must not outlive it.
            fs::remove_file(&creating)?;
            sync(dir)?;
        }
        // A header that a kill kept from its place; gone or not, nothing reads it.
        let _ = fs::remove_file(dir.join(header::TEMPORARY));
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let other = name.to_str().and_then(Database::epoch_of);
            if let Some(other) = other.filter(|other| *other != epoch.number) {
                rekey::discard(dir, other);
            }
        }
        Ok(())
    }
}
