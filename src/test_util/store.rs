//! A token's way into a store and out of it, without a vault and its HTTP client around.

use crate::clock::{Clock, SystemClock};
use crate::coin_map::CoinMap;
use crate::crypto::{CryptoError, KdfParams};
use crate::environment::Environment;
use crate::id::TokenId;
use crate::locked::LockLevel;
use crate::policy::LocalRules;
use crate::secret::{AccessToken, EcdhXprv, Passphrase};
use crate::store::{
    Account, AuditAction, FileSystem, Place, Store, StoreError, TokenRecord, TokenSecret,
};
use crate::token::{Label, Renewal, TokenInfo, TokenKind};
use std::path::Path;
use zeroize::Zeroizing;

const USER: &str = "5bd81700ae4b7d8a4f0e7e1d2a2ad0c1";

/// What a store kept.
pub struct Kept {
    /// The token.
    pub token: AccessToken,
    /// The key (WIF) that extends it.
    pub extension_key: Zeroizing<String>,
    /// The key that its account's tokens are issued to.
    pub ecdh_xprv: EcdhXprv,
}

/// Makes a store of the least cost, keeps a token, its extension key and its account in it, and
/// closes it. `while_open` runs before that, with the token opened.
///
/// # Errors
/// Those of the store.
pub fn keep_in_store(
    dir: &Path,
    passphrase: &Passphrase,
    kept: Kept,
    while_open: impl FnOnce(LockLevel),
) -> Result<(), StoreError> {
    let kdf = KdfParams::new(8, 1, 1)?;
    let now = SystemClock::new().now();
    let store = Store::create(&place(dir), passphrase, kdf, &Environment::Test, now)?;
    let info = TokenInfo {
        id: TokenId::from_bytes([7; 16]),
        kind: TokenKind::Session,
        scopes: Vec::new(),
        enterprise: None,
        permitted_wallets: None,
        permitted_enterprises: None,
        created_at: None,
        expires_at: None,
        is_extensible: true,
        ip_restrict: Vec::new(),
        spending_limits: CoinMap::default(),
        erc20_limit: None,
        issued_in_clear: false,
    };
    let record = TokenRecord {
        lineage: store.new_lineage()?,
        label: Label::new("desk").map_err(|_| CryptoError::Parameter("label"))?,
        account: Some(USER.into()),
        renewal: Renewal::Manual,
        rules: LocalRules::default().into(),
        is_revoked: false,
        info,
    };
    let Kept { token, extension_key, ecdh_xprv } = kept;
    let secret = TokenSecret { token, extension_key: Some(extension_key) };
    let account = Account { user: USER.into(), ecdh_xprv };
    let sealed = store.add_token(&record, &secret, Some(&account))?;
    drop((secret, account));
    let opened = store.open_secret(record.lineage, &sealed)?;
    store.append_audit(AuditAction::ExposureAllowed, record.info.id, Some(&record), now)?;
    store.check_passphrase(passphrase)?;
    store.change_passphrase(passphrase, passphrase, now)?;
    while_open(store.lock_level());
    drop(opened);
    Ok(())
}

/// Opens the store that [`keep_in_store`] made, takes out what it kept, and closes it.
///
/// # Errors
/// Those of the store.
pub fn open_from_store(dir: &Path, passphrase: &Passphrase) -> Result<Kept, StoreError> {
    let missing = |tree| StoreError::Unreadable { tree, what: "a record is missing" };
    let store = Store::open(&place(dir), passphrase, &Environment::Test, SystemClock::new().now())?;
    let (record, sealed) = store.tokens()?.pop().ok_or(missing("tokens"))?;
    let TokenSecret { token, extension_key } = store.open_secret(record.lineage, &sealed)?;
    let ecdh_xprv = store.account(USER)?.ok_or(missing("accounts"))?.ecdh_xprv;
    let extension_key = extension_key.ok_or(missing("secrets"))?;
    Ok(Kept { token, extension_key, ecdh_xprv })
}

/// All that the vault in a directory keeps secret, in clear: what must be found nowhere else. The vault
/// must be closed.
///
/// # Errors
/// Those of the store.
pub fn secrets_in(
    dir: &Path,
    passphrase: &Passphrase,
    environment: &Environment,
) -> Result<Vec<Zeroizing<String>>, StoreError> {
    let store = Store::open(&place(dir), passphrase, environment, SystemClock::new().now())?;
    let mut secrets = Vec::new();
    for (record, sealed) in store.tokens()? {
        let TokenSecret { token, extension_key } = store.open_secret(record.lineage, &sealed)?;
        secrets.push(token.expose().to_owned().into());
        secrets.extend(extension_key);
        let grant = store.grant(record.lineage)?;
        secrets.extend(grant.map(|grant| grant.refresh_token.expose().to_owned().into()));
        let account = record.account.map(|user| store.account(&user)).transpose()?.flatten();
        secrets.extend(account.map(|account| account.ecdh_xprv.expose().to_owned().into()));
    }
    Ok(secrets)
}

/// Overlayfs is where containers have their temporary directories.
pub(super) fn place(dir: &Path) -> Place {
    Place::new(dir).allow(FileSystem::Overlayfs)
}
