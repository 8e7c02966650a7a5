//! How an emulator is set up before it starts.

use super::account::Account;
use super::server::Server;
use super::shared::Shared;
use super::state::{Settings, State};
use super::token::Grant;
use super::{Emulator, EmulatorError};
use crate::clock::{Clock, SystemClock};
use crate::crypto::EnvelopeVersion;
use crate::environment::Environment;
use crate::money::{Amount, Coin};
use crate::scope::Scope;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long a session lives.
const SESSION_LIFETIME: Duration = Duration::from_secs(3600);
/// How long an internal token lives.
const INTERNAL_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// An emulator about to start.
pub struct EmulatorBuilder {
    clock: Arc<dyn Clock>,
    listen: SocketAddr,
    envelope_version: EnvelopeVersion,
    settings: Settings,
}

impl EmulatorBuilder {
    pub(super) fn new() -> Self {
        let scopes = ["openid", "profile", "wallet_view_all", "wallet_spend_all"];
        let scopes = scopes.iter().filter_map(|word| word.parse::<Scope>().ok()).collect();
        Self {
            clock: Arc::new(SystemClock::new()),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            envelope_version: EnvelopeVersion::V1,
            settings: Settings {
                session_lifetime: SESSION_LIFETIME,
                internal_lifetime: INTERNAL_LIFETIME,
                has_ecdh_keychain: true,
                tokens_sign: true,
                limits_enforced: true,
                as_prod: false,
                traffic_recorded: true,
                erc20_coins: BTreeSet::new(),
                internal: Grant { scopes, ..Grant::default() },
            },
        }
    }

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
        self.settings.internal.limits.coins.insert(coin.clone(), Some(limit));
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

    /// Wants of a new token what BitGo's production service wants: `ipRestrict`, in blocks of
    /// `/24` to `/32`, and no scope `all`.
    pub fn as_prod(mut self) -> Self {
        self.settings.as_prod = true;
        self
    }

    /// Takes a coin for an ERC-20 one, as those are that BitGo lists so: without a limit of its own
    /// it falls under `allErc20TokensLimit`.
    pub fn erc20_coin(mut self, coin: &Coin) -> Self {
        self.settings.erc20_coins.insert(coin.clone());
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

    /// Where it listens: on a free port of 127.0.0.1 unless said otherwise.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Starts to serve, on a task of the current runtime.
    ///
    /// # Errors
    /// [`EmulatorError`] if the address is not this machine's own, or no port or no randomness can
    /// be had.
    pub async fn start(self) -> Result<Emulator, EmulatorError> {
        if !self.listen.ip().is_loopback() {
            return Err(EmulatorError::NotLoopback(self.listen));
        }
        let state = State::new(Account::new(self.envelope_version)?, self.settings)?;
        let xpub = state.account.server_xpub.clone();
        let shared = Arc::new(Shared::new(state, self.clock));
        let server = Server::start(Arc::clone(&shared), self.listen).await?;
        let url = format!("http://{}", server.address());
        let environment = Environment::custom(&url, &xpub)?;
        Ok(Emulator { shared, server, environment })
    }
}
