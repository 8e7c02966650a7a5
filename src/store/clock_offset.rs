//! How far BitGo's clock is ahead of this machine's, where that is more than is tolerated: so that the
//! first request after a restart is not refused for its date. It is of this machine, so that no backup
//! holds it, and it is written a moment later than it is found, which holds up no request.

use super::committer::Committer;
use super::disk::Disk;
use super::record::ClockOffsetRow;
use super::{Key, Store, StoreError, Tree, Write};
use std::sync::Arc;

/// What is kept of it on disk.
pub(super) struct KeptOffset {
    disk: Arc<Disk>,
    committer: Arc<Committer>,
    kept_ms: i64,
}

impl KeptOffset {
    /// Keeps an offset, or forgets it, if it is another than the one that is kept.
    pub(super) fn keep(&mut self, offset_ms: i64) -> Result<(), StoreError> {
        if offset_ms == self.kept_ms {
            return Ok(());
        }
        self.disk.check_writable()?;
        let write = match offset_ms {
            0 => Write::remove(Tree::Meta, key()),
            ms => Write::put(Tree::Meta, key(), &ClockOffsetRow { ms })?,
        };
        self.committer.submit(vec![write], None).wait()?;
        self.kept_ms = offset_ms;
        Ok(())
    }
}

impl Store {
    /// The offset that was kept, in milliseconds; 0 for none. One that cannot be read is measured anew.
    pub(crate) fn clock_offset_ms(&self) -> i64 {
        let row: Option<ClockOffsetRow> = self.disk.epoch().find(Tree::Meta, &key()).ok().flatten();
        row.map_or(0, |row| row.ms)
    }

    pub(super) fn kept_offset(&self) -> KeptOffset {
        KeptOffset {
            disk: Arc::clone(&self.disk),
            committer: Arc::clone(&self.committer),
            kept_ms: self.clock_offset_ms(),
        }
    }
}

/// What the record is called.
pub(super) fn key() -> Key {
    Key::Text(b"clock".to_vec())
}

#[cfg(test)]
mod tests {
    use crate::store::tests::{create, open};

    #[test]
    fn an_offset_is_kept_until_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = create(dir.path());
        for offset_ms in [0, 420_000, -420_000, 0] {
            store.kept_offset().keep(offset_ms).unwrap();
            drop(store);
            store = open(dir.path()).unwrap();
            assert_eq!(store.clock_offset_ms(), offset_ms);
        }
        let before = store.count_records().unwrap();
        store.kept_offset().keep(31_000).unwrap();
        assert_ne!(store.count_records().unwrap(), before);
        store.kept_offset().keep(0).unwrap();
        assert_eq!(store.count_records().unwrap(), before, "nothing is left of it");
    }
}
