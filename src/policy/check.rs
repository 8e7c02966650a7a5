//! Whether a token may do an action, apart from how much is left of its limits.
//!
//! ```text
//! expired          the token has ended, or when it ends is not known
//! unverified       in its place and that of scope: what BitGo was not asked about yet only views
//! action           local: what it may be used for
//! declared         local: whether a caller's word is taken for what cannot be read
//! wallet           BitGo's list, then the local one
//! scope            the permission, and how far it reaches
//! destination      local: where money may go
//! fee              local: no fee may be named unless a cap is set
//! per-transaction  local: the most of a coin in one request
//! product, order   local: what may be traded, and how much of it by one order
//! ```
//!
//! In that order; the first to forbid denies. What is left of limits, totals and windows is the
//! ledger's to check, where it is also charged.

use super::charges::sums;
use super::{Action, ActionKind, Charge, Consulted, Denied, LocalRules, Purpose, Rule};
use crate::id::WalletId;
use crate::money::{Amount, Coin};
use crate::scope::{Permission, Reach, Scope};
use crate::token::{TokenInfo, TokenKind};

/// Checks an action, now, in milliseconds since 1970; the first rule that forbids it denies.
pub(crate) fn check(
    action: &Action,
    token: &TokenInfo,
    rules: &LocalRules,
    now_ms: i64,
) -> Result<(), Denied> {
    each_rule(action, token, rules, now_ms, |_, _, said| said)
}

/// Consults every rule, with its numbers, whether or not one before it forbids.
pub(crate) fn consult(
    action: &Action,
    token: &TokenInfo,
    rules: &LocalRules,
    now_ms: i64,
) -> Vec<Consulted> {
    let mut consulted = Vec::new();
    let summed = each_rule(action, token, rules, now_ms, |rule, numbers, said| {
        let of = Consulted::of(rule, said);
        consulted.push(match numbers {
            Some((coin, asked, limit)) => of.counted(coin, asked, Some(limit), Some(limit)),
            None => of,
        });
        Ok(())
    });
    // What cannot be summed up cannot be held against the rules that are left.
    consulted.extend(summed.err().map(Consulted::denied));
    consulted
}

/// A coin, what is asked of it, and the most that one request may ask.
type Numbers<'a> = (&'a Coin, Amount, Amount);

/// Puts every rule that concerns an action to `note`, in order, until that denies.
fn each_rule(
    action: &Action,
    token: &TokenInfo,
    rules: &LocalRules,
    now_ms: i64,
    mut note: impl FnMut(Rule, Option<Numbers<'_>>, Result<(), Denied>) -> Result<(), Denied>,
) -> Result<(), Denied> {
    let is_unverified = token.kind == TokenKind::Unverified;
    match is_unverified {
        true => note(Rule::Unverified, None, check_views(action.kind))?,
        false => note(Rule::Expired, None, check_expiry(token, now_ms))?,
    }
    if let Some(actions) = &rules.actions {
        note(Rule::Action, None, check_kind(action.kind, actions))?;
    }
    if action.is_declared {
        note(Rule::Declared, None, check_declared(rules))?;
    }
    if let Some(permission) = action.permission {
        note(Rule::Wallet, None, check_wallet(action.wallet.as_ref(), token))?;
        if let Some(wallets) = &rules.wallets {
            note(Rule::Wallet, None, check_own_wallet(action.wallet.as_ref(), wallets))?;
        }
        if !is_unverified {
            note(Rule::Scope, None, check_scope(permission, action.wallet.as_ref(), token))?;
        }
    }
    let is_order = action.kind == ActionKind::Order;
    if let Some(destinations) = rules.destinations.as_ref().filter(|_| !is_order) {
        for transfer in &action.transfers {
            let is_named = destinations.iter().any(|named| **named == *transfer.destination);
            note(
                Rule::Destination,
                None,
                allowed(is_named, Rule::Destination, || {
                    let count = destinations.len();
                    format!(
                        "{} is not among the {count} destinations allowed",
                        transfer.destination
                    )
                }),
            )?;
        }
    }
    if let Some((coin, fee)) = &action.fee {
        let cap = rules.coins.get(coin).and_then(|coin| coin.fee);
        note(Rule::Fee, cap.map(|cap| (coin, *fee, cap)), check_fee(coin, *fee, cap))?;
    }
    if !is_order && !rules.coins.is_empty() {
        for Charge { coin, amount, .. } in &sums(Purpose::Withdrawal, &action.transfers)? {
            let caps = rules.coins.get(coin);
            if let Some(cap) = caps.and_then(|caps| caps.per_transaction) {
                let said = check_cap(Rule::PerTransaction, "one request", coin, *amount, cap);
                note(Rule::PerTransaction, Some((coin, *amount, cap)), said)?;
            }
        }
    }
    let Some(trading) = rules.trading.as_ref().filter(|_| is_order) else { return Ok(()) };
    if let Some(products) = &trading.products {
        let product = action.product.as_deref().unwrap_or_default();
        let is_named = products.iter().any(|named| named == product);
        note(
            Rule::Product,
            None,
            allowed(is_named, Rule::Product, || {
                format!("{product} is not among the {} products allowed", products.len())
            }),
        )?;
    }
    for Charge { coin, amount, .. } in &sums(Purpose::Trade, &action.transfers)? {
        match trading.per_order.get(coin) {
            Some(&cap) => {
                let said = check_cap(Rule::Order, "one order", coin, *amount, cap);
                note(Rule::Order, Some((coin, *amount, cap)), said)?;
            }
            None => note(
                Rule::Order,
                None,
                Err(Denied::new(
                    Rule::Order,
                    format!("no order may let go of {coin}; allow an amount of it in per_order"),
                )),
            )?,
        }
    }
    Ok(())
}

fn allowed(is_so: bool, rule: Rule, why_not: impl FnOnce() -> String) -> Result<(), Denied> {
    match is_so {
        true => Ok(()),
        false => Err(Denied::new(rule, why_not())),
    }
}

fn check_kind(kind: ActionKind, actions: &[ActionKind]) -> Result<(), Denied> {
    allowed(actions.contains(&kind), Rule::Action, || {
        format!("the token's local rules do not allow {}", kind.as_str())
    })
}

fn check_declared(rules: &LocalRules) -> Result<(), Denied> {
    allowed(rules.declared_amounts, Rule::Declared, || {
        "the transaction was made elsewhere, and the token's local rules do not take a caller's word \
         for what it moves"
            .into()
    })
}

fn check_own_wallet(wallet: Option<&WalletId>, wallets: &[WalletId]) -> Result<(), Denied> {
    allowed(wallet.is_some_and(|wallet| wallets.contains(wallet)), Rule::Wallet, || {
        let count = wallets.len();
        match wallet {
            Some(wallet) => format!("wallet {wallet} is not among the {count} of the local rules"),
            None => format!("the local rules name {count} wallets, and the call none"),
        }
    })
}

fn check_fee(coin: &Coin, fee: Amount, cap: Option<Amount>) -> Result<(), Denied> {
    match cap {
        Some(cap) => check_cap(Rule::Fee, "the fee of one request", coin, fee, cap),
        None => Err(Denied::new(
            Rule::Fee,
            format!(
                "the request names a fee, and no local rule caps fees in {coin}; leave it to BitGo"
            ),
        )),
    }
}

fn check_cap(rule: Rule, of: &str, coin: &Coin, asked: Amount, cap: Amount) -> Result<(), Denied> {
    match asked <= cap {
        true => Ok(()),
        false => {
            let reason = format!("{asked} {coin} asked, {cap} is the most of {of}");
            Err(Denied::new(rule, reason).counted(coin, asked, cap, cap))
        }
    }
}

/// What it may do and when it ends BitGo alone knows, and refuses: a view that it refuses costs nothing.
fn check_views(kind: ActionKind) -> Result<(), Denied> {
    match kind {
        ActionKind::View => Ok(()),
        _ => Err(unverified()),
    }
}

/// The refusal of a token that BitGo was not asked about yet.
pub(crate) fn unverified() -> Denied {
    Denied::new(
        Rule::Unverified,
        "the token is unverified, as bitgo could not be asked when it was imported: reconcile it",
    )
}

/// Checks that the token has not ended by now, in milliseconds since 1970.
pub(crate) fn check_expiry(token: &TokenInfo, now_ms: i64) -> Result<(), Denied> {
    match token.expires_at {
        _ if token.kind == TokenKind::Unverified => Err(unverified()),
        Some(expires_at) if now_ms < expires_at.timestamp_millis() => Ok(()),
        Some(expires_at) => Err(Denied::new(
            Rule::Expired,
            format!(
                "the token expired at {}; remove it and issue anew",
                expires_at.format("%FT%TZ")
            ),
        )),
        None => Err(Denied::new(
            Rule::Expired,
            "the token's expiry is not known; remove it and issue anew",
        )),
    }
}

fn check_wallet(wallet: Option<&WalletId>, token: &TokenInfo) -> Result<(), Denied> {
    match (&token.permitted_wallets, wallet) {
        (Some(permitted), Some(wallet)) if !permitted.contains(wallet) => Err(Denied::new(
            Rule::Wallet,
            format!(
                "wallet {wallet} is not among the {} the token is confined to",
                permitted.len()
            ),
        )),
        _ => Ok(()),
    }
}

fn check_scope(
    permission: Permission,
    wallet: Option<&WalletId>,
    token: &TokenInfo,
) -> Result<(), Denied> {
    let granted = token.scopes.iter().any(|scope| match scope {
        Scope::All => true,
        Scope::Granted(held, reach) if *held == permission => match reach {
            Reach::Wallet(named) => Some(named) == wallet,
            // Which wallets an enterprise has is not known here; the token's own list of
            // permitted wallets was checked before, and the server knows the rest.
            Reach::Enterprise => token.enterprise.is_some(),
            Reach::All => true,
        },
        _ => false,
    });
    if granted {
        return Ok(());
    }
    let on = wallet.map(|wallet| format!(" on wallet {wallet}")).unwrap_or_default();
    Err(Denied::new(
        Rule::Scope,
        format!("the token does not hold {permission}{on}; renewing it will not help"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Request;
    use super::*;
    use crate::coin_map::CoinMap;
    use crate::id::TokenId;
    use chrono::{DateTime, TimeDelta};

    const WALLET: WalletId = WalletId::from_bytes([1; 16]);
    const OTHER: WalletId = WalletId::from_bytes([2; 16]);

    fn token(scopes: &[&str]) -> TokenInfo {
        TokenInfo {
            id: TokenId::from_bytes([0; 16]),
            kind: TokenKind::LongLived,
            scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
            enterprise: None,
            permitted_wallets: None,
            permitted_enterprises: None,
            created_at: None,
            expires_at: Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(100)),
            is_extensible: false,
            ip_restrict: Vec::new(),
            spending_limits: Default::default(),
            erc20_limit: None,
            issued_in_clear: false,
        }
    }

    fn rule(permission: Permission, token: &TokenInfo, seconds: i64) -> Option<Rule> {
        let action = Action {
            permission: Some(permission),
            ..Action::of(
                &Request::get("/api/v2/tbtc/wallet/01010101010101010101010101010101").unwrap(),
                &CoinMap::default(),
            )
            .unwrap()
        };
        let now = seconds * 1000;
        check(&action, token, &LocalRules::default(), now).err().map(|denied| denied.rule())
    }

    #[test]
    fn one_permission_never_implies_another() {
        use Permission::{WalletSpend, WalletView};
        let own = format!("wallet_spend:{WALLET}");
        let other = format!("wallet_spend:{OTHER}");
        for (scopes, permission, expect) in [
            (vec!["all"], WalletSpend, None),
            (vec!["wallet_spend_all"], WalletSpend, None),
            (vec![own.as_str()], WalletSpend, None),
            (vec![other.as_str()], WalletSpend, Some(Rule::Scope)),
            (vec!["wallet_spend_all"], WalletView, Some(Rule::Scope)),
            (vec!["wallet_view_all"], WalletSpend, Some(Rule::Scope)),
            (vec!["wallet_spend"], WalletSpend, Some(Rule::Scope)),
            (vec!["wallet_spend_enterprise"], WalletSpend, Some(Rule::Scope)),
            (vec!["openid", "profile"], WalletView, Some(Rule::Scope)),
            (vec![], WalletView, Some(Rule::Scope)),
        ] {
            assert_eq!(rule(permission, &token(&scopes), 0), expect, "{scopes:?} {permission}");
        }
    }

    #[test]
    fn expiry_ends_everything_and_unknown_expiry_too() {
        let mut token = token(&["all"]);
        assert_eq!(rule(Permission::WalletView, &token, 99), None);
        assert_eq!(rule(Permission::WalletView, &token, 100), Some(Rule::Expired));
        token.expires_at = None;
        assert_eq!(rule(Permission::WalletView, &token, 0), Some(Rule::Expired));
    }

    #[test]
    fn what_is_unverified_only_views() {
        let mut token = token(&[]);
        (token.kind, token.expires_at) = (TokenKind::Unverified, None);
        let wallet = format!("/api/v2/tbtc/wallet/{WALLET}");
        let body = r#"{"recipients":[{"address":"a","amount":7}]}"#;
        let post =
            |call: &str| Request::post(&format!("{wallet}/tx/{call}")).bytes(body.into()).unwrap();
        let rules = LocalRules { wallets: Some(vec![OTHER]), ..LocalRules::default() };
        for (request, rules, expect) in [
            (Request::get(&wallet).unwrap(), LocalRules::default(), None),
            (Request::get(&wallet).unwrap(), rules, Some(Rule::Wallet)),
            (post("build"), LocalRules::default(), Some(Rule::Unverified)),
            (post("initiate"), LocalRules::default(), Some(Rule::Unverified)),
        ] {
            let action = Action::of(&request, &rules.units).unwrap();
            let denied = check(&action, &token, &rules, 0).err();
            assert_eq!(denied.map(|denied| denied.rule()), expect, "{request:?}");
        }
        let denied = check_expiry(&token, 0).unwrap_err();
        assert_eq!(denied.rule(), Rule::Unverified, "nor does it vouch for anything else");
    }

    #[test]
    fn permitted_wallets_bind_whatever_the_scope() {
        let mut token = token(&["all"]);
        token.permitted_wallets = Some(vec![OTHER]);
        assert_eq!(rule(Permission::WalletView, &token, 0), Some(Rule::Wallet));
        token.permitted_wallets = Some(vec![]);
        assert_eq!(rule(Permission::WalletView, &token, 0), Some(Rule::Wallet));
        token.permitted_wallets = Some(vec![WALLET]);
        assert_eq!(rule(Permission::WalletView, &token, 0), None);
    }

    /// What the rules deny, of a request that a token for everything makes.
    fn denied_by(request: &Request, rules: &LocalRules) -> Option<Rule> {
        let action = Action::of(request, &rules.units).unwrap();
        let (token, now) = (token(&["all"]), 0);
        let denied = check(&action, &token, rules, now).err();
        // A dry run comes to the same, and ends nowhere before the last rule.
        let consulted = consult(&action, &token, rules, now);
        let first = consulted.iter().find_map(|consulted| consulted.denied.clone());
        assert_eq!(first, denied);
        denied.map(|denied| denied.rule())
    }

    #[test]
    fn local_rules_deny_what_they_do_not_name() {
        use crate::policy::{ActionKind, CoinRules, TradingRules};
        let tbtc = || Coin::new("tbtc").unwrap();
        let post = |target: &str, body: &str| {
            let target = target.replace("{w}", &WALLET.to_string());
            Request::post(&target).bytes(body.into()).unwrap()
        };
        let wallet = "/api/v2/tbtc/wallet/{w}";
        let initiate = format!("{wallet}/tx/initiate");
        let spend = |amount, rest: &str| {
            let recipients = format!(
                r#"{{"address":"a","amount":{amount}}},{{"address":"b","amount":1,"memo":"7"}}"#
            );
            post(&initiate, &format!(r#"{{"recipients":[{recipients}]{rest}}}"#))
        };
        let order = |quantity: &str| {
            post(
                "/api/prime/trading/v1/accounts/{w}/orders",
                &format!(
                    r#"{{"product":"TBTC-TUSD*","type":"market","side":"sell","quantity":"{quantity}","quantityCurrency":"TBTC"}}"#
                ),
            )
        };
        let opaque = || {
            let request = post(&format!("{wallet}/tx/send"), r#"{"txHex":"00"}"#);
            request.declaring(&tbtc(), Amount::new(9), "c")
        };
        let view = || Request::get(&format!("/api/v2/tbtc/wallet/{WALLET}")).unwrap();
        let all_wallets = || Request::get("/api/v2/wallets").unwrap();
        let session = || Request::get("/api/v2/user/session").unwrap();

        let none = LocalRules::default;
        let coins = |per_transaction: Option<u128>, fee: Option<u128>| {
            let [per_transaction, fee] = [per_transaction, fee].map(|most| most.map(Amount::new));
            let coins = CoinMap::from([(tbtc(), CoinRules { per_transaction, fee, total: None })]);
            LocalRules { coins, ..none() }
        };
        let to = |destinations: &[&str]| {
            let destinations = destinations.iter().map(|it| (*it).into()).collect();
            LocalRules { destinations: Some(destinations), ..none() }
        };
        let on = |wallet| LocalRules { wallets: Some(vec![wallet]), ..none() };
        let only = |kind| LocalRules { actions: Some(vec![kind]), ..none() };
        let trading = |products: Option<&str>, most: Option<u128>| {
            let products = products.map(|product| vec![product.to_owned()]);
            let per_order = most.map(|most| (tbtc(), Amount::new(most))).into_iter().collect();
            let trading = TradingRules { products, per_order, ..TradingRules::default() };
            LocalRules { trading: Some(trading), ..none() }
        };
        let declared = LocalRules { declared_amounts: true, ..none() };
        for (request, rules, expect) in [
            (spend(5, ""), none(), None),
            (spend(5, ""), only(ActionKind::Spend), None),
            (spend(5, ""), only(ActionKind::View), Some(Rule::Action)),
            (session(), only(ActionKind::Spend), Some(Rule::Action)),
            (spend(5, ""), on(WALLET), None),
            (spend(5, ""), on(OTHER), Some(Rule::Wallet)),
            (view(), on(OTHER), Some(Rule::Wallet)),
            (all_wallets(), on(WALLET), Some(Rule::Wallet)),
            (session(), on(OTHER), None),
            (order("1"), on(OTHER), Some(Rule::Wallet)),
            (spend(5, ""), to(&["a", "b?memoId=7"]), None),
            (spend(5, ""), to(&["a", "b"]), Some(Rule::Destination)),
            (spend(5, ""), to(&["b?memoId=7"]), Some(Rule::Destination)),
            (order("1"), to(&[]), None),
            (spend(5, ""), coins(Some(6), None), None),
            (spend(6, ""), coins(Some(6), None), Some(Rule::PerTransaction)),
            (order("1"), coins(Some(6), None), None),
            (spend(5, r#","feeRate":9"#), none(), Some(Rule::Fee)),
            (spend(5, r#","feeRate":9"#), coins(None, None), Some(Rule::Fee)),
            (spend(5, r#","feeRate":9"#), coins(None, Some(8)), Some(Rule::Fee)),
            (spend(5, r#","feeRate":9"#), coins(None, Some(9)), None),
            (opaque(), none(), Some(Rule::Declared)),
            (opaque(), declared.clone(), None),
            (
                opaque(),
                LocalRules { declared_amounts: true, ..to(&["a"]) },
                Some(Rule::Destination),
            ),
            (
                opaque(),
                LocalRules { declared_amounts: true, ..coins(Some(8), None) },
                Some(Rule::PerTransaction),
            ),
            (order("1"), none(), None),
            (order("0.00000005"), trading(Some("TBTC-TUSD*"), Some(5)), None),
            (order("0.00000006"), trading(Some("TBTC-TUSD*"), Some(5)), Some(Rule::Order)),
            (order("0.00000005"), trading(Some("TBTC-TUSD"), Some(5)), Some(Rule::Product)),
            (order("0.00000005"), trading(None, None), Some(Rule::Order)),
            (spend(5, ""), trading(None, None), None),
        ] {
            assert_eq!(denied_by(&request, &rules), expect, "{request:?} {rules:?}");
        }
    }

    #[test]
    fn a_dry_run_tells_the_numbers_of_every_rule() {
        use crate::policy::CoinRules;
        let tbtc = Coin::new("tbtc").unwrap();
        let caps = CoinRules { per_transaction: Some(Amount::new(5)), ..CoinRules::default() };
        let rules = LocalRules {
            destinations: Some(vec!["b".into()]),
            coins: CoinMap::from([(tbtc.clone(), caps)]),
            ..LocalRules::default()
        };
        let body = r#"{"recipients":[{"address":"a","amount":7}],"feeRate":3}"#;
        let target = format!("/api/v2/tbtc/wallet/{WALLET}/tx/build");
        let request = Request::post(&target).bytes(body.into()).unwrap();
        let action = Action::of(&request, &rules.units).unwrap();
        let consulted = consult(&action, &token(&["all"]), &rules, 0);
        let told: Vec<_> = consulted.iter().map(|it| (it.rule, it.denied.is_some())).collect();
        let expect = [
            (Rule::Expired, false),
            (Rule::Wallet, false),
            (Rule::Scope, false),
            (Rule::Destination, true),
            (Rule::Fee, true),
            (Rule::PerTransaction, true),
        ];
        assert_eq!(told, expect);
        let last = consulted.last().unwrap();
        let units = |amount: Option<Amount>| amount.map(Amount::base_units);
        assert_eq!(last.coin.as_ref(), Some(&tbtc));
        assert_eq!((units(last.asked), units(last.limit)), (Some(7), Some(5)));
        assert_eq!(
            last.denied.as_ref().unwrap().to_string(),
            "denied by per-transaction: 7 tbtc asked, 5 is the most of one request"
        );
    }
}
