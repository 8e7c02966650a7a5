//! Requests and answers with their HMACs, and what is sent in place of a password.

use super::{Outcome, expect, expect_equal, expect_refused, read, text};
use crate::crypto::{AuthKey, AuthVersion, CryptoError, Subject, content_digest, password_hmac};
use crate::secret::{AccessToken, LoginPassword};
use base16ct::lower;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    auth_version: u8,
    method: String,
    url: String,
    token: String,
    token_sha256: Option<String>,
    timestamp_ms: i64,
    #[serde(default)]
    body: String,
    request_subject: Option<String>,
    request_hmac: String,
    status_code: u16,
    #[serde(default)]
    response_body: String,
    response_subject: Option<String>,
    response_hmac: String,
}

impl Case {
    fn key(&self) -> Box<AuthKey> {
        AuthKey::new(&AccessToken::new(self.token.as_str()))
    }

    fn subject(&self) -> Result<Subject<'_>, String> {
        let version = match self.auth_version {
            2 => AuthVersion::V2,
            3 => AuthVersion::V3,
            other => return Err(format!("authVersion {other} is not known")),
        };
        Ok(Subject {
            version,
            timestamp_ms: self.timestamp_ms,
            method: &self.method,
            target: &self.url,
            auth_request_id: "",
        })
    }
}

pub(super) fn check(case: &Value) -> Outcome {
    let case: Case = read(case)?;
    let (key, subject) = (case.key(), case.subject()?);
    expect_equal(case.token_sha256.as_deref(), key.bearer(), "bearer differs")?;
    check_preimage(&case.token, case.request_subject.as_deref(), &case.request_hmac)?;
    check_preimage(&case.token, case.response_subject.as_deref(), &case.response_hmac)?;

    let (body, answer, status) =
        (case.body.as_bytes(), case.response_body.as_bytes(), case.status_code);
    expect(*key.sign_request(&subject, body) == *case.request_hmac, "request hmac differs")?;
    expect(
        *key.sign_response(&subject, status, answer) == *case.response_hmac,
        "response hmac differs",
    )?;
    key.verify_request(&subject, body, &case.request_hmac).map_err(text)?;
    key.verify_response(&subject, status, answer, &case.response_hmac).map_err(text)?;

    let altered = flip_first(&case.request_hmac);
    expect_refused(key.verify_request(&subject, body, &altered), "altered request hmac passes")?;
    let altered = flip_first(&case.response_hmac);
    expect_refused(
        key.verify_response(&subject, status, answer, &altered),
        "altered response hmac passes",
    )?;
    let altered = [answer, b"!"].concat();
    expect_refused(
        key.verify_response(&subject, status, &altered, &case.response_hmac),
        "altered response body passes",
    )
}

pub(super) fn attempt(case: &Value) -> Result<Result<(), CryptoError>, String> {
    let case: Case = read(case)?;
    let (key, subject) = (case.key(), case.subject()?);
    let (body, answer) = (case.body.as_bytes(), case.response_body.as_bytes());
    Ok(key.verify_request(&subject, body, &case.request_hmac).and_then(|()| {
        key.verify_response(&subject, case.status_code, answer, &case.response_hmac)
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct V4Case {
    timestamp_sec: i64,
    method: String,
    path_with_query: String,
    body_hash_hex: Option<String>,
    auth_request_id: String,
    #[serde(default)]
    body: String,
    token: String,
    request_preimage: Option<String>,
    request_hmac: String,
    status_code: u16,
    response_preimage: Option<String>,
    response_hmac: String,
}

pub(super) fn check_v4(case: &Value) -> Outcome {
    let case: V4Case = read(case)?;
    let key = AuthKey::new(&AccessToken::new(case.token.as_str()));
    let body = case.body.as_bytes();
    expect_equal(case.body_hash_hex.as_deref(), &content_digest(body), "body hash differs")?;
    check_preimage(&case.token, case.request_preimage.as_deref(), &case.request_hmac)?;
    check_preimage(&case.token, case.response_preimage.as_deref(), &case.response_hmac)?;
    let subject = Subject {
        version: AuthVersion::V4,
        timestamp_ms: case.timestamp_sec.checked_mul(1000).ok_or("the time is too far")?,
        method: &case.method,
        target: &case.path_with_query,
        auth_request_id: &case.auth_request_id,
    };
    expect(*key.sign_request(&subject, body) == *case.request_hmac, "request hmac differs")?;
    let answer = key.sign_response(&subject, case.status_code, body);
    expect(*answer == *case.response_hmac, "response hmac differs")
}

/// The HMAC of the subject the file spells out; with it equal to ours, so is the subject.
fn check_preimage(token: &str, preimage: Option<&str>, hmac: &str) -> Outcome {
    let Some(preimage) = preimage else { return Ok(()) };
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes())
        .map_err(|_| "the token keys no hmac".to_owned())?;
    mac.update(preimage.as_bytes());
    let spelled_out = lower::encode_string(&mac.finalize().into_bytes());
    expect(spelled_out == hmac, "hmac of the subject given differs")
}

fn flip_first(hex: &str) -> String {
    let first = if hex.starts_with('0') { "1" } else { "0" };
    format!("{first}{}", hex.get(1..).unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PasswordCase {
    email: String,
    password: String,
    lowercased_email: Option<String>,
    hmac: String,
}

pub(super) fn check_password(case: &Value) -> Outcome {
    let case: PasswordCase = read(case)?;
    let password = LoginPassword::new(case.password);
    for email in case.lowercased_email.iter().chain([&case.email]) {
        expect(*password_hmac(email, &password) == case.hmac, "password hmac differs")?;
    }
    Ok(())
}
