//! The index: which tokens there are, and their labels, apart from the tokens. Should the value of one
//! be lost, this tells that there was one.
//!
//! ```text
//! bucket = the first 10 bits of a lineage      its name is made of: bucket (2), big-endian
//! row    = IndexRow: the tokens of a bucket, by lineage; an empty one is removed
//! ```
//!
//! The committer keeps it: a token is in it from its first commit to its removal.

use super::epoch::Epoch;
use super::record::{self, IndexRow, SecretRow};
use super::{Key, StoreError, Tree};
use crate::id::LineageId;
use crate::secret::SecretBytes;
use crate::token::Label;
use std::collections::BTreeMap;

/// So many tokens have room in it, whatever their labels.
pub(super) const TOKENS_MAX: usize = 200_000;

/// The tokens of some buckets, or of all.
#[derive(Default)]
pub(super) struct Index(BTreeMap<u16, BTreeMap<LineageId, String>>);

impl Index {
    /// Reads all of it.
    pub(super) fn read(epoch: &Epoch) -> Result<Self, StoreError> {
        let mut index = Self::default();
        for entry in epoch.values(Tree::Index) {
            let (name, sealed) = entry?;
            let row: IndexRow = epoch.keys.read(Tree::Index, &name, &sealed)?;
            for (lineage, label) in row.tokens {
                index.add(LineageId::from_bytes(lineage), label);
            }
        }
        Ok(index)
    }

    /// All tokens, with their labels.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (LineageId, Option<Label>)> {
        let tokens = self.0.values().flatten();
        tokens.map(|(lineage, label)| (*lineage, Label::new(label).ok()))
    }

    pub(super) fn holds(&self, lineage: LineageId) -> bool {
        self.0.get(&bucket(lineage)).is_some_and(|tokens| tokens.contains_key(&lineage))
    }

    pub(super) fn add(&mut self, lineage: LineageId, label: String) {
        self.0.entry(bucket(lineage)).or_default().insert(lineage, label);
    }

    /// Follows a token's first commit, which brings its secret, and its removal. `before` reads the
    /// row of a bucket that is not here yet.
    pub(super) fn follow(
        &mut self,
        lineage: LineageId,
        secret: Option<&[u8]>,
        before: impl FnOnce(&Key) -> Result<Option<IndexRow>, StoreError>,
    ) -> Result<(), StoreError> {
        let number = bucket(lineage);
        if !self.0.contains_key(&number) {
            let row = before(&key(number))?;
            let tokens = row.map(|row| row.tokens).unwrap_or_default().into_iter();
            let tokens = tokens.map(|(lineage, label)| (LineageId::from_bytes(lineage), label));
            self.0.insert(number, tokens.collect());
        }
        match secret {
            Some(row) => self.add(lineage, label(row)?),
            None => drop(self.0.entry(number).or_default().remove(&lineage)),
        }
        Ok(())
    }

    /// Its rows, by key; without one a bucket is empty.
    pub(super) fn rows(
        &self,
    ) -> impl Iterator<Item = Result<(Key, Option<SecretBytes>), StoreError>> {
        self.0.iter().map(|(number, tokens)| {
            let tokens = tokens.iter().map(|(lineage, label)| (*lineage.as_bytes(), label.clone()));
            let row = IndexRow { tokens: tokens.collect() };
            let row = (!row.tokens.is_empty()).then(|| record::encode(&row)).transpose()?;
            Ok((key(*number), row))
        })
    }
}

/// The key of the bucket that a row holds.
pub(super) fn bucket_key(row: &[u8]) -> Result<Key, StoreError> {
    let row: Result<IndexRow, _> = record::decode(row);
    let first = row.ok().and_then(|row| row.tokens.first().map(|(lineage, _)| *lineage));
    let unreadable = StoreError::unreadable(Tree::Index, "a record cannot be read");
    first.map(|lineage| key(bucket(LineageId::from_bytes(lineage)))).ok_or(unreadable)
}

fn bucket(lineage: LineageId) -> u16 {
    let [first, second, ..] = *lineage.as_bytes();
    u16::from_be_bytes([first, second]) >> 6
}

fn key(bucket: u16) -> Key {
    Key::Text(bucket.to_be_bytes().into())
}

fn label(secret: &[u8]) -> Result<String, StoreError> {
    let row: Result<SecretRow, _> = record::decode(secret);
    let unreadable = |_| StoreError::unreadable(Tree::Secrets, "a record cannot be read");
    Ok(row.map_err(unreadable)?.label.clone())
}
