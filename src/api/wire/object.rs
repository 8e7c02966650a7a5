//! One JSON object, read field by field without a copy of what is not asked for.

use super::number;
use crate::money::Amount;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The longest text accepted in one field, in bytes. An encrypted token takes about 500.
const TEXT_MAX: usize = 16 * 1024;
/// The most entries accepted in one list or object.
const ENTRIES_MAX: usize = 8192;

/// A part of an answer that does not have the shape it should; the text names the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed: {0}")]
pub struct Malformed(pub &'static str);

/// A JSON object whose values are still text. A name that stands twice is refused.
///
/// Every reader takes `null` as absent.
pub struct Object<'a>(BTreeMap<Box<str>, &'a RawValue>);

impl<'a> Object<'a> {
    /// Reads the outermost object of `json`.
    ///
    /// # Errors
    /// [`Malformed`] unless `json` is one object in UTF-8 and nothing after it.
    pub fn parse(json: &'a [u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(json).map_err(|_| Malformed("the body"))
    }

    fn of(json: &'a str, name: &'static str) -> Result<Self, Malformed> {
        serde_json::from_str(json).map_err(|_| Malformed(name))
    }

    /// The names of the fields that are there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }

    /// The JSON text of a field.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.get()).filter(|json| *json != "null")
    }

    /// The JSON text of every field, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.get()))
    }

    /// A string.
    ///
    /// # Errors
    /// [`Malformed`] if the field is no string, or longer than 16 KiB.
    pub fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, Malformed> {
        self.raw(name).map(|json| text_of(json, name)).transpose()
    }

    /// A string without escapes, borrowed, so that reading a secret leaves no copy behind.
    ///
    /// # Errors
    /// [`Malformed`] if the field is no string or holds an escape.
    pub fn plain_text(&self, name: &'static str) -> Result<Option<&'a str>, Malformed> {
        self.raw(name)
            .map(|json| match serde_json::from_str::<&str>(json) {
                Ok(text) if text.len() <= TEXT_MAX => Ok(text),
                _ => Err(Malformed(name)),
            })
            .transpose()
    }

    /// A string that stands for a word, such as an id.
    ///
    /// # Errors
    /// [`Malformed`] if the field is no string or not that word.
    pub fn word<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Malformed> {
        self.text(name)?.map(|text| text.parse().map_err(|_| Malformed(name))).transpose()
    }

    /// A list of strings that stand for words.
    ///
    /// # Errors
    /// [`Malformed`] if the field is no list, too long, or an entry is not that word.
    pub fn words<T: FromStr>(&self, name: &'static str) -> Result<Option<Vec<T>>, Malformed> {
        let read = |json| text_of(json, name)?.parse().map_err(|_| Malformed(name));
        self.list(name)?.map(|list| list.into_iter().map(read).collect()).transpose()
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// [`Malformed`] if the field is neither.
    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, Malformed> {
        self.raw(name)
            .map(|json| match json {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(Malformed(name)),
            })
            .transpose()
    }

    /// An amount in base units: a number or a string, whole and exact.
    ///
    /// # Errors
    /// [`Malformed`] if it is negative, has a fraction, or reaches 2^128.
    pub fn amount(&self, name: &'static str) -> Result<Option<Amount>, Malformed> {
        self.raw(name)
            .map(|json| number::whole(json).map(Amount::new).ok_or(Malformed(name)))
            .transpose()
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`Malformed`] if it is negative, has a fraction, or reaches 2^64.
    pub fn count(&self, name: &'static str) -> Result<Option<u64>, Malformed> {
        self.raw(name)
            .map(|json| {
                number::whole(json).and_then(|n| u64::try_from(n).ok()).ok_or(Malformed(name))
            })
            .transpose()
    }

    /// An instant in ISO 8601.
    ///
    /// # Errors
    /// [`Malformed`] if it is none.
    pub fn instant(&self, name: &'static str) -> Result<Option<DateTime<Utc>>, Malformed> {
        self.word(name)
    }

    /// An object within this one.
    ///
    /// # Errors
    /// [`Malformed`] if the field is none.
    pub fn object(&self, name: &'static str) -> Result<Option<Self>, Malformed> {
        self.raw(name).map(|json| Self::of(json, name)).transpose()
    }

    /// A list of objects.
    ///
    /// # Errors
    /// [`Malformed`] if the field is no list, too long, or an entry is no object.
    pub fn objects(&self, name: &'static str) -> Result<Option<Vec<Self>>, Malformed> {
        let read = |json| Self::of(json, name);
        self.list(name)?.map(|list| list.into_iter().map(read).collect()).transpose()
    }

    /// Every entry of an object whose names are data, each read as an object.
    pub(super) fn objects_by_name(
        &self,
        name: &'static str,
    ) -> impl Iterator<Item = Result<(&str, Self), Malformed>> {
        self.entries().map(move |(key, json)| Ok((key, Self::of(json, name)?)))
    }

    fn list(&self, name: &'static str) -> Result<Option<Vec<&'a str>>, Malformed> {
        let Some(json) = self.raw(name) else { return Ok(None) };
        let list: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| Malformed(name))?;
        if list.len() > ENTRIES_MAX {
            return Err(Malformed(name));
        }
        Ok(Some(list.into_iter().map(RawValue::get).collect()))
    }
}

/// Turns an absent field into an error that names it.
pub(super) fn required<T>(field: Option<T>, name: &'static str) -> Result<T, Malformed> {
    field.ok_or(Malformed(name))
}

fn text_of<'a>(json: &'a str, name: &'static str) -> Result<Cow<'a, str>, Malformed> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    match serde_json::from_str(json) {
        Ok(Text(text)) if text.len() <= TEXT_MAX => Ok(text),
        _ => Err(Malformed(name)),
    }
}

impl<'a> Deserialize<'a> for Object<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'a> Visitor<'a> for Fields {
            type Value = BTreeMap<Box<str>, &'a RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose names stand once")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if fields.insert(name, value).is_some() || fields.len() > ENTRIES_MAX {
                        return Err(A::Error::custom("a name stands twice, or too many"));
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Fields).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_object_with_each_name_once_is_read() {
        for (json, fits) in [
            ("{}", true),
            (" {\"a\":1, \"b\":null}\n", true),
            ("{\"a\":1,\"a\":1}", false),
            ("{\"a\":1,\"\\u0061\":1}", false),
            ("{} {}", false),
            ("[]", false),
            ("{\"a\":", false),
            ("<html>", false),
            ("", false),
        ] {
            assert_eq!(Object::parse(json.as_bytes()).is_ok(), fits, "{json}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err(), "UTF-8 only");
    }

    #[test]
    fn fields_are_read_as_what_they_are() {
        let json = br#"{"t":"a\"b","n":null,"f":true,"big":9007199254740993,"l":["x",1],
            "at":"2026-01-02T03:04:05.678Z"}"#;
        let object = Object::parse(json).unwrap();
        assert_eq!(object.text("t").unwrap().unwrap(), "a\"b");
        assert_eq!(object.plain_text("t"), Err(Malformed("t")), "an escape would need a copy");
        assert_eq!(object.text("n"), Ok(None));
        assert_eq!(object.text("absent"), Ok(None));
        assert_eq!(object.text("f"), Err(Malformed("f")));
        assert_eq!(object.flag("f"), Ok(Some(true)));
        assert_eq!(object.amount("big"), Ok(Some(Amount::new(9_007_199_254_740_993))));
        assert_eq!(object.words::<String>("l"), Err(Malformed("l")));
        let at = object.instant("at").unwrap().unwrap();
        assert_eq!(at.timestamp_millis(), 1_767_323_045_678);
        let long = format!("{{\"t\":\"{}\"}}", "x".repeat(TEXT_MAX + 1));
        assert_eq!(Object::parse(long.as_bytes()).unwrap().text("t"), Err(Malformed("t")));
    }
}
