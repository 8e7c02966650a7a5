//! What the calls answer about tokens: a login, an issued token, a page of records.

use super::object::{Malformed, Object, required};
use super::record::{TokenRecord, scopes};
use crate::id::TokenId;
use crate::scope::Scope;
use crate::secret::AccessToken;
use chrono::{DateTime, Utc};
use std::fmt;

/// A token on its way to its owner.
#[non_exhaustive]
pub enum Issued {
    /// Sealed for the account's ECDH key.
    Sealed {
        /// The envelope.
        encrypted_token: Box<str>,
        /// Where both keys are derived.
        derivation_path: Box<str>,
    },
    /// In clear: an account without an ECDH key. Whoever takes it must have chosen to.
    Clear(AccessToken),
}

impl Issued {
    pub(super) fn read(
        object: &Object<'_>,
        clear_name: &'static str,
    ) -> Result<Option<Self>, Malformed> {
        if let Some(encrypted_token) = object.text("encryptedToken")? {
            let path = required(object.text("derivationPath")?, "derivationPath")?;
            return Ok(Some(Self::Sealed {
                encrypted_token: encrypted_token.into(),
                derivation_path: path.into(),
            }));
        }
        let Some(token) = object.plain_text(clear_name)? else { return Ok(None) };
        let token = AccessToken::new(token);
        match token.is_plausible() {
            true => Ok(Some(Self::Clear(token))),
            false => Err(Malformed(clear_name)),
        }
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sealed { .. } => "Sealed",
            Self::Clear(_) => "Clear([REDACTED])",
        })
    }
}

/// The answer to a login: a short-lived session.
pub struct LoginAnswer {
    /// The session's token.
    pub issued: Issued,
    /// The account's ECDH key, sealed under the login password.
    pub encrypted_ecdh_xprv: Option<SealedXprv>,
    /// `token_id`
    pub token_id: Option<TokenId>,
    /// `expires_at`: when the session ends, by the server's clock.
    pub expires_at: DateTime<Utc>,
    /// `scope`
    pub scope: Vec<Scope>,
    /// `user.id`. Of the user nothing else but the name is kept.
    pub user_id: Option<Box<str>>,
    /// `user.username`
    pub username: Option<Box<str>>,
    /// `warning`
    pub warning: Option<Box<str>>,
    /// `noECDHKeychain`
    pub no_ecdh_keychain: bool,
    /// `twoFactorMethod`
    pub two_factor_method: Option<Box<str>>,
    /// `ssoProvider`
    pub sso_provider: Option<Box<str>>,
}

impl fmt::Debug for LoginAnswer {
    /// Leaves out who logged in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginAnswer")
            .field("issued", &self.issued)
            .field("token_id", &self.token_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// An envelope around an `ecdhXprv`; printed without its content.
pub struct SealedXprv(pub Box<str>);

impl fmt::Debug for SealedXprv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedXprv(..)")
    }
}

impl LoginAnswer {
    /// Reads the answer to a login.
    ///
    /// # Errors
    /// [`Malformed`] if it holds no token, or a known field does not have its shape.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let object = Object::parse(body)?;
        let text = |name| Ok(object.text(name)?.map(|text| Box::from(text.as_ref())));
        let user = object.object("user")?;
        let user_text = |name| match &user {
            Some(user) => Ok(user.text(name)?.map(|text| Box::from(text.as_ref()))),
            None => Ok(None),
        };
        let expires_at = object.count("expires_at")?.and_then(|secs| i64::try_from(secs).ok());
        let expires_at = expires_at.and_then(|secs| DateTime::from_timestamp(secs, 0));
        Ok(Self {
            issued: required(Issued::read(&object, "access_token")?, "access_token")?,
            encrypted_ecdh_xprv: text("encryptedECDHXprv")?.map(SealedXprv),
            token_id: object.word("token_id")?,
            expires_at: required(expires_at, "expires_at")?,
            scope: scopes(&object)?,
            user_id: user_text("id")?,
            username: user_text("username")?,
            warning: text("warning")?,
            no_ecdh_keychain: object.flag("noECDHKeychain")?.unwrap_or(false),
            two_factor_method: text("twoFactorMethod")?,
            sso_provider: text("ssoProvider")?,
        })
    }
}

/// A token just issued, with its record.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token.
    pub issued: Issued,
    /// What BitGo says of it.
    pub record: TokenRecord,
}

impl IssuedToken {
    /// Reads the answer to an issuance.
    ///
    /// # Errors
    /// [`Malformed`] if it holds no token, or a known field does not have its shape.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let object = Object::parse(body)?;
        Ok(Self {
            issued: required(Issued::read(&object, "token")?, "encryptedToken")?,
            record: TokenRecord::read(&object)?,
        })
    }
}

/// One page of token records.
#[derive(Debug)]
pub struct TokenPage {
    /// The records, in the order asked for.
    pub records: Vec<TokenRecord>,
    /// Where the next page starts; absent on the last.
    pub next: Option<Box<str>>,
}

impl TokenPage {
    /// Reads one page.
    ///
    /// # Errors
    /// [`Malformed`] if the list is missing or a record does not have its shape.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let object = Object::parse(body)?;
        let records = required(object.objects("accessTokens")?, "accessTokens")?;
        Ok(Self {
            records: records.iter().map(TokenRecord::read).collect::<Result<_, _>>()?,
            next: object.text("nextBatchPrevId")?.map(Into::into),
        })
    }
}

impl TokenRecord {
    /// Reads the answer of `GET session`: the record within `{session}`.
    ///
    /// # Errors
    /// [`Malformed`] if there is none.
    pub fn parse_session(body: &[u8]) -> Result<Self, Malformed> {
        Self::read(&required(Object::parse(body)?.object("session")?, "session")?)
    }

    /// Reads a record that is the whole answer.
    ///
    /// # Errors
    /// [`Malformed`] if it is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        Self::read(&Object::parse(body)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_clear_is_told_apart_and_not_printed() {
        let hex = "ab".repeat(32);
        let answer = LoginAnswer::parse(
            format!(
                r#"{{"access_token":"{hex}","expires_at":1767323045,"expires_in":3600,"scope":["openid"],
                "token_type":"bearer","grant_type":"password","noECDHKeychain":true,
                "user":{{"id":"1","username":"a@b","phone":{{"phone":"+1"}}}}}}"#
            )
            .as_bytes(),
        )
        .unwrap();
        assert!(matches!(answer.issued, Issued::Clear(_)));
        assert!(answer.no_ecdh_keychain);
        assert_eq!(answer.expires_at.timestamp(), 1_767_323_045);
        let printed = format!("{answer:?}");
        assert!(!printed.contains(&hex) && !printed.contains("a@b"), "{printed}");
    }

    #[test]
    fn an_answer_without_a_token_is_malformed() {
        for (body, broken) in [
            (r#"{"expires_at":1}"#, "access_token"),
            (r#"{"expires_at":1,"access_token":"<html>"}"#, "access_token"),
            (r#"{"expires_at":1,"encryptedToken":"{}"}"#, "derivationPath"),
            (r#"{"encryptedToken":"{}","derivationPath":"m/1"}"#, "expires_at"),
            (
                r#"{"expires_at":99999999999999999,"encryptedToken":"{}","derivationPath":"m/1"}"#,
                "expires_at",
            ),
        ] {
            assert_eq!(
                LoginAnswer::parse(body.as_bytes()).unwrap_err(),
                Malformed(broken),
                "{body}"
            );
        }
        let record = r#"{"id":"5941b202b42fcbc707170d5b597491d9"}"#;
        assert_eq!(IssuedToken::parse(record.as_bytes()).unwrap_err(), Malformed("encryptedToken"));
    }
}
