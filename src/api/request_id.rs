//! The id of a request, known here and at BitGo.
//!
//! It must name one request among all that were ever made with a token: in version 4 an answer is
//! bound to its request by it, in every version by its echo. And it should tell nobody how many
//! there were, or what the next will be called. So a thread draws a key from the system once, and
//! from it its ids: `AES-128[key](1)`, `AES-128[key](2)`, and so on, which never come twice. A draw for
//! each would cost half a microsecond. A forked child draws a key of its own.

use crate::crypto::{CryptoError, random};
use crate::locked::forks;
use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use base16ct::lower;
use getrandom::SysRng;
use http::header::HeaderValue;
use std::cell::RefCell;
use std::fmt;

pub(super) const REQUEST_ID: &str = "request-id";

/// The random id under which one request is known here and at BitGo (`Request-ID`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    #[cfg(test)]
    pub(super) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A new id.
    ///
    /// # Errors
    /// [`CryptoError::Entropy`] if the system gives no randomness.
    pub fn random() -> Result<Self, CryptoError> {
        thread_local! {
            static IDS: RefCell<Option<Ids>> = const { RefCell::new(None) };
        }
        let drawn = IDS.try_with(|ids| {
            let (mut ids, forks) = (ids.try_borrow_mut().ok()?, forks()?);
            Some(match ids.as_mut().filter(|ids| ids.forks == forks) {
                Some(ids) => Ok(ids.draw()),
                None => Ids::new(forks).map(|new| ids.insert(new).draw()),
            })
        });
        // A thread that is about to end has no ids of its own any more.
        drawn.ok().flatten().unwrap_or_else(|| Ok(Self(random(&mut SysRng)?)))
    }

    /// The 16 bytes that it stands for.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id as it stands in a `Request-ID` header.
    pub fn to_header(self) -> HeaderValue {
        HeaderValue::from_str(self.hex(&mut [0; 32])).expect("hex digits make a header")
    }

    /// The id in hex, written into `digits`.
    pub(super) fn hex(self, digits: &mut [u8; 32]) -> &str {
        lower::encode_str(&self.0, digits).expect("32 hex digits hold 16 bytes")
    }
}

/// What one thread's ids are drawn from.
struct Ids {
    cipher: Aes128,
    drawn: u128,
    /// As of when the key was drawn: a child's would be its parent's too.
    forks: u32,
}

impl Ids {
    fn new(forks: u32) -> Result<Self, CryptoError> {
        let key: [u8; 16] = random(&mut SysRng)?;
        Ok(Self { cipher: Aes128::new(&key.into()), drawn: 0, forks })
    }

    fn draw(&mut self) -> RequestId {
        self.drawn += 1;
        let mut id = self.drawn.to_le_bytes().into();
        self.cipher.encrypt_block(&mut id);
        RequestId(id.into())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex(&mut [0; 32]))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::thread;

    #[test]
    fn no_id_comes_twice_in_one_thread_or_in_two() {
        let draw = || (0..1000).map(|_| RequestId::random().unwrap()).collect::<Vec<_>>();
        let others = [thread::spawn(draw), thread::spawn(draw)];
        let mut ids: HashSet<_> = draw().into_iter().collect();
        for other in others {
            ids.extend(other.join().unwrap());
        }
        assert_eq!(ids.len(), 3000);
    }

    #[test]
    fn an_id_is_printed_in_32_lower_case_digits() {
        let id = RequestId([0xab; 16]);
        assert_eq!((id.to_string(), id.to_header()), ("ab".repeat(32 / 2), id.to_header()));
        assert_eq!(id.to_header().as_bytes(), "ab".repeat(16).as_bytes());
        assert_eq!(format!("{id:?}"), format!("RequestId({id})"));
    }
}
