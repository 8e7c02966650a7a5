//! BitGo's API: the only place that speaks HTTP, and the only place that reads its JSON.
//!
//! ```text
//! calls          one method per call of PROTOCOL section 2
//! client         sign → dispatch → judge; reqwest stands here and nowhere else
//! answer         whether an answer may be believed: HMAC, window, status
//! error, sorting why a call failed, sorted by what to do about it
//! create_token   what a new token shall be allowed
//! wire           the JSON of it all, read exactly
//! ```
//!
//! Promises: the bytes signed are the bytes sent; nothing is repeated, redirected or proxied;
//! an answer to a signed request is used only if its HMAC fits and its time is near; no error
//! holds a body, a token or a URL.

mod answer;
mod calls;
mod client;
mod create_token;
mod error;
mod refusal;
mod request_id;
mod settings;
mod sorting;
pub mod wire;

#[cfg(any(test, feature = "test-util"))]
pub(crate) use answer::Vouched;
pub use answer::{Asked, RawAnswer, Success};
pub use calls::{LoginOptions, Page};
pub use client::{Auth, Client, DispatchError, signed_headers};
pub use create_token::CreateToken;
pub use error::{ApiError, Distrust};
pub use refusal::Refusal;
pub use request_id::RequestId;
pub use settings::ClientSettings;
