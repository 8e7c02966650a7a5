//! Events: told to who listens, and only to him.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, coin};
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{Amount, Event, Rule};
use std::time::Duration;

#[tokio::test]
async fn a_denial_is_told_with_its_numbers() {
    let desk = Desk::new().await;
    desk.issue("bot", 1000).await;
    desk.vault.lease("bot", &desk.withdrawal(2000)).map(drop).unwrap_err();
    let mut events = desk.vault.events();
    desk.vault.lease("bot", &desk.withdrawal(1001)).map(drop).unwrap_err();
    desk.vault.send("bot", &desk.withdrawal(1002)).await.unwrap_err();
    for amount in [1001, 1002] {
        match events.next().await.unwrap() {
            Event::Denied { label, rule, coin: denied, asked, left, .. } => {
                assert_eq!((label.as_str(), rule, denied), ("bot", Rule::Limit, Some(coin())));
                assert_eq!((asked, left), (Some(Amount::new(amount)), Some(Amount::new(1000))));
            }
            other => panic!("{other:?}"),
        }
    }
    desk.vault.close().await.unwrap();
    assert_eq!(events.next().await, None, "listening does not keep the vault open");
}

#[tokio::test]
async fn a_renewal_is_told_with_its_end() {
    let builder = Emulator::builder().internal_lifetime(Duration::from_millis(300));
    let desk = Desk::with(builder).await;
    let mut events = desk.vault.events();
    let before = desk.vault.fetch_internal("desk", "internal").await.unwrap();
    match events.next().await.unwrap() {
        Event::Renewed { label, expires_at, .. } => {
            assert_eq!(label.as_str(), "internal");
            assert!(expires_at > before.info.expires_at);
        }
        other => panic!("{other:?}"),
    }
}
