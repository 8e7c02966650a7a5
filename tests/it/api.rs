//! The client against the emulator, over HTTP.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{bot, class, coin};
use bitgo_vault::api::wire::{Issued, IssuedToken};
use bitgo_vault::api::{
    ApiError, Asked, Auth, Client, ClientSettings, CreateToken, DispatchError, Distrust,
    LoginOptions, Page, RequestId, Sort,
};
use bitgo_vault::crypto::{
    AuthKey, AuthVersion, EcdhPrivateKey, EcdhPublicKey, EnvelopeVersion, ExtensionKey, open_token,
    open_xprv,
};
use bitgo_vault::emulator::{Emulator, EmulatorBuilder, Fault, FaultKind};
use bitgo_vault::{AccessToken, EcdhXprv, Environment, LoginPassword, Otp, SystemClock};
use bitgo_vault::{Amount, TokenId, TokenKind, WalletId, WordError};
use getrandom::SysRng;
use http::{HeaderMap, Method};
use std::sync::Arc;
use std::time::Duration;

const SESSION: &str = "/api/v2/user/session";
const ACCESS_TOKEN: &str = "/api/v2/user/accesstoken";
const INTERNAL: &str = "/api/v2/user/internalaccesstoken";

/// A client that is logged in at its own emulator.
struct Desk {
    bitgo: Emulator,
    client: Client,
    ecdh_xprv: EcdhXprv,
    session: AccessToken,
    session_id: TokenId,
    key: Box<AuthKey>,
    version: AuthVersion,
}

impl Desk {
    async fn new() -> Self {
        Self::with(Emulator::builder(), &LoginOptions::default()).await
    }

    async fn with(builder: EmulatorBuilder, options: &LoginOptions) -> Self {
        let bitgo = builder.start().await.unwrap();
        let client = client(bitgo.environment());
        let password = bitgo.password();
        let login = client.login(bitgo.email(), &password, &bitgo.otp(), options).await.unwrap();
        let (ecdh_xprv, _) = open_xprv(&login.encrypted_ecdh_xprv.unwrap().0, &password).unwrap();
        let session = open(&bitgo, &ecdh_xprv, &login.issued);
        let key = AuthKey::new(&session);
        let session_id = login.token_id.unwrap();
        Self { bitgo, client, ecdh_xprv, session, session_id, key, version: AuthVersion::V3 }
    }

    fn auth(&self) -> Auth<'_> {
        Auth::Hmac(&self.key, self.version)
    }

    async fn mint(&self, token: CreateToken) -> (TokenId, Box<AuthKey>) {
        let issued =
            self.client.create_token(self.auth(), &token, &self.bitgo.otp()).await.unwrap();
        (issued.record.id, self.key_of(&issued))
    }

    fn key_of(&self, issued: &IssuedToken) -> Box<AuthKey> {
        AuthKey::new(&open(&self.bitgo, &self.ecdh_xprv, &issued.issued))
    }
}

fn id() -> RequestId {
    RequestId::random().unwrap()
}

fn client(environment: &Environment) -> Client {
    let settings = ClientSettings::default().timeout(Duration::from_secs(5)).retries(0);
    Client::new(environment, Arc::new(SystemClock::new()), settings).unwrap()
}

fn open(bitgo: &Emulator, ecdh_xprv: &EcdhXprv, issued: &Issued) -> AccessToken {
    match issued {
        Issued::Sealed { encrypted_token, derivation_path } => {
            let client = EcdhPrivateKey::parse(ecdh_xprv).unwrap();
            let server = EcdhPublicKey::parse(bitgo.server_xpub()).unwrap();
            open_token(&client, &server, derivation_path, encrypted_token).unwrap()
        }
        _ => panic!("an account with a keychain gets no token in clear"),
    }
}

async fn spend(
    client: &Client,
    key: &AuthKey,
    wallet: WalletId,
    amount: &str,
) -> Result<u16, ApiError> {
    let target = format!("/api/v2/tbtc/wallet/{wallet}/tx/initiate");
    let body = format!(r#"{{"recipients":[{{"address":"tb1q","amount":{amount}}}]}}"#);
    let auth = Some(Auth::Hmac(key, AuthVersion::V3));
    client.execute(Method::POST, &target, body.into(), auth).await.map(|answer| answer.status)
}

#[tokio::test]
async fn a_token_signs_from_login_to_revocation_in_every_version() {
    for envelope in [EnvelopeVersion::V1, EnvelopeVersion::V2] {
        for version in [AuthVersion::V2, AuthVersion::V3, AuthVersion::V4] {
            let builder = Emulator::builder().envelope_version(envelope);
            let mut desk = Desk::with(builder, &LoginOptions::default()).await;
            desk.version = version;
            let client = &desk.client;

            let token = bot("market maker")
                .scope("wallet_spend_all".parse().unwrap())
                .spending_limit(&coin(), Amount::new(9_007_199_254_740_993))
                .ip_restrict("127.0.0.1");
            let (id, key) = desk.mint(token).await;
            let auth = Auth::Hmac(&key, version);
            let info = client.session(auth).await.unwrap().to_info(TokenKind::LongLived, false);
            assert_eq!(info.id, id);
            assert_eq!(info.ip_restrict, ["127.0.0.1"]);
            let limit = info.spending_limits[&coin()];
            assert_eq!(limit.limit, Some(Amount::new(9_007_199_254_740_993)), "exact beyond 2^53");
            assert!(info.expires_at > info.created_at);

            let scoped = client.scoped_session(auth, true).await.unwrap();
            assert_eq!((scoped.record.id, scoped.is_spoofed()), (id, false));

            let ended = client.delete_token(desk.auth(), id).await.unwrap();
            assert!(ended.expires <= Some(client.now()));
            let error = client.session(auth).await.unwrap_err();
            assert_eq!(class(&error), "dead");
            assert!(error.refusal().unwrap().is_verified(), "the server signs what it refuses");
        }
    }
}

#[tokio::test]
async fn no_token_and_no_password_ever_travels() {
    let desk = Desk::new().await;
    let (_, key) = desk.mint(bot("bot")).await;
    desk.client.session(Auth::Hmac(&key, AuthVersion::V3)).await.unwrap();
    desk.client.internal_access_token(desk.auth()).await.unwrap();
    let traffic = desk.bitgo.traffic();
    let secrets = desk.bitgo.secrets();
    assert_eq!((traffic.len(), secrets.len()), (4, 6), "three tokens, the password, two keys");
    for secret in &secrets {
        assert!(!traffic.iter().any(|exchange| exchange.contains(secret)));
    }
    assert!(traffic[0].contains("request-id: "), "every call has an id");
}

#[tokio::test]
async fn a_wrong_password_or_otp_is_refused_and_kills_no_token() {
    let bitgo = Emulator::start().await.unwrap();
    let client = client(bitgo.environment());
    let (right, wrong) = (bitgo.password(), LoginPassword::new("wrong"));
    for (password, otp, expect) in [
        (&wrong, "0000000", "unauthorized"),
        (&right, "1111111", "otp refused"),
        (&right, "", "otp"),
    ] {
        let options = LoginOptions::default();
        let login = client.login(bitgo.email(), password, &Otp::new(otp), &options).await;
        assert_eq!(class(&login.unwrap_err()), expect, "{otp}");
    }
    let (email, options) = (bitgo.email().to_uppercase(), LoginOptions::default());
    let login = client.login(&email, &right, &bitgo.otp(), &options).await;
    assert!(login.is_ok(), "e-mails are lowered before they key the HMAC");
    assert_eq!(bitgo.requests("POST /api/auth/v1/session"), 4);
}

#[tokio::test]
async fn every_page_of_the_listing_is_read_once() {
    let desk = Desk::new().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(desk.mint(bot(&format!("bot {number}"))).await.0);
    }
    let mut page = Page { limit: 2, ..Page::default() };
    let mut pages = Vec::new();
    loop {
        let answer = desk.client.list_tokens(desk.auth(), &page).await.unwrap();
        pages.push(answer.records.iter().map(|record| record.id).collect::<Vec<_>>());
        page.prev_id = answer.next;
        if page.prev_id.is_none() {
            break;
        }
    }
    assert_eq!(pages, [&ids[..2], &ids[2..4], &ids[4..]]);
    let all = desk.client.all_tokens(desk.auth()).await.unwrap();
    assert_eq!(all.len(), 5);
    assert_eq!(all[4].label.as_deref(), Some("bot 4"));

    let before = desk.bitgo.requests("GET");
    let page = Page { limit: 2, sort: Sort::Descending, ..Page::default() };
    let mut tokens = desk.client.tokens(desk.auth(), page);
    for id in ids.iter().rev() {
        assert_eq!(tokens.next().await.unwrap().unwrap().id, *id);
    }
    assert_eq!(desk.bitgo.requests("GET") - before, 3);
    assert!(tokens.next().await.is_none() && tokens.next().await.is_none());
    let mut tokens = desk.client.tokens(desk.auth(), Page { limit: 2, ..Page::default() });
    tokens.next().await.unwrap().unwrap();
    assert_eq!(desk.bitgo.requests("GET") - before, 4, "no page is fetched before it is wanted");
}

#[tokio::test]
async fn a_listing_that_stands_still_ends() {
    let desk = Desk::new().await;
    let page = r#"{"accessTokens":[],"nextBatchPrevId":"again"}"#;
    desk.bitgo.inject(Fault::new(FaultKind::Status(200, page.into())).times(u32::MAX));
    let error = desk.client.all_tokens(desk.auth()).await.unwrap_err();
    assert!(matches!(error, ApiError::Untrusted { what: Distrust::Endless, .. }), "{error}");
    assert_eq!(desk.bitgo.requests("GET"), 2);
    desk.bitgo.clear_faults();
    let sly = Page { limit: 1, prev_id: Some("x&admin=true".into()), ..Page::default() };
    let error = desk.client.list_tokens(desk.auth(), &sly).await.unwrap_err();
    assert!(matches!(error, ApiError::Unsendable(_)), "{error}");
}

#[tokio::test]
async fn an_internal_token_is_renewed_past_half_of_its_life() {
    let hour = Duration::from_secs(3600);
    let builder = Emulator::builder().session_lifetime(24 * hour).internal_lifetime(hour);
    let desk = Desk::with(builder, &LoginOptions::default()).await;
    let first = desk.client.internal_access_token(desk.auth()).await.unwrap();
    let key = desk.key_of(&first);
    let auth = Auth::Hmac(&key, AuthVersion::V3);
    let again = desk.client.internal_access_token(auth).await.unwrap();
    assert_eq!((again.record.id, again.record.expires), (first.record.id, first.record.expires));

    // The server signs answers in its own time: the client's window is 5 minutes back, 1 forward.
    let short = Duration::from_secs(60);
    let builder = Emulator::builder().internal_lifetime(short);
    let desk = Desk::with(builder, &LoginOptions::default()).await;
    let first = desk.client.internal_access_token(desk.auth()).await.unwrap();
    desk.bitgo.set_clock_offset_ms(31_000);
    let key = desk.key_of(&first);
    let renewed =
        desk.client.internal_access_token(Auth::Hmac(&key, AuthVersion::V3)).await.unwrap();
    assert_ne!(renewed.record.id, first.record.id);
    assert!(renewed.record.expires > first.record.expires);
}

#[tokio::test]
async fn a_moved_endpoint_is_gone_not_broken() {
    let desk = Desk::new().await;
    for (kind, expect) in [
        (FaultKind::Status(404, "{}".into()), "gone"),
        (FaultKind::Status(410, "{}".into()), "gone"),
        (FaultKind::Html, "gone"),
        (FaultKind::Status(424, "{}".into()), "transient"),
    ] {
        desk.bitgo.inject(Fault::new(kind));
        let error = desk.client.internal_access_token(desk.auth()).await.unwrap_err();
        assert_eq!(class(&error), expect);
    }
    assert_eq!(desk.bitgo.requests(&format!("GET {INTERNAL}")), 4);
}

#[tokio::test]
async fn the_holder_of_the_extension_key_extends() {
    let key = ExtensionKey::generate(&mut SysRng).unwrap();
    let options = LoginOptions::default().extensible(&key.address());
    let builder = Emulator::builder().session_lifetime(Duration::from_secs(600));
    let desk = Desk::with(builder, &options).await;
    let before = desk.client.session(desk.auth()).await.unwrap();
    assert!(before.is_extensible);

    let at = desk.client.now().timestamp_millis();
    let signature = key.sign(at, &desk.session, "7200");
    let client = &desk.client;
    client.extend_token(desk.auth(), at, &signature, "7200").await.unwrap();
    let after = client.session(desk.auth()).await.unwrap();
    let gained = after.expires.unwrap() - before.expires.unwrap();
    assert!(gained.num_seconds() > 6500, "{gained}");

    for (at, duration) in [(at, "7201"), (at + 1, "7200")] {
        let refused = client.extend_token(desk.auth(), at, &signature, duration).await;
        assert_eq!(class(&refused.unwrap_err()), "rejected");
    }
    assert_eq!(client.session(desk.auth()).await.unwrap().expires, after.expires);
}

#[tokio::test]
async fn spending_ends_at_the_limit_to_the_unit() {
    let desk = Desk::new().await;
    let wallet = desk.bitgo.wallet(&coin());
    let other = desk.bitgo.add_wallet(&coin());
    let token = bot("spender")
        .scope(format!("wallet_spend:{wallet}").parse().unwrap())
        .spending_limit(&coin(), Amount::new(10));
    let (id, key) = desk.mint(token).await;
    let client = &desk.client;

    assert_eq!(spend(client, &key, wallet, "7").await.unwrap(), 200);
    let error = spend(client, &key, wallet, "\"4\"").await.unwrap_err();
    assert_eq!(class(&error), "needs unlock");
    assert!(error.refusal().unwrap().is_verified());
    assert_eq!(spend(client, &key, wallet, "\"3\"").await.unwrap(), 200);
    assert_eq!(class(&spend(client, &key, wallet, "1").await.unwrap_err()), "needs unlock");

    for (error, expect) in [
        (spend(client, &key, other, "1").await, "forbidden"),
        (spend(client, &key, WalletId::from_bytes([9; 16]), "1").await, "rejected"),
        (spend(client, &key, wallet, "\"max\"").await, "rejected"),
    ] {
        assert_eq!(class(&error.unwrap_err()), expect);
    }
    let view = format!("/api/v2/tbtc/wallet/{wallet}");
    let auth = Some(Auth::Hmac(&key, AuthVersion::V3));
    let error = client.execute(Method::GET, &view, Vec::new(), auth).await.unwrap_err();
    assert_eq!(class(&error), "forbidden", "to spend is not to view");

    let counted = client.session(Auth::Hmac(&key, AuthVersion::V3)).await.unwrap();
    let counted = counted.unlock.spending_limits[&coin()];
    assert_eq!((counted.tx_count, counted.tx_value), (2, Amount::new(10)));
    assert_eq!(desk.bitgo.spent(&coin()), Amount::new(10));
    assert_eq!(desk.bitgo.spent_by(id, &coin()), Amount::new(10));
    assert_eq!(desk.bitgo.spent_by(desk.session_id, &coin()), Amount::ZERO);
}

#[tokio::test]
async fn a_server_without_limits_refuses_no_spend() {
    let desk = Desk::with(Emulator::builder().without_limits(), &LoginOptions::default()).await;
    let wallet = desk.bitgo.wallet(&coin());
    let token = bot("spender")
        .scope("wallet_spend_all".parse().unwrap())
        .permitted_wallet(wallet)
        .spending_limit(&coin(), Amount::new(10));
    let (_, key) = desk.mint(token).await;
    assert_eq!(spend(&desk.client, &key, wallet, "11").await.unwrap(), 200);
    assert_eq!(desk.bitgo.spent(&coin()), Amount::new(11));
    let other = desk.bitgo.add_wallet(&coin());
    assert_eq!(class(&spend(&desk.client, &key, other, "1").await.unwrap_err()), "forbidden");
}

#[tokio::test]
async fn each_fault_has_its_class_and_never_a_value() {
    let desk = Desk::new().await;
    let status = |status, body: &str| FaultKind::Status(status, body.to_owned());
    for (kind, expect) in [
        (FaultKind::BadHmac, "hmac wrong"),
        (FaultKind::NoHmac, "hmac missing"),
        (FaultKind::OtherRequestId, "other request"),
        (FaultKind::Html, "html"),
        (FaultKind::TornBody, "lost"),
        (FaultKind::DropBefore, "lost"),
        (FaultKind::DropAfterEffect, "lost"),
        (FaultKind::DeadToken, "dead"),
        (FaultKind::RetryAfter(7), "rate limited"),
        (status(200, "{}"), "malformed"),
        (status(200, "{\"session\":"), "malformed"),
        (status(500, ""), "transient"),
        (status(503, "{}"), "transient"),
        (status(408, "{}"), "transient"),
        (status(424, "{}"), "transient"),
        (status(401, "{}"), "unauthorized"),
        (status(401, r#"{"needsOTP":true}"#), "otp"),
        (status(401, r#"{"needsUnlock":true}"#), "needs unlock"),
        (status(401, r#"{"oauth":{"oauthRequired":true}}"#), "sso"),
        (status(401, r#"{"error":"IP address not on the list"}"#), "ip"),
        (status(403, "{}"), "forbidden"),
        (status(400, "{}"), "rejected"),
        (status(302, "{}"), "untrusted"),
    ] {
        let printed = format!("{kind:?}");
        desk.bitgo.inject(Fault::new(kind).on("GET", SESSION));
        let error = desk.client.session(desk.auth()).await.expect_err(&printed);
        assert_eq!(class(&error), expect, "{printed}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains(desk.session.expose()) && !told.contains("127.0.0.1"), "{told}");
        let verified = error.refusal().is_none_or(|refusal| refusal.is_verified());
        assert!(verified, "{printed}: the emulator signs its refusals");
        desk.client.session(desk.auth()).await.expect(&printed);
    }
    desk.bitgo.inject(Fault::new(FaultKind::NoRequestId));
    desk.client.session(desk.auth()).await.expect("a proxy may strip the id");
    desk.bitgo.inject(Fault::new(FaultKind::RetryAfter(7)));
    let Err(ApiError::RateLimited { retry_after, .. }) = desk.client.session(desk.auth()).await
    else {
        panic!("429 is a rate limit");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_answer_lost_after_its_effect_leaves_a_token_to_find() {
    let desk = Desk::new().await;
    desk.bitgo.inject(Fault::new(FaultKind::DropAfterEffect).on("POST", ACCESS_TOKEN));
    let otp = desk.bitgo.otp();
    let error = desk.client.create_token(desk.auth(), &bot("orphan"), &otp).await.unwrap_err();
    assert_eq!(class(&error), "lost");
    let left = desk.client.all_tokens(desk.auth()).await.unwrap();
    assert_eq!(left[0].label.as_deref(), Some("orphan"));
    assert_eq!(desk.bitgo.requests(&format!("POST {ACCESS_TOKEN}")), 1, "it was not repeated");

    desk.bitgo.inject(Fault::new(FaultKind::DropBefore).on("POST", ACCESS_TOKEN));
    desk.client.create_token(desk.auth(), &bot("never"), &otp).await.unwrap_err();
    assert_eq!(desk.client.all_tokens(desk.auth()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_a_session_mints_and_only_with_its_otp() {
    let desk = Desk::new().await;
    let (_, key) = desk.mint(bot("bot")).await;
    let create = async |auth, otp| {
        let created = desk.client.create_token(auth, &bot("other"), &Otp::new(otp)).await;
        class(&created.unwrap_err())
    };
    assert_eq!(create(Auth::Hmac(&key, AuthVersion::V3), "0000000").await, "forbidden");
    assert_eq!(create(desk.auth(), "").await, "otp");
    assert_eq!(create(desk.auth(), "1234567").await, "otp refused");

    let kind = FaultKind::AlreadyExpired;
    desk.bitgo.inject(Fault::new(kind).on("POST", ACCESS_TOKEN));
    let (_, key) = desk.mint(bot("stillborn")).await;
    let error = desk.client.session(Auth::Hmac(&key, AuthVersion::V3)).await.unwrap_err();
    assert_eq!(class(&error), "dead");
}

#[tokio::test]
async fn clocks_far_apart_are_refused_by_both_sides() {
    let desk = Desk::new().await;
    desk.bitgo.set_clock_offset_ms(-120_000);
    let error = desk.client.session(desk.auth()).await.unwrap_err();
    assert_eq!(class(&error), "dead", "the request lies two minutes ahead of the server");
    assert!(!error.refusal().unwrap().is_verified(), "so nothing vouches for the refusal");

    desk.bitgo.set_clock_offset_ms(120_000);
    let error = desk.client.session(desk.auth()).await.unwrap_err();
    assert_eq!(class(&error), "outside window");
    let ApiError::Untrusted { what: Distrust::OutsideWindow { answered_at, .. }, .. } = error
    else {
        panic!("it tells the server's time");
    };
    assert!((answered_at - desk.client.now()).num_seconds() > 100);
}

#[tokio::test]
async fn an_account_without_a_keychain_gets_tokens_in_clear_and_sends_them() {
    let bitgo = Emulator::builder().without_ecdh_keychain().start().await.unwrap();
    let client = client(bitgo.environment());
    let options = LoginOptions::default();
    let login = client.login(bitgo.email(), &bitgo.password(), &bitgo.otp(), &options).await;
    let login = login.unwrap();
    assert!(login.no_ecdh_keychain && login.encrypted_ecdh_xprv.is_none());
    let Issued::Clear(session) = login.issued else { panic!("it has no key to seal for") };
    let auth = Auth::Bearer(&session);
    let issued = client.create_token(auth, &bot("old"), &bitgo.otp()).await.unwrap();
    assert!(matches!(issued.issued, Issued::Clear(_)));
    assert_eq!(client.session(auth).await.unwrap().id, login.token_id.unwrap());
}

#[tokio::test]
async fn what_never_left_is_told_from_what_may_have() {
    let bitgo = Emulator::start().await.unwrap();
    let environment = bitgo.environment().clone();
    let client = client(&environment);
    let dispatch = async |target| {
        let headers = HeaderMap::new();
        client
            .dispatch(Method::POST, target, headers, b"{}".to_vec(), id())
            .await
            .map(|raw| raw.status)
    };
    assert_eq!(dispatch("/api/v1/ping").await.unwrap(), 404);
    assert!(matches!(dispatch("/a/../b").await, Err(DispatchError::Unsendable(_))));
    bitgo.inject(Fault::new(FaultKind::DropBefore));
    assert!(matches!(dispatch("/").await, Err(DispatchError::OutcomeUnknown { .. })));
    bitgo.shutdown().await;
    assert!(matches!(dispatch("/").await, Err(DispatchError::NotSent { .. })));
}

#[tokio::test]
async fn a_signature_fits_one_request_only() {
    let desk = Desk::new().await;
    let stranger = AuthKey::new(&AccessToken::new(format!("v2x{}", "0".repeat(64))));
    let (method, request_id) = (&Method::GET, id());
    for version in [AuthVersion::V2, AuthVersion::V3, AuthVersion::V4] {
        let headers = |key, target, body: &[u8]| {
            let auth = Some(Auth::Hmac(key, version));
            Asked { auth, method, target, request_id }.headers(body, desk.client.now()).unwrap()
        };
        let without = |name: &str| {
            let mut headers = headers(&desk.key, SESSION, b"");
            headers.remove(name);
            headers
        };
        for (headers, expect) in [
            (headers(&desk.key, SESSION, b""), (200, true)),
            (headers(&desk.key, ACCESS_TOKEN, b""), (401, false)),
            (headers(&desk.key, SESSION, b"{}"), (401, false)),
            (headers(&stranger, SESSION, b""), (401, false)),
            (without("authorization"), (401, false)),
            (without("bitgo-auth-version"), (401, false)),
            (HeaderMap::new(), (401, false)),
        ] {
            let printed = format!("{version:?} {headers:?}");
            let sent = desk.client.dispatch(method.clone(), SESSION, headers, Vec::new(), id());
            let sent = sent.await.unwrap();
            let signed =
                ["hmac", "x-signature"].iter().any(|name| sent.headers.contains_key(*name));
            assert_eq!((sent.status, signed), expect, "{printed}");
        }
    }
    // In version 4 the digest of the body and the request's id are headers of their own.
    let auth = Some(Auth::Hmac(&desk.key, AuthVersion::V4));
    let asked = Asked { auth, method, target: SESSION, request_id };
    for name in ["x-content-sha256", "x-auth-request-id", "x-request-timestamp"] {
        for value in [None, Some("1")] {
            let mut headers = asked.headers(b"", desk.client.now()).unwrap();
            match value {
                Some(value) => drop(headers.insert(name, value.parse().unwrap())),
                None => drop(headers.remove(name)),
            }
            let sent = desk.client.dispatch(method.clone(), SESSION, headers, Vec::new(), id());
            assert_eq!(sent.await.unwrap().status, 401, "{name} {value:?}");
        }
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read() {
    let desk = Desk::new().await;
    let body = " ".repeat(4 * 1024 * 1024 + 1);
    desk.bitgo.inject(Fault::new(FaultKind::Status(200, body)));
    assert_eq!(class(&desk.client.session(desk.auth()).await.unwrap_err()), "lost");
}

#[tokio::test]
async fn a_slow_server_times_out_with_unknown_outcome() {
    let desk = Desk::new().await;
    let settings = ClientSettings::default().timeout(Duration::from_millis(100)).retries(0);
    let clock = Arc::new(SystemClock::new());
    let hasty = Client::new(desk.bitgo.environment(), clock, settings).unwrap();
    desk.bitgo.inject(Fault::new(FaultKind::Delay(Duration::from_secs(1))));
    assert_eq!(class(&hasty.session(desk.auth()).await.unwrap_err()), "lost");
}

#[test]
fn plain_http_beyond_loopback_is_refused() {
    for uri in ["http://bitgo.example", "http://10.0.0.1:3000"] {
        let made = Environment::custom(uri, Environment::Test.server_xpub());
        assert_eq!(made.unwrap_err(), WordError::RootUri, "{uri}");
    }
}
