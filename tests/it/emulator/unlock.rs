//! Unlock, lock, logout.

use super::visitor::{SESSION, Visitor};
use crate::desk::coin;
use serde_json::{Value, json};

const UNLOCK: &str = "POST /api/v2/user/unlock";

#[tokio::test]
async fn unlock_deletes_every_limit_and_ends() {
    let visitor = Visitor::new().await;
    let wallet = visitor.bitgo.wallet(&coin());
    let limits = json!({
        "spendingLimits": [{"coin": "tbtc", "txValueLimit": 10}, {"coin": "tltc", "maxLimit": true}],
        "allErc20TokensLimit": {"enabled": true, "txValueLimit": "5"},
    });
    let bot = visitor.mint(limits).await;
    assert_eq!(visitor.spend(&bot.key, "tbtc", wallet, 11).await, "needs unlock");
    let unlock = json!({"otp": "0000000", "duration": 60});
    let session = visitor.done(&bot.key, UNLOCK, unlock).await["session"].take();
    assert_eq!(session["unlock"]["spendingLimits"], json!({}));
    assert!(session["unlock"]["expires"].as_str() > session["unlock"]["time"].as_str());
    assert_eq!(visitor.spend(&bot.key, "tbtc", wallet, 11).await, "done");
    let list = visitor.done(&visitor.session, "GET /api/v2/user/accesstoken", Value::Null).await;
    assert_eq!(list["accessTokens"][0]["unlock"].get("allErc20TokensLimit"), None);

    visitor.bitgo.set_clock_offset_ms(59_000);
    assert_eq!(visitor.spend(&bot.key, "tbtc", wallet, 1).await, "done");
    let locked = visitor.done(&bot.key, "POST /api/v2/user/lock", Value::Null).await;
    assert_eq!(locked["session"].get("unlock"), None);
    assert_eq!(visitor.spend(&bot.key, "tbtc", wallet, 1).await, "needs unlock");
}

#[tokio::test]
async fn a_token_without_limits_spends_only_while_it_is_unlocked() {
    let visitor = Visitor::new().await;
    let wallet = visitor.bitgo.wallet(&coin());
    let bot = visitor.mint(json!({})).await;
    assert_eq!(visitor.spend(&bot.key, "tbtc", wallet, 1).await, "needs unlock");
    visitor.done(&bot.key, UNLOCK, json!({"otp": "0000000", "duration": 1})).await;
    assert_eq!(visitor.spend(&bot.key, "tbtc", wallet, 1).await, "done");
    visitor.bitgo.set_clock_offset_ms(1500);
    assert_eq!(visitor.spend(&bot.key, "tbtc", wallet, 1).await, "needs unlock");
    let by_default = visitor.done(&bot.key, UNLOCK, json!({"otp": "0000000"})).await;
    let unlock = &by_default["session"]["unlock"];
    let [time, expires] = ["time", "expires"].map(|name| {
        let text = unlock[name].as_str().expect("an instant");
        chrono::DateTime::parse_from_rfc3339(text).expect("an instant")
    });
    assert_eq!((expires - time).num_seconds(), 600);
}

#[tokio::test]
async fn unlock_wants_its_otp_and_a_duration_within_an_hour() {
    let visitor = Visitor::new().await;
    for (body, expect) in [
        (json!({}), "otp"),
        (json!({"otp": "1111111"}), "otp refused"),
        (json!({"otp": "0000000", "duration": 0}), "rejected"),
        (json!({"otp": "0000000", "duration": 3601}), "rejected"),
        (json!({"otp": "0000000", "duration": 3600}), "done"),
    ] {
        assert_eq!(visitor.told(&visitor.session, UNLOCK, body.clone()).await, expect, "{body}");
    }
}

#[tokio::test]
async fn logout_ends_the_token_it_comes_with() {
    let visitor = Visitor::new().await;
    for target in ["GET /api/v1/user/logout", "GET /api/v2/user/logout"] {
        let bot = visitor.mint(json!({})).await;
        visitor.done(&bot.key, target, Value::Null).await;
        assert_eq!(visitor.told(&bot.key, target, Value::Null).await, "dead");
    }
    visitor.done(&visitor.session, &format!("GET {SESSION}"), Value::Null).await;
}
