//! A bot without tokio: threads that withdraw, each call waited for where it is made.
//!
//! ```text
//! cargo run --release --example blocking_bot                a vault that goes with the bot
//! cargo run --release --example blocking_bot -- DIRECTORY   one that stays, made there
//! ```
//!
//! It ends once its token's limit is used up, or when it is told to (SIGTERM, SIGINT).
#![expect(clippy::print_stdout, reason = "this program tells a story")]

use bitgo_vault::api::CreateToken;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{
    Amount, BlockingVault, Coin, Error, FileSystem, Label, Login, Passphrase, Request, Rule, Vault,
    WalletId,
};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const THREADS: u32 = 2;
/// What the token may spend, and what is withdrawn at once, in satoshi.
const LIMIT: u128 = 100_000;
const WITHDRAWAL: u128 = 1000;
const REST: Duration = Duration::from_millis(20);

/// Any error, from any thread.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let end = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&end))?;
    }
    // BitGo lives elsewhere; its stand-in here needs threads of its own.
    let bitgos_own = tokio::runtime::Runtime::new()?;
    let bitgo = bitgos_own.block_on(Emulator::start())?;
    let directory = tempfile::tempdir()?;
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let path = given.unwrap_or_else(|| directory.path().join("vault"));
    let tbtc = Coin::new("tbtc")?;
    let wallet = bitgo.wallet(&tbtc);

    // On a container's own file system, which loses a vault with the container: yours does not.
    let vault = Vault::builder(&path, bitgo.environment().clone())
        .dangerous_allow_file_system(FileSystem::Overlayfs)
        .blocking()
        .create(Passphrase::new("correct horse battery staple"))?;
    vault.login("desk", Login::new(bitgo.email(), bitgo.password(), bitgo.otp()))?;
    let token = CreateToken::new(&Label::new("payer")?, Duration::from_secs(30 * 86_400))
        .scope("wallet_spend_all".parse()?)
        .permitted_wallet(wallet)
        .spending_limit(&tbtc, Amount::new(LIMIT));
    let issued = vault.issue("desk", token, bitgo.otp())?;
    println!("A vault is made at {}: its token may spend {LIMIT} tbtc.", path.display());

    let withdrawn = thread::scope(|threads| {
        let work = || withdraw_all(&vault, wallet, &end);
        let workers: Vec<_> = (0..THREADS).map(|_| threads.spawn(work)).collect();
        let ended =
            workers.into_iter().map(|worker| worker.join().map_err(|_| "a thread panicked")?);
        ended.sum::<Result<u64, Failure>>()
    });
    // Whatever came of it: what was allotted goes back.
    let status = vault.status("payer");
    vault.close()?;
    let (withdrawn, counter) = (withdrawn?, status?.counters[&tbtc]);
    let spent = bitgo.spent_by(issued.info.id, &tbtc);
    println!("Closed after {withdrawn} withdrawals: {} spent, {spent} by BitGo.", counter.accepted);
    let is_whole =
        spent == counter.accepted && (end.load(Ordering::Relaxed) || spent == Amount::new(LIMIT));
    if is_whole { Ok(()) } else { Err("the two counts went apart".into()) }
}

/// Withdraws until the limit says no, or the bot is told to end; how often.
fn withdraw_all(vault: &BlockingVault, wallet: WalletId, end: &AtomicBool) -> Result<u64, Failure> {
    let body =
        json!({"recipients": [{"address": "tb1qexample", "amount": WITHDRAWAL.to_string()}]});
    let request =
        Request::post(&format!("/api/v2/tbtc/wallet/{wallet}/tx/initiate")).json(&body)?;
    let mut withdrawn = 0;
    while !end.load(Ordering::Relaxed) {
        match vault.send("payer", &request) {
            Ok(answer) => println!("  withdrew {WITHDRAWAL} tbtc: {}", answer.status()),
            Err(Error::Denied(denied)) if denied.rule() == Rule::Limit => {
                println!("  {denied}");
                break;
            }
            Err(error) => return Err(error.into()),
        }
        withdrawn += 1;
        thread::sleep(REST);
    }
    Ok(withdrawn)
}
