//! What is wrong with a database: told by how its records add up, and by which of them open.

use super::epoch::Epoch;
use super::head::{Head, HeadHash};
use super::members::Members;
use super::record::{HeadRow, SecretRow, TokenRow};
use super::{Name, StoreError, Tree};
use crate::crypto::stack::wiped_shallow;
use crate::token::Label;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is wrong with a vault's database. What is not named here is as it was written, unless
/// the head is lost or records were replaced by older ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Whether the head is gone: then nobody knows how many records there should be.
    pub head_is_lost: bool,
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
    /// Whether it could not be read to its end: what comes after that place may be there, and is
    /// out of reach.
    pub is_cut: bool,
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
        for DamagedTree { tree, written, found, unreadable, is_cut } in &self.trees {
            let records = match (written, found - unreadable) {
                (Some(written), good) if good == *written && !is_cut => {
                    "records were replaced".into()
                }
                (Some(written), good) => format!("{good} of {written} records are left"),
                (None, good) => format!("{good} of {found} records open"),
            };
            let end = if *is_cut { ", then it is corrupt" } else { "" };
            parts.push(format!("{tree}: {records}{end}"));
        }
        for DamagedToken { label, lacks } in &self.tokens {
            let label = label.as_ref().map_or("a token", Label::as_str);
            parts.push(format!("{label} lacks its {}", lacks.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}

/// What was found in a database.
pub(super) struct Found {
    pub(super) members: Members,
    pub(super) head: Option<(Head, HeadHash)>,
    pub(super) damage: Option<Damage>,
}

impl Found {
    /// Reads every record, and holds what they add up to against the head. sled reads pages as they
    /// are asked for, so that it may find one corrupt only here.
    pub(super) fn examine(epoch: &Epoch) -> Result<Self, StoreError> {
        let mut members = Members::default();
        let mut is_cut = false;
        for tree in Tree::KEPT {
            let read = wiped_shallow(|| {
                epoch.records(tree).try_for_each(|entry| {
                    let (name, sealed) = entry?;
                    members.put(tree, name, Some(epoch.keys.element(tree, &name, &sealed)));
                    Ok(())
                })
            });
            is_cut |= uncorrupted(read)?.is_none();
        }
        let head = find_head(epoch)?;
        let adds_up = head.as_ref().is_some_and(|(head, _)| head.totals == members.totals());
        let damage = match adds_up && !is_cut {
            true => None,
            false => Some(Damage::of(epoch, &members, head.as_ref().map(|(head, _)| head))?),
        };
        Ok(Self { members, head, damage })
    }
}

/// What was read, or `None` where the database is corrupt. What the file system refused may be
/// there the next time: that is no damage.
fn uncorrupted<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(StoreError::DamagedDatabase { .. } | StoreError::Unreadable { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The head, unless it is gone or does not open.
fn find_head(epoch: &Epoch) -> Result<Option<(Head, HeadHash)>, StoreError> {
    let name = epoch.keys.name(Tree::Head, &Head::key());
    let sealed = uncorrupted(epoch.get(Tree::Head, &name))?.flatten();
    let Some(sealed) = sealed else { return Ok(None) };
    let row = epoch.keys.read::<HeadRow>(Tree::Head, &name, &sealed).ok();
    Ok(row.map(|row| (row.into(), Head::hash(&sealed))))
}

impl Damage {
    /// Looks for what is wrong, record by record.
    fn of(epoch: &Epoch, members: &Members, head: Option<&Head>) -> Result<Self, StoreError> {
        let mut damage = Self { head_is_lost: head.is_none(), ..Self::default() };
        let mut parts: BTreeMap<Name, Parts> = BTreeMap::new();
        for (tree, total) in Tree::KEPT.into_iter().zip(members.totals()) {
            let (mut unreadable, mut is_cut) = (0, false);
            for entry in epoch.records(tree) {
                let Some((name, sealed)) = uncorrupted(entry)? else {
                    is_cut = true;
                    break;
                };
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
            let adds_up = match written {
                Some(written) => written == total,
                None => unreadable == 0,
            };
            if !adds_up || is_cut {
                damage.trees.push(DamagedTree {
                    tree: tree.name(),
                    written: written.map(|written| written.count),
                    found: total.count,
                    unreadable,
                    is_cut,
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
        Ok(damage)
    }
}

/// What is left of one token.
#[derive(Default)]
struct Parts {
    label: Option<Label>,
    whole: BTreeSet<&'static str>,
}
