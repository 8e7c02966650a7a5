//! What the vault tells to who watches it from outside: spans and events of `tracing`, and with the
//! feature `metrics` counters, gauges and histograms. Nothing of it is secret, and nothing of it is
//! paid for where nobody watches.
//!
#![doc = include_str!("../../docs/TELEMETRY.md")]

#[cfg(not(feature = "metrics"))]
mod idle;
#[cfg(feature = "metrics")]
mod live;

#[cfg(not(feature = "metrics"))]
pub(crate) use idle::{
    alarmed, called, committed, denied, leased, not_renewed, register, renewed, signed,
};
#[cfg(feature = "metrics")]
pub(crate) use live::{
    TokenGauges, TokenNumbers, alarmed, called, committed, denied, leased, not_renewed, register,
    renewed, signed,
};
