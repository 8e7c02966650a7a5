//! The rows of a token: what is known of it, and the token itself.

use super::Unreadable;
use crate::id::TokenId;
use crate::money::{Amount, Coin};
use crate::scope::Scope;
use crate::store::rules::RulesRow;
use crate::token::{SpendingLimit, TokenInfo, TokenKind};
use bincode::de::BorrowDecoder;
use bincode::de::read::Reader;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};
use chrono::{DateTime, Utc};
use std::borrow::Cow;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// What is known of a token.
#[derive(Encode, BorrowDecode)]
pub(in crate::store) struct TokenRow<'a> {
    pub(in crate::store) label: Cow<'a, str>,
    pub(in crate::store) account: Option<Cow<'a, str>>,
    pub(in crate::store) renewal: RenewalRow,
    pub(in crate::store) rules: RulesRow<'a>,
    pub(in crate::store) is_revoked: bool,
    pub(in crate::store) info: InfoRow<'a>,
}

#[derive(Encode, Decode)]
pub(in crate::store) enum RenewalRow {
    Manual,
    Extend { lifetime_secs: u64 },
    InternalToken,
    Oauth,
    Reissue,
}

#[derive(Encode, BorrowDecode)]
pub(in crate::store) struct InfoRow<'a> {
    id: [u8; 16],
    kind: u8,
    scopes: Vec<Cow<'a, str>>,
    enterprise: Option<[u8; 16]>,
    permitted_wallets: Option<Vec<[u8; 16]>>,
    created_at: Option<i64>,
    expires_at: Option<i64>,
    is_extensible: bool,
    ip_restrict: Vec<Cow<'a, str>>,
    spending_limits: Vec<(Cow<'a, str>, Option<u128>, u128)>,
    erc20_limit: Option<(Option<u128>, u128)>,
    issued_in_clear: bool,
    permitted_enterprises: Enterprises,
}

/// What stands at the end of a token's row where it is confined to enterprises: how many (8), their ids (16
/// each). Nothing where it is not, as in rows of before there were any.
struct Enterprises(Option<Vec<[u8; 16]>>);

impl Encode for Enterprises {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.as_ref().map_or(Ok(()), |ids| ids.encode(encoder))
    }
}

impl<'a, C> BorrowDecode<'a, C> for Enterprises {
    fn borrow_decode<D: BorrowDecoder<'a, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        let is_there = decoder.reader().peek_read(1).is_some();
        Ok(Self(is_there.then(|| Decode::decode(decoder)).transpose()?))
    }
}

impl InfoRow<'_> {
    pub(in crate::store) fn token_id(&self) -> TokenId {
        TokenId::from_bytes(self.id)
    }
}

impl<'a> From<&'a TokenInfo> for InfoRow<'a> {
    fn from(info: &'a TokenInfo) -> Self {
        let millis = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp_millis());
        Self {
            id: *info.id.as_bytes(),
            kind: match info.kind {
                TokenKind::Session => 0,
                TokenKind::LongLived => 1,
                TokenKind::Internal => 2,
                TokenKind::Oauth => 3,
                TokenKind::Imported => 4,
                TokenKind::Unverified => 5,
            },
            scopes: info.scopes.iter().map(|scope| scope.to_string().into()).collect(),
            enterprise: info.enterprise.map(|id| *id.as_bytes()),
            permitted_wallets: info
                .permitted_wallets
                .as_ref()
                .map(|wallets| wallets.iter().map(|id| *id.as_bytes()).collect()),
            created_at: millis(info.created_at),
            expires_at: millis(info.expires_at),
            is_extensible: info.is_extensible,
            ip_restrict: info.ip_restrict.iter().map(|block| block.as_str().into()).collect(),
            spending_limits: info
                .spending_limits
                .iter()
                .map(|(coin, limit)| {
                    let cap = limit.limit.map(Amount::base_units);
                    (coin.as_str().into(), cap, limit.spent.base_units())
                })
                .collect(),
            erc20_limit: info.erc20_limit.map(|SpendingLimit { limit, spent }| {
                (limit.map(Amount::base_units), spent.base_units())
            }),
            issued_in_clear: info.issued_in_clear,
            permitted_enterprises: Enterprises(
                info.permitted_enterprises
                    .as_ref()
                    .map(|enterprises| enterprises.iter().map(|id| *id.as_bytes()).collect()),
            ),
        }
    }
}

impl TryFrom<InfoRow<'_>> for TokenInfo {
    type Error = Unreadable;

    fn try_from(row: InfoRow<'_>) -> Result<Self, Unreadable> {
        let time = |millis: Option<i64>| {
            millis.map(|ms| DateTime::from_timestamp_millis(ms).ok_or(Unreadable)).transpose()
        };
        Ok(Self {
            id: crate::id::TokenId::from_bytes(row.id),
            kind: match row.kind {
                0 => TokenKind::Session,
                1 => TokenKind::LongLived,
                2 => TokenKind::Internal,
                3 => TokenKind::Oauth,
                4 => TokenKind::Imported,
                5 => TokenKind::Unverified,
                _ => return Err(Unreadable),
            },
            scopes: row.scopes.iter().map(|scope| Scope::of_server(scope)).collect(),
            enterprise: row.enterprise.map(crate::id::EnterpriseId::from_bytes),
            permitted_wallets: row
                .permitted_wallets
                .map(|ids| ids.into_iter().map(crate::id::WalletId::from_bytes).collect()),
            permitted_enterprises: row
                .permitted_enterprises
                .0
                .map(|ids| ids.into_iter().map(crate::id::EnterpriseId::from_bytes).collect()),
            created_at: time(row.created_at)?,
            expires_at: time(row.expires_at)?,
            is_extensible: row.is_extensible,
            ip_restrict: row.ip_restrict.into_iter().map(Cow::into_owned).collect(),
            spending_limits: row
                .spending_limits
                .into_iter()
                .map(|(coin, cap, spent)| {
                    let limit =
                        SpendingLimit { limit: cap.map(Amount::new), spent: Amount::new(spent) };
                    Ok((Coin::new(&coin)?, limit))
                })
                .collect::<Result<_, Unreadable>>()?,
            erc20_limit: row.erc20_limit.map(|(limit, spent)| SpendingLimit {
                limit: limit.map(Amount::new),
                spent: Amount::new(spent),
            }),
            issued_in_clear: row.issued_in_clear,
        })
    }
}

/// A token itself, and the key (WIF) that extends it.
#[derive(Encode, Decode, Zeroize, ZeroizeOnDrop)]
pub(in crate::store) struct SecretRow {
    /// As in the token's own row: should that be lost, this tells which token it was.
    pub(in crate::store) label: String,
    pub(in crate::store) token: String,
    pub(in crate::store) extension_key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;
    use crate::id::EnterpriseId;

    #[test]
    fn a_row_of_before_there_were_enterprises_is_read_and_written_as_it_was() {
        let id = TokenId::from_bytes([7; 16]);
        let info = |enterprises: Option<Vec<EnterpriseId>>| TokenInfo {
            permitted_enterprises: enterprises,
            ..TokenInfo::unknown(id, TokenKind::LongLived)
        };
        let row = |info: &TokenInfo| encode(&InfoRow::from(info)).unwrap();
        let read = |bytes: &[u8]| {
            TokenInfo::try_from(decode::<InfoRow<'_>>(bytes).unwrap())
                .unwrap()
                .permitted_enterprises
        };
        let none = row(&info(None));
        // Ends in whether it was issued in clear, as the format was drawn first.
        assert_eq!(
            (none.len(), read(&none)),
            (16 + 1 + 8 + 1 + 1 + 1 + 1 + 1 + 8 + 8 + 1 + 1, None)
        );
        for enterprises in [vec![], vec![EnterpriseId::from_bytes([1; 16]); 2]] {
            let some = row(&info(Some(enterprises.clone())));
            assert_eq!(some[..none.len()], none[..]);
            assert_eq!(some.len(), none.len() + 8 + 16 * enterprises.len());
            assert_eq!(read(&some), Some(enterprises));
            assert!(decode::<InfoRow<'_>>(&some[..some.len() - 1]).is_err());
        }
    }
}
