//! Transaction requests of a wallet: `POST /api/v2/wallet/{id}/txrequests`.
//!
//! The path names no coin: each amount does, by its symbol, and one request has but one. That the
//! wallet is one of that coin is BitGo's to check, as nothing here tells what a wallet holds: a token
//! for which that matters is confined to its wallets.

use super::super::coins::Counted;
use super::super::json::{Field, Fields, Kind, ONLY, Reader, at, each_of};
use super::gas::gas_fee;
use super::spend::RECIPIENTS_MAX;
use super::transfer::{memo, transfer};
use super::{Action, ActionKind, body, named_wallet};
use crate::coin_map::CoinMap;
use crate::money::Amount;
use crate::policy::{CoinUnit, Denied, Request};
use crate::scope::Permission;

static BODY: [Field; 5] = [
    Field::new("intent", Kind::Own, ONLY),
    Field::new("apiVersion", Kind::Text, ONLY),
    Field::new("idempotencyKey", Kind::Text, ONLY),
    Field::new("preview", Kind::Flag, ONLY),
    Field::new("videoApprovers", Kind::Texts, ONLY),
];

static INTENT: [Field; 6] = [
    Field::new("intentType", Kind::Text, ONLY),
    Field::new("recipients", Kind::Own, ONLY),
    Field::new("memo", Kind::Own, ONLY),
    Field::new("feeOptions", Kind::Own, ONLY),
    Field::new("comment", Kind::Text, ONLY),
    Field::new("sequenceId", Kind::Text, ONLY),
];

static RECIPIENT: [Field; 2] =
    [Field::new("address", Kind::Own, ONLY), Field::new("amount", Kind::Own, ONLY)];

static ADDRESS: [Field; 1] = [Field::new("address", Kind::Own, ONLY)];

static AMOUNT: [Field; 2] =
    [Field::new("value", Kind::Own, ONLY), Field::new("symbol", Kind::Text, ONLY)];

static FEE_OPTIONS: [Field; 4] = [
    Field::new("maxFeePerGas", Kind::Own, ONLY),
    Field::new("maxPriorityFeePerGas", Kind::Own, ONLY),
    Field::new("gasPrice", Kind::Own, ONLY),
    Field::new("gasLimit", Kind::Own, ONLY),
];

pub(super) fn of(
    request: &Request,
    wallet: &str,
    units: &CoinMap<CoinUnit>,
) -> Result<Action, Denied> {
    let fields = Fields::read(body(request)?, "a transaction request", &BODY, ONLY)?;
    let wanted = || Denied::body("a transaction request wants an intent");
    let intent = fields.get(const { at(&BODY, "intent") }).ok_or_else(wanted)?;
    let intent = Fields::read(intent, "an intent", &INTENT, ONLY)?;
    if intent.text(const { at(&INTENT, "intentType") })?.as_deref() != Some("payment") {
        return Err(Denied::body("intentType is not payment"));
    }
    let memo = intent.get(const { at(&INTENT, "memo") }).map(memo).transpose()?;
    let wanted = || Denied::body("a payment wants recipients, each with an address and an amount");
    let recipients = intent.get(const { at(&INTENT, "recipients") }).ok_or_else(wanted)?;
    let (mut coin, mut transfers) = (None::<Counted>, Vec::new());
    each_of(&mut Reader::new(recipients), RECIPIENTS_MAX, "recipients", |reader| {
        let recipient = Fields::next(reader, "a recipient", &RECIPIENT, ONLY)?;
        let address = recipient.get(const { at(&RECIPIENT, "address") }).ok_or_else(wanted)?;
        let address = Fields::read(address, "an address", &ADDRESS, ONLY)?;
        let amount = recipient.get(const { at(&RECIPIENT, "amount") }).ok_or_else(wanted)?;
        let amount = Fields::read(amount, "an amount", &AMOUNT, ONLY)?;
        let symbol = amount.text(const { at(&AMOUNT, "symbol") })?.ok_or_else(wanted)?;
        let coin = match &coin {
            Some(coin) if coin.coin.as_str() == symbol => coin,
            Some(_) => return Err(Denied::body("the amounts are of more than one coin")),
            None => coin.insert(Counted::of(&symbol, units)?),
        };
        let (address, value) = (address.text(0)?, amount.get(const { at(&AMOUNT, "value") }));
        transfers.push(transfer(address, value, memo.as_deref(), coin)?);
        Ok(())
    })?;
    let coin = coin.ok_or_else(wanted)?.coin;
    let fee = match intent.get(const { at(&INTENT, "feeOptions") }) {
        Some(options) => fee(options)?.map(|fee| (coin, fee)),
        None => None,
    };
    let wallet = Some(named_wallet(wallet)?);
    let still = Action::still(ActionKind::Spend, Some(Permission::WalletSpend), wallet);
    Ok(Action { transfers, fee, ..still })
}

fn fee(options: &str) -> Result<Option<Amount>, Denied> {
    let fields = Fields::read(options, "feeOptions", &FEE_OPTIONS, ONLY)?;
    let mut price = None;
    for name in [0, 1, 2] {
        price = price.max(fields.amount(name)?);
    }
    gas_fee(price, fields.amount(const { at(&FEE_OPTIONS, "gasLimit") })?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{moved, post};
    use super::*;
    use crate::policy::Rule;

    fn on(intent: &str) -> Result<Action, Denied> {
        post(
            "/api/v2/wallet/{w}/txrequests",
            &format!(r#"{{"apiVersion":"full","intent":{intent}}}"#),
        )
    }

    const ONE: &str = r#"{"address":{"address":"a"},"amount":{"value":"5","symbol":"tbtc"}}"#;

    #[test]
    fn a_payment_is_read_from_its_intent() {
        let two = format!(r#"{{"intentType":"payment","recipients":[{ONE},{ONE}],"comment":"x"}}"#);
        let action = on(&two).unwrap();
        assert_eq!(moved(&action), [("tbtc", 5, "a"), ("tbtc", 5, "a")]);
        assert_eq!(
            (action.kind, action.permission),
            (ActionKind::Spend, Some(Permission::WalletSpend))
        );
        let fees = r#""memo":"7","feeOptions":{"gasLimit":3,"maxFeePerGas":"4"}"#;
        let action =
            on(&format!(r#"{{"intentType":"payment","recipients":[{ONE}],{fees}}}"#)).unwrap();
        assert_eq!(moved(&action), [("tbtc", 5, "a?memoId=7")]);
        assert_eq!(action.fee.unwrap().1, Amount::new(12));
    }

    #[test]
    fn whatever_else_an_intent_may_be_is_denied() {
        let other = ONE.replace("tbtc", "tltc");
        for intent in [
            "{}".into(),
            format!(r#"{{"recipients":[{ONE}]}}"#),
            r#"{"intentType":"payment"}"#.into(),
            r#"{"intentType":"payment","recipients":[]}"#.into(),
            format!(r#"{{"intentType":"stake","recipients":[{ONE}]}}"#),
            format!(r#"{{"intentType":"consolidate","recipients":[{ONE}]}}"#),
            format!(r#"{{"intentType":"payment","recipients":[{ONE},{other}]}}"#),
            format!(r#"{{"intentType":"payment","recipients":[{ONE}],"nonce":"1"}}"#),
            format!(r#"{{"intentType":"payment","recipients":[{ONE}],"intentType":"payment"}}"#),
            format!(
                r#"{{"intentType":"payment","recipients":[{}]}}"#,
                ONE.replace(r#","symbol":"tbtc""#, "")
            ),
            format!(
                r#"{{"intentType":"payment","recipients":[{}]}}"#,
                ONE.replace(r#""5""#, r#""5.0""#)
            ),
            format!(
                r#"{{"intentType":"payment","recipients":[{}]}}"#,
                ONE.replace(r#"{"address":"a"}"#, r#""a""#)
            ),
            format!(
                r#"{{"intentType":"payment","recipients":[{}]}}"#,
                ONE.replace(r#""a"}"#, r#""a","walletId":"b"}"#)
            ),
            format!(
                r#"{{"intentType":"payment","recipients":[{}]}}"#,
                ONE.replace("}}", r#"},"data":"0x"}"#)
            ),
        ] {
            assert!(on(&intent).is_err(), "{intent}");
        }
        let unknown = ONE.replace("tbtc", "newcoin");
        let denied =
            on(&format!(r#"{{"intentType":"payment","recipients":[{unknown}]}}"#)).unwrap_err();
        assert_eq!(denied.rule(), Rule::UnknownCoin);
        let bare = post("/api/v2/wallet/{w}/txrequests", r#"{"apiVersion":"full"}"#);
        assert_eq!(bare.unwrap_err().rule(), Rule::Body);
    }
}
