//! Records on their way into a backup: framed, gathered into chunks, sealed, written.

use super::target::Target;
use super::{Counts, Header, KEY_MAX, Origin, ROW_MAX, TRAILER};
use crate::crypto::{CHUNK_LEN, CHUNK_OVERHEAD, CryptoError, KeyEncryptionKey, SealingStream};
use crate::secret::SecretBytes;
use crate::store::StoreError;
use getrandom::SysRng;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A backup that is being written, under another name until it is whole. Dropped before that, it
/// leaves nothing.
pub(crate) struct Writer {
    sealer: Sealer<File>,
    target: Target,
}

impl Writer {
    /// Begins the backup `path`, which must not be there. `key` must be what `origin`'s costs and
    /// salt make of the passphrase.
    ///
    /// # Errors
    /// [`StoreError::BackupExists`]; [`StoreError::BackupUnfinished`] where `<path>.new` is there:
    /// another's that is being written, or one that a kill cut short, which this does not tell apart
    /// and therefore does not remove.
    pub(crate) fn create(
        path: &Path,
        origin: Origin,
        key: &KeyEncryptionKey,
    ) -> Result<Self, StoreError> {
        let (target, file) = Target::create(path)?;
        Ok(Self { sealer: Sealer::start(file, origin, key)?, target })
    }

    /// Adds a record, opened, of the tree with that number.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], with nothing added. After any other the backup is lost: drop it.
    pub(crate) fn record(&mut self, tree: u8, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        self.sealer.record(tree, key, row)
    }

    /// Ends the backup and gives it its name; `Ok` means that it is whole on disk and stays so.
    ///
    /// # Errors
    /// [`StoreError::BackupExists`] if the name was taken meanwhile; what has it stays. Where the
    /// directory cannot be synced the backup is there, but a cut of power may lose it.
    pub(crate) fn finish(self) -> Result<(), StoreError> {
        let Self { sealer, target } = self;
        sealer.finish()?.sync_all()?;
        target.install()
    }
}

/// The bytes of a backup, into wherever they go. What is gathered turns from plaintext into a
/// sealed chunk in its place.
pub(crate) struct Sealer<W> {
    to: W,
    stream: SealingStream,
    chunk: SecretBytes,
    filled: usize,
    counts: Counts,
    /// After a write that failed nobody knows how much of a chunk is there.
    has_failed: bool,
}

impl<W: Write> Sealer<W> {
    pub(crate) fn start(
        mut to: W,
        origin: Origin,
        key: &KeyEncryptionKey,
    ) -> Result<Self, StoreError> {
        let (header, file_key) = Header::seal(origin, key, &mut SysRng)?;
        to.write_all(&header.to_bytes())?;
        Ok(Self {
            to,
            stream: SealingStream::new(file_key, &header.content())?,
            chunk: SecretBytes::zeroed(CHUNK_LEN + CHUNK_OVERHEAD),
            filled: 0,
            counts: Counts::default(),
            has_failed: false,
        })
    }

    pub(crate) fn record(&mut self, tree: u8, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        if tree == TRAILER {
            return Err(CryptoError::Parameter("backup: tree 0 to 254").into());
        }
        if key.len() > KEY_MAX || row.len() > ROW_MAX {
            return Err(StoreError::TooLarge);
        }
        self.frame(tree, key, row)?;
        self.counts.note(tree);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<W, StoreError> {
        let counts = self.counts.to_row();
        self.frame(TRAILER, &[], &counts)?;
        self.seal(true)?;
        Ok(self.to)
    }

    fn frame(&mut self, tree: u8, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        let too_large = |_| StoreError::TooLarge;
        let key_len = u16::try_from(key.len()).map_err(too_large)?;
        let row_len = u32::try_from(row.len()).map_err(too_large)?;
        self.put(&[tree])?;
        self.put(&key_len.to_be_bytes())?;
        self.put(key)?;
        self.put(&row_len.to_be_bytes())?;
        self.put(row)
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            // Only now that more comes is it known that a full chunk is not the last.
            if self.filled == CHUNK_LEN {
                self.seal(false)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_LEN - self.filled));
            self.chunk[self.filled..][..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
        }
        Ok(())
    }

    fn seal(&mut self, is_last: bool) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.has_failed, true) {
            return Err(io::Error::other("an earlier write of this backup failed").into());
        }
        let chunk = &mut self.chunk[..self.filled + CHUNK_OVERHEAD];
        self.stream.seal_chunk(chunk, is_last)?;
        self.to.write_all(chunk)?;
        self.filled = 0;
        self.has_failed = false;
        Ok(())
    }
}
