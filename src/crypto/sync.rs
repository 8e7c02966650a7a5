//! What the slots of keys are synchronised by: `tests/interleavings` puts a model of memory here.

pub(super) use std::sync::Mutex;
pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
