//! The keys of tokens in use, in locked memory: what signing needs is not the token.
//!
//! Made when a token is first used, wiped when it is renewed or removed, when its rules change, and
//! when the vault is frozen or closed. A token whose key is not kept is opened each time. What
//! cannot sign is never here: it has no key.

use crate::crypto::{AuthKey, CryptoError, KEY_WORDS, KeyPlace, KeySlots};
use crate::error::Error;
use crate::locked::{LockLevel, Locked};

/// How many keys are kept: 18 KiB of them, since locked memory is scarce (often 64 KiB a process).
const SLOTS: usize = 128;

pub(super) struct Keys(Locked<KeySlots<KEY_WORDS, SLOTS>>);

impl Keys {
    pub(super) fn new() -> Result<Self, Error> {
        let no_memory = |_| CryptoError::Key("the system gives no memory for it");
        let slots = Locked::new(KeySlots::new()).map_err(no_memory);
        Ok(Self(slots.map_err(Error::crypto("place for keys in use"))?))
    }

    /// Fills `key`, if the token's is kept. Where it is not, `key` may hold anything.
    pub(super) fn read(&self, place: &KeyPlace, key: &mut AuthKey) -> bool {
        self.0.read(place, key)
    }

    /// Keeps the token's key, unless the token has ended.
    pub(super) fn keep(&self, place: &KeyPlace, key: &AuthKey) {
        self.0.keep(place, key);
    }

    /// Wipes the token's key, for good.
    pub(super) fn end(&self, place: &KeyPlace) {
        self.0.end(place);
    }

    /// Wipes all keys, and keeps none until [`Keys::reopen`].
    pub(super) fn shut(&self) {
        self.0.shut();
    }

    /// Keeps keys again.
    pub(super) fn reopen(&self) {
        self.0.reopen();
    }

    /// How well they are kept.
    pub(super) fn level(&self) -> LockLevel {
        self.0.level()
    }
}
