//! What a vault weighs in a bot: ten tokens are kept, each has signed, and nothing else is done.
//! Prints threads, resident memory, and the part of it that is locked.

use bitgo_vault::{AccessToken, Environment, FileSystem, Passphrase, Request, Vault};
use std::error::Error;
use std::fs;

const TOKENS: u8 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("bitgo-vault-footprint-{}", std::process::id()));
    let weighed = weigh(&dir);
    fs::remove_dir_all(&dir)?;
    weighed
}

fn weigh(dir: &std::path::Path) -> Result<(), Box<dyn Error>> {
    // Nobody is there: the tokens are kept unverified, and view.
    let nowhere = Environment::custom("http://127.0.0.1:1", Environment::Test.server_xpub())?;
    let vault = Vault::builder(dir, nowhere).dangerous_allow_file_system(FileSystem::Overlayfs);
    let vault = vault.blocking().create(Passphrase::new("correct horse"))?;
    let request = Request::get("/api/v2/user/session")?;
    for number in 0..TOKENS {
        let label = format!("bot-{number}");
        vault.import(&label, AccessToken::new(format!("v2x{number:064x}")))?;
        drop(vault.lease(&label, &request)?.sign()?);
    }
    let status = fs::read_to_string("/proc/self/status")?;
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()).unwrap_or("unknown").to_owned()
    };
    println!("threads {}", figure("Threads:"));
    println!("resident_kib {}", figure("VmRSS:"));
    println!("locked_kib {}", figure("VmLck:"));
    vault.close()?;
    Ok(())
}
