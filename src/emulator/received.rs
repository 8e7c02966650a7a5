//! A request as the emulator receives it.

use super::account::random_hex;
use axum::body::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method};

/// A request as it was received.
pub(super) struct Received {
    pub(super) method: Method,
    pub(super) target: Box<str>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// By which the answer knows it: the caller's, or one of ours where it sent none.
    pub(super) request_id: Box<str>,
}

impl Received {
    pub(super) fn new(parts: Parts, body: Bytes) -> Self {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let request_id = parts.headers.get("request-id").and_then(|id| id.to_str().ok());
        let request_id = match request_id {
            Some(id) => id.into(),
            None => random_hex::<16>().unwrap_or_default().into(),
        };
        let (method, headers) = (parts.method, parts.headers);
        Self { target: target.into(), method, headers, body, request_id }
    }

    pub(super) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }

    /// A parameter of the query, as it stands there.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
