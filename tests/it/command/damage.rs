//! A vault that lost a part of itself, mended by the command.

use super::{COMMAND, ended, program};
use bitgo_vault::emulator::Emulator;
use serde_json::Value;

/// Takes a value of the tokens away, as a bad block may.
fn lose_a_token(database: std::path::PathBuf) {
    let db = sled::Config::new().path(database).open().unwrap();
    let (key, _) = db.scan_prefix([1]).next().unwrap().unwrap();
    db.remove(key).unwrap().unwrap();
    db.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_told_of_and_mended_from_a_backup() {
    let (bitgo, dir) = (Emulator::start().await.unwrap(), tempfile::tempdir().unwrap());
    let (dir, email) = (dir.path(), bitgo.email());
    let run = |args: &[&str]| ended(program(COMMAND, &bitgo, dir).args(args));
    let login = ["login", email, "--password-file", "password", "--otp", "0000000"];
    let issue = ["issue", "bot", "--scope", "wallet_view_all", "--no-limit", "--otp", "0000000"];
    for args in [&["init", "--kdf", "1,1,1"][..], &login, &issue, &["backup", "kept"]] {
        let (code, said) = run(args);
        assert_eq!(code, Some(0), "{args:?}: {said}");
    }
    lose_a_token(dir.join("vault/db.0"));
    for (args, expect, says) in [
        (["doctor", "--deep"].as_slice(), 8, "the vault is damaged"),
        (&["list"], 8, "bitgo-vault restore --repair"),
        (&["restore", "--repair", "kept"], 0, "the vault is whole again"),
        (&["restore", "--repair", "kept"], 0, "there was nothing to mend"),
        (&["doctor", "--deep"], 0, "nothing is wrong"),
        (&["audit"], 0, "repaired"),
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(expect), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
    let (code, said) = run(&["list", "--json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, told["tokens"].as_array().map(Vec::len)), (Some(0), Some(2)), "{said}");
}
