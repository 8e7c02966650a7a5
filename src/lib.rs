//! A vault for BitGo access tokens, linked into the bot that needs them.
//!
//! A trading bot needs a token in every process, all day. In an environment variable it is
//! readable by anyone on the host, dead without warning when it expires, and good for any amount
//! the server allows. The vault keeps it sealed on disk and in memory, renews it before it ends,
//! checks scope and spending limit **before** a request leaves, and signs the request itself, so
//! that the token is never seen.
//!
//! ```
//! use bitgo_vault::{Amount, Coin, Label, Login, Passphrase, Request, Vault, api::CreateToken};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let bitgo = bitgo_vault::emulator::Emulator::start().await?;
//! # let (environment, otp) = (bitgo.environment().clone(), || bitgo.otp());
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("vault");
//! let (tbtc, passphrase) = (Coin::new("tbtc")?, Passphrase::new("correct horse battery staple"));
//! # let wallet = bitgo.wallet(&tbtc);
//! let vault = Vault::builder(path, environment);
//! # // A container's temporary directory.
//! # let vault = vault.dangerous_allow_file_system(bitgo_vault::FileSystem::Overlayfs);
//! let vault = vault.create(passphrase).await?;
//!
//! // Once: a session mints a token that may spend 0.05 tBTC from one wallet over its life.
//! vault.login("desk", Login::new(bitgo.email(), bitgo.password(), otp())).await?;
//! let token = CreateToken::new(&Label::new("market-maker")?, Duration::from_secs(30 * 86_400))
//!     .scope(format!("wallet_spend:{wallet}").parse()?)
//!     .spending_limit(&tbtc, Amount::new(5_000_000));
//! vault.issue("desk", token, otp()).await?;
//!
//! // All day: checked, reserved, signed, sent, verified, settled.
//! let body = serde_json::json!({"recipients": [{"address": "tb1qexample", "amount": "20000"}]});
//! let request = Request::post(&format!("/api/v2/tbtc/wallet/{wallet}/tx/initiate")).json(&body)?;
//! let answer = vault.send("market-maker", &request).await?;
//! assert_eq!(answer.status(), 200);
//! vault.close().await?;
//! # Ok(()) }
//! ```
//!
//! With the bot's own HTTP client, [`Vault::lease`] → [`Lease::sign`] → [`Signed::finish`] do the
//! same around it. What cannot be signed may be handed out by [`Lease::expose_token`], where a
//! rule allows it.
//!
//! How a vault is run, and what to do about each denial and alarm, stands in the [`guide`].
//!
//! # Without tokio
//!
//! [`VaultBuilder::blocking`] opens a [`BlockingVault`]: the same calls, each waited for on the thread
//! that makes it, whether that belongs to another runtime or to none. Tokens are renewed in the
//! background as ever, on one thread of the vault's own. [`Vault::blocking`] gives it to the threads of
//! an async program.
//!
//! ```
//! use bitgo_vault::{Login, Passphrase, Request, Vault};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let bitgos_own = tokio::runtime::Runtime::new()?;
//! # let bitgo = bitgos_own.block_on(bitgo_vault::emulator::Emulator::start())?;
//! # let (environment, otp) = (bitgo.environment().clone(), || bitgo.otp());
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("vault");
//! let vault = Vault::builder(path, environment);
//! # // A container's temporary directory.
//! # let vault = vault.dangerous_allow_file_system(bitgo_vault::FileSystem::Overlayfs);
//! let vault = vault.blocking().create(Passphrase::new("correct horse battery staple"))?;
//! vault.login("desk", Login::new(bitgo.email(), bitgo.password(), otp()))?;
//! let answer = vault.send("desk", &Request::get("/api/v2/user/session")?)?;
//! assert_eq!(answer.status(), 200);
//! vault.close()?;
//! # Ok(()) }
//! ```
//!
//! # Code map
//!
//! Dependencies point down only; the modules of one floor do not see each other.
//!
//! ```text
//! floor 4  vault      joins the rest: Vault, Lease, Signed
//! floor 3  error      wraps each floor's error
//! floor 2  store      sled: sealed tokens, ledger, audit log
//!          api        reqwest: BitGo's calls, answers verified
//!          refresh    when to renew; one task
//!          provider   passwords and one-time passwords, from wherever they are kept
//! floor 1  crypto     keys, records, BitGo's envelopes, ECDH issuance, request HMACs
//!          policy     request → action → allowed or denied; counters of a limit
//! floor 0  words      money, coins, scope, token, secret, environment, clocks; locked memory;
//!                     telemetry
//! ```
//!
//! # Features
//!
//! None by default. [`crypto`] and [`api`] are public so that they can be audited, measured and
//! fuzzed by themselves; what of them does not stand in a signature of [`Vault`] is outside of
//! semver until 1.0. `emulator`: a BitGo on this machine for tests and examples. `cli`: the command
//! `bitgo-vault`. `metrics`: counters, gauges and histograms ([`telemetry`]). `test-util`: seams for
//! tests, benches and fuzz targets, outside of semver.
//!
//! This is unofficial software, not affiliated with BitGo.

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// Floor 0: words.
mod clock;
mod coin_map;
mod coin_table;
mod decimal;
mod environment;
mod extended_key;
mod id;
mod locked;
mod money;
mod renewal_memory;
mod rotation;
mod scope;
mod secret;
mod server_clock;
mod sync;
pub mod telemetry;
mod token;
mod word_error;
// Floor 1: mechanisms.
pub mod crypto;
mod policy;
// Floor 2: the outside.
pub mod api;
mod provider;
mod refresh;
mod store;
// Floor 3.
mod error;
// Floor 4.
mod vault;
// The roof.
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod guide;
#[cfg(any(test, feature = "test-util"))]
pub mod test_util;

pub use clock::{Clock, SystemClock};
pub use coin_map::CoinMap;
pub use environment::{CustomEnvironment, Environment};
pub use error::{Error, ErrorKind};
pub use id::{EnterpriseId, LineageId, TokenId, WalletId};
pub use locked::LockLevel;
pub use money::{Amount, Coin};
pub use policy::{
    ActionKind, CoinRules, CoinUnit, Consulted, Counter, Decay, Denied, Draft, Drift, Explanation,
    LocalRules, Method, Outcome, Purpose, Request, RequestError, Rule, RulesError, TradingRules,
    Transfer, WindowRule,
};
pub use provider::{Provided, Provider, ProviderError, SecretCommand};
pub use refresh::{Phase, Standing};
pub use renewal_memory::Need;
pub use scope::{Permission, Reach, Scope};
pub use secret::{
    AccessToken, ClientSecret, EcdhXprv, LoginPassword, Otp, Passphrase, RefreshToken,
};
pub use store::{
    AuditAction, AuditChain, AuditEntry, Contents, Damage, DamagedToken, DamagedTree, FileSystem,
    HeaderReport, Holder, Repair, Report, StoreError, verify_audit_lines,
};
pub use token::{Label, Renewal, SpendingLimit, TokenInfo, TokenKind};
pub use vault::{
    Alarm, Answer, BlockingBuilder, BlockingControl, BlockingEvents, BlockingVault, Control,
    ControlCounter, ControlError, ControlRenewal, ControlStatus, ControlToken, ControlUnavailable,
    ControlVerdict, Event, Events, Lease, Login, RemoteToken, RemoteTokens, Revocation, Signed,
    TokenStatus, Vault, VaultBuilder,
};
pub use word_error::WordError;
