//! A thread that does something four times a second, and a last time when it is stopped: std's own, so
//! that no blocked runtime holds it up.

use super::StoreError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it comes round.
const PERIOD: Duration = Duration::from_millis(250);

/// Which round it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    Regular,
    /// The store closes.
    Last,
}

/// Stopped and joined when it is dropped.
pub(super) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(super) fn start(
        name: &'static str,
        mut work: impl FnMut(Round) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            loop {
                let round = match stopped.recv_timeout(PERIOD) {
                    Err(RecvTimeoutError::Timeout) => Round::Regular,
                    _ => Round::Last,
                };
                // One round that panics must not end the watch over the kill switch.
                if catch_unwind(AssertUnwindSafe(|| work(round))).is_err() {
                    tracing::error!(name: "ticker.panicked", name, "a round panicked");
                }
                if round == Round::Last {
                    return;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_round_until_it_is_dropped_and_once_more_then() {
        let (tell, told) = mpsc::channel();
        let ticker = Ticker::start("test", move |round| {
            tell.send(round).unwrap();
            if round == Round::Regular {
                panic!("a round that panics is not the last");
            }
        });
        let ticker = ticker.unwrap();
        for _ in 0..2 {
            assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(Round::Regular));
        }
        drop(ticker);
        assert_eq!(told.iter().last(), Some(Round::Last));
    }
}
