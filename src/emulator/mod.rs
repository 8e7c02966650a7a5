//! A BitGo on this machine: an HTTP server on loopback that behaves as PROTOCOL.md says.
//!
//! Made for tests, examples and newcomers. It serves one account with an ECDH key, checks
//! every HMAC and signs its answers, seals the tokens it issues, counts spends exactly, and
//! fails on demand. It keeps its secrets in plain memory and shows them to whoever holds it:
//! it is no place for real ones.
//!
//! ```text
//! account    who may log in, and under which keys tokens are issued
//! token      a token, its limits and counters, its record
//! state      tokens, wallets, faults, traffic
//! auth       which token a request proves to be of
//! routes     what each call does
//! received   a request; reply, refused: its answer, signed
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
mod auth;
mod exchange;
mod fault;
mod line;
mod received;
mod refused;
mod reply;
mod routes;
mod server;
mod state;
mod token;

pub use exchange::Exchange;
pub use fault::{Fault, FaultKind};

use crate::clock::{Clock, SystemClock};
use crate::crypto::{CryptoError, EnvelopeVersion};
use crate::environment::Environment;
use crate::id::{TokenId, WalletId};
use crate::money::{Amount, Coin};
use crate::scope::Scope;
use crate::secret::{LoginPassword, Otp};
use crate::word_error::WordError;
use account::Account;
use server::{Server, Shared};
use state::{Settings, State};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use token::Grant;

/// How long a session lives.
const SESSION_LIFETIME: Duration = Duration::from_secs(3600);
/// How long an internal token lives.
const INTERNAL_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Why the emulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmulatorError {
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

/// An emulator about to start.
pub struct EmulatorBuilder {
    clock: Arc<dyn Clock>,
    envelope_version: EnvelopeVersion,
    settings: Settings,
}

impl EmulatorBuilder {
    /// How long a session lives: 1 hour unless said otherwise.
    pub fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.session_lifetime = lifetime;
        self
    }

    /// How long an internal token lives: 24 hours unless said otherwise. It is renewed when
    /// asked for past half of that.
    pub fn internal_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.internal_lifetime = lifetime;
        self
    }

    /// Lets internal tokens spend `coin` up to `limit`, each anew. Without it they only view.
    pub fn internal_spending_limit(mut self, coin: &Coin, limit: Amount) -> Self {
        self.settings.internal.limits.insert(coin.clone(), Some(limit));
        self
    }

    /// The envelope tokens are sealed in: version 1 unless said otherwise.
    pub fn envelope_version(mut self, version: EnvelopeVersion) -> Self {
        self.envelope_version = version;
        self
    }

    /// An account without an ECDH key: tokens come in clear, and may be sent so.
    pub fn without_ecdh_keychain(mut self) -> Self {
        self.settings.has_ecdh_keychain = false;
        self
    }

    /// Issues tokens of the older kind, 64 hex digits, which cannot sign.
    pub fn with_older_tokens(mut self) -> Self {
        self.settings.tokens_sign = false;
        self
    }

    /// Counts spends but refuses none. A test of somebody else's limit must switch this on, or
    /// it proves nothing.
    pub fn without_limits(mut self) -> Self {
        self.settings.limits_enforced = false;
        self
    }

    /// Keeps no [`Emulator::traffic`]: for load tests.
    pub fn without_traffic(mut self) -> Self {
        self.settings.traffic_recorded = false;
        self
    }

    /// The clock it goes by: the machine's unless said otherwise.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts to serve on a free port of 127.0.0.1, on a task of the current runtime.
    ///
    /// # Errors
    /// [`EmulatorError`] if no port or no randomness can be had.
    pub async fn start(self) -> Result<Emulator, EmulatorError> {
        let state = State::new(Account::new(self.envelope_version)?, self.settings);
        let xpub = state.account.server_xpub.clone();
        let shared = Arc::new(Shared::new(state, self.clock));
        let server = Server::start(Arc::clone(&shared)).await?;
        let url = format!("http://{}", server.address());
        let environment = Environment::custom(&url, &xpub)?;
        Ok(Emulator { shared, server, environment })
    }
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
        let scopes = ["openid", "profile", "wallet_view_all", "wallet_spend_all"];
        let scopes = scopes.iter().filter_map(|word| word.parse::<Scope>().ok()).collect();
        EmulatorBuilder {
            clock: Arc::new(SystemClock::new()),
            envelope_version: EnvelopeVersion::V1,
            settings: Settings {
                session_lifetime: SESSION_LIFETIME,
                internal_lifetime: INTERNAL_LIFETIME,
                has_ecdh_keychain: true,
                tokens_sign: true,
                limits_enforced: true,
                traffic_recorded: true,
                internal: Grant { scopes, ..Grant::default() },
            },
        }
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

    /// The one-time password it takes, always.
    pub fn otp(&self) -> Otp {
        Otp::new(account::OTP)
    }

    /// Adds a wallet.
    pub fn add_wallet(&self, coin: &Coin) -> WalletId {
        self.shared.state().add_wallet(coin)
    }

    /// The first wallet of a coin, added if there is none.
    pub fn wallet(&self, coin: &Coin) -> WalletId {
        let mut state = self.shared.state();
        let found = state.wallets.iter().find(|(_, of)| *of == coin).map(|(id, _)| *id);
        found.unwrap_or_else(|| state.add_wallet(coin))
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

    /// Every token it has issued, the account's password and the private keys of both ends, in
    /// clear: what must be found nowhere.
    pub fn secrets(&self) -> Vec<String> {
        let state = self.shared.state();
        let account = &state.account;
        let tokens = state.tokens.iter().map(|token| token.secret.expose());
        let keys =
            [account.password.expose(), account.client_xprv.expose(), account.server_xprv.expose()];
        tokens.chain(keys).map(str::to_owned).collect()
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

    /// Lets something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.shared.state().faults.add(fault);
    }

    /// Lets nothing more go wrong.
    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// Sets its clock ahead of the true one by this many milliseconds, or behind it.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.shared.set_clock_offset_ms(offset_ms);
    }
}
