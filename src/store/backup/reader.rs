//! A backup on its way out: chunks read one by one, opened, taken apart into records.

use super::{Counts, Header, KEY_MAX, Origin, ROW_MAX, Record, TRAILER, damaged};
use crate::crypto::{CHUNK_LEN, CHUNK_OVERHEAD, KeyEncryptionKey, OpeningStream};
use crate::secret::{Passphrase, SecretBytes};
use crate::store::{StoreError, derive_key};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

const SEALED_LEN: usize = CHUNK_LEN + CHUNK_OVERHEAD;

/// The records of a backup, in the order in which they were added.
///
/// It ends, with `None`, only where the whole file is what was once written: the last chunk has
/// opened, nothing follows it, and the records are as many as the trailer says. Until then they
/// may be those of a file cut short: install none before. After an error it never ends.
pub(crate) struct Reader<R> {
    source: R,
    origin: Origin,
    stream: OpeningStream,
    /// A sealed chunk and the byte after it, by which it is known not to be the last; opened in place.
    chunk: SecretBytes,
    /// How many bytes of the next chunk are read already: none or that one.
    ahead: usize,
    /// What of the opened chunk is not taken yet.
    from: usize,
    to: usize,
    is_last: bool,
    counts: Counts,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Failed,
}

impl Reader<File> {
    /// Opens a backup with the passphrase that the vault had when it was made.
    ///
    /// # Errors
    /// [`StoreError::WrongPassphrase`]; [`StoreError::DamagedBackup`], also for what is no plain
    /// file; [`StoreError::UnknownBackupFormat`].
    pub(crate) fn open(path: &Path, passphrase: &Passphrase) -> Result<Self, StoreError> {
        // A pipe is not waited for: it is refused.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let out_of_reach =
            |error: Errno| StoreError::BackupOutOfReach { path: path.into(), source: error.into() };
        let file = openat(CWD, path, flags, Mode::empty()).map_err(out_of_reach)?;
        let mut file = File::from(file);
        if !file.metadata()?.is_file() {
            return Err(damaged("it is no plain file"));
        }
        let header = Header::read(&mut file)?;
        let key = derive_key(passphrase, &header.origin.salt, header.origin.kdf)?;
        Self::start(file, &header, &key)
    }
}

impl<R: Read> Reader<R> {
    /// Reads on in `source` after its header.
    pub(crate) fn start(
        source: R,
        header: &Header,
        key: &KeyEncryptionKey,
    ) -> Result<Self, StoreError> {
        let file_key = header.unseal(key)?;
        Ok(Self {
            source,
            origin: header.origin,
            stream: OpeningStream::new(file_key, &header.content())?,
            chunk: SecretBytes::zeroed(SEALED_LEN + 1),
            ahead: 0,
            from: 0,
            to: 0,
            is_last: false,
            counts: Counts::default(),
            state: State::Reading,
        })
    }

    /// Where the backup comes from.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    fn record(&mut self) -> Result<Option<Record>, StoreError> {
        let [tree] = self.array()?;
        let key_len = usize::from(u16::from_be_bytes(self.array()?));
        if key_len > KEY_MAX {
            return Err(damaged("a record's key is too long"));
        }
        let mut key = vec![0; key_len];
        self.fill(&mut key)?;
        let row_len = usize::try_from(u32::from_be_bytes(self.array()?));
        let row_len = row_len.ok().filter(|len| *len <= ROW_MAX);
        let mut row = SecretBytes::zeroed(row_len.ok_or(damaged("a record is too long"))?);
        self.fill(&mut row)?;
        if tree != TRAILER {
            self.counts.note(tree);
            return Ok(Some(Record { tree, key, row }));
        }
        if !key.is_empty() || row[..] != self.counts.to_row() {
            return Err(damaged("its records do not add up"));
        }
        if self.from < self.to || !self.is_last {
            return Err(damaged("something follows its end"));
        }
        Ok(None)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut out: &mut [u8]) -> Result<(), StoreError> {
        while !out.is_empty() {
            if self.from == self.to {
                self.next_chunk()?;
            }
            let len = out.len().min(self.to - self.from);
            let (now, later) = out.split_at_mut(len);
            now.copy_from_slice(&self.chunk[self.from..][..len]);
            self.from += len;
            out = later;
        }
        Ok(())
    }

    fn next_chunk(&mut self) -> Result<(), StoreError> {
        if self.is_last {
            return Err(damaged("it ends before its trailer"));
        }
        self.chunk[0] = self.chunk[SEALED_LEN];
        let mut read = self.ahead;
        while read <= SEALED_LEN {
            match self.source.read(&mut self.chunk[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let sealed_len = read.min(SEALED_LEN);
        self.ahead = read - sealed_len;
        self.is_last = self.ahead == 0;
        let opened = self.stream.open_chunk(&mut self.chunk[..sealed_len], self.is_last);
        let opened = opened.map_err(|_| damaged("a part of it does not open, or is missing"))?;
        (self.from, self.to) = (0, opened.len());
        Ok(())
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.state {
            State::Reading => {}
            State::Ended => return None,
            // Whoever skips errors must not take the next `None` for the end.
            State::Failed => return Some(Err(damaged("it could not be read to its end"))),
        }
        let record = self.record().transpose();
        self.state = match &record {
            None => State::Ended,
            Some(Ok(_)) => State::Reading,
            Some(Err(_)) => State::Failed,
        };
        record
    }
}
