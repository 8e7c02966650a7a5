//! How a kept token proves itself: it signs, or it travels where that was chosen.

use super::core::Core;
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
    Signs(AuthKey, AuthVersion),
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

    /// Refuses a token that would travel by the bot's own client: it would see it.
    pub(super) fn check_for(&self, sender: Sender) -> Result<(), Error> {
        match (self, sender) {
            (Self::Travels(_), Sender::Bot) => Err(Error::SendOnly),
            _ => Ok(()),
        }
    }

    pub(super) fn auth(&self) -> Auth<'_> {
        match self {
            Self::Signs(key, version) => Auth::Hmac(key, *version),
            Self::Travels(token) => Auth::Bearer(token),
        }
    }
}
