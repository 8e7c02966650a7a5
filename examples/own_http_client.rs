//! Requests that a lease signs and that a client of the bot's own sends: reqwest in async code, ureq
//! in code that blocks. The answer's HMAC is verified before anything is done with it.
//!
//! ```text
//! cargo run --release --example own_http_client
//! ```
#![expect(clippy::print_stdout, reason = "this program tells a story")]

use bitgo_vault::api::CreateToken;
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{
    Amount, BlockingVault, Coin, Error, FileSystem, Label, Login, Outcome, Passphrase, Request,
    Vault,
};
use serde_json::json;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

const PASSPHRASE: &str = "correct horse battery staple";
const WITHDRAWAL: u128 = 9000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError + Send + Sync>> {
    let bitgo = Emulator::start().await?;
    let (directory, tbtc) = (tempfile::tempdir()?, Coin::new("tbtc")?);
    let wallet = bitgo.wallet(&tbtc);
    // On a container's own file system, which loses a vault with the container: yours does not.
    let vault = Vault::builder(directory.path().join("vault"), bitgo.environment().clone())
        .dangerous_allow_file_system(FileSystem::Overlayfs)
        .create(Passphrase::new(PASSPHRASE))
        .await?;
    vault.login("desk", Login::new(bitgo.email(), bitgo.password(), bitgo.otp())).await?;
    let token = CreateToken::new(&Label::new("payer")?, Duration::from_secs(30 * 86_400))
        .scope("wallet_spend_all".parse()?)
        .permitted_wallet(wallet)
        .spending_limit(&tbtc, Amount::new(100_000));
    vault.issue("desk", token, bitgo.otp()).await?;
    let body =
        json!({"recipients": [{"address": "tb1qexample", "amount": WITHDRAWAL.to_string()}]});
    let target = format!("/api/v2/tbtc/wallet/{wallet}/tx/initiate");
    let request = Arc::new(Request::post(&target).json(&body)?);
    let url = format!("{}{}", bitgo.url(), request.target());

    // A client that repeats nothing and goes nowhere else: a signature is for one request, once.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()?;
    let outcome = by_reqwest(&vault, &request, &client, &url).await?;
    println!("reqwest: {outcome:?}");

    // The same vault from a thread that may block.
    let (blocking, same, there) = (vault.blocking(), Arc::clone(&request), url.clone());
    let sent = tokio::task::spawn_blocking(move || by_ureq(&blocking, &same, &there));
    let other = sent.await??;
    println!("ureq: {other:?}");

    // An answer that somebody altered on its way is refused, and what was asked for counts as spent.
    bitgo.inject(Fault::new(FaultKind::BadHmac).on("POST", request.target()));
    let refused = by_reqwest(&vault, &request, &client, &url).await;
    let told = refused.as_ref().err().map(ToString::to_string).unwrap_or_default();
    println!("reqwest: {told}");

    let counter = vault.status("payer")?.counters[&tbtc];
    println!("{} accepted, {} uncertain", counter.accepted, counter.uncertain);
    vault.close().await?;
    let is_refused =
        refused.is_err_and(|error| matches!(error.downcast_ref(), Some(Error::Untrusted(_))));
    let holds = [outcome, other] == [Outcome::Accepted; 2]
        && is_refused
        && counter.accepted == Amount::new(2 * WITHDRAWAL)
        && counter.uncertain == Amount::new(WITHDRAWAL);
    if holds { Ok(()) } else { Err("the story did not end as it should".into()) }
}

async fn by_reqwest(
    vault: &Vault,
    request: &Request,
    client: &reqwest::Client,
    url: &str,
) -> Result<Outcome, Box<dyn StdError + Send + Sync>> {
    let signed = vault.lease_wait("payer", request).await?.sign()?;
    let asked = client.post(url).headers(signed.headers()).body(request.body().to_vec());
    let answer = asked.send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Ok(signed.finish(status, &headers, &answer.bytes().await?)?)
}

fn by_ureq(
    vault: &BlockingVault,
    request: &Request,
    url: &str,
) -> Result<Outcome, Box<dyn StdError + Send + Sync>> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build();
    let signed = vault.lease_wait("payer", request)?.sign()?;
    let asked = ureq::Agent::from(agent).post(url);
    let asked =
        signed.header_strings().fold(asked, |asked, (name, value)| asked.header(name, value));
    let (head, mut body) = asked.send(request.body())?.into_parts();
    let body = body.read_to_vec()?;
    Ok(signed.finish(head.status.as_u16(), &head.headers, &body)?)
}
