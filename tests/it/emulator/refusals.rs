//! The refusals of PROTOCOL section 7, as BitGo words them.

use super::visitor::{SESSION, Visitor};
use crate::desk::{class, coin};
use bitgo_vault::api::ApiError;
use serde_json::{Value, json};

#[tokio::test]
async fn a_token_works_from_its_own_addresses_only() {
    let visitor = Visitor::new().await;
    let bot = visitor.mint(json!({"ipRestrict": ["203.0.113.0/28", "198.51.100.7"]})).await;
    for (address, allowed) in
        [("203.0.113.9", true), ("198.51.100.7", true), ("203.0.113.16", false), ("::1", false)]
    {
        let address = address.parse().expect("an address");
        visitor.bitgo.set_source_ip(address);
        match visitor.send(&bot.key, "GET", SESSION, Value::Null).await {
            Ok((_, answer)) => {
                assert!(allowed, "{address}");
                assert_eq!(answer["session"]["ip"], "127.0.0.1", "where it was made");
            }
            Err(ApiError::IpNotAllowed { egress, refusal }) => {
                assert!(!allowed && refusal.is_verified(), "{address}");
                assert_eq!(egress, Some(address));
            }
            Err(error) => panic!("{error}"),
        }
    }
    visitor.done(&visitor.session, &format!("GET {SESSION}"), Value::Null).await;
}

#[tokio::test]
async fn a_single_sign_on_is_asked_for_but_where_it_is_skipped() {
    let visitor = Visitor::new().await;
    visitor.bitgo.require_sso(true);
    let scoped = "GET /api/v2/internal/user/scopedsession?skipOAuth=";
    for (call, expect) in [
        (format!("GET {SESSION}"), "sso"),
        (format!("{scoped}false"), "sso"),
        (format!("{scoped}true"), "done"),
    ] {
        assert_eq!(visitor.told(&visitor.session, &call, Value::Null).await, expect, "{call}");
    }
    visitor.bitgo.require_sso(false);
    visitor.done(&visitor.session, &format!("GET {SESSION}"), Value::Null).await;
}

#[tokio::test]
async fn whoever_acts_as_the_user_is_told_of() {
    let visitor = Visitor::new().await;
    let scoped = "GET /api/v2/internal/user/scopedsession";
    for spoofed in [false, true, false] {
        visitor.bitgo.spoof(spoofed);
        let answer = visitor.done(&visitor.session, scoped, Value::Null).await;
        assert_eq!(answer["authenticationMetadata"]["spooferContext"].is_object(), spoofed);
    }
}

#[tokio::test]
async fn a_scope_that_does_not_reach_is_a_403() {
    let visitor = Visitor::new().await;
    let wallet = visitor.bitgo.wallet(&coin());
    let viewer = visitor.mint(json!({"scope": ["wallet_view_all"]})).await;
    let other = json!({"permittedEnterprises": ["00000000000000000000000000000001"]});
    let stranger = visitor.mint(other).await;
    assert_eq!(visitor.spend(&viewer.key, "tbtc", wallet, 1).await, "forbidden");
    assert_eq!(visitor.spend(&stranger.key, "tbtc", wallet, 1).await, "forbidden");
    let list = "GET /api/v2/user/accesstoken";
    assert_eq!(visitor.told(&viewer.key, list, Value::Null).await, "forbidden");
}

#[tokio::test]
async fn a_refusal_names_the_request_even_if_the_caller_did_not() {
    let visitor = Visitor::new().await;
    let error = visitor.send(&visitor.session, "GET", "/nowhere", Value::Null).await.unwrap_err();
    assert_eq!(class(&error), "rejected");
    let said = visitor.bitgo.traffic().pop().expect("an exchange");
    let body: Value = serde_json::from_slice(&said.answer_body).expect("json");
    let id = error.refusal().expect("a refusal").request_id().to_string();
    assert_eq!(
        body,
        json!({"error": "not found", "name": "NotFound", "context": {}, "requestId": id})
    );
}
