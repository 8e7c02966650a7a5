//! Requests by a grammar of BitGo's calls and of what goes wrong with them, and what they move by a
//! plain reading: whatever policy allows, it must have read so.

use crate::coin_map::CoinMap;
use crate::policy::{Action, Denied, Request, RequestError};
use serde_json::Value;

/// A coin, an amount in base units, and where it goes.
pub type Moved = (String, u128, String);

/// What a request moves, as policy reads it.
///
/// # Errors
/// Policy's refusal.
pub fn moved_by(request: &Request) -> Result<Vec<Moved>, Denied> {
    let action = Action::of(request, &CoinMap::default())?;
    let moved = action.transfers.iter();
    let moved = moved.map(|transfer| {
        let (amount, destination) = (transfer.amount.base_units(), &*transfer.destination);
        (transfer.coin.to_string(), amount, destination.to_owned())
    });
    Ok(moved.collect())
}

/// Choices, made by bytes; once those have run out, always the first.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn number(&mut self, below: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % below.max(1)
    }

    fn of<'t>(&mut self, options: &[&'t str]) -> &'t str {
        options.get(self.number(options.len())).copied().unwrap_or_default()
    }
}

const WALLET: &str = "5941b202b42fcbc707170d5b597491d9";

const TARGETS: [&str; 11] = [
    "/api/v2/tbtc/wallet/{w}/tx/initiate",
    "/api/v2/hteth/wallet/{w}/tx/initiate",
    "/api/v2/hteth/wallet/{w}/tx/build",
    "/api/v2/txrp/wallet/{w}/tx/send",
    "/api/v2/tbtc/wallet/{w}/sendcoins",
    "/api/v2/hteth/wallet/{w}/sendmany",
    "/api/v2/wallet/{w}/txrequests",
    "/api/prime/trading/v1/accounts/{w}/orders",
    "/api/v2/tbtc/wallet/{w}/sweep",
    "/api/v2/tbtc//wallet/{w}/sendcoins",
    "/api/v2/TBTC/wallet/{w}/sendcoins",
];

const AMOUNTS: [&str; 22] = [
    "1",
    r#""1""#,
    r#""340282366920938463463374607431768211455""#,
    "9007199254740991",
    "0",
    "9007199254740992",
    "9007199254740993",
    "1.0",
    "1e3",
    "-1",
    "-0",
    "01",
    "null",
    "[1]",
    r#""01""#,
    r#""1e3""#,
    r#"" 1""#,
    r#""\u0031""#,
    r#""max""#,
    r#""340282366920938463463374607431768211456""#,
    "18446744073709551616",
    r#""""#,
];

const ADDRESSES: [&str; 8] = [
    r#""a""#,
    r#""tb1q\u0061é""#,
    r#""a?memoId=7""#,
    r#""\ud83d\ude00""#,
    r#""""#,
    r#""\ud800""#,
    r#"{"address":"a"}"#,
    "1",
];

const MEMOS: [&str; 6] = [
    r#""7""#,
    r#"{"type":"id","value":"7"}"#,
    r#"{"value":"\u0037","type":"text"}"#,
    r#"{"value":"7","value":"8"}"#,
    r#"{"type":"id"}"#,
    "null",
];

const TOKENS: [&str; 5] =
    [r#""terc""#, r#""hteth:wbtc""#, r#""tbtc""#, r#""hteth""#, r#""nothing""#];

const MORE: [&str; 26] = [
    r#""comment":"x""#,
    r#""type":"transfer""#,
    r#""feeRate":1000"#,
    r#""gasLimit":"21000","gasPrice":5"#,
    r#""gasLimit":2,"eip1559":{"maxFeePerGas":"7","maxPriorityFeePerGas":1}"#,
    r#""minConfirms":1"#,
    r#""unspents":["a:0"]"#,
    r#""walletPassphrase":"p""#,
    r#""videoApprovers":[]"#,
    r#""sequenceId":"\ud800""#,
    r#""type":"stake""#,
    r#""data":"0x""#,
    r#""changeAddress":"b""#,
    r#""comment":{"a":[[[]]]}"#,
    r#""recipients":[]"#,
    r#""recipients":[{"address":"b","amount":2}]"#,
    r#""amount":2"#,
    r#""\u0061mount":3"#,
    r#""address":"b""#,
    r#""txHex":"00""#,
    r#""halfSigned":{"txHex":"00"}"#,
    r#""fundingType":"margin""#,
    r#""limitPrice":"20123.45""#,
    r#""limitPrice":"0.0000000000000000001""#,
    r#""limitPrice":"1e3""#,
    r#""":1"#,
];

/// A request that the bytes choose: a target and a body, most of them plain, some of them not.
///
/// # Errors
/// Where the target is not plain.
pub fn generate(choices: &[u8]) -> Result<Request, RequestError> {
    let choices = &mut Choices(choices);
    let target = choices.of(&TARGETS).replace("{w}", WALLET);
    let mut fields = Vec::new();
    match &target {
        orders if orders.ends_with("orders") => {
            let product =
                choices.of(&["TBTC-TUSD*", "BTC-USD", "TUSD*-TBTC", "TBTCTUSD*", "-TBTC"]);
            let currency = choices.of(&["TBTC", "TUSD*", "BTC", "USD", "tbtc", "TUSD", ""]);
            let quantity = choices.of(&[
                "1",
                "0.05",
                "0.00000001",
                "1000.01",
                "0.000000001",
                "1e3",
                "01",
                ".",
            ]);
            let kind = choices.of(&["market", "limit", "twap", "sweep"]);
            fields.push(format!(r#""product":"{product}""#));
            fields.push(format!(r#""type":"{kind}""#));
            fields.push(format!(r#""side":"{}""#, choices.of(&["buy", "sell", "hold"])));
            fields.push(format!(r#""quantity":"{quantity}""#));
            fields.push(format!(r#""quantityCurrency":"{currency}""#));
        }
        requests if requests.ends_with("txrequests") => {
            let recipients = (0..=choices.number(3)).map(|_| {
                let address = choices.of(&ADDRESSES);
                let (value, symbol) = (choices.of(&AMOUNTS), choices.of(&TOKENS));
                format!(
                    r#"{{"address":{{"address":{address}}},"amount":{{"value":{value},"symbol":{symbol}}}}}"#
                )
            });
            let recipients: Vec<_> = recipients.collect();
            let kind = choices.of(&["payment", "stake", "transferToken"]);
            let memo = choices.number(2) * (1 + choices.number(MEMOS.len()));
            let memo = memo.checked_sub(1).and_then(|at| MEMOS.get(at));
            let memo = memo.map(|memo| format!(r#","memo":{memo}"#)).unwrap_or_default();
            let recipients = recipients.join(",");
            fields.push(format!(
                r#""intent":{{"intentType":"{kind}","recipients":[{recipients}]{memo}}}"#
            ));
        }
        coins if coins.ends_with("sendcoins") && choices.number(2) == 0 => {
            fields.push(format!(r#""address":{}"#, choices.of(&ADDRESSES)));
            fields.push(format!(r#""amount":{}"#, choices.of(&AMOUNTS)));
        }
        _ => {
            let recipients: Vec<_> = (0..=choices.number(3)).map(|_| recipient(choices)).collect();
            fields.push(format!(r#""recipients":[{}]"#, recipients.join(",")));
        }
    }
    for _ in 0..choices.number(4) {
        fields.push(match choices.number(4) {
            0 => format!(r#""memo":{}"#, choices.of(&MEMOS)),
            1 => format!(r#""tokenName":{}"#, choices.of(&TOKENS)),
            _ => choices.of(&MORE).to_owned(),
        });
    }
    let turns = choices.number(fields.len());
    fields.rotate_left(turns);
    let mut body = format!("{{{}}}", fields.join(choices.of(&[",", " , "]))).into_bytes();
    for _ in 0..choices.number(3) {
        mutate(&mut body, choices);
    }
    Request::post(&target).bytes(body)
}

fn recipient(choices: &mut Choices<'_>) -> String {
    let (address, amount) = (choices.of(&ADDRESSES), choices.of(&AMOUNTS));
    let more = match choices.number(8) {
        0 => format!(r#","memo":{}"#, choices.of(&MEMOS)),
        1 => format!(r#","tokenName":{}"#, choices.of(&TOKENS)),
        2 => r#","data":"0x""#.into(),
        3 => r#","amount":2"#.into(),
        _ => String::new(),
    };
    format!(r#"{{"address":{address},"amount":{amount}{more}}}"#)
}

fn mutate(body: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let at = (choices.number(256) * 7 + choices.number(256)) % body.len().max(1);
    let byte = choices.of(&["\"", "{", "}", "[", "]", ",", ":", "\\", "0", "\n", "e", "\0"]);
    match choices.number(4) {
        0 => drop(body.splice(at..at, byte.bytes())),
        1 if at < body.len() => drop(body.remove(at)),
        2 if at < body.len() => drop(body.splice(at..=at, byte.bytes())),
        _ => body.truncate(at),
    }
}

/// What a request moves, read with nothing but an ordinary reader of JSON, as a server would;
/// `None` for what no server should have to read.
pub fn plain_reading(request: &Request) -> Option<Vec<Moved>> {
    let path: Vec<&str> = request.target().split('?').next()?.split('/').skip(1).collect();
    if request.body().is_empty() {
        return Some(Vec::new());
    }
    let body: Value = serde_json::from_slice(request.body()).ok()?;
    match path.as_slice() {
        ["api", "v2", "wallet", _, "txrequests"] => {
            let intent = body.get("intent")?;
            let recipients = intent.get("recipients")?.as_array()?.iter();
            let recipients = recipients.map(|recipient| {
                let amount = recipient.get("amount")?;
                let coin = amount.get("symbol")?.as_str()?.to_owned();
                let address = recipient.get("address")?.get("address")?.as_str()?;
                Some((coin, units(amount.get("value")?)?, with_memo(address, intent.get("memo"))?))
            });
            recipients.collect()
        }
        ["api", "v2", coin, "wallet", ..] => {
            let alone = [body.clone()];
            let recipients = match body.get("recipients") {
                Some(recipients) => recipients.as_array()?.as_slice(),
                None => &alone,
            };
            // BitGo's own routes know no such field; Express does.
            let is_express =
                path.last().is_some_and(|call| call.starts_with("send") && path.len() == 6);
            let recipients = recipients.iter().map(|recipient| {
                let token = recipient.get("tokenName").or(body.get("tokenName"));
                let token = token.filter(|_| is_express);
                let coin = token.map_or(Some(*coin), Value::as_str)?.to_owned();
                let memo = recipient.get("memo").or(body.get("memo"));
                let address = recipient.get("address")?.as_str()?;
                Some((coin, units(recipient.get("amount")?)?, with_memo(address, memo)?))
            });
            recipients.collect()
        }
        [.., "orders"] => order(&body).map(|(coin, amount)| vec![(coin, amount, String::new())]),
        [.., "cancel"] => Some(Vec::new()),
        _ => None,
    }
}

fn units(amount: &Value) -> Option<u128> {
    match amount {
        Value::String(digits) => digits.parse().ok(),
        Value::Number(number) => number.as_u64().map(u128::from),
        _ => None,
    }
}

fn with_memo(address: &str, memo: Option<&Value>) -> Option<String> {
    let Some(memo) = memo else { return Some(address.into()) };
    let kind = match memo.get("type").and_then(Value::as_str) {
        Some("text") => "memoText",
        _ => "memoId",
    };
    let memo = memo.as_str().or_else(|| memo.get("value")?.as_str())?;
    Some(format!("{address}?{kind}={memo}"))
}

/// Currencies of orders, the coins that they are, and their decimals.
const CURRENCIES: [(&str, &str, usize); 4] =
    [("TBTC", "tbtc", 8), ("TUSD*", "tfiatusd", 2), ("BTC", "btc", 8), ("USD", "fiatusd", 2)];

/// What leaves for an order: the quantity itself, or its price, rounded up.
fn order(body: &Value) -> Option<(String, u128)> {
    let text = |name| body.get(name).and_then(Value::as_str);
    let (base, quote) = text("product")?.split_once('-')?;
    let (quantity, currency) = (text("quantity")?, text("quantityCurrency")?);
    let known = |name: &str| CURRENCIES.iter().find(|(known, ..)| *known == name);
    let (digits, scale, paid) = match text("side")? {
        "sell" if currency == base => (scaled(quantity).0, scaled(quantity).1, base),
        "buy" if currency == quote => (scaled(quantity).0, scaled(quantity).1, quote),
        "buy" if currency == base => {
            let ((one, scale), (other, more)) = (scaled(quantity), scaled(text("limitPrice")?));
            (product(&one, &other), scale + more, quote)
        }
        _ => return None,
    };
    let (_, coin, decimals) = known(paid)?;
    let digits = format!("{digits:0>width$}{}", "0".repeat(*decimals), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let up = u128::from(fraction.bytes().any(|digit| digit != b'0'));
    Some(((*coin).into(), whole.parse::<u128>().ok()?.checked_add(up)?))
}

/// All digits of a decimal, and how many of them come after the point.
fn scaled(decimal: &str) -> (String, usize) {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    (format!("{whole}{fraction}"), fraction.len())
}

/// Long multiplication, as at school.
fn product(one: &str, other: &str) -> String {
    let mut sums = vec![0_u32; one.len() + other.len()];
    let digits = |text: &str| {
        let digits = text.bytes().rev().map(|byte| u32::from(byte.wrapping_sub(b'0')));
        digits.enumerate().collect::<Vec<_>>()
    };
    for (at, digit) in digits(one) {
        for (by, factor) in digits(other) {
            if let Some(sum) = sums.get_mut(at + by) {
                *sum += digit * factor;
            }
        }
    }
    let mut carry = 0;
    for sum in &mut sums {
        (carry, *sum) = ((carry + *sum) / 10, (carry + *sum) % 10);
    }
    sums.iter().rev().filter_map(|digit| char::from_digit(*digit, 10)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn what_is_allowed_was_read_as_any_reader_would(bytes in prop::collection::vec(0_u8.., 0..40)) {
            let Ok(request) = generate(&bytes) else { return Ok(()) };
            if let Ok(moved) = moved_by(&request) {
                let body = String::from_utf8_lossy(request.body());
                prop_assert_eq!(Some(moved), plain_reading(&request), "{} {}", request.target(), body);
            }
        }
    }

    /// A grammar whose requests are all denied would show nothing.
    #[test]
    fn many_of_the_grammars_requests_are_allowed_on_every_route() {
        let mut allowed = [0; TARGETS.len()];
        for choice in 0_u32..1 << 16 {
            let spread = u64::from(choice).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            let Ok(request) = generate(&spread) else { continue };
            let route = usize::from(spread[0]) % TARGETS.len();
            if moved_by(&request).is_ok() {
                allowed[route] += 1;
            }
        }
        assert!(allowed[..8].iter().all(|count| *count > 10), "{allowed:?}");
        assert_eq!(allowed[8..], [0; 3]);
    }
}
