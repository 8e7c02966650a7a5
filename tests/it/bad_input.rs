//! What comes from outside and is not as it should be: a typed error, and a store as it was.

use crate::desk::{Desk, bot, initiate, passphrase, told};
use bitgo_vault::api::CreateToken;
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{Environment, Error, Label, Login, LoginPassword, Otp, Request};
use bitgo_vault::{RequestError, StoreError, TokenStatus, WordError};
use serde_json::json;
use std::time::Duration;

const LOGIN: (&str, &str) = ("POST", "/api/auth/v1/session");
const CREATE: (&str, &str) = ("POST", "/api/v2/user/accesstoken");
const INTERNAL: (&str, &str) = ("GET", "/api/v2/user/internalaccesstoken");
const EXTEND: (&str, &str) = ("POST", "/api/v1/user/extendtoken");
/// A token that came is asked for its own record before it is kept.
const RECORD: (&str, &str) = ("GET", "/api/v2/user/session");

/// A record that is whole, and another token's.
const OTHERS: &str = r#"{"session":{"id":"5941b202b42fcbc707170d5b597491d9","isExtensible":true,"scope":["all"],"expires":"2099-01-01T00:00:00Z"}}"#;
const WRONG_RECORD: &str = "the server's record is another token's: nothing was kept";

fn status(status: u16, body: &str) -> FaultKind {
    FaultKind::Status(status, body.into())
}

/// What may be wrong with any answer, and how it is told.
fn faults() -> Vec<(FaultKind, &'static str)> {
    vec![
        (FaultKind::TornBody, "lost"),
        (FaultKind::DropBefore, "lost"),
        (FaultKind::DropAfterEffect, "lost"),
        (FaultKind::Status(200, " ".repeat(4 * 1024 * 1024 + 1)), "lost"),
        (status(200, ""), "malformed"),
        (status(200, "{}"), "malformed"),
        (status(200, "null"), "malformed"),
        (status(200, r#"{"session":"#), "malformed"),
        (status(500, "{}"), "transient"),
        (status(302, "{}"), "untrusted"),
        (FaultKind::RetryAfter(1), "rate limited"),
        (status(403, "{}"), "forbidden"),
    ]
}

/// What may be wrong with a signed answer besides.
fn signed_faults() -> Vec<(FaultKind, &'static str)> {
    let mut faults = faults();
    faults.extend([
        (FaultKind::BadHmac, "hmac wrong"),
        (FaultKind::NoHmac, "hmac missing"),
        (FaultKind::DeadToken, "dead"),
    ]);
    faults
}

fn with(
    (method, path): (&str, &str),
    faults: Vec<(FaultKind, &'static str)>,
) -> Vec<(Fault, &'static str)> {
    faults.into_iter().map(|(kind, told)| (Fault::new(kind).on(method, path), told)).collect()
}

/// Each fault is told as it should be, and leaves the tokens as they were, also once reopened.
async fn check<F>(mut desk: Desk, faults: Vec<(Fault, &str)>, mint: impl Fn(&Desk) -> F)
where
    F: Future<Output = Result<TokenStatus, Error>>,
{
    let before = desk.vault.list();
    for (fault, expect) in faults {
        let printed: String = format!("{fault:?}").chars().take(200).collect();
        // Once BitGo was heard, nothing asks after the clock, and would meet the fault.
        desk.vault.reconcile("bot").await.expect("bitgo is there");
        let mut refused = None;
        // What looks for the leftovers of the one before may meet the fault first.
        for _ in 0..5 {
            desk.bitgo.inject(fault.clone());
            match mint(&desk).await {
                Ok(kept) => desk.vault.remove(kept.label.as_str()).await.expect("it is kept"),
                Err(error) => {
                    refused = Some(told(&error));
                    break;
                }
            }
        }
        assert_eq!(refused.as_deref(), Some(expect), "{printed}");
        assert_eq!(desk.vault.list(), before, "{printed}");
        desk = desk.reopened().await;
        assert_eq!(desk.vault.list(), before, "{printed}, once reopened");
    }
    mint(&desk).await.expect("without a fault");
    assert_eq!(desk.reopened().await.vault.list().len(), before.len() + 1);
}

async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    desk
}

#[tokio::test]
async fn a_bad_answer_to_a_login_keeps_nothing() {
    let mut all = with(LOGIN, faults());
    all.extend(with(LOGIN, vec![(FaultKind::Html, "html"), (FaultKind::AlreadyExpired, "dead")]));
    all.extend(with(LOGIN, vec![(status(401, "{}"), "unauthorized")]));
    all.extend(with(RECORD, signed_faults()));
    all.extend(with(RECORD, vec![(FaultKind::Html, "html"), (status(200, OTHERS), WRONG_RECORD)]));
    check(desk().await, all, |desk| {
        let (vault, login) = (desk.vault.clone(), desk.login().extensible());
        async move { vault.login("second", login).await }
    })
    .await;
}

#[tokio::test]
async fn a_bad_answer_to_an_issuance_keeps_nothing() {
    let mut all = with(CREATE, signed_faults());
    all.extend(with(CREATE, vec![(FaultKind::Html, "html"), (FaultKind::AlreadyExpired, "dead")]));
    all.extend(with(RECORD, signed_faults()));
    all.extend(with(RECORD, vec![(FaultKind::Html, "html"), (status(200, OTHERS), WRONG_RECORD)]));
    check(desk().await, all, |desk| {
        let (vault, otp, token) = (desk.vault.clone(), desk.bitgo.otp(), desk.spender("second", 5));
        async move { vault.issue("desk", token, otp).await }
    })
    .await;
}

#[tokio::test]
async fn a_bad_answer_to_a_fetch_keeps_nothing() {
    // First, while BitGo has no internal token that it would rather give again.
    let mut all = with(INTERNAL, vec![(FaultKind::AlreadyExpired, "dead")]);
    all.extend(with(INTERNAL, signed_faults()));
    all.extend(with(INTERNAL, vec![(FaultKind::Html, "gone"), (status(404, "{}"), "gone")]));
    all.extend(with(RECORD, signed_faults()));
    all.extend(with(RECORD, vec![(FaultKind::Html, "html"), (status(200, OTHERS), WRONG_RECORD)]));
    check(desk().await, all, |desk| {
        let vault = desk.vault.clone();
        async move { vault.fetch_internal("desk", "second").await }
    })
    .await;
}

/// A renewal that fails leaves the token as it is, in memory and on disk.
#[tokio::test(start_paused = true)]
async fn a_bad_answer_to_a_renewal_changes_nothing() {
    for way in [EXTEND, INTERNAL] {
        let mut kinds = signed_faults();
        kinds.extend([
            (FaultKind::Html, ""),
            (FaultKind::AlreadyExpired, ""),
            (status(200, OTHERS), ""),
        ]);
        let on_the_way = kinds.iter().map(|(kind, _)| (way, kind));
        let on_the_record = kinds.iter().map(|(kind, _)| (RECORD, kind));
        for ((method, path), kind) in on_the_way.chain(on_the_record) {
            let tolerated = match kind {
                // What an extension answers is not published: its body is not read.
                FaultKind::Status(200, body) => {
                    way == EXTEND && path == EXTEND.1 && body.len() < 500
                }
                FaultKind::AlreadyExpired => path == RECORD.1,
                _ => false,
            };
            if tolerated {
                continue;
            }
            let printed: String = format!("{way:?} {path} {kind:?}").chars().take(200).collect();
            let minute = Duration::from_secs(60);
            let builder = Emulator::builder().session_lifetime(minute).internal_lifetime(minute);
            let desk = Desk::empty(builder).await;
            desk.vault.login("desk", desk.login().extensible()).await.unwrap();
            if way == INTERNAL {
                desk.vault.fetch_internal("desk", "token").await.unwrap();
                desk.vault.remove("desk").await.unwrap();
            }
            let before = desk.vault.list();
            desk.bitgo.inject(Fault::new(kind.clone()).on(method, path).times(u32::MAX));
            tokio::time::sleep(Duration::from_secs(50)).await;

            let during = desk.vault.list();
            assert!(during[0].failures > 0 && during[0].last_error.is_some(), "{printed}");
            assert_eq!((during[0].renewals, &during[0].info), (0, &before[0].info), "{printed}");
            let mut reopened = desk.reopened().await.vault.list();
            // How often it failed is remembered, but for an attempt that ended as the vault was closed.
            let (kept, had) = (reopened[0].failures, during[0].failures);
            assert!(kept + 1 >= had, "{printed}: {kept} of {had}");
            (reopened[0].phase, reopened[0].failures) = (before[0].phase, 0);
            (reopened[0].last_error, reopened[0].need) = (None, None);
            (reopened[0].renewal_at, reopened[0].probe_at) =
                (before[0].renewal_at, before[0].probe_at);
            reopened[0].standing = before[0].standing;
            assert_eq!(reopened, before, "{printed}, once reopened");
        }
    }
}

#[tokio::test]
async fn a_server_with_another_key_is_not_believed() {
    let other = Emulator::start().await.unwrap();
    let desk = Desk::empty(Emulator::builder()).await;
    for xpub in [other.server_xpub(), Environment::Test.server_xpub()] {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::custom(desk.bitgo.url(), xpub).unwrap();
        let path = dir.path().join("vault");
        let options = crate::desk::options(&path, &environment, &desk.clock);
        let vault = options.create(passphrase()).await.unwrap();
        let error = vault.login("desk", desk.login()).await.unwrap_err();
        assert!(matches!(error, Error::Crypto { what: "issued token", .. }), "{error}");
        assert!(vault.list().is_empty());
    }
}

#[tokio::test]
async fn a_login_that_bitgo_refuses_keeps_nothing_and_says_why() {
    let desk = desk().await;
    let login = |password: LoginPassword, otp: &str| {
        Login::new(desk.bitgo.email(), password, Otp::new(otp))
    };
    for (login, expect) in [
        (login(LoginPassword::new("wrong"), "0000000"), "unauthorized"),
        (login(LoginPassword::new(""), "0000000"), "unauthorized"),
        (login(desk.bitgo.password(), ""), "otp"),
        (login(desk.bitgo.password(), "1111111"), "otp refused"),
        (Login::new("", desk.bitgo.password(), desk.bitgo.otp()), "unauthorized"),
        (Login::new("x".repeat(1 << 20), desk.bitgo.password(), desk.bitgo.otp()), "rejected"),
    ] {
        let error = desk.vault.login("second", login).await.unwrap_err();
        assert_eq!(told(&error), expect);
    }
    for (otp, expect) in [("", "otp"), ("1111111", "otp refused")] {
        let issued = desk.vault.issue("desk", bot("second"), Otp::new(otp)).await;
        assert_eq!(told(&issued.unwrap_err()), expect);
    }
    assert_eq!(desk.vault.list().len(), 2);
}

#[tokio::test]
async fn a_token_in_clear_is_not_kept() {
    for builder in [
        Emulator::builder().without_ecdh_keychain(),
        Emulator::builder().without_ecdh_keychain().with_older_tokens(),
        Emulator::builder().with_older_tokens(),
    ] {
        let desk = Desk::empty(builder).await;
        let error = desk.vault.login("desk", desk.login()).await.unwrap_err();
        assert!(matches!(error, Error::IssuedInClear | Error::CannotSign), "{error}");
        assert!(
            error.to_string().ends_with("open the vault with dangerous_accept_tokens_in_clear")
        );
        assert_eq!(desk.bitgo.requests(""), 1, "it was not used");
        assert!(desk.reopened().await.vault.list().is_empty());
    }
}

#[tokio::test]
async fn a_label_is_used_once_however_many_want_it() {
    let desk = desk().await;
    let taken = "a token is kept as bot already: remove it, or choose another label";
    let minted = desk.bitgo.requests(CREATE.0);
    let vault = &desk.vault;
    for error in [
        vault.login("bot", desk.login()).await.unwrap_err(),
        vault.issue("desk", bot("bot"), desk.bitgo.otp()).await.unwrap_err(),
        vault.fetch_internal("desk", "bot").await.unwrap_err(),
    ] {
        assert_eq!(told(&error), taken);
    }
    assert_eq!(desk.bitgo.requests(CREATE.0), minted, "BitGo was not asked");

    let issue = || vault.issue("desk", desk.spender("new", 7), desk.bitgo.otp());
    let (one, two, three) = tokio::join!(issue(), issue(), vault.fetch_internal("desk", "new"));
    let mut kept = 0;
    for result in [one, two, three] {
        match result {
            Ok(_) => kept += 1,
            Err(error) => assert!(matches!(error, Error::LabelTaken { .. }), "{error}"),
        }
    }
    assert_eq!(kept, 1);
    assert_eq!(desk.bitgo.requests(CREATE.0) - minted, 1, "and only that one was minted");
    assert_eq!(desk.vault.list().len(), 3);
    assert_eq!(desk.reopened().await.vault.list().len(), 3);
}

#[tokio::test]
async fn no_session_no_token() {
    let desk = desk().await;
    let vault = &desk.vault;
    let none = "no token is kept as nobody: issue it, or list the labels";
    let issued = vault.issue("nobody", bot("x"), desk.bitgo.otp()).await;
    assert_eq!(told(&issued.unwrap_err()), none);
    assert_eq!(told(&vault.fetch_internal("nobody", "x").await.unwrap_err()), none);
    // A long-lived token cannot mint: BitGo says so.
    let issued = vault.issue("bot", bot("x"), desk.bitgo.otp()).await;
    assert_eq!(told(&issued.unwrap_err()), "forbidden");
    // A failure frees the label.
    vault.issue("desk", bot("x"), desk.bitgo.otp()).await.unwrap();
}

#[tokio::test]
async fn a_label_that_is_none_is_refused_everywhere() {
    let desk = desk().await;
    let (vault, view) = (&desk.vault, desk.view());
    for label in ["", "a\nb", "\u{0}", &"x".repeat(129), &"x".repeat(1 << 20)] {
        assert_eq!(Label::new(label).unwrap_err(), WordError::Label);
        for error in [
            vault.login(label, desk.login()).await.unwrap_err(),
            vault.issue(label, bot("x"), desk.bitgo.otp()).await.unwrap_err(),
            vault.fetch_internal("desk", label).await.unwrap_err(),
            vault.fetch_internal(label, "x").await.unwrap_err(),
            vault.lease(label, &view).map(drop).unwrap_err(),
            vault.lease_wait(label, &view).await.map(drop).unwrap_err(),
            vault.send(label, &view).await.map(drop).unwrap_err(),
            vault.status(label).map(drop).unwrap_err(),
            vault.remove(label).await.unwrap_err(),
            vault.dangerous_allow_raw_exposure(label, passphrase()).await.unwrap_err(),
            vault.forbid_raw_exposure(label).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Word(WordError::Label)), "{error}");
        }
    }
    // 128 bytes of anything printable is a label like any other.
    let long = "ü".repeat(64);
    desk.issue(&long, 1).await;
    assert_eq!(desk.reopened().await.vault.status(&long).unwrap().label.as_str(), long);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_whole() {
    let desk = desk().await;
    let before = desk.vault.list();
    let blocks = (0..5000u16).map(|n| format!("10.{}.{}.0/24", n / 250, n % 250));
    let large = bot("large").ip_restrict("127.0.0.1");
    let large: CreateToken = blocks.fold(large, CreateToken::ip_restrict);
    let issued = desk.vault.issue("desk", large, desk.bitgo.otp()).await;
    assert!(matches!(issued.unwrap_err(), Error::Store(StoreError::TooLarge)));
    assert_eq!(desk.vault.list(), before);
    desk.vault.send("bot", &desk.withdrawal(1)).await.unwrap();
    desk.issue("large", 1).await;
    assert_eq!(desk.reopened().await.vault.list().len(), 3);
}

#[tokio::test]
async fn a_giant_body_is_refused_at_once() {
    let desk = desk().await;
    let target = format!("/api/v2/tbtc/wallet/{}/tx/initiate", desk.wallet);
    let bytes = |body: String| Request::post(&target).bytes(body.into_bytes());
    assert_eq!(bytes(" ".repeat((1 << 20) + 1)).unwrap_err(), RequestError::TooLarge);

    let recipients = vec![json!({"address": "tb1q", "amount": 1}); 1001];
    for request in [
        initiate(desk.wallet, &json!({ "recipients": recipients })),
        bytes("[".repeat(1 << 20)).unwrap(),
        bytes(format!(r#"{{"recipients":{}"#, "[".repeat(1 << 19))).unwrap(),
        bytes(format!(r#"{{"recipients":{}}}"#, "[".repeat(9999) + &"]".repeat(9999))).unwrap(),
        bytes(format!(r#"{{"recipients":[{{"address":"a","amount":{}}}]}}"#, "9".repeat(1 << 19)))
            .unwrap(),
    ] {
        let error = desk.vault.lease("bot", &request).map(drop).unwrap_err();
        assert_eq!(told(&error), "denied by body");
        assert!(error.to_string().len() < 200, "{error}");
    }
    // Each key is compared with each before it: an object of 90 000 would take a minute.
    let keys: Vec<_> = (0..90_000).map(|n| format!("\"{n}\":1")).collect();
    let many = bytes(format!("{{{}}}", keys.join(","))).unwrap();
    let error = desk.vault.lease("bot", &many).map(drop).unwrap_err();
    assert_eq!(
        error.to_string(),
        "denied by body: tx/initiate holds the field \"0\", which no rule allows"
    );

    let allowed = vec![json!({"address": "tb1q", "amount": 1}); 1000];
    desk.vault
        .send("bot", &initiate(desk.wallet, &json!({ "recipients": allowed })))
        .await
        .unwrap();
    assert_eq!(desk.used("bot"), 1000);
}

/// The clock of this machine runs ahead: a token that still lives by the server's has ended by ours.
#[tokio::test]
async fn a_token_that_has_ended_by_our_clock_is_not_kept() {
    let builder = Emulator::builder().session_lifetime(Duration::from_secs(30));
    let desk = Desk::empty(builder).await;
    desk.bitgo.set_clock_offset_ms(-45_000);
    let error = desk.vault.login("desk", desk.login()).await.unwrap_err();
    assert!(matches!(error, Error::ArrivedExpired { .. }), "{error}");
    assert!(desk.reopened().await.vault.list().is_empty());
}

#[test]
fn plain_http_beyond_this_machine_is_refused() {
    for uri in [
        "http://bitgo.example",
        "http://10.0.0.1:3000",
        "ftp://127.0.0.1",
        "bitgo.example",
        "",
        "http://127.0.0.1@bitgo.example",
    ] {
        assert_eq!(
            Environment::custom(uri, Environment::Test.server_xpub()).unwrap_err(),
            WordError::RootUri,
            "{uri}"
        );
    }
}
