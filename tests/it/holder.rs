//! One process holds a vault, says who it is, and lets go however it ends; what it makes is for
//! its owner alone, whatever the umask.
//!
//! Each test runs itself again as the process in question.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{self, passphrase};
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{Clock, Environment, Error, Holder, StoreError, SystemClock, VaultBuilder};
use chrono::SubsecRound;
use rustix::fs::Mode;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write, stdout};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

/// What the child is given: the vault's path, or that and a umask.
const CHILD: &str = "BITGO_VAULT_HOLDER_CHILD";

fn options(path: &Path) -> VaultBuilder {
    desk::options(path, &Environment::Test, &Arc::new(TokioClock::new()))
}

fn spawn(test: &str, given: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("holder::{test}"), "--nocapture"])
        .env(CHILD, given)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads up to the line that the child is to say, past libtest's own.
fn heard(from: &mut BufReader<ChildStdout>, expect: &str) {
    let said = from.lines().map(Result::unwrap).find(|line| line.ends_with(expect));
    assert!(said.is_some(), "the child ended before it said {expect}");
}

async fn refused(path: &Path) -> Holder {
    match options(path).unlock(passphrase()).await {
        Err(Error::Store(StoreError::InUse { path: at, holder: Some(holder) })) => {
            assert_eq!(at, path);
            holder
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("two hold the vault"),
    }
}

#[tokio::test]
async fn a_killed_holder_was_named_and_keeps_nobody_out() {
    if let Ok(path) = env::var(CHILD) {
        return hold_until_killed(Path::new(&path)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vault");
    options(&path).create(passphrase()).await.unwrap().close().await.unwrap();
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    for _ in 0..3 {
        let before = SystemClock::new().now().trunc_subsecs(0);
        let given = path.to_str().unwrap();
        let mut child = spawn("a_killed_holder_was_named_and_keeps_nobody_out", given);
        let mut said = BufReader::new(child.stdout.take().unwrap());
        heard(&mut said, "held");
        let holder = refused(&path).await;
        assert_eq!((holder.host.as_str(), holder.pid), (host.as_str(), child.id()));
        let after = SystemClock::new().now();
        assert!(before <= holder.opened_at && holder.opened_at <= after, "{holder}");

        let mut grandchild = child.stdin.take().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        options(&path).unlock(passphrase()).await.unwrap().close().await.unwrap();
        // The grandchild outlived its parent, and is still there: it has no part in the lock.
        grandchild.write_all(b"echoed\n").unwrap();
        heard(&mut said, "echoed");
    }
}

/// The child: holds the vault, and has a child of its own that lives for as long as the test's
/// end of the pipe.
async fn hold_until_killed(path: &Path) {
    let _vault = options(path).unlock(passphrase()).await.unwrap();
    let mut grandchild = Command::new("cat").spawn().unwrap();
    stdout().write_all(b"held\n").unwrap();
    grandchild.wait().unwrap();
}

#[tokio::test]
async fn no_umask_opens_a_vault_to_others() {
    if let Ok(given) = env::var(CHILD) {
        return make_under_umask(&given).await;
    }
    let dir = tempfile::tempdir().unwrap();
    for umask in ["000", "022", "077"] {
        let path = dir.path().join(umask);
        let given = format!("{} {umask}", path.display());
        let ended = spawn("no_umask_opens_a_vault_to_others", &given).wait_with_output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let mut files = 0;
        each(&path, &mut |path, is_dir, mode| {
            assert_eq!(
                mode,
                if is_dir { 0o700 } else { 0o600 },
                "{} under {umask}",
                path.display()
            );
            files += u32::from(!is_dir);
        });
        assert!(files >= 4, "{files} files were made");
    }
}

async fn make_under_umask(given: &str) {
    let (path, umask) = given.rsplit_once(' ').unwrap();
    let umask = Mode::from_raw_mode(u32::from_str_radix(umask, 8).unwrap());
    rustix::process::umask(umask);
    let path = Path::new(path);
    options(path).create(passphrase()).await.unwrap().close().await.unwrap();
    options(path).unlock(passphrase()).await.unwrap().close().await.unwrap();
}

/// Tells of a directory and all that is in it.
fn each(path: &Path, tell: &mut impl FnMut(&Path, bool, u32)) {
    let metadata = fs::symlink_metadata(path).unwrap();
    tell(path, metadata.is_dir(), metadata.permissions().mode() & 0o777);
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            each(&entry.unwrap().path(), tell);
        }
    }
}
