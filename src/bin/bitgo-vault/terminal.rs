//! The terminal is left as it was found, also where the command is ended while it asks for a secret.

use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, tcgetattr, tcgetpgrp, tcsetattr};
use std::fs::File;
use std::process::exit;
use std::thread;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell makes of a program that SIGTERM ended.
const TERMINATED: i32 = 128 + 15;

/// From now on SIGTERM gives the terminal its echo back before it ends the process. Ctrl-C needs none of
/// this: a prompt reads it as a key.
pub(crate) fn leave_as_found() {
    let Ok(terminal) = File::open("/dev/tty") else { return };
    let Ok(before) = tcgetattr(&terminal) else { return };
    let Ok(runtime) = Builder::new_current_thread().enable_io().build() else { return };
    let entered = runtime.enter();
    // Before anything is asked, so that no signal meets the default.
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    drop(entered);
    // Of its own: while somebody types, nothing else is done on the command's thread.
    thread::spawn(move || {
        runtime.block_on(terminate.recv());
        // Who sets it from the background stops its whole job, whoever else is in that.
        if tcgetpgrp(&terminal) == Ok(getpgrp()) {
            let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
        }
        exit(TERMINATED);
    });
}
