//! Orders at BitGo's trading desk: what leaves the account for one.
//!
//! ```text
//! side  quantityCurrency  limitPrice  what leaves
//! sell  base              any         the quantity, of the base currency
//! buy   quote             any         the quantity, of the quote currency
//! buy   base              given       quantity × limitPrice of the quote currency, rounded up
//! buy   base              none        denied: no price bounds it
//! sell  quote             any         denied: BitGo takes none such, and no price bounds it from above
//! ```
//!
//! Each type has its own fields beside those that all have, as BitGo publishes them:
//!
//! ```text
//! market                    timeInForce
//! limit                     timeInForce  limitPrice  duration
//! stop                      timeInForce  limitPrice  triggerPrice
//! twap                                   limitPrice  duration  interval  scheduledDate  parameters
//! steadyPace, steady_pace                limitPrice  scheduledDate  parameters
//! ```
//!
//! A product is `BASE-QUOTE` as BitGo writes it: the asterisk of `TBTC-TUSD*` is part of its name. A
//! trigger price, a duration or a plan of smaller orders changes when that leaves, and not how much.
//! What the desk charges on top, if anything, is not in the order, and is not counted here.

use super::super::coins::Counted;
use super::super::json::{Field, Fields, Kind, ONLY, at};
use super::view::is_id;
use super::{Action, ActionKind, Transfer, body, named_wallet, unknown_call};
use crate::coin_map::CoinMap;
use crate::decimal::Decimal;
use crate::money::Amount;
use crate::policy::{CoinUnit, Denied, Request};
use crate::scope::Permission;
use std::borrow::Cow;

/// The longest name of a product, in bytes.
const PRODUCT_MAX: usize = 100;

const MARKET: u8 = 1;
const LIMIT: u8 = 2;
const STOP: u8 = 4;
const TWAP: u8 = 8;
const PACE: u8 = 16;

/// The types of orders, and what they are called. None lets more leave than the table above says.
const TYPES: [(&str, u8); 6] = [
    ("market", MARKET),
    ("limit", LIMIT),
    ("stop", STOP),
    ("twap", TWAP),
    ("steadyPace", PACE),
    ("steady_pace", PACE),
];

/// The fields that not every type has, and those that have them. That of a market order no limitPrice
/// is believed matters most: nothing would bound what it costs.
const SOME: [(&str, usize, u8); 7] = [
    ("limitPrice", at(&ORDER, "limitPrice"), LIMIT | STOP | TWAP | PACE),
    ("triggerPrice", at(&ORDER, "triggerPrice"), STOP),
    ("timeInForce", at(&ORDER, "timeInForce"), MARKET | LIMIT | STOP),
    ("duration", at(&ORDER, "duration"), LIMIT | TWAP),
    ("interval", at(&ORDER, "interval"), TWAP),
    ("scheduledDate", at(&ORDER, "scheduledDate"), TWAP | PACE),
    ("parameters", at(&ORDER, "parameters"), TWAP | PACE),
];

static ORDER: [Field; 14] = [
    Field::new("product", Kind::Text, ONLY),
    Field::new("type", Kind::Text, ONLY),
    Field::new("side", Kind::Text, ONLY),
    Field::new("quantity", Kind::Text, ONLY),
    Field::new("quantityCurrency", Kind::Text, ONLY),
    Field::new("limitPrice", Kind::Text, ONLY),
    Field::new("triggerPrice", Kind::Text, ONLY),
    Field::new("fundingType", Kind::Text, ONLY),
    Field::new("timeInForce", Kind::Text, ONLY),
    Field::new("clientOrderId", Kind::Text, ONLY),
    Field::new("duration", Kind::Number, ONLY),
    Field::new("interval", Kind::Number, ONLY),
    Field::new("scheduledDate", Kind::Text, ONLY),
    Field::new("parameters", Kind::Own, ONLY),
];

static PARAMETERS: [Field; 6] = [
    Field::new("boundsControl", Kind::Text, TWAP),
    Field::new("isTimeSliced", Kind::Flag, TWAP),
    Field::new("interval", Kind::Number, PACE),
    Field::new("intervalUnit", Kind::Text, PACE),
    Field::new("subOrderSize", Kind::Text, PACE),
    Field::new("variance", Kind::Text, PACE),
];

pub(super) fn of(
    request: &Request,
    account: &str,
    units: &CoinMap<CoinUnit>,
) -> Result<Action, Denied> {
    let fields = Fields::read(body(request)?, "an order", &ORDER, ONLY)?;
    let wanted = |name: &str| Denied::body(format!("an order wants {name}"));
    let text = |at: usize, name| fields.text(at)?.ok_or_else(|| wanted(name));
    let name = text(const { at(&ORDER, "type") }, "a type")?;
    let Some((name, kind)) = TYPES.into_iter().find(|(known, _)| *known == name) else {
        let known = TYPES.map(|(known, _)| known).join(", ");
        return Err(Denied::body(format!("type is none of {known}")));
    };
    for (field, at, kinds) in SOME {
        if kinds & kind == 0 && fields.get(at).is_some() {
            return Err(Denied::body(format!("an order of type {name} has no {field}")));
        }
    }
    if let Some(parameters) = fields.get(const { at(&ORDER, "parameters") }) {
        Fields::read(parameters, "parameters", &PARAMETERS, kind)?;
    }
    if let Some(funding) = fields.text(const { at(&ORDER, "fundingType") })?
        && !matches!(&*funding, "funded" | "margin")
    {
        return Err(Denied::body("fundingType is neither funded nor margin"));
    }
    let decimal = |text: Cow<'_, str>, name| {
        let plain = || Denied::body(format!("{name} is not a plain decimal such as 0.05"));
        Decimal::read(&text).ok_or_else(plain)
    };
    let product = text(const { at(&ORDER, "product") }, "a product")?;
    let side = text(const { at(&ORDER, "side") }, "a side")?;
    let quantity = decimal(text(const { at(&ORDER, "quantity") }, "a quantity")?, "quantity")?;
    let currency = text(const { at(&ORDER, "quantityCurrency") }, "a quantityCurrency")?;
    let price = fields.text(const { at(&ORDER, "limitPrice") })?;
    let price = price.map(|price| decimal(price, "limitPrice")).transpose()?;
    let (coin, amount) = leaving(&product, &side, quantity, &currency, price, units)?;
    let transfer =
        Transfer { coin: coin.coin, amount, destination: "".into(), is_erc20: coin.is_erc20 };
    let account = Some(named_wallet(account)?);
    let still = Action::still(ActionKind::Order, Some(Permission::TradeTrade), account);
    Ok(Action { transfers: vec![transfer], product: Some(product.into()), ..still })
}

/// What leaves the account, as the table of this module has it.
fn leaving(
    product: &str,
    side: &str,
    quantity: Decimal,
    currency: &str,
    price: Option<Decimal>,
    units: &CoinMap<CoinUnit>,
) -> Result<(Counted, Amount), Denied> {
    if product.len() > PRODUCT_MAX {
        return Err(Denied::body("product is longer than 100 bytes"));
    }
    let quote = product.strip_prefix(currency).and_then(|rest| rest.strip_prefix('-'));
    let base = product.strip_suffix(currency).and_then(|rest| rest.strip_suffix('-'));
    let is_name = |name: &&str| !name.is_empty();
    let (quote, base) = (quote.filter(is_name), base.filter(is_name));
    let inexact = |coin: &Counted| {
        Denied::body(format!("quantity is not a whole number of base units of {}", coin.coin))
    };
    match (side, quote, base, price) {
        ("sell", Some(_), None, _) | ("buy", None, Some(_), _) => {
            let coin = Counted::currency(currency, units)?;
            let amount = quantity.in_units(coin.decimals).ok_or_else(|| inexact(&coin))?;
            Ok((coin, amount))
        }
        ("buy", Some(quote), None, Some(price)) => {
            // What is bought must be as exact as what is sold, though it is not charged.
            let bought = Counted::currency(currency, units)?;
            quantity.in_units(bought.decimals).ok_or_else(|| inexact(&bought))?;
            let coin = Counted::currency(quote, units)?;
            let amount = quantity.times_in_units(price, coin.decimals);
            let beyond = || Denied::body("quantity times limitPrice is more than can be counted");
            Ok((coin, amount.ok_or_else(beyond)?))
        }
        ("buy", Some(_), None, None) => Err(Denied::body(
            "nothing bounds what this order costs: give quantity in the currency that is paid, or a \
             limitPrice",
        )),
        ("sell", None, Some(_), _) => Err(Denied::body(
            "nothing bounds what this order sells: give quantity in the currency that is sold",
        )),
        ("sell" | "buy", ..) => {
            Err(Denied::body("product is not BASE-QUOTE with quantityCurrency as one of the two"))
        }
        _ => Err(Denied::body("side is neither buy nor sell")),
    }
}

/// An order that is taken back: what it held comes free.
pub(super) fn cancelled(request: &Request, account: &str, order: &str) -> Result<Action, Denied> {
    if !is_id(order) {
        return Err(unknown_call(request));
    }
    if !matches!(request.body(), b"" | b"{}") {
        return Err(Denied::body("an order is taken back without a body"));
    }
    let account = Some(named_wallet(account)?);
    Ok(Action::still(ActionKind::CancelOrder, Some(Permission::TradeTrade), account))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{WALLET, moved, post};
    use super::*;

    fn on(body: &str) -> Result<Action, Denied> {
        post("/api/prime/trading/v1/accounts/{w}/orders", body)
    }

    fn order(product: &str, side: &str, quantity: &str, currency: &str, rest: &str) -> String {
        format!(
            r#"{{"product":"{product}","type":"limit","side":"{side}","quantity":"{quantity}","quantityCurrency":"{currency}"{rest}}}"#
        )
    }

    #[test]
    fn a_price_that_bounds_nothing_is_denied() {
        let order = order("TBTC-TUSD*", "buy", "1000", "TBTC", r#","limitPrice":"0.01""#);
        assert!(on(&order).is_ok());
        let market = order.replace("\"limit\"", "\"market\"");
        assert_eq!(on(&market).unwrap_err().rule(), crate::policy::Rule::Body);
    }

    #[test]
    fn what_leaves_is_never_counted_too_low() {
        let price = r#","limitPrice":"20123.45""#;
        for (side, quantity, currency, rest, expect) in [
            ("sell", "0.05", "TBTC", "", Some(("tbtc", 5_000_000))),
            ("sell", "0.05", "TBTC", price, Some(("tbtc", 5_000_000))),
            ("buy", "1000", "TUSD*", "", Some(("tfiatusd", 100_000))),
            ("buy", "1000.01", "TUSD*", price, Some(("tfiatusd", 100_001))),
            ("buy", "0.05", "TBTC", price, Some(("tfiatusd", 100_618))),
            ("buy", "0.00000001", "TBTC", price, Some(("tfiatusd", 1))),
            ("buy", "0.05", "TBTC", "", None),
            ("buy", "0.05", "TBTC", r#","triggerPrice":"1""#, None),
            ("sell", "1000", "TUSD*", price, None),
            ("sell", "0.000000001", "TBTC", "", None),
            ("buy", "0.001", "TUSD*", "", None),
            ("buy", "0.000000001", "TBTC", price, None),
            ("buy", "1000", "TUSD", "", None),
            ("hold", "1", "TBTC", "", None),
            ("buy", "1", "TETH", "", None),
            ("buy", "1", "", "", None),
            ("buy", "1", "-", "", None),
            ("buy", "1", "TBTC-TUSD*", "", None),
        ] {
            let action = on(&order("TBTC-TUSD*", side, quantity, currency, rest));
            let found = action.as_ref().ok().map(|action| moved(action)[0]);
            let expect = expect.map(|(coin, amount)| (coin, amount, ""));
            assert_eq!(found, expect, "{side} {quantity} {currency} {rest}");
        }
    }

    #[test]
    fn each_type_has_its_own_fields() {
        let twap = r#""parameters":{"boundsControl":"wide","isTimeSliced":true}"#;
        let pace = r#""parameters":{"interval":5,"intervalUnit":"minute","subOrderSize":"0.1","variance":"0.1"}"#;
        let twap_or_pace = "twap steadyPace steady_pace";
        for (field, types) in [
            (
                r#""clientOrderId":"1","fundingType":"funded""#,
                "market limit stop twap steadyPace steady_pace",
            ),
            (r#""limitPrice":"20000""#, "limit stop twap steadyPace steady_pace"),
            (r#""triggerPrice":"20000""#, "stop"),
            (r#""timeInForce":"FOK""#, "market limit stop"),
            (r#""duration":60"#, "limit twap"),
            (r#""interval":5"#, "twap"),
            (r#""scheduledDate":"2026-01-02T03:04:05Z""#, twap_or_pace),
            (r#""parameters":{}"#, twap_or_pace),
            (twap, "twap"),
            (pace, "steadyPace steady_pace"),
            (r#""parameters":{"more":1}"#, ""),
        ] {
            let order = order("TBTC-TUSD*", "sell", "1", "TBTC", &format!(",{field}"));
            for (kind, _) in TYPES {
                let of_kind = order.replace("\"limit\"", &format!("\"{kind}\""));
                let fits = types.split(' ').any(|known| known == kind);
                assert_eq!(on(&of_kind).is_ok(), fits, "{of_kind}");
            }
        }
    }

    #[test]
    fn an_order_is_one_of_bitgos_and_names_the_account() {
        let rest =
            r#","fundingType":"margin","timeInForce":"GTC","clientOrderId":"1","duration":5"#;
        let action = on(&order("TBTC-TUSD*", "sell", "1", "TBTC", rest)).unwrap();
        assert_eq!(
            (action.kind, action.permission),
            (ActionKind::Order, Some(Permission::TradeTrade))
        );
        assert_eq!(action.wallet.unwrap().to_string(), WALLET);
        assert_eq!(action.product.as_deref(), Some("TBTC-TUSD*"));
        for (from, to) in [
            (r#""type":"limit""#, r#""type":"sweep""#),
            (r#""type":"limit","#, ""),
            (r#""quantity":"1""#, r#""quantity":1"#),
            (r#""quantity":"1""#, r#""quantity":"1e1""#),
            (r#""quantity":"1""#, r#""quantity":"-1""#),
            (r#""quantity":"1","#, ""),
            (r#""side":"sell","#, ""),
            (r#""side":"sell""#, r#""side":"sell","side":"buy""#),
            (r#""side":"sell""#, r#""side":"sell","address":"a""#),
            (r#""margin""#, r#""credit""#),
            (r#""duration":5"#, r#""duration":5.5"#),
            (r#""quantityCurrency":"TBTC""#, r#""quantityCurrency":"tbtc""#),
            ("TBTC-TUSD*", "TBTCTUSD*"),
            ("TBTC-TUSD*", "TBTC-"),
        ] {
            let body = order("TBTC-TUSD*", "sell", "1", "TBTC", rest).replace(from, to);
            assert!(on(&body).is_err(), "{body}");
        }
        assert!(post("/api/prime/trading/v1/accounts/XYZ/orders", "{}").is_err());
    }

    #[test]
    fn taking_an_order_back_moves_nothing() {
        let target = format!(
            "/api/prime/trading/v1/accounts/{WALLET}/orders/00000000-aaaa-4bbb-8ccc-0123456789ab/cancel"
        );
        for (body, fits) in [("", true), ("{}", true), (r#"{"quantity":"1"}"#, false)] {
            let request = Request::put(&target).bytes(body.into()).unwrap();
            let action = Action::of(&request, &CoinMap::default());
            assert_eq!(action.as_ref().is_ok_and(|it| it.kind == ActionKind::CancelOrder), fits);
            assert!(action.is_err() || action.unwrap().transfers.is_empty());
        }
    }
}
