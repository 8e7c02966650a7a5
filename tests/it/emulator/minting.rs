//! Long-lived tokens: what may be asked for, how they are listed, where they are reached.

use super::visitor::{ACCESS_TOKEN, SESSION, Visitor, token};
use bitgo_vault::crypto::EnvelopeVersion;
use bitgo_vault::emulator::Emulator;
use serde_json::{Value, json};

#[tokio::test]
async fn a_body_that_asks_for_too_much_mints_nothing() {
    let visitor = Visitor::new().await;
    let call = format!("POST {ACCESS_TOKEN}");
    let ten_years = 10 * 365 * 86_400;
    for (more, expect) in [
        (json!({"label": ""}), "rejected"),
        (json!({"label": null}), "rejected"),
        (json!({"otp": null}), "otp"),
        (json!({"otp": "1"}), "otp refused"),
        (json!({"duration": 0}), "rejected"),
        (json!({"duration": ten_years + 1}), "rejected"),
        (json!({"duration": ten_years}), "done"),
        (json!({"scope": ["user_manage"]}), "rejected"),
        (json!({"scope": ["all"]}), "done"),
        (json!({"ipRestrict": ["203.0.113.0/33"]}), "rejected"),
        (json!({"ipRestrict": ["0.0.0.0/0"]}), "done"),
        (json!({"ipRestrict": null}), "done"),
        (json!({"spendingLimits": [{"txValueLimit": 1}]}), "rejected"),
        (json!({"spendingLimits": [{"coin": "tbtc"}]}), "rejected"),
        (json!({"spendingLimits": [{"coin": "tbtc", "txValueLimit": 0.5}]}), "rejected"),
        (json!({"allErc20TokensLimit": {"enabled": true}}), "rejected"),
        (json!({"allErc20TokensLimit": {"enabled": false}}), "done"),
        (json!({"adminScope": "some"}), "rejected"),
        (json!({"admin": true, "adminScope": "full"}), "done"),
        (json!({"accessTokenTemplateId": "x"}), "rejected"),
    ] {
        let told = visitor.told(&visitor.session, &call, token(more.clone())).await;
        assert_eq!(told, expect, "{more}");
    }
    let made = visitor.done(&visitor.session, &format!("GET {ACCESS_TOKEN}"), Value::Null).await;
    assert_eq!(made["accessTokens"].as_array().map(Vec::len), Some(6));
    assert_eq!(made["accessTokens"][5]["adminScope"], "full");
}

#[tokio::test]
async fn production_wants_narrow_addresses_and_no_scope_of_all() {
    let visitor = Visitor::with(Emulator::builder().as_prod()).await;
    let call = format!("POST {ACCESS_TOKEN}");
    for (more, expect) in [
        (json!({}), "rejected"),
        (json!({"ipRestrict": []}), "rejected"),
        (json!({"ipRestrict": ["203.0.112.0/23"]}), "rejected"),
        (json!({"ipRestrict": ["203.0.113.0/24", "2001:db8::/32"]}), "rejected"),
        (json!({"ipRestrict": ["203.0.113.0/24", "198.51.100.7"]}), "done"),
        (json!({"ipRestrict": ["203.0.113.0/24"], "scope": ["all"]}), "rejected"),
    ] {
        let told = visitor.told(&visitor.session, &call, token(more.clone())).await;
        assert_eq!(told, expect, "{more}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_both_ways_even_past_a_revoked_token() {
    let visitor = Visitor::new().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(visitor.mint(json!({"label": format!("bot {number}")})).await.id);
    }
    let page = async |query: &str| {
        let call = format!("GET {ACCESS_TOKEN}?limit=2{query}");
        let answer = visitor.done(&visitor.session, &call, Value::Null).await;
        let tokens = answer["accessTokens"].as_array().cloned().unwrap_or_default();
        let labels: Vec<_> = tokens.iter().map(|token| token["label"].clone()).collect();
        (json!(labels), answer["nextBatchPrevId"].as_str().map(str::to_owned))
    };
    assert_eq!(page("").await, (json!(["bot 0", "bot 1"]), Some(ids[1].clone())));
    assert_eq!(page("&sort=DESC").await, (json!(["bot 4", "bot 3"]), Some(ids[3].clone())));
    let gone = format!("DELETE /api/auth/v1/accesstoken/{}", ids[1]);
    visitor.done(&visitor.session, &gone, Value::Null).await;
    let after = format!("&prevId={}", ids[1]);
    assert_eq!(page(&after).await, (json!(["bot 2", "bot 3"]), Some(ids[3].clone())));
    assert_eq!(page(&format!("&prevId={}", ids[3])).await, (json!(["bot 4"]), None));
    let down = format!("&sort=DESC&prevId={}", ids[2]);
    assert_eq!(page(&down).await, (json!(["bot 0"]), None));
    for query in ["limit=0", "limit=201", "limit=x", "sort=asc", "prevId=x"] {
        let call = format!("GET {ACCESS_TOKEN}?{query}");
        assert_eq!(visitor.told(&visitor.session, &call, Value::Null).await, "rejected", "{query}");
    }
}

#[tokio::test]
async fn every_alias_answers() {
    let visitor = Visitor::new().await;
    let session = &visitor.session;
    for call in [
        "GET /api/v1/user/session",
        "GET /api/v2/user/session",
        "GET /api/v1/user/me",
        "GET /api/v2/user/me",
        "GET /api/v1/user/accesstoken",
        "GET /api/v2/user/accesstoken",
        "GET /api/auth/v1/accesstoken",
        "GET /api/v2/user/internalaccesstoken",
        "GET /api/v2/internal/user/scopedsession",
        "POST /api/v1/user/lock",
        "POST /api/v2/user/lock",
        "GET /api/v1/ping",
        "GET /api/v1/client/constants",
    ] {
        visitor.done(session, call, Value::Null).await;
    }
    for base in ["/api/v1/user", "/api/v2/user", "/api/auth/v1"] {
        let call = format!("POST {base}/accesstoken");
        let id = visitor.done(session, &call, token(json!({}))).await["id"].take();
        let id = id.as_str().expect("an id");
        visitor.done(session, &format!("DELETE {base}/accesstoken/{id}"), Value::Null).await;
    }
    for path in ["/api/auth/v1/session", "/api/v1/user/login", "/api/v2/user/login"] {
        // What a login holds is not known here; that it is asked for is.
        assert_eq!(visitor.told(session, &format!("POST {path}"), json!({})).await, "unauthorized");
    }
}

#[tokio::test]
async fn both_envelope_versions_seal_the_token_and_the_key_alike() {
    for (version, v) in [(EnvelopeVersion::V1, 1), (EnvelopeVersion::V2, 2)] {
        let visitor = Visitor::with(Emulator::builder().envelope_version(version)).await;
        let login = visitor.bitgo.traffic().remove(0);
        let answer: Value = serde_json::from_slice(&login.answer_body).expect("json");
        for field in ["encryptedToken", "encryptedECDHXprv"] {
            let envelope: Value =
                serde_json::from_str(answer[field].as_str().expect("text")).expect("json");
            assert_eq!(envelope["v"], v, "{field}");
        }
        visitor.done(&visitor.session, &format!("GET {SESSION}"), Value::Null).await;
    }
}
