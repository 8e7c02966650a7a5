//! Every version of request authentication from login to settlement, and whose answer an answer is.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, told};
use bitgo_vault::api::{Client, ClientSettings, Distrust};
use bitgo_vault::crypto::AuthVersion;
use bitgo_vault::emulator::{Emulator, EmulatorBuilder, Fault, FaultKind};
use bitgo_vault::{Amount, Error, Outcome};
use http::{HeaderMap, Method};
use std::time::Duration;

const VERSIONS: [AuthVersion; 3] = [AuthVersion::V2, AuthVersion::V3, AuthVersion::V4];
const LIMIT: u128 = 1000;
const ASKED: u128 = 100;
const UNTRUSTED: &str = "the answer is not trusted: ";

/// A vault that speaks one version only, with a session as `desk` and a spender as `bot`.
async fn desk(version: AuthVersion, builder: EmulatorBuilder) -> Desk {
    let desk = Desk::empty(builder).await;
    let options = desk.options().auth_version(version);
    let desk = desk.reopened_with(options).await;
    desk.vault.login("desk", desk.login().extensible()).await.unwrap();
    desk.issue("bot", LIMIT).await;
    desk
}

#[tokio::test]
async fn a_day_of_trading_is_the_same_in_every_version() {
    for version in VERSIONS {
        let desk = desk(version, Emulator::builder()).await;
        let status = |status| Some(FaultKind::Status(status, "{}".into()));
        let mut counted = [0; 3];
        for (fault, expect, part) in [
            (None, Ok((200, Outcome::Accepted)), Some(0)),
            (status(202), Ok((202, Outcome::Pending)), Some(1)),
            (status(400), Ok((400, Outcome::Rejected)), None),
            (status(503), Ok((503, Outcome::Uncertain)), Some(2)),
            (Some(FaultKind::BadHmac), Err("its hmac is wrong"), Some(2)),
            (Some(FaultKind::NoHmac), Err("it carries no hmac"), Some(2)),
            (Some(FaultKind::OtherRequestId), Err("it answers another request"), Some(2)),
            (Some(FaultKind::NoRequestId), Ok((200, Outcome::Accepted)), Some(0)),
        ] {
            let printed = format!("{version:?} {fault:?}");
            if let Some(fault) = fault {
                desk.bitgo.inject(Fault::new(fault).on("POST", "/tx/initiate"));
            }
            let sent = desk.vault.send("bot", &desk.withdrawal(ASKED)).await;
            let sent = sent.map(|answer| {
                assert!(answer.is_verified());
                (answer.status(), answer.outcome())
            });
            match (sent, expect) {
                (Ok(sent), Ok(expect)) => assert_eq!(sent, expect, "{printed}"),
                (Err(error), Err(expect)) => {
                    let line = told(&error);
                    assert!(
                        line.starts_with(&format!("{UNTRUSTED}{expect};")),
                        "{printed}: {line}"
                    );
                }
                (other, _) => panic!("{printed}: {other:?}"),
            }
            part.into_iter().for_each(|part: usize| counted[part] += ASKED);
            let counter = desk.counter("bot");
            let parts = [counter.accepted, counter.pending, counter.uncertain];
            assert_eq!(parts, counted.map(Amount::new), "{printed}");
        }
        let left = LIMIT - counted.iter().sum::<u128>();
        let denied = desk.vault.send("bot", &desk.withdrawal(left + 1)).await.unwrap_err();
        assert_eq!(told(&denied), "denied by limit");
        let view = desk.vault.send("desk", &desk.view()).await.unwrap();
        assert_eq!((view.status(), view.outcome()), (200, Outcome::Accepted));
        assert_eq!(desk.reopened().await.used("bot"), LIMIT - left);
    }
}

#[tokio::test]
async fn each_version_says_on_the_wire_what_is_published_of_it_and_no_secret() {
    for (version, said, unsaid) in [
        (
            AuthVersion::V2,
            ["bitgo-auth-version: 2.0", "auth-timestamp: ", "hmac: "],
            "x-signature: ",
        ),
        (
            AuthVersion::V3,
            ["bitgo-auth-version: 3.0", "auth-timestamp: ", "hmac: "],
            "x-signature: ",
        ),
        (
            AuthVersion::V4,
            ["x-request-timestamp: ", "x-signature: ", "x-auth-request-id: "],
            "\r\nhmac: ",
        ),
    ] {
        let desk = desk(version, Emulator::builder()).await;
        desk.vault.fetch_internal("desk", "internal").await.unwrap();
        desk.vault.send("bot", &desk.withdrawal(ASKED)).await.unwrap();
        let traffic = desk.bitgo.traffic();
        let spend = traffic.last().unwrap();
        let (head, answer) = (&spend.request_head, &spend.answer_head);
        let (head, answer) = (String::from_utf8_lossy(head), String::from_utf8_lossy(answer));
        for said in said.iter().chain(&["request-id: ", "authorization: Bearer "]) {
            assert!(head.contains(said), "{version:?}: {said} is missing: {head}");
        }
        assert!(!head.contains(unsaid) && !answer.contains(unsaid), "{version:?}: {head}{answer}");
        for secret in desk.bitgo.secrets() {
            assert!(!traffic.iter().any(|exchange| exchange.contains(&secret)), "{version:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_in_every_version() {
    let minute = Duration::from_secs(60);
    for version in VERSIONS {
        let builder = Emulator::builder().session_lifetime(minute).internal_lifetime(minute);
        let desk = desk(version, builder).await;
        desk.vault.fetch_internal("desk", "internal").await.unwrap();
        tokio::time::sleep(Duration::from_secs(45)).await;
        for label in ["desk", "internal"] {
            crate::desk::until(|| desk.vault.status(label).unwrap().renewals == 1).await;
        }
    }
}

/// The bot's own client brings the answer, with whatever echo came.
#[tokio::test]
async fn an_answer_that_echoes_another_request_is_not_believed() {
    type Echo = fn(&mut HeaderMap);
    let echoes: [(Echo, bool); 4] = [
        (|_| {}, true),
        (|headers| drop(headers.remove("request-id")), true),
        (|headers| drop(headers.insert("request-id", "another".parse().unwrap())), false),
        (|headers| assert!(headers.append("request-id", "another".parse().unwrap())), false),
    ];
    for version in VERSIONS {
        let desk = desk(version, Emulator::builder()).await;
        let settings = ClientSettings::default();
        let client = Client::new(desk.bitgo.environment(), desk.clock.clone(), settings).unwrap();
        for (number, (echo, believed)) in echoes.iter().enumerate() {
            let spend = desk.withdrawal(ASKED);
            let signed = desk.vault.lease("bot", &spend).unwrap().sign().unwrap();
            let (headers, body) = (signed.headers(), spend.body().to_vec());
            let (target, id) = (spend.target(), signed.request_id());
            let sent = client.dispatch(Method::POST, target, headers, body, id).await;
            let mut raw = sent.unwrap();
            assert_eq!(raw.headers["request-id"], id.to_header(), "the server echoes it");
            echo(&mut raw.headers);
            let uncertain = desk.counter("bot").uncertain;
            let outcome = signed.finish(raw.status, &raw.headers, &raw.body);
            let gained = desk.counter("bot").uncertain.checked_sub(uncertain).unwrap();
            match believed {
                true => assert_eq!(outcome.unwrap(), Outcome::Accepted, "{number}"),
                false => {
                    let error = outcome.unwrap_err();
                    assert!(matches!(error, Error::Untrusted(Distrust::OtherRequest)), "{error}");
                }
            }
            assert_eq!(gained, Amount::new(if *believed { 0 } else { ASKED }), "{number}");
        }
    }
}

/// What the vault asks for itself: nothing of a stranger's answer is kept, and the token stays.
#[tokio::test]
async fn an_answer_to_another_request_mints_and_kills_nothing() {
    let desk = Desk::empty(Emulator::builder()).await;
    let other = || desk.bitgo.inject(Fault::new(FaultKind::OtherRequestId));
    other();
    assert_eq!(told(&desk.vault.login("desk", desk.login()).await.unwrap_err()), "other request");
    desk.vault.login("desk", desk.login()).await.unwrap();
    other();
    let issued = desk.vault.issue("desk", desk.spender("bot", LIMIT), desk.bitgo.otp()).await;
    assert_eq!(told(&issued.unwrap_err()), "other request");
    assert_eq!(desk.vault.list().len(), 1);
    assert_eq!(desk.vault.send("desk", &desk.view()).await.unwrap().status(), 200);
}
