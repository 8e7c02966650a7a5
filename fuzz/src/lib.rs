//! What more than one target needs.

mod envelopes;
mod heap;
mod script;

pub use envelopes::{is_cheap, parse_then_open, round_trip};
pub use heap::peak_heap;
pub use script::Script;
