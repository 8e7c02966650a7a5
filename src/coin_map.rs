//! A map from coins, as small as what it holds: a token has limits for a coin or two, and a tree's
//! node would take up about a kilobyte for each token that is held.

use crate::money::Coin;
use std::fmt;
use std::ops::Index;

/// Values by coin, in the order of the coins' names.
#[derive(Clone, PartialEq, Eq)]
pub struct CoinMap<V>(Box<[(Coin, V)]>);

impl<V> CoinMap<V> {
    /// The value of a coin.
    pub fn get(&self, coin: &Coin) -> Option<&V> {
        let at = self.0.binary_search_by(|(other, _)| other.cmp(coin)).ok()?;
        Some(&self.0[at].1)
    }

    /// Where a coin's value stands, for [`CoinMap::at_mut`].
    pub(crate) fn position(&self, coin: &Coin) -> Option<usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(coin)).ok()
    }

    pub(crate) fn at(&self, position: usize) -> Option<&V> {
        self.0.get(position).map(|(_, value)| value)
    }

    pub(crate) fn at_mut(&mut self, position: usize) -> Option<&mut V> {
        self.0.get_mut(position).map(|(_, value)| value)
    }

    /// All values, with their coins.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Coin, &V)> {
        self.0.iter().map(|(coin, value)| (coin, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Coin, &mut V)> {
        self.0.iter_mut().map(|(coin, value)| (&*coin, value))
    }

    /// How many coins there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> IntoIterator for CoinMap<V> {
    type Item = (Coin, V);
    type IntoIter = std::vec::IntoIter<(Coin, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_vec().into_iter()
    }
}

impl<V> Default for CoinMap<V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<V> FromIterator<(Coin, V)> for CoinMap<V> {
    /// Of several values of one coin the last counts.
    fn from_iter<I: IntoIterator<Item = (Coin, V)>>(values: I) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        // Of one coin's values the last stays, as in any map.
        values.reverse();
        values.sort_by(|(one, _), (other, _)| one.cmp(other));
        values.dedup_by(|(one, _), (other, _)| one == other);
        Self(values.into())
    }
}

impl<V, const N: usize> From<[(Coin, V); N]> for CoinMap<V> {
    fn from(values: [(Coin, V); N]) -> Self {
        values.into_iter().collect()
    }
}

impl<V> Index<&Coin> for CoinMap<V> {
    type Output = V;

    /// # Panics
    /// Without a value of that coin.
    fn index(&self, coin: &Coin) -> &V {
        self.get(coin).expect("no value of this coin")
    }
}

impl<V: fmt::Debug> fmt::Debug for CoinMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_answers_as_a_tree_does(
            values in prop::collection::vec(("[a-e]{1,2}", any::<u8>()), 0..12),
            asked in "[a-e]{1,2}",
        ) {
            let coin = |name: &str| Coin::new(name).unwrap();
            let values = || values.iter().map(|(name, value)| (coin(name), *value));
            let mut map: CoinMap<u8> = values().collect();
            let tree: std::collections::BTreeMap<Coin, u8> = values().collect();
            prop_assert!(map.iter().eq(&tree));
            prop_assert_eq!((map.len(), map.is_empty()), (tree.len(), tree.is_empty()));
            prop_assert_eq!(map.get(&coin(&asked)), tree.get(&coin(&asked)));
            let found = map.position(&coin(&asked));
            prop_assert_eq!(found.and_then(|at| map.at_mut(at).copied()), tree.get(&coin(&asked)).copied());
            prop_assert_eq!(format!("{map:?}"), format!("{tree:?}"));
        }
    }
}
