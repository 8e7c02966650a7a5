//! How tokens are minted, and what is still to be ended at the server: one that may have been minted
//! and is not kept, and those that were replaced. It is written before anything is asked for,
//! and stays after its token was removed until nothing is left to be ended.

use super::record::{self, MintedRow, ReissueRow, RetiredRow};
use super::{Key, SealedSecret, Store, StoreError, TokenRecord, TokenSecret, Tree, Write};
use crate::id::{LineageId, TokenId};
use crate::secret::{AccessToken, SecretBytes};
use chrono::{DateTime, Utc};

/// The reissue of one lineage.
#[derive(Debug)]
pub(crate) struct Reissue {
    pub(crate) lineage: LineageId,
    /// What is minted, as JSON; empty once the token was removed.
    pub(crate) plan: String,
    /// What is being minted, and may have been.
    pub(crate) intent: Option<Minted>,
    pub(crate) retired: Vec<Retired>,
    /// What may have been minted before, and is not known to be gone.
    pub(crate) orphans: Vec<Minted>,
}

/// A token that may have been minted and is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Minted {
    /// As it stands at BitGo: no other token has it.
    pub(crate) label: String,
    /// Whose it is.
    pub(crate) account: String,
    /// Before it was asked for. The call may come to BitGo long after it was given up.
    pub(crate) asked_at: DateTime<Utc>,
}

/// A token that was replaced and is not revoked yet.
#[derive(Debug)]
pub(crate) struct Retired {
    pub(crate) token_id: TokenId,
    pub(crate) token: AccessToken,
    /// Whose it is.
    pub(crate) account: Option<String>,
    /// It is revoked from then on: what was signed with it is on its way.
    pub(crate) from: DateTime<Utc>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

impl Reissue {
    /// Whether something is still to be ended at the server.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.intent.is_some() || !self.retired.is_empty() || !self.orphans.is_empty()
    }

    /// What may have been minted and is not kept: an intent belongs to the renewal, while there is one.
    pub(crate) fn unkept(self) -> impl Iterator<Item = Minted> {
        let intent = self.intent.filter(|_| self.plan.is_empty());
        intent.into_iter().chain(self.orphans)
    }
}

impl Store {
    /// How a lineage is reissued, if it is.
    pub(crate) fn reissue(&self, lineage: LineageId) -> Result<Option<Reissue>, StoreError> {
        let row: Option<ReissueRow> = self.disk.epoch().find(Tree::Meta, &key(lineage))?;
        Ok(row.map(read))
    }

    /// All lineages of which something is still to be ended, those of removed tokens among them.
    pub(crate) fn unended(&self) -> Result<Vec<LineageId>, StoreError> {
        let left = self.reissues()?.into_iter().filter(Reissue::has_leftovers);
        Ok(left.map(|reissue| reissue.lineage).collect())
    }

    /// What may have been minted, is not kept, and that no renewal sees to, each with its lineage.
    pub(crate) fn unkept(&self) -> Result<Vec<(LineageId, Minted)>, StoreError> {
        let of = |reissue: Reissue| {
            let lineage = reissue.lineage;
            reissue.unkept().map(move |minted| (lineage, minted))
        };
        Ok(self.reissues()?.into_iter().flat_map(of).collect())
    }

    fn reissues(&self) -> Result<Vec<Reissue>, StoreError> {
        let epoch = self.disk.epoch();
        let mut found = Vec::new();
        for entry in epoch.values(Tree::Meta) {
            let (name, sealed) = entry?;
            let row = epoch.keys.open(Tree::Meta, &name, &sealed)?;
            if let Ok(row) = record::decode::<ReissueRow>(&row) {
                let reissue = read(row);
                let is_it = epoch.keys.name(Tree::Meta, &key(reissue.lineage)) == name;
                found.extend(is_it.then_some(reissue));
            }
        }
        Ok(found)
    }

    /// Makes it durable how a lineage is reissued; one with no plan and nothing left is forgotten.
    pub(crate) fn keep_reissue(&self, reissue: &Reissue) -> Result<(), StoreError> {
        self.commit(vec![write(reissue)?])
    }

    /// Makes it durable how a token is reissued, with the token's own record.
    pub(crate) fn choose_reissue(
        &self,
        record: &TokenRecord,
        reissue: &Reissue,
    ) -> Result<(), StoreError> {
        let writes = vec![self.token_write(record)?, write(reissue)?];
        self.commit_to_account(record.lineage, |_| {}, writes, None)
    }

    /// Replaces a token by its successor as [`Store::replace_token`] does, and in the same commit
    /// notes what is to be ended.
    pub(crate) fn reissue_token(
        &self,
        record: &TokenRecord,
        secret: &TokenSecret,
        server_ms: i64,
        reissue: &Reissue,
    ) -> Result<SealedSecret, StoreError> {
        self.succeed(record, secret, server_ms, vec![write(reissue)?])
    }

    /// Makes it durable that a token may have been minted which is to be the first of a lineage.
    pub(crate) fn intend(&self, lineage: LineageId, minted: Minted) -> Result<(), StoreError> {
        let (plan, retired, orphans) = (String::new(), Vec::new(), Vec::new());
        self.keep_reissue(&Reissue { lineage, plan, intent: Some(minted), retired, orphans })
    }

    /// The write by which the first token of a lineage that was minted is no more to be looked for.
    pub(super) fn intent_removal(&self, lineage: LineageId) -> Result<Option<Write>, StoreError> {
        let kept = self.reissue(lineage)?;
        kept.map(|reissue| write(&Reissue { intent: None, ..reissue })).transpose()
    }

    /// The write that ends the reissue of a token that is removed, and keeps what is to be ended.
    pub(super) fn reissue_removal(&self, lineage: LineageId) -> Result<Option<Write>, StoreError> {
        let kept = self.reissue(lineage)?;
        kept.map(|reissue| write(&Reissue { plan: String::new(), ..reissue })).transpose()
    }
}

/// What a copy is to know of it. What was being minted when the copy was made may be kept by the
/// original since: on the word of a copy nothing is revoked.
pub(super) fn of_copy(row: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
    let row = record::decode(row).map_err(|_| StoreError::DamagedBackup { what: "a reissue" })?;
    let reissue = read(row);
    Ok(write(&Reissue { intent: None, orphans: Vec::new(), ..reissue })?.row)
}

fn write(reissue: &Reissue) -> Result<Write, StoreError> {
    if reissue.plan.is_empty() && !reissue.has_leftovers() {
        return Ok(Write::remove(Tree::Meta, key(reissue.lineage)));
    }
    let retired = reissue.retired.iter().map(|retired| RetiredRow {
        token_id: *retired.token_id.as_bytes(),
        token: retired.token.expose().into(),
        account: retired.account.clone(),
        from_ms: retired.from.timestamp_millis(),
        expires_ms: retired.expires_at.map(|at| at.timestamp_millis()),
    });
    let row = ReissueRow {
        lineage: *reissue.lineage.as_bytes(),
        plan: reissue.plan.clone(),
        intent: reissue.intent.as_ref().map(written),
        retired: retired.collect(),
        orphans: reissue.orphans.iter().map(written).collect(),
    };
    Write::put(Tree::Meta, key(reissue.lineage), &row)
}

fn read(mut row: ReissueRow) -> Reissue {
    let retired = row.retired.iter_mut().map(|row| Retired {
        token_id: TokenId::from_bytes(row.token_id),
        token: AccessToken::new(std::mem::take(&mut row.token)),
        account: row.account.take(),
        from: DateTime::from_timestamp_millis(row.from_ms).unwrap_or_default(),
        expires_at: row.expires_ms.and_then(DateTime::from_timestamp_millis),
    });
    Reissue {
        lineage: LineageId::from_bytes(row.lineage),
        retired: retired.collect(),
        plan: std::mem::take(&mut row.plan),
        intent: row.intent.as_mut().map(read_minted),
        orphans: row.orphans.iter_mut().map(read_minted).collect(),
    }
}

fn written(minted: &Minted) -> MintedRow {
    let Minted { label, account, asked_at } = minted.clone();
    MintedRow { label, account, asked_ms: asked_at.timestamp_millis() }
}

fn read_minted(row: &mut MintedRow) -> Minted {
    Minted {
        label: std::mem::take(&mut row.label),
        account: std::mem::take(&mut row.account),
        asked_at: DateTime::from_timestamp_millis(row.asked_ms).unwrap_or_default(),
    }
}

fn key(lineage: LineageId) -> Key {
    Key::Text([b"reissue", &lineage.as_bytes()[..]].concat())
}

/// The key of the record of which nothing but its row is known.
pub(super) fn key_of(row: &[u8]) -> Option<Key> {
    let row: ReissueRow = record::decode(row).ok()?;
    Some(key(LineageId::from_bytes(row.lineage)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{add, create};

    #[test]
    fn what_is_to_be_ended_outlives_its_token_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let store = create(dir.path());
        let lineage = add(&store, "bot");
        let at = DateTime::from_timestamp_millis(1_767_323_045_678).unwrap();
        let retired = Retired {
            token_id: TokenId::from_bytes([7; 16]),
            token: AccessToken::new("v2xsecret"),
            account: Some("u1".into()),
            from: at,
            expires_at: Some(at),
        };
        let minted =
            |label: &str| Minted { label: label.into(), account: "u1".into(), asked_at: at };
        let reissue = Reissue {
            lineage,
            plan: "{}".into(),
            intent: Some(minted("bot#ab")),
            retired: vec![retired],
            orphans: vec![minted("bot#cd")],
        };
        store.keep_reissue(&reissue).unwrap();
        assert!(!format!("{reissue:?}").contains("secret"));
        store.remove_token(lineage).unwrap();
        assert_eq!(store.unended().unwrap(), [lineage]);
        let mut kept = store.reissue(lineage).unwrap().unwrap();
        let (was, is) = (&reissue.retired[0], &kept.retired[0]);
        assert_eq!((is.token_id, is.from, is.expires_at), (was.token_id, at, Some(at)));
        assert_eq!(is.account, was.account);
        assert_eq!((is.token.expose(), &*kept.plan), ("v2xsecret", ""));
        assert_eq!((&kept.intent, &kept.orphans), (&reissue.intent, &reissue.orphans));
        (kept.intent, kept.retired, kept.orphans) = (None, Vec::new(), Vec::new());
        store.keep_reissue(&kept).unwrap();
        assert!(store.reissue(lineage).unwrap().is_none());
        assert_eq!(store.unended().unwrap(), []);
    }
}
