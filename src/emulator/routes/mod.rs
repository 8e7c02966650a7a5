//! Which call a request is.

mod access_token;
mod create_token;
mod oauth;
mod session;
mod trade;
mod unlock;
mod wallet;

use super::received::Received;
use super::refused::Refused;
use super::reply::Reply;
use super::state::{State, Visit};
use crate::api::wire::Object;
use serde::Serialize;

/// Makes the call, with the aliases under which BitGo answers it (PROTOCOL section 2).
pub(super) fn answer(visit: &mut Visit<'_>) -> Reply {
    let received = visit.received;
    let path: Vec<&str> = received.path().split('/').skip(1).collect();
    let answered = match (received.method.as_str(), path.as_slice()) {
        ("POST", ["api", "auth", "v1", "session"] | ["api", "v1" | "v2", "user", "login"]) => {
            session::login(visit)
        }
        ("GET", ["api", "v1" | "v2", "user", "session"]) => session::read(visit),
        ("POST", ["api", "v1" | "v2", "user", "unlock"]) => unlock::unlock(visit),
        ("POST", ["api", "v1" | "v2", "user", "lock"]) => unlock::lock(visit),
        ("GET", ["api", "v1" | "v2", "user", "logout"]) => unlock::logout(visit),
        ("POST", ["oauth", "token"]) => oauth::refresh(visit),
        ("GET", ["api", "v2", "internal", "user", "scopedsession"]) => session::scoped(visit),
        ("GET", ["api", "v1" | "v2", "user", "me"]) => session::me(visit),
        ("POST", ["api", "v1", "user", "extendtoken"]) => session::extend(visit),
        ("GET", ["api", "v2", "user", "internalaccesstoken"]) => access_token::internal(visit),
        (
            method,
            ["api", "v1" | "v2", "user", "accesstoken", rest @ ..]
            | ["api", "auth", "v1", "accesstoken", rest @ ..],
        ) => match (method, rest) {
            ("POST", []) => create_token::create(visit),
            ("GET", []) => access_token::list(visit),
            ("DELETE", [id]) => access_token::delete(visit, id),
            _ => Err(Refused::not_found()),
        },
        ("POST", ["api", "v2", coin, "wallet", id, "tx", "initiate" | "send"]) => {
            wallet::spend(visit, coin, id, false)
        }
        ("POST", ["api", "v2", coin, "wallet", id, "sendcoins" | "sendmany"]) => {
            wallet::spend(visit, coin, id, true)
        }
        ("POST", ["api", "v2", coin, "wallet", id, "tx", "build"]) => {
            wallet::build(visit, coin, id)
        }
        ("POST", ["api", "v2", "wallet", id, "txrequests"]) => wallet::request(visit, id),
        ("POST", ["api", "prime", "trading", "v1", "accounts", account, "orders"]) => {
            trade::order(visit, account)
        }
        ("PUT", ["api", "prime", "trading", "v1", "accounts", _, "orders", _, "cancel"]) => {
            trade::cancel(visit)
        }
        ("GET", ["api", "prime", "trading", "v1", "accounts" | "user", ..]) => trade::look(visit),
        ("GET", ["api", "v2", "wallets"]) => wallet::list(visit, None),
        ("GET", ["api", "v2", coin, "wallet"]) => wallet::list(visit, Some(coin)),
        ("GET", ["api", "v2", coin, "wallet", id]) => wallet::read(visit, coin, id),
        ("GET", ["api", "v1", "ping"]) => Ok(ping()),
        ("GET", ["api", "v1", "client", "constants"]) => Ok(constants()),
        _ => Err(Refused::not_found()),
    };
    answered.unwrap_or_else(|refused| refused.answering(&received.request_id).into())
}

fn ping() -> Reply {
    #[derive(Serialize)]
    struct Pong {
        status: &'static str,
        environment: &'static str,
    }
    Reply::json(&Pong { status: "service is ok!", environment: "emulator" })
}

fn constants() -> Reply {
    #[derive(Serialize)]
    struct Constants {
        constants: Empty,
        ttl: u32,
    }
    Reply::json(&Constants { constants: Empty {}, ttl: 3600 })
}

#[derive(Serialize)]
struct Empty {}

/// The JSON object a request must hold.
fn body(received: &Received) -> Result<Object<'_>, Refused> {
    Ok(Object::parse(&received.body)?)
}

/// Checks the second factor of a body.
fn check_otp(state: &mut State, body: &Object<'_>) -> Result<(), Refused> {
    let otp = body.text("otp")?;
    let is_taken = match (otp.as_deref(), &mut state.otps) {
        (None | Some(""), _) => return Err(Refused::needs_otp()),
        (Some(otp), Some(left)) => left.remove(otp),
        (Some(otp), None) => otp == super::account::OTP,
    };
    if is_taken { Ok(()) } else { Err(Refused::wrong_otp()) }
}
