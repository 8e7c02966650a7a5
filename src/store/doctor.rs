//! The doctor: looks at a vault and says what it finds. It mends nothing.
//!
//! Without the passphrase it sees the header's clear part, which files there are, and their modes; with it, whether
//! all records add up and are the last. What opening would refuse is told as that very error.

use super::anchor;
use super::damage::Found;
use super::database::Database;
use super::directory::Directory;
use super::lock::LockFile;
use super::opening::{Unlocked, judge, state};
use super::{CREATING, Header, Holder, Place, StoreError, Tree, header, memory_cipher};
use crate::crypto::{KdfParams, VaultId};
use crate::locked::LockLevel;
use crate::secret::Passphrase;
use chrono::{DateTime, Utc};
use std::fs;
use std::path::Path;

/// What was found in a vault's directory.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Who has it open; then no more was looked at than the header.
    pub holder: Option<Holder>,
    /// What the header says, if it can be read.
    pub header: Option<HeaderReport>,
    /// What all files of the vault take up, in bytes.
    pub size_on_disk: u64,
    /// What a kill or a repair has left there. Opening removes `CREATING` and databases
    /// that are not in use, the next rewrite `header.new`; `damaged.*` and `*.aside` stay until you
    /// remove them.
    pub leftovers: Vec<String>,
    /// What is kept, if the passphrase opened it.
    pub contents: Option<Contents>,
    /// What is wrong, gravest first. Empty means that the vault opens, as far as could be seen.
    pub faults: Vec<StoreError>,
}

/// What the header says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderReport {
    /// How often it was rewritten.
    pub generation: u64,
    /// The epoch in use: how often the data key was replaced.
    pub epoch: u32,
    /// Records sealed under the data key in use, at most. At 2^31 it must be replaced.
    pub seals: u64,
    /// The costs of deriving the key.
    pub kdf: KdfParams,
    /// Whether a rekey was cut short; opening finishes it.
    pub is_rekeying: bool,
}

/// What a vault keeps, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// Commits since the vault was made.
    pub sequence: u64,
    /// Tokens.
    pub tokens: u64,
    /// Accounts whose key is kept.
    pub accounts: u64,
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// How well keys are kept in memory here.
    pub lock_level: LockLevel,
}

impl Report {
    /// Looks at the vault in a place; at its records too, if the passphrase is given.
    pub(crate) fn of(place: &Place, passphrase: Option<&Passphrase>, now: DateTime<Utc>) -> Self {
        let mut report = Self::default();
        let (dir, mut vault_id) = (place.path(), None);
        match Header::read(dir) {
            Ok(header) => {
                report.header = Some(HeaderReport::of(&header));
                vault_id = Some(header.vault_id);
            }
            Err(_) if is_none(dir) => {
                report.faults.push(StoreError::NotFound { path: dir.into() });
                return report;
            }
            Err(error) => report.faults.push(error),
        }
        report.size_on_disk = size(dir);
        let epoch = report.header.map(|header| header.epoch);
        report.leftovers = leftovers(dir, epoch).unwrap_or_default();
        if report.faults.is_empty()
            && let Err(error) = report.look_inside(place, vault_id, passphrase, now)
        {
            if let StoreError::InUse { holder, .. } = &error {
                report.holder.clone_from(holder);
            }
            report.faults.push(error);
        }
        report
    }

    fn look_inside(
        &mut self,
        place: &Place,
        vault_id: Option<VaultId>,
        passphrase: Option<&Passphrase>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Some(passphrase) = passphrase else {
            LockFile::take(&Directory::open(place)?, now)?;
            let epoch = self.header.map_or(0, |header| header.epoch);
            if !Database::log(place.path(), epoch).is_file() {
                return Err(StoreError::DamagedDatabase { what: "it is missing" });
            }
            let path = place.anchor_path();
            return match anchor::peek(&path)? {
                Some((of, _)) if vault_id.is_some_and(|own| own.0 != of) => {
                    Err(StoreError::DamagedAnchor { path })
                }
                Some(_) => Ok(()),
                None => Err(StoreError::NoAnchor { path }),
            };
        };
        let unlocked = Unlocked::new(place, passphrase, now)?;
        let found = Found::examine(&unlocked.epoch, &*memory_cipher()?)?;
        let count = |tree: Tree| found.members.totals()[tree as usize].count;
        self.contents = Some(Contents {
            sequence: found.head.map_or(0, |(head, _)| head.sequence),
            tokens: count(Tree::Tokens),
            accounts: count(Tree::Accounts),
            audit_entries: found.head.map_or(0, |(head, _)| head.audit.entries),
            lock_level: unlocked.epoch.keys.lock_level(),
        });
        judge(&found, &unlocked.anchor, state(&found, &unlocked.keyring.header))
    }
}

impl HeaderReport {
    fn of(header: &Header) -> Self {
        let Header { generation, epoch, seals, kdf, .. } = *header;
        Self { generation, epoch, seals, kdf, is_rekeying: header.is_rekeying() }
    }
}

/// Whether no vault was ever whole there, so that one may be made: as creation and opening see it.
fn is_none(dir: &Path) -> bool {
    let is_being_made = || dir.join(CREATING).exists();
    !dir.join(header::FILE).exists() && (is_being_made() || !Database::is_any_in(dir))
}

/// What the files below a directory take up; what cannot be read counts nothing.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// What is in a vault's directory and not in use, by name.
pub(super) fn leftovers(dir: &Path, epoch: Option<u32>) -> std::io::Result<Vec<String>> {
    let is_left = |name: &String| match Database::epoch_of(name) {
        Some(found) => Some(found) != epoch,
        None => {
            [CREATING, header::TEMPORARY].contains(&name.as_str())
                || name.starts_with("damaged.")
                || name.ends_with(".aside")
                || name.ends_with(".aside.new")
        }
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string().ok().filter(is_left));
    }
    names.sort();
    Ok(names)
}
