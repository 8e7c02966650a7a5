//! A vault that exists tells itself which BitGo it speaks to.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, options, passphrase, set_up};
use bitgo_vault::emulator::Emulator;
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{Environment, Error, StoreError, Vault};
use std::path::Path;
use std::sync::Arc;

fn refused(opened: Result<Vault, Error>) -> StoreError {
    match opened.map(drop).unwrap_err() {
        Error::Store(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_vault_is_reopened_at_the_bitgo_it_was_made_for() {
    let desk = Desk::empty(Emulator::builder()).await;
    let (path, clock, login) = (desk.path(), desk.clock.clone(), desk.login());
    let (bitgo, _dir) = desk.closed().await;
    let vault = set_up(Vault::reopen(&path), &clock).unlock(passphrase()).await.unwrap();
    assert_eq!(vault.environment(), bitgo.environment());
    vault.login("desk", login).await.unwrap();
    vault.close().await.unwrap();

    let other = Environment::custom("https://bitgo.example", bitgo.server_xpub()).unwrap();
    let opened = options(&path, &other, &clock).unlock(passphrase()).await;
    assert!(matches!(refused(opened), StoreError::OtherEnvironment { .. }));
    for pinned in [Environment::Prod, Environment::Test] {
        let opened = options(&path, &pinned, &clock).unlock(passphrase()).await;
        assert!(matches!(refused(opened), StoreError::OtherEnvironment { .. }), "{pinned}");
    }
}

#[tokio::test]
async fn a_pinned_environment_comes_back_as_itself() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(TokioClock::new()));
    for pinned in [Environment::Prod, Environment::Test] {
        let path = dir.path().join(pinned.root_uri().replace('/', ""));
        let made = options(&path, &pinned, &clock).create(passphrase()).await.unwrap();
        made.close().await.unwrap();
        for degraded in [false, true] {
            let reopen = set_up(Vault::reopen(&path), &clock);
            let vault = match degraded {
                true => reopen.unlock_degraded(passphrase()).await.unwrap(),
                false => reopen.unlock(passphrase()).await.unwrap(),
            };
            assert_eq!(*vault.environment(), pinned);
            vault.close().await.unwrap();
        }
        let (vault, repair) =
            set_up(Vault::reopen(&path), &clock).repair(None, passphrase()).await.unwrap();
        assert_eq!((vault.environment(), repair), (&pinned, None));
        vault.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_backup_tells_it_as_well() {
    let desk = Desk::new().await;
    let dir = tempfile::tempdir().unwrap();
    let (backup, path) = (dir.path().join("backup"), dir.path().join("vault"));
    desk.vault.back_up(&backup).await.unwrap();
    let restored = set_up(Vault::reopen(&path), &desk.clock).restore(&backup, passphrase()).await;
    let vault = restored.unwrap();
    assert_eq!(vault.environment(), desk.bitgo.environment());
    vault.send("desk", &desk.view()).await.unwrap();
}

#[tokio::test]
async fn what_does_not_exist_cannot_tell_it() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(TokioClock::new()));
    let path = dir.path().join("vault");
    let reopen = |path: &Path| set_up(Vault::reopen(path), &clock);
    let created = reopen(&path).create(passphrase()).await;
    assert!(matches!(refused(created), StoreError::NoEnvironment));
    assert!(!path.exists(), "nothing was made");
    let opened = reopen(&path).unlock(passphrase()).await;
    assert!(matches!(refused(opened), StoreError::NotFound { .. }));
}
