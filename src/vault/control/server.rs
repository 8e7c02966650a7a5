//! The end of the control socket that the vault serves. It does not keep the vault open.

use super::client::{ControlRenewal, ControlVerdict};
use super::{Ask, ControlStatus, Declared, NAME, Reply, line};
use crate::error::{Error, ErrorKind};
use crate::money::Coin;
use crate::policy::{BODY_MAX, Request};
use crate::token::Label;
use crate::vault::core::Core;
use crate::vault::{check, reconciliation, renewal};
use serde::Serialize;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// The longest request, in bytes: the body of one that is to be checked is in it, of which JSON may spell
/// each byte with six, and what is declared of it.
const REQUEST_MAX: usize = 6 * BODY_MAX + (1 << 20);
/// The longest a request may take to come, and an answer to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many are let in at once, to speak, to wait for a place, or to be answered.
const CALLERS: usize = 32;
/// How many are answered at once. A freeze needs no place.
const PLACES: usize = 8;
/// How long to rest when no visitor can be let in: file descriptors may have run out.
const REST: Duration = Duration::from_millis(100);

/// Why a vault serves no control socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlUnavailable {
    /// It was switched off.
    #[error("the control socket was switched off")]
    Off,
    /// The path is longer than a socket's may be.
    #[error(
        "{} is too long for a socket, which may have 107 bytes: keep the vault under a shorter path",
        path.display()
    )]
    PathTooLong {
        /// Where it would be.
        path: PathBuf,
    },
    /// Something else is in its place.
    #[error("something else is at {}: remove it, then open the vault again", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// The system said no.
    #[error("the control socket could not be made: {kind}")]
    Io {
        /// What it said.
        kind: io::ErrorKind,
    },
}

/// The socket as it is served, or why it is not.
pub(in crate::vault) struct Server {
    state: Result<Served, ControlUnavailable>,
    /// Taken when it ends.
    task: Mutex<Option<JoinHandle<()>>>,
    end: Arc<Notify>,
}

/// A socket of ours: its path, and what was made there.
struct Served {
    path: PathBuf,
    made: (u64, u64),
}

impl Server {
    pub(in crate::vault) fn off() -> Self {
        Self { state: Err(ControlUnavailable::Off), task: Mutex::default(), end: Arc::default() }
    }

    /// Serves the vault in `dir`, which this process holds.
    pub(in crate::vault) fn start(dir: &Path, core: Weak<Core>, runtime: &Handle) -> Self {
        match bind(&dir.join(NAME)) {
            Ok((listener, served)) => {
                let end = Arc::new(Notify::new());
                let task = runtime.spawn(serve(listener, core, Arc::clone(&end)));
                Self { state: Ok(served), task: Mutex::new(Some(task)), end }
            }
            Err(why) => {
                tracing::warn!(
                    name: "control.absent", %why,
                    "the vault does without its control socket"
                );
                Self { state: Err(why), task: Mutex::default(), end: Arc::default() }
            }
        }
    }

    pub(super) fn path(&self) -> Result<&Path, &ControlUnavailable> {
        self.state.as_ref().map(|served| served.path.as_path())
    }

    /// Ends it; whoever is being answered hears no more. Then it holds nothing of the vault.
    pub(in crate::vault) async fn stop(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            self.end.notify_one();
            let _ = task.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
        // Only what was made here: somebody may have put another in its place.
        if let Ok(Served { path, made }) = &self.state
            && fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == *made)
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the socket. One that is there and that nobody serves was left by a process that is gone, for
/// this one holds the vault.
fn bind(path: &Path) -> Result<(UnixListener, Served), ControlUnavailable> {
    let io = |error: io::Error| ControlUnavailable::Io { kind: error.kind() };
    let occupied = || ControlUnavailable::Occupied { path: path.into() };
    if net::SocketAddr::from_pathname(path).is_err() {
        return Err(ControlUnavailable::PathTooLong { path: path.into() });
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(occupied()),
        Ok(_) => match net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(io)?;
            }
            _ => return Err(occupied()),
        },
    }
    let listener = net::UnixListener::bind(path).map_err(io)?;
    // Who came before this is refused by what the kernel says of him.
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io)?;
    let found = fs::symlink_metadata(path).map_err(io)?;
    listener.set_nonblocking(true).map_err(io)?;
    let listener = UnixListener::from_std(listener).map_err(io)?;
    Ok((listener, Served { path: path.into(), made: (found.dev(), found.ino()) }))
}

async fn serve(listener: UnixListener, core: Weak<Core>, end: Arc<Notify>) {
    let mut visitors = JoinSet::new();
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        tokio::select! {
            // They end before this does, and with them what they hold of the vault.
            () = end.notified() => return visitors.shutdown().await,
            visitor = listener.accept(), if visitors.len() < CALLERS => match visitor {
                Ok((stream, _)) if line::is_ours(&stream) => {
                    visitors.spawn(hear(stream, Weak::clone(&core), Arc::clone(&places)));
                }
                Ok(_) => tracing::warn!(
                    name: "control.stranger",
                    "another user was refused at the control socket"
                ),
                Err(error) => {
                    tracing::warn!(
                        name: "control.failed", %error,
                        "nobody can be let in at the control socket"
                    );
                    sleep(REST).await;
                }
            },
            Some(_) = visitors.join_next() => {}
        }
    }
}

/// Hears one request, and answers it. Whoever asks BitGo may be long about it: a freeze waits for none.
async fn hear(stream: UnixStream, core: Weak<Core>, places: Arc<Semaphore>) {
    let Ok(Ok(request)) = timeout(PATIENCE, line::read(&stream, REQUEST_MAX)).await else { return };
    let ask = serde_json::from_slice(&request);
    drop(request);
    let told = match ask {
        Ok(ask @ Ask::Freeze {}) => answer(ask, &core).await,
        Ok(ask) => match timeout(PATIENCE, places.acquire()).await {
            Ok(Ok(_place)) => answer(ask, &core).await,
            _ => {
                Ok(refusal("too many are being answered: ask again in a moment", ErrorKind::InUse))
            }
        },
        Err(_) => Ok(refusal("the request cannot be read", ErrorKind::Usage)),
    };
    let told = told.unwrap_or_else(|error| refusal(&error.to_string(), error.kind()));
    let _ = timeout(PATIENCE, line::write(&stream, told)).await;
}

fn refusal(why: &str, kind: ErrorKind) -> Vec<u8> {
    let told = Reply::<()>::Error { error: why.into(), kind: kind.as_str().into() };
    serde_json::to_vec(&told).unwrap_or_default()
}

fn ok(answer: impl Serialize) -> Result<Vec<u8>, Error> {
    Ok(serde_json::to_vec(&Reply::Ok { ok: answer })
        .unwrap_or_else(|_| refusal("the answer cannot be written", ErrorKind::Other)))
}

async fn answer(ask: Ask, core: &Weak<Core>) -> Result<Vec<u8>, Error> {
    let core = core.upgrade().ok_or(Error::Closed)?;
    match ask {
        Ask::Status {} => ok(ControlStatus::of(&core)),
        Ask::Freeze {} => {
            core.store.freeze().engage();
            core.blocking(|core| core.store.freeze_durably(core.clock.now())).await??;
            ok(())
        }
        Ask::Renew { label } => {
            let label = Label::new(&label)?;
            if core.entry(&label)?.held().is_some_and(|held| held.is_unverified()) {
                reconcile(&core, label).await?;
                return ok(ControlRenewal::Verified);
            }
            renewal::begin(&core, &label)?;
            ok(ControlRenewal::Begun)
        }
        Ask::Reconcile { label } => {
            reconcile(&core, Label::new(&label)?).await?;
            ok(())
        }
        Ask::Audit { entries } => {
            let lines = core.blocking(move |core| core.store.audit_tail(entries)).await??;
            ok(lines)
        }
        Ask::Check { label, method, target, body, declared } => {
            let mut request = Request::of_parts(&method, &target, body.into_bytes())?;
            for Declared { coin, amount, destination } in declared {
                request = request.declaring(&Coin::new(&coin)?, amount.parse()?, &destination);
            }
            match check::explain(&core, Label::new(&label)?, &request)?.verdict() {
                Ok(()) => ok(ControlVerdict { denied_by: None, see: None, reason: None }),
                Err(denied) => ok(ControlVerdict {
                    denied_by: Some(denied.rule().as_str().into()),
                    see: Some(denied.rule().runbook().into()),
                    reason: Some(denied.reason().into()),
                }),
            }
        }
    }
}

async fn reconcile(core: &Arc<Core>, label: Label) -> Result<(), Error> {
    let reconciled = core.run_to_end(async move |core| {
        let entry = core.entry(&label)?;
        reconciliation::reconcile(&core, &label, &entry).await
    });
    reconciled.await
}
