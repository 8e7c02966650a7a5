//! The runtime that a vault lives on, its caller's or its own, and how a thread waits for it.

use crate::error::Error;
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long somebody else's runtime may take to turn before it counts as one that nobody turns.
const PATIENCE: Duration = Duration::from_secs(5);

/// A runtime. One of the vault's own ends, in the background, with the last clone of this.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    handle: Handle,
    _own: Option<Arc<oneshot::Sender<()>>>,
}

impl Runtime {
    /// The one that this is called in.
    pub(super) fn current() -> Result<Self, Error> {
        let handle = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        Ok(Self { handle, _own: None })
    }

    /// One of its own, turned by one thread. Nobody joins that thread: the last of what lives on the
    /// runtime may be dropped on it.
    pub(super) fn own() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (own, gone) = oneshot::channel();
        let turn = move || drop(runtime.block_on(gone));
        thread::Builder::new().name("bitgo-vault".into()).spawn(turn)?;
        Ok(Self { handle, _own: Some(Arc::new(own)) })
    }

    /// The same, for who does not keep it.
    pub(super) fn unowned(&self) -> Self {
        Self { handle: self.handle.clone(), _own: None }
    }

    /// Runs a future on this thread, which sleeps meanwhile. Its timers, sockets and tasks are the
    /// runtime's, whatever other runtime this thread belongs to.
    pub(super) fn wait<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        if self.is_turned_here() {
            return Err(Error::WouldDeadlock);
        }
        if self._own.is_none() {
            self.check_turned()?;
        }
        let _entered = self.enter();
        // The budget of a task here is another runtime's, and what it puts off waits for that.
        let mut future = pin!(tokio::task::unconstrained(future));
        let alarm = Arc::new(Alarm { rang: AtomicBool::new(false), sleeper: thread::current() });
        let waker = Waker::from(Arc::clone(&alarm));
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Ok(output);
            }
            alarm.sleep();
        }
    }

    /// Refuses a runtime that ended, or that nobody turns: one of a single thread turns in its `block_on`
    /// alone.
    fn check_turned(&self) -> Result<(), Error> {
        let (turned, hear) = mpsc::channel();
        self.spawn(async move {
            let _ = turned.send(());
        });
        hear.recv_timeout(PATIENCE).map_err(|missed| match missed {
            RecvTimeoutError::Timeout => Error::WouldDeadlock,
            RecvTimeoutError::Disconnected => Error::Interrupted,
        })
    }

    /// Whether it is this thread that turns the runtime. There a runtime puts off what yields, and
    /// anywhere else wakes it at once.
    fn is_turned_here(&self) -> bool {
        if !Handle::try_current().is_ok_and(|current| current.id() == self.id()) {
            return false;
        }
        let alarm = Arc::new(Alarm { rang: AtomicBool::new(false), sleeper: thread::current() });
        let waker = Waker::from(Arc::clone(&alarm));
        let yielding = pin!(tokio::task::yield_now());
        let _ = yielding.poll(&mut Context::from_waker(&waker));
        !alarm.rang.load(Ordering::Acquire)
    }
}

impl Deref for Runtime {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

/// Wakes a thread. The flag is what counts: whatever a future does while it is polled may sleep as
/// well, and use up the thread's own token.
struct Alarm {
    rang: AtomicBool,
    sleeper: Thread,
}

impl Alarm {
    fn sleep(&self) {
        while !self.rang.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.sleeper.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, poll_fn};
    use tokio::task::{JoinError, spawn_blocking};
    use tokio::time::{sleep, timeout};

    /// Needs the runtime's timer and, for the task, its thread.
    async fn work() -> u32 {
        sleep(Duration::from_millis(1)).await;
        tokio::spawn(async { 7 }).await.unwrap()
    }

    fn refused(waited: Result<u32, Error>) -> bool {
        matches!(waited, Err(Error::WouldDeadlock))
    }

    #[test]
    fn any_thread_waits_for_a_runtime_of_its_own() {
        let runtime = Runtime::own().unwrap();
        assert_eq!(runtime.wait(work()).unwrap(), 7, "with no runtime");
        let waits = {
            let runtime = runtime.clone();
            move || runtime.wait(work()).unwrap()
        };
        for other in [Builder::new_current_thread(), Builder::new_multi_thread()] {
            let mut other = other;
            let other = other.enable_all().build().unwrap();
            other.block_on(async {
                assert_eq!(waits(), 7, "in another's main future");
                assert_eq!(tokio::spawn(async { 1 }).await.unwrap(), 1, "which goes on after");
                let waits = waits.clone();
                assert_eq!(tokio::spawn(async move { waits() }).await.unwrap(), 7, "in its task");
            });
            let waits = waits.clone();
            let blocked = other.block_on(async { spawn_blocking(waits).await });
            assert_eq!(blocked.unwrap(), 7, "on its thread that may block");
        }
    }

    /// A task has a budget of 128 steps, then is put off until its runtime comes to it.
    #[test]
    fn a_long_wait_in_a_task_of_another_runtime_is_not_put_off() {
        let runtime = Runtime::own().unwrap();
        let other = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let steps = async {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            for step in 0..1000 {
                sender.send(step).unwrap();
                receiver.recv().await;
            }
            7
        };
        let task = other.spawn(async move { runtime.wait(steps).unwrap() });
        assert_eq!(other.block_on(task).unwrap(), 7);
    }

    #[test]
    fn who_turns_a_runtime_does_not_wait_for_it() {
        let here = Builder::new_current_thread().enable_all().build().unwrap();
        here.block_on(async {
            let runtime = Runtime::current().unwrap();
            assert!(refused(runtime.wait(work())), "its main future");
            let task = {
                let runtime = runtime.clone();
                tokio::spawn(async move { runtime.wait(work()) })
            };
            assert!(refused(task.await.unwrap()), "its task");
            let waited: Result<_, JoinError> = spawn_blocking(move || runtime.wait(work())).await;
            assert_eq!(waited.unwrap().unwrap(), 7, "but another thread of it does");
        });
        let many = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        many.block_on(async {
            let runtime = Runtime::current().unwrap();
            assert_eq!(runtime.wait(work()).unwrap(), 7, "its main future turns nothing");
            let task = tokio::spawn(async move {
                assert!(refused(runtime.wait(work())), "its one worker");
                tokio::task::block_in_place(|| runtime.wait(work()))
            });
            assert_eq!(task.await.unwrap().unwrap(), 7, "a worker that handed its turn over");
        });
    }

    #[test]
    fn nobody_waits_for_a_runtime_that_nobody_turns_or_that_has_ended() {
        let still = Builder::new_current_thread().enable_all().build().unwrap();
        let runtime = still.block_on(async { Runtime::current().unwrap() });
        assert!(refused(runtime.wait(work())));
        drop(still);
        assert!(matches!(runtime.wait(work()), Err(Error::Interrupted)));
        let many = Builder::new_multi_thread().enable_all().build().unwrap();
        let runtime = many.block_on(async { Runtime::current().unwrap() });
        assert_eq!(runtime.wait(work()).unwrap(), 7, "its workers turn it");
        drop(many);
        assert!(matches!(runtime.wait(work()), Err(Error::Interrupted)));
    }

    #[test]
    fn a_wake_is_not_lost_where_polling_sleeps_too() {
        let runtime = Runtime::own().unwrap();
        let mut polled = 0;
        let future = poll_fn(|context| {
            polled += 1;
            if polled == 2 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            // Uses the token up, as a channel of std may.
            thread::park();
            Poll::Pending
        });
        runtime.wait(future).unwrap();
        assert_eq!(polled, 2);
    }

    #[test]
    fn its_own_ends_with_the_last_clone() {
        let runtime = Runtime::own().unwrap();
        let clone = runtime.clone();
        let (held, gone) = oneshot::channel::<()>();
        let task = runtime.spawn(async move {
            let _held = held;
            pending::<()>().await;
        });
        drop(runtime);
        assert_eq!(clone.wait(work()).unwrap(), 7, "it turns for the other clone");
        assert!(!task.is_finished());
        drop(clone);
        let other = Runtime::own().unwrap();
        let ended = other.wait(async { timeout(Duration::from_secs(60), gone).await });
        assert!(ended.unwrap().unwrap().is_err(), "what lived on it is dropped");
    }
}
