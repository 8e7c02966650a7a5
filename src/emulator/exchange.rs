//! One request and its answer, as the emulator sees and shows them.

use super::received::Received;
use super::reply::Reply;
use http::{HeaderMap, Method, StatusCode};

/// Every byte of one request and its answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exchange {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Request line and headers, as they came.
    pub request_head: Vec<u8>,
    /// The request's body.
    pub request_body: Vec<u8>,
    /// Status line and headers; empty if the connection was cut before.
    pub answer_head: Vec<u8>,
    /// The answer's body; empty if the connection was cut before.
    pub answer_body: Vec<u8>,
}

impl Exchange {
    pub(super) fn new(received: &Received, reply: Option<&Reply>) -> Self {
        let mut request_head =
            format!("{} {} HTTP/1.1\r\n", received.method, received.target).into_bytes();
        append_headers(&mut request_head, &received.headers);
        let (mut answer_head, mut answer_body) = (Vec::new(), Vec::new());
        if let Some(reply) = reply {
            let status = StatusCode::from_u16(reply.status).unwrap_or_default();
            answer_head.extend_from_slice(format!("HTTP/1.1 {status}\r\n").as_bytes());
            append_headers(&mut answer_head, &reply.headers);
            answer_body.extend_from_slice(&reply.body);
        }
        Self {
            method: received.method.clone(),
            target: received.target.to_string(),
            request_head,
            request_body: received.body.to_vec(),
            answer_head,
            answer_body,
        }
    }

    /// Whether any byte of it, either way, holds `text`.
    pub fn contains(&self, text: &str) -> bool {
        let holds =
            |bytes: &[u8]| bytes.windows(text.len().max(1)).any(|part| part == text.as_bytes());
        [&self.request_head, &self.request_body, &self.answer_head, &self.answer_body]
            .into_iter()
            .any(|bytes| holds(bytes))
    }
}

fn append_headers(head: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
}
