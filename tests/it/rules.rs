//! The vault's own rules: who may change them, what they forbid, and what is left of each.

use crate::desk::{Desk, audited, bot, coin, passphrase, told};
use bitgo_vault::{
    ActionKind, Amount, AuditAction, Coin, CoinMap, CoinRules, Error, LocalRules, Passphrase,
    Purpose, Request, Rule, TradingRules, WindowRule,
};
use std::time::Duration;

fn strict(per_transaction: u128) -> LocalRules {
    let mut rules = LocalRules::default();
    let mut caps = CoinRules::default();
    caps.per_transaction = Some(Amount::new(per_transaction));
    rules.coins = CoinMap::from([(coin(), caps)]);
    rules.actions = Some(vec![ActionKind::Spend, ActionKind::Build]);
    rules.destinations = Some(vec!["tb1qexample".into()]);
    rules
}

#[tokio::test]
async fn tightening_is_free_and_loosening_wants_the_passphrase() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    let set = async |rules: LocalRules, passphrase| {
        let set = desk.vault.set_rules("bot", rules, passphrase).await;
        set.map_err(|error| error.to_string())
    };
    set(strict(10), None).await.expect("stricter rules");
    set(strict(9), None).await.expect("stricter rules");
    let asked =
        Err("the rules may allow bot what was not allowed before: give the passphrase with them"
            .into());
    for looser in [strict(10), LocalRules::default()] {
        assert_eq!(set(looser, None).await, asked);
    }
    let wrong = set(strict(10), Some(Passphrase::new("wrong"))).await.unwrap_err();
    assert!(wrong.contains("passphrase"), "{wrong}");
    assert_eq!(desk.vault.rules("bot").expect("rules"), strict(9), "nothing has changed");
    set(strict(10), Some(passphrase())).await.expect("looser rules");
    set(strict(10), None).await.expect("the same rules");

    let log = audited(&desk.vault).await;
    let told: Vec<_> = log.iter().map(|(action, _)| *action).collect();
    let (tightened, loosened) = (AuditAction::RulesTightened, AuditAction::RulesLoosened);
    assert_eq!(told, [tightened, tightened, loosened, tightened]);
    let id = desk.vault.status("bot").expect("a token").info.id;
    assert!(log.iter().all(|(_, token)| *token == Some(id)));

    let desk = desk.reopened().await;
    assert_eq!(desk.vault.rules("bot").expect("rules"), strict(10), "they are on disk");
    let status = desk.vault.status("bot").expect("a token");
    assert_eq!((status.rules, status.rules_version), (strict(10), 4));
}

#[tokio::test]
async fn rules_that_cannot_be_kept_change_nothing() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    let mut rules = LocalRules::default();
    rules.windows =
        vec![WindowRule::new(Purpose::Withdrawal, &coin(), Duration::from_secs(59)).count(1)];
    let refused = desk.vault.set_rules("bot", rules, None).await.unwrap_err();
    assert_eq!(told(&refused), "a window lasts whole seconds, from a minute to 366 days");
    assert!(matches!(
        desk.vault.set_rules("nobody", strict(1), None).await,
        Err(Error::NoSuchToken { .. })
    ));
    assert_eq!(desk.vault.rules("bot").expect("rules"), LocalRules::default());
    assert_eq!(audited(&desk.vault).await, []);
}

#[tokio::test]
async fn exposure_and_the_other_rules_are_one_record() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    desk.vault.set_rules("bot", strict(10), None).await.expect("stricter rules");
    desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.expect("a rule");
    let mut exposable = strict(10);
    exposable.raw_exposure = true;
    assert_eq!(desk.vault.rules("bot").expect("rules"), exposable);
    desk.vault.set_rules("bot", strict(10), None).await.expect("stricter rules");
    let mut loose = strict(10);
    loose.raw_exposure = true;
    assert!(matches!(
        desk.vault.set_rules("bot", loose, None).await,
        Err(Error::LoosensRules { .. })
    ));
}

#[tokio::test]
async fn a_lease_dies_with_the_rules_it_was_taken_under() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    let request = desk.withdrawal(20);
    let lease = desk.vault.lease("bot", &request).expect("a lease");
    desk.vault.set_rules("bot", strict(10), None).await.expect("stricter rules");
    assert!(matches!(lease.sign(), Err(Error::LeaseVoid { .. })));
    assert_eq!(desk.counter("bot").reserved, Amount::ZERO, "its reservation came back");
    let refused = desk.vault.send("bot", &request).await.map(drop).unwrap_err();
    assert_eq!(told(&refused), "denied by per-transaction");
    assert_eq!(desk.vault.send("bot", &desk.withdrawal(10)).await.expect("a spend").status(), 200);
    assert_eq!(told(&desk.vault.lease("bot", &desk.view()).unwrap_err()), "denied by action");
}

#[tokio::test]
async fn rules_outlive_a_renewal() {
    let desk = Desk::new().await;
    desk.vault.fetch_internal("desk", "internal").await.expect("a token");
    desk.vault.set_rules("internal", strict(10), None).await.expect("stricter rules");
    desk.vault.remove("desk").await.expect("a removal");
    let desk = desk.reopened().await;
    assert_eq!(desk.vault.rules("internal").expect("rules"), strict(10));
}

#[tokio::test]
async fn a_check_tells_every_rule_and_reserves_nothing() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    desk.vault.set_rules("bot", strict(10), None).await.expect("stricter rules");
    let body = r#"{"recipients":[{"address":"elsewhere","amount":2000}],"feeRate":1}"#;
    let target = format!("/api/v2/tbtc/wallet/{}/tx/initiate", desk.wallet);
    let request = Request::post(&target).bytes(body.into()).expect("a request");
    let log = desk.vault.audit().await.expect("the log");
    let explained = desk.vault.check("bot", &request).expect("an explanation");
    let told: Vec<_> =
        explained.consulted.iter().map(|it| (it.rule, it.denied.is_some())).collect();
    let expect = [
        (Rule::Frozen, false),
        (Rule::Revoked, false),
        (Rule::Expired, false),
        (Rule::Action, false),
        (Rule::Wallet, false),
        (Rule::Scope, false),
        (Rule::Destination, true),
        (Rule::Fee, true),
        (Rule::PerTransaction, true),
        (Rule::Limit, true),
        (Rule::Total, true),
    ];
    assert_eq!(told, expect);
    assert_eq!(explained.verdict().unwrap_err().rule(), Rule::Destination);
    let limit = explained.consulted.last().expect("the limit");
    let amount = |units| Some(Amount::new(units));
    assert_eq!((limit.asked, limit.limit, limit.left), (amount(2000), amount(1000), amount(1000)));
    assert_eq!(explained.kind, Some(ActionKind::Spend));
    assert_eq!(explained.wallet, Some(desk.wallet));
    let [transfer] = &explained.transfers[..] else { panic!("one transfer") };
    assert_eq!((&*transfer.destination, transfer.amount), ("elsewhere", Amount::new(2000)));

    let unreadable = Request::get("/api/v2/user/accesstoken").expect("a request");
    let explained = desk.vault.check("bot", &unreadable).expect("an explanation");
    assert_eq!(
        (explained.kind, explained.verdict().unwrap_err().rule()),
        (None, Rule::UnknownCall)
    );
    assert!(matches!(desk.vault.check("nobody", &request), Err(Error::NoSuchToken { .. })));
    assert_eq!(desk.used("bot"), 0);
    assert_eq!(desk.vault.audit().await.expect("the log"), log);
}

#[tokio::test]
async fn orders_are_held_to_the_rules_for_trading() {
    let desk = Desk::new().await;
    let bot = desk.spender("bot", 1000).scope("trade_trade".parse().expect("a scope"));
    desk.mint(bot).await;
    let order = |quantity: &str, product: &str| {
        let target = format!("/api/prime/trading/v1/accounts/{}/orders", desk.wallet);
        let body = format!(
            r#"{{"product":"{product}","type":"market","side":"sell","quantity":"{quantity}","quantityCurrency":"TBTC"}}"#
        );
        Request::post(&target).bytes(body.into()).expect("a request")
    };
    let large = order("1", "TBTC-TUSD*");
    assert_eq!(desk.vault.send("bot", &large).await.expect("an order").status(), 200);
    assert_eq!(desk.used("bot"), 0, "a trade is no withdrawal");

    let mut trading = TradingRules::default();
    trading.products = Some(vec!["TBTC-TUSD*".into()]);
    trading.per_order = CoinMap::from([(coin(), Amount::new(600))]);
    trading.counts_as_withdrawal = true;
    let mut rules = LocalRules::default();
    rules.trading = Some(trading);
    desk.vault.set_rules("bot", rules, None).await.expect("stricter rules");
    for (quantity, product, expect) in [
        ("0.00000601", "TBTC-TUSD*", "denied by order"),
        ("0.00000600", "TBTC-TUSD", "denied by product"),
    ] {
        let refused = desk.vault.lease("bot", &order(quantity, product)).unwrap_err();
        assert_eq!(told(&refused), expect, "{quantity} {product}");
    }
    let small = order("0.000006", "TBTC-TUSD*");
    assert_eq!(desk.vault.send("bot", &small).await.expect("an order").status(), 200);
    assert_eq!(desk.used("bot"), 600, "now it is");
    assert_eq!(told(&desk.vault.lease("bot", &small).unwrap_err()), "denied by limit");
}

/// What is traded with a token that is out is not seen, any more than what is withdrawn.
#[tokio::test]
async fn an_exposed_token_that_trades_has_used_its_windows_up() {
    let desk = Desk::new().await;
    desk.mint(bot("bot").scope("trade_trade".parse().expect("a scope"))).await;
    let day = Duration::from_secs(86_400);
    let mut rules = LocalRules::default();
    rules.raw_exposure = true;
    rules.windows =
        vec![WindowRule::new(Purpose::Trade, &coin(), day).sum(Amount::new(100_000_000))];
    desk.vault.set_rules("bot", rules, Some(passphrase())).await.expect("rules");
    let target = format!("/api/prime/trading/v1/accounts/{}/orders", desk.wallet);
    let body = r#"{"product":"TBTC-TUSD*","type":"market","side":"sell","quantity":"0.1","quantityCurrency":"TBTC"}"#;
    let order = Request::post(&target).bytes(body.into()).expect("a request");
    assert_eq!(desk.vault.send("bot", &order).await.expect("an order").status(), 200);
    let session = Request::get("/api/v2/user/session").expect("a request");
    desk.vault.lease("bot", &session).expect("a lease").expose_token().await.expect("the token");
    assert_eq!(told(&desk.vault.send("bot", &order).await.unwrap_err()), "denied by window");
}

/// A total is no way around that BitGo has no limit for a coin.
#[tokio::test]
async fn a_total_opens_no_coin_without_the_passphrase() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    let wallet = desk.bitgo.wallet(&Coin::new("tltc").expect("a coin"));
    let body = r#"{"recipients":[{"address":"a","amount":1}]}"#;
    let target = format!("/api/v2/tltc/wallet/{wallet}/tx/initiate");
    let spend = Request::post(&target).bytes(body.into()).expect("a request");
    let mut rules = LocalRules::default();
    let mut bounds = CoinRules::default();
    bounds.total = Some(Amount::new(5));
    rules.coins = CoinMap::from([(Coin::new("tltc").expect("a coin"), bounds)]);
    let refused = desk.vault.set_rules("bot", rules.clone(), None).await.unwrap_err();
    assert!(matches!(refused, Error::LoosensRules { .. }), "{refused}");
    let denied = desk.vault.check("bot", &spend).expect("an explanation");
    assert!(denied.consulted.iter().any(|it| it.rule == Rule::NoLimit && it.denied.is_some()));
    desk.vault.set_rules("bot", rules, Some(passphrase())).await.expect("rules");
    let opened = desk.vault.check("bot", &spend).expect("an explanation");
    assert!(!opened.consulted.iter().any(|it| it.rule == Rule::NoLimit));
}
