//! What the vault tells by spans, events and metrics: as it is documented.

mod names;
