//! A store of many tokens, for what is said of its speed, its size and its memory.

use super::store::place;
use crate::clock::{Clock, SystemClock};
use crate::crypto::{CryptoError, KdfParams, random};
use crate::environment::Environment;
use crate::id::{EnterpriseId, TokenId};
use crate::money::{Amount, Coin};
use crate::policy::{Charge, LocalRules, Moment, Outcome};
use crate::secret::{AccessToken, EcdhXprv, Passphrase};
use crate::store::{Account, SealedSecret, Store, StoreError, TokenRecord, TokenSecret};
use crate::token::{Label, Renewal, SpendingLimit, TokenInfo, TokenKind};
use chrono::{DateTime, Duration, Utc};
use getrandom::SysRng;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration as StdDuration;
use std::{panic, thread};
use zeroize::Zeroizing;

/// So many writers at a time: those that wait together share a sync.
const WRITERS: usize = 64;
const SCOPES: [&str; 6] = [
    "openid",
    "profile",
    "trade_view",
    "wallet_spend_enterprise",
    "wallet_view_enterprise",
    "wallet_view:5dd01b8dd76ec6b8efe1ed0ef94e6b62",
];
const COINS: [&str; 2] = ["tbtc", "hteth"];
/// As long as a WIF and an extended private key are.
const EXTENSION_KEY: &str = "cVKJHxvKj7VPKYnqzFTUiWUkGsmGpKiQtTkAS5tHgKpPPrLzPxwd";
const XPRV_LEN: usize = 111;

/// A store of tokens whose rows are those of real ones: label, scopes, limits, account.
pub struct ManyTokens {
    store: Store,
    tokens: Vec<(TokenRecord, SealedSecret)>,
    charges: [Charge; 1],
}

impl ManyTokens {
    /// Makes an empty store whose key derivation costs the least.
    ///
    /// # Errors
    /// Those of the store.
    pub fn create(dir: &Path, passphrase: &Passphrase) -> Result<Self, StoreError> {
        let kdf = KdfParams::new(8, 1, 1)?;
        Self::of(Store::create(&place(dir), passphrase, kdf, &Environment::Test, now())?)
    }

    /// Does what unlocking a vault does with its store, until the tokens are in memory, sealed.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(dir: &Path, passphrase: &Passphrase) -> Result<Self, StoreError> {
        let mut opened = Self::open_store_alone(dir, passphrase)?;
        opened.tokens = opened.store.take_opened();
        Ok(opened)
    }

    /// As [`ManyTokens::open`], but no token is taken into memory: what the store alone needs.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open_store_alone(dir: &Path, passphrase: &Passphrase) -> Result<Self, StoreError> {
        Self::of(Store::open(&place(dir), passphrase, &Environment::Test, now())?)
    }

    fn of(store: Store) -> Result<Self, StoreError> {
        let charge = Charge::withdrawal(coin(COINS[0])?, Amount::new(1));
        Ok(Self { tokens: Vec::new(), store, charges: [charge] })
    }

    /// How many tokens there are.
    pub fn count(&self) -> usize {
        self.tokens.len()
    }

    /// Adds `n` tokens, as many of them to an account as said.
    ///
    /// # Errors
    /// Those of the store.
    pub fn add(&mut self, n: usize, tokens_per_account: usize) -> Result<(), StoreError> {
        let (next, end) = (AtomicUsize::new(self.count()), self.count() + n);
        let add = || {
            let mut added = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= end {
                    return Ok::<_, StoreError>(added);
                }
                added.push(self.add_one(i, tokens_per_account)?);
            }
        };
        // A door that takes many tokens in one commit would go here; until then group commit
        // carries them.
        let added = thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS.min(n)).map(|_| scope.spawn(add)).collect();
            let join = |writer: thread::ScopedJoinHandle<'_, _>| {
                writer.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
            };
            writers.into_iter().map(join).collect::<Result<Vec<_>, _>>()
        })?;
        self.tokens.extend(added.into_iter().flatten());
        Ok(())
    }

    fn add_one(
        &self,
        i: usize,
        tokens_per_account: usize,
    ) -> Result<(TokenRecord, SealedSecret), StoreError> {
        let user = user(i / tokens_per_account);
        let record = TokenRecord {
            lineage: self.store.new_lineage()?,
            label: Label::new(&format!("market maker #{i}"))
                .map_err(|_| CryptoError::Parameter("label"))?,
            account: Some(user.clone()),
            renewal: Renewal::Manual,
            rules: LocalRules::default().into(),
            is_revoked: false,
            info: info()?,
        };
        let token = random::<32>(&mut SysRng)?;
        let secret = TokenSecret {
            token: AccessToken::new(format!("v2x{}", base16ct::lower::encode_string(&token))),
            extension_key: Some(Zeroizing::new(EXTENSION_KEY.into())),
        };
        let account = i
            .is_multiple_of(tokens_per_account)
            .then(|| Account { user, ecdh_xprv: EcdhXprv::new("x".repeat(XPRV_LEN)) });
        let sealed = self.store.add_token(&record, &secret, account.as_ref())?;
        Ok((record, sealed))
    }

    /// Opens a token as a lease does: it is in memory, sealed.
    ///
    /// # Errors
    /// Those of the store.
    pub fn read(&self, i: usize) -> Result<AccessToken, StoreError> {
        let (record, sealed) = &self.tokens[i];
        Ok(self.store.open_secret(record.lineage, sealed)?.token)
    }

    /// Gets an account's key from the database and opens it: its record is as long as a token's.
    ///
    /// # Errors
    /// Those of the store.
    pub fn read_account(&self, user: &str) -> Result<EcdhXprv, StoreError> {
        let missing = StoreError::Unreadable { tree: "accounts", what: "a record is missing" };
        Ok(self.store.account(user)?.ok_or(missing)?.ecdh_xprv)
    }

    /// Reserves a spend of a token, durably.
    ///
    /// # Errors
    /// Those of the store.
    pub fn reserve(&self, i: usize) -> Result<(), StoreError> {
        let lineage = self.tokens[i].0.lineage;
        self.store.reserve_alone(&lineage, &self.charges)?;
        Ok(())
    }

    /// A spend of a token as a bot makes it: reserved from what is allotted, or durably, and settled as
    /// accepted. Nobody brings the settlements to the disk.
    ///
    /// # Errors
    /// Those of the store.
    pub fn spend(&self, i: usize, now: StdDuration) -> Result<(), StoreError> {
        let escrow = self.store.escrow(self.tokens[i].0.lineage).ok_or(StoreError::Removed)?;
        let now = Moment { monotonic: now, server_ms: 1, wall_ms: 0 };
        let draw = self.store.reserve(&escrow, &self.charges, now)?;
        self.store.settle(&escrow, &self.charges, draw, Outcome::Accepted);
        Ok(())
    }

    /// Settles a spend that was reserved; does not wait for the disk.
    pub fn settle(&self, i: usize) {
        self.store.settle_latest(&self.tokens[i].0.lineage, &self.charges, Outcome::Accepted);
    }
}

/// The name of an account: the first has number 0.
pub fn user(account: usize) -> String {
    format!("{account:032x}")
}

fn info() -> Result<TokenInfo, StoreError> {
    let limit = SpendingLimit { limit: Some(Amount::MAX), spent: Amount::ZERO };
    let created_at = now();
    Ok(TokenInfo {
        id: TokenId::from_bytes(random(&mut SysRng)?),
        kind: TokenKind::LongLived,
        scopes: SCOPES.map(crate::scope::Scope::of_server).into(),
        enterprise: Some(EnterpriseId::from_bytes([8; 16])),
        permitted_wallets: None,
        permitted_enterprises: None,
        created_at: Some(created_at),
        expires_at: Some(created_at + Duration::days(3650)),
        is_extensible: false,
        ip_restrict: vec!["203.0.113.7/32".into()],
        spending_limits: COINS
            .iter()
            .map(|name| Ok((coin(name)?, limit)))
            .collect::<Result<_, StoreError>>()?,
        erc20_limit: None,
        issued_in_clear: false,
    })
}

fn coin(name: &str) -> Result<Coin, StoreError> {
    Ok(Coin::new(name).map_err(|_| CryptoError::Parameter("coin"))?)
}

fn now() -> DateTime<Utc> {
    SystemClock::new().now()
}
