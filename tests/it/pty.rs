//! A terminal, as a process at the other end of it sees one.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::stdin;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Opens one: the end where a human sits, and the end where programs run.
pub(crate) fn open() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    // It is to be no terminal of this process.
    let flags = OpenptFlags::NOCTTY.bits().cast_signed();
    let theirs = File::options().read(true).write(true).custom_flags(flags).open(name).unwrap();
    (File::from(ours), theirs)
}

/// The child: takes the terminal that is its standard input for its own.
pub(crate) fn own() -> OwnedFd {
    setsid().unwrap();
    let terminal = stdin().as_fd().try_clone_to_owned().unwrap();
    ioctl_tiocsctty(&terminal).unwrap();
    terminal
}
