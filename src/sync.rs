//! What the parts that many threads share in memory are synchronised by: the standard library's, and
//! in `tests/interleavings` those of a model checker, which runs the very same files.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
