//! stub, replaced by the integrator
#![allow(missing_docs)]
pub mod clock;
pub mod crypto;
pub mod environment;
pub mod money;
pub mod scope;
pub mod secret;
#[cfg(feature = "test-util")]
pub mod test_util;
pub mod token;
mod word_error;
pub use word_error::WordError;
