//! A prompt on the process's terminal, without echo.
//!
//! The terminal is read byte by byte, with its signals switched off: Ctrl-C cancels here instead of
//! ending a process whose terminal would then stay without echo.

use super::error::ProviderError;
use super::input::Line;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use std::fs::File;
use std::io::{self, Read, Write};

const TERMINAL: &str = "/dev/tty";

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// Asks for `what`, and reads until the line's end.
pub(super) fn ask(what: &str) -> Result<Line, ProviderError> {
    let terminal = File::options().read(true).write(true).open(TERMINAL);
    let mut quiet = Quiet::new(terminal.map_err(ProviderError::NoTerminal)?)
        .map_err(|error| ProviderError::NoTerminal(error.into()))?;
    quiet.ask(what).map_err(unreadable)?
}

fn unreadable(source: io::Error) -> ProviderError {
    ProviderError::Unreadable { what: "the terminal".into(), source }
}

/// A terminal that shows nothing and sends no signals, until it is dropped.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new(terminal: File) -> rustix::io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes &=
            !(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        // What was typed before it was asked for is dropped: it was meant for somebody else.
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }

    fn ask(&mut self, what: &str) -> io::Result<Result<Line, ProviderError>> {
        write!(self.terminal, "{what}: ")?;
        let typed = self.type_in()?;
        writeln!(self.terminal)?;
        Ok(typed)
    }

    fn type_in(&mut self) -> io::Result<Result<Line, ProviderError>> {
        let mut line = Line::new();
        let mut byte = [0];
        loop {
            match self.terminal.read(&mut byte) {
                Ok(0) => return Ok(Err(ProviderError::Cancelled)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            match std::mem::take(&mut byte[0]) {
                b'\r' | b'\n' => return Ok(Ok(line)),
                CTRL_C => return Ok(Err(ProviderError::Cancelled)),
                CTRL_D if line.is_empty() => return Ok(Err(ProviderError::Cancelled)),
                BACKSPACE | DELETE => line.pop(),
                CTRL_U => line.clear(),
                typed => {
                    if !line.push(typed) {
                        return Ok(Err(ProviderError::TooLong { most: super::input::LINE_MAX }));
                    }
                }
            }
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing more.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
