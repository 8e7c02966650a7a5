//! BitGo's OpenAPI file as JSON schema, with three readings:
//!
//! - `oneOf` is `anyOf`: its branches overlap, and what fits two of them is no error;
//! - `nullable` is the type or null: OpenAPI 3.0 has a word of its own for it;
//! - `NumberLike` is a number or the text of one: the patterns that stand beside it are for texts.

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};
use std::error::Error;

/// The file, read so, and what is ours beside it.
pub(crate) struct OpenApi {
    file: Value,
    ours: Value,
}

impl OpenApi {
    pub(crate) fn read(file: &str, ours: &str) -> Result<Self, Box<dyn Error>> {
        let mut file: Value = serde_json::from_str(file)?;
        file["components"]["schemas"]["NumberLike"] = json!({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^-?\\d+(\\.\\d+)?$"}]});
        Ok(Self { file: reading(file), ours: serde_json::from_str(ours)? })
    }

    /// An operation such as `post` of `/api/v2/user/login`.
    pub(crate) fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        self.file["paths"].get(path)?.get(method.to_ascii_lowercase())
    }

    /// What an operation's `part` refers to, or the part itself.
    pub(crate) fn resolved<'a>(&'a self, part: &'a Value) -> Option<&'a Value> {
        match part["$ref"].as_str() {
            Some(path) => self.file.pointer(path.strip_prefix('#')?),
            None => Some(part),
        }
    }

    /// A validator of a schema that may refer to others of the file.
    pub(crate) fn validator(&self, schema: &Value) -> Result<Validator, Box<dyn Error>> {
        let mut root = self.ours.clone();
        root["components"] = self.file["components"].clone();
        root["allOf"] = json!([schema]);
        // Of the drafts, OpenAPI 3.0 is nearest to this one.
        let options = jsonschema::options().with_draft(Draft::Draft4).should_validate_formats(true);
        Ok(options.build(&root)?)
    }

    /// Our schema of a route's request, or of its answer with a status.
    pub(crate) fn ours(&self, route: &str, part: &str) -> Option<&Value> {
        self.ours["routes"].get(route)?.get(part)
    }

    pub(crate) fn schema(&self, name: &str) -> &Value {
        &self.file["components"]["schemas"][name]
    }
}

fn reading(value: Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(reading).collect(),
        Value::Object(fields) => {
            let mut read: Map<String, Value> = fields
                .into_iter()
                .map(|(name, value)| {
                    (if name == "oneOf" { "anyOf".into() } else { name }, reading(value))
                })
                .collect();
            match read.remove("nullable") {
                Some(Value::Bool(true)) => json!({"anyOf": [read, {"type": "null"}]}),
                _ => read.into(),
            }
        }
        other => other,
    }
}
