//! The main job, end to end: a bot gets, keeps, renews and spends with BitGo tokens.
//!
//! ```text
//! cargo run --release --example trading_bot             the story
//! cargo run --release --example trading_bot -- --json   the same, and one line of JSON at its end
//!     --store DIRECTORY   the vault is made there, and stays
//!     --anchor FILE       its anchor is kept there
//! ```
//!
//! Real HTTP against the emulator, a real sled database, the real cryptography. Told to end (SIGTERM,
//! SIGINT), it closes the vault. It needs no home, and writes nowhere but to the two paths.
#![expect(clippy::print_stdout, reason = "this program tells a story")]

mod told_to_end;

use bitgo_vault::api::CreateToken;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{
    Amount, Coin, Error, FileSystem, Label, Login, Outcome, Passphrase, Request, Rule, TokenId,
    Vault, VaultBuilder, WalletId,
};
use serde::Serialize;
use serde_json::json;
use std::error::Error as StdError;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;
use told_to_end::End;

/// How long the emulator's sessions live: renewal begins a third of that before the end.
const SESSION: Duration = Duration::from_secs(6);
const PASSPHRASE: &str = "correct horse battery staple";
/// What the token may spend, in satoshi.
const LIMIT: u128 = 100_000;
const WITHDRAWAL: u128 = 9_000;

/// What the bot did.
#[derive(Default, Serialize)]
struct Tally {
    issued: u64,
    leases: u64,
    signed_requests: u64,
    renewals: u64,
    denied_scope: u64,
    denied_limit: u64,
    denied_wallet: u64,
}

/// The last line with `--json`.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    tally: Tally,
    limit: String,
    spent_local: String,
    spent_server: String,
    reopened: bool,
    plaintext_on_disk: usize,
    plaintext_on_wire: usize,
}

/// What it was started with.
struct Given {
    wants_json: bool,
    store: PathBuf,
    anchor: Option<PathBuf>,
    /// Where the store is, if nothing was said.
    _temporary: Option<TempDir>,
}

impl Given {
    fn read() -> Result<Self, Box<dyn StdError>> {
        let (mut wants_json, mut store, mut anchor) = (false, None, None);
        let mut args = std::env::args_os().skip(1);
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--json") => wants_json = true,
                Some("--store") => store = args.next().map(PathBuf::from),
                Some("--anchor") => anchor = args.next().map(PathBuf::from),
                _ => return Err(format!("what is {}?", arg.display()).into()),
            }
        }
        let temporary = store.is_none().then(tempfile::tempdir).transpose()?;
        let beside = || temporary.as_ref().map(|dir| dir.path().join("vault"));
        let store = store.or_else(beside).ok_or("--store takes a directory")?;
        Ok(Self { wants_json, store, anchor, _temporary: temporary })
    }

    fn options(&self, bitgo: &Emulator) -> VaultBuilder {
        // On a container's own file system, which loses a vault with the container: yours does not.
        let options = Vault::builder(&self.store, bitgo.environment().clone())
            .dangerous_allow_file_system(FileSystem::Overlayfs);
        match &self.anchor {
            Some(anchor) => options.anchor(anchor),
            None => options,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let (given, mut end) = (Given::read()?, End::heard()?);
    let bitgo = Emulator::builder().session_lifetime(SESSION).start().await?;
    let tbtc = Coin::new("tbtc")?;
    let (wallet, unlisted) = (bitgo.add_wallet(&tbtc), bitgo.add_wallet(&tbtc));
    let mut tally = Tally::default();

    let vault = given.options(&bitgo).create(Passphrase::new(PASSPHRASE)).await?;
    println!(
        "A vault is made at {}, its keys {:?} in memory.",
        given.store.display(),
        vault.lock_level()
    );
    let issued = issue(&vault, &bitgo, wallet).await?;
    tally.issued += 1;
    if work(&vault, wallet, unlisted, &mut tally, &mut end).await?.is_break() {
        return stop(vault).await;
    }
    vault.close().await?;

    let vault = given.options(&bitgo).unlock(Passphrase::new(PASSPHRASE)).await?;
    let kept = vault.status("market-maker")?.counters[&tbtc];
    println!("\nClosed and unlocked again: {} tbtc are left.\n", kept.left().unwrap_or_default());
    let reopened = kept.accepted == Amount::new(5 * WITHDRAWAL);
    if work_on(&vault, wallet, &mut tally, &mut end).await?.is_break() {
        return stop(vault).await;
    }

    let counter = vault.status("market-maker")?.counters[&tbtc];
    let spent_local = counter.used().ok_or("the counters overflow")?;
    let spent_server = bitgo.spent_by(issued, &tbtc);
    vault.close().await?;
    let secrets = bitgo.secrets();
    let on_disk = on_disk(&given.store, &secrets)?;
    let on_wire = on_wire(&bitgo, &secrets, wallet)?;

    println!(
        "\nThe session was renewed {} times beside its use; no request failed.",
        tally.renewals
    );
    println!(
        "Spent: {spent_local} by the vault's ledger, {spent_server} by the server, of {LIMIT}."
    );
    println!(
        "Of {} secrets, {on_disk} were found on disk and {on_wire} on the wire.",
        secrets.len()
    );
    let holds = tally.renewals >= 2
        && spent_local == spent_server
        && spent_local <= Amount::new(LIMIT)
        && reopened
        && on_disk + on_wire == 0;
    if given.wants_json {
        let report = Report {
            tally,
            limit: LIMIT.to_string(),
            spent_local: spent_local.to_string(),
            spent_server: spent_server.to_string(),
            reopened,
            plaintext_on_disk: on_disk,
            plaintext_on_wire: on_wire,
        };
        println!("{}", serde_json::to_string(&report)?);
    }
    if holds { Ok(()) } else { Err("the story did not end as it should".into()) }
}

/// What was allotted to the bot is given back, so that the next one has the whole of it.
async fn stop(vault: Vault) -> Result<(), Box<dyn StdError>> {
    vault.close().await?;
    println!("Told to end: the vault is closed.");
    Ok(())
}

/// Logs in and issues the token that the bot lives on.
async fn issue(
    vault: &Vault,
    bitgo: &Emulator,
    wallet: WalletId,
) -> Result<TokenId, Box<dyn StdError>> {
    let login = Login::new(bitgo.email(), bitgo.password(), bitgo.otp()).extensible();
    let session = vault.login("desk", login).await?;
    println!("Logged in with OTP: session {} lives {SESSION:?}.", session.info.id);

    let token = CreateToken::new(&Label::new("market-maker")?, Duration::from_secs(30 * 86_400))
        .scope("wallet_spend_all".parse()?)
        .permitted_wallet(wallet)
        .spending_limit(&Coin::new("tbtc")?, Amount::new(LIMIT));
    let issued = vault.issue("desk", token, bitgo.otp()).await?;
    println!("Issued {}: it may spend {LIMIT} tbtc from wallet {wallet}.\n", issued.info.id);
    Ok(issued.info.id)
}

/// The bot's day: it withdraws with the one token and looks with the other. Told to end it does so
/// between two requests: one that is signed and given up counts as spent.
async fn work(
    vault: &Vault,
    wallet: WalletId,
    unlisted: WalletId,
    tally: &mut Tally,
    end: &mut End,
) -> Result<ControlFlow<()>, Box<dyn StdError>> {
    // A lease that is not signed gives its reservation back.
    let request = withdrawal(wallet, LIMIT)?;
    let lease = vault.lease_wait("market-maker", &request).await?;
    tally.leases += 1;
    lease.release();

    for _ in 0..5 {
        withdraw(vault, wallet, WITHDRAWAL, tally).await?;
        view(vault, "desk", wallet, tally).await?;
        if end.unless_told(sleep(Duration::from_millis(700))).await.is_none() {
            return Ok(ControlFlow::Break(()));
        }
    }
    let spent = withdraw(vault, unlisted, WITHDRAWAL, tally).await;
    tally.denied_wallet += denied(spent, Rule::Wallet)?;
    let seen = view(vault, "market-maker", wallet, tally).await;
    tally.denied_scope += denied(seen, Rule::Scope)?;
    tally.renewals += vault.status("desk")?.renewals;
    Ok(ControlFlow::Continue(()))
}

/// On where it stopped, until the limit says no; then until two renewals have been seen.
async fn work_on(
    vault: &Vault,
    wallet: WalletId,
    tally: &mut Tally,
    end: &mut End,
) -> Result<ControlFlow<()>, Box<dyn StdError>> {
    loop {
        match withdraw(vault, wallet, WITHDRAWAL, tally).await {
            Ok(()) => view(vault, "desk", wallet, tally).await?,
            refused => break tally.denied_limit += denied(refused, Rule::Limit)?,
        }
    }
    while tally.renewals + vault.status("desk")?.renewals < 2 {
        if end.unless_told(sleep(SESSION / 3)).await.is_none() {
            return Ok(ControlFlow::Break(()));
        }
        view(vault, "desk", wallet, tally).await?;
    }
    tally.renewals += vault.status("desk")?.renewals;
    Ok(ControlFlow::Continue(()))
}

/// Withdraws from `wallet` with the limited token.
async fn withdraw(
    vault: &Vault,
    wallet: WalletId,
    amount: u128,
    tally: &mut Tally,
) -> Result<(), Error> {
    send(vault, "market-maker", &withdrawal(wallet, amount)?, tally).await?;
    println!("  withdrew {amount} tbtc");
    Ok(())
}

fn withdrawal(wallet: WalletId, amount: u128) -> Result<Request, Error> {
    let body = json!({"recipients": [{"address": "tb1qexample", "amount": amount.to_string()}]});
    Ok(Request::post(&format!("/api/v2/tbtc/wallet/{wallet}/tx/initiate")).json(&body)?)
}

/// Looks at `wallet` with the token kept as `label`.
async fn view(
    vault: &Vault,
    label: &str,
    wallet: WalletId,
    tally: &mut Tally,
) -> Result<(), Error> {
    let request = Request::get(&format!("/api/v2/tbtc/wallet/{wallet}"))?;
    send(vault, label, &request, tally).await
}

async fn send(
    vault: &Vault,
    label: &str,
    request: &Request,
    tally: &mut Tally,
) -> Result<(), Error> {
    let answer = vault.send(label, request).await?;
    tally.leases += 1;
    tally.signed_requests += 1;
    assert_eq!(answer.outcome(), Outcome::Accepted, "{answer:?}");
    Ok(())
}

/// Counts a refusal by `rule`; anything else is the story's end.
fn denied(result: Result<(), Error>, rule: Rule) -> Result<u64, Box<dyn StdError>> {
    match result {
        Err(Error::Denied(denied)) if denied.rule() == rule => {
            println!("  {denied}");
            Ok(1)
        }
        Err(other) => Err(other.into()),
        Ok(()) => Err(format!("{rule} refused nothing").into()),
    }
}

/// How many of the secrets stand in any file of the vault.
fn on_disk(path: &Path, secrets: &[String]) -> Result<usize, Box<dyn StdError>> {
    let bytes = read_all(path)?;
    // The search itself is tried on what is there.
    if !contains(&bytes, b"BGVAULT\0") {
        return Err("the search of the disk finds nothing at all".into());
    }
    let own = [PASSPHRASE.to_owned(), "market-maker".to_owned()];
    Ok(secrets.iter().chain(&own).filter(|secret| stands_in(&bytes, secret)).count())
}

fn read_all(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        if entry.is_dir() {
            bytes.extend(read_all(&entry)?);
        } else if entry.is_file() {
            bytes.extend(fs::read(entry)?);
        }
    }
    Ok(bytes)
}

/// How many of the secrets stand in any request that the server received, or any answer.
fn on_wire(
    bitgo: &Emulator,
    secrets: &[String],
    wallet: WalletId,
) -> Result<usize, Box<dyn StdError>> {
    let mut bytes = Vec::new();
    for exchange in bitgo.traffic() {
        bytes.extend(exchange.request_head);
        bytes.extend(exchange.request_body);
        bytes.extend(exchange.answer_head);
        bytes.extend(exchange.answer_body);
    }
    if !contains(&bytes, wallet.to_string().as_bytes()) {
        return Err("the search of the wire finds nothing at all".into());
    }
    let own = [PASSPHRASE.to_owned()];
    Ok(secrets.iter().chain(&own).filter(|secret| stands_in(&bytes, secret)).count())
}

/// Whether a secret stands in `bytes` as its text, or as the bytes it means: of a token those of
/// its hex digits, of an extended private key the 32 of its scalar.
fn stands_in(bytes: &[u8], secret: &str) -> bool {
    let hex = secret.strip_prefix("v2x").unwrap_or_default();
    let token: Option<Vec<u8>> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    let scalar = bs58::decode(secret).with_check(None).into_vec().ok();
    let scalar = scalar.and_then(|xprv| Some(xprv.get(46..78)?.to_vec()));
    let mut raw = [token, scalar].into_iter().flatten().filter(|raw| raw.len() >= 16);
    raw.any(|raw| contains(bytes, &raw)) || contains(bytes, secret.as_bytes())
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
