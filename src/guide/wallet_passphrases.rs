//! The secrets beside the token: wallet passphrases, and tokens for what cannot be signed.
//!
//! # A wallet's passphrase
//!
//! A wallet's key is encrypted under a passphrase, which whoever signs a transaction must have. It is not
//! the token's, and **the vault never holds it**: token and wallet key in one place would make two
//! factors one. Where you made both the token and the wallet it is the passphrase you chose for the
//! wallet; else it is your BitGo login passphrase.
//!
//! | the wallet | who signs | the bot needs |
//! |---|---|---|
//! | custodial | BitGo, after its own policies and approvals | the token alone: `tx/initiate` |
//! | self-custody, by BitGo Express | Express, on this machine | the token, and the passphrase in `sendcoins` or `sendmany` |
//! | self-custody, by your own signer | your signer | the token; the vault believes what you declare (`tx/send` of a transaction made elsewhere) |
//!
//! **BitGo Express.** `walletPassphrase` goes to your Express, never to BitGo. [`Vault::send`] refuses
//! `sendcoins` and `sendmany` unless the vault's own environment is on this machine (loopback); for an
//! Express beside a vault of BitGo's, lease the request and send it with a client of the bot's own:
//!
//! ```no_run
//! # use bitgo_vault::{Error, Request, Vault};
//! # async fn pay(vault: &Vault, wallet: &str, passphrase: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let request = Request::post(&format!("/api/v2/btc/wallet/{wallet}/sendcoins")).json(
//!     &serde_json::json!({"address": "bc1qtreasury", "amount": "20000", "walletPassphrase": passphrase}),
//! )?;
//! let signed = vault.lease_wait("payer", &request).await?.sign()?;
//! // POST request.body() with signed.headers() to http://127.0.0.1:3080, once, without retries; then
//! # let (status, headers, body) = (200, http::HeaderMap::new(), Vec::<u8>::new());
//! let outcome = signed.finish(status, &headers, &body)?;
//! # let _ = outcome;
//! # Ok(()) }
//! ```
//!
//! An [`Request`]'s body is wiped when it is dropped, and none of it stands in a log or an error. What the
//! bot read the passphrase into is the bot's to wipe. Do not put it into a body for `bitgo-vault check`:
//! no rule reads it.
//!
//! Keep it where the vault's passphrase is not: a credential of its own
//! ([`containers`](super::containers)), read when it is used.
//!
//! # What cannot be signed
//!
//! The vault signs HTTP requests, one by one. Two of BitGo's ways in are none:
//!
//! * **WebSocket** (prices, order updates): the token travels when the connection is opened, and no
//!   request is signed after that.
//! * **FIX**: a session is logged on with a token.
//!
//! Whoever has that connection has the token. So give it **a token of its own, that only views**: no
//! `wallet_spend`, no `trade_trade`, from one address. BitGo's limit is then no matter, and neither is the
//! vault's promise about spends. Orders go over REST, signed.
//!
//! ```console
//! $ bitgo-vault issue feed --scope trade_view --no-limit --ip 203.0.113.7
//! $ echo '{"actions": ["view"], "rawExposure": true}' | bitgo-vault policy set feed --loosen
//! $ bitgo-vault exec feed -- ./price-feed          # finds it in BITGO_ACCESS_TOKEN
//! ```
//!
//! From a program: [`Lease::expose_token`]. A token that only views charges nothing when it is handed out.
//! When it is renewed or revoked the connection has the former one: open it anew.
//!
//! Orders over FIX need a token that trades: BitGo's own bounds are the only ones for it. Keep it out of
//! the vault that spends, and its account's balance small.
//!
//! [`Vault::send`]: crate::Vault::send
//! [`Request`]: crate::Request
//! [`Lease::expose_token`]: crate::Lease::expose_token
