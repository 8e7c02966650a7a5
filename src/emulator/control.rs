//! The emulator driven over HTTP, by whoever runs it as a program. Nothing here needs a token,
//! meets a fault or is kept as traffic.
//!
//! ```text
//! POST   /_emulator/faults    {"kind", …, "method"?, "path"?, "times"?}  lets something go wrong
//! DELETE /_emulator/faults                                               lets nothing more go wrong
//! POST   /_emulator/clock     {"offsetMs": N}                            sets its clock ahead, or behind
//! POST   /_emulator/wallets   {"coin", "approval"?: true}  → {"id"}      adds a wallet
//! POST   /_emulator/account   {"sourceIp"?, "sso"?, "spoofed"?}          where from, as whom
//! POST   /_emulator/oauth     → {"clientId", "clientSecret", "refreshToken"}
//! ```
//!
//! A fault meets the next request, or the next `times` requests, with this `method` whose path
//! starts or ends with `path`. Its kinds are those of [`FaultKind`]:
//!
//! ```text
//! {"kind": "status", "status": 503, "body": "{}"}        {"kind": "html"}
//! {"kind": "unsigned", "status": 401, "body": "{}"}      {"kind": "late", "ms": 120000}
//! {"kind": "retryAfter", "secs": 7, "asDate": true}      {"kind": "redirect", "location": "/"}
//! {"kind": "delay", "ms": 1500}                          {"kind": "answeredAt", "ms": -600000}
//! {"kind": "restart", "ms": 2000}                        {"kind": "reset"}
//! "dropBefore" "dropAfterEffect" "tornBody" "badHmac" "noHmac" "otherRequestId" "noRequestId"
//! "deadToken" "unauthorized" "needsOtp" "needsUnlock" "needsSso" "ipNotAllowed" "forbidden"
//! "alreadyExpired"
//! ```

use super::fault::{Fault, FaultKind};
use super::received::Received;
use super::refused::Refused;
use super::reply::Reply;
use super::shared::Shared;
use crate::api::wire::Object;
use crate::money::Coin;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// Answers a request to the emulator itself; `None` if it is for BitGo.
pub(super) fn answer(shared: &Shared, received: &Received) -> Option<Reply> {
    let call = received.path().strip_prefix("/_emulator/")?;
    let done = match (received.method.as_str(), call) {
        ("POST", "faults") => add_fault(shared, received),
        ("DELETE", "faults") => {
            shared.state().faults.clear();
            Ok(Reply::json(&Waiting { faults: 0 }))
        }
        ("POST", "clock") => set_clock(shared, received),
        ("POST", "wallets") => add_wallet(shared, received),
        ("POST", "account") => set_account(shared, received),
        ("POST", "oauth") => grant_oauth(shared),
        _ => Err(Refused::not_found()),
    };
    Some(done.unwrap_or_else(|refused| refused.answering(&received.request_id).into()))
}

#[derive(Serialize)]
struct Waiting {
    faults: usize,
}

fn add_fault(shared: &Shared, received: &Received) -> Result<Reply, Refused> {
    let body = read(
        received,
        &["kind", "method", "path", "times", "status", "body", "secs", "asDate", "location", "ms"],
    )?;
    let mut fault = Fault::new(kind(&body)?);
    if let Some(method) = body.text("method")? {
        fault = fault.on_method(&method);
    }
    if let Some(path) = body.text("path")? {
        fault = fault.on_path(&path);
    }
    if let Some(times) = number(&body, "times")? {
        fault = fault.times(times);
    }
    let faults = &mut shared.state().faults;
    faults.add(fault);
    Ok(Reply::json(&Waiting { faults: faults.waiting() }))
}

fn kind(body: &Object<'_>) -> Result<FaultKind, Refused> {
    let secs = || number(body, "secs")?.ok_or_else(|| Refused::invalid("secs is required"));
    let ms = || signed_ms(body, "ms")?.ok_or_else(|| Refused::invalid("ms is required"));
    let wait = || {
        let ms = u64::try_from(ms()?).map_err(|_| Refused::invalid("ms must not be negative"))?;
        Ok::<_, Refused>(Duration::from_millis(ms))
    };
    let answer = || {
        let status = number(body, "status")?.filter(|status| (200..600).contains(status));
        let status = status.ok_or_else(|| Refused::invalid("status must lie in 200 to 599"))?;
        Ok::<_, Refused>((status, body.text("body")?.unwrap_or_default().into_owned()))
    };
    Ok(match body.text("kind")?.as_deref() {
        Some("status") => answer().map(|(status, body)| FaultKind::Status(status, body))?,
        Some("unsigned") => answer().map(|(status, body)| FaultKind::Unsigned(status, body))?,
        Some("retryAfter") if body.flag("asDate")? == Some(true) => {
            FaultKind::RetryAfterDate(secs()?)
        }
        Some("retryAfter") => FaultKind::RetryAfter(secs()?),
        Some("redirect") => FaultKind::Redirect(body.text("location")?.unwrap_or_default().into()),
        Some("html") => FaultKind::Html,
        Some("delay") => FaultKind::Delay(wait()?),
        Some("late") => FaultKind::Late(wait()?),
        Some("answeredAt") => FaultKind::AnsweredAt(ms()?),
        Some("restart") => FaultKind::Restart(wait()?),
        Some("reset") => FaultKind::Reset,
        Some("dropBefore") => FaultKind::DropBefore,
        Some("dropAfterEffect") => FaultKind::DropAfterEffect,
        Some("tornBody") => FaultKind::TornBody,
        Some("badHmac") => FaultKind::BadHmac,
        Some("noHmac") => FaultKind::NoHmac,
        Some("otherRequestId") => FaultKind::OtherRequestId,
        Some("noRequestId") => FaultKind::NoRequestId,
        Some("deadToken") => FaultKind::DeadToken,
        Some("unauthorized") => FaultKind::Unauthorized,
        Some("needsOtp") => FaultKind::NeedsOtp,
        Some("needsUnlock") => FaultKind::NeedsUnlock,
        Some("needsSso") => FaultKind::NeedsSso,
        Some("ipNotAllowed") => FaultKind::IpNotAllowed,
        Some("forbidden") => FaultKind::Forbidden,
        Some("alreadyExpired") => FaultKind::AlreadyExpired,
        _ => return Err(Refused::invalid("there is no such kind of fault")),
    })
}

fn set_clock(shared: &Shared, received: &Received) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    struct Clock {
        now: String,
    }
    let body = read(received, &["offsetMs"])?;
    let offset_ms = signed_ms(&body, "offsetMs")?;
    shared.set_clock_offset_ms(offset_ms.ok_or_else(|| Refused::invalid("offsetMs is required"))?);
    Ok(Reply::json(&Clock { now: shared.now().to_rfc3339() }))
}

fn add_wallet(shared: &Shared, received: &Received) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    struct Wallet {
        id: String,
    }
    let body = read(received, &["coin", "approval"])?;
    let coin = body.text("coin")?.and_then(|name| Coin::new(&name).ok());
    let coin = coin.ok_or_else(|| Refused::invalid("coin is required"))?;
    let approval = body.flag("approval")?.unwrap_or(false);
    let mut state = shared.state();
    let id = state.add_wallet(&coin);
    if let Some(wallet) = state.wallets.get_mut(&id) {
        wallet.wants_approval = approval;
    }
    Ok(Reply::json(&Wallet { id: id.to_string() }))
}

fn set_account(shared: &Shared, received: &Received) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Account {
        source_ip: IpAddr,
        sso: bool,
        spoofed: bool,
    }
    let body = read(received, &["sourceIp", "sso", "spoofed"])?;
    let (address, sso) = (body.word("sourceIp")?, body.flag("sso")?);
    let spoofed = body.flag("spoofed")?;
    let mut state = shared.state();
    state.source_ip = address.unwrap_or(state.source_ip);
    state.sso_required = sso.unwrap_or(state.sso_required);
    state.spoofed = spoofed.unwrap_or(state.spoofed);
    let (source_ip, sso, spoofed) = (state.source_ip, state.sso_required, state.spoofed);
    Ok(Reply::json(&Account { source_ip, sso, spoofed }))
}

fn grant_oauth(shared: &Shared) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Granted {
        client_id: String,
        client_secret: String,
        refresh_token: String,
    }
    let grant = shared.state().oauth.grant()?;
    Ok(Reply::json(&Granted {
        client_id: grant.client_id,
        client_secret: grant.client_secret,
        refresh_token: grant.refresh_token,
    }))
}

/// The body, which may hold these fields and no other: what is misspelt would go unnoticed.
fn read<'a>(received: &'a Received, known: &[&str]) -> Result<Object<'a>, Refused> {
    let body = Object::parse(&received.body)?;
    let fits = body.names().all(|name| known.contains(&name));
    if fits { Ok(body) } else { Err(Refused::invalid("there is no such field")) }
}

fn number<T: TryFrom<u64>>(body: &Object<'_>, name: &'static str) -> Result<Option<T>, Refused> {
    let number = body.count(name)?.map(T::try_from).transpose();
    number.map_err(|_| Refused::invalid("a number is too large"))
}

fn signed_ms(body: &Object<'_>, name: &str) -> Result<Option<i64>, Refused> {
    let number = body.raw(name).map(str::parse).transpose();
    number.map_err(|_| Refused::invalid("milliseconds must be whole"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds by their names in the source.
    fn kinds() -> Vec<&'static str> {
        let source = include_str!("fault.rs");
        let (_, rest) = source.split_once("pub enum FaultKind {").unwrap();
        let (kinds, _) = rest.split_once("\n}").unwrap();
        let names = kinds.lines().filter_map(|line| line.strip_prefix("    "));
        let names = names.filter(|line| line.starts_with(|first: char| first.is_uppercase()));
        names.map(|line| line.split(['(', ',']).next().unwrap()).collect()
    }

    #[test]
    fn every_kind_of_fault_is_asked_for_and_told_of() {
        let table = include_str!("control.rs").split("use super").next().unwrap();
        let kinds = kinds();
        assert!(kinds.len() > 20, "{kinds:?}");
        for name in kinds {
            let (word, is_date) = match name {
                "RetryAfterDate" => ("RetryAfter", true),
                word => (word, false),
            };
            let word = format!("{}{}", word[..1].to_lowercase(), &word[1..]);
            let body = format!(
                r#"{{"kind": "{word}", "status": 503, "secs": 7, "asDate": {is_date}, "ms": 1}}"#
            );
            let kind = kind(&Object::parse(body.as_bytes()).unwrap()).unwrap();
            let made = format!("{kind:?}");
            assert_eq!(made.split('(').next(), Some(name));
            assert!(table.contains(&format!("\"{word}\"")), "{word}");
        }
    }
}
