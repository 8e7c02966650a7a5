//! The emulator held against PROTOCOL.md, call by call, below the client's own methods.

mod faults;
mod minting;
mod oauth;
#[cfg(feature = "cli")]
mod program;
mod refusals;
mod spending;
mod unlock;
mod visitor;
