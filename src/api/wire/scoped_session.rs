//! A token's record with on whose behalf the token acts.

use super::object::{Malformed, Object, required};
use super::record::TokenRecord;
use serde_json::value::RawValue;
use std::fmt;

/// The bearer's own record, with on whose behalf it acts (`authenticationMetadata`).
///
/// The contexts are kept as they came: BitGo publishes nothing of what they hold.
pub struct ScopedSession {
    /// `accessToken`
    pub record: TokenRecord,
    /// `authenticationMetadata.userId`
    pub user_id: Box<str>,
    /// `authenticationMetadata.userContext`
    pub user_context: Box<RawValue>,
    /// `authenticationMetadata.enterpriseContext`
    pub enterprise_context: Option<Box<RawValue>>,
    /// `authenticationMetadata.organizationContext`
    pub organization_context: Option<Box<RawValue>>,
    /// `authenticationMetadata.walletContext`
    pub wallet_context: Option<Box<RawValue>>,
    /// `authenticationMetadata.spooferContext`: there where somebody acts as this user.
    pub spoofer_context: Option<Box<RawValue>>,
}

impl fmt::Debug for ScopedSession {
    /// Leaves out the contexts: they might hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedSession")
            .field("record", &self.record)
            .field("is_spoofed", &self.is_spoofed())
            .finish_non_exhaustive()
    }
}

impl ScopedSession {
    /// Reads the answer of the scoped session.
    ///
    /// # Errors
    /// [`Malformed`] if the record, the user's id or context is missing, the id is empty, or a context
    /// is no object.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let object = Object::parse(body)?;
        let metadata =
            required(object.object("authenticationMetadata")?, "authenticationMetadata")?;
        let context = |name: &'static str| {
            let Some(json) = metadata.raw(name) else { return Ok(None) };
            metadata.object(name)?;
            RawValue::from_string(json.to_owned()).map(Some).map_err(|_| Malformed(name))
        };
        let user_id = metadata.text("userId")?.filter(|id| !id.is_empty());
        Ok(Self {
            record: TokenRecord::read(&required(object.object("accessToken")?, "accessToken")?)?,
            user_id: required(user_id, "userId")?.into(),
            user_context: required(context("userContext")?, "userContext")?,
            enterprise_context: context("enterpriseContext")?,
            organization_context: context("organizationContext")?,
            wallet_context: context("walletContext")?,
            spoofer_context: context("spooferContext")?,
        })
    }

    /// Whether somebody acts as this user.
    pub fn is_spoofed(&self) -> bool {
        self.spoofer_context.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(metadata: &str) -> Result<ScopedSession, Malformed> {
        let record = r#"{"id":"5941b202b42fcbc707170d5b597491d9","isExtensible":false}"#;
        let body = format!(r#"{{"accessToken":{record},"authenticationMetadata":{metadata}}}"#);
        ScopedSession::parse(body.as_bytes())
    }

    #[test]
    fn whoever_acts_as_the_user_is_seen_and_not_printed() {
        let session = parse(r#"{"userId":"u","userContext":{"email":"a@b"}}"#).unwrap();
        assert!(!session.is_spoofed());
        assert_eq!(session.user_context.get(), r#"{"email":"a@b"}"#);
        let session =
            parse(r#"{"userId":"u","userContext":{},"spooferContext":{"user":"a@b"}}"#).unwrap();
        assert!(session.is_spoofed());
        assert!(!format!("{session:?}").contains("a@b"));
    }

    #[test]
    fn what_is_required_is_demanded() {
        for (metadata, broken) in [
            (r#"{"userContext":{}}"#, "userId"),
            (r#"{"userId":"","userContext":{}}"#, "userId"),
            (r#"{"userId":"u"}"#, "userContext"),
            (r#"{"userId":"u","userContext":[]}"#, "userContext"),
            (r#"{"userId":"u","userContext":{},"spooferContext":1}"#, "spooferContext"),
        ] {
            assert_eq!(parse(metadata).unwrap_err(), Malformed(broken), "{metadata}");
        }
    }
}
