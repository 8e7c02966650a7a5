//! Sessions: login, the record behind the bearer, extension.

use super::{Empty, body, check_otp};
use crate::crypto::verify_extension;
use crate::emulator::account::EMAIL;
use crate::emulator::record::Record;
use crate::emulator::refused::Refused;
use crate::emulator::reply::Reply;
use crate::emulator::state::Visit;
use crate::emulator::token::Grant;
use crate::scope::Scope;
use crate::token::TokenKind;
use chrono::DateTime;
use serde::Serialize;
use std::time::Duration;

/// The longest extension the server grants at once.
const EXTENSION_MAX: Duration = Duration::from_secs(24 * 3600);
/// How far a signed extension's time may lie from ours, in milliseconds.
const EXTENSION_WINDOW_MS: i64 = 5 * 60 * 1000;

/// Who acts as the user while the account is spoofed.
const SPOOFER: &str = "5900f0f0f0f0f0f0f0f0f0f0f0f0f0f0";

const SESSION_SCOPES: [&str; 8] = [
    "openid",
    "profile",
    "user_manage",
    "wallet_create",
    "wallet_view_all",
    "wallet_spend_all",
    "wallet_manage_all",
    "wallet_approve_all",
];

/// `LoginResponse`.
#[derive(Serialize)]
struct LoginAnswer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    #[serde(rename = "encryptedToken", skip_serializing_if = "Option::is_none")]
    encrypted_token: Option<String>,
    #[serde(rename = "derivationPath", skip_serializing_if = "Option::is_none")]
    derivation_path: Option<String>,
    #[serde(rename = "encryptedECDHXprv", skip_serializing_if = "Option::is_none")]
    encrypted_ecdh_xprv: Option<&'a str>,
    #[serde(rename = "noECDHKeychain", skip_serializing_if = "Option::is_none")]
    no_ecdh_keychain: Option<bool>,
    token_id: String,
    expires_at: i64,
    expires_in: u64,
    scope: [&'static str; 8],
    token_type: &'static str,
    grant_type: &'static str,
    user: User<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User<'a> {
    id: &'a str,
    is_active: bool,
    username: &'static str,
}

pub(super) fn login(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    let body = body(visit.received)?;
    let text = |name| body.text(name);
    let known = text("email")?.as_deref() == Some(EMAIL)
        && text("password")?.as_deref() == Some(&visit.state.account.password_hmac);
    if !known {
        return Err(Refused::new(401, "InvalidCredentials", "incorrect email or password"));
    }
    check_otp(visit.state, &body)?;
    let extension_address = match body.flag("extensible")? {
        Some(true) => text("extensionAddress")?.map(String::from),
        _ => None,
    };
    let grant = session_grant(extension_address);
    let lifetime = visit.lifetime(visit.state.settings.session_lifetime);
    let index = visit.state.mint(TokenKind::Session, grant, visit.now, lifetime)?;

    let state = &*visit.state;
    let (account, token) = (&state.account, &state.tokens[index]);
    let has_keychain = state.settings.has_ecdh_keychain;
    let (encrypted_token, derivation_path) =
        has_keychain.then(|| account.seal(&token.secret)).transpose()?.unzip();
    Ok(Reply::json(&LoginAnswer {
        access_token: (!has_keychain).then_some(token.secret.expose()),
        encrypted_token,
        derivation_path,
        encrypted_ecdh_xprv: has_keychain.then_some(&account.encrypted_ecdh_xprv),
        no_ecdh_keychain: (!has_keychain).then_some(true),
        token_id: token.id.to_string(),
        expires_at: token.expires.timestamp(),
        expires_in: lifetime.as_secs(),
        scope: SESSION_SCOPES,
        token_type: "bearer",
        grant_type: "password",
        user: User { id: &account.user, is_active: true, username: EMAIL },
    }))
}

/// The record behind the bearer.
pub(super) fn read(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    struct Session<'a> {
        session: Record<'a>,
    }
    let user = visit.state.account.user.clone();
    Ok(Reply::json(&Session { session: Record::session(visit.bearer()?, &user) }))
}

/// What a session may do.
pub(super) fn session_grant(extension_address: Option<String>) -> Grant {
    let scopes = SESSION_SCOPES.iter().filter_map(|word| word.parse::<Scope>().ok()).collect();
    Grant { scopes, extension_address, ..Grant::default() }
}

/// The bearer's record, with on whose behalf it acts.
pub(super) fn scoped(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Scoped<'a> {
        access_token: Record<'a>,
        authentication_metadata: Metadata<'a>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata<'a> {
        user_id: &'a str,
        user_context: Empty,
        #[serde(skip_serializing_if = "Option::is_none")]
        spoofer_context: Option<Spoofer>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Spoofer {
        user_id: &'static str,
    }
    let user = visit.state.account.user.clone();
    let spoofed = visit.state.spoofed.then_some(Spoofer { user_id: SPOOFER });
    let token = match visit.received.query("skipOAuth") {
        Some("true") => visit.bearer_without_sso()?,
        _ => visit.bearer()?,
    };
    Ok(Reply::json(&Scoped {
        access_token: Record::session(token, &user),
        authentication_metadata: Metadata {
            user_id: &user,
            user_context: Empty {},
            spoofer_context: spoofed,
        },
    }))
}

pub(super) fn me(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    struct Me<'a> {
        user: User<'a>,
    }
    visit.bearer()?;
    let id = &visit.state.account.user;
    Ok(Reply::json(&Me { user: User { id, is_active: true, username: EMAIL } }))
}

/// Extends the bearer for the holder of its extension key (PROTOCOL section 5).
pub(super) fn extend(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    let refused = || Refused::invalid("the token cannot be extended so");
    let (received, now, expired) = (visit.received, visit.now, visit.already_expired);
    let body = body(received)?;
    // A string or a number: what was signed is its text either way.
    let duration = body.raw("duration").ok_or_else(refused)?.trim_matches('"');
    let secs = body.count("duration")?.ok_or_else(refused)?;
    let timestamp = received.header("timestamp").ok_or_else(refused)?;
    let timestamp_ms: i64 = timestamp.parse().map_err(|_| refused())?;
    let signed_at = DateTime::from_timestamp_millis(timestamp_ms).ok_or_else(refused)?;
    if now.signed_duration_since(signed_at).num_milliseconds().abs() > EXTENSION_WINDOW_MS {
        return Err(refused());
    }
    let signature = received.header("signature").ok_or_else(refused)?;

    let token = visit.bearer()?;
    let address = token.grant.extension_address.as_deref().ok_or_else(refused)?;
    verify_extension(address, timestamp_ms, &token.secret, duration, signature)
        .map_err(|_| refused())?;
    let extension = if expired { Duration::ZERO } else { Duration::from_secs(secs) };
    token.expires = now + extension.min(EXTENSION_MAX);
    Ok(Reply::json(&Empty {}))
}
