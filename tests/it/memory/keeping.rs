//! An allocator that counts, and, once told so, never hands freed memory out again.
//!
//! A buffer that was freed unwiped is usually overwritten soon, by whoever gets its memory next:
//! a search of the memory would miss it more often than not. So the child of `memory` gives
//! nothing back, and what was freed stays as it was left.
#![expect(unsafe_code, reason = "there is no allocator without it; each call is the system's own")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

#[global_allocator]
static ALLOCATOR: Keeping = Keeping(AtomicBool::new(false));

struct Keeping(AtomicBool);

/// From here on, for the whole process.
pub(crate) fn keep_what_is_freed() {
    ALLOCATOR.0.store(true, Ordering::Relaxed);
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// How many buffers this thread has asked for so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.get()
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: each method passes its arguments on to the system's allocator, or keeps memory that
// nobody refers to any more.
unsafe impl GlobalAlloc for Keeping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller vouches for what `alloc` demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    // Growing by the trait's own `realloc`, which allocates, copies and frees, leaves the old
    // buffer where it was.
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if !self.0.load(Ordering::Relaxed) {
            // SAFETY: as above.
            unsafe { System.dealloc(place, layout) }
        }
    }
}
