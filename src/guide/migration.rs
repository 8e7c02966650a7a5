//! From a token in an environment variable to a bot that never sees one, a step at a time.
//!
//! After each step the bot works, and can stay there. Each makes one thing better:
//!
//! | step | change to the bot | gained |
//! |---|---|---|
//! | 1. `import` | none | the token is sealed on disk; its end and its limit are known |
//! | 2. `exec` | none | it leaves dotfiles, units and images; each hand-out is audited |
//! | 3. `lease` | headers come from the vault | the bot sees no token; rules and limit hold before a request leaves |
//! | 4. `send` | the HTTP client goes | nothing is sent twice, no answer is believed unverified |
//! | 5. `rotate` | none | whoever had the old token has nothing |
//!
//! # 1. Take it in
//!
//! ```console
//! $ bitgo-vault --env prod init
//! $ printenv BITGO_ACCESS_TOKEN | bitgo-vault import market-maker --token-fd 0
//! ```
//!
//! BitGo is asked with the token what it may do, what it has spent and when it ends
//! ([`Vault::import`](crate::Vault::import)). Where BitGo is not reached it is kept *unverified* and only
//! views until it was. A token that does not begin with `v2x` cannot sign, and is not taken without
//! `--dangerous-accept-tokens-in-clear`: issue another instead.
//!
//! # 2. `exec`: the bot as it is
//!
//! ```console
//! $ bitgo-vault policy show market-maker | jq '.rawExposure = true' > rules.json
//! $ bitgo-vault policy set market-maker --file rules.json
//! $ bitgo-vault exec market-maker -- ./bot --its arguments
//! ```
//!
//! The bot finds the token in `BITGO_ACCESS_TOKEN`, as before; take it out of everything else. `exec` takes
//! no part in what the bot does: it gets signals and gives its exit code, and the vault is closed. The
//! token counts as spent from here on, so that the vault's limit says nothing yet: BitGo's holds. The
//! token is still in the bot's environment, for root and for the same user to read: do not stay here.
//!
//! # 3. `lease`: the bot's own client, the vault's signature
//!
//! Replace the line that set `Authorization` by a lease. Policy reads the exact bytes, budget is
//! reserved, headers are made, and the answer's HMAC settles it.
//!
//! ```
//! # use bitgo_vault::{Amount, Coin, Label, Login, Passphrase, api::CreateToken};
//! # use bitgo_vault::{Outcome, Request, Vault};
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let bitgo = bitgo_vault::emulator::Emulator::start().await?;
//! # let dir = tempfile::tempdir()?;
//! # let tbtc = Coin::new("tbtc")?;
//! # let wallet = bitgo.wallet(&tbtc);
//! # let vault = Vault::builder(dir.path().join("vault"), bitgo.environment().clone())
//! #     .dangerous_allow_file_system(bitgo_vault::FileSystem::Overlayfs)
//! #     .create(Passphrase::new("correct horse battery staple")).await?;
//! # vault.login("desk", Login::new(bitgo.email(), bitgo.password(), bitgo.otp())).await?;
//! # let token = CreateToken::new(&Label::new("market-maker")?, Duration::from_secs(30 * 86_400))
//! #     .scope(format!("wallet_spend:{wallet}").parse()?)
//! #     .spending_limit(&tbtc, Amount::new(5_000_000));
//! # vault.issue("desk", token, bitgo.otp()).await?;
//! # let root = bitgo.url();
//! # rustls::crypto::ring::default_provider().install_default().ok(); // or there is one already
//! # let client = reqwest::Client::builder().retry(reqwest::retry::never()).build()?;
//! let body = serde_json::json!({"recipients": [{"address": "tb1qexample", "amount": "20000"}]});
//! let request = Request::post(&format!("/api/v2/tbtc/wallet/{wallet}/tx/initiate")).json(&body)?;
//!
//! let lease = vault.lease_wait("market-maker", &request).await?; // or Err(Denied), nothing has left
//! let signed = lease.sign()?; // from here on it counts, until a verified answer says otherwise
//! let answer = client
//!     .post(format!("{root}{}", request.target())) // those very bytes, once
//!     .headers(signed.headers())
//!     .body(request.body().to_vec())
//!     .send()
//!     .await?;
//! let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
//! let outcome = signed.finish(status, &headers, &answer.bytes().await?)?;
//! assert_eq!(outcome, Outcome::Accepted);
//! # vault.close().await?;
//! # Ok(()) }
//! ```
//!
//! Switch the client's retries and redirects off: a request is signed to be sent once. Then forbid the raw
//! token again ([`Vault::forbid_raw_exposure`](crate::Vault::forbid_raw_exposure), or `rawExposure` to
//! `false`). What `exec` charged has no known outcome: `bitgo-vault reconcile LABEL`, ten minutes after the
//! last opening, goes by what BitGo has counted.
//!
//! Now the bot holds the vault: `bitgo-vault status`, `check` and `freeze` ask it. What the token needs
//! beside its scopes says the first [`Denied`](crate::Denied): [`policies`](super::policies).
//!
//! # 4. `send`: the vault's client too
//!
//! ```no_run
//! # async fn send(vault: &bitgo_vault::Vault, request: &bitgo_vault::Request)
//! #     -> Result<(), bitgo_vault::Error> {
//! let answer = vault.send("market-maker", request).await?;
//! # let _ = answer.status();
//! # Ok(()) }
//! ```
//!
//! The same in one call, with timeouts and a connection pool of the vault's
//! ([`ClientSettings`](crate::api::ClientSettings)); spends are never repeated, redirects never followed.
//!
//! # 5. Make the old token worthless
//!
//! It has been in files, shells and backups. [`operations`](super::operations) has rotation day:
//!
//! ```console
//! $ bitgo-vault rotate market-maker --email desk@example.com
//! ```
//!
//! The former token is revoked at BitGo. Narrow the next one meanwhile: `--scope wallet_spend:WALLET`, a
//! `--limit` for each coin, `--ip`. `bitgo-vault status` tells scopes that nothing has used for 30 days.
