//! How the renewal of a token goes, where that has to outlive a restart: what failed and how long to
//! wait, so that a process that is started again and again does not hammer BitGo. Most tokens have
//! nothing of it.

use super::record::{self, RenewalMemoryRow};
use super::{Key, Store, StoreError, Tree, Write};
use crate::id::{LineageId, TokenId};
use crate::renewal_memory::{Need, RenewalMemory};
use chrono::DateTime;

impl Store {
    /// What is remembered of a token's renewal. What cannot be read is forgotten: then it is asked.
    pub(crate) fn renewal_memory(&self, lineage: LineageId) -> Option<RenewalMemory> {
        self.renewal_row(lineage).ok().flatten().map(|row| memory(&row))
    }

    /// Remembers how a token's renewal goes, or forgets it. The caller sees to it that the token is not
    /// removed while this runs.
    pub(crate) fn remember_renewal(
        &self,
        lineage: LineageId,
        memory: &RenewalMemory,
    ) -> Result<(), StoreError> {
        let write = match *memory == RenewalMemory::default() {
            true => self.renewal_removal(lineage)?,
            false => Some(Write::put(Tree::Meta, key(lineage), &row(lineage, memory))?),
        };
        write.map_or(Ok(()), |write| self.commit(vec![write]))
    }

    /// The write that forgets it, if there is anything.
    pub(super) fn renewal_removal(&self, lineage: LineageId) -> Result<Option<Write>, StoreError> {
        let is_there = self.disk.epoch().row(Tree::Meta, &key(lineage))?.is_some();
        Ok(is_there.then(|| Write::remove(Tree::Meta, key(lineage))))
    }

    fn renewal_row(&self, lineage: LineageId) -> Result<Option<RenewalMemoryRow>, StoreError> {
        self.disk.epoch().find(Tree::Meta, &key(lineage))
    }
}

fn memory(row: &RenewalMemoryRow) -> RenewalMemory {
    RenewalMemory {
        failures: row.failures,
        not_before: row.not_before_ms.and_then(DateTime::from_timestamp_millis),
        need: usize::from(row.need).checked_sub(1).and_then(|place| Need::ALL.get(place)).copied(),
        dead: row.dead.map(TokenId::from_bytes),
        deaths: row.deaths,
    }
}

fn row(lineage: LineageId, memory: &RenewalMemory) -> RenewalMemoryRow {
    let place = |need: Need| Need::ALL.iter().position(|known| *known == need);
    let number = memory.need.and_then(place).and_then(|place| u8::try_from(place + 1).ok());
    RenewalMemoryRow {
        lineage: *lineage.as_bytes(),
        failures: memory.failures,
        not_before_ms: memory.not_before.map(|at| at.timestamp_millis()),
        need: number.unwrap_or_default(),
        dead: memory.dead.map(|token| *token.as_bytes()),
        deaths: memory.deaths,
    }
}

fn key(lineage: LineageId) -> Key {
    Key::Text([b"renewal", &lineage.as_bytes()[..]].concat())
}

/// The key of the record of which nothing but its row is known.
pub(super) fn key_of(row: &[u8]) -> Option<Key> {
    let row: RenewalMemoryRow = record::decode(row).ok()?;
    Some(key(LineageId::from_bytes(row.lineage)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{add, create};

    #[test]
    fn what_is_remembered_comes_back_and_goes_with_its_token() {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path());
        let lineage = add(&store, "bot");
        assert_eq!(store.renewal_memory(lineage), None);
        for need in Need::ALL.map(Some).into_iter().chain([None]) {
            let not_before = DateTime::from_timestamp_millis(1_767_323_045_678);
            let dead = Some(TokenId::from_bytes([7; 16]));
            let memory = RenewalMemory { failures: 3, not_before, need, dead, deaths: 2 };
            store.remember_renewal(lineage, &memory).unwrap();
            assert_eq!(store.renewal_memory(lineage), Some(memory));
        }
        store.remember_renewal(lineage, &RenewalMemory::default()).unwrap();
        assert_eq!(store.renewal_memory(lineage), None);
        let memory = RenewalMemory { failures: 1, ..RenewalMemory::default() };
        store.remember_renewal(lineage, &memory).unwrap();
        store.remove_token(lineage).unwrap();
        assert_eq!(store.renewal_memory(lineage), None);
    }
}
