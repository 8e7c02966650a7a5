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

mod audit;
mod ledger;
mod token;

pub(super) use audit::{AuditRow, EntryRow, SegmentRow};
pub(super) use ledger::LedgerRow;
pub(super) use token::{InfoRow, RenewalRow, SecretRow, TokenRow};

use super::{StoreError, Tree};
use crate::crypto::RECORD_MAX;
use crate::environment::Environment;
use crate::secret::SecretBytes;
#[cfg(any(test, feature = "test-util"))]
use crate::token::TokenInfo;
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::enc::write::SizeWriter;
use bincode::{BorrowDecode, Decode, Encode};
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
        ("clock", recoded::<ClockOffsetRow>(bytes)),
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

/// How far BitGo's clock is ahead of the machine's.
#[derive(Encode, Decode)]
pub(super) struct ClockOffsetRow {
    pub(super) ms: i64,
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
    use super::ledger::{CounterRow, WindowRow};
    use super::*;
    use crate::policy::{Meter, WINDOWS_MAX};
    use std::borrow::Cow;

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
