//! The anchor: outside the database, the one word on which of its states is the last.
//!
//! ```text
//! two slots of 4096 bytes, written in turn
//! offset  size
//!      0     8  magic "BGANCHOR"
//!      8     2  format, 1
//!     10     8  writes so far; the slot is this number's parity
//!     18    16  vault id
//!     34     8  sequence of the head
//!     42    32  hash of the head as it is sealed
//!     74     8  generation of the header
//!     82     4  epoch, whose key makes the MAC
//!     86    32  hash of the last entry of the audit log
//!    118    32  HMAC-SHA256[anchor key] of bytes 0 to 117
//!    150  3946  zeros
//! ```
//!
//! The highest slot whose MAC fits counts, so that a write cut short leaves the one before it.
//! Beside the database it shows damage and a database put back by itself. To show that the whole
//! directory was put back it must lie on other media.

use super::head::HeadHash;
use super::keys::Keys;
use super::snapshot::beside;
use super::{StoreError, directory};
use crate::crypto::VaultId;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// Its name where no other place was said.
pub(super) const FILE: &str = "anchor";
/// And that of one whose vault is being made.
pub(super) const UNFINISHED: &str = "anchor.new";

const MAGIC: [u8; 8] = *b"BGANCHOR";
const FORMAT: u16 = 1;
const SLOT: usize = 4096;
const BOUND_LEN: usize = 118;
const LEN: usize = BOUND_LEN + 32;

/// What an anchor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) sequence: u64,
    pub(super) head: HeadHash,
    pub(super) generation: u64,
    pub(super) epoch: u32,
    pub(super) audit: [u8; 32],
}

/// One slot, whose MAC is still to be judged: for that its epoch's key is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    writes: u64,
    vault_id: [u8; 16],
    state: State,
    mac: [u8; 32],
}

impl Slot {
    fn new(writes: u64, vault_id: VaultId, state: State, keys: &Keys) -> Self {
        let mut slot = Self { writes, vault_id: vault_id.0, state, mac: [0; 32] };
        slot.mac = keys.anchor_mac(&slot.bound());
        slot
    }

    fn bound(&self) -> Vec<u8> {
        let Self { writes, vault_id, state, .. } = self;
        let mut bytes = Vec::with_capacity(SLOT);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&writes.to_be_bytes());
        bytes.extend_from_slice(vault_id);
        bytes.extend_from_slice(&state.sequence.to_be_bytes());
        bytes.extend_from_slice(&state.head);
        bytes.extend_from_slice(&state.generation.to_be_bytes());
        bytes.extend_from_slice(&state.epoch.to_be_bytes());
        bytes.extend_from_slice(&state.audit);
        bytes
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.bound();
        bytes.extend_from_slice(&self.mac);
        bytes.resize(SLOT, 0);
        bytes
    }

    pub(super) fn parse(bytes: &[u8; SLOT]) -> Option<Self> {
        let (content, padding) = bytes.split_at(LEN);
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        let rest = &mut content.strip_prefix(&MAGIC)?;
        if u16::from_be_bytes(take(rest)?) != FORMAT {
            return None;
        }
        Some(Self {
            writes: u64::from_be_bytes(take(rest)?),
            vault_id: take(rest)?,
            state: State {
                sequence: u64::from_be_bytes(take(rest)?),
                head: take(rest)?,
                generation: u64::from_be_bytes(take(rest)?),
                epoch: u32::from_be_bytes(take(rest)?),
                audit: take(rest)?,
            },
            mac: take(rest)?,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

/// A slot as it was read, written again.
#[cfg(any(test, feature = "test-util"))]
pub(crate) fn recode_anchor(slot: &[u8]) -> Option<Vec<u8>> {
    Some(Slot::parse(slot.try_into().ok()?)?.to_bytes())
}

/// Whose anchor a file is, and of which head, by its own word: whoever wrote it may have lied. `None`
/// where there is no file.
pub(super) fn peek(path: &Path) -> Result<Option<([u8; 16], u64)>, StoreError> {
    let file = match directory::open_plain(path, OFlags::RDONLY) {
        Err(StoreError::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let slots = [0, SLOT].into_iter().filter_map(|place| slot_at(&file, place));
    let last = slots.max_by_key(|slot| slot.writes);
    let last = last.ok_or_else(|| StoreError::DamagedAnchor { path: path.into() })?;
    Ok(Some((last.vault_id, last.state.sequence)))
}

/// Whether the anchor at `path` may be replaced by that of this vault: not if it is another's.
pub(super) fn check_replaceable(path: &Path, vault_id: VaultId) -> Result<(), StoreError> {
    match peek(path) {
        Ok(Some((other, _))) if other != vault_id.0 => {
            Err(StoreError::AnchorExists { path: path.into() })
        }
        // What can no longer be read is nobody's.
        Ok(_) | Err(StoreError::DamagedAnchor { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The slot at that place; a file that was cut has none.
fn slot_at(file: &File, place: usize) -> Option<Slot> {
    let mut bytes = [0; SLOT];
    file.read_exact_at(&mut bytes, place as u64).ok()?;
    Slot::parse(&bytes)
}

/// What an anchor is called until the vault that it belongs to is made.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    beside(path, ".new")
}

/// The file of an anchor, and what it was last made to say. It is held by one vault at a time: two
/// copies of a vault that share it would not see each other's spends.
pub(super) struct Anchor {
    file: File,
    writes: u64,
    vault_id: VaultId,
    state: State,
    /// Whether the file says something else.
    is_believed: bool,
    pid: u32,
}

impl Anchor {
    /// Makes the file, or takes over one that is there; what it says is wiped.
    pub(super) fn make(path: &Path, vault_id: VaultId) -> Result<Self, StoreError> {
        let file = open_alone(path, OFlags::RDWR | OFlags::CREATE)?;
        // Both slots are there from the beginning, so that no later write has to grow the file.
        file.set_len(0)?;
        file.write_all_at(&[0; 2 * SLOT], 0)?;
        file.sync_all()?;
        sync_parent(path)?;
        Ok(Self::of(file, 0, vault_id, State::default()))
    }

    /// Gives the anchor of a vault that was made its name, durably.
    pub(super) fn install(path: &Path) -> Result<(), StoreError> {
        fs::rename(unfinished(path), path)?;
        sync_parent(path)
    }

    fn of(file: File, writes: u64, vault_id: VaultId, state: State) -> Self {
        Self { file, writes, vault_id, state, is_believed: false, pid: std::process::id() }
    }

    /// Opens the file and finds its last word: that of the highest slot of this vault whose MAC
    /// fits, under the key that `keys` knows for its epoch.
    pub(super) fn open<'k>(
        path: &Path,
        vault_id: VaultId,
        keys: impl Fn(u32) -> Option<&'k Keys>,
    ) -> Result<Self, StoreError> {
        let file = match open_alone(path, OFlags::RDWR) {
            Err(StoreError::Io(error)) if error.kind() == ErrorKind::NotFound => {
                return Err(StoreError::NoAnchor { path: path.into() });
            }
            other => other?,
        };
        let mut last: Option<Slot> = None;
        for place in [0, SLOT] {
            let Some(slot) = slot_at(&file, place) else { continue };
            let Some(keys) = keys(slot.state.epoch) else { continue };
            let fits = bool::from(keys.anchor_mac(&slot.bound()).ct_eq(&slot.mac))
                && slot.vault_id == vault_id.0;
            if fits && last.as_ref().is_none_or(|last| slot.writes > last.writes) {
                last = Some(slot);
            }
        }
        let Slot { writes, state, .. } =
            last.ok_or_else(|| StoreError::DamagedAnchor { path: path.into() })?;
        Ok(Self::of(file, writes, vault_id, state))
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Takes `state` for its last word, without writing it.
    pub(super) fn believe(&mut self, state: State) {
        (self.state, self.is_believed) = (state, true);
    }

    /// Whether its last word stands in memory alone.
    pub(super) fn is_believed(&self) -> bool {
        self.is_believed
    }

    /// Makes it say `state`, durably. After an error either of the two may be found there.
    pub(super) fn write(&mut self, state: State, keys: &Keys) -> Result<(), std::io::Error> {
        let writes = self.writes + 1;
        let slot = Slot::new(writes, self.vault_id, state, keys);
        let place = if writes.is_multiple_of(2) { 0 } else { SLOT as u64 };
        self.file.write_all_at(&slot.to_bytes(), place)?;
        self.file.sync_data()?;
        (self.writes, self.state, self.is_believed) = (writes, state, false);
        Ok(())
    }
}

impl Drop for Anchor {
    /// A child that is being started holds a copy of the file; a forked one must not give it up.
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            let _ = flock(&self.file, FlockOperation::Unlock);
        }
    }
}

/// Keeps every vault from opening the anchor that is there, if one is.
pub(super) fn hold(path: &Path) -> Result<Option<File>, StoreError> {
    match open_alone(path, OFlags::RDONLY) {
        Err(StoreError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Opens the file, unless another vault has it open.
fn open_alone(path: &Path, flags: OFlags) -> Result<File, StoreError> {
    let file = directory::open_plain(path, flags)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(StoreError::InUse { path: path.into(), holder: None }),
        Err(error) => {
            tracing::warn!(
                name: "anchor.unlocked", %error, path = %path.display(),
                "the anchor cannot be locked there"
            );
            Ok(file)
        }
        Ok(()) => Ok(file),
    }
}

fn sync_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => super::sync(Path::new(".")),
        Some(parent) => super::sync(parent),
        None => Ok(()),
    }
}
