//! A limit holds through a kill: a process that spends is ended with SIGKILL in the middle of it, again
//! and again, while BitGo's own limit is off. What BitGo took in the end is never more than the vault's
//! limit, and once BitGo was asked what it took, nothing that it refused stays counted.
//!
//! ```text
//! cargo run --release --example limits
//! ```
//!
//! The process starts itself as the bot that is killed. The emulator stays with the one that kills.
#![expect(clippy::print_stdout, reason = "this program tells a story")]

use bitgo_vault::api::CreateToken;
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    Amount, Coin, Counter, Environment, Error, FileSystem, Label, Login, Passphrase, Request, Rule,
    Vault, VaultBuilder, WalletId,
};
use serde_json::json;
use std::env;
use std::error::Error as StdError;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const PASSPHRASE: &str = "correct horse battery staple";
/// In satoshi.
const LIMIT: u128 = 20_000_000;
const WITHDRAWAL: u128 = 700;
const KILLS: u64 = 5;
/// What a signed request may still be on its way for, and a moment more.
const ON_ITS_WAY: Duration = Duration::from_secs(601);

fn main() -> Result<(), Box<dyn StdError>> {
    let given: Vec<String> = env::args().skip(1).collect();
    match given.as_slice() {
        [bot, path, url, xpub, wallet] if bot == "bot" => {
            // The bot's threads spend from one limit.
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(spend_until_killed(path, url, xpub, wallet.parse()?))
        }
        // One thread, whose time can be moved on by ten minutes.
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(tell()),
    }
}

fn options(path: &Path, environment: Environment) -> Result<VaultBuilder, Box<dyn StdError>> {
    // The cheapest key derivation there is: this is not a vault to keep.
    Ok(Vault::builder(path, environment)
        .kdf(KdfParams::new(8, 1, 1)?)
        .dangerous_allow_file_system(FileSystem::Overlayfs))
}

async fn tell() -> Result<(), Box<dyn StdError>> {
    let clock = Arc::new(TokioClock::new());
    let bitgo = Emulator::builder().without_limits().without_traffic().clock(clock.clone());
    let bitgo = bitgo.start().await?;
    let (directory, tbtc) = (tempfile::tempdir()?, Coin::new("tbtc")?);
    let (path, wallet) = (directory.path().join("vault"), bitgo.wallet(&tbtc));
    let open = || -> Result<VaultBuilder, Box<dyn StdError>> {
        Ok(options(&path, bitgo.environment().clone())?.clock(clock.clone()))
    };
    let vault = open()?.create(Passphrase::new(PASSPHRASE)).await?;
    vault.login("desk", Login::new(bitgo.email(), bitgo.password(), bitgo.otp())).await?;
    let token = CreateToken::new(&Label::new("bot")?, Duration::from_secs(86_400))
        .scope("wallet_spend_all".parse()?)
        .permitted_wallet(wallet)
        .spending_limit(&tbtc, Amount::new(LIMIT));
    vault.issue("desk", token, bitgo.otp()).await?;
    vault.close().await?;
    println!(
        "A token may spend {LIMIT} tbtc. BitGo's own limit is off: what holds is the vault's.\n"
    );

    for number in 1..=KILLS {
        let before = bitgo.spent(&tbtc);
        let mut bot = Command::new(env::current_exe()?)
            .args(["bot", &path.display().to_string(), bitgo.url(), bitgo.server_xpub()])
            .arg(wallet.to_string())
            .stdout(Stdio::null())
            .spawn()?;
        // A slow machine may not come to spend at all.
        for _ in 0..10_000 {
            if bitgo.spent(&tbtc) > before || bot.try_wait()?.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Some requests are refused: what they reserved must come back in the end.
        bitgo.inject(Fault::new(FaultKind::Status(503, "{}".into())).on("POST", "/tx/initiate"));
        tokio::time::sleep(Duration::from_millis(7 + 11 * number)).await;
        bot.kill()?;
        bot.wait()?;
        let vault = open()?.unlock(Passphrase::new(PASSPHRASE)).await?;
        let Counter { accepted, uncertain, .. } = counter(&vault, &tbtc)?;
        let taken = bitgo.spent(&tbtc);
        println!(
            "kill {number}: bitgo took {taken}, the vault knows of {accepted}, {uncertain} are uncertain",
        );
        if taken > Amount::new(LIMIT) || taken > accepted.saturating_add(uncertain) {
            return Err("the limit did not hold".into());
        }
        vault.close().await?;
    }

    let vault = open()?.unlock(Passphrase::new(PASSPHRASE)).await?;
    println!("\nTen minutes later nothing can be on its way any more, and BitGo is asked:");
    tokio::time::pause();
    tokio::time::advance(ON_ITS_WAY).await;
    tokio::time::resume();
    vault.reconcile("bot").await?;
    let after = counter(&vault, &tbtc)?;
    let taken = bitgo.spent(&tbtc);
    println!("bitgo took {taken}; used {}, uncertain {}", used(&after), after.uncertain);
    if used(&after) != taken {
        return Err("what was refused stays counted".into());
    }

    let rest = LIMIT - taken.base_units();
    vault.send("bot", &withdrawal(wallet, rest)?).await?;
    let denied = vault.send("bot", &withdrawal(wallet, 1)?).await;
    match denied {
        Err(Error::Denied(denied)) if denied.rule() == Rule::Limit => {
            println!("The rest, {rest}, is spent as one; then: {denied}.");
        }
        other => return Err(format!("the limit did not hold: {other:?}").into()),
    }
    println!("Spent at BitGo in all: {} of {LIMIT}.", bitgo.spent(&tbtc));
    vault.close().await?;
    Ok(())
}

fn counter(vault: &Vault, coin: &Coin) -> Result<Counter, Box<dyn StdError>> {
    vault.status("bot")?.counters.get(coin).copied().ok_or_else(|| "no counter".into())
}

fn used(counter: &Counter) -> Amount {
    counter.used().unwrap_or(Amount::MAX)
}

fn withdrawal(wallet: WalletId, amount: u128) -> Result<Request, Box<dyn StdError>> {
    let recipients = json!([{"address": "tb1qexample", "amount": amount.to_string()}]);
    let body = json!({ "recipients": recipients });
    Ok(Request::post(&format!("/api/v2/tbtc/wallet/{wallet}/tx/initiate")).json(&body)?)
}

/// The bot: four tasks spend as fast as they can.
async fn spend_until_killed(
    path: &str,
    url: &str,
    xpub: &str,
    wallet: WalletId,
) -> Result<(), Box<dyn StdError>> {
    let environment = Environment::custom(url, xpub)?;
    let vault = options(Path::new(path), environment)?.unlock(Passphrase::new(PASSPHRASE)).await?;
    let request = Arc::new(withdrawal(wallet, WITHDRAWAL)?);
    let spenders: Vec<_> = (0..4)
        .map(|_| {
            let (vault, request) = (vault.clone(), Arc::clone(&request));
            tokio::spawn(async move { while !is_denied(vault.send("bot", &request).await) {} })
        })
        .collect();
    for spender in spenders {
        spender.await?;
    }
    // Until it is killed.
    std::future::pending().await
}

fn is_denied<T>(sent: Result<T, Error>) -> bool {
    matches!(sent, Err(Error::Denied(_)))
}
