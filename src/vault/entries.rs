//! The tokens, by all that they are looked up by.

use super::entry::{Entry, Held};
use crate::id::{LineageId, TokenId};
use crate::token::Label;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Entries {
    by_label: BTreeMap<Label, Arc<Entry>>,
    by_lineage: HashMap<LineageId, Arc<Entry>>,
    /// BitGo's ids, each with who keeps it: one, but for what an older vault may have let in.
    ids: BTreeSet<(TokenId, LineageId)>,
}

impl Entries {
    pub(super) fn insert(&mut self, held: &Held, entry: &Arc<Entry>) {
        let lineage = held.record.lineage;
        self.by_label.insert(held.record.label.clone(), Arc::clone(entry));
        self.by_lineage.insert(lineage, Arc::clone(entry));
        self.ids.insert((held.record.info.id, lineage));
    }

    /// Its token has another id from now on.
    pub(super) fn renamed(&mut self, lineage: LineageId, from: TokenId, to: TokenId) {
        self.ids.remove(&(from, lineage));
        self.ids.insert((to, lineage));
    }

    /// Removes this very token, whatever is kept under its label by now.
    pub(super) fn remove(&mut self, held: &Held, entry: &Arc<Entry>) {
        let lineage = held.record.lineage;
        let label = &held.record.label;
        if self.by_label.get(label).is_some_and(|other| Arc::ptr_eq(other, entry)) {
            self.by_label.remove(label);
        }
        self.by_lineage.remove(&lineage);
        self.ids.remove(&(held.record.info.id, lineage));
    }

    pub(super) fn of_label(&self, label: &Label) -> Option<&Arc<Entry>> {
        self.by_label.get(label)
    }

    pub(super) fn of_lineage(&self, lineage: LineageId) -> Option<&Arc<Entry>> {
        self.by_lineage.get(&lineage)
    }

    /// Who keeps a token of BitGo's.
    pub(super) fn keepers(&self, id: TokenId) -> impl Iterator<Item = &Arc<Entry>> {
        let (first, last) = (LineageId::from_bytes([0; 16]), LineageId::from_bytes([u8::MAX; 16]));
        let lineages = self.ids.range((id, first)..=(id, last));
        lineages.filter_map(|(_, lineage)| self.by_lineage.get(lineage))
    }

    /// All, by label.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_label.values()
    }
}
