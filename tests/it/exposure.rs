//! Handing out the token itself: off unless a rule allows it, told of first, charged in full.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, audited, coin, passphrase, told};
use bitgo_vault::api::Auth;
use bitgo_vault::api::{Client, ClientSettings};
use bitgo_vault::crypto::{AuthKey, AuthVersion};
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{Amount, AuditAction, Error, Passphrase, Request};
use std::time::Duration;

const DENIED: &str = "denied by raw-exposure";

fn session() -> Request {
    Request::get("/api/v2/user/session").unwrap()
}

async fn expose(desk: &Desk, label: &str) -> Result<bitgo_vault::AccessToken, String> {
    let session = session();
    let lease = desk.vault.lease(label, &session).map_err(|error| told(&error))?;
    lease.expose_token().await.map_err(|error| told(&error))
}

#[tokio::test]
async fn a_token_stays_in_the_vault_until_a_rule_lets_it_out() {
    let desk = Desk::new().await;
    let id = desk.issue("bot", 1000).await.info.id;
    assert_eq!(expose(&desk, "bot").await.unwrap_err(), DENIED);
    let wrong = desk.vault.dangerous_allow_raw_exposure("bot", Passphrase::new("wrong")).await;
    assert_eq!(told(&wrong.unwrap_err()), "wrong passphrase");
    assert_eq!(expose(&desk, "bot").await.unwrap_err(), DENIED);
    assert_eq!(audited(&desk.vault).await, []);
    assert_eq!(desk.used("bot"), 0, "what is refused is not charged");
    let unknown = desk.vault.dangerous_allow_raw_exposure("nobody", passphrase()).await;
    assert_eq!(
        told(&unknown.unwrap_err()),
        "no token is kept as nobody: issue it, or list the labels"
    );

    desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.unwrap();
    let token = expose(&desk, "bot").await.unwrap();
    assert!(desk.bitgo.secrets().contains(&token.expose().to_owned()), "it is the token");
    let clock = desk.clock.clone();
    let client = Client::new(desk.bitgo.environment(), clock, ClientSettings::default()).unwrap();
    let key = AuthKey::new(&token);
    assert_eq!(client.session(Auth::Hmac(&key, AuthVersion::V3)).await.unwrap().id, id);

    let desk = desk.reopened().await;
    assert!(desk.vault.status("bot").unwrap().rules.raw_exposure, "the rule is kept");
    desk.vault.forbid_raw_exposure("bot").await.unwrap();
    assert_eq!(expose(&desk, "bot").await.unwrap_err(), DENIED);
    let desk = desk.reopened().await;
    assert_eq!(expose(&desk, "bot").await.unwrap_err(), DENIED);
    let told = audited(&desk.vault).await;
    assert_eq!(
        told,
        [
            (AuditAction::ExposureAllowed, Some(id)),
            (AuditAction::Exposed, Some(id)),
            (AuditAction::ExposureForbidden, Some(id))
        ]
    );
}

/// What a raw token spends is not seen here, so all of its budget counts as spent.
#[tokio::test]
async fn an_exposed_token_that_can_spend_has_spent_its_limit() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    desk.vault.send("bot", &desk.withdrawal(100)).await.unwrap();
    desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.unwrap();
    let in_flight = desk.withdrawal(200);
    let in_flight = desk.vault.lease("bot", &in_flight).unwrap();
    let exposed = desk.withdrawal(50);
    desk.vault.lease("bot", &exposed).unwrap().expose_token().await.unwrap();

    let counter = desk.counter("bot");
    assert_eq!((counter.accepted, counter.left()), (Amount::new(100), Some(Amount::ZERO)));
    let refused = desk.vault.lease("bot", &desk.withdrawal(1)).map(drop).unwrap_err();
    assert_eq!(told(&refused), "denied by limit");
    // What had been reserved before stays charged too: from here on nothing frees budget.
    drop(in_flight);
    assert_eq!(desk.used("bot"), 1000);
    let desk = desk.reopened().await;
    assert_eq!(desk.used("bot"), 1000, "the charge is kept");
}

#[tokio::test]
async fn a_token_that_cannot_spend_is_exposed_at_no_charge() {
    let desk = Desk::new().await;
    let viewer = crate::desk::bot("viewer").scope("wallet_view_all".parse().unwrap());
    desk.mint(viewer.spending_limit(&coin(), Amount::new(1000))).await;
    desk.vault.dangerous_allow_raw_exposure("viewer", passphrase()).await.unwrap();
    expose(&desk, "viewer").await.unwrap();
    assert_eq!(desk.used("viewer"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_void_lease_exposes_nothing() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.unwrap();
    let session = session();
    let lease = desk.vault.lease("bot", &session).unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    let error = lease.expose_token().await.unwrap_err();
    assert_eq!(told(&error), "the lease is void (it is too old): take a new one");
    let lease = desk.vault.lease("bot", &session).unwrap();
    desk.vault.forbid_raw_exposure("bot").await.unwrap();
    lease.expose_token().await.unwrap_err();
    let told = desk.vault.audit().await.unwrap();
    assert!(told.iter().all(|entry| entry.action != AuditAction::Exposed), "{told:?}");
    assert_eq!(desk.used("bot"), 0);
}

/// A renewal that comes at the same time carries the rule as it is, not as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_outlives_the_renewals_beside_it() {
    let builder = Emulator::builder().internal_lifetime(Duration::from_millis(300));
    let desk = Desk::with(builder).await;
    desk.vault.fetch_internal("desk", "internal").await.unwrap();
    let allowed = || desk.vault.status("internal").unwrap().rules.raw_exposure;
    while desk.vault.status("internal").unwrap().renewals < 8 {
        desk.vault.dangerous_allow_raw_exposure("internal", passphrase()).await.unwrap();
        assert!(allowed());
        desk.vault.forbid_raw_exposure("internal").await.unwrap();
        tokio::task::yield_now().await;
        assert!(!allowed(), "a renewal brought the old rule back");
    }
    let before = desk.vault.status("internal").unwrap();
    let desk = desk.reopened().await;
    let after = desk.vault.status("internal").unwrap();
    assert!(after.info.expires_at >= before.info.expires_at);
    assert!(!after.rules.raw_exposure, "nor did it come back on disk");
}

/// A rule that is changed while its token is removed must not leave half a token behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_beside_a_change_of_rules_leaves_a_store_that_opens() {
    let desk = Desk::new().await;
    for number in 0..60 {
        let label = format!("bot {number}");
        desk.issue(&label, 1).await;
        let (vault, changed) = (desk.vault.clone(), label.clone());
        let change = tokio::spawn(async move { vault.forbid_raw_exposure(&changed).await });
        std::thread::sleep(Duration::from_micros(10 * number));
        desk.vault.remove(&label).await.unwrap();
        let _either_way = change.await.unwrap();
        assert!(desk.vault.status(&label).is_err());
    }
    assert_eq!(desk.reopened().await.vault.list().len(), 1);
}

/// What is handed out is handed out before the rule is gone, and the audit log says so.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_handed_out_once_it_is_forbidden_or_removed() {
    let desk = Desk::new().await;
    let view = desk.view();
    let viewer = |label: &str| crate::desk::bot(label).scope("wallet_view_all".parse().unwrap());
    for round in 0..100 {
        let label = &format!("bot {round}");
        let id = desk.mint(viewer(label)).await.info.id;
        desk.vault.dangerous_allow_raw_exposure(label, passphrase()).await.unwrap();
        let lease = || desk.vault.lease(label, &view).unwrap();
        let (racing, late) = (lease(), lease());
        let is_forbidden = round % 2 == 0;
        let end = async {
            tokio::time::sleep(Duration::from_micros(20 * (round % 10))).await;
            match is_forbidden {
                true => desk.vault.forbid_raw_exposure(label).await.unwrap(),
                false => desk.vault.remove(label).await.unwrap(),
            }
        };
        let (exposed, ()) = tokio::join!(racing.expose_token(), end);
        let late = late.expose_token().await.map(drop);
        assert!(matches!(late, Err(Error::LeaseVoid { .. })), "{late:?}");

        let audit = audited(&desk.vault).await.into_iter();
        let audit: Vec<_> =
            audit.filter(|entry| entry.1 == Some(id)).map(|entry| entry.0).collect();
        let handed_out = audit.iter().filter(|what| **what == AuditAction::Exposed).count();
        assert_eq!(handed_out, usize::from(exposed.is_ok()), "{audit:?}");
        let forbidden = audit.iter().position(|what| *what == AuditAction::ExposureForbidden);
        assert_eq!(forbidden.is_some(), is_forbidden, "{audit:?}");
        assert!(forbidden.is_none_or(|at| at + 1 == audit.len()), "{audit:?}");
    }
}
