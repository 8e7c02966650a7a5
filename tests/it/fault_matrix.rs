//! Every fault of the emulator × every call: the class of PROTOCOL section 7, and a vault that is as
//! it was.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{Desk, bot, class, told, until};
use bitgo_vault::api::wire::{Issued, LoginAnswer};
use bitgo_vault::api::{ApiError, Auth, Client, ClientSettings, LoginOptions, OauthClient, Page};
use bitgo_vault::crypto::{
    AuthKey, AuthVersion, EcdhPrivateKey, EcdhPublicKey, ExtensionKey, open_token, open_xprv,
};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{
    AccessToken, ClientSecret, Error, RefreshToken, Standing, SystemClock, TokenId, TokenStatus,
};
use getrandom::SysRng;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// How long a server that goes down stays so.
const DOWN: Duration = Duration::from_millis(20);

/// A fault, and how it is told by a call that is signed, and by one that is not.
///
/// Where both are alike there is one. `done` is no error.
fn faults() -> Vec<(FaultKind, [&'static str; 2])> {
    use FaultKind::*;
    let status = |status| Status(status, "{}".into());
    let same = |class| [class, class];
    vec![
        // No HTTP status; 408, 424, 5xx: transient.
        (DropBefore, same("lost")),
        (DropAfterEffect, same("lost")),
        (TornBody, same("lost")),
        (Reset, same("lost")),
        (Restart(DOWN), same("lost")),
        (status(408), same("transient")),
        (status(424), same("transient")),
        (status(500), same("transient")),
        (Status(503, "<html>".into()), same("transient")),
        // 429.
        (status(429), same("rate limited")),
        (RetryAfter(1), same("rate limited")),
        (RetryAfterDate(1), same("rate limited")),
        // 401, by what it says. Where no token was sent, none can be dead.
        (DeadToken, ["dead", "unauthorized"]),
        (NeedsOtp, same("otp")),
        (NeedsUnlock, same("needs unlock")),
        (NeedsSso, same("sso")),
        (IpNotAllowed, same("ip")),
        (Unauthorized, same("unauthorized")),
        (status(401), same("unauthorized")),
        (Unsigned(401, "{}".into()), same("unauthorized")),
        // 403.
        (Forbidden, same("forbidden")),
        (status(403), same("forbidden")),
        // 400, 404 and their like.
        (status(400), same("rejected")),
        (status(404), same("rejected")),
        (status(410), same("rejected")),
        (status(422), same("rejected")),
        // Answers that must not be used.
        (BadHmac, ["hmac wrong", "done"]),
        (NoHmac, ["hmac missing", "done"]),
        (AnsweredAt(-600_000), ["outside window", "done"]),
        (AnsweredAt(120_000), ["outside window", "done"]),
        (OtherRequestId, same("other request")),
        (Html, same("html")),
        (Redirect("/api/v1/ping".into()), same("untrusted")),
        (Status(200, "[".into()), same("malformed")),
        // What is no error to the call it meets.
        (AlreadyExpired, same("done")),
        (NoRequestId, same("done")),
        (Delay(Duration::from_millis(1)), same("done")),
        (Late(Duration::from_millis(1)), same("done")),
    ]
}

/// Calls that tell a fault otherwise: an endpoint that is announced to move is gone, not broken;
/// and what an extension answers is not published, so that its body is not read.
fn expected(call: &str, kind: &FaultKind, class: &'static str) -> &'static str {
    match (call, kind) {
        ("internal_access_token", FaultKind::Status(404 | 410, _) | FaultKind::Html) => "gone",
        ("extend_token", FaultKind::Status(200, _)) => "done",
        _ => class,
    }
}

/// The name of a fault's kind.
fn name(kind: &FaultKind) -> String {
    format!("{kind:?}").chars().take_while(|c| c.is_alphanumeric()).collect()
}

fn source(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap()
}

#[test]
fn the_table_has_every_kind_of_fault() {
    let text = source("emulator/fault.rs");
    let (_, body) = text.split_once("pub enum FaultKind {").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let table: Vec<_> = faults().iter().map(|(kind, _)| name(kind)).collect();
    let mut kinds = 0;
    for line in body.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        let kind: String = line.chars().take_while(|c| c.is_alphanumeric()).collect();
        if !kind.is_empty() {
            kinds += 1;
            assert!(table.contains(&kind), "{kind} has no row");
        }
    }
    assert!(kinds > 20, "{kinds} kinds were found");
}

const CALLS: [&str; 16] = [
    "login",
    "create_token",
    "delete_token",
    "list_tokens",
    "all_tokens",
    "session",
    "scoped_session",
    "internal_access_token",
    "dangerous_unlock_removing_limits",
    "lock",
    "extend_token",
    "me",
    "ping",
    "client_constants",
    "refresh_oauth",
    "logout",
];
/// Calls that bear no signature.
const UNSIGNED: [&str; 4] = ["login", "ping", "client_constants", "refresh_oauth"];
/// Doors, not calls.
const DOORS: [&str; 3] = ["dispatch", "execute", "next"];

#[test]
fn the_matrix_has_every_call() {
    let mut calls = 0;
    for file in ["calls", "client", "listing", "oauth", "service_calls", "session_calls"] {
        let text = source(&format!("api/{file}.rs"));
        for rest in text.split("pub async fn ").skip(1) {
            let call: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(CALLS.contains(&&*call) || DOORS.contains(&&*call), "{call} is not tried");
            calls += 1;
        }
    }
    assert_eq!(calls, CALLS.len() + DOORS.len());
}

/// A client with what its calls need: a session, another that can be extended, a token.
struct Caller {
    bitgo: Emulator,
    client: Client,
    key: Box<AuthKey>,
    extension: ExtensionKey,
    extensible: AccessToken,
    extensible_key: Box<AuthKey>,
    token: TokenId,
}

impl Caller {
    async fn new() -> Self {
        let bitgo = Emulator::start().await.unwrap();
        let settings = ClientSettings::default().retries(0);
        let clock = Arc::new(SystemClock::new());
        let client = Client::new(bitgo.environment(), clock, settings).unwrap();
        let extension = ExtensionKey::generate(&mut SysRng).unwrap();
        let (password, otp) = (bitgo.password(), bitgo.otp());
        let options = LoginOptions::default();
        let extending = LoginOptions::default().extensible(&extension.address());
        let session = client.login(bitgo.email(), &password, &otp, &options).await.unwrap();
        let session = open(&bitgo, &session);
        let extensible = client.login(bitgo.email(), &password, &otp, &extending).await.unwrap();
        let extensible = open(&bitgo, &extensible);
        let (key, extensible_key) = (AuthKey::new(&session), AuthKey::new(&extensible));
        let auth = Auth::Hmac(&key, AuthVersion::V3);
        let token = client.create_token(auth, &bot("bot"), &otp).await.unwrap().record.id;
        Self { bitgo, client, key, extension, extensible, extensible_key, token }
    }

    /// Makes a call.
    async fn call(&self, name: &str) -> Result<(), ApiError> {
        let (client, otp) = (&self.client, self.bitgo.otp());
        let auth = Auth::Hmac(&self.key, AuthVersion::V3);
        match name {
            "login" => {
                let (email, password) = (self.bitgo.email(), self.bitgo.password());
                client.login(email, &password, &otp, &LoginOptions::default()).await.map(drop)
            }
            "create_token" => client.create_token(auth, &bot("other"), &otp).await.map(drop),
            "delete_token" => client.delete_token(auth, self.token).await.map(drop),
            "list_tokens" => client.list_tokens(auth, &Page::default()).await.map(drop),
            "all_tokens" => client.all_tokens(auth).await.map(drop),
            "session" => client.session(auth).await.map(drop),
            "scoped_session" => client.scoped_session(auth, true).await.map(drop),
            "internal_access_token" => client.internal_access_token(auth).await.map(drop),
            "dangerous_unlock_removing_limits" => {
                client.dangerous_unlock_removing_limits(auth, &otp, MINUTE).await.map(drop)
            }
            "lock" => client.lock(auth).await,
            "extend_token" => {
                let at = client.now().timestamp_millis();
                let signature = self.extension.sign(at, &self.extensible, "3600");
                let auth = Auth::Hmac(&self.extensible_key, AuthVersion::V3);
                client.extend_token(auth, at, &signature, "3600").await
            }
            "me" => client.me(auth).await.map(drop),
            "ping" => client.ping().await.map(drop),
            "client_constants" => client.client_constants().await.map(drop),
            "refresh_oauth" => {
                let grant = self.bitgo.grant_oauth().unwrap();
                let oauth =
                    OauthClient::new(grant.client_id, ClientSecret::new(grant.client_secret));
                let refresh_token = RefreshToken::new(grant.refresh_token);
                client.refresh_oauth(&oauth, &refresh_token).await.map(drop)
            }
            "logout" => client.logout(auth).await,
            other => panic!("{other} is no call"),
        }
    }
}

fn open(bitgo: &Emulator, login: &LoginAnswer) -> AccessToken {
    let sealed = &login.encrypted_ecdh_xprv.as_ref().unwrap().0;
    let (xprv, _) = open_xprv(sealed, &bitgo.password()).unwrap();
    let server = EcdhPublicKey::parse(bitgo.server_xpub()).unwrap();
    let Issued::Sealed { encrypted_token, derivation_path } = &login.issued else {
        panic!("an account with a keychain gets no token in clear");
    };
    let client = EcdhPrivateKey::parse(&xprv).unwrap();
    open_token(&client, &server, derivation_path, encrypted_token).unwrap()
}

/// Waits until a server that went down is up again.
async fn up(client: &Client) {
    while client.ping().await.is_err() {
        tokio::time::sleep(DOWN / 4).await;
    }
}

#[tokio::test]
async fn every_fault_has_its_class_in_every_call() {
    let mut cells = 0;
    for (kind, [signed, unsigned]) in faults() {
        // A row has its own server: some faults leave calls with an effect, such as the last one.
        let caller = Caller::new().await;
        let secrets = caller.bitgo.secrets();
        for call in CALLS {
            let class_of_row = if UNSIGNED.contains(&call) { unsigned } else { signed };
            caller.bitgo.inject(Fault::new(kind.clone()));
            let called = caller.call(call).await;
            let expect = expected(call, &kind, class_of_row);
            match &called {
                Ok(()) => assert_eq!("done", expect, "{call} {kind:?}"),
                Err(error) => {
                    assert_eq!(class(error), expect, "{call} {kind:?}: {error}");
                    let printed = format!("{error} {error:?}");
                    let leaked = secrets.iter().any(|secret| printed.contains(secret));
                    assert!(!leaked && !printed.contains(caller.bitgo.url()), "{printed}");
                    assert!(error.request_id().is_some(), "{call} {kind:?}: it is not named");
                }
            }
            caller.bitgo.clear_faults();
            up(&caller.client).await;
            cells += 1;
        }
    }
    assert!(cells > 500, "{cells} cells were tried");
}

/// What the vault keeps: tokens with rules and ledgers, and how much the audit log tells.
async fn state(desk: &Desk) -> (Vec<TokenStatus>, usize) {
    (desk.vault.list(), crate::desk::audited(&desk.vault).await.len())
}

/// How often a token's own record was asked for.
fn probes(desk: &Desk) -> usize {
    desk.bitgo.requests("GET /api/v2/user/session")
}

fn stands(desk: &Desk) -> Standing {
    desk.vault.status("bot").unwrap().standing
}

/// One request of a deed: method, path, and the client's call that makes it.
type Step = (&'static str, &'static str, &'static str);

/// What the vault does, by the requests that it takes. A request that the deed does without is left
/// out: whose behalf a token acts on.
const DEEDS: [(&str, &[Step]); 7] = [
    ("login", &[("POST", "/auth/v1/session", "login"), ("GET", "/v2/user/session", "session")]),
    (
        "issue",
        &[("POST", "/user/accesstoken", "create_token"), ("GET", "/v2/user/session", "session")],
    ),
    (
        "fetch_internal",
        &[
            ("GET", "/user/internalaccesstoken", "internal_access_token"),
            ("GET", "/v2/user/session", "session"),
        ],
    ),
    (
        "unlock_session",
        &[
            ("GET", "/v2/user/session", "session"),
            ("GET", "/user/accesstoken", "list_tokens"),
            ("POST", "/user/unlock", "dangerous_unlock_removing_limits"),
        ],
    ),
    ("lock_session", &[("POST", "/user/lock", "lock")]),
    ("logout", &[("GET", "/user/logout", "logout")]),
    ("send", &[("GET", "/api/v2/tbtc/wallet/", "session")]),
];

async fn deed(desk: &Desk, name: &str) -> Result<(), Error> {
    let (vault, otp) = (&desk.vault, desk.bitgo.otp());
    match name {
        "login" => vault.login("new", desk.login()).await.map(drop),
        "issue" => vault.issue("desk", desk.spender("new", 10), otp).await.map(drop),
        "fetch_internal" => vault.fetch_internal("desk", "new").await.map(drop),
        "unlock_session" => vault.unlock_session("free", otp, MINUTE).await.map(drop),
        "lock_session" => vault.lock_session("free").await,
        "logout" => vault.logout("spare").await,
        "send" => vault.send("bot", &desk.view()).await.map(drop),
        other => panic!("{other} is no deed"),
    }
}

/// How a deed's failure is told: by why, and not by what was left behind.
fn why(error: &Error) -> String {
    match error {
        Error::Orphaned { source, .. } | Error::Unresolved { source, .. } => why(source),
        Error::Untrusted(distrust) => told(&Error::from(ApiError::Untrusted {
            what: *distrust,
            status: 200,
            request_id: bitgo_vault::api::RequestId::random().unwrap(),
        })),
        other => told(other),
    }
}

#[tokio::test(start_paused = true)]
async fn the_vault_is_as_it_was_after_every_fault() {
    let day = Duration::from_secs(86_400);
    let mut desk = Desk::with(Emulator::builder().session_lifetime(day)).await;
    desk.mint(desk.spender("bot", 1000).scope("wallet_view_all".parse().unwrap())).await;
    desk.vault.send("bot", &desk.withdrawal(7)).await.unwrap();
    desk.mint(bot("free")).await;
    let settings = ClientSettings::default().retries(0);
    let client = Client::new(desk.bitgo.environment(), desk.clock.clone(), settings).unwrap();
    for (name, requests) in DEEDS {
        for (method, path, call) in requests {
            for (kind, [signed, unsigned]) in faults() {
                let printed = format!("{name} at {method} {path}: {kind:?}");
                if name == "logout" && desk.vault.status("spare").is_err() {
                    desk.vault.login("spare", desk.login()).await.unwrap();
                }
                let (before, asked) = (state(&desk).await, probes(&desk));
                desk.bitgo.inject(Fault::new(kind.clone()).on(method, path));
                let done = deed(&desk, name).await;
                desk.bitgo.clear_faults();
                up(&client).await;

                let class = if UNSIGNED.contains(call) { unsigned } else { signed };
                let expect = match (name, *call, &kind) {
                    // A wallet's answer is the bot's to read, once its HMAC fits.
                    ("send", _, FaultKind::Html | FaultKind::Unsigned(..)) => "hmac missing",
                    ("send", ..) if !SEND_TELLS.contains(&class) => "done",
                    // BitGo says that it is dead, which is what was wanted.
                    ("logout", _, FaultKind::DeadToken) => "done",
                    // What came has ended: it cannot ask for its own record. The internal token is
                    // one that is handed out again.
                    (_, "login" | "create_token", FaultKind::AlreadyExpired) => "dead",
                    // A session that may not read the list is not the last that could.
                    ("unlock_session", "list_tokens", _) if LIST_REFUSED.contains(&class) => {
                        "done, or unknown"
                    }
                    _ => expected(call, &kind, class),
                };
                match (&done, expect) {
                    (Ok(()), "done" | "done, or unknown") => {
                        if ["login", "issue", "fetch_internal"].contains(&name) {
                            desk.vault.remove("new").await.unwrap();
                        }
                    }
                    (Err(Error::LimitsUnknown { .. }), "done, or unknown") => {}
                    (Err(error), expect) => assert_eq!(why(error), expect, "{printed}"),
                    (Ok(()), expect) => panic!("{printed}: done instead of {expect}"),
                }
                if name == "send" && ["dead", "unauthorized"].contains(&class) {
                    // The token is doubted: BitGo is asked, of one that it called dead at the opening.
                    if class == "dead" {
                        until(|| stands(&desk) == Standing::Revoked).await;
                        desk = desk.reopened().await;
                    }
                    until(|| probes(&desk) > asked && stands(&desk) == Standing::Good).await;
                }
                if name == "logout" && done.is_ok() {
                    assert!(desk.vault.status("spare").is_err(), "{printed}");
                } else {
                    assert_eq!(state(&desk).await, before, "{printed}");
                }
                if desk.vault.status("spare").is_ok() && name == "logout" {
                    // It may be dead at the server: the next row gets another.
                    desk.vault.remove("spare").await.unwrap();
                }
            }
        }
    }
}

/// What becomes an error of a bot's own request: the rest is an answer, whatever its status.
const SEND_TELLS: [&str; 5] =
    ["lost", "hmac wrong", "hmac missing", "outside window", "other request"];
/// How the list of tokens is refused to one session.
const LIST_REFUSED: [&str; 8] =
    ["dead", "otp", "needs unlock", "sso", "ip", "unauthorized", "forbidden", "rejected"];
