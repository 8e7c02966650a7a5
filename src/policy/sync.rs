//! The locks of what many threads draw on.

pub(super) use crate::sync::{AtomicI64, AtomicU64, Condvar, Mutex, MutexGuard, Ordering};

use std::sync::PoisonError;

/// The guard even where another thread panicked: what stands behind it is changed by functions that
/// leave it whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn wait<'a, T>(landed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    landed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}
