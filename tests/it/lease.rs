//! Leases: what is refused and why, what a reservation costs, and what ends a lease.

use crate::desk::{DAY, Desk, bot, coin, initiate, told, until, withdrawal};
use bitgo_vault::api::{Client, ClientSettings};
use bitgo_vault::crypto::AuthVersion;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{Amount, Coin, Denied, Error, Outcome, Request, Rule, WalletId};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn denied(error: Error) -> Denied {
    match error {
        Error::Denied(denied) => denied,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn each_refusal_names_its_rule_and_its_reason_and_nothing_leaves() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    let (wallet, other) = (desk.wallet, desk.bitgo.add_wallet(&coin()));
    let tltc = format!("/api/v2/tltc/wallet/{wallet}/tx/initiate");
    let to = |amount: Value| json!({"recipients": [{"address": "tb1q", "amount": amount}]});
    let before = desk.bitgo.requests("");
    for (label, request, rule, reason) in [
        (
            "bot",
            desk.view(),
            Rule::Scope,
            format!(
                "the token does not hold wallet_view on wallet {wallet}; renewing it will not help"
            ),
        ),
        (
            "bot",
            withdrawal(other, 1),
            Rule::Wallet,
            format!("wallet {other} is not among the 1 the token is confined to"),
        ),
        (
            "bot",
            desk.withdrawal(1001),
            Rule::Limit,
            "1001 tbtc asked, 1000 left of the token's limit of 1000".into(),
        ),
        (
            "bot",
            Request::post(&tltc).json(&to(json!(1))).unwrap(),
            Rule::NoLimit,
            "the token has no spending limit for tltc; issue one that has".into(),
        ),
        (
            "desk",
            desk.withdrawal(1),
            Rule::NoLimit,
            "the token has no spending limit for tbtc; issue one that has".into(),
        ),
        (
            "desk",
            Request::get("/api/v2/user/accesstoken").unwrap(),
            Rule::UnknownCall,
            "GET /api/v2/user/accesstoken is not a call the vault can read".into(),
        ),
        (
            "bot",
            initiate(wallet, &to(json!("max"))),
            Rule::Body,
            "an amount is not a whole number of base units (digits, as a number or a string)"
                .into(),
        ),
        (
            "bot",
            initiate(wallet, &json!({"recipients": [], "data": "0x"})),
            Rule::Body,
            "tx/initiate holds the field \"data\", which no rule allows".into(),
        ),
        (
            "bot",
            initiate(
                wallet,
                &json!({"recipients": [{"address": "a", "amount": u128::MAX.to_string()}, {"address": "b", "amount": 1}]}),
            ),
            Rule::Body,
            "the amounts add up to more than can be counted".into(),
        ),
    ] {
        let line = format!("denied by {rule}: {reason}");
        for refused in [
            denied(desk.vault.lease(label, &request).unwrap_err()),
            denied(desk.vault.lease_wait(label, &request).await.unwrap_err()),
            denied(desk.vault.send(label, &request).await.unwrap_err()),
        ] {
            assert_eq!((refused.rule(), refused.to_string()), (rule, line.clone()));
        }
    }
    assert_eq!(desk.bitgo.requests(""), before, "nothing left the vault");
    assert_eq!(desk.used("bot"), 0, "nothing stays reserved");

    let limit = denied(desk.vault.lease("bot", &desk.withdrawal(1001)).unwrap_err());
    assert_eq!(
        (limit.coin(), limit.asked(), limit.limit(), limit.left(), limit.resets_at()),
        (
            Some(&coin()),
            Some(Amount::new(1001)),
            Some(Amount::new(1000)),
            Some(Amount::new(1000)),
            None
        )
    );
}

/// Whatever BitGo would make of it: what the vault cannot read does not leave it.
#[tokio::test]
async fn what_no_rule_can_read_does_not_leave() {
    let desk = Desk::with(Emulator::builder().without_limits()).await;
    let shib = Coin::new("tshib").expect("a coin");
    desk.mint(desk.spender("bot", 10).spending_limit(&shib, Amount::new(1_000_000))).await;
    let before = desk.bitgo.requests("");
    let to = |recipient: &str| {
        let target = format!("/api/v2/tbtc/wallet/{}/tx/initiate", desk.wallet);
        let body = format!(r#"{{"recipients":[{recipient}]}}"#);
        Request::post(&target).bytes(body.into())
    };
    let below = |view: &str| Request::get(&format!("{}{view}", desk.view().target()));
    for (label, request, rule) in [
        // Both would move the charge to a coin of another worth.
        ("bot", to(r#"{"address":"a","amount":"999","tokenName":"tshib"}"#), Rule::Body),
        ("bot", to(r#"{"address":"a","amount":"1","tokenName":"tbtc"}"#), Rule::Body),
        // A reader with floats for numbers takes this one for 2^53.
        ("bot", to(r#"{"address":"a","amount":9007199254740993}"#), Rule::Body),
        ("bot", to(r#"{"address":"a","amount":9007199254740992}"#), Rule::Body),
        ("bot", to(r#"{"address":"a","amount":9007199254740991}"#), Rule::Limit),
        ("bot", to(r#"{"address":"a","amount":"9007199254740993"}"#), Rule::Limit),
        ("desk", below("/user/secret"), Rule::UnknownCall),
        ("desk", below("/sendcoins"), Rule::UnknownCall),
        ("desk", below("/tx/initiate"), Rule::UnknownCall),
        ("desk", below("/balances/more"), Rule::UnknownCall),
    ] {
        let request = request.expect("a request");
        let refused = desk.vault.send(label, &request).await.map(drop).unwrap_err();
        assert_eq!(denied(refused).rule(), rule, "{}", request.target());
    }
    assert_eq!(desk.bitgo.requests(""), before, "nothing left the vault");
    assert_eq!((desk.used("bot"), desk.spent()), (0, 0));
    for view in ["", "/balances", "/unspents", "/maximumSpendable"] {
        let request = below(view).expect("a request");
        desk.vault.lease("desk", &request).expect(view).release();
    }
}

#[tokio::test]
async fn only_what_was_signed_counts() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    let whole = desk.withdrawal(1000);
    let reserved = || desk.counter("bot").reserved;

    let lease = desk.vault.lease("bot", &whole).unwrap();
    assert_eq!(reserved(), Amount::new(1000));
    drop(lease);
    assert_eq!(reserved(), Amount::ZERO);
    desk.vault.lease_wait("bot", &whole).await.unwrap().release();
    assert_eq!(desk.used("bot"), 0);

    drop(desk.vault.lease("bot", &desk.withdrawal(400)).unwrap().sign().unwrap());
    let counter = desk.counter("bot");
    assert_eq!((counter.uncertain, counter.reserved), (Amount::new(400), Amount::ZERO));
    let refused = denied(desk.vault.lease("bot", &desk.withdrawal(601)).unwrap_err());
    assert_eq!(refused.left(), Some(Amount::new(600)));
    assert_eq!(desk.reopened().await.used("bot"), 400, "a clean close does not change it");
}

#[tokio::test]
async fn the_bots_own_client_sends_what_was_signed() {
    for version in [AuthVersion::V2, AuthVersion::V3, AuthVersion::V4] {
        let desk = Desk::empty(Emulator::builder()).await;
        let options = desk.options().auth_version(version);
        let desk = desk.reopened_with(options).await;
        desk.vault.login("desk", desk.login()).await.unwrap();
        desk.issue("bot", 1000).await;
        let settings = ClientSettings::default();
        let client = Client::new(desk.bitgo.environment(), desk.clock.clone(), settings).unwrap();

        let spend = desk.withdrawal(300);
        let signed = desk.vault.lease("bot", &spend).unwrap().sign().unwrap();
        let (headers, body) = (signed.headers(), spend.body().to_vec());
        let id = signed.request_id();
        assert_eq!(headers["request-id"], id.to_header(), "the bot's client sends it, too");
        let raw = client.dispatch(Method::POST, spend.target(), headers, body, id).await.unwrap();
        let outcome = signed.finish(raw.status, &raw.headers, &raw.body).unwrap();
        assert_eq!((raw.status, outcome), (200, Outcome::Accepted));
        assert_eq!((desk.counter("bot").accepted, desk.spent()), (Amount::new(300), 300));
        let sent = desk.bitgo.traffic().pop().unwrap();
        assert_eq!(sent.request_body, spend.body(), "the bytes that policy read");

        // The same answer does not settle another request of the same shape.
        let signed = desk.vault.lease("bot", &spend).unwrap().sign().unwrap();
        let outcome = signed.finish(200, &raw.headers, br#"{"txid":"","status":"signed"}"#);
        assert!(matches!(outcome, Err(Error::Untrusted(_))), "{outcome:?}");
        assert_eq!(desk.counter("bot").uncertain, Amount::new(300));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_void_once_it_is_old_or_its_token_is_not_what_it_was() {
    let desk = Desk::new().await;
    for label in ["aged", "removed", "loosened"] {
        desk.issue(label, 1000).await;
    }
    let spend = desk.withdrawal(1);
    let void = |why| format!("the lease is void ({why}): take a new one");

    let lease = desk.vault.lease("aged", &spend).unwrap();
    tokio::time::advance(Duration::from_millis(59_999)).await;
    drop(desk.vault.lease("aged", &spend).unwrap());
    let punctual = desk.vault.lease("aged", &spend).unwrap();
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(told(&lease.sign().unwrap_err()), void("it is too old"));
    drop(punctual.sign().unwrap());
    assert_eq!(desk.used("aged"), 1, "the void lease gave its reservation back");

    let lease = desk.vault.lease("removed", &spend).unwrap();
    desk.vault.remove("removed").await.unwrap();
    assert_eq!(told(&lease.sign().unwrap_err()), void("the token was removed"));

    let lease = desk.vault.lease("loosened", &spend).unwrap();
    desk.vault.forbid_raw_exposure("loosened").await.unwrap();
    let changed = void("the token was renewed or its rules changed");
    assert_eq!(told(&lease.sign().unwrap_err()), changed);
    assert_eq!(desk.used("loosened"), 0);

    let options = desk.options().lease_lifetime(Duration::ZERO);
    let desk = desk.reopened_with(options).await;
    let lease = desk.vault.lease("aged", &spend).unwrap();
    assert_eq!(told(&lease.sign().unwrap_err()), void("it is too old"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_does_not_outlive_a_renewal_or_its_token() {
    let builder = Emulator::builder().session_lifetime(Duration::from_secs(60));
    let desk = Desk::empty(builder).await;
    desk.vault.login("renewed", desk.login().extensible()).await.unwrap();
    desk.vault.login("mortal", desk.login()).await.unwrap();
    let options = desk.options().lease_lifetime(DAY);
    let desk = desk.reopened_with(options).await;

    let view = desk.view();
    let (renewed, mortal) = (desk.vault.lease("renewed", &view), desk.vault.lease("mortal", &view));
    tokio::time::sleep(Duration::from_secs(40)).await;
    until(|| desk.vault.status("renewed").unwrap().renewals == 1).await;
    let changed = "the lease is void (the token was renewed or its rules changed): take a new one";
    assert_eq!(told(&renewed.unwrap().sign().unwrap_err()), changed);
    desk.vault.send("renewed", &view).await.unwrap();

    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(told(&mortal.unwrap().sign().unwrap_err()), "denied by expired");
    assert_eq!(told(&desk.vault.lease("mortal", &view).unwrap_err()), "denied by expired");
    assert_eq!(told(&desk.vault.send("mortal", &view).await.unwrap_err()), "denied by expired");
    desk.vault.send("renewed", &view).await.unwrap();
}

#[tokio::test]
async fn the_limit_is_usable_to_the_last_unit() {
    let desk = Desk::with(Emulator::builder().without_limits()).await;
    let limit = 9_007_199_254_740_993; // beyond what a float can hold
    desk.issue("bot", limit).await;
    desk.vault.send("bot", &desk.withdrawal(limit - 1)).await.unwrap();
    let refused = denied(desk.vault.send("bot", &desk.withdrawal(2)).await.unwrap_err());
    assert_eq!(refused.left(), Some(Amount::new(1)));
    desk.vault.send("bot", &desk.withdrawal(1)).await.unwrap();
    desk.vault.send("bot", &desk.withdrawal(0)).await.unwrap();
    assert_eq!(
        told(&desk.vault.send("bot", &desk.withdrawal(1)).await.unwrap_err()),
        "denied by limit"
    );
    assert_eq!((desk.used("bot"), desk.spent()), (limit, limit));
}

/// The server's own limit is off: what holds here is the vault's.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_spends_the_limit_and_not_one_unit_more() {
    const TASKS: u128 = 64;
    const ROOM_FOR: u128 = 40;
    let desk = Arc::new(Desk::with(Emulator::builder().without_limits()).await);
    desk.issue("bot", 7 * ROOM_FOR + 6).await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let desk = Arc::clone(&desk);
            tokio::spawn(async move {
                let spend = desk.withdrawal(7);
                // Some change their mind before they sign, and ask again.
                if number % 3 == 0
                    && let Ok(lease) = desk.vault.lease_wait("bot", &spend).await
                {
                    lease.release();
                }
                desk.vault.send("bot", &spend).await
            })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(answer) => assert_eq!(answer.outcome(), Outcome::Accepted),
            Err(error) => {
                assert_eq!(denied(error).rule(), Rule::Limit);
                refused += 1;
            }
        }
    }
    // A lease that was given back may have cost another its turn: the rest is used up now.
    while desk.vault.send("bot", &desk.withdrawal(7)).await.is_ok() {
        refused -= 1;
    }
    assert_eq!(refused, TASKS - ROOM_FOR);
    assert_eq!((desk.used("bot"), desk.spent()), (7 * ROOM_FOR, 7 * ROOM_FOR));
}

#[tokio::test]
async fn a_label_without_a_wallet_of_its_own_reaches_only_its_scope() {
    let desk = Desk::new().await;
    let other = desk.bitgo.add_wallet(&coin());
    let scope = format!("wallet_spend:{}", desk.wallet).parse().unwrap();
    desk.mint(bot("bot").scope(scope).spending_limit(&coin(), Amount::new(10))).await;
    for (wallet, refused) in [
        (desk.wallet, None),
        (other, Some(Rule::Scope)),
        (WalletId::from_bytes([9; 16]), Some(Rule::Scope)),
    ] {
        let sent = desk.vault.send("bot", &withdrawal(wallet, 1)).await;
        assert_eq!(sent.err().map(|error| denied(error).rule()), refused, "{wallet}");
    }
}
