//! What an answer makes of a spend: by status and HMAC alone, and never below what the server counts.

use crate::desk::{Desk, passphrase, told, withdrawal};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{Amount, Outcome, Request, WalletId};
use std::time::Duration;

const LIMIT: u128 = 1_000_000;
const ASKED: u128 = 100;
/// How the answer without a valid HMAC is told.
const NO_HMAC: &str =
    "the answer is not trusted: it carries no hmac; if the request moved money, it counts as spent";
const BAD_HMAC: &str =
    "the answer is not trusted: its hmac is wrong; if the request moved money, it counts as spent";

/// Sends `request` while `fault` is about: what came of it, as it is told, as the ledger counts it
/// and as the server does.
async fn check(
    desk: &Desk,
    request: &Request,
    fault: Option<FaultKind>,
    expect: Result<(u16, Outcome), &str>,
    counts: Outcome,
    at_server: u128,
) {
    let printed = format!("{} {fault:?}", request.target()).chars().take(150).collect::<String>();
    let (before, spent_before) = (desk.counter("bot"), desk.spent());
    if let Some(fault) = fault {
        desk.bitgo.inject(Fault::new(fault).on("POST", "/tx/initiate"));
    }
    let sent = desk.vault.send("bot", request).await;
    let sent = sent.map(|answer| (answer.status(), answer.outcome())).map_err(|e| told(&e));
    assert_eq!(sent, expect.map_err(String::from), "{printed}");

    let after = desk.counter("bot");
    let gained = |part: Outcome| if part == counts { Amount::new(ASKED) } else { Amount::ZERO };
    for (part, before, after) in [
        (Outcome::Accepted, before.accepted, after.accepted),
        (Outcome::Pending, before.pending, after.pending),
        (Outcome::Uncertain, before.uncertain, after.uncertain),
    ] {
        assert_eq!(after.checked_sub(before), Some(gained(part)), "{printed}: {part:?}");
    }
    assert_eq!(after.reserved, Amount::ZERO, "{printed}: settled once and for all");
    assert_eq!(desk.spent() - spent_before, at_server, "{printed}");
    assert!(desk.used("bot") >= desk.spent(), "{printed}: the server counts more than we do");
}

async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.mint(desk.spender("bot", LIMIT)).await;
    desk
}

#[tokio::test]
async fn only_a_verified_answer_decides() {
    let desk = desk().await;
    let spend = desk.withdrawal(ASKED);
    let status = |status| Some(FaultKind::Status(status, "{}".into()));
    check(&desk, &spend, None, Ok((200, Outcome::Accepted)), Outcome::Accepted, ASKED).await;
    for (code, outcome) in [
        (200, Outcome::Accepted),
        (201, Outcome::Accepted),
        (202, Outcome::Pending),
        (301, Outcome::Uncertain),
        (302, Outcome::Uncertain),
        (400, Outcome::Rejected),
        (401, Outcome::Rejected),
        (402, Outcome::Uncertain),
        (403, Outcome::Rejected),
        (404, Outcome::Rejected),
        (408, Outcome::Uncertain),
        (409, Outcome::Uncertain),
        (410, Outcome::Uncertain),
        (422, Outcome::Rejected),
        (424, Outcome::Uncertain),
        (429, Outcome::Rejected),
        (500, Outcome::Uncertain),
        (502, Outcome::Uncertain),
        (503, Outcome::Uncertain),
        (504, Outcome::Uncertain),
    ] {
        check(&desk, &spend, status(code), Ok((code, outcome)), outcome, 0).await;
    }
    for (fault, outcome) in [
        (FaultKind::RetryAfter(7), (429, Outcome::Rejected)),
        (FaultKind::DeadToken, (401, Outcome::Rejected)),
    ] {
        check(&desk, &spend, Some(fault), Ok(outcome), outcome.1, 0).await;
    }
    let used = desk.used("bot");
    assert_eq!(desk.reopened().await.used("bot"), used, "and so it is kept");
}

#[tokio::test]
async fn what_cannot_be_believed_counts() {
    let desk = desk().await;
    let spend = desk.withdrawal(ASKED);
    for (fault, error, at_server) in [
        (FaultKind::BadHmac, BAD_HMAC, ASKED),
        (FaultKind::NoHmac, NO_HMAC, ASKED),
        (FaultKind::Html, NO_HMAC, 0),
        (FaultKind::TornBody, "lost", ASKED),
        (FaultKind::DropAfterEffect, "lost", ASKED),
        (FaultKind::DropBefore, "lost", 0),
        (FaultKind::Status(200, " ".repeat(4 * 1024 * 1024 + 1)), "lost", 0),
    ] {
        check(&desk, &spend, Some(fault), Err(error), Outcome::Uncertain, at_server).await;
    }
    assert_eq!(desk.reopened().await.used("bot"), 7 * ASKED);
}

/// A refusal that anyone on the way could have written gives nothing back.
#[tokio::test]
async fn a_refusal_counts_unless_it_is_signed() {
    let desk = Desk::new().await;
    let unknown = WalletId::from_bytes([9; 16]);
    desk.mint(desk.spender("bot", LIMIT).permitted_wallet(unknown)).await;
    let spend = withdrawal(unknown, ASKED);
    let (refused, uncertain) = (Outcome::Rejected, Outcome::Uncertain);
    check(&desk, &spend, None, Ok((404, refused)), refused, 0).await;
    check(&desk, &spend, Some(FaultKind::BadHmac), Err(BAD_HMAC), uncertain, 0).await;
    check(&desk, &spend, Some(FaultKind::NoHmac), Err(NO_HMAC), uncertain, 0).await;
    check(&desk, &spend, Some(FaultKind::TornBody), Err("lost"), uncertain, 0).await;

    let id = desk.vault.status("bot").map(|status| status.info.id);
    desk.bitgo.revoke(id.expect("it is kept"));
    check(&desk, &spend, None, Ok((401, refused)), refused, 0).await;
    check(&desk, &spend, Some(FaultKind::NoHmac), Err(NO_HMAC), uncertain, 0).await;
}

/// The server's clock and ours lie too far apart: its answer is signed, but may be an old one.
#[tokio::test]
async fn an_answer_outside_the_window_counts() {
    let desk = desk().await;
    desk.bitgo.set_clock_offset_ms(61_000);
    let sent =
        desk.vault.send("bot", &desk.withdrawal(ASKED)).await.map(|_| ()).map_err(|e| told(&e));
    let told = sent.expect_err("it is not within the window");
    assert!(
        told.contains("outside the window; if the request moved money, it counts as spent"),
        "{told}"
    );
    assert_eq!((desk.used("bot"), desk.spent()), (ASKED, ASKED));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long_counts() {
    let desk = desk().await;
    let (spend, late) = (desk.withdrawal(ASKED), FaultKind::Delay(Duration::from_secs(31)));
    check(&desk, &spend, Some(late), Err("lost"), Outcome::Uncertain, 0).await;
    let slow = FaultKind::Delay(Duration::from_secs(29));
    check(&desk, &spend, Some(slow), Ok((200, Outcome::Accepted)), Outcome::Accepted, ASKED).await;
}

/// The one failure without an answer that gives the reservation back.
#[tokio::test]
async fn a_server_that_was_not_reached_was_not_asked() {
    let bitgo = desk().await;
    let (options, spend) = (bitgo.options(), bitgo.withdrawal(LIMIT));
    bitgo.vault.close().await.unwrap();
    bitgo.bitgo.shutdown().await;
    let vault = options.unlock(passphrase()).await.unwrap();
    for _ in 0..3 {
        let error = vault.send("bot", &spend).await.expect_err("nobody listens");
        assert_eq!(told(&error), "unreachable");
        let counters = vault.status("bot").unwrap().counters;
        assert_eq!(counters[&crate::desk::coin()].used(), Some(Amount::ZERO));
    }
}

/// What the server refuses by a limit of its own is given back; what it took is not.
#[tokio::test]
async fn the_two_counters_agree_over_a_day_of_faults() {
    for builder in [Emulator::builder(), Emulator::builder().without_limits()] {
        let desk = Desk::with(builder).await;
        desk.issue("bot", 20 * ASKED).await;
        let faults = [
            FaultKind::DropAfterEffect,
            FaultKind::Status(429, "{}".into()),
            FaultKind::BadHmac,
            FaultKind::Status(503, "{}".into()),
            FaultKind::TornBody,
            FaultKind::DropBefore,
        ];
        let mut lost = 0;
        for number in 0.. {
            if let Some(fault) = faults.get(number % 9) {
                desk.bitgo.inject(Fault::new(fault.clone()).on("POST", "/tx/initiate"));
            }
            match desk.vault.send("bot", &desk.withdrawal(ASKED)).await {
                Err(error) if told(&error) == "denied by limit" => break,
                sent if sent.as_ref().map_or(true, |a| a.outcome() == Outcome::Uncertain) => {
                    lost += 1;
                }
                _ => {}
            }
            assert!(desk.used("bot") >= desk.spent());
        }
        let counter = desk.counter("bot");
        assert_eq!(counter.left(), Some(Amount::ZERO), "every unit was used or counted");
        assert_eq!(counter.uncertain, Amount::new(lost * ASKED));
        assert!(desk.spent() >= counter.accepted.base_units() && desk.spent() <= 20 * ASKED);
    }
}
