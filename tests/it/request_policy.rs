//! Every call that a bot makes, through the vault to BitGo and back: what is let out, what it is
//! charged, and what is not let out.

use crate::desk::{Desk, coin, passphrase, told};
use bitgo_vault::{
    Amount, Coin, CoinMap, CoinRules, CoinUnit, Counter, Error, Request, Rule, WalletId,
};

const ORDER: &str = "00000000-aaaa-4bbb-8ccc-0123456789ab";

fn named(name: &str) -> Coin {
    Coin::new(name).expect("a name")
}

/// A desk whose `bot` may do everything on every wallet: 1000 of each of some coins.
async fn open_desk() -> (Desk, WalletId) {
    let desk = Desk::new().await;
    let mut bot = crate::desk::bot("bot");
    for scope in ["wallet_spend_all", "wallet_view_all", "trade_trade", "trade_view"] {
        bot = bot.scope(scope.parse().expect("a scope"));
    }
    for name in ["tbtc", "hteth", "terc"] {
        bot = bot.spending_limit(&named(name), Amount::new(1000));
    }
    desk.mint(bot).await;
    let hteth = desk.bitgo.wallet(&named("hteth"));
    (desk, hteth)
}

fn post(target: &str, body: &str) -> Request {
    Request::post(target).bytes(body.into()).expect("a request")
}

/// What counts against the limit, with what is allotted and not leased.
fn used(desk: &Desk, coin: &str) -> u128 {
    let status = desk.vault.status("bot").expect("a token");
    let counter: &Counter = status.counters.get(&named(coin)).expect("a counter");
    counter.used().expect("a sum").base_units()
}

#[tokio::test]
async fn each_call_is_charged_for_what_it_moves_and_bitgo_counts_the_same() {
    let (desk, hteth) = open_desk().await;
    let tbtc = desk.wallet;
    let to = r#"{"recipients":[{"address":"a","amount":"5"},{"address":"b","amount":2}]"#;
    let token = r#"{"recipients":[{"address":"a","amount":"4","tokenName":"terc"},{"address":"b","amount":1}]}"#;
    let intent = r#"{"intent":{"intentType":"payment","recipients":[{"address":{"address":"a"},"amount":{"value":"6","symbol":"tbtc"}}]}}"#;
    let order = r#"{"product":"TBTC-TUSD*","type":"limit","side":"sell","quantity":"0.05","quantityCurrency":"TBTC","limitPrice":"20000"}"#;
    let trading = format!("/api/prime/trading/v1/accounts/{tbtc}/orders");
    for (target, body, tbtc_used, hteth_used, terc_used) in [
        (format!("/api/v2/tbtc/wallet/{tbtc}/tx/initiate"), format!("{to}}}"), 7, 0, 0),
        (format!("/api/v2/tbtc/wallet/{tbtc}/tx/build"), format!("{to}}}"), 7, 0, 0),
        (format!("/api/v2/tbtc/wallet/{tbtc}/tx/send"), format!("{to}}}"), 14, 0, 0),
        (format!("/api/v2/tbtc/wallet/{tbtc}/sendmany"), format!("{to}}}"), 21, 0, 0),
        (
            format!("/api/v2/tbtc/wallet/{tbtc}/sendcoins"),
            r#"{"address":"a","amount":3,"walletPassphrase":"p"}"#.into(),
            24,
            0,
            0,
        ),
        (format!("/api/v2/wallet/{tbtc}/txrequests"), intent.into(), 30, 0, 0),
        (format!("/api/v2/hteth/wallet/{hteth}/sendmany"), token.into(), 30, 1, 4),
        (
            format!("/api/v2/hteth/wallet/{hteth}/sendmany"),
            to.to_owned() + r#","tokenName":"terc"}"#,
            30,
            1,
            11,
        ),
        (format!("/api/v2/terc/wallet/{hteth}/tx/send"), format!("{to}}}"), 30, 1, 18),
        (trading.clone(), order.into(), 30, 1, 18),
    ] {
        let request = post(&target, &body);
        let explained = desk.vault.check("bot", &request).expect("an explanation");
        assert_eq!(explained.verdict(), Ok(()), "{target}");
        let answer = desk.vault.send("bot", &request).await;
        assert_eq!(answer.expect(&target).status(), 200, "{target}");
        let expect = [("tbtc", tbtc_used), ("hteth", hteth_used), ("terc", terc_used)];
        for (name, amount) in expect {
            assert!(used(&desk, name) >= amount, "{target} {name}");
            assert_eq!(desk.bitgo.spent(&named(name)).base_units(), amount, "{target} {name}");
        }
    }
    let cancel = Request::put(&format!("{trading}/{ORDER}/cancel")).bytes(Vec::new());
    let answer = desk.vault.send("bot", &cancel.expect("a request")).await;
    assert_eq!(answer.expect("an answer").status(), 200);
    // A clean close returns what was allotted and not leased.
    let desk = desk.reopened().await;
    let told = ["tbtc", "hteth", "terc"].map(|name| used(&desk, name));
    assert_eq!(told, [30, 1, 18], "and what is only built or ordered is not charged");
}

#[tokio::test]
async fn reads_want_their_permission_and_no_other() {
    let (desk, _) = open_desk().await;
    desk.issue("spender", 10).await;
    let wallet = desk.wallet;
    for (target, spender) in [
        ("/api/v2/user/session".into(), Ok(())),
        ("/api/v2/user/me".into(), Ok(())),
        ("/api/v2/wallets".into(), Err(Rule::Scope)),
        ("/api/v2/tbtc/wallet?limit=2".into(), Err(Rule::Scope)),
        (format!("/api/v2/tbtc/wallet/{wallet}"), Err(Rule::Scope)),
        ("/api/prime/trading/v1/accounts".into(), Err(Rule::Scope)),
        (format!("/api/prime/trading/v1/accounts/{wallet}/orders"), Err(Rule::Scope)),
        (format!("/api/prime/trading/v1/accounts/{wallet}/orders/{ORDER}"), Err(Rule::Scope)),
        (format!("/api/prime/trading/v1/accounts/{wallet}/balances"), Err(Rule::Scope)),
    ] {
        let request: Request = Request::get(&target).expect("a request");
        let answer = desk.vault.send("bot", &request).await;
        assert_eq!(answer.expect(&target).status(), 200, "{target}");
        let lease = desk.vault.lease("spender", &request).map(drop);
        let rule = lease.map_err(|error| match error {
            Error::Denied(denied) => denied.rule(),
            other => panic!("{other}"),
        });
        assert_eq!(rule, spender, "{target}");
    }
}

#[tokio::test]
async fn what_was_made_elsewhere_is_charged_as_declared_once_a_rule_allows_it() {
    let (desk, _) = open_desk().await;
    let target = format!("/api/v2/tbtc/wallet/{}/tx/send", desk.wallet);
    // The emulator takes the hex for what it moves.
    let opaque = || post(&target, r#"{"halfSigned":{"txHex":"0f"}}"#);
    let declared = || opaque().declaring(&coin(), Amount::new(15), "tb1qexample");
    for request in [opaque(), declared()] {
        let error = desk.vault.send("bot", &request).await.map(drop).unwrap_err();
        assert_eq!(told(&error), "denied by declared");
    }
    let mut rules = desk.vault.rules("bot").expect("rules");
    rules.declared_amounts = true;
    desk.vault.set_rules("bot", rules, Some(passphrase())).await.expect("looser rules");
    assert_eq!(told(&desk.vault.lease("bot", &opaque()).unwrap_err()), "denied by declared");
    assert_eq!(desk.vault.send("bot", &declared()).await.expect("a spend").status(), 200);
    assert_eq!((used(&desk, "tbtc"), desk.spent()), (15, 15));
    let beyond = opaque().declaring(&coin(), Amount::new(986), "tb1qexample");
    assert_eq!(told(&desk.vault.lease("bot", &beyond).unwrap_err()), "denied by limit");
}

#[tokio::test]
async fn fees_and_unknown_coins_wait_for_a_rule() {
    let (desk, _) = open_desk().await;
    let spend = |coin: &str, more: &str| {
        let target = format!("/api/v2/{coin}/wallet/{}/tx/initiate", desk.wallet);
        let to = r#""recipients":[{"address":"a","amount":1}]"#;
        post(&target, &format!("{{{to}{more}}}"))
    };
    let refused = |request: &Request| told(&desk.vault.lease("bot", request).unwrap_err());
    let (fee, unknown) = (spend("tbtc", r#","feeRate":1000"#), spend("newcoin", ""));
    assert_eq!(refused(&fee), "denied by fee");
    assert_eq!(refused(&unknown), "denied by unknown-coin");
    let mut rules = desk.vault.rules("bot").expect("rules");
    let mut caps = CoinRules::default();
    caps.fee = Some(Amount::new(1000));
    rules.coins = CoinMap::from([(coin(), caps)]);
    rules.units = CoinMap::from([(named("newcoin"), CoinUnit::new(3))]);
    desk.vault.set_rules("bot", rules, Some(passphrase())).await.expect("looser rules");
    desk.vault.lease("bot", &fee).expect("a lease").release();
    assert_eq!(refused(&spend("tbtc", r#","maxFeeRate":1001"#)), "denied by fee");
    assert_eq!(refused(&unknown), "denied by no-limit", "known, and without a limit");
}
