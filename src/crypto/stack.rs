//! Work whose stack is wiped after it.
//!
//! Ciphers, hashes and curve points leave copies of their insides on the stack: keys as they are
//! expanded, the state of a MAC as it is moved, limbs of a scalar. Their own wiping does not reach
//! these, and a struct that is later built there takes them along in its gaps, to the heap even.
//! `tests/it/memory` shows what is left: the depths below reach beyond what is used.

use zeroize::zeroize_stack;

/// Frames that are not optimised are several times as large, most of all with AVX-512.
const SCALE: usize = if cfg!(debug_assertions) { 8 } else { 1 };
/// How deep one record goes, in bytes: `aes` expands its round keys in up to 4 KiB (VAES-512).
const RECORD: usize = SCALE * 5 * 1024;
/// How deep a MAC goes, in bytes.
const SHALLOW: usize = SCALE * 4 * 1024;
/// How deep a key derivation, an envelope or a curve goes, in bytes.
const DEEP: usize = SCALE * 16 * 1024;

/// Does what takes MACs or hashes, then wipes the 4 KiB of stack below the caller.
///
/// What it returns is moved through the caller's own frame: let that be public or a pointer.
#[inline(always)]
pub(crate) fn wiped_shallow<T>(work: impl FnOnce() -> T) -> T {
    wiped_to::<SHALLOW, T>(work)
}

/// As [`wiped_shallow`], for one record that is sealed or opened: 5 KiB. It costs about a tenth of a
/// microsecond, so the cipher leaves it to whoever knows that the work is done: the store.
#[inline(always)]
pub(crate) fn wiped_record<T>(work: impl FnOnce() -> T) -> T {
    wiped_to::<RECORD, T>(work)
}

/// As [`wiped_shallow`], for what derives keys from passwords or computes on the curve: 16 KiB.
#[inline(always)]
pub(crate) fn wiped<T>(work: impl FnOnce() -> T) -> T {
    wiped_to::<DEEP, T>(work)
}

#[inline(always)]
fn wiped_to<const DEPTH: usize, T>(work: impl FnOnce() -> T) -> T {
    let done = below(work);
    zeroize_stack::<DEPTH>();
    done
}

/// Keeps the work's frames out of the caller's.
#[inline(never)]
fn below<T>(work: impl FnOnce() -> T) -> T {
    work()
}
