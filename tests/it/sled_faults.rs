//! What sled is known to do, as far as it is seen from outside the store.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, passphrase};
use rustix::fs::Mode;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const CHILD: &str = "BITGO_VAULT_SLED_FAULTS_CHILD";

/// `flush_async` deadlocks (sled #1308), and so does any call of the database inside a
/// transaction (#1134): the one flush there is comes after the one transaction.
#[test]
fn sled_is_flushed_in_one_place_and_outside_of_transactions() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut flushes = Vec::new();
    let mut transactions = Vec::new();
    let mut files = 0;
    for entry in fs::read_dir(store).unwrap() {
        let path = entry.unwrap().path();
        // What tests do to sled on its own is theirs.
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<_> =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        files += 1;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!code.contains("flush_async"), "{name} deadlocks");
        for (at, _) in code.match_indices("Config::new()") {
            let settings = code[at..].split(';').next().unwrap();
            assert!(settings.contains(".flush_every_ms(None)"), "{name} flushes by the clock");
            assert!(settings.contains(".cache_capacity("), "{name} takes 1 GB for its cache");
        }
        flushes.extend(code.matches(".flush()").map(|_| name.clone()));
        for (at, _) in code.match_indices(".transaction(") {
            let body = balanced(&code[at + ".transaction".len()..]);
            for call in ["flush", "db.", "open_tree", "size_on_disk", "generate_id", "commit("] {
                assert!(!body.contains(call), "{name}: a transaction calls {call}");
            }
            transactions.push(name.clone());
        }
    }
    assert!(files > 10, "{files} files were found");
    assert_eq!(flushes, ["database.rs"]);
    assert!(transactions.is_empty(), "{transactions:?}: a batch costs less");
}

/// From a bracket to the one that closes it.
fn balanced(code: &str) -> &str {
    let mut open = 0;
    for (at, letter) in code.char_indices() {
        open += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if open == 0 {
            return &code[..at];
        }
    }
    panic!("it is never closed");
}

/// sled makes its files as the umask says, some of them at each opening.
#[tokio::test]
async fn what_sled_makes_later_is_for_its_owner_alone() {
    let test = "sled_faults::what_sled_makes_later_is_for_its_owner_alone";
    if env::var(CHILD).is_ok() {
        rustix::process::umask(Mode::empty());
        return work_and_look().await;
    }
    let ended = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

async fn work_and_look() {
    let mut desk = Desk::new().await;
    desk.issue("bot", 1 << 60).await;
    // Whole pages of it are too large for the log.
    for number in 0..20 {
        let token = desk.spender(&format!("bot-{number}"), 1000).ip_restrict("127.0.0.1");
        let token = (0..1000u32)
            .fold(token, |token, n| token.ip_restrict(format!("203.0.{}.{}", n / 250, n % 250)));
        desk.mint(token).await;
    }
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        for _ in 0..50 {
            desk.vault.send("bot", &desk.withdrawal(1)).await.unwrap();
        }
        // The last settlement is not waited for, and may be writing such a page; this comes after it.
        desk.vault.forbid_raw_exposure("bot").await.unwrap();
        each(&desk.path(), &mut seen);
        desk = desk.reopened().await;
        each(&desk.path(), &mut seen);
        desk.vault.change_passphrase(passphrase(), passphrase()).await.unwrap();
    }
    for kind in ["db", "conf", "blob", "snap", "header", "LOCK", "RESERVE"] {
        assert!(seen.contains(kind), "no {kind} among {seen:?}");
    }
}

/// Looks at a directory and all that is in it, and notes the kinds of files that there are.
fn each(path: &Path, seen: &mut BTreeSet<String>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o777;
    assert_eq!(mode, if metadata.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            each(&entry.unwrap().path(), seen);
        }
        return;
    }
    let name = path.file_name().unwrap().to_string_lossy();
    let is_blob = path.parent().unwrap().ends_with("blobs");
    let kind = if is_blob { "blob" } else { name.split('.').next().unwrap() };
    seen.insert(kind.into());
}
