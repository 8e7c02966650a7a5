//! JSON as policy reads it: objects with each key once, numbers as their exact digits.

use super::Denied;
use crate::money::Amount;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The most fields an object may have: more than any rule knows, few enough to compare each with each.
const FIELDS_MAX: usize = 64;

/// The fields of one object, in order, their values unread.
pub(super) struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Reads an object whose keys are all among `known`.
    pub(super) fn read(json: &'a [u8], what: &str, known: &[&str]) -> Result<Self, Denied> {
        let fields: Self = serde_json::from_slice(json).map_err(|_| {
            Denied::body(format!(
                "{what} is not a JSON object of at most {FIELDS_MAX} fields, each once"
            ))
        })?;
        match fields.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => Err(Denied::body(format!(
                "{what} holds the field {:?}, which no rule allows",
                key.chars().take(40).collect::<String>()
            ))),
            None => Ok(fields),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// A field that must be text where it stands.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Denied> {
        self.get(key)
            .map(|value| {
                serde_json::from_str(value.get())
                    .map_err(|_| Denied::body(format!("{key} is not a string")))
            })
            .transpose()
    }

    /// A field that must be a list of objects where it stands.
    pub(super) fn list(&self, key: &str) -> Result<Option<Vec<&'a RawValue>>, Denied> {
        self.get(key)
            .map(|value| {
                serde_json::from_str(value.get())
                    .map_err(|_| Denied::body(format!("{key} is not a list")))
            })
            .transpose()
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with each key once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Vec<(String, &RawValue)> = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if fields.len() == FIELDS_MAX || fields.iter().any(|(name, _)| *name == key) {
                        return Err(serde::de::Error::custom("key twice, or too many"));
                    }
                    fields.push((key, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

/// The largest number that a server of JavaScript reads as it was written: 2^53 - 1.
const NUMBER_MAX: Amount = Amount::new((1 << 53) - 1);

/// An amount as BitGo takes it: a string of digits, or a JSON integer that no reader rounds.
pub(super) fn amount(value: &RawValue) -> Result<Amount, Denied> {
    let refused = |_| {
        Denied::body(
            "an amount is not a whole number of base units (digits, as a number or a string)",
        )
    };
    let text = value.get();
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(digits) => digits.parse().map_err(refused),
        None => match text.parse().map_err(refused)? {
            amount if amount <= NUMBER_MAX => Ok(amount),
            _ => {
                Err(Denied::body("an amount beyond 2^53 must be a string, or the server rounds it"))
            }
        },
    }
}
