//! Faults through the API and over HTTP: what a client sees of each.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use super::visitor::Visitor;
use crate::desk::{class, coin};
use bitgo_vault::api::{ApiError, RequestId};
use bitgo_vault::emulator::{Fault, FaultKind};
use bitgo_vault::{Amount, Coin};
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use std::time::Duration;

/// Asks the emulator itself, as a script does.
async fn control(visitor: &Visitor, call: &str, body: Value) -> (u16, Value) {
    let (method, path) = call.split_once(' ').unwrap();
    let (target, id) = (format!("/_emulator/{path}"), RequestId::random().unwrap());
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let method: Method = method.parse().unwrap();
    let raw = visitor.client.dispatch(method, &target, HeaderMap::new(), body, id).await.unwrap();
    (raw.status, serde_json::from_slice(&raw.body).unwrap())
}

/// The class of a call that no client repeats by itself.
async fn told(visitor: &Visitor) -> &'static str {
    visitor.told(&visitor.session, "POST /api/v2/user/lock", Value::Null).await
}

#[tokio::test]
async fn each_kind_asked_for_over_http_has_its_class() {
    let visitor = Visitor::new().await;
    for (fault, expect) in [
        (json!({"kind": "status", "status": 500}), "transient"),
        (json!({"kind": "status", "status": 408, "body": "{}"}), "transient"),
        (json!({"kind": "status", "status": 424}), "transient"),
        (json!({"kind": "unsigned", "status": 401}), "unauthorized"),
        (json!({"kind": "unsigned", "status": 503, "body": "{}"}), "transient"),
        (json!({"kind": "unsigned", "status": 200, "body": "{}"}), "hmac missing"),
        (json!({"kind": "retryAfter", "secs": 1}), "rate limited"),
        (json!({"kind": "redirect", "location": "/api/v1/ping"}), "untrusted"),
        (json!({"kind": "html"}), "html"),
        (json!({"kind": "delay", "ms": 1}), "done"),
        (json!({"kind": "late", "ms": 1}), "done"),
        (json!({"kind": "answeredAt", "ms": -600_000}), "outside window"),
        (json!({"kind": "answeredAt", "ms": 120_000}), "outside window"),
        (json!({"kind": "reset"}), "lost"),
        (json!({"kind": "dropBefore"}), "lost"),
        (json!({"kind": "dropAfterEffect"}), "lost"),
        (json!({"kind": "tornBody"}), "lost"),
        (json!({"kind": "badHmac"}), "hmac wrong"),
        (json!({"kind": "noHmac"}), "hmac missing"),
        (json!({"kind": "otherRequestId"}), "other request"),
        (json!({"kind": "noRequestId"}), "done"),
        (json!({"kind": "deadToken"}), "dead"),
        (json!({"kind": "unauthorized"}), "unauthorized"),
        (json!({"kind": "needsOtp"}), "otp"),
        (json!({"kind": "needsUnlock"}), "needs unlock"),
        (json!({"kind": "needsSso"}), "sso"),
        (json!({"kind": "ipNotAllowed"}), "ip"),
        (json!({"kind": "forbidden"}), "forbidden"),
        (json!({"kind": "alreadyExpired"}), "done"),
    ] {
        let mut aimed = fault.clone();
        aimed["method"] = json!("POST");
        aimed["path"] = json!("/user/lock");
        assert_eq!(control(&visitor, "POST faults", aimed).await.0, 200, "{fault}");
        assert_eq!(told(&visitor).await, expect, "{fault}");
        control(&visitor, "DELETE faults", Value::Null).await;
        assert_eq!(told(&visitor).await, "done", "{fault}");
    }
}

#[tokio::test]
async fn faults_are_aimed_counted_and_cleared() {
    let visitor = Visitor::new().await;
    let fault = json!({"kind": "html", "path": "/user/me", "times": 3});
    assert_eq!(control(&visitor, "POST faults", fault).await, (200, json!({"faults": 1})));
    assert_eq!(told(&visitor).await, "done", "it is aimed elsewhere");
    let before = visitor.bitgo.requests("");
    assert_eq!(control(&visitor, "DELETE faults", Value::Null).await, (200, json!({"faults": 0})));
    assert_eq!(visitor.bitgo.requests(""), before, "control is no traffic");
    assert_eq!(visitor.told(&visitor.session, "GET /api/v1/user/me", Value::Null).await, "done");
    for wrong in [
        json!({}),
        json!({"kind": "fire"}),
        json!({"kind": "html", "time": 3}),
        json!({"kind": "status", "status": 99}),
        json!({"kind": "retryAfter"}),
        json!({"kind": "delay", "ms": -1}),
        json!({"kind": "html", "times": u64::MAX}),
    ] {
        assert_eq!(control(&visitor, "POST faults", wrong.clone()).await.0, 400, "{wrong}");
    }
    assert_eq!(control(&visitor, "GET faults", Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_script_sets_clock_wallets_account_and_oauth() {
    let visitor = Visitor::new().await;
    let (_, wallet) =
        control(&visitor, "POST wallets", json!({"coin": "tbtc", "approval": true})).await;
    let wallet = wallet["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(visitor.bitgo.wallet(&coin()), wallet);
    let limits = json!({"spendingLimits": [{"coin": "tbtc", "txValueLimit": 1}]});
    let bot = visitor.mint(limits).await;
    let target = format!("/api/v2/tbtc/wallet/{wallet}/sendcoins");
    let body = json!({"address": "x", "amount": 1});
    assert_eq!(visitor.send(&bot.key, "POST", &target, body).await.unwrap().0, 202);

    control(&visitor, "POST account", json!({"sso": true})).await;
    assert_eq!(told(&visitor).await, "sso");
    let (_, account) = control(&visitor, "POST account", json!({"sso": false})).await;
    assert_eq!(account, json!({"sourceIp": "127.0.0.1", "sso": false, "spoofed": false}));
    let (_, grant) = control(&visitor, "POST oauth", Value::Null).await;
    assert!(visitor.bitgo.secrets().iter().any(|secret| grant["refreshToken"] == **secret));
    control(&visitor, "POST clock", json!({"offsetMs": -200_000})).await;
    assert_eq!(told(&visitor).await, "dead", "the request lies ahead of the server");
    assert_eq!(control(&visitor, "POST clock", json!({"offsetMs": 0.5})).await.0, 400);
    assert_eq!(control(&visitor, "POST clock", json!({})).await.0, 400);
}

#[tokio::test]
async fn retry_after_comes_as_a_date_as_well() {
    let visitor = Visitor::new().await;
    visitor.bitgo.inject(Fault::new(FaultKind::RetryAfterDate(90)).times(u32::MAX));
    let create = visitor.send(&visitor.session, "POST", "/api/v2/user/lock", Value::Null);
    let Err(ApiError::RateLimited { retry_after: Some(wait), .. }) = create.await else {
        panic!("429 is a rate limit");
    };
    assert!((80..=90).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn a_server_that_is_down_refuses_and_comes_back_with_its_memory() {
    let visitor = Visitor::new().await;
    assert_eq!(told(&visitor).await, "done");
    visitor.bitgo.restart(Duration::from_millis(200)).await;
    let lock = visitor.send(&visitor.session, "POST", "/api/v2/user/lock", Value::Null);
    assert_eq!(class(&lock.await.unwrap_err()), "unreachable");
    visitor.bitgo.back().await;
    assert_eq!(told(&visitor).await, "done");

    let down = Fault::new(FaultKind::Restart(Duration::from_millis(50)));
    visitor.bitgo.inject(down.on("POST", "/user/lock"));
    let lock = visitor.send(&visitor.session, "POST", "/api/v2/user/lock", Value::Null);
    assert_eq!(class(&lock.await.unwrap_err()), "lost");
    // It goes down behind the request that it left without an answer.
    tokio::time::sleep(Duration::from_millis(30)).await;
    visitor.bitgo.back().await;
    assert_eq!(told(&visitor).await, "done");
}

#[tokio::test]
async fn what_was_lost_on_the_way_back_has_happened() {
    let visitor = Visitor::new().await;
    let wallet = visitor.bitgo.wallet(&coin());
    let limits = json!({"spendingLimits": [{"coin": "tbtc", "txValueLimit": 10}]});
    let bot = visitor.mint(limits).await;
    for (kind, spent) in [
        (FaultKind::DropAfterEffect, 1),
        (FaultKind::TornBody, 2),
        (FaultKind::BadHmac, 3),
        (FaultKind::AnsweredAt(-600_000), 4),
        (FaultKind::DropBefore, 4),
        (FaultKind::Reset, 4),
        (FaultKind::Redirect("/".into()), 4),
        (FaultKind::NeedsUnlock, 4),
    ] {
        let printed = format!("{kind:?}");
        visitor.bitgo.inject(Fault::new(kind).on("POST", "/sendcoins"));
        assert_ne!(visitor.spend(&bot.key, "tbtc", wallet, 1).await, "done", "{printed}");
        assert_eq!(visitor.bitgo.spent(&coin()), Amount::new(spent), "{printed}");
    }
    assert_eq!(visitor.bitgo.spent(&Coin::new("tltc").unwrap()), Amount::ZERO);
}

#[tokio::test]
async fn it_listens_on_this_machine_only() {
    let address = "192.0.2.1:0".parse().unwrap();
    let refused = bitgo_vault::emulator::Emulator::builder().listen(address).start().await;
    assert_eq!(refused.unwrap_err().to_string(), "192.0.2.1:0 is not an address of loopback");
}
