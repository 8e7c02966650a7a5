//! What an operator does about copies and damage, through the vault's door: back up, restore, accept
//! a rollback, repair; and that no token spends on the word of an older copy.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, coin, options, passphrase, told};
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{Error, Label, Outcome, StoreError, Vault};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

const LIMIT: u128 = 1000;
/// What was signed before an opening may still be on its way for as long.
const ON_ITS_WAY: Duration = Duration::from_secs(600);

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.as_ref().unwrap(), to.join(entry.as_ref().unwrap().file_name()));
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

async fn spend(desk: &Desk, amount: u128) {
    let answer = desk.vault.send("mm", &desk.withdrawal(amount)).await.unwrap();
    assert_eq!(answer.outcome(), Outcome::Accepted);
}

async fn denied(vault: &Vault, desk: &Desk) -> String {
    told(&vault.send("mm", &desk.withdrawal(1)).await.unwrap_err())
}

/// The copy is of a time when 300 were spent; 500 are by now. BitGo's own limit is off.
async fn spends_what_is_left(copy: &Vault, desk: &Desk) {
    assert_eq!(denied(copy, desk).await, "denied by unreconciled");
    assert_eq!(told(&copy.reconcile("mm").await.unwrap_err()), "denied by unreconciled");
    // What moves nothing is signed all the same.
    copy.send("desk", &desk.view()).await.unwrap();
    sleep(ON_ITS_WAY + Duration::from_secs(1)).await;
    let status = copy.reconcile("mm").await.unwrap();
    assert_eq!(status.counters[&coin()].used().unwrap().base_units(), 500);
    let over = copy.send("mm", &desk.withdrawal(501)).await.unwrap_err();
    assert_eq!(told(&over), "denied by limit");
    copy.send("mm", &desk.withdrawal(500)).await.unwrap();
    assert_eq!(desk.spent(), LIMIT);
    assert_eq!(denied(copy, desk).await, "denied by limit");
    let told: Vec<_> = copy.audit().await.unwrap();
    assert!(told.iter().any(|entry| format!("{:?}", entry.1) == "Reconciled"), "{told:?}");
}

async fn desk() -> Desk {
    let desk = Desk::with(Emulator::builder().without_limits()).await;
    desk.issue("mm", LIMIT).await;
    spend(&desk, 300).await;
    desk
}

#[tokio::test(start_paused = true)]
async fn a_restored_vault_spends_what_bitgo_says_is_left() {
    let desk = desk().await;
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup");
    desk.vault.back_up(&backup).await.unwrap();
    spend(&desk, 200).await;
    let new = dir.path().join("vault");
    let restore = || options(&new, desk.bitgo.environment(), &desk.clock);
    let wrong = restore().restore(&backup, bitgo_vault::Passphrase::new("wrong")).await;
    assert!(matches!(wrong, Err(Error::Store(StoreError::WrongPassphrase))));
    let vault = restore().restore(&backup, passphrase()).await.unwrap();
    assert_eq!(vault.list().len(), 2);
    // The original cannot spend beside it: from here on it is the copy that does.
    spends_what_is_left(&vault, &desk).await;
}

#[tokio::test(start_paused = true)]
async fn an_accepted_rollback_spends_what_bitgo_says_is_left() {
    let desk = desk().await.reopened().await;
    let old = tempfile::tempdir().unwrap();
    let path = desk.path();
    copy(&path, &old.path().join("vault"));
    spend(&desk, 200).await;
    let anchor = path.join("anchor");
    let newest = fs::read(&anchor).unwrap();
    fs::write(old.path().join("vault/anchor"), newest).unwrap();
    let open = || options(&old.path().join("vault"), desk.bitgo.environment(), &desk.clock);
    let refused = open().unlock(passphrase()).await.unwrap_err();
    assert!(matches!(refused, Error::Store(StoreError::RolledBack { .. })), "{refused}");
    let degraded = open().unlock_degraded(passphrase()).await.unwrap();
    assert!(degraded.damage().is_none(), "it is whole, and not the last");
    degraded.send("desk", &desk.view()).await.unwrap();
    let refused = degraded.send("mm", &desk.withdrawal(1)).await.unwrap_err();
    assert!(matches!(refused, Error::Store(StoreError::Degraded)), "{refused}");
    degraded.close().await.unwrap();
    let accepted = open().dangerous_accept_rollback().unlock(passphrase()).await.unwrap();
    spends_what_is_left(&accepted, &desk).await;
}

/// Of each token the database has lost what is known of it, and nothing else.
#[tokio::test(start_paused = true)]
async fn tokens_that_are_all_that_is_left_are_described_by_bitgo() {
    let desk = desk().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    copy(&desk.path(), &path);
    spend(&desk, 200).await;
    let db = sled::Config::new().path(path.join("db.0")).open().unwrap();
    let known: Vec<_> = db.scan_prefix([1]).keys().map(Result::unwrap).collect();
    assert_eq!(known.len(), 2);
    known.iter().for_each(|key| drop(db.remove(key).unwrap()));
    db.flush().unwrap();
    drop(db);

    let open = || options(&path, desk.bitgo.environment(), &desk.clock);
    let report = open().doctor(Some(passphrase())).await.unwrap();
    let expect = "the vault is damaged (tokens: 0 of 2 records are left; desk lacks its tokens; mm lacks \
                  its tokens): open it degraded to read what is intact, then repair it or restore a \
                  backup";
    assert_eq!(report.faults[0].to_string(), expect);
    assert_eq!(report.contents.unwrap().tokens, 0);
    assert_eq!(report.header.unwrap().kdf, KdfParams::new(8, 1, 1).unwrap());
    let refused = open().unlock(passphrase()).await.unwrap_err();
    assert!(matches!(refused, Error::Store(StoreError::Damaged { .. })), "{refused}");

    let (vault, repair) = open().repair(None, passphrase()).await.unwrap();
    let repair = repair.unwrap();
    assert_eq!(repair.unknown, ["desk", "mm"].map(|label| Label::new(label).unwrap()));
    assert!(vault.list().is_empty());
    assert_eq!(vault.reclaim().await.unwrap().len(), 2);
    assert!(vault.reclaim().await.unwrap().is_empty());
    let (info, was) = (vault.status("mm").unwrap().info, desk.vault.status("mm").unwrap().info);
    assert_eq!((info.id, info.scopes, info.expires_at), (was.id, was.scopes, was.expires_at));
    vault.close().await.unwrap();
    let vault = open().unlock(passphrase()).await.unwrap();
    spends_what_is_left(&vault, &desk).await;
    vault.close().await.unwrap();
    let healthy = open().doctor(Some(passphrase())).await.unwrap();
    assert_eq!(healthy.leftovers, ["damaged.0"]);
}

/// What `strings` would print of every file: runs of four printable bytes and more.
fn strings(path: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            strings(&path, found);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let runs = bytes.split(|byte| !(b' '..=b'~').contains(byte)).filter(|run| run.len() >= 4);
        found.extend(runs.map(|run| String::from_utf8(run.to_vec()).unwrap()));
    }
}

#[tokio::test]
async fn strings_finds_no_label_coin_or_address_in_a_vault_or_its_backup() {
    let desk = Desk::with(Emulator::builder()).await;
    for label in ["market-maker-eu", "treasury-sweeper"] {
        desk.issue(label, LIMIT).await;
        desk.vault.send(label, &desk.withdrawal(7)).await.unwrap();
    }
    desk.vault.back_up(desk.path().join("backup")).await.unwrap();
    desk.vault.rekey().await.unwrap();
    let mut found = Vec::new();
    strings(&desk.path(), &mut found);
    let holds = |text: &str| found.iter().any(|run| run.to_lowercase().contains(text));
    assert!(holds("bgvault") && holds("bgbackup") && holds("bganchor"), "the search finds magics");
    let email = desk.bitgo.email().to_lowercase();
    let (user, host) = email.split_once('@').unwrap();
    let wallet = desk.wallet.to_string();
    for text in [
        "market",
        "maker",
        "treasury",
        "sweeper",
        "tbtc",
        "wallet",
        "spend",
        "desk",
        "v2x",
        "xprv",
        "bitgo",
        "127.0.0.1",
        user,
        host,
        &wallet,
        "tb1q",
    ] {
        assert!(!holds(text), "{text} can be read");
    }
}
