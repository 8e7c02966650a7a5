//! Work on a store without a vault around it, for tests that kill the worker or damage its files.
//!
//! All that a token is made of follows from its version: whoever knows which version was put knows
//! every byte that must be found again, and a part of another version is seen.

use super::store::place;
use crate::clock::{Clock, SystemClock};
use crate::crypto::{CryptoError, KdfParams};
use crate::environment::Environment;
use crate::id::{LineageId, TokenId};
use crate::money::{Amount, Coin};
use crate::policy::{Charge, Counter, Draw, LocalRules, Outcome};
use crate::secret::{AccessToken, EcdhXprv, Passphrase};
use crate::store::{
    Account, AuditAction, Damage, LedgerError, Opening, SealedSecret, Store, StoreError,
    TokenRecord, TokenSecret,
};
use crate::token::{Label, Renewal, SpendingLimit, TokenInfo, TokenKind};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// A store at work. Several threads may share it, each with labels of its own.
pub struct Work {
    store: Store,
    /// What opening has read: of a damaged store that alone is known.
    opened: Vec<(TokenRecord, SealedSecret)>,
    records: Mutex<HashMap<String, TokenRecord>>,
    /// What was reserved and not settled.
    draws: Mutex<Vec<(Drawn, Draw)>>,
}

/// Of which lineage, in which coin, how much.
type Drawn = (LineageId, String, u64);

/// A token as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptToken {
    /// What is known of it.
    pub info: TokenInfo,
    /// Its local rules.
    pub rules: LocalRules,
    /// The token itself.
    pub token: String,
    /// The key that extends it.
    pub extension_key: Option<String>,
    /// What it spent; `None` where its ledger is gone.
    pub counters: Option<BTreeMap<Coin, Counter>>,
}

impl KeptToken {
    /// The token of a version, of which nothing is spent.
    ///
    /// # Errors
    /// None: the coins are fixed, and are names of coins.
    pub fn new(version: u64) -> Result<Self, StoreError> {
        let limit = SpendingLimit { limit: Some(Work::LIMIT), spent: Amount::ZERO };
        let length = match version {
            Work::LONG.. => 6000,
            _ => usize::from(version.to_le_bytes()[0]),
        };
        let limits = Work::COINS.iter().map(|name| Ok((coin(name)?, limit)));
        let info = TokenInfo {
            id: Work::id(version),
            kind: TokenKind::LongLived,
            scopes: vec![crate::scope::Scope::of_server("wallet_spend_all")],
            enterprise: None,
            permitted_wallets: None,
            permitted_enterprises: None,
            created_at: Some(DateTime::UNIX_EPOCH),
            expires_at: None,
            is_extensible: true,
            // Records differ in length, as real ones do.
            ip_restrict: vec!["x".repeat(length)],
            spending_limits: limits.collect::<Result<_, StoreError>>()?,
            erc20_limit: None,
            issued_in_clear: false,
        };
        let counters = info.spending_limits.iter();
        let counters = counters.map(|(coin, limit)| (coin.clone(), Counter::begin(limit)));
        Ok(Self {
            counters: Some(counters.collect()),
            info,
            rules: LocalRules::default(),
            token: format!("v2x{version:064x}"),
            extension_key: Some(format!("c{version:051x}")),
        })
    }
}

impl Work {
    /// The coins that every token may spend.
    pub const COINS: [&'static str; 4] = ["tbtc", "hteth", "tsol", "talgo"];
    /// How much of each: more than any test uses up.
    pub const LIMIT: Amount = Amount::new(1 << 100);

    /// From this version on the records have six kilobytes each.
    pub const LONG: u64 = 1 << 56;

    /// The id that goes with a version.
    pub fn id(version: u64) -> TokenId {
        TokenId::from_bytes(u128::from(version).to_be_bytes())
    }

    /// Makes an empty store whose key derivation costs the least.
    ///
    /// # Errors
    /// Those of the store.
    pub fn create(dir: &Path, passphrase: &Passphrase) -> Result<Self, StoreError> {
        let kdf = KdfParams::new(8, 1, 1)?;
        Self::of(Store::create(&place(dir), passphrase, kdf, &Environment::Test, now())?)
    }

    /// Opens a store, if it is whole.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(dir: &Path, passphrase: &Passphrase) -> Result<Self, StoreError> {
        Self::of(Store::open(&place(dir), passphrase, &Environment::Test, now())?)
    }

    /// Opens a store for reading, though it may be damaged.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open_degraded(dir: &Path, passphrase: &Passphrase) -> Result<Self, StoreError> {
        let opening = Opening::Degraded;
        Self::of(Store::open_as(opening, &place(dir), passphrase, &Environment::Test, now())?)
    }

    fn of(store: Store) -> Result<Self, StoreError> {
        let opened = store.take_opened();
        let records = opened.iter().map(|(record, _)| (record.label.to_string(), record.clone()));
        let (records, draws) = (Mutex::new(records.collect()), Mutex::default());
        Ok(Self { store, opened, records, draws })
    }

    /// What is wrong with the database, if it was opened all the same.
    pub fn damage(&self) -> Option<&Damage> {
        self.store.damage()
    }

    /// Keeps a token and its account under a new label, or replaces the one that is there.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put(&self, label: &str, version: u64) -> Result<(), StoreError> {
        let KeptToken { info, rules, token, extension_key, .. } = KeptToken::new(version)?;
        let secret = TokenSecret {
            token: AccessToken::new(token),
            extension_key: extension_key.map(Zeroizing::new),
        };
        let known = self.records(|records| records.get(label).cloned());
        let record = if let Some(known) = known {
            let record = TokenRecord { info, ..known };
            self.store.replace_token(&record, &secret, 0)?;
            record
        } else {
            let record = TokenRecord {
                lineage: self.store.new_lineage()?,
                label: Label::new(label).map_err(|_| CryptoError::Parameter("label"))?,
                account: Some(label.into()),
                renewal: Renewal::Manual,
                rules: rules.into(),
                is_revoked: false,
                info,
            };
            let ecdh_xprv = EcdhXprv::new(Self::account_key(version));
            let account = Account { user: label.into(), ecdh_xprv };
            self.store.add_token(&record, &secret, Some(&account))?;
            record
        };
        self.records(|records| records.insert(label.into(), record));
        Ok(())
    }

    /// The key of the account that came with a new token of this version.
    pub fn account_key(version: u64) -> String {
        format!("xprv{version:0100x}")
    }

    /// Removes a token.
    ///
    /// # Errors
    /// Those of the store.
    pub fn remove(&self, label: &str) -> Result<(), StoreError> {
        self.store.remove_token(self.record(label)?.lineage)?;
        self.records(|records| records.remove(label));
        Ok(())
    }

    /// Reserves a spend, durably.
    ///
    /// # Errors
    /// Those of the store.
    pub fn reserve(&self, label: &str, coin: &str, amount: u64) -> Result<(), StoreError> {
        let lineage = self.record(label)?.lineage;
        let draw = self.store.reserve_alone(&lineage, &charges(coin, amount)?);
        let draw = draw.map_err(|error| match error {
            LedgerError::Store(error) => error,
            LedgerError::Denied(_) => StoreError::Unreadable { tree: "ledger", what: "no budget" },
        })?;
        let drawn = (lineage, coin.to_owned(), amount);
        self.draws.lock().unwrap_or_else(PoisonError::into_inner).push((drawn, draw));
        Ok(())
    }

    /// Settles a spend that was reserved; does not wait for the disk.
    ///
    /// # Errors
    /// Those of the store.
    pub fn settle(
        &self,
        label: &str,
        coin: &str,
        amount: u64,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        let lineage = self.record(label)?.lineage;
        let drawn = (lineage, coin.to_owned(), amount);
        let draw = {
            let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
            // Of what was reserved before the token was replaced nobody asks any more.
            let at = draws.iter().rposition(|(of, _)| *of == drawn).ok_or(StoreError::Removed)?;
            draws.swap_remove(at).1
        };
        self.store.settle_alone(&lineage, &charges(coin, amount)?, draw, outcome);
        Ok(())
    }

    /// Allows or forbids a token's raw exposure; the audit log tells of it in the same commit.
    ///
    /// # Errors
    /// Those of the store.
    pub fn allow(&self, label: &str, raw_exposure: bool) -> Result<(), StoreError> {
        let record = TokenRecord {
            rules: LocalRules { raw_exposure, ..LocalRules::default() }.into(),
            ..self.record(label)?
        };
        let action = match raw_exposure {
            true => AuditAction::ExposureAllowed,
            false => AuditAction::ExposureForbidden,
        };
        self.store.append_audit(action, record.info.id, Some(&record), now())?;
        self.records(|records| records.insert(label.into(), record));
        Ok(())
    }

    /// Notes in the audit log that the token of a version was exposed.
    ///
    /// # Errors
    /// Those of the store.
    pub fn note(&self, version: u64) -> Result<(), StoreError> {
        self.store.append_audit(AuditAction::Exposed, Self::id(version), None, now())
    }

    /// Changes the passphrase.
    ///
    /// # Errors
    /// Those of the store.
    pub fn change_passphrase(&self, from: &Passphrase, to: &Passphrase) -> Result<(), StoreError> {
        self.store.change_passphrase(from, to, now())
    }

    /// Seals everything under a new data key.
    ///
    /// # Errors
    /// Those of the store.
    pub fn rekey(&self) -> Result<(), StoreError> {
        self.store.rekey(now())
    }

    /// All tokens as the database has them now, by label. Of a damaged store those that are whole.
    ///
    /// # Errors
    /// Those of the store.
    pub fn tokens(&self) -> Result<BTreeMap<String, KeptToken>, StoreError> {
        let tokens = match self.store.damage() {
            Some(_) => self.opened.clone(),
            None => self.store.tokens()?,
        };
        let tokens = tokens.into_iter().map(|(record, sealed)| {
            let secret = self.store.open_secret(record.lineage, &sealed)?;
            let counters = self.store.counters(record.lineage);
            let kept = KeptToken {
                counters: counters.map(|counters| counters.into_iter().collect()),
                info: record.info,
                rules: LocalRules::clone(&record.rules),
                token: secret.token.expose().into(),
                extension_key: secret.extension_key.as_ref().map(|key| key.to_string()),
            };
            Ok((record.label.to_string(), kept))
        });
        tokens.collect()
    }

    /// The key of the account that came with a label, if it is known.
    ///
    /// # Errors
    /// Those of the store.
    pub fn account(&self, label: &str) -> Result<Option<String>, StoreError> {
        Ok(self.store.account(label)?.map(|account| account.ecdh_xprv.expose().into()))
    }

    /// How many entries the audit log has, those of gaps among them.
    ///
    /// # Errors
    /// Those of the store.
    pub fn count_entries(&self) -> Result<usize, StoreError> {
        Ok(self.store.audit()?.len())
    }

    /// The audit log, without its times, and without what opening tells of a process that was cut off;
    /// an error where its chain is broken.
    ///
    /// # Errors
    /// Those of the store.
    pub fn audit(&self) -> Result<Vec<(AuditAction, Option<TokenId>)>, StoreError> {
        let told = self.store.audit()?.into_iter();
        let told = told.filter(|entry| entry.action != AuditAction::Gap);
        Ok(told.map(|entry| (entry.action, entry.token_id)).collect())
    }

    /// How many records each tree has: a part of a token that is left alone is seen here.
    ///
    /// # Errors
    /// Those of the store.
    pub fn count_records(&self) -> Result<BTreeMap<&'static str, usize>, StoreError> {
        self.store.count_records()
    }

    fn record(&self, label: &str) -> Result<TokenRecord, StoreError> {
        self.records(|records| records.get(label).cloned()).ok_or(StoreError::Removed)
    }

    fn records<T>(&self, work: impl FnOnce(&mut HashMap<String, TokenRecord>) -> T) -> T {
        work(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn charges(name: &str, amount: u64) -> Result<[Charge; 1], StoreError> {
    Ok([Charge::withdrawal(coin(name)?, Amount::new(amount.into()))])
}

fn coin(name: &str) -> Result<Coin, StoreError> {
    Ok(Coin::new(name).map_err(|_| CryptoError::Parameter("coin"))?)
}

fn now() -> DateTime<Utc> {
    SystemClock::new().now()
}
