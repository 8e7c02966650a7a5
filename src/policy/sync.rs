//! The locks of what many threads draw on. A model checker puts its own in their place
//! (tests/interleavings).

pub(super) use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};

use std::sync::PoisonError;

/// The guard even where another thread panicked: what stands behind it is changed by functions that
/// leave it whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn wait<'a, T>(landed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    landed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}
