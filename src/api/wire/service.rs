//! What the calls answer that are not about tokens: who the bearer is, the SDK's constants, a ping.

use super::object::{Malformed, Object, required};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// Who the bearer is. Of what BitGo tells of a person, no more is kept.
pub struct User {
    /// `user.id`
    pub id: Box<str>,
    /// `user.username`
    pub username: Option<Box<str>>,
}

impl User {
    /// Reads the answer of `GET me`: the user within `{user}`.
    ///
    /// # Errors
    /// [`Malformed`] if there is none, or it has no id.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let object = Object::parse(body)?;
        Self::read(&required(object.object("user")?, "user")?)
    }

    fn read(user: &Object<'_>) -> Result<Self, Malformed> {
        let id = user.text("id")?.filter(|id| !id.is_empty());
        Ok(Self {
            id: required(id, "id")?.into(),
            username: user.text("username")?.map(Into::into),
        })
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The constants that BitGo's own SDK asks for.
#[derive(Debug)]
pub struct ClientConstants {
    /// `constants`, each as it came.
    pub constants: BTreeMap<Box<str>, Box<RawValue>>,
    /// `ttl`: how long they may be kept, in seconds.
    pub ttl_secs: Option<u64>,
}

impl ClientConstants {
    /// Reads the answer of `GET client/constants`.
    ///
    /// # Errors
    /// [`Malformed`] if it holds no constants.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let object = Object::parse(body)?;
        let constants = required(object.object("constants")?, "constants")?;
        let kept =
            |(name, json): (&str, &str)| Ok((name.into(), RawValue::from_string(json.to_owned())?));
        let kept: Result<_, serde_json::Error> = constants.entries().map(kept).collect();
        Ok(Self {
            constants: kept.map_err(|_| Malformed("constants"))?,
            ttl_secs: object.count("ttl")?,
        })
    }
}

/// That the service answers.
#[derive(Debug)]
pub struct Pong {
    /// `status`, such as `service is ok!`.
    pub status: Option<Box<str>>,
    /// `environment`
    pub environment: Option<Box<str>>,
}

impl Pong {
    /// Reads the answer of `GET ping`.
    ///
    /// # Errors
    /// [`Malformed`] unless it is a JSON object whose known fields are text.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let object = Object::parse(body)?;
        Ok(Self {
            status: object.text("status")?.map(Into::into),
            environment: object.text("environment")?.map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_person_id_and_name_are_kept_and_the_name_is_not_printed() {
        let body = br#"{"user":{"id":"u1","username":"a@b","phone":{"phone":"+1"}}}"#;
        let user = User::parse(body).unwrap();
        assert_eq!((&*user.id, user.username.as_deref()), ("u1", Some("a@b")));
        assert!(!format!("{user:?}").contains("a@b"));
        for (body, broken) in [("{}", "user"), (r#"{"user":{}}"#, "id")] {
            assert_eq!(User::parse(body.as_bytes()).unwrap_err(), Malformed(broken));
        }
    }

    #[test]
    fn constants_are_kept_as_they_came() {
        let body =
            br#"{"constants":{"bitgoEthAddress":"0x0f47","big":9007199254740993},"ttl":3600}"#;
        let read = ClientConstants::parse(body).unwrap();
        assert_eq!(read.constants["big"].get(), "9007199254740993");
        assert_eq!((read.constants.len(), read.ttl_secs), (2, Some(3600)));
        assert_eq!(ClientConstants::parse(b"{}").unwrap_err(), Malformed("constants"));
    }
}
