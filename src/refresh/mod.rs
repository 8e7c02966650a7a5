//! Renewal before the end: when to renew, how to wait after a failure, whom to tell, and the one
//! task that does it.
//!
//! ```text
//! windows    pure: (end, lifetime, now) → fresh, advisory, mandatory, expired; whose turn it is
//! failure    why an attempt failed, and how long the next one waits
//! notice     what a human is told, and when
//! state      pure: (state, event, now) → (state, actions), drawn as a table
//! queue      what is due and waits for room: who goes first, and how many at once
//! agenda     tokens in their order
//! task       one task for all tokens, asleep until the earliest deadline
//! tracker    what it is told, and what it tells
//! ```
//!
//! It knows neither HTTP nor sled: what renewing a token means is behind [`Renew`].

mod agenda;
mod failure;
mod notice;
mod queue;
mod state;
mod task;
mod tracker;
mod windows;

pub(crate) use failure::Failure;
pub(crate) use notice::Notice;
pub use state::Standing;
pub(crate) use state::{Event, Life, Outlook, State, Verdict};
pub(crate) use task::{Errand, Refresher, Renew};
pub(crate) use tracker::{Tracker, channel};
pub use windows::Phase;
pub(crate) use windows::{WindowSettings, Windows};
