//! What the server remembers: tokens, wallets, what went over the wire.

use super::account::{Account, fresh_id, fresh_token};
use super::auth::{Identity, living};
use super::exchange::Exchange;
use super::fault::Faults;
use super::oauth::OauthClient;
use super::received::Received;
use super::refused::Refused;
use super::spending::Spending;
use super::token::{Grant, Token};
use crate::crypto::{AuthKey, CryptoError};
use crate::id::{TokenId, WalletId};
use crate::money::{Amount, Coin};
use crate::token::TokenKind;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// How the server behaves.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) session_lifetime: Duration,
    pub(super) internal_lifetime: Duration,
    pub(super) has_ecdh_keychain: bool,
    pub(super) tokens_sign: bool,
    pub(super) limits_enforced: bool,
    pub(super) as_prod: bool,
    pub(super) traffic_recorded: bool,
    /// Beside those that BitGo lists.
    pub(super) erc20_coins: BTreeSet<Coin>,
    pub(super) internal: Grant,
}

/// A wallet of the account's enterprise.
pub(super) struct Wallet {
    pub(super) coin: Coin,
    /// Whether a second person must approve what leaves it.
    pub(super) wants_approval: bool,
}

/// Everything that changes.
pub(super) struct State {
    pub(super) account: Account,
    pub(super) settings: Settings,
    /// In the order they were issued.
    pub(super) tokens: Vec<Token>,
    pub(super) internal: Option<TokenId>,
    pub(super) oauth: OauthClient,
    pub(super) wallets: BTreeMap<WalletId, Wallet>,
    /// Where requests seem to come from.
    pub(super) source_ip: IpAddr,
    /// The one-time passwords that are good once each; `None` where it is always the same.
    pub(super) otps: Option<BTreeSet<String>>,
    pub(super) sso_required: bool,
    pub(super) spoofed: bool,
    pub(super) faults: Faults,
    pub(super) traffic: Vec<Exchange>,
}

impl State {
    pub(super) fn new(account: Account, settings: Settings) -> Result<Self, CryptoError> {
        Ok(Self {
            account,
            settings,
            tokens: Vec::new(),
            internal: None,
            oauth: OauthClient::new()?,
            wallets: BTreeMap::new(),
            source_ip: Ipv4Addr::LOCALHOST.into(),
            otps: None,
            sso_required: false,
            spoofed: false,
            faults: Faults::default(),
            traffic: Vec::new(),
        })
    }

    pub(super) fn add_wallet(&mut self, coin: &Coin) -> WalletId {
        let number = self.wallets.len() as u128 + 1;
        let id = WalletId::from_bytes(number.to_be_bytes());
        self.wallets.insert(id, Wallet { coin: coin.clone(), wants_approval: false });
        id
    }

    /// What was accepted of a coin, by all tokens together or by one.
    pub(super) fn spent(&self, by: Option<TokenId>, coin: &Coin) -> Amount {
        let tokens = self.tokens.iter().filter(|token| by.is_none_or(|id| token.id == id));
        let spends = tokens.map(|token| token.spending.of(coin).value);
        spends.fold(Amount::ZERO, |sum, spent| sum.checked_add(spent).unwrap_or(Amount::MAX))
    }

    /// Issues a token; its index among [`State::tokens`].
    pub(super) fn mint(
        &mut self,
        kind: TokenKind,
        grant: Grant,
        now: DateTime<Utc>,
        lifetime: Duration,
    ) -> Result<usize, Refused> {
        let secret = fresh_token(self.settings.tokens_sign)?;
        self.tokens.push(Token {
            id: fresh_id()?,
            kind,
            key: AuthKey::new(&secret),
            secret,
            spending: Spending::new(grant.limits.clone()),
            grant,
            ip: self.source_ip,
            created: now,
            expires: now + lifetime,
        });
        Ok(self.tokens.len() - 1)
    }
}

/// One request on its way through the server.
pub(super) struct Visit<'a> {
    pub(super) state: &'a mut State,
    pub(super) received: &'a Received,
    pub(super) identity: Option<&'a Identity>,
    pub(super) now: DateTime<Utc>,
    /// Whether what this request issues or extends has already ended (a fault).
    pub(super) already_expired: bool,
}

impl Visit<'_> {
    /// The living token behind the request, used from where it may be, with the single sign-on
    /// that the enterprise wants.
    pub(super) fn bearer(&mut self) -> Result<&mut Token, Refused> {
        let wants_sso = self.state.sso_required;
        let token = self.bearer_without_sso()?;
        if wants_sso { Err(Refused::needs_sso()) } else { Ok(token) }
    }

    /// The same, where no single sign-on is asked for.
    pub(super) fn bearer_without_sso(&mut self) -> Result<&mut Token, Refused> {
        let source_ip = self.state.source_ip;
        let token = living(self.identity, &mut self.state.tokens, self.now)?;
        if token.admits(source_ip) { Ok(token) } else { Err(Refused::ip(source_ip)) }
    }

    /// How long what is issued now shall live.
    pub(super) fn lifetime(&self, wanted: Duration) -> Duration {
        if self.already_expired { Duration::ZERO } else { wanted }
    }
}
