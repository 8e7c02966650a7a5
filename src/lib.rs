//! stub
#![allow(missing_docs)]
pub mod api;
pub mod clock;
pub mod crypto;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod environment;
mod locked;
pub mod money;
pub mod policy;
mod refresh;
pub mod scope;
pub mod secret;
mod store;
#[cfg(any(test, feature = "test-util"))]
pub mod test_util;
pub mod token;
mod word_error;
pub use policy::{Request, RequestError};
pub use word_error::WordError;
