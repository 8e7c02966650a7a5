//! What is wrong with a database: told by how its records add up, and by which of them open.

use super::bundle::Bundle;
use super::database::Half;
use super::epoch::Epoch;
use super::head::{Head, HeadHash};
use super::index::{self, Segment};
use super::ledger;
use super::members::Members;
use super::record::HeadRow;
use super::tokens::{self, SealedSecret, TokenRecord};
use super::{Name, StoreError, Tree, grants};
use crate::crypto::RecordCipher;
use crate::crypto::stack::wiped;
use crate::id::LineageId;
use crate::policy::Book;
use crate::token::Label;
use std::collections::{BTreeMap, HashMap};
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
    /// The tokens of which something is gone: those of which nothing is left too, where the index is
    /// as it was written.
    pub tokens: Vec<DamagedToken>,
}

/// A tree whose records are not those that were written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedTree {
    /// Its name: `meta`, `tokens`, `accounts`, `audit` or `index`.
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

/// For so many tokens at most room is made before they are read.
const TOKENS_ROOM: usize = 1 << 17;

/// What was found in a database.
#[derive(Default)]
pub(super) struct Found {
    pub(super) members: Members,
    pub(super) head: Option<(Head, HeadHash)>,
    pub(super) damage: Option<Damage>,
    pub(super) tokens: Vec<(TokenRecord, SealedSecret)>,
    pub(super) books: HashMap<LineageId, Book>,
    /// Whether a record of a token does not open, or cannot be read.
    is_unreadable: bool,
}

impl Found {
    /// Reads every value once, holds what they add up to against the head, and takes into memory
    /// what is held there: tokens sealed by `memory`, and ledgers.
    pub(super) fn examine(epoch: &Epoch, memory: &RecordCipher) -> Result<Self, StoreError> {
        let head = find_head(epoch)?;
        let total =
            |tree: Tree| head.as_ref().map_or(0, |(head, _)| head.totals[tree as usize].count);
        let tokens = usize::try_from(total(Tree::Tokens)).map_or(0, |count| count.min(TOKENS_ROOM));
        // sled reads a page at a time and the rest is arithmetic: two threads share both.
        let (lower, upper) = std::thread::scope(|scope| {
            let upper = std::thread::Builder::new()
                .spawn_scoped(scope, || Self::read_half(epoch, memory, Half::UPPER, tokens / 2));
            let lower = Self::read_half(epoch, memory, Half::LOWER, tokens);
            let panicked = |_| Err(StoreError::DamagedDatabase { what: "sled panicked" });
            (lower, upper.map(|upper| upper.join().map_or_else(panicked, Ok)))
        });
        let (mut found, upper) = (lower, upper??);
        found.members.extend(upper.members);
        found.tokens.extend(upper.tokens);
        found.books.extend(upper.books);
        found.is_unreadable |= upper.is_unreadable;
        found.head = head;
        let head = found.head.as_ref().map(|(head, _)| head);
        let adds_up = head.is_some_and(|head| head.totals == found.members.totals());
        if !adds_up || found.is_unreadable {
            found.damage = Some(Damage::of(epoch, &found.members, head));
        }
        epoch.sync_read()?;
        Ok(found)
    }

    /// Reads one half of every tree, with room for so many tokens.
    fn read_half(epoch: &Epoch, memory: &RecordCipher, half: Half, tokens: usize) -> Self {
        let mut found = Self::default();
        found.members.reserve(Tree::Tokens, tokens);
        found.tokens.reserve(tokens);
        found.books.reserve(tokens);
        found.read_tokens(epoch, memory, half);
        for tree in Tree::KEPT.into_iter().filter(|tree| *tree != Tree::Tokens) {
            found.read(epoch, tree, half, |_, _, _| Ok(()));
        }
        found
    }

    /// Takes tokens and their ledgers into memory.
    fn read_tokens(&mut self, epoch: &Epoch, memory: &RecordCipher, half: Half) {
        self.read(epoch, Tree::Tokens, half, |found, name, value| {
            let bundle = Bundle::split(Tree::Tokens, value)?;
            if let Some(sealed) = bundle.get(Tree::Ledger) {
                let book = ledger::read(epoch, &name, sealed)?;
                found.books.insert(LineageId::from_bytes(name), book);
            }
            // Of a repaired vault it may be all that is left of a token that it is not known.
            if bundle.get(Tree::Tokens).is_some() {
                found.tokens.push(tokens::read(epoch, memory, name, &bundle)?);
            }
            Ok(())
        });
    }

    /// Reads the values of a tree. What sled cannot read is left out: that is told by what the
    /// rest adds up to.
    fn read(
        &mut self,
        epoch: &Epoch,
        tree: Tree,
        half: Half,
        mut take: impl FnMut(&mut Self, Name, &[u8]) -> Result<(), StoreError>,
    ) {
        wiped(|| {
            for (name, value) in epoch.values_of(tree, half).map_while(Result::ok) {
                let element = epoch.keys.element(tree, &name, &value);
                self.members.put(tree, name, Some(element));
                self.is_unreadable |= take(self, name, &value).is_err();
            }
        });
    }
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

    /// Whether the vault may have been frozen, though the record that says so is not there: it has
    /// one record but that.
    pub(super) fn may_hide_freeze(&self) -> bool {
        let meta = |damaged: &DamagedTree| damaged.tree == Tree::Meta.name();
        let may_lack = |damaged: &DamagedTree| meta(damaged) && damaged.written != Some(1);
        self.head_is_lost || self.trees.iter().any(may_lack)
    }

    /// Looks for what is wrong, record by record.
    fn of(epoch: &Epoch, members: &Members, head: Option<&Head>) -> Self {
        let mut damage = Self { head_is_lost: head.is_none(), ..Self::default() };
        let mut missing = known(epoch, head).unwrap_or_default();
        for (home, total) in Tree::KEPT.into_iter().zip(members.totals()) {
            let mut unreadable = 0;
            for (name, value) in epoch.values(home).map_while(Result::ok) {
                let parts = wiped(|| Parts::of(epoch, home, name, &value));
                let Parts { label, lacks, is_unreadable } = parts;
                unreadable += u64::from(is_unreadable);
                if home == Tree::Tokens {
                    let known = missing.remove(&LineageId::from_bytes(name));
                    if !lacks.is_empty() {
                        let label = label.or_else(|| Label::new(&known?).ok());
                        damage.tokens.push(DamagedToken { label, lacks });
                    }
                }
            }
            let written = head.map(|head| head.totals[home as usize]);
            if (written.is_some() && written != Some(total)) || unreadable > 0 {
                damage.trees.push(DamagedTree {
                    tree: home.name(),
                    written: written.map(|written| written.count),
                    found: total.count,
                    unreadable,
                });
            }
        }
        let lacks = Tree::OF_EVERY_TOKEN.map(Tree::name).to_vec();
        let lost =
            |label: &String| DamagedToken { label: Label::new(label).ok(), lacks: lacks.clone() };
        damage.tokens.extend(missing.values().map(lost));
        damage.tokens.sort();
        damage
    }
}

/// The tokens that there were, with their labels, if the index is as it was written.
pub(super) fn known(epoch: &Epoch, head: Option<&Head>) -> Option<BTreeMap<LineageId, String>> {
    let segments = index::read(epoch, head?.totals[Tree::Index as usize]).ok()?;
    Some(segments.into_iter().flat_map(Segment::tokens).collect())
}

/// What is left of one value.
struct Parts {
    label: Option<Label>,
    /// The trees whose record does not open, or is not there.
    lacks: Vec<&'static str>,
    is_unreadable: bool,
}

impl Parts {
    fn of(epoch: &Epoch, home: Tree, name: Name, value: &[u8]) -> Self {
        let trees = if home == Tree::Tokens { &Tree::OF_TOKENS[..] } else { &[home] };
        let bundle = Bundle::split(home, value);
        let mut parts = Self { label: None, lacks: Vec::new(), is_unreadable: bundle.is_err() };
        let bundle = bundle.unwrap_or_default();
        for tree in trees {
            let read = bundle.get(*tree).map(|sealed| read(epoch, *tree, name, sealed));
            parts.is_unreadable |= matches!(read, Some(Err(_)));
            match read {
                Some(Ok(label)) => parts.label = parts.label.or(label),
                None if *tree == Tree::Grants => {}
                _ => parts.lacks.push(tree.name()),
            }
        }
        let mut records = bundle.records(home).map(|(tree, _)| tree);
        if !parts.is_unreadable && records.next() == Some(Tree::Grants) {
            // It is all that there is before its token comes.
            parts.lacks.clear();
        }
        parts
    }
}

/// Reads a record; the label of its token, where it tells it.
fn read(epoch: &Epoch, tree: Tree, name: Name, sealed: &[u8]) -> Result<Option<Label>, StoreError> {
    match tree {
        Tree::Tokens => Ok(Some(tokens::info(epoch, name, sealed)?.label)),
        Tree::Secrets => {
            let row = epoch.keys.open(tree, &name, sealed)?;
            Ok(Some(tokens::label_of_secret(&row)?))
        }
        Tree::Grants => {
            let row = epoch.keys.open(tree, &name, sealed)?;
            Ok(Some(grants::label_of_grant(&row)?))
        }
        Tree::Ledger => ledger::read(epoch, &name, sealed).map(|_| None),
        _ => epoch.keys.open(tree, &name, sealed).map(|_| None),
    }
}
