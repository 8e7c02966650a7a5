//! stub, replaced by the integrator
#![allow(missing_docs)]
pub mod api;
pub mod clock;
pub mod crypto;
pub mod environment;
pub mod money;
pub mod scope;
pub mod secret;
pub mod token;
mod word_error;
pub use word_error::WordError;
