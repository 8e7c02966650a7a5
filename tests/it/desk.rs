//! A vault at its own emulator: the set-up that the topics share.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use bitgo_vault::api::{ApiError, ClientSettings, CreateToken, Distrust};
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::{Emulator, EmulatorBuilder};
use bitgo_vault::test_util::TokioClock;
use bitgo_vault::{
    AccessToken, Amount, AuditAction, Coin, Counter, Environment, Error, FileSystem, Label, Login,
    Passphrase, Request, TokenId, TokenStatus, Vault, VaultBuilder, WalletId,
};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A vault, and the BitGo it speaks to. Both go by one clock, which follows tokio's time.
pub(crate) struct Desk {
    pub(crate) bitgo: Emulator,
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) wallet: WalletId,
    pub(crate) dir: TempDir,
}

impl Desk {
    /// A vault that keeps a session as `desk`.
    pub(crate) async fn new() -> Self {
        Self::with(Emulator::builder()).await
    }

    pub(crate) async fn with(builder: EmulatorBuilder) -> Self {
        let desk = Self::empty(builder).await;
        desk.vault.login("desk", desk.login()).await.unwrap();
        desk
    }

    /// A vault that keeps nothing yet.
    pub(crate) async fn empty(builder: EmulatorBuilder) -> Self {
        let clock = Arc::new(TokioClock::new());
        let bitgo = builder.clock(clock.clone()).start().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let options = options(&dir.path().join("vault"), bitgo.environment(), &clock);
        let vault = options.create(passphrase()).await.unwrap();
        let wallet = bitgo.wallet(&coin());
        Self { bitgo, vault, clock, wallet, dir }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    /// The options with which this vault is opened.
    pub(crate) fn options(&self) -> VaultBuilder {
        options(&self.path(), self.bitgo.environment(), &self.clock)
    }

    /// The same vault, closed and opened.
    pub(crate) async fn reopened(self) -> Self {
        let options = self.options();
        self.reopened_with(options).await
    }

    /// The same by another clock than BitGo's.
    pub(crate) async fn reopened_with_clock(self, clock: &Arc<TokioClock>) -> Self {
        let options = self.options().clock(clock.clone());
        self.reopened_with(options).await
    }

    /// Closes the vault; its BitGo and its directory stay.
    pub(crate) async fn closed(self) -> (Emulator, TempDir) {
        self.vault.close().await.unwrap();
        (self.bitgo, self.dir)
    }

    /// The same vault, closed, and opened once something was done to its directory.
    pub(crate) async fn reopened_after(self, work: impl FnOnce()) -> Self {
        let options = self.options();
        self.vault.close().await.unwrap();
        work();
        let vault = options.unlock(passphrase()).await.unwrap();
        Self { vault, ..self }
    }

    /// The same vault, closed, and opened by these options after a while.
    pub(crate) async fn reopened_later(self, options: VaultBuilder, later: Duration) -> Self {
        self.vault.close().await.unwrap();
        tokio::time::sleep(later).await;
        let vault = options.unlock(passphrase()).await.unwrap();
        Self { vault, ..self }
    }

    pub(crate) async fn reopened_with(self, options: VaultBuilder) -> Self {
        self.vault.close().await.unwrap();
        let vault = options.unlock(passphrase()).await.unwrap();
        Self { vault, ..self }
    }

    pub(crate) fn login(&self) -> Login {
        Login::new(self.bitgo.email(), self.bitgo.password(), self.bitgo.otp())
    }

    /// The token that BitGo issued last, as whoever else has it would hand it over.
    pub(crate) fn newest(&self) -> AccessToken {
        let mut secrets = self.bitgo.secrets().into_iter();
        AccessToken::new(secrets.rfind(|secret| secret.starts_with("v2x")).unwrap())
    }

    /// Issues a token that may spend up to `limit` from the desk's wallet.
    pub(crate) async fn issue(&self, label: &str, limit: u128) -> TokenStatus {
        self.mint(self.spender(label, limit)).await
    }

    pub(crate) async fn mint(&self, token: CreateToken) -> TokenStatus {
        self.vault.issue("desk", token, self.bitgo.otp()).await.unwrap()
    }

    /// A token that may spend up to `limit` from the desk's wallet.
    pub(crate) fn spender(&self, label: &str, limit: u128) -> CreateToken {
        spender(label, self.wallet, limit)
    }

    pub(crate) fn withdrawal(&self, amount: u128) -> Request {
        withdrawal(self.wallet, amount)
    }

    pub(crate) fn view(&self) -> Request {
        Request::get(&format!("/api/v2/tbtc/wallet/{}", self.wallet)).unwrap()
    }

    /// What the vault has counted of the coin.
    pub(crate) fn counter(&self, label: &str) -> Counter {
        self.vault.status(label).unwrap().counters[&coin()]
    }

    /// All that counts against the limit, in base units.
    pub(crate) fn used(&self, label: &str) -> u128 {
        self.counter(label).used().unwrap().base_units()
    }

    /// What the server has accepted of the coin, in base units.
    pub(crate) fn spent(&self) -> u128 {
        self.bitgo.spent(&coin()).base_units()
    }
}

pub(crate) fn options(
    path: &Path,
    environment: &Environment,
    clock: &Arc<TokioClock>,
) -> VaultBuilder {
    set_up(Vault::builder(path, environment.clone()), clock)
}

/// What all vaults of tests are opened with.
pub(crate) fn set_up(options: VaultBuilder, clock: &Arc<TokioClock>) -> VaultBuilder {
    // The cheapest costs there are: what is tested here is not Argon2.
    let kdf = KdfParams::new(8, 1, 1).unwrap();
    // A container's temporary directory lies on overlayfs.
    // Nothing is asked twice: a fault that is injected once is seen.
    let client = ClientSettings::default().retries(0);
    options
        .kdf(kdf)
        .client(client)
        .clock(clock.clone())
        // A test of one token knows when it is renewed.
        .spread_renewals(Duration::ZERO)
        .dangerous_allow_file_system(FileSystem::Overlayfs)
}

pub(crate) fn passphrase() -> Passphrase {
    Passphrase::new(PASSPHRASE)
}

pub(crate) fn coin() -> Coin {
    Coin::new("tbtc").unwrap()
}

pub(crate) fn bot(label: &str) -> CreateToken {
    CreateToken::new(&Label::new(label).unwrap(), DAY).no_spending_limit()
}

pub(crate) fn spender(label: &str, wallet: WalletId, limit: u128) -> CreateToken {
    bot(label)
        .scope("wallet_spend_all".parse().unwrap())
        .permitted_wallet(wallet)
        .spending_limit(&coin(), Amount::new(limit))
}

pub(crate) fn withdrawal(wallet: WalletId, amount: u128) -> Request {
    let recipients = json!([{"address": "tb1qexample", "amount": amount.to_string()}]);
    initiate(wallet, &json!({ "recipients": recipients }))
}

pub(crate) fn initiate(wallet: WalletId, body: &serde_json::Value) -> Request {
    Request::post(&format!("/api/v2/tbtc/wallet/{wallet}/tx/initiate")).json(body).unwrap()
}

/// What the audit log tells of event by event: without what was signed and refused, counted, and how the
/// tokens came that a test works with.
pub(crate) async fn audited(vault: &Vault) -> Vec<(AuditAction, Option<TokenId>)> {
    use AuditAction::{Denied, Fetched, Issued, LoggedIn, Signed, SignedIn, Viewed};
    let left_out = [Denied, Fetched, Issued, LoggedIn, Signed, SignedIn, Viewed];
    let entries = vault.audit().await.unwrap().into_iter();
    let events = entries.filter(|entry| !left_out.contains(&entry.action));
    events.map(|entry| (entry.action, entry.token_id)).collect()
}

/// Waits until something holds that another task brings about.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never came to hold");
}

/// An error in a few words: the class of what BitGo said, the rule that denied, or its line.
pub(crate) fn told(error: &Error) -> String {
    match error {
        Error::Api(error) => class(error).to_owned(),
        Error::Denied(denied) => format!("denied by {}", denied.rule()),
        other => other.to_string(),
    }
}

/// The name of an error's class.
pub(crate) fn class(error: &ApiError) -> &'static str {
    match error {
        ApiError::Unreachable { .. } => "unreachable",
        ApiError::Lost { .. } => "lost",
        ApiError::Transient(_) => "transient",
        ApiError::RateLimited { .. } => "rate limited",
        ApiError::TokenDead(_) => "dead",
        ApiError::OtpRequired(_) => "otp",
        ApiError::OtpRefused(_) => "otp refused",
        ApiError::NeedsUnlock(_) => "needs unlock",
        ApiError::SsoRequired(_) => "sso",
        ApiError::IpNotAllowed { .. } => "ip",
        ApiError::Unauthorized(_) => "unauthorized",
        ApiError::Forbidden(_) => "forbidden",
        ApiError::Rejected(_) => "rejected",
        ApiError::EndpointGone(_) => "gone",
        ApiError::Untrusted { what, .. } => match what {
            Distrust::OtherRequest => "other request",
            Distrust::HmacMissing => "hmac missing",
            Distrust::HmacWrong => "hmac wrong",
            Distrust::OutsideWindow { .. } => "outside window",
            Distrust::Html => "html",
            Distrust::Malformed(_) => "malformed",
            _ => "untrusted",
        },
        _ => "other",
    }
}
