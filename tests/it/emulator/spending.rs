//! Wallets, limits, approvals, orders.

use super::visitor::{SESSION, Visitor};
use crate::desk::coin;
use bitgo_vault::{Amount, Coin};
use serde_json::{Value, json};

#[tokio::test]
async fn erc20_coins_share_a_pool_that_only_the_list_shows() {
    let visitor = Visitor::new().await;
    let (hteth, terc) = (Coin::new("hteth").expect("a name"), Coin::new("terc").expect("a name"));
    let wallet = visitor.bitgo.wallet(&hteth);
    let limits = json!({
        "spendingLimits": [{"coin": "tusdc", "txValueLimit": "2"}],
        "allErc20TokensLimit": {"enabled": true, "txValueLimit": 9_007_199_254_740_993_u64},
    });
    let bot = visitor.mint(limits).await;
    let pool = |record: &Value| record["unlock"]["allErc20TokensLimit"].clone();
    assert_eq!(pool(&bot.record)["txValueLimitInSmallUnits"], "9007199254740993");
    let call = format!("POST /api/v2/hteth/wallet/{wallet}/sendmany");
    for (name, amount, expect) in [
        ("terc", "9007199254740993", "done"),
        ("tweth", "1", "needs unlock"),
        ("tusdc", "2", "done"),
        ("tusdc", "1", "needs unlock"),
        ("hteth", "1", "needs unlock"),
    ] {
        let recipients = json!([{"address": "0xab", "amount": amount}]);
        let body = json!({"tokenName": name, "recipients": recipients});
        assert_eq!(visitor.told(&bot.key, &call, body).await, expect, "{name}");
    }
    assert_eq!(visitor.bitgo.spent(&terc), Amount::new(9_007_199_254_740_993));
    let session = visitor.done(&bot.key, &format!("GET {SESSION}"), Value::Null).await;
    assert_eq!(pool(&session["session"]), Value::Null);
    let list = visitor.done(&visitor.session, "GET /api/v1/user/accesstoken", Value::Null).await;
    let pool = pool(&list["accessTokens"][0]);
    assert_eq!(
        (pool["txValue"].as_str(), pool["txCount"].as_u64()),
        (Some("9007199254740993"), Some(1))
    );
}

#[tokio::test]
async fn a_wallet_that_wants_approval_answers_202() {
    let visitor = Visitor::new().await;
    let wallet = visitor.bitgo.wallet(&coin());
    visitor.bitgo.require_approval(wallet);
    let limits = json!({"spendingLimits": [{"coin": "tbtc", "txValueLimit": 10}]});
    let bot = visitor.mint(limits).await;
    let recipients = json!([{"address": "tb1q", "amount": "7"}]);
    let initiate = format!("/api/v2/tbtc/wallet/{wallet}/tx/initiate");
    let body = json!({"recipients": recipients});
    let (status, answer) = visitor.send(&bot.key, "POST", &initiate, body).await.expect("a spend");
    assert_eq!((status, &answer["pendingApproval"]["state"]), (202, &json!("pending")));
    assert_eq!(visitor.spend(&bot.key, "tbtc", wallet, 4).await, "needs unlock", "it is counted");

    let requests = format!("/api/v2/wallet/{wallet}/txrequests");
    let recipients =
        json!([{"address": {"address": "tb1q"}, "amount": {"value": "3", "symbol": "tbtc"}}]);
    let body = json!({"intent": {"intentType": "payment", "recipients": recipients}});
    let (status, answer) = visitor.send(&bot.key, "POST", &requests, body).await.expect("a spend");
    assert_eq!((status, &answer["state"]), (202, &json!("pendingApproval")));
    assert_eq!(visitor.bitgo.spent(&coin()), Amount::new(10));
}

#[tokio::test]
async fn what_is_only_built_is_not_charged_and_orders_need_their_scope() {
    let visitor = Visitor::new().await;
    let wallet = visitor.bitgo.wallet(&coin());
    let bot = visitor.mint(json!({"scope": ["wallet_spend_all", "trade_trade"]})).await;
    let build = format!("POST /api/v2/tbtc/wallet/{wallet}/tx/build");
    visitor.done(&bot.key, &build, json!({"recipients": [{"address": "x", "amount": 5}]})).await;
    assert_eq!(visitor.bitgo.spent(&coin()), Amount::ZERO);

    let orders = "POST /api/prime/trading/v1/accounts/abc/orders";
    let order = json!({"product": "TBTC-TUSD*", "side": "buy", "quantity": "1"});
    let placed = visitor.done(&bot.key, orders, order.clone()).await;
    assert_eq!(placed["accountId"], "abc");
    let viewer = visitor.mint(json!({"scope": ["trade_view"]})).await;
    assert_eq!(visitor.told(&viewer.key, orders, order).await, "forbidden");
}
