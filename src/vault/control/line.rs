//! One line over a Unix socket, of a length that is known to be enough.

use std::io::{self, ErrorKind};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

/// Reads up to the end of a line, which is not part of it. It may hold a request's body.
pub(super) async fn read(stream: &UnixStream, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let (mut line, mut chunk) = (Zeroizing::new(Vec::new()), Zeroizing::new([0; 4096]));
    loop {
        stream.readable().await?;
        let read = match stream.try_read(&mut chunk[..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => chunk.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let end = read.iter().position(|byte| *byte == b'\n');
        line.extend(read.iter().take(end.unwrap_or(read.len())));
        if line.len() > most {
            return Err(io::Error::new(ErrorKind::InvalidData, "a line is too long"));
        }
        if end.is_some() {
            return Ok(line);
        }
    }
}

pub(super) async fn write(stream: &UnixStream, line: Vec<u8>) -> io::Result<()> {
    let mut line = Zeroizing::new(line);
    line.push(b'\n');
    let mut rest = &line[..];
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the other end is a process of the same user.
pub(super) fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own)
}
