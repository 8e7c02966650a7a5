//! A refusal, as BitGo words it.

use crate::crypto::CryptoError;
use serde::Serialize;

/// A refusal in BitGo's shape: `{error, name, context, requestId, needsOTP?, needsUnlock?}`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refused {
    #[serde(skip)]
    pub(super) status: u16,
    #[serde(skip)]
    pub(super) auth_required: bool,
    error: &'static str,
    name: &'static str,
    context: Context,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Box<str>>,
    #[serde(rename = "needsOTP", skip_serializing_if = "Option::is_none")]
    needs_otp: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_unlock: Option<bool>,
}

#[derive(Clone, Debug, Serialize)]
struct Context {}

impl Refused {
    pub(super) const fn new(status: u16, name: &'static str, error: &'static str) -> Self {
        Self {
            status,
            auth_required: false,
            error,
            name,
            context: Context {},
            request_id: None,
            needs_otp: None,
            needs_unlock: None,
        }
    }

    /// Names the request that is refused.
    pub(super) fn answering(self, request_id: Option<&str>) -> Self {
        Self { request_id: request_id.map(Box::from), ..self }
    }

    /// The bearer is unknown, expired or revoked.
    pub(super) fn dead() -> Self {
        Self { auth_required: true, ..Self::new(401, "Unauthorized", "session expired") }
    }

    pub(super) fn needs_otp() -> Self {
        Self { needs_otp: Some(true), ..Self::new(401, "NeedsOTP", "needs OTP") }
    }

    pub(super) fn needs_unlock() -> Self {
        Self { needs_unlock: Some(true), ..Self::new(401, "NeedsUnlock", "needs unlock") }
    }

    pub(super) fn scope() -> Self {
        Self::new(403, "Forbidden", "token lacks required scope")
    }

    pub(super) const fn invalid(error: &'static str) -> Self {
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
