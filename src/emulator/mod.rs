//! A BitGo on this machine: an HTTP server on loopback that behaves as PROTOCOL.md says.
//!
//! Made for tests, examples and newcomers. It serves one account with an ECDH key, checks
//! every HMAC and signs its answers, seals the tokens it issues, counts spends exactly, and
//! fails on demand. It keeps its secrets in plain memory and shows them to whoever holds it:
//! it is no place for real ones.
//!
//! ```text
//! builder    how it is set up
//! account    who may log in, and under which keys tokens are issued
//! token      a token; spending: its limits and counters; ip_block: where it may be used
//! record     a token as it is shown
//! oauth      refresh tokens
//! state      tokens, wallets, faults, traffic
//! auth       which token a request proves to be of
//! routes     what each call does
//! received   a request; answer, reply, refused: what it gets, signed
//! server     listens; shared: what it and its owner hold together
//! control    the emulator driven over HTTP: `/_emulator/…`
//! fault      what goes wrong; line: cutting the connection
//! exchange   what went over the wire
//! ```
//!
//! ```
//! # use bitgo_vault::{SystemClock, api::*, emulator::Emulator};
//! # use std::sync::Arc;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bitgo = Emulator::start().await?;
//! let client = Client::new(bitgo.environment(), Arc::new(SystemClock::new()), ClientSettings::default())?;
//! let session = client
//!     .login(bitgo.email(), &bitgo.password(), &bitgo.otp(), &LoginOptions::default())
//!     .await?;
//! assert!(session.encrypted_ecdh_xprv.is_some());
//! bitgo.shutdown().await;
//! # Ok(()) }
//! ```

mod account;
mod answer;
mod auth;
mod builder;
pub mod control;
mod exchange;
mod fault;
mod ip_block;
mod line;
mod oauth;
mod received;
mod record;
mod refused;
mod reply;
mod routes;
mod server;
mod shared;
mod spending;
mod state;
mod token;

pub use builder::EmulatorBuilder;
pub use exchange::Exchange;
pub use fault::{Fault, FaultKind};
pub use oauth::OauthGrant;

use crate::crypto::CryptoError;
use crate::environment::Environment;
use crate::id::{TokenId, WalletId};
use crate::money::{Amount, Coin};
use crate::secret::{LoginPassword, Otp};
use crate::word_error::WordError;
use server::Server;
use shared::Shared;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Why the emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmulatorError {
    /// It holds its secrets in clear and serves whoever comes: on this machine only.
    #[error("{0} is not an address of loopback")]
    NotLoopback(SocketAddr),
    /// No port on loopback could be had.
    #[error("no port on loopback could be had")]
    Bind(#[from] io::Error),
    /// The account's keys could not be made.
    #[error("the account's keys could not be made")]
    Crypto(#[from] CryptoError),
    /// Its own address is no root URI.
    #[error("its own address is no root uri")]
    Address(#[from] WordError),
}

/// A running BitGo. It stops when dropped.
pub struct Emulator {
    shared: Arc<Shared>,
    server: Server,
    environment: Environment,
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Emulator {
    /// Starts one as it is by default.
    ///
    /// # Errors
    /// [`EmulatorError`] if no port or no randomness can be had.
    pub async fn start() -> Result<Self, EmulatorError> {
        Self::builder().start().await
    }

    /// One to be set up first.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::new()
    }

    /// Stops, and waits until the last answer is out.
    pub async fn shutdown(self) {
        self.server.stop().await;
    }

    /// Its root URI.
    pub fn url(&self) -> &str {
        self.environment.root_uri()
    }

    /// The key its tokens are issued under.
    pub fn server_xpub(&self) -> &str {
        self.environment.server_xpub()
    }

    /// It as an environment.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The account's e-mail.
    pub fn email(&self) -> &'static str {
        account::EMAIL
    }

    /// The account's password.
    pub fn password(&self) -> LoginPassword {
        LoginPassword::new(self.shared.state().account.password.expose())
    }

    /// The one-time password it takes, always, as BitGo's test environment does.
    pub fn otp(&self) -> Otp {
        Otp::new(account::OTP)
    }

    /// Takes these one-time passwords from now on, each once, and no other.
    pub fn take_each_once(&self, otps: impl IntoIterator<Item = Otp>) {
        let otps = otps.into_iter().map(|otp| otp.expose().to_owned()).collect();
        self.shared.state().otps = Some(otps);
    }

    /// Adds a wallet.
    pub fn add_wallet(&self, coin: &Coin) -> WalletId {
        self.shared.state().add_wallet(coin)
    }

    /// The first wallet of a coin, added if there is none.
    pub fn wallet(&self, coin: &Coin) -> WalletId {
        let mut state = self.shared.state();
        let found =
            state.wallets.iter().find(|(_, wallet)| wallet.coin == *coin).map(|(id, _)| *id);
        found.unwrap_or_else(|| state.add_wallet(coin))
    }

    /// Lets what leaves a wallet wait for somebody's approval: a spend is counted at once and
    /// answered 202.
    pub fn require_approval(&self, wallet: WalletId) {
        if let Some(wallet) = self.shared.state().wallets.get_mut(&wallet) {
            wallet.wants_approval = true;
        }
    }

    /// Lets requests seem to come from this address: 127.0.0.1 unless said otherwise.
    pub fn set_source_ip(&self, address: IpAddr) {
        self.shared.state().source_ip = address;
    }

    /// Lets the enterprise want a single sign-on that nobody has made, or no more.
    pub fn require_sso(&self, required: bool) {
        self.shared.state().sso_required = required;
    }

    /// Lets somebody act as the user (`spooferContext`), or no more.
    pub fn spoof(&self, spoofed: bool) {
        self.shared.state().spoofed = spoofed;
    }

    /// Lets an OAuth client in, as if the user had just agreed in a browser.
    ///
    /// # Errors
    /// [`EmulatorError::Crypto`] if no randomness can be had.
    pub fn grant_oauth(&self) -> Result<OauthGrant, EmulatorError> {
        Ok(self.shared.state().oauth.grant()?)
    }

    /// What it has accepted of a coin, from all tokens.
    pub fn spent(&self, coin: &Coin) -> Amount {
        self.shared.state().spent(None, coin)
    }

    /// What it has accepted of a coin from one token.
    pub fn spent_by(&self, token: TokenId, coin: &Coin) -> Amount {
        self.shared.state().spent(Some(token), coin)
    }

    /// Ends a token now, as the web interface would.
    pub fn revoke(&self, token: TokenId) {
        let now = self.shared.now();
        let mut state = self.shared.state();
        let found = state.tokens.iter_mut().find(|kept| kept.id == token);
        if let Some(token) = found.filter(|token| token.is_alive(now)) {
            token.expires = now;
        }
    }

    /// The long-lived tokens that are not over, by their labels that begin so, oldest first.
    pub fn living(&self, label: &str) -> Vec<TokenId> {
        let now = self.shared.now();
        let state = self.shared.state();
        let fits = |own: &Option<String>| own.as_deref().is_some_and(|own| own.starts_with(label));
        let tokens = state.tokens.iter().filter(|token| token.is_alive(now));
        tokens.filter(|token| fits(&token.grant.label)).map(|token| token.id).collect()
    }

    /// Every token it has issued, the account's password, the private keys of both ends and what
    /// OAuth clients got, in clear: what must be found nowhere.
    pub fn secrets(&self) -> Vec<String> {
        let state = self.shared.state();
        let account = &state.account;
        let tokens = state.tokens.iter().map(|token| token.secret.expose());
        let keys =
            [account.password.expose(), account.client_xprv.expose(), account.server_xprv.expose()];
        tokens.chain(keys).chain(state.oauth.secrets()).map(str::to_owned).collect()
    }

    /// Every byte it has received and answered, oldest first.
    pub fn traffic(&self) -> Vec<Exchange> {
        self.shared.state().traffic.clone()
    }

    /// How many requests it has received whose method and target start so, such as
    /// `GET /api/v2/user/session`. The empty text counts all.
    pub fn requests(&self, prefix: &str) -> usize {
        let state = self.shared.state();
        let starts = |exchange: &&Exchange| {
            format!("{} {}", exchange.method, exchange.target).starts_with(prefix)
        };
        state.traffic.iter().filter(starts).count()
    }

    /// The most requests that were under way at a time since this was asked last.
    pub fn most_at_once(&self) -> usize {
        self.shared.take_most_open()
    }

    /// Lets something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.shared.state().faults.add(fault);
    }

    /// Lets nothing more go wrong.
    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// Lets the server go down, now: for `downtime` every connection is refused, then it is back at
    /// the same address. What is under way is answered first; nothing is forgotten.
    pub async fn restart(&self, downtime: Duration) {
        self.shared.go_down(downtime);
        self.shared.wait_until_up(false).await;
    }

    /// Waits until it takes connections, if it is down.
    pub async fn back(&self) {
        self.shared.wait_until_up(true).await;
    }

    /// Sets its clock ahead of the true one by this many milliseconds, or behind it.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.shared.set_clock_offset_ms(offset_ms);
    }
}
