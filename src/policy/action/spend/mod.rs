//! Transactions of a wallet: `tx/initiate`, `tx/build`, `tx/send`, and BitGo Express's `sendcoins` and
//! `sendmany`.
//!
//! A `tx/send` may hold a transaction that was built or half signed elsewhere. What that moves does not
//! stand in the body: the caller declares it ([`Request::declaring`]), and a rule must allow that.

mod fields;

pub(super) use fields::Route;

use super::gas::{gas_fee, gas_price};
use super::transfer::{memo, transfer};
use super::{Action, ActionKind, Transfer, body, named_wallet};
use crate::coin_map::CoinMap;
use crate::money::Amount;
use crate::policy::coins::Counted;
use crate::policy::json::{Fields, Reader, at, each_of};
use crate::policy::{CoinUnit, Denied, Request, Rule};
use crate::scope::Permission;
use fields::{
    ADDRESS, AMOUNT, BODY, BUILD, EIP1559, FEES, GAS_LIMIT, GAS_PRICE, MEMO, OPAQUE, PAYS,
    READABLE, RECIPIENT, RECIPIENTS, TOKEN_NAME, TYPE,
};

/// The most recipients of one request.
pub(super) const RECIPIENTS_MAX: usize = 1000;

pub(super) fn of(
    request: &Request,
    coin: &str,
    wallet: &str,
    route: Route,
    units: &CoinMap<CoinUnit>,
) -> Result<Action, Denied> {
    let coin = Counted::of(coin, units)?;
    let (mut fields, mut recipients) = (Fields::of(&BODY), None);
    fields.fill(body(request)?, route.what, route.bit, |at, reader| {
        if at != RECIPIENTS {
            return Ok(None);
        }
        let here = reader.here();
        recipients = Some(each_recipient(reader, &coin, route, (None, None), units)?);
        Ok(reader.since(here))
    })?;
    if fields.text(TYPE)?.is_some_and(|kind| kind != "transfer") {
        return Err(Denied::body("type is not transfer"));
    }
    let is_opaque = fields.has(OPAQUE);
    let transfers = match is_opaque {
        true => declared(request, &fields, &coin, units)?,
        false => readable(&fields, recipients, &coin, route, units)?,
    };
    let kind = if route.bit == BUILD { ActionKind::Build } else { ActionKind::Spend };
    let fee = fee(&fields)?.map(|fee| (coin.coin, fee));
    let wallet = Some(named_wallet(wallet)?);
    let still = Action::still(kind, Some(Permission::WalletSpend), wallet);
    Ok(Action { transfers, fee, is_declared: is_opaque, ..still })
}

/// What the body says itself that it moves.
fn readable<const N: usize>(
    fields: &Fields<'_, N>,
    recipients: Option<Vec<Transfer>>,
    coin: &Counted,
    route: Route,
    units: &CoinMap<CoinUnit>,
) -> Result<Vec<Transfer>, Denied> {
    // The token and the memo of every recipient that does not name its own.
    let token = fields.text(TOKEN_NAME)?;
    let token = token.map(|name| coin.token(&name, units)).transpose()?;
    let memo = fields.get(MEMO).map(memo).transpose()?;
    let one = (fields.text(ADDRESS)?, fields.get(AMOUNT));
    let transfers = match (fields.get(RECIPIENTS), recipients, one) {
        (Some(_), Some(recipients), (None, None)) if token.is_none() && memo.is_none() => {
            recipients
        }
        // They stood before what they have in common, or behind it.
        (Some(json), _, (None, None)) => {
            let common = (token.as_ref(), memo.as_deref());
            each_recipient(&mut Reader::new(json), coin, route, common, units)?
        }
        (None, _, (address @ Some(_), amount @ Some(_))) => {
            let coin = token.as_ref().unwrap_or(coin);
            vec![transfer(address, amount, memo.as_deref(), coin)?]
        }
        _ => {
            return Err(Denied::body(
                "either recipients, or address and amount, must say what is sent",
            ));
        }
    };
    match transfers.is_empty() {
        true => Err(Denied::body("recipients: 1 to 1000 are wanted")),
        false => Ok(transfers),
    }
}

/// Reads the list of recipients that comes next, who may have a token and a memo in common.
fn each_recipient(
    reader: &mut Reader<'_>,
    coin: &Counted,
    route: Route,
    (token, memo): (Option<&Counted>, Option<&str>),
    units: &CoinMap<CoinUnit>,
) -> Result<Vec<Transfer>, Denied> {
    let mut transfers = Vec::with_capacity(1);
    each_of(reader, RECIPIENTS_MAX, "recipients", |reader| {
        let own = Fields::next(reader, "a recipient", &RECIPIENT, route.bit)?;
        let own_token = own.text(const { at(&RECIPIENT, "tokenName") })?;
        let own_token = own_token.map(|name| coin.token(&name, units)).transpose()?;
        let own_memo = own.get(const { at(&RECIPIENT, "memo") }).map(self::memo).transpose()?;
        let token = agreed(own_token.as_ref(), token, "tokenName")?;
        let memo = agreed(own_memo.as_deref(), memo, "memo")?;
        let address = own.text(const { at(&RECIPIENT, "address") })?;
        let amount = own.get(const { at(&RECIPIENT, "amount") });
        transfers.push(transfer(address, amount, memo, token.unwrap_or(coin))?);
        Ok(())
    })?;
    Ok(transfers)
}

/// What a recipient and the body say, which must not differ.
fn agreed<'a, T: PartialEq + ?Sized>(
    own: Option<&'a T>,
    common: Option<&'a T>,
    what: &'static str,
) -> Result<Option<&'a T>, Denied> {
    match (own, common) {
        (Some(own), Some(common)) if own != common => {
            Err(Denied::body(format!("{what}: the body and a recipient do not agree")))
        }
        (own, common) => Ok(own.or(common)),
    }
}

/// What the caller says that it moves, as the body does not.
fn declared<const N: usize>(
    request: &Request,
    fields: &Fields<'_, N>,
    coin: &Counted,
    units: &CoinMap<CoinUnit>,
) -> Result<Vec<Transfer>, Denied> {
    if fields.has(READABLE) {
        return Err(Denied::body("a transaction made elsewhere and recipients do not go together"));
    }
    if request.declared().is_empty() {
        return Err(Denied::new(
            Rule::Declared,
            "the transaction was made elsewhere, so what it moves cannot be read: declare it, and allow \
             declared amounts in the token's local rules",
        ));
    }
    let transfers = request.declared().iter().map(|declared| {
        let is_erc20 = match declared.coin == coin.coin {
            true => coin.is_erc20,
            false => coin.token(declared.coin.as_str(), units)?.is_erc20,
        };
        Ok(Transfer { is_erc20, ..declared.clone() })
    });
    transfers.collect()
}

/// The highest fee or rate that is offered: of gas, that of all of it at its price.
fn fee<const N: usize>(fields: &Fields<'_, N>) -> Result<Option<Amount>, Denied> {
    if !fields.has(PAYS) {
        return Ok(None);
    }
    let mut fee = None;
    for at in FEES {
        fee = fee.max(fields.amount(at)?);
    }
    let mut price = fields.amount(GAS_PRICE)?;
    if let Some(json) = fields.get(EIP1559) {
        price = price.max(gas_price(json)?);
    }
    Ok(fee.max(gas_fee(price, fields.amount(GAS_LIMIT)?)?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{WALLET, moved, post};
    use super::*;
    use crate::money::Coin;

    const ROUTES: [&str; 5] = ["tx/initiate", "tx/build", "tx/send", "sendcoins", "sendmany"];

    fn on(route: &str, body: &str) -> Result<Action, Denied> {
        post(&format!("/api/v2/tbtc/wallet/{{w}}/{route}"), body)
    }

    #[test]
    fn amounts_are_read_exactly() {
        let body = r#"{"recipients":[{"address":"a","amount":"340282366920938463463374607431768211455"},{"address":"b","amount":9007199254740991}]}"#;
        for route in ROUTES {
            let action = on(route, body).unwrap();
            let expect = [("tbtc", u128::MAX, "a"), ("tbtc", 9_007_199_254_740_991, "b")];
            assert_eq!(moved(&action), expect, "{route}");
            let kind = if route == "tx/build" { ActionKind::Build } else { ActionKind::Spend };
            assert_eq!((action.kind, action.permission), (kind, Some(Permission::WalletSpend)));
            assert_eq!(action.wallet.unwrap().to_string(), WALLET);
            assert!(!action.is_declared && action.fee.is_none());
        }
        let one = r#"{"address":"a","amount":7,"comment":"x"}"#;
        assert_eq!(moved(&on("sendcoins", one).unwrap()), [("tbtc", 7, "a")]);
        assert!(on("sendcoins", r#"{"address":"a","amount":7,"walletPassphrase":"p"}"#).is_ok());
    }

    #[test]
    fn what_is_not_plain_is_denied() {
        for body in [
            "",
            "[]",
            "{}",
            "null",
            "\u{feff}{}",
            r#"{"recipients":[]}"#,
            r#"{"recipients":{}}"#,
            r#"{"recipients":[{"address":"a","amount":"max"}]}"#,
            r#"{"recipients":[{"address":"a","amount":"invoice"}]}"#,
            r#"{"recipients":[{"address":"a","amount":"-1"}]}"#,
            r#"{"recipients":[{"address":"a","amount":-1}]}"#,
            r#"{"recipients":[{"address":"a","amount":-0}]}"#,
            r#"{"recipients":[{"address":"a","amount":1.0}]}"#,
            r#"{"recipients":[{"address":"a","amount":1e3}]}"#,
            r#"{"recipients":[{"address":"a","amount":"0x10"}]}"#,
            r#"{"recipients":[{"address":"a","amount":"01"}]}"#,
            r#"{"recipients":[{"address":"a","amount":null}]}"#,
            r#"{"recipients":[{"address":"a","amount":[1]}]}"#,
            r#"{"recipients":[{"address":"a","amount":"\u0031"}]}"#,
            r#"{"recipients":[{"address":"a","amount":"340282366920938463463374607431768211456"}]}"#,
            r#"{"recipients":[{"address":"a","amount":9007199254740992}]}"#,
            r#"{"recipients":[{"address":"a","amount":1,"tokenName":"terc"}]}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"tokenName":"terc"}"#,
            r#"{"recipients":[{"address":"a","amount":1,"amount":2}]}"#,
            r#"{"recipients":[{"address":"a","amount":1,"\u0061mount":2}]}"#,
            r#"{"recipients":[{"address":"a","amount":1,"data":"0x"}]}"#,
            r#"{"recipients":[{"address":"","amount":1}]}"#,
            r#"{"recipients":[{"address":{"address":"a"},"amount":1}]}"#,
            r#"{"recipients":[{"address":"\ud800","amount":1}]}"#,
            r#"{"recipients":[{"amount":1}]}"#,
            r#"{"recipients":[{"address":"a"}]}"#,
            r#"{"recipients":["a"]}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"recipients":[]}"#,
            r#"{"recipients":[{"address":"a","amount":1}]} {}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"type":"stake"}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"type":null}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"data":"0x"}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"changeAddress":"b"}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"stakingOptions":{}}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"numBlocks":2}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"feeMultiplier":2}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"feeRate":1.5}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"feeRate":"fast"}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"eip1559":{}}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"eip1559":{"maxFeePerGas":1,"gas":2}}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"comment":["x"]}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"memo":{"type":"id"}}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"memo":{"type":"hash","value":"7"}}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"memo":{"value":"1","more":1}}"#,
            r#"{"recipients":[{"address":"a","amount":1,"memo":"1"}],"memo":"2"}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"address":"b","amount":1}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"txHex":"00"}"#,
            r#"{"halfSigned":{},"address":"a","amount":1}"#,
        ] {
            for route in ROUTES {
                assert!(on(route, body).is_err(), "{route} {body}");
            }
        }
        assert!(on("sendcoins", r#"{"address":"a"}"#).is_err());
        let long = format!(r#"{{"recipients":[{{"address":"{}","amount":1}}]}}"#, "a".repeat(501));
        assert!(on("tx/initiate", &long).is_err());
        let many = |n| {
            let one = r#"{"address":"a","amount":1}"#;
            format!(r#"{{"recipients":[{}]}}"#, vec![one; n].join(","))
        };
        assert_eq!(on("sendmany", &many(1000)).unwrap().transfers.len(), 1000);
        assert!(on("sendmany", &many(1001)).is_err());
        assert!(
            post("/api/v2/tbtc/wallet/XYZ/sendcoins", r#"{"address":"a","amount":1}"#).is_err()
        );
    }

    #[test]
    fn each_route_has_its_own_fields() {
        let with =
            |field: &str| format!(r#"{{"recipients":[{{"address":"a","amount":1}}],{field}}}"#);
        for (field, routes) in [
            (r#""videoApprovers":["5941b202b42fcbc707170d5b597491d9"]"#, "tx/initiate tx/send"),
            (r#""walletPassphrase":"p""#, "sendcoins sendmany"),
            (r#""prv":"p""#, "sendcoins sendmany"),
            (r#""otp":"0000000""#, "sendcoins sendmany"),
            (r#""isReplaceableByFee":true"#, "tx/initiate tx/build"),
            (r#""type":"transfer""#, "tx/initiate tx/build tx/send sendcoins sendmany"),
            (
                r#""comment":"x","sequenceId":"1","minConfirms":1,"txFormat":"psbt""#,
                "tx/initiate tx/build tx/send sendcoins sendmany",
            ),
        ] {
            for route in ROUTES {
                let fits = routes.split(' ').any(|known| known == route);
                assert_eq!(on(route, &with(field)).is_ok(), fits, "{route} {field}");
            }
        }
    }

    #[test]
    fn a_token_name_decides_the_coin() {
        let call =
            |coin: &str, route, body| post(&format!("/api/v2/{coin}/wallet/{{w}}/{route}"), body);
        let on = |coin: &str, body| call(coin, "sendmany", body);
        let own = r#"{"recipients":[{"address":"a","amount":1,"tokenName":"terc"},{"address":"b","amount":2}]}"#;
        let action = on("hteth", own).unwrap();
        assert_eq!(moved(&action), [("terc", 1, "a"), ("hteth", 2, "b")]);
        assert_eq!(
            action.transfers.iter().map(|it| it.is_erc20).collect::<Vec<_>>(),
            [true, false]
        );
        let common = r#"{"tokenName":"terc","recipients":[{"address":"a","amount":1}]}"#;
        assert_eq!(moved(&on("hteth", common).unwrap()), [("terc", 1, "a")]);
        let differ = r#"{"tokenName":"terc","recipients":[{"address":"a","amount":1,"tokenName":"hteth:wbtc"}]}"#;
        assert!(on("hteth", differ).is_err());
        for coin in ["eth", "tbtc", "sol"] {
            assert_eq!(on(coin, common).unwrap_err().rule(), Rule::UnknownCoin, "{coin}");
        }
        let unknown = r#"{"recipients":[{"address":"a","amount":1,"tokenName":"tshib"}]}"#;
        assert_eq!(on("hteth", unknown).unwrap_err().rule(), Rule::UnknownCoin);
        let one = r#"{"address":"a","amount":1,"tokenName":"terc"}"#;
        assert_eq!(moved(&call("hteth", "sendcoins", one).unwrap()), [("terc", 1, "a")]);
        // BitGo's own routes know none: taken at its word, it would charge a coin that is not sent.
        for route in ["tx/initiate", "tx/build", "tx/send"] {
            for body in [own, common] {
                assert_eq!(call("hteth", route, body).unwrap_err().rule(), Rule::Body, "{route}");
            }
            let named = r#"{"recipients":[{"address":"a","amount":1}]}"#;
            assert_eq!(moved(&call("terc", route, named).unwrap()), [("terc", 1, "a")]);
        }
    }

    #[test]
    fn a_memo_is_part_of_where_money_goes() {
        for (body, destination) in [
            (
                r#"{"recipients":[{"address":"a","amount":1}],"memo":{"type":"id","value":"7"}}"#,
                "a?memoId=7",
            ),
            (
                r#"{"recipients":[{"address":"a","amount":1}],"memo":{"type":"text","value":"7"}}"#,
                "a?memoText=7",
            ),
            (r#"{"recipients":[{"address":"a","amount":1,"memo":"7"}]}"#, "a?memoId=7"),
            (r#"{"recipients":[{"address":"a","amount":1,"memo":"7"}],"memo":"7"}"#, "a?memoId=7"),
            (r#"{"recipients":[{"address":"a","amount":1,"memo":"\u0037"}]}"#, "a?memoId=7"),
        ] {
            assert_eq!(moved(&on("tx/initiate", body).unwrap()), [("tbtc", 1, destination)]);
        }
    }

    #[test]
    fn the_highest_fee_that_is_named_counts() {
        for (fields, fee) in [
            (r#""feeRate":1000"#, 1000),
            (r#""feeRate":1000,"maxFeeRate":"2000""#, 2000),
            (r#""gasLimit":21000,"gasPrice":5"#, 105_000),
            (r#""gasLimit":"2","eip1559":{"maxFeePerGas":"70","maxPriorityFeePerGas":3}"#, 140),
            (r#""gasPrice":0,"gasLimit":9"#, 0),
        ] {
            let body = format!(r#"{{"recipients":[{{"address":"a","amount":1}}],{fields}}}"#);
            let (coin, named) = on("tx/send", &body).unwrap().fee.unwrap();
            assert_eq!((coin.as_str(), named.base_units()), ("tbtc", fee), "{fields}");
        }
        let beyond =
            format!(r#"{{"address":"a","amount":1,"gasPrice":"{}","gasLimit":2}}"#, u128::MAX);
        assert!(on("sendcoins", &beyond).is_err());
        // One without the other bounds nothing.
        for half in
            [r#""gasLimit":21000"#, r#""gasPrice":5"#, r#""eip1559":{"maxPriorityFeePerGas":3}"#]
        {
            let body = format!(r#"{{"recipients":[{{"address":"a","amount":1}}],{half}}}"#);
            assert_eq!(on("tx/send", &body).unwrap_err().rule(), Rule::Body, "{half}");
        }
    }

    #[test]
    fn what_was_made_elsewhere_is_declared_or_denied() {
        let coin = |name| Coin::new(name).unwrap();
        let send = |coin: &str, body: &str| {
            let target = format!("/api/v2/{coin}/wallet/{WALLET}/tx/send");
            Request::post(&target).bytes(body.into()).unwrap()
        };
        let read = |request| Action::of(&request, &CoinMap::default());
        for body in [
            r#"{"halfSigned":{"txHex":"00","recipients":[{"address":"a","amount":1}]}}"#,
            r#"{"txHex":"00","comment":"x"}"#,
            r#"{"txRequestId":"5941b202"}"#,
        ] {
            assert_eq!(read(send("tbtc", body)).unwrap_err().rule(), Rule::Declared, "{body}");
            let declared = send("tbtc", body)
                .declaring(&coin("tbtc"), Amount::new(5), "a")
                .declaring(&coin("tbtc"), Amount::new(6), "b");
            let action = read(declared).unwrap();
            assert_eq!(moved(&action), [("tbtc", 5, "a"), ("tbtc", 6, "b")]);
            assert!(action.is_declared);
        }
        let token = send("hteth", r#"{"txHex":"00"}"#);
        let action = read(token.declaring(&coin("terc"), Amount::new(5), "a")).unwrap();
        assert!(action.transfers[0].is_erc20, "the pool covers it");
        let other = send("tbtc", r#"{"txHex":"00"}"#);
        let denied = read(other.declaring(&coin("terc"), Amount::new(5), "a")).unwrap_err();
        assert_eq!(denied.rule(), Rule::UnknownCoin);
        for body in [
            r#"{"txHex":null}"#,
            r#"{"txHex":"00","recipients":[]}"#,
            r#"{"txHex":"00","memo":"1"}"#,
        ] {
            assert!(
                read(send("tbtc", body).declaring(&coin("tbtc"), Amount::new(5), "a")).is_err(),
                "{body}"
            );
        }
    }
}
