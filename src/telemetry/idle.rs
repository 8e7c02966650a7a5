//! Without the feature `metrics`: what would be counted is not, and no code is left of it.

use crate::clock::Stopwatch;

#[inline]
pub(crate) fn register() {}

#[inline]
pub(crate) fn leased(_kind: &'static str, _since: Stopwatch) {}

#[inline]
pub(crate) fn signed(_since: Stopwatch) {}

#[inline]
pub(crate) fn denied(_rule: &'static str) {}

#[inline]
pub(crate) fn committed(_since: Stopwatch) {}

#[inline]
pub(crate) fn called(_method: &'static str, _outcome: &'static str, _since: Stopwatch) {}

#[inline]
pub(crate) fn renewed(_way: &'static str, _since: Stopwatch) {}

#[inline]
pub(crate) fn not_renewed(_way: &'static str, _kind: &'static str, _since: Stopwatch) {}

#[inline]
pub(crate) fn alarmed(_alarm: &'static str) {}
