//! Bytes from outside → one line of secret text, in a buffer of fixed size that is wiped.

use super::error::ProviderError;
use std::io::{self, Read};
use zeroize::Zeroizing;

/// The longest secret that is read, in bytes, its line's end included.
pub(super) const LINE_MAX: usize = 4096;

/// Why nothing was read.
#[derive(Debug)]
pub(super) enum Unread {
    Io(io::Error),
    TooLong { most: usize },
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What was read: it never grows, so that no copy of it is left behind.
pub(super) struct Line {
    bytes: Zeroizing<Box<[u8]>>,
    len: usize,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { bytes: Zeroizing::new(vec![0; LINE_MAX + 1].into()), len: 0 }
    }

    /// Adds a byte; `false` where there is no more room.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        let room = self.len < LINE_MAX;
        if room {
            self.bytes[self.len] = byte;
            self.len += 1;
        }
        room
    }

    /// Takes the last character back, all its bytes.
    pub(super) fn pop(&mut self) {
        while self.len > 0 {
            self.len -= 1;
            let byte = std::mem::take(&mut self.bytes[self.len]);
            if byte & 0xc0 != 0x80 {
                break;
            }
        }
    }

    /// Takes everything back.
    pub(super) fn clear(&mut self) {
        self.bytes[..self.len].fill(0);
        self.len = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first line as text, without its end.
    pub(super) fn text(&self) -> Result<&str, ProviderError> {
        let read = &self.bytes[..self.len];
        let line = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match std::str::from_utf8(line) {
            Ok("") => Err(ProviderError::Empty),
            Ok(text) => Ok(text),
            Err(_) => Err(ProviderError::NoText),
        }
    }
}

/// Reads to the end.
pub(super) fn line(from: &mut impl Read) -> Result<Line, Unread> {
    let mut line = Line::new();
    loop {
        match from.read(&mut line.bytes[line.len..]) {
            Ok(0) => return Ok(line),
            Ok(read) => line.len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if line.len > LINE_MAX {
            return Err(Unread::TooLong { most: LINE_MAX });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts_without_its_end() {
        for (bytes, text) in [
            (&b"secret"[..], "secret"),
            (b"secret\n", "secret"),
            (b"secret\r\n", "secret"),
            (b"secret\nlogin: me\n", "secret"),
            (b" sec ret \n", " sec ret "),
        ] {
            assert_eq!(line(&mut &bytes[..]).unwrap().text().unwrap(), text);
        }
    }

    #[test]
    fn a_character_is_taken_back_whole_and_leaves_nothing() {
        let mut line = Line::new();
        for byte in "aü€".bytes() {
            assert!(line.push(byte));
        }
        line.pop();
        assert_eq!(line.text().unwrap(), "aü");
        line.pop();
        line.pop();
        line.pop();
        assert!(line.is_empty() && line.bytes.iter().all(|byte| *byte == 0));
        (0..LINE_MAX).for_each(|_| assert!(line.push(b'x')));
        assert!(!line.push(b'x'));
        line.clear();
        assert!(line.is_empty() && line.bytes.iter().all(|byte| *byte == 0));
    }
}
