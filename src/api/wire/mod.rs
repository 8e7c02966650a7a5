//! BitGo's JSON as the vault reads it: exactly, and no further than its caps.
//!
//! Raw strings and JSON stop here. Numbers are read from their digits, so nothing passes
//! through a float: a limit of 2^53 + 1 wei is that limit. Fields are found by BitGo's own
//! names (PROTOCOL section 6); those unknown to us are kept in [`TokenRecord::other`].
//! Answers that hold a token in clear are borrowed from a body that is wiped.
//!
//! ```text
//! object          one JSON object, its fields read one by one
//! number          digits, exponents and strings → whole numbers
//! record          the token record; unlock: what it says of limits
//! answers         what the calls answer about tokens: login, issuance, pages
//! scoped_session  a record with on whose behalf it acts
//! oauth           tokens for a refresh token
//! service         who the bearer is, constants, whether the service answers
//! platform_error  what a refusal says of itself
//! ```

mod answers;
mod number;
mod oauth;
mod object;
mod platform_error;
mod record;
mod scoped_session;
mod service;
mod unlock;

pub use answers::{Issued, IssuedToken, LoginAnswer, SealedXprv, TokenPage};
pub use oauth::OauthTokens;
pub use object::{Malformed, Object};
pub use platform_error::PlatformError;
pub use record::{AdminScope, OauthState, TokenRecord};
pub use scoped_session::ScopedSession;
pub use service::{ClientConstants, Pong, User};
pub use unlock::{CoinLimit, Erc20Limit, Unlock};
