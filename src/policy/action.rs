//! What a request would do, read from its method, path and body.
//!
//! Routes and fields are closed lists (PROTOCOL section 2): what is not on them is denied, so a
//! new way for BitGo to move money is not a way around the limit.

use super::json::{Fields, amount};
use super::{Denied, Method, Request, Rule};
use crate::id::WalletId;
use crate::money::{Amount, Coin};
use crate::scope::Permission;

/// The most recipients of one request.
const RECIPIENTS_MAX: usize = 1000;

/// Fields that say nothing about what is moved, where to, or at what fee.
const HARMLESS: [&str; 7] = [
    "type",
    "comment",
    "sequenceId",
    "memo",
    "minConfirms",
    "enforceMinConfirmsForChange",
    "txFormat",
];

/// What else `tx/initiate` may say.
const INITIATE: [&str; 2] = ["recipients", "videoApprovers"];

/// What else BitGo Express's `sendcoins` may say.
const SENDCOINS: [&str; 6] = ["address", "amount", "recipients", "otp", "walletPassphrase", "prv"];

/// A recipient. `tokenName` is not among it: it would move the charge to another coin than the
/// path's, and no table of coins says yet which tokens live there.
const RECIPIENT: [&str; 3] = ["address", "amount", "memo"];

/// What a wallet is asked for, below its own path. No call that mutates ends so.
const VIEWS: [&str; 6] =
    ["addresses", "balances", "transfer", "tx", "unspents", "maximumSpendable"];

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ActionKind {
    /// Reads, and moves nothing.
    View,
    /// Prepares a transaction on a wallet (`tx/build`): checked, not charged.
    Build,
    /// Moves money out of a wallet, in any of BitGo's ways.
    Spend,
    /// Places an order at BitGo's trading desk.
    Order,
    /// Takes an order back.
    CancelOrder,
}

/// What a request would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    /// What it is for.
    pub(crate) kind: ActionKind,
    /// The permission it needs; `None` for what every token may do.
    pub(crate) permission: Option<Permission>,
    /// The wallet it touches.
    pub(crate) wallet: Option<WalletId>,
    /// What it would move.
    pub(crate) transfers: Vec<Transfer>,
    /// Whether it is a call of BitGo Express, which runs beside the bot: its body may hold what
    /// opens the wallet's key, which BitGo itself must never get.
    pub(crate) is_for_express: bool,
}

/// One movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// The coin.
    pub coin: Coin,
    /// How much, in the coin's base unit.
    pub amount: Amount,
    /// Where to, as the request spells it; empty for an order, which leaves BitGo for nowhere.
    pub destination: Box<str>,
}

impl Action {
    /// Reads what `request` would do.
    pub(crate) fn of(request: &Request) -> Result<Self, Denied> {
        let segments: Vec<&str> = request.path().split('/').skip(1).collect();
        match (request.method(), segments.as_slice()) {
            (Method::Get, ["api", "v1" | "v2", "user", "session"]) if request.body().is_empty() => {
                Ok(Self::view(None, None))
            }
            (Method::Get, ["api", "v2", coin, "wallet", wallet, view @ ..])
                if request.body().is_empty() && is_view(view) =>
            {
                named_coin(coin)?;
                Ok(Self::view(Some(Permission::WalletView), Some(named_wallet(wallet)?)))
            }
            (Method::Post, ["api", "v2", coin, "wallet", wallet, "tx", "initiate"]) => {
                Self::spend(request, coin, wallet, "tx/initiate", &INITIATE)
            }
            (Method::Post, ["api", "v2", coin, "wallet", wallet, "sendcoins"]) => {
                Self::spend(request, coin, wallet, "sendcoins", &SENDCOINS)
            }
            (method, _) => Err(Denied::new(
                Rule::UnknownCall,
                format!("{method} {} is not a call the vault can read", request.path()),
            )),
        }
    }

    fn view(permission: Option<Permission>, wallet: Option<WalletId>) -> Self {
        Self {
            kind: ActionKind::View,
            permission,
            wallet,
            transfers: Vec::new(),
            is_for_express: false,
        }
    }

    fn spend(
        request: &Request,
        coin: &str,
        wallet: &str,
        what: &str,
        known: &[&str],
    ) -> Result<Self, Denied> {
        let fields = Fields::read(request.body(), what, &[known, &HARMLESS].concat())?;
        if let Some(kind) = fields.text("type")?
            && kind != "transfer"
        {
            return Err(Denied::body("type is not transfer"));
        }
        let coin = named_coin(coin)?;
        let one = (fields.get("address"), fields.get("amount"));
        let transfers = match (fields.list("recipients")?, one) {
            (Some(recipients), (None, None)) => recipients_of(&recipients, &coin)?,
            (None, (Some(_), Some(_))) => vec![transfer(&fields, &coin)?],
            _ => {
                return Err(Denied::body(
                    "either recipients, or address and amount, must say what is sent",
                ));
            }
        };
        Ok(Self {
            kind: ActionKind::Spend,
            permission: Some(Permission::WalletSpend),
            wallet: Some(named_wallet(wallet)?),
            transfers,
            is_for_express: what == "sendcoins",
        })
    }
}

/// A wallet itself, one of its collections, or one entry of it.
fn is_view(below_wallet: &[&str]) -> bool {
    match below_wallet {
        [] => true,
        [view] => VIEWS.contains(view),
        ["transfer" | "tx", id] => {
            id.len() >= 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        }
        _ => false,
    }
}

fn recipients_of(
    recipients: &[&serde_json::value::RawValue],
    coin: &Coin,
) -> Result<Vec<Transfer>, Denied> {
    if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
        return Err(Denied::body("recipients: 1 to 1000 are wanted"));
    }
    recipients
        .iter()
        .map(|recipient| {
            let fields = Fields::read(recipient.get().as_bytes(), "a recipient", &RECIPIENT)?;
            transfer(&fields, coin)
        })
        .collect()
}

fn transfer(fields: &Fields<'_>, coin: &Coin) -> Result<Transfer, Denied> {
    let missing = || Denied::body("a recipient wants address and amount");
    let destination =
        fields.text("address")?.filter(|text| !text.is_empty()).ok_or_else(missing)?;
    let amount = amount(fields.get("amount").ok_or_else(missing)?)?;
    Ok(Transfer { coin: coin.clone(), amount, destination: destination.into() })
}

fn named_coin(name: &str) -> Result<Coin, Denied> {
    Coin::new(name).map_err(|error| Denied::new(Rule::UnknownCall, error.to_string()))
}

fn named_wallet(id: &str) -> Result<WalletId, Denied> {
    id.parse().map_err(|_| Denied::new(Rule::UnknownCall, "the path names no wallet id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALLET: &str = "5941b202b42fcbc707170d5b597491d9";

    fn initiate(body: &str) -> Result<Action, Denied> {
        let target = format!("/api/v2/tbtc/wallet/{WALLET}/tx/initiate");
        Action::of(&Request::post(&target).bytes(body.into()).unwrap())
    }

    fn sendcoins(body: &str) -> Result<Action, Denied> {
        let target = format!("/api/v2/tbtc/wallet/{WALLET}/sendcoins");
        Action::of(&Request::post(&target).bytes(body.into()).unwrap())
    }

    fn amounts(action: Result<Action, Denied>) -> Vec<(String, u128)> {
        let transfers = action.unwrap().transfers;
        transfers.iter().map(|t| (t.coin.to_string(), t.amount.base_units())).collect()
    }

    #[test]
    fn amounts_are_read_exactly() {
        let body = r#"{"recipients":[{"address":"a","amount":"340282366920938463463374607431768211455"},{"address":"b","amount":9007199254740991}]}"#;
        assert_eq!(
            amounts(initiate(body)),
            [("tbtc".into(), u128::MAX), ("tbtc".into(), 9_007_199_254_740_991)]
        );
        let body = r#"{"address":"a","amount":7,"comment":"x"}"#;
        assert_eq!(amounts(sendcoins(body)), [("tbtc".into(), 7)]);
        assert!(sendcoins(body).unwrap().is_for_express);
        assert!(sendcoins(r#"{"address":"a","amount":7,"walletPassphrase":"p"}"#).is_ok());
    }

    #[test]
    fn what_is_not_plain_is_denied() {
        for body in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"recipients":[]}"#,
            r#"{"recipients":{}}"#,
            r#"{"recipients":[{"address":"a","amount":"max"}]}"#,
            r#"{"recipients":[{"address":"a","amount":"invoice"}]}"#,
            r#"{"recipients":[{"address":"a","amount":"-1"}]}"#,
            r#"{"recipients":[{"address":"a","amount":-1}]}"#,
            r#"{"recipients":[{"address":"a","amount":1.0}]}"#,
            r#"{"recipients":[{"address":"a","amount":1e3}]}"#,
            r#"{"recipients":[{"address":"a","amount":"0x10"}]}"#,
            r#"{"recipients":[{"address":"a","amount":"01"}]}"#,
            r#"{"recipients":[{"address":"a","amount":null}]}"#,
            r#"{"recipients":[{"address":"a","amount":"\u0031"}]}"#,
            r#"{"recipients":[{"address":"a","amount":"340282366920938463463374607431768211456"}]}"#,
            r#"{"recipients":[{"address":"a","amount":9007199254740992}]}"#,
            r#"{"recipients":[{"address":"a","amount":1,"tokenName":"tshib"}]}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"tokenName":"tshib"}"#,
            r#"{"recipients":[{"address":"a","amount":1,"amount":2}]}"#,
            r#"{"recipients":[{"address":"a","amount":1,"\u0061mount":2}]}"#,
            r#"{"recipients":[{"address":"a","amount":1,"data":"0x"}]}"#,
            r#"{"recipients":[{"address":"","amount":1}]}"#,
            r#"{"recipients":[{"amount":1}]}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"recipients":[]}"#,
            r#"{"recipients":[{"address":"a","amount":1}]} {}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"type":"stake"}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"feeRate":1}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"changeAddress":"b"}"#,
            r#"{"recipients":[{"address":"a","amount":1}],"address":"b","amount":1}"#,
        ] {
            assert!(initiate(body).is_err(), "initiate {body}");
            assert!(sendcoins(body).is_err(), "sendcoins {body}");
        }
        assert!(sendcoins(r#"{"address":"a"}"#).is_err());
        assert!(
            sendcoins(r#"{"address":"a","amount":1,"recipients":[{"address":"a","amount":1}]}"#)
                .is_err()
        );
    }

    #[test]
    fn views_are_a_closed_list_too() {
        for view in ["", "/transfer", "/unspents", &format!("/transfer/{WALLET}")] {
            let request = Request::get(&format!("/api/v2/tbtc/wallet/{WALLET}{view}")).unwrap();
            let action = Action::of(&request).unwrap();
            assert_eq!(action.permission, Some(Permission::WalletView), "{view}");
        }
    }

    #[test]
    fn unknown_calls_are_denied() {
        for request in [
            Request::get("/api/v2/tbtc/wallet"),
            Request::get("/api/v2/user/accesstoken"),
            Request::get("/api/v2/tbtc/wallet/XYZ"),
            Request::get(&format!("/api/v2/tbtc/wallet/{WALLET}/tx/initiate")),
            Request::get(&format!("/api/v2/tbtc/wallet/{WALLET}/sendcoins")),
            Request::get(&format!("/api/v2/tbtc/wallet/{WALLET}/user/secret")),
            Request::post("/api/v2/user/unlock").json(&()),
            Request::post(&format!("/api/v2/tbtc/wallet/{WALLET}/tx/send")).json(&()),
            Request::post(&format!("/api/v2/tbtc/wallet/{WALLET}/tx/Initiate")).json(&()),
            Request::put(&format!("/api/v2/tbtc/wallet/{WALLET}")).json(&()),
            Request::delete(&format!("/api/v2/tbtc/wallet/{WALLET}")).json(&()),
        ] {
            let denied = Action::of(&request.unwrap()).unwrap_err();
            assert_eq!(denied.rule(), Rule::UnknownCall, "{denied}");
        }
    }
}
