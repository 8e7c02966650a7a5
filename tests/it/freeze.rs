//! The kill switch: from inside, from another process, over all that a vault goes through.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, audited, options, passphrase, told, until};
use crate::victim::{self, Victim, kills, random, say};
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{AuditAction, Environment, Event, Passphrase, Vault};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const FROZEN: &str = "denied by frozen";
const VOID: &str = "the lease is void (the vault was frozen meanwhile): take a new one";

/// What a frozen vault refuses: all of it.
async fn check_gives_nothing(desk: &Desk) {
    let (view, spend) = (desk.view(), desk.withdrawal(1));
    for request in [&view, &spend] {
        assert_eq!(told(&desk.vault.lease("bot", request).map(drop).unwrap_err()), FROZEN);
        let waited = desk.vault.lease_wait("bot", request).await.map(drop);
        assert_eq!(told(&waited.unwrap_err()), FROZEN);
        assert_eq!(told(&desk.vault.send("bot", request).await.unwrap_err()), FROZEN);
    }
}

async fn check_gives(desk: &Desk) {
    desk.vault.send("bot", &desk.withdrawal(1)).await.unwrap();
    drop(desk.vault.lease("bot", &desk.view()).unwrap().sign().unwrap());
}

/// A desk with a token that views, spends and may be handed out.
async fn desk() -> Desk {
    let desk = Desk::new().await;
    let bot = desk.spender("bot", 1000).scope("wallet_view_all".parse().unwrap());
    desk.mint(bot).await;
    desk.vault.dangerous_allow_raw_exposure("bot", passphrase()).await.unwrap();
    desk
}

#[tokio::test]
async fn a_frozen_vault_gives_nothing_until_the_passphrase_thaws_it() {
    let desk = desk().await;
    let (view, spend) = (desk.view(), desk.withdrawal(10));
    let lease = |request| desk.vault.lease("bot", request).unwrap();
    let (signs, exposes, late) = (lease(&spend), lease(&view), lease(&spend));
    let mut events = desk.vault.events();
    assert!(!desk.vault.is_frozen());
    desk.vault.freeze().await.unwrap();
    assert!(desk.vault.is_frozen());
    assert_eq!(events.next().await, Some(Event::Frozen));
    assert_eq!(told(&signs.sign().map(drop).unwrap_err()), FROZEN);
    assert_eq!(told(&exposes.expose_token().await.map(drop).unwrap_err()), FROZEN);
    check_gives_nothing(&desk).await;

    let wrong = desk.vault.thaw(Passphrase::new("wrong")).await.unwrap_err();
    assert_eq!(told(&wrong), "wrong passphrase");
    check_gives_nothing(&desk).await;
    desk.vault.thaw(passphrase()).await.unwrap();
    assert!(!desk.vault.is_frozen() && !desk.path().join("FREEZE").exists());
    assert_eq!(told(&late.sign().map(drop).unwrap_err()), VOID, "it died with the freeze");
    assert_eq!(desk.used("bot"), 0, "what was not signed is given back");
    check_gives(&desk).await;
    let told = audited(&desk.vault).await;
    let told: Vec<_> = told.into_iter().map(|(action, _)| action).collect();
    let expect = [AuditAction::ExposureAllowed, AuditAction::Frozen, AuditAction::Thawed];
    assert_eq!(told, expect, "once each, and nothing was handed out");
}

/// The child: another process, without the passphrase.
#[test]
fn another_process_freezes() {
    let Some(given) = victim::given() else { return };
    Vault::freeze_at(&given[0]).unwrap();
    say("frozen");
    thread::sleep(Duration::from_secs(60));
}

fn freeze_from_outside(path: &Path) {
    let child = Victim::start("freeze::another_process_freezes", &[path.to_str().unwrap()]);
    while child.hear() != "frozen" {}
    child.kill();
}

/// The runtime is blocked all the while: whatever the bot does, it is seen.
#[tokio::test]
async fn a_running_vault_is_frozen_from_outside_within_a_second() {
    let desk = desk().await;
    freeze_from_outside(&desk.path());
    thread::sleep(Duration::from_secs(1));
    assert!(desk.vault.is_frozen());
    check_gives_nothing(&desk).await;
    // The record is written at once as well: from then on the file decides nothing.
    let path = desk.path();
    until(|| desk.vault.is_frozen()).await;
    thread::sleep(Duration::from_secs(1));
    fs::remove_file(path.join("FREEZE")).unwrap();
    thread::sleep(Duration::from_millis(600));
    check_gives_nothing(&desk).await;
    let desk = desk.reopened().await;
    check_gives_nothing(&desk).await;
}

/// Before budget is taken for a spend the directory is looked at, however lately that was done.
#[tokio::test]
async fn no_spend_begins_once_the_file_is_there() {
    let desk = desk().await;
    for _ in 0..5 {
        Vault::freeze_at(desk.path()).unwrap();
        // More than may be allotted.
        let refused = desk.vault.lease("bot", &desk.withdrawal(500)).map(drop).unwrap_err();
        assert_eq!(told(&refused), FROZEN);
        desk.vault.thaw(passphrase()).await.unwrap();
        check_gives(&desk).await;
    }
}

#[tokio::test]
async fn a_vault_that_was_frozen_while_it_was_closed_opens_frozen() {
    let desk = desk().await;
    let path = desk.path();
    let desk = desk.reopened_after(|| fs::write(path.join("FREEZE"), "by hand").unwrap()).await;
    assert!(desk.vault.is_frozen());
    check_gives_nothing(&desk).await;
    fs::remove_file(desk.path().join("FREEZE")).unwrap();
    let desk = desk.reopened().await;
    check_gives_nothing(&desk).await;
    desk.vault.thaw(passphrase()).await.unwrap();
    check_gives(&desk).await;
    check_gives(&desk.reopened().await).await;
}

#[tokio::test]
async fn it_stays_frozen_over_rekey_and_in_copies() {
    let desk = desk().await;
    desk.vault.freeze().await.unwrap();
    desk.vault.rekey().await.unwrap();
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = dir.path().join("backup");
    desk.vault.back_up(&backup).await.unwrap();
    fs::remove_file(desk.path().join("FREEZE")).unwrap();
    let desk = desk.reopened().await;
    check_gives_nothing(&desk).await;

    let place = copy.path().join("vault");
    let restored = options(&place, desk.bitgo.environment(), &desk.clock);
    let restored = restored.restore(&backup, passphrase()).await.unwrap();
    assert!(restored.is_frozen());
    let refused = restored.lease("bot", &desk.view()).map(drop).unwrap_err();
    assert_eq!(told(&refused), FROZEN);
}

#[test]
fn only_a_vault_can_be_frozen() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("nothing")] {
        let error = Vault::freeze_at(&path).unwrap_err();
        assert_eq!(told(&error), format!("no vault at {}: create one first", path.display()));
    }
    assert!(!dir.path().join("FREEZE").exists());
}

/// The child: freezes and thaws, and says what it is about to do and what is done.
#[test]
fn a_vault_is_frozen_and_thawed_until_it_is_killed() {
    let Some(given) = victim::given() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(TokioClock::new());
        let options = options(Path::new(&given[0]), &Environment::Test, &clock);
        let vault = options.unlock(passphrase()).await.unwrap();
        for round in 0.. {
            say("freezing");
            match round % 2 {
                0 => vault.freeze().await.unwrap(),
                _ => Vault::freeze_at(&given[0]).unwrap(),
            }
            say("frozen");
            say("thawing");
            // What another process has asked for and nobody has seen yet is not thawed by chance.
            until(|| vault.is_frozen()).await;
            vault.thaw(passphrase()).await.unwrap();
            say("thawed");
            tokio::time::sleep(Duration::from_millis(random(20))).await;
        }
    });
}

/// What was acknowledged last holds, whenever the kill comes.
#[tokio::test]
async fn no_kill_thaws_or_loses_a_freeze() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    let clock = Arc::new(TokioClock::new());
    let options = || options(&path, &Environment::Test, &clock);
    options().create(passphrase()).await.unwrap().close().await.unwrap();
    let (mut frozen, mut thawed) = (0, 0);
    for _ in 0..kills(12) {
        let test = "freeze::a_vault_is_frozen_and_thawed_until_it_is_killed";
        let child = Victim::start(test, &[path.to_str().unwrap()]);
        while child.hear() != "freezing" {}
        thread::sleep(Duration::from_micros(random(400_000)));
        let words = ["freezing", "frozen", "thawing", "thawed"];
        let said = child.kill().into_iter().rfind(|line| words.contains(&line.as_str()));
        let vault = options().unlock(passphrase()).await.unwrap();
        match said.as_deref() {
            Some("frozen") => assert!(vault.is_frozen(), "a freeze was lost"),
            Some("thawed") => assert!(!vault.is_frozen(), "what was thawed is frozen"),
            _ => {}
        }
        match vault.is_frozen() {
            true => frozen += 1,
            false => thawed += 1,
        }
        vault.thaw(passphrase()).await.unwrap();
        vault.close().await.unwrap();
    }
    eprintln!("killed {} times: {frozen} times it was frozen, {thawed} times not", kills(12));
}
