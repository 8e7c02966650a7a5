//! In what order the kernel is asked to keep things: a kill keeps the page cache, so that no crash
//! test can show a sync that is missing.
//!
//! ```text
//! a commit      write to db.<n>/db > fsync of it > write to the anchor > fdatasync of it > answer
//!               its blobs, if it has any: written > fsync of each > fsync of their directory > answer
//! a new header  write to header.new > fsync of it > rename > fsync of the directory > answer
//! a new vault   all that was written synced, and its names > the header
//! ```
//!
//! The test runs itself again under strace, and says what it is about to do and what was
//! acknowledged by writes to its standard output, which stand in the trace with all others. Each
//! check is also shown that trace without one kind of sync, and must refuse it.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod trace;

use crate::desk::{self, coin, passphrase, withdrawal};
use crate::tools::{skipped, works};
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    Environment, Login, LoginPassword, Otp, Passphrase, Request, Vault, VaultBuilder, WalletId,
};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use trace::Call;

/// Whether commits write the anchor; from then on each is checked for it.
const HAS_ANCHOR: bool = true;
/// Its name, and that until the vault is made.
const ANCHOR: [&str; 2] = ["anchor", "anchor.new"];

/// What the child is given: path, root URI, server key, wallet, email, password, one-time password.
const CHILD: &str = "BITGO_VAULT_SYSCALLS_CHILD";
const TEST: &str = "syscalls::an_answer_comes_after_the_syncs_that_it_promises";
const TRACED: &str = "trace=openat,mkdir,mkdirat,write,writev,pwrite64,pwritev,fsync,fdatasync,\
                      sync_file_range,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat";
const WRITES: [&str; 6] = ["write", "writev", "pwrite64", "pwritev", "ftruncate", "fallocate"];
const SYNCS: [&str; 2] = ["fsync", "fdatasync"];
const RENAMES: [&str; 3] = ["rename", "renameat", "renameat2"];

/// What the child does, in this order. All of it is acknowledged by a commit.
const COMMITS: [&str; 11] = [
    "create",
    "login",
    "issue",
    "spend",
    "spend again",
    "allow exposure",
    "expose",
    "change the passphrase",
    "raise the costs",
    "remove",
    "issue large ones",
];
const NEW_HEADERS: [&str; 2] = ["change the passphrase", "raise the costs"];

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_after_the_syncs_that_it_promises() {
    if let Ok(given) = env::var(CHILD) {
        return work(&given).await;
    }
    if !works(&["strace", "-f", "-o", "/dev/null", "true"]) {
        return skipped(TEST, "strace is not there, or may not trace");
    }
    let bitgo = Emulator::builder().without_traffic().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    // Its parent is made with it.
    let path = fs::canonicalize(dir.path()).unwrap().join("above/vault");
    let calls = traced(&path, &bitgo, &dir.path().join("trace"));
    let vault = path.to_str().unwrap();

    let creation = |calls: &[Call]| check_creation(calls, vault);
    let commits = |calls: &[Call]| {
        COMMITS.iter().try_for_each(|name| check_commit(&window(calls, name)?, vault).map(drop))
    };
    let blobs = |calls: &[Call]| check_blobs(&window(calls, "issue large ones")?, vault);
    let anchors = |calls: &[Call]| {
        COMMITS.iter().try_for_each(|name| {
            let window = window(calls, name)?;
            check_anchor(&window, vault, check_commit(&window, vault)?)
        })
    };
    let headers = |calls: &[Call]| {
        check_all_headers(calls, vault)?;
        NEW_HEADERS.iter().try_for_each(|name| check_header(&window(calls, name)?, vault))
    };
    type Check<'c> = &'c dyn Fn(&[Call]) -> Result<(), String>;
    let mut checks: Vec<(Check<'_>, &str, &str)> = vec![
        (&creation, "/db.0/db", "/db.0/db is not synced before the header"),
        (&creation, "/db.0/conf", "/db.0/conf is not synced before the header"),
        (&creation, "/db.0", "/db.0 is not synced before the header"),
        (&creation, "/header.new", "/header.new is not synced before the header"),
        (&creation, "", " is not synced before the header"),
        (&creation, "/..", "what is above it is not synced before the header"),
        (&creation, "/../..", "what is above it is not synced before the header"),
        (&commits, "/db.0/db", "create: the log is not synced"),
        (&blobs, "/db.0/blobs/", "issue large ones: a blob is not synced"),
        (&blobs, "/db.0/blobs", "issue large ones: the blobs' directory is not synced"),
        (&headers, "/header.new", "a header: header.new is not synced"),
        (&headers, "", "a header: the directory is not synced"),
    ];
    if HAS_ANCHOR {
        checks.push((&anchors, "/anchor.new", "create: the anchor is not synced"));
        checks.push((&anchors, "/anchor", "login: the anchor is not synced"));
    }
    for (check, file, expect) in checks {
        assert_eq!(check(&calls), Ok(()));
        let file = match file {
            "/.." => parent(vault),
            "/../.." => parent(&parent(vault)),
            file => format!("{vault}{file}"),
        };
        // All files of a directory, where it ends in a slash.
        let fits = |call: &str| call == file || file.ends_with('/') && call.starts_with(&file);
        let lacking = without(&calls, |call| call.is(&SYNCS) && call.file().is_some_and(fits));
        assert_eq!(check(&lacking), Err(expect.into()), "without syncs of {file}");
    }
    let syncs = calls.iter().filter(|call| call.is(&SYNCS)).count();
    writeln!(
        stderr(),
        "{} calls, {syncs} syncs, {} commits and {} headers in order{}",
        calls.len(),
        COMMITS.len(),
        calls.iter().filter(|call| is_install(call, vault)).count(),
        if HAS_ANCHOR { "" } else { "; the anchor is not looked for" },
    )
    .unwrap();
}

/// The calls that matter but those that `gone` tells.
fn without(calls: &[Call], gone: impl Fn(&Call) -> bool) -> Vec<Call> {
    let left: Vec<_> = calls.iter().filter(|call| !gone(call)).cloned().collect();
    assert!(left.len() < calls.len(), "there is nothing to leave out");
    left
}

/// From the word that something begins to the word that it was acknowledged.
struct Window<'c> {
    name: &'static str,
    calls: &'c [Call],
    begins: usize,
    answer: usize,
}

fn window<'c>(calls: &'c [Call], name: &'static str) -> Result<Window<'c>, String> {
    let said = |word: &str| {
        let line = format!("{word} {name}.\\n");
        let call = calls.iter().find(|call| call.name == "write" && call.quoted() == [&*line]);
        call.ok_or(format!("the child never said {word} {name}"))
    };
    Ok(Window { name, calls, begins: said("begun")?.ended, answer: said("done")?.begun })
}

impl Window<'_> {
    fn holds(&self, call: &Call) -> bool {
        self.begins < call.begun && call.ended < self.answer && call.succeeded
    }

    /// The last call that fits, which has come back.
    fn last(&self, fits: impl Fn(&Call) -> bool) -> Option<&Call> {
        self.calls
            .iter()
            .filter(|call| self.holds(call))
            .filter(|call| fits(call))
            .max_by_key(|call| call.ended)
    }

    /// The last call that fits, which began when `before` had come back.
    fn after(
        &self,
        before: &Call,
        what: &str,
        fits: impl Fn(&Call) -> bool,
    ) -> Result<&Call, String> {
        self.last(|call| call.begun > before.ended && fits(call))
            .ok_or(format!("{}: {what}", self.name))
    }

    fn none(&self, what: &str) -> String {
        format!("{}: {what}", self.name)
    }
}

fn is_log(call: &Call, vault: &str) -> bool {
    let within = call.file().and_then(|file| file.strip_prefix(vault)?.strip_prefix("/db."));
    within.is_some_and(|within| within.ends_with("/db"))
}

fn is_file(call: &Call, vault: &str, name: &str) -> bool {
    call.file().and_then(|file| file.strip_prefix(vault)?.strip_prefix('/')) == Some(name)
}

fn is_directory(call: &Call, vault: &str) -> bool {
    call.file() == Some(vault)
}

/// All that was written to the log before the answer was synced before the answer. Commits are
/// written in the order in which they were asked for, so that what was asked for is among it.
fn check_commit<'c>(window: &'c Window<'_>, vault: &str) -> Result<&'c Call, String> {
    let wrote = window
        .last(|call| call.is(&WRITES) && is_log(call, vault))
        .ok_or_else(|| window.none("nothing is written to the log"))?;
    window.after(wrote, "the log is not synced", |call| {
        call.is(&SYNCS) && is_log(call, vault) && call.file() == wrote.file()
    })
}

/// Pages that are too large for the log are files of their own: those that are still there at the
/// answer were synced before it.
fn check_blobs(window: &Window<'_>, vault: &str) -> Result<(), String> {
    let dir = format!("{vault}/db.0/blobs");
    let wrote: BTreeMap<_, _> = window
        .calls
        .iter()
        .filter(|call| window.holds(call) && call.is(&WRITES))
        .filter_map(|call| Some((call.file().filter(|file| file.starts_with(&dir))?, call)))
        .collect();
    let mut synced = 0;
    for (file, wrote) in wrote {
        if window.last(|call| call.name.starts_with("unlink") && call.path() == file).is_none() {
            window.after(wrote, "a blob is not synced", |call| {
                call.is(&SYNCS) && call.file() == Some(file)
            })?;
            window.after(wrote, "the blobs' directory is not synced", |call| {
                call.is(&SYNCS) && call.file() == Some(&dir)
            })?;
            synced += 1;
        }
    }
    if synced > 0 { Ok(()) } else { Err(window.none("there are no blobs")) }
}

/// After the log's sync the anchor is written and synced.
fn check_anchor(window: &Window<'_>, vault: &str, log_synced: &Call) -> Result<(), String> {
    let is_anchor = |call: &Call| ANCHOR.iter().any(|name| is_file(call, vault, name));
    let wrote = window.after(log_synced, "the anchor is not written after the log", |call| {
        call.is(&WRITES) && is_anchor(call)
    })?;
    window.after(wrote, "the anchor is not synced", |call| call.is(&SYNCS) && is_anchor(call))?;
    Ok(())
}

fn is_install(call: &Call, vault: &str) -> bool {
    let header = format!("{vault}/header");
    call.is(&RENAMES) && call.succeeded && call.quoted() == [&*format!("{header}.new"), &*header]
}

fn check_header(window: &Window<'_>, vault: &str) -> Result<(), String> {
    let installed = window
        .last(|call| is_install(call, vault))
        .ok_or_else(|| window.none("no header is put in place"))?;
    window.after(installed, "the directory is not synced", |call| {
        call.is(&SYNCS) && is_directory(call, vault)
    })?;
    let wrote = window
        .last(|call| call.is(&WRITES) && is_file(call, vault, "header.new"))
        .ok_or_else(|| window.none("no header is written"))?;
    window.after(wrote, "header.new is not synced", |call| {
        call.is(&SYNCS) && is_file(call, vault, "header.new") && call.ended < installed.begun
    })?;
    Ok(())
}

/// Every header of the trace, a grant of seals for example, was synced between its last write and
/// its rename, and the directory before the next answer.
fn check_all_headers(calls: &[Call], vault: &str) -> Result<(), String> {
    for installed in calls.iter().filter(|call| is_install(call, vault)) {
        let answer = calls
            .iter()
            .find(|call| call.begun > installed.ended && call.arguments.contains("\"done "))
            .map_or(usize::MAX, |call| call.begun);
        let window = Window { name: "a header", calls, begins: 0, answer };
        check_header(&window, vault)?;
    }
    Ok(())
}

/// What was done to a file or directory before the first header got its name.
#[derive(Default)]
struct Made {
    /// When it was last written to, or a name given in it.
    changed: usize,
    /// When the last sync began that came back before the header got its name.
    synced: Option<usize>,
}

/// All that the header vouches for is on disk before the header is: every file of the new vault
/// was synced after its last write, and every directory after the last name that was given in it.
fn check_creation(calls: &[Call], vault: &str) -> Result<(), String> {
    let installed = calls
        .iter()
        .find(|call| is_install(call, vault))
        .ok_or("no header is put in place".to_owned())?;
    let mut made: BTreeMap<String, Made> = BTreeMap::new();
    let before = calls.iter().filter(|call| call.succeeded && call.ended < installed.begun);
    for call in before {
        let quoted = call.quoted();
        let file = call.file().unwrap_or_default();
        if call.is(&SYNCS) {
            made.entry(file.into()).or_default().synced = Some(call.begun);
        } else if call.is(&WRITES) {
            made.entry(file.into()).or_default().changed = call.ended;
        } else if call.is(&RENAMES) {
            let [from, to] = quoted[..] else { return Err(format!("{call:?}")) };
            let state = made.remove(from).unwrap_or_default();
            made.insert(to.into(), state);
            made.entry(parent(to)).or_default().changed = call.ended;
        } else if call.is(&["unlink", "unlinkat"]) {
            made.remove(&call.path());
        } else if call.is(&["mkdir", "mkdirat"]) || call.arguments.contains("O_CREAT") {
            // The header's own name comes after all that it vouches for.
            if call.path() != format!("{vault}/header.new") {
                made.entry(parent(&call.path())).or_default().changed = call.ended;
            }
        }
    }
    // The holder's name in LOCK is told, not vouched for.
    made.remove(&format!("{vault}/LOCK"));
    let above = [parent(vault), parent(&parent(vault))];
    made.retain(|path, _| {
        let is_in = path.strip_prefix(vault).is_some_and(|in_it| !in_it.starts_with('.'));
        is_in || above.contains(path)
    });
    let within = ["", "/header.new", "/db.0", "/db.0/db", "/db.0/conf"];
    for path in within.map(|name| format!("{vault}{name}")).iter().chain(&above) {
        made.get(path).ok_or(format!("{path:?} is not even made"))?;
    }
    for (path, Made { changed, synced }) in &made {
        if synced.is_none_or(|synced| synced < *changed) {
            let name = path.strip_prefix(vault).unwrap_or("what is above it");
            return Err(format!("{name} is not synced before the header"));
        }
    }
    Ok(())
}

fn parent(path: &str) -> String {
    path.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.into())
}

/// Runs the child under strace: its calls.
fn traced(vault: &Path, bitgo: &Emulator, trace: &Path) -> Vec<Call> {
    let given = [
        vault.to_str().unwrap().to_owned(),
        bitgo.url().into(),
        bitgo.server_xpub().into(),
        bitgo.wallet(&coin()).to_string(),
        bitgo.email().into(),
        bitgo.password().expose().into(),
        bitgo.otp().expose().into(),
    ];
    let ended = Command::new("strace")
        .args(["-f", "-y", "-s", "64", "-e", TRACED, "-e", "signal=none", "-o"])
        .arg(trace)
        .arg(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(CHILD, given.join("\n"))
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    trace::parse(&fs::read_to_string(trace).unwrap()).unwrap()
}

/// Says what begins, does it, and says when it has been acknowledged.
async fn told<T>(name: &str, work: impl Future<Output = T>) -> T {
    assert!(COMMITS.contains(&name), "{name}");
    let say = |word: &str| stdout().write_all(format!("{word} {name}.\n").as_bytes()).unwrap();
    say("begun");
    let done = work.await;
    say("done");
    done
}

fn options(path: &Path, environment: &Environment) -> VaultBuilder {
    desk::options(path, environment, &Arc::new(TokioClock::new()))
}

/// The child.
async fn work(given: &str) {
    let given: Vec<&str> = given.split('\n').collect();
    let &[path, url, xpub, wallet, email, password, otp] = given.as_slice() else {
        panic!("{given:?}")
    };
    let environment = Environment::custom(url, xpub).unwrap();
    let wallet: WalletId = wallet.parse().unwrap();
    let new = || Passphrase::new("another one");
    let options = options(Path::new(path), &environment);
    let vault = told("create", options.create(passphrase())).await.unwrap();
    let login = Login::new(email, LoginPassword::new(password), Otp::new(otp));
    told("login", vault.login("desk", login)).await.unwrap();
    let token = desk::spender("bot", wallet, 1000);
    told("issue", vault.issue("desk", token, Otp::new(otp))).await.unwrap();
    // What is signed is never sent, and so counts for good. That is settled without waiting for
    // the disk, and so not before the answer that is looked at.
    let request = withdrawal(wallet, 3);
    for name in ["spend", "spend again"] {
        let lease = told(name, vault.lease_wait("bot", &request)).await.unwrap();
        drop(lease.sign().unwrap());
    }
    let allowed = vault.dangerous_allow_raw_exposure("bot", passphrase());
    told("allow exposure", allowed).await.unwrap();
    let session = Request::get("/api/v2/user/session").unwrap();
    let lease = vault.lease("bot", &session).unwrap();
    drop(told("expose", lease.expose_token()).await.unwrap());
    let changed = vault.change_passphrase(passphrase(), new());
    told("change the passphrase", changed).await.unwrap();
    let raised = vault.upgrade_kdf(new(), KdfParams::new(16, 1, 1).unwrap());
    told("raise the costs", raised).await.unwrap();
    told("remove", vault.remove("bot")).await.unwrap();
    told("issue large ones", issue_large_ones(&vault, otp)).await;
    vault.close().await.unwrap();
}

/// As many as fit on one of sled's pages, which is then too large for its log.
async fn issue_large_ones(vault: &Vault, otp: &str) {
    for number in 0..20 {
        let token = desk::bot(&format!("bot-{number}")).ip_restrict("127.0.0.1");
        let token = (0..1000u32)
            .fold(token, |token, n| token.ip_restrict(format!("203.0.{}.{}", n / 250, n % 250)));
        vault.issue("desk", token, Otp::new(otp)).await.unwrap();
    }
}
