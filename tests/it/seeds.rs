//! Every field and every piece of advice of BitGo's pages (`tests/seeds/SEEDS.tsv`): fields are read back
//! typed from a record that holds them, advice is a rule, a warning or a sentence of the guide.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk::{class, coin};
use bitgo_vault::api::wire::{
    AdminScope, Issued, IssuedToken, LoginAnswer, PlatformError, ScopedSession, TokenPage,
    TokenRecord,
};
use bitgo_vault::api::{
    Auth, Client, ClientSettings, CreateToken, Endpoint, LoginOptions, Page, Sort, TokenFlaw,
    TokenRisk,
};
use bitgo_vault::crypto::{AuthKey, AuthVersion};
use bitgo_vault::emulator::{Emulator, Fault, FaultKind};
use bitgo_vault::{
    AccessToken, Amount, EnterpriseId, Environment, Label, Scope, SystemClock, WalletId,
};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ID: &str = "5941b202b42fcbc707170d5b597491d9";
const OTHER_ID: &str = "5941b202b42fcbc707170d5b59749100";
const TIME: &str = "2026-01-02T03:04:05.678Z";
const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What a line of the seeds has become.
#[derive(Clone, Copy)]
enum Kept {
    /// A field of an answer or request that is typed: this reads it back.
    Typed(fn() -> bool),
    /// A field that a call of the client's sends: the test below makes it.
    Sent(&'static str),
    /// A refusal or a warning: this provokes it.
    Rule(fn() -> bool),
    /// A sentence of a document.
    Told(&'static str, &'static str),
}

use Kept::{Rule, Sent, Told, Typed};

const TOKENS: &str = "docs/TOKENS.md";

/// Page and name of each line, and what became of it. A page that stands for several is cut short.
const KEPT: &[(&str, &str, &str, Kept)] = &[
    ("internalaccesstoken (GET)", "response 200", "encryptedToken", Typed(|| &*sealed().0 == "{}")),
    (
        "internalaccesstoken (GET)",
        "response 200",
        "derivationPath",
        Typed(|| &*sealed().1 == "m/1/2"),
    ),
    ("internalaccesstoken (GET)", "errors", "401 403 404 424", Typed(is_refusal_typed)),
    (
        "accesstoken (POST)",
        "request",
        "scope",
        Typed(|| asked()["scope"] == json!(["wallet_view_all", format!("wallet_spend:{ID}")])),
    ),
    ("accesstoken (POST)", "request", "duration", Typed(|| asked()["duration"] == 86_400)),
    ("accesstoken (POST)", "request", "label", Typed(|| asked()["label"] == "bot")),
    ("accesstoken (POST)", "request", "admin", Typed(|| asked()["admin"] == true)),
    (
        "accesstoken (POST)",
        "request",
        "ipRestrict",
        Typed(|| asked()["ipRestrict"] == json!(["203.0.113.7"])),
    ),
    ("accesstoken (POST)", "request", "enterprise", Typed(|| asked()["enterprise"] == ID)),
    (
        "accesstoken (POST)",
        "request",
        "spendingLimits[].coin",
        Typed(|| asked()["spendingLimits"][0]["coin"] == "tbtc"),
    ),
    (
        "accesstoken (POST)",
        "request",
        "spendingLimits[].maxLimit",
        Typed(|| asked()["spendingLimits"][1]["maxLimit"] == true),
    ),
    (
        "accesstoken (POST)",
        "request",
        "spendingLimits[].txValueLimit",
        Typed(|| asked()["spendingLimits"][0]["txValueLimit"] == "9007199254740993"),
    ),
    (
        "accesstoken (POST)",
        "request",
        "allErc20TokensLimit.{enabled,maxLimit,txValueLimit}",
        Typed(|| {
            let open = CreateToken::new(&label(), DAY).dangerous_uncapped_erc20_tokens();
            let open = serde_json::to_value(open).unwrap();
            asked()["allErc20TokensLimit"] == json!({"enabled": true, "txValueLimit": "7"})
                && open["allErc20TokensLimit"] == json!({"enabled": true, "maxLimit": true})
        }),
    ),
    (RECORD, "response", "id", Typed(|| record().id.to_string() == ID)),
    (RECORD, "response", "isExtensible", Typed(|| record().is_extensible)),
    (
        RECORD,
        "response",
        "bitgoAdminPermissions",
        Typed(|| record().bitgo_admin_permissions == ["support"]),
    ),
    (RECORD, "response", "client", Typed(|| record().client.as_deref() == Some("bitgo"))),
    (RECORD, "response", "created", Typed(|| record().created == TIME.parse().ok())),
    (RECORD, "response", "enterprise", Typed(|| record().enterprise == ID.parse().ok())),
    (RECORD, "response", "expires", Typed(|| record().expires == TIME.parse().ok())),
    (
        RECORD,
        "response",
        "extensionAddress",
        Typed(|| record().extension_address.as_deref() == Some("1Address")),
    ),
    (RECORD, "response", "ip", Typed(|| record().ip.as_deref() == Some("203.0.113.7"))),
    (
        RECORD,
        "response",
        "ipRestrict",
        Typed(|| record().ip_restrict == ["203.0.113.0/28", "203.0.113.7"]),
    ),
    (RECORD, "response", "label", Typed(|| record().label.as_deref() == Some("bot"))),
    (RECORD, "response", "origin", Typed(|| record().origin.as_deref() == Some("test"))),
    (RECORD, "response", "token", Typed(is_token_typed)),
    (
        RECORD,
        "response",
        "scope",
        Typed(|| record().scope == ["openid", "wallet_view_all"].map(|w| w.parse().unwrap())),
    ),
    (RECORD, "response", "unlock", Typed(|| record().unlock.has_limits())),
    (RECORD, "response", "unlock.spendingLimits", Typed(is_limit_typed)),
    (
        RECORD,
        "response",
        "unlock.allErc20TokensLimit",
        Typed(|| {
            let pool = record().unlock.all_erc20_tokens_limit.unwrap();
            let (count, value) = (pool.limit.tx_count, pool.limit.tx_value);
            pool.enabled
                && (count, value) == (2, Amount::new(12))
                && pool.limit.tx_value_limit == Some(Amount::new(99))
        }),
    ),
    (RECORD, "response", "unlock.expires", Typed(|| record().unlock.expires == TIME.parse().ok())),
    (RECORD, "response", "unlock.time", Typed(|| record().unlock.time == TIME.parse().ok())),
    (
        RECORD,
        "response",
        "unlock.{txCount,txValue,txValueLimit}",
        Typed(|| {
            let limit = record().unlock.legacy.unwrap();
            (limit.tx_count, limit.tx_value, limit.tx_value_limit)
                == (1, Amount::new(2), Some(Amount::new(3)))
        }),
    ),
    (RECORD, "response", "user", Typed(|| record().user.as_deref() == Some(OTHER_ID))),
    (
        RECORD,
        "response",
        "oauth.{oauthRequired,expires}",
        Typed(|| {
            let oauth = record().oauth.unwrap();
            oauth.required && oauth.expires == TIME.parse().ok()
        }),
    ),
    (
        RECORD,
        "response",
        "isMobileAccessToken",
        Typed(|| record().is_mobile_access_token == Some(true)),
    ),
    (
        "scopedsession (GET)",
        "query",
        "skipOAuth",
        Sent("GET /api/v2/internal/user/scopedsession?skipOAuth=true"),
    ),
    (
        "scopedsession (GET)",
        "response 200",
        "accessToken",
        Typed(|| {
            let record = scoped().record;
            record.internal == Some(true) && record.organizations == ["acme"]
        }),
    ),
    (
        "scopedsession (GET)",
        "response 200",
        "authenticationMetadata.userId",
        Typed(|| {
            let empty = json!({"userId": "", "userContext": {}});
            &*scoped().user_id == "u" && parse_scoped(&empty).is_err()
        }),
    ),
    (
        "scopedsession (GET)",
        "response 200",
        "authenticationMetadata.userContext",
        Typed(|| scoped().user_context.get() == "{}"),
    ),
    (
        "scopedsession (GET)",
        "response 200",
        "authenticationMetadata.{enterpriseContext,organizationContext,walletContext}",
        Typed(|| {
            let ScopedSession { enterprise_context, organization_context, wallet_context, .. } =
                scoped();
            [enterprise_context, organization_context, wallet_context]
                .map(|context| context.unwrap().get().to_owned())
                == [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]
        }),
    ),
    (
        "scopedsession (GET)",
        "response 200",
        "authenticationMetadata.spooferContext",
        Typed(|| {
            let nobody = json!({"userId": "u", "userContext": {}});
            scoped().is_spoofed() && !parse_scoped(&nobody).unwrap().is_spoofed()
        }),
    ),
    ("scopedsession (GET)", "errors", "400", Typed(is_refusal_typed)),
    ("guide", "fact", "short-lived token", Told(TOKENS, "1 hour by one page, 2 by another")),
    ("guide", "fact", "long-lived token", Told(TOKENS, "up to 10 years")),
    (
        "guide",
        "advice",
        "rotate often; spending limit always; fewest scopes; manage users in the web UI",
        Rule(|| {
            let year = CreateToken::new(&label(), 365 * DAY).scope(scope("wallet_view_all"));
            let managing = CreateToken::new(&label(), DAY).scope(scope("user_manage"));
            let (limited, unlimited) = (year.clone().spending_limit(&coin(), Amount::new(1)), year);
            let risks = limited.check(&Environment::Test).unwrap();
            let flaws = managing.check(&Environment::Test).unwrap_err();
            risks.contains(&TokenRisk::LongLived { days: 365 })
                && risks.contains(&TokenRisk::WideScope("wallet_view_all".into()))
                && flaws.flaws() == [TokenFlaw::NoSpendingLimit, TokenFlaw::UserManage]
                && unlimited.check(&Environment::Test).is_err()
        }),
    ),
    (
        "guide",
        "advice",
        "without a limit the token must be unlocked regularly",
        Told(TOKENS, "Without a spending limit a token must be unlocked"),
    ),
    (
        "guide",
        "advice",
        "wallet passphrase: yours if you created token and wallet, else your BitGo login passphrase",
        Told(
            TOKENS,
            "the passphrase you chose for the wallet; else it is your BitGo login passphrase",
        ),
    ),
    (
        "guide",
        "fact",
        "lost token = make another",
        Told(TOKENS, "A lost token cannot be shown again: make another"),
    ),
    (
        "guide",
        "response of login",
        "access_token, expires_at (unix seconds), scope, user{id,isActive,name{first,full,last},username,email{email,verified},phone{phone,verified},country,state}",
        Typed(|| {
            let login = login();
            let kept = (login.user_id.as_deref(), login.username.as_deref());
            matches!(&login.issued, Issued::Clear(token) if token.expose() == TOKEN)
                && login.expires_at.timestamp() == 1_767_323_045
                && login.scope == [scope("openid")]
                && kept == (Some("u"), Some("a@b"))
                && !format!("{login:?}").contains("Jane")
        }),
    ),
    (
        "accesstoken (GET)",
        "query",
        "limit, prevId",
        Sent(
            "GET /api/v2/user/accesstoken?limit=200&prevId=5941b202b42fcbc707170d5b597491d9&sort=DESC",
        ),
    ),
    (
        "accesstoken (GET)",
        "response 200",
        "accessTokens, nextBatchPrevId",
        Typed(|| {
            let page = json!({"accessTokens": [full()], "nextBatchPrevId": "next"}).to_string();
            let page = TokenPage::parse(page.as_bytes()).unwrap();
            page.records.len() == 1
                && page.next.as_deref() == Some("next")
                && TokenPage::parse(b"{}").is_err()
        }),
    ),
    ("accesstoken (GET)", "errors", "400 401 403", Typed(is_refusal_typed)),
];

const RECORD: &str = "token record (all pages)";
const DAY: Duration = Duration::from_secs(86_400);

fn label() -> Label {
    Label::new("bot").unwrap()
}

fn scope(word: &str) -> Scope {
    word.parse().unwrap()
}

/// A record that has everything.
fn full() -> Value {
    json!({
        "id": ID, "label": "bot", "user": OTHER_ID, "enterprise": ID, "client": "bitgo",
        "origin": "test", "created": TIME, "expires": TIME, "isExtensible": true,
        "extensionAddress": "1Address", "ip": "203.0.113.7",
        "ipRestrict": ["203.0.113.0/28", "203.0.113.7"], "scope": ["openid", "wallet_view_all"],
        "bitgoAdminPermissions": ["support"], "isMobileAccessToken": true, "adminScope": "read",
        "oauth": {"oauthRequired": true, "expires": TIME}, "token": TOKEN,
        "permittedEnterprises": [ID], "permittedWallets": [OTHER_ID],
        "internal": true, "organizations": ["acme"],
        "unlock": {
            "time": TIME, "expires": TIME, "txCount": 1, "txValue": 2, "txValueLimit": 3,
            "spendingLimits": {"tbtc": {
                "txCount": 3, "txValue": 9_007_199_254_740_993_u64,
                "txValueLimit": "9007199254740995"
            }},
            "allErc20TokensLimit": {
                "enabled": true, "txCount": 2, "txValue": "12", "txValueLimitInSmallUnits": "99"
            }
        }
    })
}

fn record() -> TokenRecord {
    TokenRecord::parse(full().to_string().as_bytes()).unwrap()
}

fn is_limit_typed() -> bool {
    let limit = record().unlock.spending_limits[&coin()];
    let exact = Amount::new(9_007_199_254_740_995);
    (limit.tx_count, limit.tx_value) == (3, Amount::new(9_007_199_254_740_993))
        && limit.tx_value_limit == Some(exact)
}

/// The token in an answer is a secret of its own type, and no part of the record.
fn is_token_typed() -> bool {
    let issued = IssuedToken::parse(full().to_string().as_bytes()).unwrap();
    let told = format!("{issued:?}");
    matches!(&issued.issued, Issued::Clear(token) if token.expose() == TOKEN)
        && !told.contains(TOKEN)
        && issued.record.other.is_empty()
}

fn sealed() -> (Box<str>, Box<str>) {
    let body =
        json!({"id": ID, "isExtensible": false, "encryptedToken": "{}", "derivationPath": "m/1/2"});
    match IssuedToken::parse(body.to_string().as_bytes()).unwrap().issued {
        Issued::Sealed { encrypted_token, derivation_path } => (encrypted_token, derivation_path),
        _ => panic!("it is sealed"),
    }
}

fn parse_scoped(metadata: &Value) -> Result<ScopedSession, bitgo_vault::api::wire::Malformed> {
    let body = json!({"accessToken": full(), "authenticationMetadata": metadata}).to_string();
    ScopedSession::parse(body.as_bytes())
}

fn scoped() -> ScopedSession {
    parse_scoped(&json!({
        "userId": "u", "userContext": {}, "enterpriseContext": {"n": 1},
        "organizationContext": {"n": 2}, "walletContext": {"n": 3}, "spooferContext": {"n": 4}
    }))
    .unwrap()
}

fn login() -> LoginAnswer {
    let body = json!({
        "access_token": TOKEN, "expires_at": 1_767_323_045, "expires_in": 3600, "scope": ["openid"],
        "token_type": "bearer", "grant_type": "password",
        "user": {
            "id": "u", "isActive": true, "username": "a@b",
            "name": {"first": "Jane", "full": "Jane Doe", "last": "Doe"},
            "email": {"email": "a@b", "verified": true}, "country": "US", "state": "NY",
            "phone": {"phone": "+1", "verified": true}
        }
    });
    LoginAnswer::parse(body.to_string().as_bytes()).unwrap()
}

/// What is asked for, as it is sent.
fn asked() -> Value {
    let enterprise: EnterpriseId = ID.parse().unwrap();
    let wallet: WalletId = ID.parse().unwrap();
    let token = CreateToken::new(&label(), DAY)
        .scope(scope("wallet_view_all"))
        .scope(scope(&format!("wallet_spend:{ID}")))
        .spending_limit(&coin(), Amount::new(9_007_199_254_740_993))
        .dangerous_uncapped(&coin())
        .all_erc20_tokens_limit(Amount::new(7))
        .admin(AdminScope::Read)
        .ip_restrict("203.0.113.7")
        .enterprise(enterprise)
        .permitted_wallet(wallet);
    serde_json::to_value(token).unwrap()
}

/// `{name, context, error, requestId}`, read from the body of a refusal.
fn is_refusal_typed() -> bool {
    let body = json!({
        "error": "needs OTP", "name": "NeedsOTP", "requestId": "ab12", "context": {"n": 1},
        "needsOTP": true
    });
    let read = PlatformError::parse(body.to_string().as_bytes());
    read.error.as_deref() == Some("needs OTP")
        && read.name.as_deref() == Some("NeedsOTP")
        && read.request_id.as_deref() == Some("ab12")
        && read.context["n"].get() == "1"
        && read.needs_otp
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_line_is_kept() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds/SEEDS.tsv");
    let seeds = fs::read_to_string(seeds).unwrap();
    let lines = seeds.lines().filter(|line| !line.starts_with('#')).skip(1);
    let mut used = vec![0; KEPT.len()];
    for line in lines {
        let columns: Vec<_> = line.split('\t').collect();
        let [page, kind, name, ..] = columns[..] else {
            panic!("{line}: three columns are wanted")
        };
        let entry = KEPT.iter().position(|entry| (entry.0, entry.1, entry.2) == (page, kind, name));
        let entry = entry.unwrap_or_else(|| panic!("{line}: nothing came of it"));
        used[entry] += 1;
        match KEPT[entry].3 {
            Typed(holds) | Rule(holds) => assert!(holds(), "{line}"),
            Told(document, sentence) => assert!(read(document).contains(sentence), "{line}"),
            Sent(_) => {}
        }
    }
    for (entry, used) in KEPT.iter().zip(&used) {
        assert_eq!(
            *used, 1,
            "{} {} {}: it stands for no line of the seeds",
            entry.0, entry.1, entry.2
        );
    }
    assert_eq!(KEPT.len(), 53);
}

#[tokio::test]
async fn what_is_sent_is_sent_so() {
    let bitgo = Emulator::start().await.unwrap();
    let settings = ClientSettings::default();
    let client = Client::new(bitgo.environment(), Arc::new(SystemClock::new()), settings).unwrap();
    let (password, otp, options) = (bitgo.password(), bitgo.otp(), LoginOptions::default());
    client.login(bitgo.email(), &password, &otp, &options).await.unwrap();
    let key = AuthKey::new(&AccessToken::new(bitgo.secrets().swap_remove(0)));
    let auth = Auth::Hmac(&key, AuthVersion::V3);
    client.scoped_session(auth, true).await.unwrap();
    let page = Page { prev_id: Some(ID.into()), sort: Sort::Descending, ..Page::default() };
    client.list_tokens(auth, &page).await.unwrap_err();
    let traffic = bitgo.traffic();
    for (_, _, _, kept) in KEPT {
        if let Sent(request) = kept {
            let is_it =
                traffic.iter().any(|sent| format!("{} {}", sent.method, sent.target) == *request);
            assert!(is_it, "{request}");
        }
    }
    // Of the endpoint that is announced to move: its path is settable, and that it has moved is told.
    for kind in
        [FaultKind::Status(404, "{}".into()), FaultKind::Status(410, "{}".into()), FaultKind::Html]
    {
        bitgo.inject(Fault::new(kind));
        assert_eq!(class(&client.internal_access_token(auth).await.unwrap_err()), "gone");
    }
    let moved = ClientSettings::default().path(Endpoint::InternalToken, "/moved");
    let client = Client::new(bitgo.environment(), Arc::new(SystemClock::new()), moved).unwrap();
    client.internal_access_token(auth).await.unwrap_err();
    assert_eq!(bitgo.requests("GET /moved"), 1);
}
