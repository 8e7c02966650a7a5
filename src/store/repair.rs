//! What is left of a damaged vault, made whole: in a new epoch, with what a backup knows of the rest.
//!
//! ```text
//! header, anchor, db.<e>  ──copied──> damaged.<e>/    nothing is lost: it opens, degraded, as a vault
//! every record that opens, then from the backup what is missing of the tokens that there were ──> db.<e+1>
//! ```
//!
//! Which tokens there were is told by the index. Where that is not as it was written, those count of
//! which something is left: of others nobody knows whether they were removed since. Where the tokens' values do not add up, or are not the last that the anchor knows,
//! any of them may be an older one: then none has the right to raw exposure, which may have been
//! withdrawn, and no ledger is believed.

use super::audit::{self, Chain};
use super::backup::Reader;
use super::bundle::Bundle;
use super::committer::Writer;
use super::damage::{self, Damage};
use super::database::Database;
use super::head::AuditEnd;
use super::record::{self, Binding, SecretRow, TokenRow};
use super::rekey::Filling;
use super::{Key, StoreError, Tree, anchor, freeze, grants, header, index, ledger, snapshot, sync};
use crate::crypto::VaultId;
use crate::environment::Environment;
use crate::id::LineageId;
use crate::secret::{Passphrase, SecretBytes};
use crate::token::Label;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What a repair has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// What was wrong.
    pub damage: Damage,
    /// Where the vault as it was found is kept: a vault itself, to be opened degraded. Once nothing
    /// in it is missed any more, remove it.
    pub kept_at: PathBuf,
    /// The tokens that are whole again by the backup.
    pub restored: Vec<Label>,
    /// The tokens that are gone, where their labels are known: issue them anew.
    pub lost: Vec<Label>,
    /// The tokens that are there, but of which BitGo alone knows what they may do
    /// ([`Vault::reclaim`](crate::Vault::reclaim)).
    pub unknown: Vec<Label>,
    /// Whether no token spends until it is reconciled, since the ledgers may not be the last: so
    /// it is once anything of any token was lost.
    pub is_unreconciled: bool,
}

/// What a repair starts from.
pub(super) struct Plan {
    pub(super) damage: Damage,
    pub(super) backup: Option<Spare>,
    /// What it is bound to, where that is known without it.
    pub(super) environment: Option<Environment>,
    /// Whether the tokens and their ledgers add up, and are the last.
    pub(super) trusts_tokens: bool,
}

impl Writer {
    /// Makes the vault whole.
    pub(super) fn repair(&mut self, plan: Plan) -> Result<Repair, StoreError> {
        let Plan { damage, backup, environment, trusts_tokens } = plan;
        let kept_at = self.keep_aside()?;
        let is_unreconciled = !trusts_tokens;
        let mut told = Repair { damage, kept_at, is_unreconciled, ..Repair::default() };
        self.replace_epoch(|writer, filling| {
            let mut salvage = Salvage::of(writer);
            if let Some(backup) = backup {
                salvage.complete(backup);
            }
            if !trusts_tokens {
                salvage.forbid_exposure();
            }
            salvage.put_into(filling, environment.as_ref(), &mut told)
        })?;
        Ok(told)
    }

    /// Copies the vault as it is to a directory beside, which is a vault itself.
    fn keep_aside(&self) -> Result<PathBuf, StoreError> {
        let dir = self.disk.directory.path();
        let number = self.disk.epoch().number;
        let kept = dir.join(format!("damaged.{number}"));
        // One that a kill cut short is made anew.
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&kept)?;
        for name in [header::FILE, anchor::FILE] {
            if dir.join(name).exists() {
                fs::copy(dir.join(name), kept.join(name))?;
                sync(&kept.join(name))?;
            }
        }
        snapshot::copy(&Database::path(dir, number), &Database::path(&kept, number))?;
        sync(&kept)?;
        sync(dir)?;
        Ok(kept)
    }
}

/// The records of a backup, by tree and key.
pub(super) type Spare = BTreeMap<(u8, Vec<u8>), SecretBytes>;

/// Reads a backup of this very vault.
pub(super) fn read_backup(
    path: &Path,
    passphrase: &Passphrase,
    vault_id: VaultId,
) -> Result<Spare, StoreError> {
    let records = Reader::open(path, passphrase)?;
    if records.origin().vault_id != vault_id {
        return Err(StoreError::OtherBackup);
    }
    records.map(|record| record.map(|record| ((record.tree, record.key), record.row))).collect()
}

/// What is left, opened.
#[derive(Default)]
struct Salvage {
    /// Which tokens there were, where that is known.
    known: Option<BTreeMap<LineageId, String>>,
    /// By lineage: all of which a record opens. One that does not may be anybody's.
    tokens: BTreeMap<[u8; 16], Parts>,
    audit: Vec<(Tree, Key, SecretBytes)>,
    others: Vec<(Tree, Key, SecretBytes)>,
}

/// What is left of one token.
#[derive(Default)]
struct Parts {
    info: Option<SecretBytes>,
    secret: Option<SecretBytes>,
    ledger: Option<SecretBytes>,
    grant: Option<SecretBytes>,
    /// Whether something came from a backup.
    is_mended: bool,
}

impl Parts {
    fn of(&mut self, tree: Tree) -> Option<&mut Option<SecretBytes>> {
        match tree {
            Tree::Tokens => Some(&mut self.info),
            Tree::Secrets => Some(&mut self.secret),
            Tree::Ledger => Some(&mut self.ledger),
            Tree::Grants => Some(&mut self.grant),
            _ => None,
        }
    }

    fn label(&self) -> Option<Label> {
        let by_info = || {
            let row = record::decode::<TokenRow<'_>>(self.info.as_ref()?).ok()?;
            Some(row.label.into_owned())
        };
        let by_secret = || {
            let row = record::decode::<SecretRow>(self.secret.as_ref()?).ok()?;
            Some(row.label.clone())
        };
        let by_grant = || grants::label_of_grant(self.grant.as_ref()?).ok();
        let told = by_info().or_else(by_secret);
        told.and_then(|label| Label::new(&label).ok()).or_else(by_grant)
    }
}

impl Salvage {
    fn of(writer: &Writer) -> Self {
        let epoch = writer.disk.epoch();
        let known = damage::known(&epoch, Some(&writer.head));
        let mut salvage = Self { known, ..Self::default() };
        let homes = Tree::KEPT.into_iter().filter(|home| *home != Tree::Index);
        for home in homes.chain([Tree::Segments]) {
            // An old value put back opens as well. One too many is known by what it adds.
            let written = writer.head.totals.get(home as usize);
            let foreign = written.and_then(|written| writer.members.foreign(home, *written));
            // Where sled can read no further, what it has listed is what is left.
            for (name, value) in epoch.values(home).map_while(Result::ok) {
                let is_removed = home == Tree::Tokens && salvage.is_removed(name);
                let Ok(bundle) = Bundle::split(home, &value) else { continue };
                if is_removed || foreign == Some(name) {
                    continue;
                }
                for (tree, sealed) in bundle.records(home) {
                    let Ok(row) = epoch.keys.open(tree, &name, sealed) else { continue };
                    let Ok(key) = Key::of(&epoch.keys, tree, name, &row) else { continue };
                    salvage.take(tree, key, row);
                }
            }
        }
        salvage
    }

    /// Whether it is known that there was no such token.
    fn is_removed(&self, lineage: [u8; 16]) -> bool {
        let lineage = LineageId::from_bytes(lineage);
        self.known.as_ref().is_some_and(|known| !known.contains_key(&lineage))
    }

    fn take(&mut self, tree: Tree, key: Key, row: SecretBytes) {
        match (tree, key) {
            (Tree::Audit | Tree::Segments, key) => {
                let known = |other: &(Tree, Key, _)| other.0 == tree && other.1 == key;
                if !self.audit.iter().any(known) {
                    self.audit.push((tree, key, row));
                }
            }
            (_, Key::Id(lineage)) => {
                let parts = self.tokens.entry(lineage).or_default();
                if let Some(part) = parts.of(tree) {
                    *part = Some(row);
                }
            }
            (_, key) => self.others.push((tree, key, row)),
        }
    }

    /// Adds what the backup has of what is missing.
    fn complete(&mut self, backup: Spare) {
        for ((number, key), row) in backup {
            let (Ok(tree), Ok(key)) = (Tree::numbered(number), Key::parse(&key)) else { continue };
            let known = |other: &(Tree, Key, _)| other.0 == tree && other.1 == key;
            match &key {
                Key::Id(lineage) => {
                    // A token of which nothing is left may have been removed since.
                    if self.known.is_none() && !self.tokens.contains_key(lineage)
                        || self.is_removed(*lineage)
                    {
                        continue;
                    }
                    let parts = self.tokens.entry(*lineage).or_default();
                    let row = match tree {
                        Tree::Tokens => unexposed(&row),
                        Tree::Ledger => ledger::unreconciled(&row, false),
                        Tree::Grants => grants::perhaps_spent(&row),
                        _ => Ok(row),
                    };
                    let Some(part) = parts.of(tree) else { continue };
                    if let (None, Ok(row)) = (&part, row) {
                        *part = Some(row);
                        parts.is_mended = true;
                    }
                }
                Key::Text(_) if [Tree::Audit, Tree::Segments].contains(&tree) => {
                    self.take(tree, key, row);
                }
                Key::Text(_) if self.others.iter().any(known) => {}
                // It may have been thawed since; whether it is frozen is told without the backup.
                Key::Text(_) if tree == Tree::Meta && key == freeze::key() => {}
                Key::Text(_) => self.take(tree, key, row),
            }
        }
    }

    /// Any of the rules may be an older one. What cannot be read BitGo tells anew.
    fn forbid_exposure(&mut self) {
        for parts in self.tokens.values_mut() {
            parts.info = parts.info.take().and_then(|row| unexposed(&row).ok());
        }
    }

    fn put_into(
        self,
        filling: &mut Filling,
        environment: Option<&Environment>,
        told: &mut Repair,
    ) -> Result<AuditEnd, StoreError> {
        for (tree, key, row) in &self.others {
            filling.put(*tree, key, row)?;
        }
        let has = |wanted: &Key| {
            self.others.iter().any(|(tree, key, _)| *tree == Tree::Meta && key == wanted)
        };
        if told.damage.may_hide_freeze() && !has(&freeze::key()) {
            filling.put(Tree::Meta, &freeze::key(), &freeze::row()?)?;
        }
        if !has(&Key::binding()) {
            let environment = environment.ok_or(StoreError::NoEnvironment)?;
            let binding = record::encode(&Binding::of(environment))?;
            filling.put(Tree::Meta, &Key::binding(), &binding)?;
        }
        let lost = self.known.iter().flatten();
        let lost = lost.filter(|(lineage, _)| !self.tokens.contains_key(lineage.as_bytes()));
        told.lost.extend(lost.filter_map(|(_, label)| Label::new(label).ok()));
        let mut chain = Chain::default();
        self.audit.iter().try_for_each(|(tree, _, row)| chain.add(*tree, row))?;
        let (exposed, mut known) = (chain.exposed(), BTreeMap::new());
        for (lineage, parts) in self.tokens {
            let (key, label) = (Key::Id(lineage), parts.label());
            let lineage = LineageId::from_bytes(lineage);
            let Parts { info, secret, ledger, grant, is_mended } = parts;
            let name = label.as_ref().map_or(String::new(), ToString::to_string);
            let Some(secret) = secret else {
                // Nobody else has its refresh token: signing in goes on with that.
                if let Some(grant) = grant {
                    known.insert(lineage, name);
                    filling.put(Tree::Grants, &key, &grant)?;
                }
                let by_index = || Label::new(self.known.as_ref()?.get(&lineage)?).ok();
                told.lost.extend(label.or_else(by_index));
                continue;
            };
            known.insert(lineage, name);
            let id = info.as_ref().and_then(|row| record::decode::<TokenRow<'_>>(row).ok());
            let is_exposed = id.is_some_and(|row| exposed.contains(&row.info.token_id()));
            let ledger = match (ledger, &info) {
                (Some(ledger), _) if told.is_unreconciled => {
                    Some(ledger::unreconciled(&ledger, is_exposed)?)
                }
                (Some(ledger), _) => Some(ledger),
                (None, Some(info)) => Some(ledger::unreconciled_of(info, is_exposed)?),
                (None, None) => None,
            };
            match info.is_some() {
                true if is_mended => told.restored.extend(label),
                true => {}
                false => told.unknown.extend(label),
            }
            let parts = [(Tree::Tokens, info), (Tree::Ledger, ledger), (Tree::Grants, grant)];
            filling.put(Tree::Secrets, &key, &secret)?;
            for (tree, row) in parts {
                row.map_or(Ok(()), |row| filling.put(tree, &key, &row))?;
            }
        }
        for segment in index::segments(known) {
            let row = segment.row()?;
            row.map_or(Ok(()), |row| filling.put(Tree::Index, &segment.key(), &row))?;
        }
        for labels in [&mut told.restored, &mut told.lost, &mut told.unknown] {
            labels.sort();
        }
        // Of the audit log what is whole from its beginning: the rest is kept aside.
        let (start, end) = (chain.start(), chain.whole_until()?);
        for (tree, key, row) in &self.audit {
            if *key != audit::pruned_key() && audit::is_within(*tree, row, end)? {
                filling.put(*tree, key, row)?;
            }
        }
        if start.entries > 0 {
            let row = record::encode(&audit::pruned_row(start))?;
            filling.put(Tree::Audit, &audit::pruned_key(), &row)?;
        }
        Ok(end)
    }
}

/// What is known of a token, without what only the passphrase grants: that may have been withdrawn.
fn unexposed(row: &[u8]) -> Result<SecretBytes, StoreError> {
    let unreadable = |_| StoreError::unreadable(Tree::Tokens, "a record cannot be read");
    let row: TokenRow<'_> = record::decode(row).map_err(unreadable)?;
    record::encode(&TokenRow { rules: row.rules.strict(), ..row })
}
