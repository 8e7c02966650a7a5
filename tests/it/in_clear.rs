//! Tokens that come in clear or cannot sign (version 1): taken only where that was chosen, marked
//! for good, sent by the vault alone, and whatever they spend counts.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, coin, passphrase, told, until};
use bitgo_vault::emulator::{Emulator, EmulatorBuilder, Fault, FaultKind};
use bitgo_vault::{Amount, Error, Outcome};
use std::time::Duration;

const LIMIT: u128 = 1000;
const ASKED: u128 = 10;
const SEND_ONLY: &str =
    "the token cannot sign requests and travels in clear: use it by send, not by a lease";

/// An account whose tokens come in clear.
fn in_clear() -> EmulatorBuilder {
    Emulator::builder().without_ecdh_keychain()
}

/// One whose tokens cannot sign either.
fn older() -> EmulatorBuilder {
    in_clear().with_older_tokens()
}

/// A vault that takes such tokens, and keeps nothing yet.
async fn accepting(builder: EmulatorBuilder) -> Desk {
    let desk = Desk::empty(builder).await;
    let options = desk.options().dangerous_accept_tokens_in_clear();
    desk.reopened_with(options).await
}

/// The same with a session as `desk`, and `bot`, which may spend up to the limit.
async fn trading(builder: EmulatorBuilder) -> Desk {
    let desk = accepting(builder).await;
    desk.vault.login("desk", desk.login()).await.unwrap();
    desk.issue("bot", LIMIT).await;
    desk
}

fn marks(desk: &Desk) -> Vec<(String, bool)> {
    let tokens = desk.vault.list().into_iter();
    tokens.map(|token| (token.label.to_string(), token.info.issued_in_clear)).collect()
}

#[tokio::test]
async fn tokens_in_clear_are_kept_and_marked_only_where_that_was_chosen() {
    type Refused = fn(&Error) -> bool;
    type Case = (fn() -> EmulatorBuilder, Option<Refused>);
    let issued_in_clear: Refused = |error| matches!(error, Error::IssuedInClear);
    let cannot_sign: Refused = |error| matches!(error, Error::CannotSign);
    let cases: [Case; 4] = [
        (Emulator::builder, None),
        (|| Emulator::builder().with_older_tokens(), Some(cannot_sign)),
        (in_clear, Some(issued_in_clear)),
        (older, Some(issued_in_clear)),
    ];
    for (account, refused) in cases {
        let strict = Desk::empty(account()).await;
        let login = strict.vault.login("desk", strict.login()).await;
        match (login, refused) {
            (Ok(_), None) => {}
            (Err(error), Some(refused)) => assert!(refused(&error), "{error}"),
            (other, _) => panic!("{other:?}"),
        }
        assert_eq!(marks(&strict).len(), usize::from(refused.is_none()));

        let desk = trading(account()).await;
        desk.vault.fetch_internal("desk", "internal").await.unwrap();
        let marked = refused.is_some();
        let expect = ["bot", "desk", "internal"].map(|label| (label.to_owned(), marked));
        assert_eq!(marks(&desk), expect);
        assert_eq!(marks(&desk.reopened().await), expect, "the mark is kept");
    }
}

/// What came in clear can still keep to itself from then on.
#[tokio::test]
async fn a_marked_token_that_signs_does_not_travel_again() {
    let desk = trading(in_clear()).await.reopened().await;
    let before = desk.bitgo.traffic().len();
    let answer = desk.vault.send("bot", &desk.withdrawal(ASKED)).await.unwrap();
    assert_eq!((answer.outcome(), answer.is_verified()), (Outcome::Accepted, true));
    let spend = desk.withdrawal(ASKED);
    drop(desk.vault.lease("bot", &spend).unwrap().sign().unwrap());
    assert_eq!(desk.used("bot"), 2 * ASKED);
    for secret in desk.bitgo.secrets() {
        assert!(!desk.bitgo.traffic()[before..].iter().any(|one| one.contains(&secret)));
    }
    assert!(marks(&desk).iter().all(|(_, marked)| *marked), "the mark stays");
}

#[tokio::test]
async fn a_kept_token_that_cannot_sign_rests_in_a_vault_that_was_not_told_to_send_it() {
    let desk = trading(older()).await.reopened().await;
    let before = desk.bitgo.requests("");
    let (spend, view) = (desk.withdrawal(ASKED), desk.view());
    for error in [
        desk.vault.send("bot", &spend).await.unwrap_err(),
        desk.vault.send("desk", &view).await.unwrap_err(),
        desk.vault.lease("bot", &spend).map(drop).unwrap_err(),
        desk.vault.issue("desk", desk.spender("new", 1), desk.bitgo.otp()).await.unwrap_err(),
        desk.vault.fetch_internal("desk", "new").await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::CannotSign), "{error}");
    }
    assert_eq!((desk.bitgo.requests(""), desk.used("bot")), (before, 0), "nothing left");
}

#[tokio::test]
async fn whatever_a_travelling_token_is_answered_its_spend_counts() {
    let desk = trading(older()).await;
    let status = |status| Some(FaultKind::Status(status, "{}".into()));
    let mut used = 0;
    for (fault, expect, at_server) in [
        (None, Ok(200), ASKED),
        (status(200), Ok(200), 0),
        (status(202), Ok(202), 0),
        (status(400), Ok(400), 0),
        (status(401), Ok(401), 0),
        (status(404), Ok(404), 0),
        (status(429), Ok(429), 0),
        (status(500), Ok(500), 0),
        (Some(FaultKind::Html), Ok(200), 0),
        (Some(FaultKind::NoRequestId), Ok(200), ASKED),
        (
            Some(FaultKind::OtherRequestId),
            Err(
                "the answer is not trusted: it answers another request; if the request moved money, it counts as spent",
            ),
            ASKED,
        ),
        (Some(FaultKind::DropAfterEffect), Err("lost"), ASKED),
    ] {
        let (printed, spent) = (format!("{fault:?}"), desk.spent());
        if let Some(fault) = fault {
            desk.bitgo.inject(Fault::new(fault).on("POST", "/tx/initiate"));
        }
        let sent = desk.vault.send("bot", &desk.withdrawal(ASKED)).await;
        if let Ok(answer) = &sent {
            assert_eq!((answer.outcome(), answer.is_verified()), (Outcome::Uncertain, false));
        }
        let sent = sent.map(|answer| answer.status()).map_err(|error| told(&error));
        assert_eq!(sent, expect.map_err(String::from), "{printed}");
        used += ASKED;
        assert_eq!(desk.counter("bot").uncertain, Amount::new(used), "{printed}");
        assert_eq!(desk.spent() - spent, at_server, "{printed}");
    }
    let rest = desk.vault.send("bot", &desk.withdrawal(LIMIT - used + 1)).await.unwrap_err();
    assert_eq!(told(&rest), "denied by limit");
    assert_eq!(desk.reopened().await.used("bot"), used);
}

#[tokio::test]
async fn a_travelling_token_reads_and_stands_in_its_header_alone() {
    let desk = trading(older()).await;
    let answer = desk.vault.send("desk", &desk.view()).await.unwrap();
    assert_eq!((answer.status(), answer.outcome()), (200, Outcome::Accepted));
    assert!(!answer.is_verified() && answer.body().starts_with(b"{"));
    let sent = desk.bitgo.traffic().pop().unwrap();
    let head = String::from_utf8(sent.request_head).unwrap();
    let session = &desk.bitgo.secrets()[0];
    assert!(head.contains(&format!("authorization: Bearer {session}\r\n")), "{head}");
    assert!(!head.contains("hmac") && !head.contains("bitgo-auth-version"), "{head}");

    desk.bitgo.inject(Fault::new(FaultKind::OtherRequestId));
    let error = desk.vault.send("desk", &desk.view()).await.unwrap_err();
    assert!(told(&error).contains("it answers another request"), "{error}");
}

#[tokio::test]
async fn a_token_that_cannot_sign_is_leased_to_be_exposed_and_for_nothing_else() {
    let desk = trading(older()).await;
    let spend = desk.withdrawal(ASKED);
    for error in [
        desk.vault.lease("bot", &spend).map(drop).unwrap_err(),
        desk.vault.lease_wait("bot", &spend).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(told(&error), SEND_ONLY);
    }
    desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.unwrap();
    let lease = desk.vault.lease("bot", &spend).unwrap();
    assert_eq!(told(&lease.sign().map(drop).unwrap_err()), SEND_ONLY);
    assert_eq!(desk.used("bot"), 0, "no reservation is left behind");

    let token = desk.vault.lease("bot", &spend).unwrap().expose_token().await.unwrap();
    assert!(desk.bitgo.secrets().contains(&token.expose().to_owned()));
    assert_eq!(desk.used("bot"), LIMIT, "exposure charges all that is left");
}

#[tokio::test]
async fn a_vault_that_was_not_told_to_send_it_does_not_hand_it_out_either() {
    let desk = trading(older()).await;
    desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.unwrap();
    let desk = desk.reopened().await;
    let refused = desk.vault.lease("bot", &desk.withdrawal(ASKED)).map(drop);
    assert!(matches!(refused, Err(Error::CannotSign)));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_sign_is_renewed_and_stays_marked() {
    let minute = Duration::from_secs(60);
    let account = older().session_lifetime(minute).internal_lifetime(minute);
    let desk = accepting(account.internal_spending_limit(&coin(), Amount::new(LIMIT))).await;
    desk.vault.login("desk", desk.login().extensible()).await.unwrap();
    desk.vault.fetch_internal("desk", "internal").await.unwrap();
    desk.vault.send("internal", &desk.withdrawal(ASKED)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(45)).await;
    for label in ["desk", "internal"] {
        until(|| desk.vault.status(label).unwrap().renewals == 1).await;
        desk.vault.send(label, &desk.view()).await.unwrap();
    }
    let counter = desk.counter("internal");
    assert_eq!(
        counter.used_of_total(),
        Some(Amount::new(ASKED)),
        "its successor goes on from there"
    );
    assert!(marks(&desk).iter().all(|(_, marked)| *marked));
}

/// Nothing vouches for what is said of it, so it is told of unless the server took it back.
#[tokio::test]
async fn a_minted_token_that_does_not_prove_itself_is_revoked_or_told_of() {
    let desk = trading(older()).await;
    let fail = |method, path, status| {
        let kind = FaultKind::Status(status, "{}".into());
        desk.bitgo.inject(Fault::new(kind).on(method, path).times(u32::MAX));
    };
    for (revoked, orphaned) in [(None, false), (Some(404), true), (Some(503), true)] {
        fail("GET", "/api/v2/user/session", 503);
        if let Some(status) = revoked {
            fail("DELETE", "/api/v2/user/accesstoken", status);
        }
        let minted = desk.vault.issue("desk", desk.spender("new", 1), desk.bitgo.otp()).await;
        let error = minted.unwrap_err();
        assert_eq!(matches!(error, Error::Orphaned { .. }), orphaned, "{revoked:?}: {error}");
        desk.bitgo.clear_faults();
    }
}
