//! Counts key derivations on this thread, so that a test can show that a refused envelope costs
//! none.

use std::cell::Cell;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

pub(super) fn count() {
    CALLS.set(CALLS.get() + 1);
}

pub(crate) fn so_far() -> u64 {
    CALLS.get()
}
