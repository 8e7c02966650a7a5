//! What an open vault has on disk, and who may write it: header, anchor and the epoch in use.
//!
//! Whoever replaces the header holds the keyring; the anchor follows before it counts. Records
//! are written by the committer alone.

use super::anchor::{Anchor, State};
use super::directory::Directory;
use super::epoch::Epoch;
use super::header::{self, EpochKey, Header};
use super::{StoreError, lock};
use crate::crypto::{DataKey, KeyEncryptionKey};
use getrandom::SysRng;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

pub(super) struct Disk {
    pub(super) directory: Directory,
    /// Held over each rewrite of the header, so that none writes back what another has replaced.
    pub(super) keyring: Mutex<Keyring>,
    /// Taken after the keyring where both are. Held over its own write. `None` where the vault was
    /// opened for reading though it is damaged.
    anchor: Mutex<Option<Anchor>>,
    /// Replaced by a rekey. Held for a clone only.
    epoch: RwLock<Arc<Epoch>>,
    /// Why nothing is written any more.
    refused: OnceLock<Refused>,
    /// Whether the vault is still being made: then its header is not yet to be written.
    is_creating: AtomicBool,
    /// Whether the data key was replaced by itself: the audit log is to tell of it.
    pub(super) rekeyed_alone: AtomicBool,
    /// Told of each step of a rekey.
    #[cfg(test)]
    watch: Mutex<Option<Watch>>,
}

#[cfg(test)]
type Watch = Box<dyn FnMut(&'static str) + Send>;

#[cfg(test)]
thread_local! {
    static WATCH: std::cell::Cell<Option<Watch>> = const { std::cell::Cell::new(None) };
}

/// Tells `watch` of each step of a rekey of the next vault that this thread opens.
#[cfg(test)]
pub(super) fn watch_next(watch: impl FnMut(&'static str) + Send + 'static) {
    WATCH.set(Some(Box::new(watch)));
}

/// The header in use, and the keys that wrap it anew.
pub(super) struct Keyring {
    pub(super) header: Header,
    pub(super) key_encryption_key: KeyEncryptionKey,
    pub(super) data_key: DataKey,
    /// What an unfinished rekey still reads.
    pub(super) before: Option<EpochKey>,
}

/// Why nothing is written.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    /// A write failed, so that nobody knows what the disk holds.
    Failed(String),
    /// The data key has no seals left. It is answered, and not kept: a rekey helps.
    SealsExhausted,
    /// There was no room for granting seals. It is answered, and not kept: nothing was written.
    Full,
    /// The vault was opened though it is damaged.
    Damaged,
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Failed(cause) => Self::ReadOnly { cause },
            Refused::SealsExhausted => Self::SealsExhausted,
            Refused::Full => Self::StorageFull(ErrorKind::StorageFull.into()),
            Refused::Damaged => Self::Degraded,
        }
    }
}

impl Disk {
    pub(super) fn new(
        directory: Directory,
        keyring: Keyring,
        anchor: Option<Anchor>,
        epoch: Epoch,
    ) -> Self {
        Self {
            directory,
            keyring: Mutex::new(keyring),
            anchor: Mutex::new(anchor),
            epoch: RwLock::new(Arc::new(epoch)),
            refused: OnceLock::new(),
            is_creating: AtomicBool::new(false),
            rekeyed_alone: AtomicBool::new(false),
            #[cfg(test)]
            watch: Mutex::new(WATCH.take()),
        }
    }

    /// Passes a step of a rekey, at which a test looks at what a kill would leave.
    pub(super) fn step(&self, _name: &'static str) {
        #[cfg(test)]
        if let Some(watch) = &mut *lock(&self.watch) {
            watch(_name);
        }
    }

    pub(super) fn epoch(&self) -> Arc<Epoch> {
        Arc::clone(&self.epoch.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another epoch in use; the one before ends with its last reader.
    pub(super) fn use_epoch(&self, epoch: Arc<Epoch>) {
        *self.epoch.write().unwrap_or_else(PoisonError::into_inner) = epoch;
    }

    /// Whether writing has not failed so far: asked before something is made that must be kept.
    pub(super) fn check_writable(&self) -> Result<(), Refused> {
        self.refused.get().map_or(Ok(()), |refused| Err(refused.clone()))
    }

    /// Ends all writing, since it is not known what a write has done.
    pub(super) fn fail(&self, cause: String) -> Refused {
        self.refuse(Refused::Failed(cause))
    }

    /// Ends all writing.
    pub(super) fn refuse(&self, refused: Refused) -> Refused {
        if self.refused.set(refused.clone()).is_ok()
            && let Refused::Failed(cause) = &refused
        {
            tracing::error!(
                name: "store.read_only", cause,
                "the vault failed to write; it is read-only now"
            );
        }
        refused
    }

    /// The disk of a vault that is being made.
    pub(super) fn creating(self) -> Self {
        self.is_creating.store(true, Ordering::Release);
        self
    }

    pub(super) fn is_creating(&self) -> bool {
        self.is_creating.load(Ordering::Acquire)
    }

    /// Puts the header of a vault that is being made in its place, as the keyring has it: with
    /// what was granted meanwhile. The anchor knows of it before, and has its name after.
    pub(super) fn install_first_header(&self, anchor: &Path) -> Result<(), StoreError> {
        let keyring = &mut *lock(&self.keyring);
        let generation = keyring.header.generation;
        self.advance_anchor(&self.epoch(), |state| state.generation = generation)?;
        let prepared = keyring.header.prepare(self.directory.path())?;
        prepared.install().map_err(|error| self.failed_header(&error))?;
        self.is_creating.store(false, Ordering::Release);
        self.step("first header");
        Anchor::install(anchor)
            .map_err(|error| self.fail(format!("anchor: {}", error.cause())).into())
    }

    /// Makes `header` the one in use, durably, and then the anchor say so. [`StoreError::ReadOnly`]
    /// if it is not known whether the disk holds it: then nothing more is written. After any other
    /// error nothing has changed.
    pub(super) fn replace_header(
        &self,
        keyring: &mut Keyring,
        header: Header,
    ) -> Result<(), StoreError> {
        self.check_writable()?;
        let prepared = header.prepare(self.directory.path())?;
        self.install_header(keyring, header, prepared)
    }

    pub(super) fn install_header(
        &self,
        keyring: &mut Keyring,
        header: Header,
        prepared: header::Prepared,
    ) -> Result<(), StoreError> {
        prepared.install().map_err(|error| self.failed_header(&error))?;
        let generation = header.generation;
        keyring.header = header;
        Ok(self.advance_anchor(&self.epoch(), |state| state.generation = generation)?)
    }

    /// It is not known which of two headers the disk holds.
    pub(super) fn failed_header(&self, error: &std::io::Error) -> Refused {
        self.fail(format!("header: {error}"))
    }

    /// Makes the anchor say what has changed, durably; where its last word is only believed, that
    /// goes on.
    pub(super) fn advance_anchor(
        &self,
        epoch: &Epoch,
        change: impl FnOnce(&mut State),
    ) -> Result<(), Refused> {
        self.change_anchor(epoch, false, change)
    }

    /// Makes the anchor say what a commit has changed, durably.
    pub(super) fn anchor_commit(
        &self,
        epoch: &Epoch,
        change: impl FnOnce(&mut State),
    ) -> Result<(), Refused> {
        self.change_anchor(epoch, true, change)
    }

    fn change_anchor(
        &self,
        epoch: &Epoch,
        is_commit: bool,
        change: impl FnOnce(&mut State),
    ) -> Result<(), Refused> {
        let mut anchor = lock(&self.anchor);
        let Some(anchor) = anchor.as_mut() else { return Err(Refused::Damaged) };
        let mut state = anchor.state();
        change(&mut state);
        if anchor.is_believed() && !is_commit {
            anchor.believe(state);
            return Ok(());
        }
        anchor.write(state, &epoch.keys).map_err(|error| self.fail(format!("anchor: {error}")))
    }

    /// Takes `state` for the anchor's. The next commit makes it say so, and nothing before: neither
    /// the seals that are granted for that commit nor a rekey.
    pub(super) fn believe(&self, state: State) {
        if let Some(anchor) = lock(&self.anchor).as_mut() {
            anchor.believe(state);
        }
    }

    /// What the anchor says.
    pub(super) fn anchor_state(&self) -> Option<State> {
        lock(&self.anchor).as_ref().map(Anchor::state)
    }

    /// Grants seals durably, or gives back what was granted.
    pub(super) fn grant_seals(&self, seals: u64) -> Result<(), StoreError> {
        let mut keyring = lock(&self.keyring);
        if self.is_creating() {
            // Nothing vouches for the vault before its first header does.
            let mut header = keyring.header.clone();
            header.seals = seals;
            keyring.seal(&mut header, &keyring.key_encryption_key)?;
            keyring.header = header;
            return Ok(());
        }
        let header = keyring.next_header(|header| header.seals = seals)?;
        self.replace_header(&mut keyring, header)
    }
}

impl Keyring {
    /// The next header, changed and sealed under the keys as they are.
    pub(super) fn next_header(
        &self,
        change: impl FnOnce(&mut Header),
    ) -> Result<Header, StoreError> {
        let mut header = self.header.next();
        change(&mut header);
        self.seal(&mut header, &self.key_encryption_key)?;
        Ok(header)
    }

    /// Wraps the data keys in `header`, under `key`.
    pub(super) fn seal(
        &self,
        header: &mut Header,
        key: &KeyEncryptionKey,
    ) -> Result<(), StoreError> {
        let before = self.before.as_ref().map(|(epoch, key)| (*epoch, key));
        Ok(header.seal(key, &self.data_key, before, &mut SysRng)?)
    }
}
