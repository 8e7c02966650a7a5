//! What a refusal says of itself.

use super::object::Object;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// The longest error name accepted, in bytes.
const NAME_MAX: usize = 64;
/// The most of a server's message that is read, in characters.
const MESSAGE_MAX: usize = 300;

/// The body of a refusal, `{error, name, context, requestId, needsOTP?, needsUnlock?}`. All of it is
/// optional in practice, so that reading it never fails: a web page from a proxy says nothing.
///
/// It is read to sort the refusal, and dropped: an [`ApiError`](crate::api::ApiError) carries of it
/// the name alone.
#[derive(Default)]
pub struct PlatformError {
    /// `error`: a message, without control characters, cut to 300 characters.
    pub error: Option<Box<str>>,
    /// `name`, where it is a word.
    pub name: Option<Box<str>>,
    /// `requestId`: what the server calls the request.
    pub request_id: Option<Box<str>>,
    /// `context`, as it came.
    pub context: BTreeMap<Box<str>, Box<RawValue>>,
    /// `needsOTP`
    pub needs_otp: bool,
    /// `needsUnlock`
    pub needs_unlock: bool,
    /// `oauth.oauthRequired`, beside the context or in it.
    pub oauth_required: bool,
    /// `context.ip`: the address that the server saw.
    pub egress: Option<IpAddr>,
}

impl PlatformError {
    /// Reads what a refusal says.
    pub fn parse(body: &[u8]) -> Self {
        let Ok(object) = Object::parse(body) else { return Self::default() };
        let flag = |object: &Object<'_>, name| object.flag(name).ok().flatten().unwrap_or(false);
        let context = object.object("context").ok().flatten();
        let within = [Some(&object), context.as_ref()];
        let oauth = within.iter().flatten().find_map(|o| o.object("oauth").ok().flatten());
        let word = |name| {
            object.text(name).ok().flatten().filter(|word| {
                word.len() <= NAME_MAX
                    && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-. ".contains(&b))
            })
        };
        let message = object.text("error").ok().flatten();
        let kept = |(name, json): (&str, &str)| {
            Some((name.into(), RawValue::from_string(json.to_owned()).ok()?))
        };
        Self {
            error: message.map(|text| {
                let readable = text.chars().filter(|c| !c.is_control());
                readable.take(MESSAGE_MAX).collect::<String>().into()
            }),
            name: word("name").map(Into::into),
            request_id: word("requestId").map(Into::into),
            needs_otp: flag(&object, "needsOTP"),
            needs_unlock: flag(&object, "needsUnlock"),
            oauth_required: oauth.is_some_and(|oauth| flag(&oauth, "oauthRequired")),
            egress: context.as_ref().and_then(|context| context.word("ip").ok().flatten()),
            context: context.iter().flat_map(Object::entries).filter_map(kept).collect(),
        }
    }

    /// Whether its name or its message holds one of these phrases, in any case.
    pub(in crate::api) fn mentions(&self, phrases: &[&str]) -> bool {
        let texts = [&self.name, &self.error];
        texts.into_iter().flatten().any(|text| {
            let text = text.to_ascii_lowercase();
            phrases.iter().any(|phrase| text.contains(phrase))
        })
    }
}

impl fmt::Debug for PlatformError {
    /// Names what is there: message and context might hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlatformError")
            .field("name", &self.name)
            .field("needs_otp", &self.needs_otp)
            .field("needs_unlock", &self.needs_unlock)
            .field("oauth_required", &self.oauth_required)
            .field("context", &self.context.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_and_its_values_are_not_printed() {
        let read = PlatformError::parse(
            br#"{"error":"needs\u0000 v2xsecret","name":"NeedsOTP","requestId":"ab12","needsOTP":true,
                "context":{"ip":"203.0.113.7","oauth":{"oauthRequired":true},"who":"v2xsecret"}}"#,
        );
        assert_eq!(read.error.as_deref(), Some("needs v2xsecret"));
        assert_eq!(
            (read.name.as_deref(), read.request_id.as_deref()),
            (Some("NeedsOTP"), Some("ab12"))
        );
        assert!(read.needs_otp && !read.needs_unlock && read.oauth_required);
        assert_eq!(read.egress, "203.0.113.7".parse().ok());
        assert_eq!(read.context["who"].get(), "\"v2xsecret\"");
        let printed = format!("{read:?}");
        assert!(!printed.contains("secret") && !printed.contains("203"), "{printed}");
    }

    #[test]
    fn what_has_no_shape_says_nothing() {
        for body in ["", "<html>", "[]", "{}", r#"{"needsOTP":"yes","name":7,"context":[]}"#] {
            let read = PlatformError::parse(body.as_bytes());
            assert!(!read.needs_otp && read.name.is_none() && read.context.is_empty(), "{body}");
        }
    }
}
