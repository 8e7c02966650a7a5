//! What stands inside a sealed record: rows of plain values in bincode, with a size limit.
//!
//! ```text
//! integers       little-endian, as wide as their type       arrays, tuples  their items, nothing else
//! bool, Option   0 or 1; after a 1 of the latter its value   enum            number (4), its fields
//! text, lists    how many bytes or items (8), then those     a row           its fields, in order
//!
//! head  (280)    sequence (8) ‖ hash of the head before (32) ‖ audit entries (8) ‖ hash of the last
//!                (32) ‖ per tree 0 to 4: values (8) ‖ sum (32)
//! audit          an enum: 0 number (8) ‖ hash of the entry before (32) ‖ entry; 1 token id (16) ‖ list of
//!                entries; 2 entries pruned (8) ‖ hash of the last (32)
//! entry          milliseconds since 1970 (8) ‖ action (1) ‖ token id (16) ‖ rule, coin (texts) ‖ amount
//!                (16) ‖ count (8) ‖ milliseconds of the first (8) ‖ ids of first and last request (16 each)
//! segment        number of its first entry (8) ‖ hash of the entry before (32) ‖ list of entries
//! ledger         exposed (1) ‖ unreconciled (1) ‖ seen, confirmed (8 each) ‖ decay (Option of 8 ‖ 8) ‖
//!                per coin: its name ‖ counter ‖ pool (Option of counter) ‖ per window: purpose (1) ‖
//!                coin ‖ milliseconds (8) ‖ sum (Option of 16) ‖ count (Option of 4) ‖ per slot: end (8)
//!                ‖ sum (16) ‖ count (8)
//! counter        of the server's (1) ‖ own total, limit, total (Options of 16) ‖ accepted, pending,
//!                uncertain, reserved, foreign, carried, renewed (16 each)
//! ```
//!
//! A token's rules are drawn in `rules`. The other rows are drawn by their fields below. Rows are apart from the types the rest of the vault
//! uses, so that those can change and the format stays. At most 64 KiB; trailing bytes are refused.
//! Rows that hold secrets wipe themselves.

use super::rules::RulesRow;
use super::{StoreError, Tree};
use crate::crypto::RECORD_MAX;
use crate::environment::Environment;
use crate::id::TokenId;
use crate::money::{Amount, Coin};
use crate::policy::{Book, Counter, Decay, Meter, Purpose, Slot, Window, WindowRule};
use crate::scope::Scope;
use crate::secret::SecretBytes;
use crate::token::{SpendingLimit, TokenInfo, TokenKind};
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::enc::write::SizeWriter;
use bincode::{BorrowDecode, Decode, Encode};
use chrono::{DateTime, Utc};
use std::borrow::Cow;
use std::time::Duration;
use zeroize::{Zeroize, ZeroizeOnDrop};

const FORMAT: Configuration<LittleEndian, Fixint, Limit<RECORD_MAX>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<RECORD_MAX>();

/// The row as bytes, in one buffer of its exact size: growing would leave unwiped copies behind.
pub(super) fn encode(row: &impl Encode) -> Result<SecretBytes, StoreError> {
    let too_large = |_| StoreError::TooLarge;
    let mut size = SizeWriter::default();
    bincode::encode_into_writer(row, &mut size, FORMAT).map_err(too_large)?;
    if size.bytes_written > RECORD_MAX {
        return Err(StoreError::TooLarge);
    }
    let mut bytes = SecretBytes::zeroed(size.bytes_written);
    bincode::encode_into_slice(row, &mut bytes, FORMAT).map_err(too_large)?;
    Ok(bytes)
}

/// The row from bytes; `Err` if they are not exactly one row.
pub(super) fn decode<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<T, Unreadable> {
    match bincode::borrow_decode_from_slice(bytes, FORMAT) {
        Ok((row, read)) if read == bytes.len() => Ok(row),
        _ => Err(Unreadable),
    }
}

/// The bytes as each kind of row that they are, by its name: read, and written again.
#[cfg(any(test, feature = "test-util"))]
pub(crate) fn recode_rows(bytes: &[u8]) -> Vec<(&'static str, SecretBytes)> {
    fn recoded<'a, T: BorrowDecode<'a, ()> + Encode>(bytes: &'a [u8]) -> Option<SecretBytes> {
        encode(&decode::<T>(bytes).ok()?).ok()
    }
    [
        ("binding", recoded::<Binding>(bytes)),
        ("token", recoded::<TokenRow>(bytes)),
        ("secret", recoded::<SecretRow>(bytes)),
        ("account", recoded::<AccountRow>(bytes)),
        ("ledger", recoded::<LedgerRow>(bytes)),
        ("grant", recoded::<GrantRow>(bytes)),
        ("reissue", recoded::<ReissueRow>(bytes)),
        ("renewal", recoded::<RenewalMemoryRow>(bytes)),
        ("audit", recoded::<AuditRow>(bytes)),
        ("segment", recoded::<SegmentRow>(bytes)),
        ("index", recoded::<IndexRow>(bytes)),
        ("head", recoded::<HeadRow>(bytes)),
    ]
    .into_iter()
    .filter_map(|(kind, row)| Some((kind, row?)))
    .collect()
}

/// What a token row says of its token, read into the words of the vault, and written again.
#[cfg(any(test, feature = "test-util"))]
pub(crate) fn recode_token_info(bytes: &[u8]) -> Option<SecretBytes> {
    let row: TokenRow = decode(bytes).ok()?;
    let info = TokenInfo::try_from(row.info).ok()?;
    encode(&TokenRow { info: InfoRow::from(&info), ..row }).ok()
}

/// Bytes that are no row of the kind.
#[derive(Debug)]
pub(super) struct Unreadable;

impl<E: std::error::Error> From<E> for Unreadable {
    fn from(_: E) -> Self {
        Self
    }
}

/// Which BitGo a vault is bound to.
#[derive(Encode, Decode, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) root_uri: String,
    server_xpub: String,
}

impl Binding {
    pub(super) fn of(environment: &Environment) -> Self {
        Self {
            root_uri: environment.root_uri().into(),
            server_xpub: environment.server_xpub().into(),
        }
    }

    /// The environment that it is of: a pinned one, or another whose words are checked again.
    pub(super) fn environment(&self) -> Result<Environment, Unreadable> {
        let pinned = [Environment::Prod, Environment::Test];
        match pinned.into_iter().find(|pinned| *self == Self::of(pinned)) {
            Some(pinned) => Ok(pinned),
            None => Ok(Environment::custom(&self.root_uri, &self.server_xpub)?),
        }
    }
}

/// What is known of a token.
#[derive(Encode, BorrowDecode)]
pub(super) struct TokenRow<'a> {
    pub(super) label: Cow<'a, str>,
    pub(super) account: Option<Cow<'a, str>>,
    pub(super) renewal: RenewalRow,
    pub(super) rules: RulesRow<'a>,
    pub(super) is_revoked: bool,
    pub(super) info: InfoRow<'a>,
}

#[derive(Encode, Decode)]
pub(super) enum RenewalRow {
    Manual,
    Extend { lifetime_secs: u64 },
    InternalToken,
    Oauth,
    Reissue,
}

#[derive(Encode, BorrowDecode)]
pub(super) struct InfoRow<'a> {
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
}

impl InfoRow<'_> {
    pub(super) fn token_id(&self) -> TokenId {
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
pub(super) struct SecretRow {
    /// As in the token's own row: should that be lost, this tells which token it was.
    pub(super) label: String,
    pub(super) token: String,
    pub(super) extension_key: Option<String>,
}

/// The key that an account's tokens are issued to, and the seed of its one-time passwords, if it is kept.
#[derive(Encode, Decode, Zeroize, ZeroizeOnDrop)]
pub(super) struct AccountRow {
    pub(super) user: String,
    pub(super) ecdh_xprv: String,
    pub(super) totp_seed: Option<Vec<u8>>,
}

/// What a token is renewed with by OAuth, and where the rotation of its refresh token stands.
#[derive(Encode, Decode, Zeroize, ZeroizeOnDrop)]
pub(super) struct GrantRow {
    pub(super) label: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) refresh_token: String,
    pub(super) rotation: u8,
}

/// How the renewal of a token goes, where that has to outlive a restart.
#[derive(Default, Encode, Decode)]
pub(super) struct RenewalMemoryRow {
    pub(super) lineage: [u8; 16],
    pub(super) failures: u32,
    pub(super) not_before_ms: Option<i64>,
    /// What a human must do, by its number; 0 for nothing.
    pub(super) need: u8,
    /// The token that the server called dead.
    pub(super) dead: Option<[u8; 16]>,
    /// Tokens in a row that died soon after they were renewed.
    pub(super) deaths: u32,
}

/// How a token is minted anew, and what of its predecessors is still to be ended.
#[derive(Encode, Decode, Zeroize, ZeroizeOnDrop)]
pub(super) struct ReissueRow {
    pub(super) lineage: [u8; 16],
    /// What is minted, as JSON.
    pub(super) plan: String,
    /// What is being minted, and may have been.
    pub(super) intent: Option<MintedRow>,
    pub(super) retired: Vec<RetiredRow>,
    /// What may have been minted before, and is not known to be gone.
    pub(super) orphans: Vec<MintedRow>,
}

/// A token that may have been minted and is not kept.
#[derive(Encode, Decode, Zeroize, ZeroizeOnDrop)]
pub(super) struct MintedRow {
    /// As it stands at BitGo.
    pub(super) label: String,
    /// Whose it is.
    pub(super) account: String,
    /// Before it was asked for.
    pub(super) asked_ms: i64,
}

/// A token that was replaced and is not revoked yet.
#[derive(Encode, Decode, Zeroize, ZeroizeOnDrop)]
pub(super) struct RetiredRow {
    pub(super) token_id: [u8; 16],
    pub(super) token: String,
    /// Whose it is.
    pub(super) account: Option<String>,
    /// It is revoked from then on.
    pub(super) from_ms: i64,
    /// When it ends by itself.
    pub(super) expires_ms: Option<i64>,
}

/// What one lineage spent, and by which bounds.
#[derive(Encode, BorrowDecode)]
pub(super) struct LedgerRow<'a> {
    pub(super) is_exposed: bool,
    pub(super) is_unreconciled: bool,
    pub(super) seen_ms: i64,
    pub(super) confirmed_ms: i64,
    pub(super) decay: Option<(u64, u64)>,
    pub(super) counters: Vec<(Cow<'a, str>, CounterRow)>,
    pub(super) pool: Option<CounterRow>,
    pub(super) windows: Vec<WindowRow<'a>>,
}

#[derive(Encode, Decode)]
pub(super) struct CounterRow {
    is_of_server: bool,
    own_total: Option<u128>,
    limit: Option<u128>,
    total: Option<u128>,
    accepted: u128,
    pending: u128,
    uncertain: u128,
    /// Leased, signed or allotted: a crash cannot tell them apart.
    reserved: u128,
    foreign: u128,
    in_doubt: u128,
    carried: u128,
    renewed: u128,
}

/// What went out within a while. A slot is its end, a sum and a number of requests.
#[derive(Encode, BorrowDecode)]
pub(super) struct WindowRow<'a> {
    purpose: u8,
    coin: Cow<'a, str>,
    period_ms: u64,
    sum: Option<u128>,
    count: Option<u32>,
    slots: Vec<(i64, u128, u64)>,
}

impl LedgerRow<'_> {
    pub(super) fn of(book: &Book) -> LedgerRow<'_> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let counters = book.coins.iter();
        LedgerRow {
            is_exposed: book.is_exposed,
            is_unreconciled: book.is_unreconciled,
            seen_ms: book.seen_ms,
            confirmed_ms: book.confirmed_ms,
            decay: book.decay.map(|decay| (millis(decay.after), millis(decay.over))),
            counters: counters.map(|(coin, meter)| (coin.as_str().into(), meter.into())).collect(),
            pool: book.pool.as_deref().map(CounterRow::from),
            windows: book.windows.iter().map(WindowRow::from).collect(),
        }
    }
}

impl TryFrom<LedgerRow<'_>> for Book {
    type Error = Unreadable;

    fn try_from(row: LedgerRow<'_>) -> Result<Self, Unreadable> {
        let counters = row.counters.into_iter();
        let windows = row.windows.into_iter().map(Window::try_from);
        Ok(Self {
            coins: counters
                .map(|(coin, counter)| Ok((Coin::new(&coin)?, counter.into())))
                .collect::<Result<_, Unreadable>>()?,
            pool: row.pool.map(|pool| Box::new(pool.into())),
            windows: windows.collect::<Result<_, _>>()?,
            is_exposed: row.is_exposed,
            is_unreconciled: row.is_unreconciled,
            seen_ms: row.seen_ms,
            confirmed_ms: row.confirmed_ms,
            decay: row.decay.map(|(after, over)| Decay {
                after: Duration::from_millis(after),
                over: Duration::from_millis(over),
            }),
            ..Self::default()
        })
    }
}

impl From<&Meter> for CounterRow {
    fn from(meter: &Meter) -> Self {
        let Meter { counter, is_of_server, own_total, .. } = meter;
        Self {
            is_of_server: *is_of_server,
            own_total: own_total.map(Amount::base_units),
            limit: counter.limit.map(Amount::base_units),
            total: counter.total.map(Amount::base_units),
            accepted: counter.accepted.base_units(),
            pending: counter.pending.base_units(),
            uncertain: counter.uncertain.base_units(),
            reserved: counter.reserved.saturating_add(counter.allotted).base_units(),
            foreign: counter.foreign.base_units(),
            in_doubt: meter.in_doubt().base_units(),
            carried: counter.carried.base_units(),
            renewed: counter.renewed.base_units(),
        }
    }
}

impl From<CounterRow> for Meter {
    fn from(row: CounterRow) -> Self {
        let counter = Counter {
            limit: row.limit.map(Amount::new),
            total: row.total.map(Amount::new),
            accepted: Amount::new(row.accepted),
            pending: Amount::new(row.pending),
            uncertain: Amount::new(row.uncertain),
            reserved: Amount::new(row.reserved),
            allotted: Amount::ZERO,
            foreign: Amount::new(row.foreign),
            carried: Amount::new(row.carried),
            renewed: Amount::new(row.renewed),
        };
        let kept = Self::kept(counter, row.is_of_server, row.own_total.map(Amount::new));
        kept.doubting(Amount::new(row.in_doubt))
    }
}

impl<'a> From<&'a Window> for WindowRow<'a> {
    fn from(window: &'a Window) -> Self {
        let WindowRule { purpose, coin, period, sum, count } = &window.rule;
        let slots = window.slots.iter();
        Self {
            purpose: match purpose {
                Purpose::Withdrawal => 0,
                Purpose::Trade => 1,
            },
            coin: coin.as_str().into(),
            period_ms: u64::try_from(period.as_millis()).unwrap_or(u64::MAX),
            sum: sum.map(Amount::base_units),
            count: *count,
            slots: slots.map(|slot| (slot.until_ms, slot.sum.base_units(), slot.count)).collect(),
        }
    }
}

impl TryFrom<WindowRow<'_>> for Window {
    type Error = Unreadable;

    fn try_from(row: WindowRow<'_>) -> Result<Self, Unreadable> {
        let rule = WindowRule {
            purpose: match row.purpose {
                0 => Purpose::Withdrawal,
                1 => Purpose::Trade,
                _ => return Err(Unreadable),
            },
            coin: Coin::new(&row.coin)?,
            period: Duration::from_millis(row.period_ms),
            sum: row.sum.map(Amount::new),
            count: row.count,
        };
        let slot = |(until_ms, sum, count)| Slot { until_ms, sum: Amount::new(sum), count };
        Ok(Self::kept(rule, row.slots.into_iter().map(slot).collect()))
    }
}

/// A record of the audit log's open segment.
#[derive(Encode, Decode)]
pub(super) enum AuditRow {
    Entry {
        /// From 0 on; the entry's name is made of it.
        number: u64,
        previous: [u8; 32],
        entry: EntryRow,
    },
    /// What a token did this minute.
    Open { token_id: [u8; 16], entries: Vec<EntryRow> },
    /// What was pruned: how many entries, and the hash of the last.
    Pruned { entries: u64, last: [u8; 32] },
}

/// One entry of the audit log, without its place.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct EntryRow {
    pub(super) at_ms: i64,
    pub(super) action: u8,
    /// Zeros where it befell no token.
    pub(super) token_id: [u8; 16],
    /// The name of the rule that refused; empty where none did.
    pub(super) rule: String,
    /// Empty where no money was to move.
    pub(super) coin: String,
    pub(super) amount: u128,
    pub(super) count: u64,
    pub(super) since_ms: i64,
    /// Zeros where it is of no request.
    pub(super) first_request: [u8; 16],
    pub(super) last_request: [u8; 16],
}

/// Entries of the audit log that will not change.
#[derive(Encode, Decode)]
pub(super) struct SegmentRow {
    /// The number of the first; the segment's name is made of it.
    pub(super) first: u64,
    pub(super) previous: [u8; 32],
    pub(super) entries: Vec<EntryRow>,
}

/// The tokens of one segment of the index, by lineage: their labels.
#[derive(Encode, Decode)]
pub(super) struct IndexRow {
    pub(super) number: u32,
    pub(super) tokens: Vec<([u8; 16], String)>,
}

/// What a commit leaves the database to hold.
#[derive(Encode, Decode)]
pub(super) struct HeadRow {
    pub(super) sequence: u64,
    pub(super) previous: [u8; 32],
    pub(super) audit_entries: u64,
    pub(super) audit_last: [u8; 32],
    /// How many values each tree has, and what they add up to.
    pub(super) totals: [(u64, [u8; 32]); Tree::KEPT.len()],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::WINDOWS_MAX;

    fn head() -> HeadRow {
        let totals = [(3, [4; 32]); Tree::KEPT.len()];
        HeadRow { sequence: 1, previous: [1; 32], audit_entries: 2, audit_last: [2; 32], totals }
    }

    #[test]
    fn trailing_bytes_and_giant_lengths_are_refused() {
        let bytes = encode(&head()).unwrap();
        assert!(decode::<HeadRow>(&bytes).is_ok());
        assert!(decode::<HeadRow>(&[&bytes[..], &[0]].concat()).is_err());
        assert!(decode::<HeadRow>(&bytes[1..]).is_err());
        let giant = [0xff; 64];
        assert!(decode::<SecretRow>(&giant).is_err());
        let (label, token) = ("desk".into(), "x".repeat(RECORD_MAX));
        let long = SecretRow { label, token, extension_key: None };
        assert!(matches!(encode(&long), Err(StoreError::TooLarge)));
    }

    /// Byte by byte, as the module's doc has them.
    #[test]
    fn rows_stand_as_they_are_drawn() {
        let total = [&[3, 0, 0, 0, 0, 0, 0, 0], &[4; 32][..]].concat();
        let drawn = [
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[1; 32][..],
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &[2; 32],
            &total.repeat(5),
        ];
        assert_eq!(drawn.concat().len(), 280);
        assert_eq!(encode(&head()).unwrap()[..], drawn.concat());

        let entry = EntryRow {
            at_ms: -1,
            action: 7,
            token_id: [5; 16],
            rule: "a".into(),
            coin: "bc".into(),
            amount: 8,
            count: 9,
            since_ms: -2,
            first_request: [10; 16],
            last_request: [11; 16],
        };
        let length = |length: u8| [length, 0, 0, 0, 0, 0, 0, 0];
        let entry_drawn = [
            &[0xff; 8][..],
            &[7],
            &[5; 16],
            &length(1),
            b"a",
            &length(2),
            b"bc",
            &8_u128.to_le_bytes(),
            &length(9),
            &(-2_i64).to_le_bytes(),
            &[10; 16],
            &[11; 16],
        ]
        .concat();
        let previous = [6; 32];
        let audit = AuditRow::Entry { number: 1, previous, entry: entry.clone() };
        let drawn = [&[0; 4][..], &length(1), &previous, &entry_drawn].concat();
        assert_eq!(encode(&audit).unwrap()[..], drawn);
        let entries = vec![entry.clone()];
        let audit = AuditRow::Open { token_id: [5; 16], entries: entries.clone() };
        let drawn = [&[1, 0, 0, 0][..], &[5; 16], &length(1), &entry_drawn].concat();
        assert_eq!(encode(&audit).unwrap()[..], drawn);
        let audit = AuditRow::Pruned { entries: 3, last: previous };
        assert_eq!(
            encode(&audit).unwrap()[..],
            [&[2, 0, 0, 0][..], &length(3), &previous].concat()
        );
        let segment = SegmentRow { first: 4, previous, entries };
        let drawn = [&length(4)[..], &previous, &length(1), &entry_drawn].concat();
        assert_eq!(encode(&segment).unwrap()[..], drawn);

        let counter = |limit| CounterRow {
            is_of_server: true,
            own_total: None,
            limit,
            total: Some(8),
            accepted: 1,
            pending: 2,
            uncertain: 3,
            reserved: 4,
            foreign: 5,
            in_doubt: 9,
            carried: 6,
            renewed: 7,
        };
        let window = WindowRow {
            purpose: 1,
            coin: "eth".into(),
            period_ms: 60_000,
            sum: None,
            count: Some(2),
            slots: vec![(1000, 3, 4)],
        };
        let ledger = LedgerRow {
            is_exposed: true,
            is_unreconciled: false,
            seen_ms: 10,
            confirmed_ms: 11,
            decay: None,
            counters: vec![("tbtc".into(), counter(Some(9))), ("eth".into(), counter(None))],
            pool: None,
            windows: vec![window],
        };
        let (wide, long) =
            (|number: u128| number.to_le_bytes(), |number: u64| number.to_le_bytes());
        let parts = [1, 2, 3, 4, 5, 9, 6, 7].map(wide).concat();
        let drawn = [
            &[1, 0][..],
            &long(10),
            &long(11),
            &[0],
            &long(2),
            &long(4),
            b"tbtc",
            &[1, 0],
            &[1],
            &wide(9),
            &[1],
            &wide(8),
            &parts,
            &long(3),
            b"eth",
            &[1, 0],
            &[0],
            &[1],
            &wide(8),
            &parts,
            &[0],
            &long(1),
            &[1],
            &long(3),
            b"eth",
            &long(60_000),
            &[0],
            &[1, 2, 0, 0, 0],
            &long(1),
            &long(1000),
            &wide(3),
            &long(4),
        ];
        assert_eq!(encode(&ledger).unwrap()[..], drawn.concat());

        let renewal = RenewalRow::Extend { lifetime_secs: 60 };
        let drawn = [1, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(encode(&renewal).unwrap()[..], drawn);
        let row = SecretRow { label: "a".into(), token: "bc".into(), extension_key: None };
        let drawn = [1, 0, 0, 0, 0, 0, 0, 0, b'a', 2, 0, 0, 0, 0, 0, 0, 0, b'b', b'c', 0];
        assert_eq!(encode(&row).unwrap()[..], drawn);
    }

    /// All windows that a token may have, with all slots that they may have, and many coins.
    #[test]
    fn the_largest_ledger_fits_a_record() {
        let slots = vec![(i64::MAX, u128::MAX, u64::MAX); 66];
        let coin = || Cow::Owned("x".repeat(100));
        let window = || WindowRow {
            purpose: 1,
            coin: coin(),
            period_ms: u64::MAX,
            sum: Some(u128::MAX),
            count: Some(u32::MAX),
            slots: slots.clone(),
        };
        let counter = || CounterRow::from(&Meter::default());
        let row = LedgerRow {
            is_exposed: false,
            is_unreconciled: false,
            seen_ms: 1,
            confirmed_ms: 1,
            decay: Some((1, 1)),
            counters: (0..100).map(|_| (coin(), counter())).collect(),
            pool: Some(counter()),
            windows: (0..WINDOWS_MAX).map(|_| window()).collect(),
        };
        assert!(encode(&row).is_ok());
    }

    #[test]
    fn a_row_is_written_as_it_was_read() {
        let head = encode(&head()).unwrap();
        let rows = recode_rows(&head);
        let rows: Vec<_> = rows.iter().map(|(kind, row)| (*kind, &row[..])).collect();
        assert_eq!(rows, [("head", &head[..])]);
        assert!(recode_token_info(&head).is_none());
    }
}
