//! BitGo's API: the only place that speaks HTTP, and the only place that reads its JSON.
//!
//! ```text
//! calls          the calls about tokens of PROTOCOL section 2, one method each
//! listing        tokens page by page
//! session_calls  unlock, lock, log out, extend; service_calls: ping, constants, me
//! oauth          a refresh token for the next token
//! endpoint       where each call is asked
//! client         sign → dispatch → judge; reqwest stands here and nowhere else; tls: whom it trusts
//! retry          when a call that changes nothing is asked again
//! asked          how a request is signed, and which answer is its own: HMAC, window, id
//! proof          the header strings that signing makes
//! answer         whether an answer may be believed
//! error, sorting why a call failed, sorted by what to do about it
//! create_token   what a new token shall be allowed; advice: what is refused, what warned of
//! wire           the JSON of it all, read exactly
//! ```
//!
//! Promises: the bytes signed are the bytes sent; nothing that mints or spends is repeated, nothing
//! is redirected, nothing proxied unasked; an answer to a signed request is used only if its HMAC
//! fits and its time is near; no error holds a body, a token or a URL.

mod advice;
mod answer;
mod asked;
mod calls;
mod client;
mod create_token;
mod endpoint;
mod error;
mod listing;
mod oauth;
mod proof;
mod refusal;
mod request_id;
mod retry;
mod service_calls;
mod session_calls;
mod settings;
mod sorting;
mod tls;
pub mod wire;

pub use crate::rotation::RotationState;
pub use advice::{TokenFlaw, TokenRisk, UnfitToken};
pub use answer::{RawAnswer, Success};
pub use asked::{Asked, Auth};
pub use calls::LoginOptions;
pub use client::{Client, DispatchError};
pub use create_token::CreateToken;
pub use endpoint::Endpoint;
pub use error::{ApiError, Distrust};
pub use listing::{Page, Sort, Tokens};
pub use oauth::{OauthClient, Rotated};
pub(crate) use proof::Proof;
pub use refusal::Refusal;
pub use request_id::RequestId;
pub use settings::ClientSettings;
pub(crate) use sorting::Doubt;
