//! Renewal before the end: when to renew, how to wait after a failure, and the one task that does it.
//!
//! ```text
//! schedule   pure: (expiry, lifetime, failures, now) → renew now, or sleep until
//! task       one task for all tokens, asleep until the earliest deadline
//! ```
//!
//! It knows neither HTTP nor sled: what renewing a token means is behind [`Renew`].

mod schedule;
mod task;

pub use schedule::Phase;
pub(crate) use schedule::{Failure, Schedule, Windows};
pub(crate) use task::{Flight, Refresher, Renew, Renewed, Tracker, channel};
