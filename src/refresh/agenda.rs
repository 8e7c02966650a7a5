//! Tokens in the order in which they are seen to, each at most once.

use crate::id::LineageId;
use std::collections::{BTreeSet, HashMap};

pub(super) struct Agenda<T> {
    order: BTreeSet<(T, LineageId)>,
    places: HashMap<LineageId, T>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), places: HashMap::new() }
    }
}

impl<T: Ord + Copy> Agenda<T> {
    /// Puts a token in its place, wherever it was before.
    pub(super) fn put(&mut self, lineage: LineageId, place: T) {
        self.take(lineage);
        self.places.insert(lineage, place);
        self.order.insert((place, lineage));
    }

    /// Takes a token out; the place that it had.
    pub(super) fn take(&mut self, lineage: LineageId) -> Option<T> {
        let place = self.places.remove(&lineage)?;
        self.order.remove(&(place, lineage));
        Some(place)
    }

    /// The first token and its place.
    pub(super) fn first(&self) -> Option<(T, LineageId)> {
        self.order.first().copied()
    }

    /// Takes the first token out.
    pub(super) fn take_first(&mut self) -> Option<LineageId> {
        let (_, lineage) = self.order.pop_first()?;
        self.places.remove(&lineage);
        Some(lineage)
    }

    pub(super) fn holds(&self, lineage: LineageId) -> bool {
        self.places.contains_key(&lineage)
    }

    /// All tokens, in no order.
    pub(super) fn lineages(&self) -> Vec<LineageId> {
        self.places.keys().copied().collect()
    }
}
