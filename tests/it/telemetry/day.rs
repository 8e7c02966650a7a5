//! A day of a busy vault: all that it can be asked to do, and much of what can go wrong. Whatever a
//! caller gets is shown, as he would print it.
//!
//! It goes by true time, in which sockets are served, and leaps over what would have to be waited for.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use super::capture::{seen, show};
use crate::authority::Authority;
use crate::desk::{self, DAY, Desk, bot, coin, options, passphrase, until, withdrawal};
use crate::memory::needles::{Needles, account_needles, random_hex, store_needles};
use crate::transport::tls_before;
use bitgo_vault::api::{ClientSettings, OauthClient};
use bitgo_vault::crypto::{EnvelopeVersion, TotpSeed};
use bitgo_vault::emulator::{Emulator, Exchange, Fault, FaultKind};
use bitgo_vault::test_util::secrets_in;
use bitgo_vault::{
    ActionKind, Amount, ClientSecret, CoinMap, CoinRules, Control, Environment, Error, LocalRules,
    Login, LoginPassword, Otp, Passphrase, RefreshToken, Request, Signed, Standing, Vault,
    VaultBuilder,
};
use chrono::TimeDelta;
use http::HeaderMap;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// What was signed may still be on its way for as long.
const ON_ITS_WAY: Duration = Duration::from_secs(601);
/// What a token that was replaced is drained for.
const DRAINED: Duration = Duration::from_secs(61);
const LIMIT: u128 = 1000;
const SEED: &str = "JBSWY3DPEHPK3PXPGEZDGNBVGY3TQOJQ";

const LOGIN: (&str, &str) = ("POST", "/session");
const MINT: (&str, &str) = ("POST", "/api/v2/user/accesstoken");
const LIST: (&str, &str) = ("GET", "/api/v2/user/accesstoken");
const REVOKE: (&str, &str) = ("DELETE", "/api/v2/user/accesstoken");
const RECORD: (&str, &str) = ("GET", "/api/v2/user/session");
const ON_WHOSE_BEHALF: (&str, &str) = ("GET", "/user/scopedsession");
const SPEND: (&str, &str) = ("POST", "/tx/initiate");
const EXTEND: (&str, &str) = ("POST", "/user/extendtoken");
const LOGOUT: (&str, &str) = ("GET", "/user/logout");
const REFRESH: (&str, &str) = ("POST", "/oauth/token");

/// How many leases of a kind were taken (`kind=view`), how many requests a rule refused (`rule=limit`).
static TAKEN: Mutex<BTreeMap<String, f64>> = Mutex::new(BTreeMap::new());

fn took(what: String) {
    *TAKEN.lock().unwrap().entry(what).or_default() += 1.0;
}

pub(super) fn taken() -> BTreeMap<String, f64> {
    TAKEN.lock().unwrap().clone()
}

/// Shows an error as it is, and as people are told of it.
fn show_error(error: &impl std::error::Error) {
    show(error);
    show(error.to_string());
    let mut source = error.source();
    while let Some(error) = source {
        show(error.to_string());
        source = error.source();
    }
}

/// Shows what a caller got.
fn say<T: Debug>(result: Result<T, Error>) -> Result<T, Error> {
    match &result {
        Ok(answer) => show(answer),
        Err(error) => show_error(error),
    }
    result
}

/// What was leased, or sent, is counted as the vault should count it.
fn counted<T: Debug>(kind: &str, result: Result<T, Error>) -> Result<T, Error> {
    match &result {
        Err(Error::Denied(denied)) => took(format!("rule={}", denied.rule().as_str())),
        // Nothing could be reserved.
        Err(Error::Store(_)) => {}
        // Whatever came of it once it was leased.
        _ => took(format!("kind={kind}")),
    }
    say(result)
}

fn sign<'r>(vault: &Vault, label: &str, kind: &str, request: &'r Request) -> Signed<'r> {
    let lease = counted(kind, vault.lease(label, request)).unwrap();
    say(lease.sign()).unwrap()
}

fn refuse(vault: &Vault, label: &str, request: &Request) {
    say(vault.check(label, request)).unwrap();
    counted("denied", vault.lease(label, request)).unwrap_err();
}

async fn send(vault: &Vault, label: &str, request: &Request) {
    let kind = if request.body().is_empty() { "view" } else { "spend" };
    if let Ok(answer) = counted(kind, vault.send(label, request).await) {
        show(answer.outcome());
    }
}

/// Lets calls fail that begin or end so, once.
fn fail(desk: &Desk, on: (&str, &str), kind: FaultKind) {
    fail_often(desk, on, kind, 1);
}

fn fail_often(desk: &Desk, (method, path): (&str, &str), kind: FaultKind, times: u32) {
    desk.bitgo.inject(Fault::new(kind).on(method, path).times(times));
}

fn unavailable() -> FaultKind {
    FaultKind::Status(503, "{}".into())
}

async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Waits until an event was told as often.
async fn told(event: &str, times: u32) {
    step(format_args!("waits for {event}"));
    until(|| seen().count(event) >= times).await;
}

fn step(what: impl Display) {
    eprintln!("{what}");
}

/// Listens to a vault until it is closed.
fn listen(vault: &Vault) {
    let mut events = vault.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            show(event);
        }
    });
}

/// What is secret beside what the emulator knows. Some of it has what encodings escape.
pub(super) struct Own {
    new_passphrase: String,
    wrong_passphrase: String,
    wrong_password: String,
    wrong_otp: String,
    wallet_passphrase: String,
    from_server: String,
}

impl Own {
    pub(super) fn new() -> Self {
        let word = || random_hex(12);
        Self {
            new_passphrase: format!("{} \"{}\\ä%", word(), word()),
            wrong_passphrase: format!("{} + {}", word(), word()),
            wrong_password: word(),
            wrong_otp: word(),
            wallet_passphrase: word(),
            from_server: word(),
        }
    }

    fn needles(&self) -> Needles {
        let own = [
            ("passphrase", desk::PASSPHRASE),
            ("new passphrase", &self.new_passphrase),
            ("wrong passphrase", &self.wrong_passphrase),
            ("wrong password", &self.wrong_password),
            ("wrong one-time password", &self.wrong_otp),
            ("wallet passphrase", &self.wallet_passphrase),
            ("what the server says in a body", &self.from_server),
            ("seed of one-time passwords", SEED),
        ];
        own.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).into()
    }

    fn wrong(&self) -> Passphrase {
        Passphrase::new(self.wrong_passphrase.as_str())
    }

    fn new_one(&self) -> Passphrase {
        Passphrase::new(self.new_passphrase.as_str())
    }
}

/// The day. What was secret in it.
pub(super) async fn be_busy() -> Needles {
    let own = Own::new();
    let mut needles = own.needles();
    let builder = Emulator::builder().session_lifetime(DAY);
    let desk = Desk::empty(builder.envelope_version(EnvelopeVersion::V2)).await;
    listen(&desk.vault);
    // The first data key, before it is replaced.
    let header = fs::read(desk.path().join("header")).unwrap();
    needles.extend(store_needles(desk::PASSPHRASE, &header));

    log_in(&desk, &own).await;
    spend(&desk, &own).await;
    deny(&desk, &own).await;
    reconcile(&desk).await;
    doubt(&desk).await;
    renew(&desk).await;
    mint_anew(&desk).await;
    revoke(&desk).await;
    let desk = keep(desk, &own).await;
    let desk = sign_in(desk).await;
    let desk = end(desk).await;
    needles.extend(secrets_of(desk, &own).await);

    let desk = travel().await;
    needles.extend(secrets_of(desk, &own).await);
    let desk = fail_to_write().await;
    needles.extend(secrets_of(desk, &own).await);
    needles
}

async fn log_in(desk: &Desk, own: &Own) {
    step("log in");
    let (vault, email) = (&desk.vault, desk.bitgo.email());
    let wrong = LoginPassword::new(own.wrong_password.as_str());
    say(vault.login("desk", Login::new(email, wrong, desk.bitgo.otp())).await).unwrap_err();
    let wrong = Otp::new(own.wrong_otp.as_str());
    say(vault.login("desk", Login::new(email, desk.bitgo.password(), wrong)).await).unwrap_err();
    for kind in [
        FaultKind::TornBody,
        FaultKind::Html,
        FaultKind::NeedsSso,
        FaultKind::IpNotAllowed,
        FaultKind::Status(500, format!(r#"{{"error": "{}"}}"#, own.from_server)),
        FaultKind::Redirect(format!("http://127.0.0.1:1/?{}", own.from_server)),
    ] {
        fail(desk, LOGIN, kind);
        say(vault.login("desk", desk.login()).await).unwrap_err();
    }
    show(desk.login());
    say(vault.login("desk", desk.login().extensible()).await).unwrap();
    let seed = || TotpSeed::from_base32(SEED).unwrap();
    show(seed());
    say(vault.dangerous_keep_totp_seed("desk", seed(), own.wrong()).await).unwrap_err();
    say(vault.dangerous_keep_totp_seed("desk", seed(), passphrase()).await).unwrap();
    let provider = say(vault.kept_totp("desk")).unwrap();
    let login = Login::new(email, desk.bitgo.password(), provider);
    say(vault.login("other", login).await).unwrap_err();
    desk.bitgo.spoof(true);
    say(vault.login("other", desk.login()).await).unwrap();
    desk.bitgo.spoof(false);

    fail(desk, MINT, FaultKind::BadHmac);
    say(vault.issue("desk", desk.spender("bot", LIMIT), desk.bitgo.otp()).await).unwrap_err();
    fail(desk, ON_WHOSE_BEHALF, FaultKind::Forbidden);
    for label in ["bot", "old", "exposed"] {
        let token = desk.spender(label, LIMIT).scope("wallet_view_all".parse().unwrap());
        show(&token);
        say(vault.issue("desk", token, desk.bitgo.otp()).await).unwrap();
    }
    say(vault.issue("desk", bot("free"), desk.bitgo.otp()).await).unwrap();
    say(vault.fetch_internal("desk", "internal").await).unwrap();

    say(vault.issue("desk", desk.spender("stray", LIMIT), desk.bitgo.otp()).await).unwrap();
    let stray = desk.newest();
    say(vault.remove("stray").await).unwrap();
    fail(desk, RECORD, unavailable());
    say(vault.import("imported", stray).await).unwrap();
    say(vault.reconcile("imported").await).unwrap();
    say(vault.remove("imported").await).unwrap();
}

async fn spend(desk: &Desk, own: &Own) {
    step("spend");
    let vault = &desk.vault;
    let (view, withdrawal) = (desk.view(), desk.withdrawal(10));
    show((&view, &withdrawal));
    for (kind, request) in [("view", &view), ("spend", &withdrawal)] {
        let signed = sign(vault, "bot", kind, request);
        let finished = signed.finish(200, &HeaderMap::new(), own.from_server.as_bytes());
        say(finished).unwrap_err();
        drop(sign(vault, "bot", kind, request));
    }
    let waited = vault.lease_wait("bot", &view).await;
    counted("view", waited).unwrap().release();
    send(vault, "bot", &view).await;
    send(vault, "bot", &withdrawal).await;
    for kind in [
        FaultKind::BadHmac,
        FaultKind::NoHmac,
        FaultKind::OtherRequestId,
        FaultKind::AnsweredAt(-600_000),
        FaultKind::DropAfterEffect,
        FaultKind::DropBefore,
        FaultKind::Reset,
        FaultKind::TornBody,
        FaultKind::Status(400, format!(r#"{{"error": "{0}", "name": "{0}"}}"#, own.from_server)),
        FaultKind::Status(500, own.from_server.clone()),
        FaultKind::RetryAfter(1),
        FaultKind::NeedsUnlock,
        FaultKind::Forbidden,
        FaultKind::Redirect(format!("http://127.0.0.1:1/?{}", own.from_server)),
    ] {
        fail(desk, SPEND, kind);
        send(vault, "bot", &withdrawal).await;
    }
    let control = Control::connect(desk.path()).await.unwrap();
    show(control.status().await.unwrap());
    show(control.check("bot", &view).await);
    show(control.reconcile("bot").await);
    show(control.audit(10).await);
}

async fn deny(desk: &Desk, own: &Own) {
    step("deny");
    let vault = &desk.vault;
    refuse(vault, "bot", &desk.withdrawal(5000));
    refuse(vault, "free", &desk.withdrawal(1));
    refuse(vault, "bot", &withdrawal(desk.bitgo.add_wallet(&coin()), 1));
    refuse(vault, "internal", &desk.withdrawal(1));
    let secret = &own.wallet_passphrase;
    let unread = json!({
        "recipients": [{"address": "tb1qexample", "amount": secret}],
        "walletPassphrase": secret, "prv": secret,
    });
    refuse(vault, "bot", &desk::initiate(desk.wallet, &unread));
    let nowhere = format!("/api/v2/tbtc/wallet/{}/nowhere", desk.wallet);
    refuse(vault, "bot", &Request::post(&nowhere).json(&unread).unwrap());
    // In a query: what BitGo knows, and what it does not.
    for path in ["", "/nowhere"] {
        let target = format!("/api/v2/tbtc/wallet/{}{path}?secret={secret}", desk.wallet);
        let request = Request::get(&target).unwrap();
        show(&request);
        say(vault.check("bot", &request)).unwrap();
        send(vault, "bot", &request).await;
    }
    let express = format!("/api/v2/tbtc/wallet/{}/sendcoins", desk.wallet);
    let body = json!({"address": "tb1qexample", "amount": "1", "walletPassphrase": secret});
    let express = Request::post(&express).json(&body).unwrap();
    show(&express);
    say(vault.check("bot", &express)).unwrap();

    let (mut rules, mut caps) = (LocalRules::default(), CoinRules::default());
    caps.per_transaction = Some(Amount::new(5));
    rules.coins = CoinMap::from([(coin(), caps)]);
    rules.actions = Some(vec![ActionKind::Spend]);
    rules.destinations = Some(vec!["tb1qexample".into()]);
    say(vault.set_rules("old", rules, None).await).unwrap();
    say(vault.set_rules("old", LocalRules::default(), None).await).unwrap_err();
    refuse(vault, "old", &desk.withdrawal(6));
    refuse(vault, "old", &desk.view());
    let elsewhere = json!({"recipients": [{"address": "tb1qelsewhere", "amount": "1"}]});
    refuse(vault, "old", &desk::initiate(desk.wallet, &elsewhere));

    let view = desk.view();
    // Not as it is leased.
    let lease = counted("view", vault.lease("exposed", &view)).unwrap();
    say(lease.expose_token().await).unwrap_err();
    say(vault.dangerous_allow_raw_exposure("exposed", own.wrong()).await).unwrap_err();
    say(vault.dangerous_allow_raw_exposure("exposed", passphrase()).await).unwrap();
    let lease = counted("view", vault.lease("exposed", &view)).unwrap();
    say(lease.expose_token().await).unwrap();
    say(vault.lease("nobody", &view)).unwrap_err();
}

async fn reconcile(desk: &Desk) {
    step("reconcile");
    let vault = &desk.vault;
    for kind in [FaultKind::BadHmac, FaultKind::TornBody, unavailable()] {
        fail(desk, RECORD, kind);
        say(vault.reconcile("bot").await).unwrap_err();
    }
    later(ON_ITS_WAY).await;
    say(vault.reconcile("bot").await).unwrap();
    // As it was before anything was spent.
    let id = vault.status("bot").unwrap().info.id.to_string();
    let traffic = desk.bitgo.traffic();
    let is_record = |one: &&Exchange| one.target == RECORD.1 && one.contains(&id);
    let first = traffic.iter().find(is_record).unwrap().answer_body.clone();
    fail(desk, RECORD, FaultKind::Status(200, String::from_utf8(first).unwrap()));
    say(vault.reconcile("bot").await).unwrap();
    told("reconcile.counted_less", 1).await;

    // The same token in another vault, which has a ledger of its own.
    let elsewhere = tempfile::tempdir().unwrap();
    let backup = elsewhere.path().join("backup");
    say(vault.back_up(&backup).await).unwrap();
    let other = options(&elsewhere.path().join("vault"), desk.bitgo.environment(), &desk.clock);
    let other = say(other.restore(&backup, passphrase()).await).unwrap();
    refuse(&other, "bot", &desk.withdrawal(1));
    // Without a session nobody can read the limit that ERC-20 coins share.
    for session in ["desk", "other"] {
        say(other.remove(session).await).unwrap();
    }
    later(ON_ITS_WAY).await;
    say(other.reconcile("bot").await).unwrap();
    send(&other, "bot", &desk.withdrawal(10)).await;
    told("reconcile.pool_unreadable", 1).await;
    other.close().await.unwrap();
    say(vault.reconcile("bot").await).unwrap();
    told("reconcile.spent_by_others", 1).await;
    say(vault.renew_budget("bot", passphrase()).await).unwrap();
}

/// A token that is refused, by nobody who signs that.
async fn doubt(desk: &Desk) {
    step("doubt");
    let vault = &desk.vault;
    let is_good = || vault.status("bot").unwrap().standing == Standing::Good;
    fail(desk, ("GET", &desk.wallet.to_string()), FaultKind::Unsigned(401, "{}".into()));
    send(vault, "bot", &desk.view()).await;
    told("token.refused", 1).await;
    until(is_good).await;

    // Nobody signs for who is so far off, until requests are dated otherwise; and then anew.
    for (apart, event) in [(7, "clock.corrected"), (-7, "clock.right")] {
        desk.clock.jump(TimeDelta::minutes(apart));
        desk.bitgo.set_clock_offset_ms(if apart > 0 { -apart * 60_000 } else { 0 });
        send(vault, "bot", &desk.view()).await;
        told(event, 1).await;
        until(is_good).await;
    }
}

async fn renew(desk: &Desk) {
    step("renew");
    let vault = &desk.vault;
    fail(desk, EXTEND, unavailable());
    say(vault.renew("desk").await).unwrap();
    say(vault.renew("old").await).unwrap_err();
    // More than half of an internal token's life.
    later(13 * HOUR).await;
    say(vault.renew("desk").await).unwrap();
    say(vault.renew("internal").await).unwrap();
    say(vault.dangerous_unlock_removing_limits("free", desk.bitgo.otp(), HOUR).await).unwrap();
    later(HOUR - Duration::from_secs(60)).await;
    told("token.locking", 1).await;
    say(vault.lock_session("free").await).unwrap();
}

async fn mint_anew(desk: &Desk) {
    step("mint anew");
    let vault = &desk.vault;
    let plan = desk.spender("bot", LIMIT).scope("wallet_view_all".parse().unwrap());
    say(vault.reissue("bot", plan, desk.login()).await).unwrap();
    // Minted, lost, and not to be found.
    fail(desk, MINT, FaultKind::DropAfterEffect);
    say(vault.renew("bot").await).unwrap();
    fail(desk, LIST, FaultKind::Forbidden);
    fail(desk, LOGOUT, FaultKind::DropBefore);
    say(vault.renew("bot").await).unwrap();
    told("token.orphaned", 1).await;
    told("mint.not_sought", 1).await;
    told("session.left", 1).await;
    // What was replaced lives on.
    fail_often(desk, REVOKE, FaultKind::Forbidden, 100);
    later(DRAINED).await;
    told("token.former_alive", 1).await;
    told("token.not_retired", 1).await;
    desk.bitgo.clear_faults();
    send(vault, "bot", &desk.withdrawal(1)).await;
}

async fn revoke(desk: &Desk) {
    step("revoke");
    let vault = &desk.vault;
    fail(desk, REVOKE, FaultKind::DropBefore);
    say(vault.revoke("old").await).unwrap();
    refuse(vault, "old", &desk.withdrawal(1));
    later(Duration::from_secs(10)).await;
    told("token.revoked", 1).await;
    until(|| vault.status("old").is_err()).await;
    say(vault.logout("other").await).unwrap();
}

/// What is done to the store.
async fn keep(desk: Desk, own: &Own) -> Desk {
    step("keep");
    let (vault, path) = (&desk.vault, desk.path());
    say(vault.freeze().await).unwrap();
    refuse(vault, "bot", &desk.view());
    say(vault.thaw(own.wrong()).await).unwrap_err();
    say(vault.thaw(passphrase()).await).unwrap();

    say(vault.rekey().await).unwrap();
    say(vault.change_passphrase(own.wrong(), own.new_one()).await).unwrap_err();
    say(vault.change_passphrase(passphrase(), own.new_one()).await).unwrap();
    say(vault.change_passphrase(own.new_one(), passphrase()).await).unwrap();
    show(vault.audit().await.unwrap());
    say(vault.verify_audit().await).unwrap();
    let exported = tempfile::NamedTempFile::new().unwrap();
    say(vault.export_audit(None, None, exported.reopen().unwrap()).await).unwrap();
    show(fs::read_to_string(exported.path()).unwrap());
    show(vault.export());
    show((vault, vault.list(), vault.rules("bot"), vault.damage(), vault.kdf()));
    show(desk.options().doctor(Some(own.wrong())).await.unwrap());

    let options = desk.options().client(ClientSettings::default());
    let desk = desk.reopened_after(|| leave_snapshot(&path)).await;
    // A vault whose client asks again.
    let desk = desk.reopened_with(options).await;
    listen(&desk.vault);
    fail(&desk, RECORD, unavailable());
    say(desk.vault.reconcile("bot").await).unwrap();
    told("http.repeated", 1).await;
    desk
}

/// As a kill while sled opens does.
fn leave_snapshot(vault: &Path) {
    let is_database = |name: &str| name.starts_with("db.");
    let entries = fs::read_dir(vault).unwrap().map(|entry| entry.unwrap());
    let databases = entries.filter(|entry| is_database(&entry.file_name().to_string_lossy()));
    for database in databases {
        fs::write(database.path().join("snap.0000.generating"), b"half").unwrap();
    }
}

async fn sign_in(desk: Desk) -> Desk {
    step("sign in");
    let options = desk.options().dangerous_accept_tokens_in_clear();
    let desk = desk.reopened_with(options).await;
    listen(&desk.vault);
    let grant = desk.bitgo.grant_oauth().unwrap();
    show(&grant);
    let client = OauthClient::new(grant.client_id, ClientSecret::new(grant.client_secret));
    show(&client);
    let refresh_token = RefreshToken::new(grant.refresh_token);
    show(&refresh_token);
    say(desk.vault.sign_in_oauth("oauth", client, refresh_token).await).unwrap();
    say(desk.vault.renew("oauth").await).unwrap();
    send(&desk.vault, "oauth", &desk.view()).await;
    // Spent, nobody knows by whom, until it is not sent a third time.
    fail(&desk, REFRESH, FaultKind::DropAfterEffect);
    for _ in 0..3 {
        say(desk.vault.renew("oauth").await).unwrap();
    }
    told("renewal.needs_human", 1).await;
    desk
}

/// Sessions end, and tokens that nobody renews.
async fn end(desk: Desk) -> Desk {
    step("end");
    let vault = &desk.vault;
    // Nobody has given the login that mints since the vault was opened.
    say(vault.renew("bot").await).unwrap();
    send(vault, "bot", &desk.withdrawal(1)).await;
    fail_often(&desk, RECORD, unavailable(), 100);
    later(HOUR).await;
    told("reconcile.failed", 1).await;
    desk.bitgo.clear_faults();
    say(vault.logout("desk").await).unwrap();
    fail(&desk, ("GET", &desk.wallet.to_string()), FaultKind::DeadToken);
    send(vault, "internal", &desk.view()).await;
    // Less than an hour is left of what was issued for a day, then none.
    later(8 * HOUR).await;
    told("token.ending", 1).await;
    later(HOUR).await;
    told("token.ended", 1).await;
    refuse(vault, "exposed", &desk.view());
    show(vault.list());
    desk
}

/// By TLS and HTTP/2, with envelopes of the other version, and a vault whose path is too long for a
/// socket; and tokens that travel themselves.
async fn travel() -> Desk {
    step("travel");
    let authority = Authority::new();
    let builder = Emulator::builder().envelope_version(EnvelopeVersion::V1);
    let desk = Desk::empty(builder).await;
    let (port, _) = tls_before(&desk.bitgo, &authority, &[b"h2"]).await;
    let url = format!("https://localhost:{port}");
    let environment = Environment::custom(&url, desk.bitgo.server_xpub()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x".repeat(110));
    let trusting =
        ClientSettings::default().retries(0).extra_root_certificates(&authority.root_pem);
    let options = options(&path, &environment, &desk.clock).client(trusting);
    let vault = say(options.create(passphrase()).await).unwrap();
    told("control.absent", 1).await;
    say(vault.login("tls", desk.login()).await).unwrap();
    say(vault.issue("tls", desk.spender("by-tls", LIMIT), desk.bitgo.otp()).await).unwrap();
    send(&vault, "by-tls", &desk.withdrawal(1)).await;
    vault.close().await.unwrap();

    let older = Desk::empty(Emulator::builder().without_ecdh_keychain().with_older_tokens()).await;
    say(older.vault.login("older", older.login()).await).unwrap_err();
    let options = older.options().dangerous_accept_tokens_in_clear();
    let older = older.reopened_with(options).await;
    say(older.vault.login("older", older.login()).await).unwrap();
    send(&older.vault, "older", &older.view()).await;
    say(older.vault.lease("older", &older.view())).unwrap_err();
    older.vault.close().await.unwrap();

    // Too far off for one that has never heard of BitGo's time.
    let lost = Desk::empty(Emulator::builder()).await;
    lost.clock.jump(TimeDelta::minutes(11));
    lost.bitgo.set_clock_offset_ms(-11 * 60_000);
    say(lost.vault.login("lost", lost.login()).await).unwrap_err();
    told("clock.skewed", 1).await;
    lost.vault.close().await.unwrap();
    desk
}

/// Lets nothing more be written (`Fsize`), no file be opened (`Nofile`); or all again.
fn limit(what: Resource, is_on: bool) {
    let Rlimit { maximum, .. } = getrlimit(what);
    let current = if is_on { Some(0) } else { maximum };
    setrlimit(what, Rlimit { current, maximum }).unwrap();
}

/// A disk that takes no more, met first by this and then by that.
async fn fail_to_write() -> Desk {
    step("fail to write");
    let accepting = |desk: &Desk| desk.options().dangerous_accept_tokens_in_clear();
    let desk = Desk::empty(Emulator::builder()).await;
    say(desk.vault.login("desk", desk.login().extensible()).await).unwrap();
    desk.issue("mm", LIMIT).await;
    fail(&desk, EXTEND, unavailable());
    limit(Resource::Fsize, true);
    say(desk.vault.renew("desk").await).unwrap();
    told("renewal.forgotten", 1).await;
    limit(Resource::Fsize, false);

    let options = accepting(&desk);
    let desk = desk.reopened_with(options).await;
    let grant = desk.bitgo.grant_oauth().unwrap();
    let client = OauthClient::new(grant.client_id, ClientSecret::new(grant.client_secret));
    let refresh_token = RefreshToken::new(grant.refresh_token);
    say(desk.vault.sign_in_oauth("oauth", client, refresh_token).await).unwrap();
    fail(&desk, REFRESH, FaultKind::Delay(Duration::from_secs(1)));
    let commits = || seen().sum("bitgo_vault_commit_seconds", "");
    let before = commits();
    let fill = async {
        // That the token is about to be sent is written down first.
        until(|| commits() > before).await;
        limit(Resource::Fsize, true);
    };
    let (renewed, ()) = tokio::join!(desk.vault.renew("oauth"), fill);
    say(renewed).unwrap();
    told("refresh_token.not_kept", 1).await;
    limit(Resource::Fsize, false);

    let desk = desk.reopened().await;
    // The first that is sealed takes seals ahead.
    say(desk.vault.forbid_raw_exposure("mm").await).unwrap();
    limit(Resource::Fsize, true);
    let desk = desk.reopened_after(|| limit(Resource::Fsize, false)).await;
    told("seals.lost", 1).await;

    // A visitor who cannot be let in.
    let visitor = UnixStream::connect(desk.vault.control_socket().unwrap()).unwrap();
    limit(Resource::Nofile, true);
    told("control.failed", 1).await;
    limit(Resource::Nofile, false);
    drop(visitor);

    limit(Resource::Fsize, true);
    let file = desk.path().join("FREEZE");
    fs::write(&file, b"").unwrap();
    told("freeze.not_written", 1).await;
    limit(Resource::Fsize, false);
    fs::remove_file(file).unwrap();

    let desk = desk.reopened().await;
    send(&desk.vault, "mm", &desk.withdrawal(1)).await;
    // What it is allotted is left to the next opening, which cannot write either.
    limit(Resource::Fsize, true);
    send(&desk.vault, "mm", &desk.withdrawal(1)).await;
    limit(Resource::Fsize, false);
    desk
}

/// All that was secret at a desk, once it is closed.
async fn secrets_of(desk: Desk, own: &Own) -> Needles {
    let (environment, path) = (desk.bitgo.environment().clone(), desk.path());
    let (email, password) = (desk.bitgo.email(), desk.bitgo.password());
    let (mut secrets, traffic) = (desk.bitgo.secrets(), desk.bitgo.traffic());
    let [options, unwritten]: [VaultBuilder; 2] = [desk.options(), desk.options()];
    let (_bitgo, _dir) = desk.closed().await;
    say(options.unlock(own.wrong()).await).unwrap_err();
    // Once more, where nothing can be written.
    limit(Resource::Fsize, true);
    if let Ok(vault) = say(unwritten.unlock(passphrase()).await) {
        let _either_way = say(vault.close().await);
    }
    limit(Resource::Fsize, false);
    let kept = secrets_in(&path, &passphrase(), &environment).unwrap();
    secrets.extend(kept.iter().map(|secret| secret.to_string()));
    let mut needles = account_needles(email, &password, &secrets);
    needles.extend(travelled(&traffic));
    // Which desk it was does not matter, but no name may hide another.
    let tag = random_hex(4);
    needles.into_iter().map(|(name, value)| (format!("{name} ({tag})"), value)).collect()
}

/// What went over the wire and vouches for something.
fn travelled(traffic: &[Exchange]) -> Needles {
    let mut needles = Needles::new();
    for (number, exchange) in traffic.iter().enumerate() {
        for head in [&exchange.request_head, &exchange.answer_head] {
            for line in String::from_utf8_lossy(head).lines() {
                let Some((name, value)) = line.split_once(':') else { continue };
                let name = name.to_lowercase();
                if ["authorization", "hmac", "signature"].contains(&name.as_str()) {
                    let value = value.trim().trim_start_matches("Bearer ");
                    // A wrong one is nothing but zeros.
                    if value.trim_matches('0').len() >= super::search::PIECE {
                        needles.insert(format!("{name} {number}"), value.as_bytes().to_vec());
                    }
                }
            }
        }
    }
    needles
}
