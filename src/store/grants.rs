//! What OAuth tokens are renewed with: a refresh token, the client it was given to, and where its
//! rotation stands. It lies with its token, and may be there before it: what was rotated is kept first.

use super::bundle::Bundle;
use super::record::{self, GrantRow};
use super::{Key, Name, Store, StoreError, Tree, Write};
use crate::id::LineageId;
use crate::rotation::RotationState;
use crate::secret::{ClientSecret, RefreshToken, SecretBytes};
use crate::token::Label;

/// What an OAuth token is renewed with.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) label: Label,
    pub(crate) client_id: String,
    pub(crate) client_secret: ClientSecret,
    pub(crate) refresh_token: RefreshToken,
    pub(crate) rotation: RotationState,
}

impl Store {
    /// What a token is renewed with, if it is one of OAuth's.
    pub(crate) fn grant(&self, lineage: LineageId) -> Result<Option<Grant>, StoreError> {
        let row = self.disk.epoch().row(Tree::Grants, &key(lineage))?;
        row.map(|row| read(&row)).transpose()
    }

    /// The grant under a label whose token never came to be kept.
    pub(crate) fn grant_without_token(
        &self,
        label: &Label,
    ) -> Result<Option<(LineageId, Grant)>, StoreError> {
        let epoch = self.disk.epoch();
        for entry in epoch.values(Tree::Tokens) {
            let (name, value): (Name, _) = entry?;
            let bundle = Bundle::split(Tree::Tokens, &value)?;
            let (None, Some(sealed)) = (bundle.get(Tree::Secrets), bundle.get(Tree::Grants)) else {
                continue;
            };
            let grant = read(&epoch.keys.open(Tree::Grants, &name, sealed)?)?;
            if grant.label == *label {
                return Ok(Some((LineageId::from_bytes(name), grant)));
            }
        }
        Ok(None)
    }

    /// Keeps the grant of a token that is yet to be kept.
    pub(crate) fn keep_first_grant(
        &self,
        lineage: LineageId,
        grant: &Grant,
    ) -> Result<(), StoreError> {
        self.commit(vec![write(lineage, grant)?])
    }

    /// Keeps the grant of a token. Refused for one that was removed.
    pub(crate) fn keep_grant(&self, lineage: LineageId, grant: &Grant) -> Result<(), StoreError> {
        let writes = vec![write(lineage, grant)?];
        self.commit_to_account(lineage, |_| {}, writes, None)
    }
}

fn write(lineage: LineageId, grant: &Grant) -> Result<Write, StoreError> {
    Write::put(Tree::Grants, key(lineage), &row_of(grant))
}

fn row_of(grant: &Grant) -> GrantRow {
    GrantRow {
        label: grant.label.as_str().into(),
        client_id: grant.client_id.clone(),
        client_secret: grant.client_secret.expose().into(),
        refresh_token: grant.refresh_token.expose().into(),
        rotation: grant.rotation as u8,
    }
}

fn read(row: &[u8]) -> Result<Grant, StoreError> {
    let grant = || -> Result<_, record::Unreadable> {
        let mut row: GrantRow = record::decode(row)?;
        let rotation = RotationState::ALL.get(usize::from(row.rotation));
        Ok(Grant {
            label: Label::new(&row.label)?,
            client_id: row.client_id.clone(),
            client_secret: ClientSecret::new(std::mem::take(&mut row.client_secret)),
            refresh_token: RefreshToken::new(std::mem::take(&mut row.refresh_token)),
            rotation: *rotation.ok_or(record::Unreadable)?,
        })
    };
    grant().map_err(|_| StoreError::unreadable(Tree::Grants, "a record cannot be read"))
}

/// The label of the token that a row is to bring.
/// The row of a grant that comes from a backup: it may have been rotated since, so that it is sent
/// once and no oftener.
pub(super) fn perhaps_spent(row: &[u8]) -> Result<SecretBytes, StoreError> {
    let grant = read(row)?;
    let rotation = match grant.rotation {
        RotationState::Settled => RotationState::Sent,
        other => other,
    };
    record::encode(&row_of(&Grant { rotation, ..grant }))
}

pub(super) fn label_of_grant(row: &[u8]) -> Result<Label, StoreError> {
    Ok(read(row)?.label)
}

fn key(lineage: LineageId) -> Key {
    Key::Id(*lineage.as_bytes())
}
