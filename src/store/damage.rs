//! What is wrong with a database: told by how its records add up, and by which of them open.

use super::epoch::Epoch;
use super::head::{Head, HeadHash};
use super::ledger::Book;
use super::members::{Members, Set};
use super::record::{HeadRow, SecretRow, TokenRow};
use super::tokens::{self, SealedSecret, TokenRecord};
use super::{Name, StoreError, Tree};
use crate::crypto::RecordCipher;
use crate::crypto::stack::wiped_shallow;
use crate::id::LineageId;
use crate::token::Label;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// What is wrong with a vault's database. What is not named here is as it was written, unless
/// the head is lost, the vault was rolled back, or records were replaced by older ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Whether the head is gone: then nobody knows how many records there should be.
    pub head_is_lost: bool,
    /// Whether it is not the vault that its anchor knows either: then what is left is of an older
    /// one, or none of it is believed to be the last.
    pub is_rolled_back: bool,
    /// The trees whose records do not add up to what was written.
    pub trees: Vec<DamagedTree>,
    /// The tokens of which something is gone, where enough of them is left to tell.
    pub tokens: Vec<DamagedToken>,
}

/// A tree whose records are not those that were written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedTree {
    /// Its name: `meta`, `tokens`, `secrets`, `accounts`, `ledger` or `audit`.
    pub tree: &'static str,
    /// How many records were written, unless the head is lost.
    pub written: Option<u64>,
    /// How many are there, the unreadable ones counted.
    pub found: u64,
    /// How many of these do not open.
    pub unreadable: u64,
}

/// A token of which something is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct DamagedToken {
    /// The name it was kept under, where that is still to be read.
    pub label: Option<Label>,
    /// The trees that hold nothing readable of it.
    pub lacks: Vec<&'static str>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.head_is_lost {
            parts.push("the head is lost".to_owned());
        }
        if self.is_rolled_back {
            parts.push("what is left is not the last that its anchor knows".to_owned());
        }
        for DamagedTree { tree, written, found, unreadable } in &self.trees {
            parts.push(match (written, found.saturating_sub(*unreadable)) {
                (Some(written), good) if good == *written => {
                    format!("{tree}: records were replaced")
                }
                (Some(written), good) => format!("{tree}: {good} of {written} records are left"),
                (None, good) => format!("{tree}: {good} of {found} records open"),
            });
        }
        for DamagedToken { label, lacks } in &self.tokens {
            let label = label.as_ref().map_or("a token", Label::as_str);
            parts.push(format!("{label} lacks its {}", lacks.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}

/// What was found in a database.
#[derive(Default)]
pub(super) struct Found {
    pub(super) members: Members,
    pub(super) head: Option<(Head, HeadHash)>,
    pub(super) damage: Option<Damage>,
    pub(super) tokens: Vec<(TokenRecord, SealedSecret)>,
    pub(super) books: HashMap<LineageId, Book>,
}

impl Found {
    /// Reads every record once, holds what they add up to against the head, and takes into memory
    /// what is held there: tokens sealed by `memory`, and ledgers.
    pub(super) fn examine(epoch: &Epoch, memory: &RecordCipher) -> Result<Self, StoreError> {
        let mut records = Vec::new();
        let mut secrets = Vec::new();
        let mut books = HashMap::new();
        // sled reads a page at a time and the rest is arithmetic: two threads share both.
        let (first, second) = std::thread::scope(|scope| {
            let other = std::thread::Builder::new().spawn_scoped(scope, || {
                let secrets = Self::scan(epoch, Tree::Secrets, |name, sealed| {
                    let row = epoch.keys.open(Tree::Secrets, &name, sealed)?;
                    secrets.push((name, SealedSecret::seal(memory, &name, &row)?));
                    Ok(())
                })?;
                let accounts = Self::scan(epoch, Tree::Accounts, |_, _| Ok(()))?;
                Ok::<_, StoreError>([(Tree::Secrets, secrets), (Tree::Accounts, accounts)])
            });
            let mut own = || {
                let tokens = Self::scan(epoch, Tree::Tokens, |name, sealed| {
                    records.push((name, tokens::read(epoch, name, sealed)?));
                    Ok(())
                })?;
                let ledger = Self::scan(epoch, Tree::Ledger, |name, sealed| {
                    let lineage = LineageId::from_bytes(name);
                    books.insert(lineage, Book::read(epoch, &name, sealed)?);
                    Ok(())
                })?;
                let meta = Self::scan(epoch, Tree::Meta, |_, _| Ok(()))?;
                let audit = Self::scan(epoch, Tree::Audit, |_, _| Ok(()))?;
                Ok::<_, StoreError>([
                    (Tree::Tokens, tokens),
                    (Tree::Ledger, ledger),
                    (Tree::Meta, meta),
                    (Tree::Audit, audit),
                ])
            };
            let own = own();
            let panicked = |_| Err(StoreError::DamagedDatabase { what: "sled panicked" });
            (own, other.map(|other| other.join().unwrap_or_else(panicked)))
        });
        let mut members = Members::default();
        first?.into_iter().chain(second??).for_each(|(tree, set)| members.begin(tree, set));
        let head = find_head(epoch)?;
        let adds_up = head.as_ref().is_some_and(|(head, _)| head.totals == members.totals());
        let damage = match adds_up {
            true => None,
            false => Some(Damage::of(epoch, &members, head.as_ref().map(|(head, _)| head))),
        };
        Ok(Self { members, head, damage, tokens: join(records, secrets), books })
    }

    /// Reads the records of a tree. What `take` cannot read, and what sled cannot, is left out:
    /// whether that matters is told by what the rest adds up to.
    fn scan(
        epoch: &Epoch,
        tree: Tree,
        mut take: impl FnMut(Name, &[u8]) -> Result<(), StoreError>,
    ) -> Result<Set, StoreError> {
        let mut set = Set::default();
        wiped_shallow(|| {
            for (name, sealed) in epoch.records(tree).map_while(Result::ok) {
                set.put(name, Some(epoch.keys.element(tree, &name, &sealed)));
                let _ = take(name, &sealed);
            }
        });
        Ok(set)
    }
}

/// Each token with its secret; both are in the order of their names.
fn join(
    records: Vec<(Name, TokenRecord)>,
    secrets: Vec<(Name, SealedSecret)>,
) -> Vec<(TokenRecord, SealedSecret)> {
    let mut secrets = secrets.into_iter().peekable();
    let with_secret = records.into_iter().filter_map(|(name, record)| {
        while secrets.next_if(|(other, _)| *other < name).is_some() {}
        let (_, secret) = secrets.next_if(|(other, _)| *other == name)?;
        Some((record, secret))
    });
    with_secret.collect()
}

/// The head, unless it is gone or does not open.
fn find_head(epoch: &Epoch) -> Result<Option<(Head, HeadHash)>, StoreError> {
    let name = epoch.keys.name(Tree::Head, &Head::key());
    let sealed = match epoch.get(Tree::Head, &name) {
        // sled reads a page when it is asked for, so that it may find it corrupt only here.
        Err(StoreError::DamagedDatabase { .. }) => None,
        sealed => sealed?,
    };
    let Some(sealed) = sealed else { return Ok(None) };
    let row = epoch.keys.read::<HeadRow>(Tree::Head, &name, &sealed).ok();
    Ok(row.map(|row| (row.into(), Head::hash(&sealed))))
}

impl Damage {
    /// Whether a tree's records are not those that were written, as far as that is known.
    pub(super) fn befell(&self, tree: Tree) -> bool {
        self.head_is_lost || self.trees.iter().any(|damaged| damaged.tree == tree.name())
    }

    /// Looks for what is wrong, record by record.
    fn of(epoch: &Epoch, members: &Members, head: Option<&Head>) -> Self {
        let mut damage = Self { head_is_lost: head.is_none(), ..Self::default() };
        let mut parts: BTreeMap<Name, Parts> = BTreeMap::new();
        for (tree, total) in Tree::KEPT.into_iter().zip(members.totals()) {
            let mut unreadable = 0;
            for (name, sealed) in epoch.records(tree).map_while(Result::ok) {
                let label = match tree {
                    Tree::Tokens => epoch
                        .keys
                        .read::<TokenRow>(tree, &name, &sealed)
                        .map(|row| Label::new(&row.label).ok()),
                    Tree::Secrets => epoch
                        .keys
                        .read::<SecretRow>(tree, &name, &sealed)
                        .map(|row| Label::new(&row.label).ok()),
                    _ => epoch.keys.open(tree, &name, &sealed).map(|_| None),
                };
                unreadable += u64::from(label.is_err());
                if Tree::OF_TOKENS.contains(&tree) {
                    let part = parts.entry(name).or_default();
                    if let Ok(label) = label {
                        part.whole.insert(tree.name());
                        part.label = part.label.take().or(label);
                    }
                }
            }
            let written = head.map(|head| head.totals[tree as usize]);
            if written != Some(total) && (written.is_some() || unreadable > 0) {
                damage.trees.push(DamagedTree {
                    tree: tree.name(),
                    written: written.map(|written| written.count),
                    found: total.count,
                    unreadable,
                });
            }
        }
        for Parts { label, whole } in parts.into_values() {
            let lacks = Tree::OF_TOKENS.map(Tree::name).into_iter();
            let lacks: Vec<_> = lacks.filter(|tree| !whole.contains(tree)).collect();
            if !lacks.is_empty() {
                damage.tokens.push(DamagedToken { label, lacks });
            }
        }
        damage.tokens.sort();
        damage
    }
}

/// What is left of one token.
#[derive(Default)]
struct Parts {
    label: Option<Label>,
    whole: BTreeSet<&'static str>,
}
