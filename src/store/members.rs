//! What the database must hold: for each tree the number of its values, and their sum.
//!
//! ```text
//! sum = Σ element mod 2^256        element: a MAC (keys.rs) as a number, its least byte first
//! ```
//!
//! The elements are remembered from opening on, so that replacing or removing a value subtracts
//! what was written, and not what the database says now. Whoever does not know the key cannot
//! find values whose elements add up to the same sum.

use super::database::Change;
use super::keys::Keys;
use super::{Name, Tree};
use crate::crypto::stack::wiped_shallow;
use std::collections::HashMap;

/// A number below 2^256: what one record adds, or the sum of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Element([u64; 4]);

impl Element {
    pub(super) fn new(bytes: [u8; 32]) -> Self {
        let (words, _) = bytes.as_chunks();
        let mut limbs = [0; 4];
        limbs.iter_mut().zip(words).for_each(|(limb, word)| *limb = u64::from_le_bytes(*word));
        Self(limbs)
    }

    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (words, _) = bytes.as_chunks_mut();
        words.iter_mut().zip(self.0).for_each(|(word, limb)| *word = limb.to_le_bytes());
        bytes
    }

    fn add(&mut self, other: Self) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = limb.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(carry.into());
            (*limb, carry) = (sum, first | second);
        }
    }

    fn subtract(&mut self, other: Self) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(other.0) {
            let (rest, first) = limb.overflowing_sub(other);
            let (rest, second) = rest.overflowing_sub(borrow.into());
            (*limb, borrow) = (rest, first | second);
        }
    }
}

/// How many values a tree has, and what they add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) count: u64,
    pub(super) sum: Element,
}

/// The values of one tree, by their elements.
#[derive(Default)]
pub(super) struct Set {
    elements: HashMap<Name, Element>,
    total: Total,
}

impl Set {
    /// Notes that a value was written, or removed.
    pub(super) fn put(&mut self, name: Name, element: Option<Element>) {
        let Self { elements, total } = self;
        let replaced = match element {
            Some(element) => {
                total.count += 1;
                total.sum.add(element);
                elements.insert(name, element)
            }
            None => elements.remove(&name),
        };
        if let Some(replaced) = replaced {
            total.count -= 1;
            total.sum.subtract(replaced);
        }
    }

    pub(super) fn total(&self) -> Total {
        self.total
    }
}

/// The values of all trees but the head's.
#[derive(Default)]
pub(super) struct Members([Set; Tree::KEPT.len()]);

impl Members {
    /// Makes room for so many values of a tree.
    pub(super) fn reserve(&mut self, tree: Tree, values: usize) {
        self.0[tree as usize].elements.reserve(values);
    }

    /// Adds those that another thread found.
    pub(super) fn extend(&mut self, other: Self) {
        for (set, other) in self.0.iter_mut().zip(other.0) {
            set.total.count += other.total.count;
            set.total.sum.add(other.total.sum);
            match set.elements.is_empty() {
                true => set.elements = other.elements,
                false => set.elements.extend(other.elements),
            }
        }
    }

    /// Notes what a batch changes.
    pub(super) fn note(&mut self, keys: &Keys, changes: &[Change]) {
        wiped_shallow(|| {
            for Change { tree, name, value } in changes {
                // The chain of entries vouches for those, and not the head.
                if *tree == Tree::Segments {
                    continue;
                }
                let element = value.as_ref().map(|value| keys.element(*tree, name, value));
                self.put(*tree, *name, element);
            }
        });
    }

    /// Notes that a value was written, or removed.
    pub(super) fn put(&mut self, tree: Tree, name: Name, element: Option<Element>) {
        self.0[tree as usize].put(name, element);
    }

    /// What the value of that name adds, if it was written.
    pub(super) fn element(&self, tree: Tree, name: &Name) -> Option<Element> {
        self.0[tree as usize].elements.get(name).copied()
    }

    /// The value that a tree has beyond what was written, where it is one and no other is missing.
    pub(super) fn foreign(&self, tree: Tree, written: Total) -> Option<Name> {
        let Set { elements, total } = &self.0[tree as usize];
        let mut rest = total.sum;
        rest.subtract(written.sum);
        let is_one_more = written.count.checked_add(1) == Some(total.count);
        let foreign = elements.iter().find(|(_, element)| is_one_more && **element == rest);
        foreign.map(|(name, _)| *name)
    }

    pub(super) fn totals(&self) -> [Total; Tree::KEPT.len()] {
        self.0.each_ref().map(Set::total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_carry_and_borrow_over_all_limbs() {
        let (max, one) = (Element([u64::MAX; 4]), Element([1, 0, 0, 0]));
        let mut sum = max;
        sum.add(one);
        assert_eq!(sum, Element::default());
        sum.subtract(one);
        assert_eq!(sum, max);
        let mut high = Element([u64::MAX, 0, 0, 1]);
        high.add(one);
        assert_eq!(high, Element([0, 1, 0, 1]));
        assert_eq!(Element::new(high.to_bytes()), high);
        assert_eq!(one.to_bytes()[..2], [1, 0], "the least byte comes first");
    }

    #[test]
    fn one_record_too_many_is_found_by_what_it_adds() {
        let element = |byte| Some(Element::new([byte; 32]));
        let mut members = Members::default();
        (1..5).for_each(|byte| members.put(Tree::Tokens, [byte; 16], element(byte)));
        let written = members.totals()[Tree::Tokens as usize];
        assert_eq!(members.foreign(Tree::Tokens, written), None);
        members.put(Tree::Tokens, [9; 16], element(0xff));
        assert_eq!(members.foreign(Tree::Tokens, written), Some([9; 16]));
        assert_eq!(members.foreign(Tree::Audit, written), None);
        members.put(Tree::Tokens, [8; 16], element(7));
        assert_eq!(members.foreign(Tree::Tokens, written), None, "of two it cannot be told");
        members.put(Tree::Tokens, [1; 16], None);
        assert_eq!(members.foreign(Tree::Tokens, written), None);
    }

    proptest! {
        /// Whatever was written and removed on the way, what is there decides.
        #[test]
        fn totals_are_those_of_what_is_there(
            steps in prop::collection::vec((0..3_usize, 0..6_u8, prop::option::of(any::<[u8; 32]>())), 0..60)
        ) {
            let mut members = Members::default();
            let mut model = std::collections::BTreeMap::new();
            for (tree, name, bytes) in steps {
                let (tree, name) = (Tree::KEPT[tree], [name; 16]);
                members.put(tree, name, bytes.map(Element::new));
                match bytes {
                    Some(bytes) => drop(model.insert((tree as usize, name), bytes)),
                    None => drop(model.remove(&(tree as usize, name))),
                }
            }
            let mut fresh = Members::default();
            for ((tree, name), bytes) in &model {
                fresh.put(Tree::KEPT[*tree], *name, Some(Element::new(*bytes)));
            }
            prop_assert_eq!(members.totals(), fresh.totals());
            let count: u64 = members.totals().iter().map(|total| total.count).sum();
            prop_assert_eq!(count, model.len() as u64);
        }
    }
}
