//! What stands under one name: the one record of any tree, or those of a token together, since sled
//! pays for each value that it reads.
//!
//! ```text
//! value of a token = of tokens, secrets, ledger, grants in this order: length (4) ‖ sealed record
//! ```
//!
//! Integers are little-endian; a length of 0 means that there is none. Each record is sealed by
//! itself, so that a ledger changes without the token being opened.

use super::{StoreError, Tree};

/// The sealed records under one name. All but a token have one, in the first place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bundle<T>([Option<T>; Tree::OF_TOKENS.len()]);

impl<'a> Bundle<&'a [u8]> {
    /// The records of a value of `home`, which are not copied.
    pub(super) fn split(home: Tree, value: &'a [u8]) -> Result<Self, StoreError> {
        if home != Tree::Tokens {
            return Ok(Self([Some(value), None, None, None]));
        }
        let mut rest = value;
        let parts = [(); Tree::OF_TOKENS.len()].map(|()| {
            let (length, after) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (sealed, after) = after.split_at_checked(length)?;
            rest = after;
            Some((length > 0).then_some(sealed))
        });
        match parts {
            [Some(info), Some(secret), Some(ledger), Some(grant)] if rest.is_empty() => {
                Ok(Self([info, secret, ledger, grant]))
            }
            _ => Err(StoreError::unreadable(home, "a value is not the records of a token")),
        }
    }

    pub(super) fn to_owned(&self) -> Bundle<Vec<u8>> {
        Bundle(self.0.map(|part| part.map(Vec::from)))
    }
}

impl<T: AsRef<[u8]>> Bundle<T> {
    /// The record of a tree.
    pub(super) fn get(&self, tree: Tree) -> Option<&T> {
        self.0[place(tree)].as_ref()
    }

    /// Puts a record in its place, or takes it away.
    pub(super) fn set(&mut self, tree: Tree, sealed: Option<T>) {
        self.0[place(tree)] = sealed;
    }

    /// Whether it holds a token, or what one is got with.
    pub(super) fn is_of_token(&self) -> bool {
        self.get(Tree::Secrets).is_some() || self.get(Tree::Grants).is_some()
    }

    /// The records that there are, each with its tree.
    pub(super) fn records(&self, home: Tree) -> impl Iterator<Item = (Tree, &T)> {
        let trees = Tree::OF_TOKENS.map(|tree| if home == Tree::Tokens { tree } else { home });
        trees.into_iter().zip(&self.0).filter_map(|(tree, part)| Some((tree, part.as_ref()?)))
    }

    /// The value that it stands in, if there is any record.
    pub(super) fn join(mut self, home: Tree) -> Option<Vec<u8>>
    where
        T: Into<Vec<u8>>,
    {
        if home != Tree::Tokens {
            return self.0[0].take().map(Into::into);
        }
        if self.0.iter().all(Option::is_none) {
            return None;
        }
        let parts = self.0.each_ref().map(|part| part.as_ref().map_or(&[][..], AsRef::as_ref));
        let mut value = Vec::with_capacity(parts.map(|part| 4 + part.len()).iter().sum());
        for part in parts {
            // A record has 64 KiB at most.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            value.extend_from_slice(&length.to_le_bytes());
            value.extend_from_slice(part);
        }
        Some(value)
    }
}

fn place(tree: Tree) -> usize {
    match tree {
        Tree::Secrets => 1,
        Tree::Ledger => 2,
        Tree::Grants => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_as_it_is_drawn() {
        let mut bundle = Bundle::default();
        assert_eq!(bundle.clone().join(Tree::Tokens), None);
        bundle.set(Tree::Tokens, Some(b"info".to_vec()));
        bundle.set(Tree::Ledger, Some(b"sum".to_vec()));
        let value = bundle.clone().join(Tree::Tokens).unwrap();
        let drawn = [&[4, 0, 0, 0][..], b"info", &[0; 4], &[3, 0, 0, 0], b"sum", &[0; 4]].concat();
        assert_eq!(value, drawn);
        let split = Bundle::split(Tree::Tokens, &value).unwrap();
        assert_eq!(split.to_owned(), bundle);
        let records: Vec<_> = split.records(Tree::Tokens).map(|(tree, _)| tree).collect();
        assert_eq!(records, [Tree::Tokens, Tree::Ledger]);
        assert_eq!(split.get(Tree::Secrets), None);
        // Any other tree's value is its record.
        let split = Bundle::split(Tree::Audit, &value).unwrap();
        assert_eq!(split.records(Tree::Audit).collect::<Vec<_>>(), [(Tree::Audit, &&value[..])]);
        assert_eq!(split.join(Tree::Audit).as_deref(), Some(&value[..]));
    }

    #[test]
    fn what_is_no_tokens_records_is_refused() {
        let mut bundle = Bundle::default();
        Tree::OF_TOKENS.iter().for_each(|tree| bundle.set(*tree, Some(b"sealed".to_vec())));
        let value = bundle.join(Tree::Tokens).unwrap();
        for end in 0..value.len() {
            assert!(Bundle::split(Tree::Tokens, &value[..end]).is_err(), "cut at {end}");
        }
        assert!(Bundle::split(Tree::Tokens, &[&value[..], &[0]].concat()).is_err());
        assert!(Bundle::split(Tree::Tokens, &[0xff; 64]).is_err());
    }
}
