//! Black-box tests, one module a topic.

#[cfg(feature = "emulator")]
mod api;
mod floors;
mod vectors;
