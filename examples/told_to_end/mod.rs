//! SIGTERM and SIGINT, for examples that run for long: they close their vault, which gives back what
//! it had allotted.

use std::future::Future;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears the signals, those too that come while nobody waits.
pub(crate) struct End {
    term: Signal,
    int: Signal,
}

impl End {
    pub(crate) fn heard() -> io::Result<Self> {
        let (term, int) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Self { term: signal(term)?, int: signal(int)? })
    }

    /// What `work` comes to; `None` if the process was told to end before.
    pub(crate) async fn unless_told<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            _ = self.term.recv() => None,
            _ = self.int.recv() => None,
        }
    }
}
