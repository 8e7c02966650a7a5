//! stub
#![allow(missing_docs)]
pub mod api;
pub mod clock;
pub mod crypto;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod environment;
mod error;
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
mod vault;
mod word_error;
pub use api::ApiError;
pub use error::Error;
pub use policy::{Request, RequestError};
pub use store::StoreError;
pub use vault::{Vault, VaultBuilder};
pub use word_error::WordError;
