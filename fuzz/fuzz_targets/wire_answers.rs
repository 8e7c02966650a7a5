//! Any answer of a server, taken for the answer to each of the client's calls.
//!
//! Without a true HMAC it is never believed, and with one it is, as it came and not otherwise. A
//! refusal is sorted by its status alone where the body may not say more. Each decoder reads the
//! body or refuses it by type, in memory bounded by the body's length; numbers are exact; a field
//! from the future is kept and spoils nothing.
//!
//! Input: an answer as in HTTP/1: a line with the status, lines of headers, an empty line, the body.

#![no_main]

use bitgo_vault::AccessToken;
use bitgo_vault::api::wire::{
    ClientConstants, IssuedToken, LoginAnswer, Malformed, OauthTokens, Object, PlatformError, Pong,
    ScopedSession, TokenPage, TokenRecord, User,
};
use bitgo_vault::api::{ApiError, Asked, Auth, Distrust, RawAnswer, RequestId};
use bitgo_vault::crypto::{AuthKey, AuthVersion, Subject, check_window};
use bitgo_vault::test_util::judge;
use bitgo_vault_fuzz::peak_heap;
use chrono::{DateTime, Utc};
use getrandom::SysRng;
use getrandom::rand_core::TryRng;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::LazyLock;
use zeroize::Zeroizing;

const NOW_MS: i64 = 1_767_323_045_000;
const TARGET: &str = "/api/v2/user/session";
/// The most heap that a decoder may hold for each byte of a body, and for none. The dearest body
/// is a list of objects with one field: seven bytes, and a map's first node of 368.
const HEAP_PER_BYTE: usize = 80;
const HEAP_AT_LEAST: usize = 4096;

/// A token that no input knows.
static KEY: LazyLock<Box<AuthKey>> = LazyLock::new(|| {
    let mut token = [0; 32];
    SysRng.try_fill_bytes(&mut token).unwrap();
    let token = format!("v2x{}", base16ct::lower::encode_string(&token));
    AuthKey::new(&AccessToken::new(token))
});

/// What the request was called: no input knows that either.
static ID: LazyLock<RequestId> = LazyLock::new(|| RequestId::random().unwrap());
const ECHO: &str = "request-id";

/// Where an answer's HMAC and its time stand.
fn signature_headers(version: AuthVersion) -> [&'static str; 2] {
    match version {
        AuthVersion::V4 => ["x-signature", "x-request-timestamp"],
        _ => ["hmac", "timestamp"],
    }
}

#[derive(Clone)]
struct Came {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Came {
    fn read(input: &[u8]) -> Self {
        let mut lines = input.splitn(16, |byte| *byte == b'\n');
        let mut came = Self { status: 200, headers: HeaderMap::new(), body: Vec::new() };
        let mut read = 0;
        let status = lines.next().unwrap_or_default();
        read += status.len() + 1;
        came.status = std::str::from_utf8(status).ok().and_then(|s| s.parse().ok()).unwrap_or(200);
        for line in lines {
            read += line.len() + 1;
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                came.headers.insert(name, value);
            }
        }
        came.body = input.get(read..).unwrap_or_default().to_vec();
        came
    }

    fn timestamp(&self, version: AuthVersion) -> Option<i64> {
        let [_, timestamp] = signature_headers(version);
        self.headers.get(timestamp)?.to_str().ok()?.parse().ok()
    }

    /// The answer with the HMAC that belongs to it, and when it was given.
    fn signed(mut self, version: AuthVersion) -> (Self, Option<i64>) {
        let unit_ms = if version == AuthVersion::V4 { 1000 } else { 1 };
        let stamp = self.timestamp(version).unwrap_or(NOW_MS / unit_ms);
        let timestamp_ms = stamp.checked_mul(unit_ms);
        let subject = Subject {
            version,
            timestamp_ms: timestamp_ms.unwrap_or_default(),
            method: "GET",
            target: TARGET,
            auth_request_id: &ID.to_string(),
        };
        let hmac = KEY.sign_response(&subject, self.status, &self.body);
        let [signature, timestamp] = signature_headers(version);
        self.headers.insert(signature, hmac.parse().unwrap());
        self.headers.insert(timestamp, stamp.into());
        if stamp % 2 == 0 {
            self.headers.insert(ECHO, ID.to_header());
        }
        (self, timestamp_ms)
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    fn judge(&self, auth: Option<Auth<'_>>) -> Result<Vec<u8>, ApiError> {
        let asked = Asked { auth, method: &Method::GET, target: TARGET, request_id: *ID };
        let answer = RawAnswer {
            status: self.status,
            headers: self.headers.clone(),
            body: Zeroizing::new(self.body.clone()),
            request_id: *ID,
        };
        let believed = judge(answer, &asked, now())?;
        assert!(self.is_success());
        assert_eq!(*believed.body, self.body);
        Ok(believed.body.to_vec())
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(NOW_MS).unwrap()
}

fuzz_target!(|input: &[u8]| {
    let came = Came::read(input);
    belief(&came);
    decoders(&came.body);
    if let Ok(body) = std::str::from_utf8(&came.body) {
        number(body);
        record(body);
    }
});

/// What is believed, and how what is not is sorted.
fn belief(came: &Came) {
    let token = AccessToken::new("0123456789abcdef0123456789abcdef01234567");
    let mut came = came.clone();
    if came.headers.contains_key(ECHO) {
        let refused = came.judge(None);
        assert!(matches!(refused, Err(ApiError::Untrusted { what: Distrust::OtherRequest, .. })));
        came.headers.remove(ECHO);
    }
    for version in [AuthVersion::V2, AuthVersion::V3, AuthVersion::V4] {
        let auth = Some(Auth::Hmac(&KEY, version));
        let error = came.judge(auth).unwrap_err();
        sorted(&came, &error, false, true);

        let (signed, answered_at_ms) = came.clone().signed(version);
        let in_time = answered_at_ms.is_some_and(|at| check_window(at, NOW_MS).is_ok());
        match signed.judge(auth) {
            Ok(_) => assert!(in_time),
            Err(ApiError::Untrusted { what: Distrust::Html, .. }) if signed.is_success() => {}
            Err(error) => {
                assert!(!signed.is_success() || !in_time);
                sorted(&signed, &error, in_time, true);
            }
        }
        let mut other = signed.clone();
        other.body.push(b' ');
        sorted(&other, &other.judge(auth).unwrap_err(), false, true);
        let other = Came { status: signed.status ^ 1, ..signed };
        sorted(&other, &other.judge(auth).unwrap_err(), false, true);
    }
    for auth in [Some(Auth::Bearer(&token)), None] {
        match came.judge(auth) {
            Ok(_) | Err(ApiError::Untrusted { what: Distrust::Html, .. }) => {
                assert!(came.is_success())
            }
            Err(error) => {
                assert!(!came.is_success());
                sorted(&came, &error, false, auth.is_some());
            }
        }
    }
}

fn sorted(came: &Came, error: &ApiError, verified: bool, authenticated: bool) {
    let fits = match (came.status, error) {
        (401, ApiError::TokenDead(_)) => authenticated,
        (
            401,
            ApiError::OtpRequired(_)
            | ApiError::OtpRefused(_)
            | ApiError::NeedsUnlock(_)
            | ApiError::SsoRequired(_)
            | ApiError::IpNotAllowed { .. }
            | ApiError::Forbidden(_)
            | ApiError::Unauthorized(_),
        )
        | (403, ApiError::Forbidden(_))
        | (408 | 424 | 500.., ApiError::Transient(_))
        | (429, ApiError::RateLimited { .. }) => true,
        (401 | 403 | 408 | 424 | 429 | 500.., _) => false,
        (400..500, ApiError::Rejected(_)) => true,
        (400..500, _) => false,
        (200..300, ApiError::Untrusted { what, .. }) => matches!(
            what,
            Distrust::Html
                | Distrust::HmacMissing
                | Distrust::HmacWrong
                | Distrust::OutsideWindow { .. }
        ),
        (_, ApiError::Untrusted { what: Distrust::Redirect, .. }) => true,
        _ => false,
    };
    assert!(fits, "status {}: {error:?}", came.status);
    if let Some(refusal) = error.refusal() {
        assert_eq!(refusal.status(), came.status);
        assert_eq!(refusal.is_verified(), verified);
    }
    let line = error.to_string();
    assert!(line.len() < 300 && !line.contains(char::is_control), "{line:?}");
}

/// Each decoder by itself: the HMAC may be true and the server mad.
fn decoders(body: &[u8]) {
    fn run<T>(body: &[u8], decode: fn(&[u8]) -> Result<T, Malformed>) {
        let (_, heap) = peak_heap(|| decode(body));
        assert!(heap <= HEAP_AT_LEAST + HEAP_PER_BYTE * body.len(), "{heap} bytes of heap");
    }
    run(body, LoginAnswer::parse);
    run(body, IssuedToken::parse);
    run(body, TokenPage::parse);
    run(body, ScopedSession::parse);
    run(body, TokenRecord::parse_session);
    run(body, TokenRecord::parse);
    run(body, OauthTokens::parse);
    run(body, User::parse);
    run(body, ClientConstants::parse);
    run(body, Pong::parse);
    run(body, |body| Ok(PlatformError::parse(body)));
}

/// Taken for a number, the body is read as schoolbook arithmetic reads it.
fn number(text: &str) {
    if text.len() > 64 || text.contains(|c: char| c.is_ascii_whitespace() || ",{}[]".contains(c)) {
        return;
    }
    let json = format!("{{\"n\":{text}}}");
    let Ok(object) = Object::parse(json.as_bytes()) else { return };
    let expect = schoolbook(text);
    if text != "null" {
        assert_eq!(object.amount("n").ok().flatten().map(|n| n.base_units()), expect);
        let count = expect.and_then(|n| u64::try_from(n).ok());
        assert_eq!(object.count("n").ok().flatten(), count);
    }
}

/// The number, by moving the point digit by digit; `None` unless it is whole and fits.
fn schoolbook(text: &str) -> Option<u128> {
    let text = text.strip_prefix('"').map_or(Some(text), |text| text.strip_suffix('"'))?;
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], i16::from_str(&text[at + 1..]).ok()?),
        None => (text, 0),
    };
    let (units, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(units) || !is_digits(fraction) {
        return None;
    }
    let mut units: VecDeque<char> = units.chars().collect();
    let mut fraction: VecDeque<char> = fraction.chars().collect();
    for _ in 0..exponent {
        units.push_back(fraction.pop_front().unwrap_or('0'));
    }
    for _ in exponent..0 {
        fraction.push_front(units.pop_back().unwrap_or('0'));
    }
    if fraction.iter().any(|digit| *digit != '0') {
        return None;
    }
    let units: String = units.into_iter().skip_while(|digit| *digit == '0').collect();
    if units.is_empty() { Some(0) } else { units.parse().ok() }
}

/// A record says what its JSON says, and a field from the future changes nothing else.
fn record(body: &str) {
    const FUTURE: &str = "x-future";
    const KEPT: &str = r#"{"n":[1e400, "\u0041"]}"#;

    let Ok(record) = TokenRecord::parse(body.as_bytes()) else { return };
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    if !value.is_null() {
        assert_eq!(value["id"], record.id.to_string());
        assert_eq!(value["label"].as_str(), record.label.as_deref());
        let scope: Vec<String> = record.scope.iter().map(ToString::to_string).collect();
        let words = value["scope"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(words, scope);
        for (coin, limit) in &record.unlock.spending_limits {
            let said = &value["unlock"]["spendingLimits"][coin.as_str()]["txValue"];
            if let Some(units) = said.as_u64() {
                assert_eq!(limit.tx_value.base_units(), u128::from(units));
            }
        }
    }
    if !record.other.contains_key(FUTURE) {
        let longer = body.replacen('{', &format!("{{\"{FUTURE}\":{KEPT},"), 1);
        let longer = TokenRecord::parse(longer.as_bytes()).unwrap();
        assert_eq!(longer.other[FUTURE].get(), KEPT);
        assert_eq!(longer.other.len(), record.other.len() + 1);
        assert_eq!(format!("{:?}", longer.unlock), format!("{:?}", record.unlock));
        assert_eq!(longer.scope, record.scope);
    }
}
