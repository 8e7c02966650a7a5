//! How a kept token proves itself: it signs, or it travels where that was chosen.

use super::core::Core;
use super::entry::Held;
use crate::api::Auth;
use crate::crypto::{AuthKey, AuthVersion};
use crate::error::Error;
use crate::secret::AccessToken;

/// Whose HTTP client sends the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// The bot's own, which must not see a token.
    Bot,
    /// The vault's.
    Vault,
}

/// A token made ready to vouch for a request.
pub(super) enum Credential {
    /// By HMAC; the token stays here.
    Signs(Box<AuthKey>, AuthVersion),
    /// The token itself goes along, over TLS or within this machine.
    Travels(AccessToken),
}

impl Credential {
    /// Readies a token. Every token that arrives or is used comes through here: one that cannot
    /// sign is refused unless the vault was opened to take it.
    pub(super) fn of(core: &Core, token: &AccessToken) -> Result<Self, Error> {
        match token.can_sign() {
            true => Ok(Self::Signs(AuthKey::new(token), core.auth_version)),
            false if core.accepts_clear => Ok(Self::Travels(AccessToken::new(token.expose()))),
            false => Err(Error::CannotSign),
        }
    }

    pub(super) fn auth(&self) -> Auth<'_> {
        match self {
            Self::Signs(key, version) => Auth::Hmac(key, *version),
            Self::Travels(token) => Auth::Bearer(token),
        }
    }
}

/// Readies the key of a token that is held, from where keys of tokens in use are kept, else from the
/// token, and answers the token itself where it has to travel.
pub(super) fn ready(
    core: &Core,
    held: &Held,
    key: &mut AuthKey,
) -> Result<Option<AccessToken>, Error> {
    match core.keys.read(&held.key, key) {
        true => Ok(None),
        false => open(core, held, key),
    }
}

#[cold]
fn open(core: &Core, held: &Held, key: &mut AuthKey) -> Result<Option<AccessToken>, Error> {
    let token = core.store.open_secret(held.record.lineage, &held.secret)?.token;
    match token.can_sign() {
        true => {
            key.ready(&token);
            core.keys.keep(&held.key, key);
            Ok(None)
        }
        false if core.accepts_clear => Ok(Some(token)),
        false => Err(Error::CannotSign),
    }
}
