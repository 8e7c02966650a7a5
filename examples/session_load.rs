//! How many signed `GET session` a second the client and the emulator do together on loopback, each
//! signed, verified, signed again and verified again: `session_load [SECONDS [AT ONCE]]`, 30 and 16
//! unless said otherwise. Ends with an error at the first call that fails.

use bitgo_vault::api::wire::Issued;
use bitgo_vault::api::{Auth, Client, ClientSettings, LoginOptions};
use bitgo_vault::crypto::{
    AuthKey, AuthVersion, EcdhPrivateKey, EcdhPublicKey, open_token, open_xprv,
};
use bitgo_vault::emulator::Emulator;
use bitgo_vault::{Clock, SystemClock};
use std::error::Error;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default| args.next().map_or(Ok(default), |text| text.parse::<u32>());
    let (secs, at_once) = (number(30)?, number(16)?);

    let bitgo = Emulator::builder().without_traffic().start().await?;
    let clock = Arc::new(SystemClock::new());
    // A repetition would hide an error.
    let settings = ClientSettings::default().retries(0);
    let client = Client::new(bitgo.environment(), clock.clone(), settings)?;
    let key = Arc::new(log_in(&bitgo, &client).await?);

    let end = clock.monotonic() + Duration::from_secs(secs.into());
    let mut callers = JoinSet::new();
    for _ in 0..at_once {
        let (client, key, clock) = (client.clone(), Arc::clone(&key), clock.clone());
        callers.spawn(async move {
            let mut calls = 0_u32;
            while clock.monotonic() < end {
                client.session(Auth::Hmac(&key, AuthVersion::V3)).await?;
                calls += 1;
            }
            Ok::<_, bitgo_vault::api::ApiError>(calls)
        });
    }
    let mut calls = 0;
    while let Some(done) = callers.join_next().await {
        calls += done??;
    }
    bitgo.shutdown().await;
    let rate = calls / secs.max(1);
    writeln!(stdout(), "{calls} signed GET session in {secs} s, {at_once} at once: {rate}/s")?;
    Ok(())
}

async fn log_in(bitgo: &Emulator, client: &Client) -> Result<Box<AuthKey>, Box<dyn Error>> {
    let (password, options) = (bitgo.password(), LoginOptions::default());
    let login = client.login(bitgo.email(), &password, &bitgo.otp(), &options).await?;
    let sealed = login.encrypted_ecdh_xprv.ok_or("the account has a key")?;
    let (ecdh_xprv, _) = open_xprv(&sealed.0, &password)?;
    let Issued::Sealed { encrypted_token, derivation_path } = login.issued else {
        return Err("the session came in clear".into());
    };
    let own = EcdhPrivateKey::parse(&ecdh_xprv)?;
    let server = EcdhPublicKey::parse(bitgo.server_xpub())?;
    Ok(AuthKey::new(&open_token(&own, &server, &derivation_path, &encrypted_token)?))
}
