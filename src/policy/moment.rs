//! When something happens, by every clock that policy goes by.

use std::time::Duration;

/// When something happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// In the clock's monotonic time.
    pub(crate) monotonic: Duration,
    /// By the server's clock, in milliseconds since 1970, as far as it was heard; 0 where it is not
    /// known.
    pub(crate) server_ms: i64,
    /// By the machine's clock, likewise.
    pub(crate) wall_ms: i64,
}

impl Moment {
    /// The later of the two clocks, which is what tokens end by.
    pub(crate) fn latest_ms(&self) -> i64 {
        self.server_ms.max(self.wall_ms)
    }
}
