//! What a body may hold, by the route.

use crate::policy::json::{Field, Kind, at, bits};

/// Which of them a call is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::policy::action) struct Route {
    pub(super) bit: u8,
    pub(super) what: &'static str,
}

const INITIATE: u8 = 1;
pub(super) const BUILD: u8 = 2;
const SEND: u8 = 4;
const SENDCOINS: u8 = 8;
const SENDMANY: u8 = 16;
const ALL: u8 = INITIATE | BUILD | SEND | EXPRESS;
const EXPRESS: u8 = SENDCOINS | SENDMANY;

impl Route {
    pub(in crate::policy::action) fn of(below_wallet: &[&str]) -> Option<Self> {
        let (bit, what) = match below_wallet {
            ["tx", "initiate"] => (INITIATE, "tx/initiate"),
            ["tx", "build"] => (BUILD, "tx/build"),
            ["tx", "send"] => (SEND, "tx/send"),
            ["sendcoins"] => (SENDCOINS, "sendcoins"),
            ["sendmany"] => (SENDMANY, "sendmany"),
            _ => return None,
        };
        Some(Self { bit, what })
    }
}

/// What a body may hold. Change addresses, `data`, contract calls, staking and sweeping are not here.
///
/// They are looked for from the first to the last: what most requests have stands first.
pub(super) static BODY: [Field; 40] = [
    // What is moved, and where to.
    Field::new("recipients", Kind::Own, ALL),
    Field::new("address", Kind::Own, SENDCOINS),
    Field::new("amount", Kind::Own, SENDCOINS),
    // BitGo's own routes publish none: what it would make of one is not known. There the coin of the
    // path is the token.
    Field::new("tokenName", Kind::Own, EXPRESS),
    Field::new("type", Kind::Own, ALL),
    Field::new("memo", Kind::Own, ALL),
    // What says nothing of what is moved, where to, or at what fee; more of it below.
    Field::new("comment", Kind::Text, ALL),
    Field::new("sequenceId", Kind::Text, ALL),
    // What moves something that does not stand here.
    Field::new("halfSigned", Kind::Own, SEND),
    Field::new("txHex", Kind::Text, SEND),
    Field::new("txRequestId", Kind::Text, SEND),
    // Fees.
    Field::new("feeRate", Kind::Own, ALL),
    Field::new("maxFeeRate", Kind::Own, ALL),
    Field::new("maxFee", Kind::Own, ALL),
    Field::new("feeLimit", Kind::Own, ALL),
    Field::new("gasPrice", Kind::Own, ALL),
    Field::new("gasLimit", Kind::Own, ALL),
    Field::new("eip1559", Kind::Own, ALL),
    // What opens the wallet's key: for Express alone.
    Field::new("otp", Kind::Text, EXPRESS),
    Field::new("walletPassphrase", Kind::Text, EXPRESS),
    Field::new("passphrase", Kind::Text, EXPRESS),
    Field::new("prv", Kind::Text, EXPRESS),
    // What says nothing of what is moved, where to, or at what fee.
    Field::new("videoApprovers", Kind::Texts, INITIATE | SEND),
    Field::new("txFormat", Kind::Text, ALL),
    Field::new("minConfirms", Kind::Number, ALL),
    Field::new("enforceMinConfirmsForChange", Kind::Flag, ALL),
    Field::new("noSplitChange", Kind::Flag, ALL),
    Field::new("targetWalletUnspents", Kind::Number, ALL),
    Field::new("unspents", Kind::Texts, ALL),
    Field::new("minValue", Kind::Number, ALL),
    Field::new("maxValue", Kind::Number, ALL),
    Field::new("addressType", Kind::Text, ALL),
    Field::new("changeAddressType", Kind::Text, ALL),
    Field::new("isReplaceableByFee", Kind::Flag, INITIATE | BUILD),
    Field::new("lastLedgerSequence", Kind::Number, ALL),
    Field::new("ledgerSequenceDelta", Kind::Number, ALL),
    Field::new("validFromBlock", Kind::Number, ALL),
    Field::new("validToBlock", Kind::Number, ALL),
    Field::new("startTime", Kind::Text, ALL),
    Field::new("apiVersion", Kind::Text, EXPRESS),
];

pub(super) const RECIPIENTS: usize = const { at(&BODY, "recipients") };
pub(super) const ADDRESS: usize = const { at(&BODY, "address") };
pub(super) const AMOUNT: usize = const { at(&BODY, "amount") };
pub(super) const TOKEN_NAME: usize = const { at(&BODY, "tokenName") };
pub(super) const TYPE: usize = const { at(&BODY, "type") };
pub(super) const MEMO: usize = const { at(&BODY, "memo") };
pub(super) const OPAQUE: u64 =
    const { bits([at(&BODY, "halfSigned"), at(&BODY, "txHex"), at(&BODY, "txRequestId")]) };
pub(super) const FEES: [usize; 4] = [
    const { at(&BODY, "feeRate") },
    const { at(&BODY, "maxFeeRate") },
    const { at(&BODY, "maxFee") },
    const { at(&BODY, "feeLimit") },
];
pub(super) const GAS_PRICE: usize = const { at(&BODY, "gasPrice") };
pub(super) const GAS_LIMIT: usize = const { at(&BODY, "gasLimit") };
/// What says what is moved.
pub(super) const READABLE: u64 = bits([RECIPIENTS, ADDRESS, AMOUNT, TOKEN_NAME, MEMO]);
pub(super) const EIP1559: usize = const { at(&BODY, "eip1559") };
/// What says what is paid for it.
pub(super) const PAYS: u64 = bits(FEES) | bits([GAS_PRICE, GAS_LIMIT, EIP1559]);

pub(super) static RECIPIENT: [Field; 4] = [
    Field::new("address", Kind::Own, ALL),
    Field::new("amount", Kind::Own, ALL),
    Field::new("memo", Kind::Own, ALL),
    Field::new("tokenName", Kind::Own, EXPRESS),
];
