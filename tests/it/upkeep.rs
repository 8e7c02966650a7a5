//! What an operator does about copies and damage, through the vault's door: back up, restore, accept
//! a rollback, repair; and that no token spends on the word of an older copy.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, coin, options, passphrase, told, withdrawal};
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{AuditAction, Clock, Error, Label, LocalRules, Outcome, StoreError, Vault};
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
        let kind = entry.file_type().unwrap();
        match kind.is_dir() {
            true => copy(&entry.path(), &to),
            false if kind.is_file() => drop(fs::copy(entry.path(), to).unwrap()),
            // An open vault's control socket.
            false => {}
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

/// How long it is until BitGo may be asked, as the refusal says.
fn left(refused: &Error, desk: &Desk) -> Duration {
    let Error::Denied(denied) = refused else { panic!("{refused}") };
    let left = (denied.resets_at().unwrap() - desk.clock.now()).to_std().unwrap();
    assert!(left <= ON_ITS_WAY, "{left:?}");
    left + Duration::from_secs(1)
}

/// The copy is of a time when 300 were spent; 500 are by now. BitGo's own limit is off.
async fn spends_what_is_left(copy: &Vault, desk: &Desk) {
    assert_eq!(denied(copy, desk).await, "denied by unreconciled");
    let refused = copy.reconcile("mm").await.unwrap_err();
    assert_eq!(told(&refused), "denied by unreconciled");
    // What moves nothing is signed all the same.
    copy.send("desk", &desk.view()).await.unwrap();
    sleep(left(&refused, desk)).await;
    let status = copy.reconcile("mm").await.unwrap();
    assert_eq!(status.counters[&coin()].used().unwrap().base_units(), 500);
    let over = copy.send("mm", &desk.withdrawal(501)).await.unwrap_err();
    assert_eq!(told(&over), "denied by limit");
    copy.send("mm", &desk.withdrawal(500)).await.unwrap();
    assert_eq!(desk.spent(), LIMIT);
    assert_eq!(denied(copy, desk).await, "denied by limit");
    let told = crate::desk::audited(copy).await;
    assert!(told.iter().any(|(action, _)| *action == AuditAction::Reconciled), "{told:?}");
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
async fn what_bitgo_says_is_left_is_believed_once_the_opening_is_past_by_its_clock() {
    let desk = desk().await;
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup");
    desk.vault.back_up(&backup).await.unwrap();
    // BitGo's time stands still in a backup.
    sleep(Duration::from_secs(300)).await;
    let new = dir.path().join("vault");
    let restore = options(&new, desk.bitgo.environment(), &desk.clock);
    let vault = restore.restore(&backup, passphrase()).await.unwrap();
    // As an answer does that was kept on its way.
    desk.bitgo.set_clock_offset_ms(-100_000);
    sleep(ON_ITS_WAY + Duration::from_secs(1)).await;
    let refused = vault.reconcile("mm").await.unwrap_err();
    assert!(refused.to_string().contains("by bitgo's clock"), "{refused}");
    sleep(left(&refused, &desk)).await;
    vault.reconcile("mm").await.unwrap();
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
    let known: Vec<_> = db.scan_prefix([1]).map(Result::unwrap).collect();
    assert_eq!(known.len(), 2);
    for (key, value) in known {
        let [_, secret, ledger, grant] = records(&value);
        let rest = [&[], secret, ledger, grant].map(framed).concat();
        db.insert(key, rest).unwrap().unwrap();
    }
    db.flush().unwrap();
    drop(db);

    let open = || options(&path, desk.bitgo.environment(), &desk.clock);
    let report = open().doctor(Some(passphrase())).await.unwrap();
    let expect = "the vault is damaged (tokens: records were replaced; desk lacks its tokens; mm lacks \
                  its tokens): open it degraded to read what is intact, then repair it or restore a \
                  backup";
    assert_eq!(report.faults[0].to_string(), expect);
    assert_eq!(report.contents.unwrap().tokens, 2);
    assert_eq!(report.header.unwrap().kdf, KdfParams::new(8, 1, 1).unwrap());
    let refused = open().unlock(passphrase()).await.unwrap_err();
    assert!(matches!(refused, Error::Store(StoreError::Damaged { .. })), "{refused}");

    let (vault, repair) = open().repair(None, passphrase()).await.unwrap();
    let repair = repair.unwrap();
    assert_eq!(repair.unknown, ["desk", "mm"].map(|label| Label::new(label).unwrap()));
    assert!(vault.list().is_empty());
    assert_eq!(vault.reclaim().await.unwrap().len(), 2);
    assert!(vault.reclaim().await.unwrap().is_empty());
    // What its rules forbade is not known: nothing is allowed until somebody says so.
    let spend = withdrawal(desk.wallet, 1);
    assert_eq!(told(&vault.send("mm", &spend).await.unwrap_err()), "denied by action");
    for label in ["desk", "mm"] {
        let rules = LocalRules::default();
        vault.set_rules(label, rules, Some(passphrase())).await.unwrap();
    }
    let (info, was) = (vault.status("mm").unwrap().info, desk.vault.status("mm").unwrap().info);
    assert_eq!((info.id, info.scopes, info.expires_at), (was.id, was.scopes, was.expires_at));
    vault.close().await.unwrap();
    let vault = open().unlock(passphrase()).await.unwrap();
    spends_what_is_left(&vault, &desk).await;
    vault.close().await.unwrap();
    let healthy = open().doctor(Some(passphrase())).await.unwrap();
    assert_eq!(healthy.leftovers, ["damaged.0"]);
}

/// The records of a token, of the value that they stand in: the last is empty, as OAuth's alone have it.
fn records(mut value: &[u8]) -> [&[u8]; 4] {
    [(); 4].map(|()| {
        let (length, rest) = value.split_first_chunk().unwrap();
        let (record, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        value = rest;
        record
    })
}

fn framed(record: &[u8]) -> Vec<u8> {
    [&u32::try_from(record.len()).unwrap().to_le_bytes(), record].concat()
}

/// The name of a token's lineage on disk and its three records, as sled has them.
fn sealed_of(desk: &Desk, label: &str) -> Vec<Vec<u8>> {
    let export: serde_json::Value = serde_json::from_str(&desk.vault.export()).unwrap();
    let mut tokens = export["accessTokens"].as_array().unwrap().iter();
    let lineage = &tokens.find(|token| token["label"] == label).unwrap()["lineage"];
    let name = base16ct::lower::decode_vec(lineage.as_str().unwrap()).unwrap();
    let copied = tempfile::tempdir().unwrap();
    let database = copied.path().join("db");
    copy(&desk.path().join("db.0"), &database);
    let db = sled::Config::new().path(database).open().unwrap();
    let value = db.get([&[1], &name[..]].concat()).unwrap().unwrap();
    let records = records(&value).into_iter().filter(|record| !record.is_empty());
    records.map(<[u8]>::to_vec).chain([name.clone()]).collect()
}

/// How many of these bytes stand in some file.
fn found(path: &Path, needles: &[Vec<u8>]) -> usize {
    let mut bytes = Vec::new();
    each_file(path, &mut |file| bytes.extend(fs::read(file).unwrap()));
    let is_there = |needle: &&Vec<u8>| bytes.windows(needle.len()).any(|there| there == **needle);
    needles.iter().filter(is_there).count()
}

fn each_file(path: &Path, look: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => each_file(&path, look),
            false if path.is_file() => look(&path),
            false => {}
        }
    }
}

#[tokio::test]
async fn no_byte_of_a_shredded_token_is_left() {
    let desk = Desk::with(Emulator::builder()).await;
    for label in ["removed", "shredded", "kept"] {
        desk.issue(label, LIMIT).await;
        desk.vault.send(label, &desk.withdrawal(7)).await.unwrap();
    }
    // What was settled last is on disk with what is committed after it.
    desk.issue("last", LIMIT).await;
    let path = desk.path();
    let [removed, shredded, kept] =
        ["removed", "shredded", "kept"].map(|label| sealed_of(&desk, label));
    desk.vault.remove("removed").await.unwrap();
    assert_eq!(found(&path, &removed), 4, "without shredding they stay");
    assert_eq!(found(&path, &shredded), 4);
    desk.vault.remove_and_shred("shredded").await.unwrap();
    for needles in [removed, shredded] {
        assert_eq!(found(&path, &needles), 0);
    }
    assert_eq!(found(&path, &kept), 1, "its name, and it is sealed anew");
    assert_eq!(desk.used("kept"), 7);
    desk.vault.send("kept", &desk.withdrawal(1)).await.unwrap();
    let gone = desk.vault.remove_and_shred("shredded").await.unwrap_err();
    assert!(matches!(gone, Error::NoSuchToken { .. }), "{gone}");

    // What a repair has kept aside is a vault with the old key, and not to be removed unasked.
    fs::create_dir(path.join("damaged.0")).unwrap();
    let left = desk.vault.remove_and_shred("kept").await.unwrap_err();
    let expect = path.join("damaged.0");
    assert!(
        matches!(&left, Error::Store(StoreError::CopyLeft { path }) if *path == expect),
        "{left}"
    );
    assert!(desk.vault.status("kept").is_err());
    assert!(path.join("db.2").exists() && !path.join("db.1").exists());
}

/// What `strings` would print of every file: runs of four printable bytes and more. Not of the
/// reserve: a MiB of random bytes holds any three letters every few times.
fn strings(path: &Path, found: &mut Vec<String>) {
    each_file(path, &mut |file| {
        let is_random = file.file_name().is_some_and(|name| name == "RESERVE");
        let bytes = if is_random { Vec::new() } else { fs::read(file).unwrap() };
        let runs = bytes.split(|byte| !(b' '..=b'~').contains(byte)).filter(|run| run.len() >= 4);
        found.extend(runs.map(|run| String::from_utf8(run.to_vec()).unwrap()));
    });
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
    let is_token = |rest: &str| rest.len() >= 8 && rest[..8].bytes().all(|b| b.is_ascii_hexdigit());
    let tokens = found.iter().filter(|run| run.split("v2x").skip(1).any(is_token));
    assert_eq!(tokens.count(), 0);
}
