//! BitGo's API: the only place that speaks HTTP, and the only place that reads its JSON.
//!
//! ```text
//! calls          one method per call of PROTOCOL section 2
//! client         sign → dispatch → judge; reqwest stands here and nowhere else
//! asked          how a request is signed, and which answer is its own: HMAC, window, id
//! answer         whether an answer may be believed
//! error, sorting why a call failed, sorted by what to do about it
//! create_token   what a new token shall be allowed
//! wire           the JSON of it all, read exactly
//! ```
//!
//! Promises: the bytes signed are the bytes sent; nothing is repeated, redirected or proxied;
//! an answer to a signed request is used only if its HMAC fits and its time is near; no error
//! holds a body, a token or a URL.

mod answer;
mod asked;
mod calls;
mod client;
mod create_token;
mod error;
mod refusal;
mod request_id;
mod settings;
mod sorting;
pub mod wire;

pub use answer::{RawAnswer, Success};
pub use asked::{Asked, Auth};
pub use calls::{LoginOptions, Page};
pub use client::{Client, DispatchError};
pub use create_token::CreateToken;
pub use error::{ApiError, Distrust};
pub use refusal::Refusal;
pub use request_id::RequestId;
pub use settings::ClientSettings;
