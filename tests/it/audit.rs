//! What the audit log tells of requests: counted by the minute, written within a second, verified
//! elsewhere.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, coin, options, passphrase};
use crate::victim::{self, Victim, say};
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    Amount, AuditAction, AuditEntry, Environment, Vault, WalletId, verify_audit_lines,
};
use chrono::TimeDelta;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.mint(desk.spender("bot", 1000).scope("wallet_view_all".parse().unwrap())).await;
    desk
}

/// The entries of these actions.
async fn told(vault: &Vault, actions: &[AuditAction]) -> Vec<AuditEntry> {
    let entries = vault.audit().await.unwrap().into_iter();
    entries.filter(|entry| actions.contains(&entry.action)).collect()
}

#[tokio::test]
async fn who_follows_the_log_is_told_each_entry_once() {
    let desk = desk().await;
    let (mut told, mut next) = (Vec::new(), 0);
    // More than a segment of 48, so that one is sealed on the way.
    for round in 0..60 {
        desk.vault.forbid_raw_exposure("bot").await.unwrap();
        if round % 7 == 0 {
            let new = desk.vault.audit_since(next).await.unwrap();
            next = new.last().map_or(next, |last| last.number + 1);
            told.extend(new);
        }
    }
    told.extend(desk.vault.audit_since(next).await.unwrap());
    let all = desk.vault.audit().await.unwrap();
    assert!(all.len() > 48 && told == all);
    assert_eq!(desk.vault.audit_since(40).await.unwrap(), all[40..]);
    assert_eq!(desk.vault.audit_since(u64::MAX).await.unwrap(), []);
}

#[tokio::test]
async fn requests_are_one_entry_a_minute_with_their_sum_and_ids() {
    use AuditAction::{Denied, Signed, Viewed};
    let desk = desk().await;
    let (view, id) = (desk.view(), desk.vault.status("bot").unwrap().info.id);
    let first = desk.vault.send("bot", &desk.withdrawal(3)).await.unwrap().request_id();
    desk.vault.send("bot", &desk.withdrawal(4)).await.unwrap();
    let spend = desk.withdrawal(5);
    let last = desk.vault.lease("bot", &spend).unwrap().sign().unwrap();
    for _ in 0..3 {
        drop(desk.vault.lease("bot", &view).unwrap().sign().unwrap());
        desk.vault.lease("bot", &desk.withdrawal(5000)).map(drop).unwrap_err();
    }
    drop(desk.vault.lease("bot", &view).unwrap());
    assert_eq!(told(&desk.vault, &[Signed, Viewed, Denied]).await, [], "the minute is not over");
    desk.clock.jump(TimeDelta::seconds(61));
    for _ in 0..100 {
        if !told(&desk.vault, &[Signed]).await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let entries = told(&desk.vault, &[Signed, Viewed, Denied]).await;
    let [signed, viewed, denied] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((signed.action, signed.count, signed.token_id), (Signed, 3, Some(id)));
    assert_eq!((signed.coin.clone(), signed.amount), (Some(coin()), Some(Amount::new(12))));
    assert_eq!(signed.first_request, Some(first.to_string()));
    assert_eq!(signed.last_request, Some(last.request_id().to_string()));
    assert!(signed.since < signed.at);
    assert_eq!((viewed.action, viewed.count, viewed.amount), (Viewed, 3, None));
    assert_eq!((denied.action, denied.count, denied.rule.as_deref()), (Denied, 3, Some("limit")));
    drop(last);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    let file = fs::File::create(&path).unwrap();
    let exported = desk.vault.export_audit(None, None, file).await.unwrap();
    let lines = fs::read_to_string(&path).unwrap();
    assert_eq!(verify_audit_lines(lines.as_bytes()).unwrap(), exported);
    assert_eq!(desk.vault.verify_audit().await.unwrap(), exported);
    for secret in desk.bitgo.secrets() {
        assert!(!lines.contains(&secret));
    }
    assert!(!lines.contains("tb1qexample") && !lines.contains("bot"), "no body, no label");
}

/// What was counted is written by a close, and told by the next process.
#[tokio::test]
async fn a_close_writes_what_was_counted() {
    let desk = desk().await;
    desk.vault.send("bot", &desk.withdrawal(3)).await.unwrap();
    desk.vault.send("bot", &desk.view()).await.unwrap();
    let desk = desk.reopened().await;
    let entries = desk.vault.audit().await.unwrap();
    let entries: Vec<_> = entries.iter().map(|entry| (entry.action, entry.count)).collect();
    let came = [(AuditAction::LoggedIn, 1), (AuditAction::Issued, 1)];
    let counted = [(AuditAction::Signed, 1), (AuditAction::Viewed, 1)];
    assert_eq!(entries, [came, counted].concat(), "and no gap");
}

/// The child: spends once a line, and lives on.
#[test]
fn a_vault_spends_until_it_is_killed() {
    let Some(given) = victim::given() else { return };
    let [path, url, xpub, wallet] = &given[..] else { panic!("{given:?}") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let environment = Environment::custom(url, xpub).unwrap();
        let options = options(Path::new(path), &environment, &Arc::new(TokioClock::new()));
        let vault = options.unlock(passphrase()).await.unwrap();
        let wallet: WalletId = wallet.parse().unwrap();
        for _ in 0..5 {
            vault.send("bot", &crate::desk::withdrawal(wallet, 2)).await.unwrap();
        }
        // One is on its way when the end comes.
        let request = crate::desk::withdrawal(wallet, 2);
        let signed = vault.lease("bot", &request).unwrap().sign().unwrap();
        say("signed");
        thread::sleep(Duration::from_secs(60));
        drop(signed);
    });
}

#[tokio::test]
async fn what_a_killed_process_signed_is_told_within_a_second_and_the_gap_is_named() {
    let desk = desk().await;
    let id = desk.vault.status("bot").unwrap().info.id;
    let (path, wallet) = (desk.path(), desk.wallet.to_string());
    let options = desk.options();
    let (bitgo, _dir) = desk.closed().await;
    let given = [path.to_str().unwrap(), bitgo.url(), bitgo.server_xpub(), &wallet];
    let child = Victim::start("audit::a_vault_spends_until_it_is_killed", &given);
    // Another thread answers the child while this one listens.
    let child = tokio::task::spawn_blocking(move || {
        while child.hear() != "signed" {}
        child
    });
    let child = child.await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    child.kill();
    let vault = options.unlock(passphrase()).await.unwrap();
    let signed = told(&vault, &[AuditAction::Signed]).await;
    assert_eq!(signed.len(), 1, "{signed:?}");
    assert_eq!((signed[0].count, signed[0].amount), (6, Some(Amount::new(12))));
    let gaps = told(&vault, &[AuditAction::Gap]).await;
    assert_eq!(gaps.iter().map(|gap| gap.token_id).collect::<Vec<_>>(), [Some(id)]);
    vault.verify_audit().await.unwrap();
}

#[tokio::test]
async fn how_tokens_come_and_go_is_told() {
    use AuditAction::{Fetched, Imported, Issued, LoggedIn, LoggedOut, RevocationAsked, Revoked};
    let desk = desk().await;
    let id = |label: &str| desk.vault.status(label).unwrap().info.id;
    desk.vault.fetch_internal("desk", "internal").await.unwrap();
    let (session, bot, internal) = (id("desk"), id("bot"), id("internal"));
    desk.vault.revoke("bot").await.unwrap();
    desk.vault.logout("desk").await.unwrap();
    let actions = [Fetched, Imported, Issued, LoggedIn, LoggedOut, RevocationAsked, Revoked];
    let entries = told(&desk.vault, &actions).await.into_iter();
    let entries: Vec<_> = entries.map(|entry| (entry.action, entry.token_id.unwrap())).collect();
    let expect = [
        (LoggedIn, session),
        (Issued, bot),
        (Fetched, internal),
        (RevocationAsked, bot),
        (Revoked, bot),
        (LoggedOut, session),
    ];
    assert_eq!(entries, expect);
    desk.vault.verify_audit().await.unwrap();
}
