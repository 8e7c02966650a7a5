//! A refusal, as BitGo words it.

use crate::api::wire::Malformed;
use crate::crypto::CryptoError;
use serde::Serialize;
use std::borrow::Cow;
use std::net::IpAddr;

/// A refusal in BitGo's shape: `{error, name, context, requestId, needsOTP?, needsUnlock?}`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refused {
    #[serde(skip)]
    pub(super) status: u16,
    #[serde(skip)]
    pub(super) auth_required: bool,
    error: Cow<'static, str>,
    name: &'static str,
    context: Context,
    request_id: Box<str>,
    #[serde(rename = "needsOTP", skip_serializing_if = "Option::is_none")]
    needs_otp: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_unlock: Option<bool>,
}

#[derive(Clone, Debug, Serialize)]
struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth: Option<Oauth>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Oauth {
    oauth_required: bool,
}

impl Refused {
    pub(super) fn new(status: u16, name: &'static str, error: &'static str) -> Self {
        Self {
            status,
            auth_required: false,
            error: Cow::Borrowed(error),
            name,
            context: Context { ip: None, oauth: None },
            request_id: "".into(),
            needs_otp: None,
            needs_unlock: None,
        }
    }

    /// Names the request that is refused.
    pub(super) fn answering(self, request_id: &str) -> Self {
        Self { request_id: request_id.into(), ..self }
    }

    /// The bearer is unknown, expired or revoked.
    pub(super) fn dead() -> Self {
        Self { auth_required: true, ..Self::new(401, "Unauthorized", "session expired") }
    }

    pub(super) fn needs_otp() -> Self {
        Self { needs_otp: Some(true), ..Self::new(401, "NeedsOTP", "needs OTP") }
    }

    /// The one-time password is wrong, or was used before.
    pub(super) fn wrong_otp() -> Self {
        Self { needs_otp: Some(true), ..Self::new(401, "InvalidOTP", "incorrect otp") }
    }

    pub(super) fn needs_unlock() -> Self {
        Self { needs_unlock: Some(true), ..Self::new(401, "NeedsUnlock", "needs unlock") }
    }

    /// The enterprise wants a single sign-on.
    pub(super) fn needs_sso() -> Self {
        let context = Context { ip: None, oauth: Some(Oauth { oauth_required: true }) };
        Self { context, ..Self::new(401, "SsoRequired", "single sign-on required") }
    }

    /// The request came from an address that is not on the token's list.
    pub(super) fn ip(address: IpAddr) -> Self {
        Self {
            error: format!("IP address {address} is not in the token's ipRestrict").into(),
            context: Context { ip: Some(address), oauth: None },
            ..Self::new(401, "IpNotAllowed", "")
        }
    }

    pub(super) fn scope() -> Self {
        Self::new(403, "Forbidden", "token lacks required scope")
    }

    pub(super) fn invalid(error: &'static str) -> Self {
        Self::new(400, "Invalid", error)
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "NotFound", "not found")
    }
}

impl From<CryptoError> for Refused {
    fn from(_: CryptoError) -> Self {
        Self::new(500, "InternalError", "a token could not be made")
    }
}

impl From<Malformed> for Refused {
    fn from(_: Malformed) -> Self {
        Self::invalid("a field does not have its shape")
    }
}
