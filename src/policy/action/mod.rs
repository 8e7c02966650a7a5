//! What a request would do, read from its method, path and body.
//!
//! ```text
//! views     reads of what every token may see, of wallets, enterprises and trading accounts
//! spends    transactions of a wallet: initiated, built, sent, or by way of BitGo Express
//! intents   transaction requests of a wallet
//! orders    at BitGo's trading desk: placed, taken back
//! ```
//!
//! Routes and fields are closed lists (PROTOCOL section 2): what is not on them is denied, so a
//! new way for BitGo to move money is not a way around the limit.

mod gas;
mod intent;
mod order;
mod spend;
mod transfer;
mod view;

use super::request::SEGMENTS_MAX;
use super::{CoinUnit, Denied, Method, Request, Rule};
use crate::coin_map::CoinMap;
use crate::id::{EnterpriseId, WalletId};
use crate::money::{Amount, Coin};
use crate::scope::Permission;

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

impl ActionKind {
    pub(crate) const ALL: [Self; 5] =
        [Self::View, Self::Build, Self::Spend, Self::Order, Self::CancelOrder];

    /// The kind's name in messages and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Build => "build",
            Self::Spend => "spend",
            Self::Order => "order",
            Self::CancelOrder => "cancel-order",
        }
    }
}

/// What a request would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    /// What it is for.
    pub(crate) kind: ActionKind,
    /// The permission it needs; `None` for what every token may do.
    pub(crate) permission: Option<Permission>,
    /// The wallet it touches; of trading, the Go Account.
    pub(crate) wallet: Option<WalletId>,
    /// The enterprise it touches.
    pub(crate) enterprise: Option<EnterpriseId>,
    /// What it would move.
    pub(crate) transfers: Vec<Transfer>,
    /// The coin that pays its fee, and the most of it that the request offers, or the highest of its
    /// rates; `None` where it names none.
    pub(crate) fee: Option<(Coin, Amount)>,
    /// What it would trade.
    pub(crate) product: Option<Box<str>>,
    /// Whether what it moves was declared by the caller, as it cannot be read.
    pub(crate) is_declared: bool,
}

/// One movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// The coin.
    pub coin: Coin,
    /// How much, in the coin's base unit.
    pub amount: Amount,
    /// Where to, as the request spells the address, with `?memoId=` and the memo behind it where
    /// one is named: for some coins that says whose money it is then. Empty for an order.
    pub destination: Box<str>,
    /// Whether the limit that ERC-20 coins share covers it.
    pub(crate) is_erc20: bool,
}

impl Action {
    /// Reads what `request` would do. `units` are of coins that the compiled table does not know.
    pub(crate) fn of(request: &Request, units: &CoinMap<CoinUnit>) -> Result<Self, Denied> {
        let mut segments = [""; SEGMENTS_MAX];
        let path = request.segments(&mut segments).ok_or_else(|| unknown_call(request))?;
        let action = match (request.method(), path) {
            (Method::Get, path) => view::of(request, path, units),
            (Method::Post, ["api", "v2", coin, "wallet", wallet, rest @ ..]) => {
                let route = spend::Route::of(rest).ok_or_else(|| unknown_call(request))?;
                spend::of(request, coin, wallet, route, units)
            }
            (Method::Post, ["api", "v2", "wallet", wallet, "txrequests"]) => {
                intent::of(request, wallet, units)
            }
            (Method::Post, [trading @ .., account, "orders"]) if trading == TRADING => {
                order::of(request, account, units)
            }
            (Method::Put, [trading @ .., account, "orders", order, "cancel"])
                if trading == TRADING =>
            {
                order::cancelled(request, account, order)
            }
            _ => Err(unknown_call(request)),
        };
        // Not taken out of its result and put back: it is large.
        if action.as_ref().is_ok_and(|action| !action.is_declared) && !request.declared().is_empty()
        {
            return Err(Denied::new(
                Rule::Declared,
                "the request says itself what it moves: declare nothing for it",
            ));
        }
        action
    }

    /// Whether it is a call of BitGo Express, which runs beside the bot: its body may hold what
    /// opens the wallet's key, which BitGo itself must never get.
    pub(crate) fn is_for_express(request: &Request) -> bool {
        let call = request.path().rsplit('/').next();
        call.is_some_and(|call| matches!(call, "sendcoins" | "sendmany"))
    }

    /// One that moves nothing.
    fn still(kind: ActionKind, permission: Option<Permission>, wallet: Option<WalletId>) -> Self {
        Self {
            kind,
            permission,
            wallet,
            enterprise: None,
            transfers: Vec::new(),
            fee: None,
            product: None,
            is_declared: false,
        }
    }
}

/// Where the calls of trading accounts begin.
const TRADING: [&str; 5] = ["api", "prime", "trading", "v1", "accounts"];

fn unknown_call(request: &Request) -> Denied {
    Denied::new(
        Rule::UnknownCall,
        format!("{} {} is not a call the vault can read", request.method(), request.path()),
    )
}

fn named_wallet(id: &str) -> Result<WalletId, Denied> {
    id.parse().map_err(|_| Denied::new(Rule::UnknownCall, "the path names no wallet id"))
}

/// The body as text, which JSON is.
fn body(request: &Request) -> Result<&str, Denied> {
    std::str::from_utf8(request.body()).map_err(|_| Denied::body("the body is not utf-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const WALLET: &str = "5941b202b42fcbc707170d5b597491d9";

    /// The path of the call with `{w}` as a wallet's id.
    pub(super) fn post(target: &str, body: &str) -> Result<Action, Denied> {
        let target = target.replace("{w}", WALLET);
        Action::of(&Request::post(&target).bytes(body.into()).unwrap(), &CoinMap::default())
    }

    /// Coins, amounts and destinations.
    pub(super) fn moved(action: &Action) -> Vec<(&str, u128, &str)> {
        let transfers = action.transfers.iter();
        transfers.map(|it| (it.coin.as_str(), it.amount.base_units(), &*it.destination)).collect()
    }

    #[test]
    fn unknown_calls_are_denied() {
        let get = |target: &str| Request::get(&target.replace("{w}", WALLET));
        let post = |target: &str| Request::post(&target.replace("{w}", WALLET)).bytes(vec![]);
        let put = |target: &str| Request::put(&target.replace("{w}", WALLET)).bytes(vec![]);
        for request in [
            get("/api/v2/user/accesstoken"),
            get("/api/v2/user/session/more"),
            get("/api/v2/tbtc/wallet/XYZ"),
            get("/api/v2/tbtc/wallet/{w}/tx/initiate"),
            get("/api/v2/tbtc/wallet/{w}/sendcoins"),
            get("/api/v2/tbtc/wallet/{w}/user/secret"),
            get("/api/v2/tbtc/wallet/{w}/transfer/abc"),
            get("/api/v2/wallet/{w}/txrequests"),
            get("/api/v2/enterprise/XYZ"),
            get("/api/v2/enterprise/{w}/users"),
            get("/api/prime/trading/v1/accounts/XYZ"),
            get("/api/prime/trading/v1/accounts/{w}/fills"),
            get("/api/prime/trading/v1/accounts/{w}/orders/1"),
            get("/api/prime/trading/v2/accounts"),
            get("/API/v2/user/session"),
            get("/a/b/c/d/e/f/g/h/i/j"),
            get("/a"),
            post("/api/v2/user/unlock"),
            post("/api/v2/tbtc/wallet"),
            post("/api/v2/tbtc/wallet/{w}"),
            post("/api/v2/tbtc/wallet/{w}/tx"),
            post("/api/v2/tbtc/wallet/{w}/tx/Initiate"),
            post("/api/v2/tbtc/wallet/{w}/tx/initiate/more"),
            post("/api/v2/tbtc/wallet/{w}/sweep"),
            post("/api/v2/tbtc/wallet/{w}/consolidateunspents"),
            post("/api/v2/wallet/{w}/txrequests/1/send"),
            post("/api/prime/trading/v1/accounts/{w}/orders/more"),
            put("/api/v2/tbtc/wallet/{w}"),
            put("/api/prime/trading/v1/accounts/{w}/orders/1/cancel"),
            put("/api/prime/trading/v1/accounts/{w}/orders"),
            Request::delete(&format!("/api/v2/tbtc/wallet/{WALLET}")).bytes(vec![]),
        ] {
            let denied = Action::of(&request.unwrap(), &CoinMap::default()).unwrap_err();
            assert_eq!(denied.rule(), Rule::UnknownCall, "{denied}");
        }
    }

    #[test]
    fn a_coin_that_nobody_knows_is_denied_until_its_unit_is_added() {
        let units = CoinMap::from([(Coin::new("newcoin").unwrap(), CoinUnit::new(3))]);
        let read = |request: Result<Request, _>, units: &CoinMap<_>| {
            Action::of(&request.unwrap(), units).map_err(|denied| denied.rule())
        };
        let view = || Request::get(&format!("/api/v2/newcoin/wallet/{WALLET}"));
        let spend = || {
            let target = format!("/api/v2/newcoin/wallet/{WALLET}/tx/initiate");
            Request::post(&target).bytes(br#"{"recipients":[{"address":"a","amount":1}]}"#.into())
        };
        for request in [view(), spend()] {
            assert_eq!(read(request, &CoinMap::default()), Err(Rule::UnknownCoin));
        }
        assert!(read(view(), &units).is_ok());
        assert_eq!(moved(&read(spend(), &units).unwrap()), [("newcoin", 1, "a")]);
    }

    #[test]
    fn nothing_is_declared_for_what_can_be_read() {
        let tbtc = Coin::new("tbtc").unwrap();
        let target = format!("/api/v2/tbtc/wallet/{WALLET}");
        let declared = Request::get(&target).unwrap().declaring(&tbtc, Amount::ZERO, "a");
        let denied = Action::of(&declared, &CoinMap::default()).unwrap_err();
        assert_eq!(denied.rule(), Rule::Declared);
    }
}
