//! The OAuth client of the account: refresh tokens, each good for one use.

use super::account::random_hex;
use crate::crypto::CryptoError;
use std::fmt;

/// What an OAuth client needs in order to refresh: the answer to its first login.
///
/// `Debug` shows none of it.
#[non_exhaustive]
pub struct OauthGrant {
    /// `client_id`
    pub client_id: String,
    /// `client_secret`
    pub client_secret: String,
    /// `refresh_token`: dead once it has been used.
    pub refresh_token: String,
}

impl fmt::Debug for OauthGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthGrant").finish_non_exhaustive()
    }
}

/// The account's OAuth client.
pub(super) struct OauthClient {
    id: String,
    secret: String,
    /// Every refresh token there was; the living ones by `true`.
    refresh_tokens: Vec<(String, bool)>,
}

impl OauthClient {
    pub(super) fn new() -> Result<Self, CryptoError> {
        let (id, secret) = (random_hex::<16>()?, random_hex::<32>()?);
        Ok(Self { id, secret, refresh_tokens: Vec::new() })
    }

    pub(super) fn is(&self, id: &str, secret: &str) -> bool {
        self.id == id && self.secret == secret
    }

    /// A refresh token beside those that live.
    pub(super) fn grant(&mut self) -> Result<OauthGrant, CryptoError> {
        let refresh_token = random_hex::<32>()?;
        self.refresh_tokens.push((refresh_token.clone(), true));
        let (client_id, client_secret) = (self.id.clone(), self.secret.clone());
        Ok(OauthGrant { client_id, client_secret, refresh_token })
    }

    /// Uses a refresh token up. Whether it lived.
    pub(super) fn redeem(&mut self, refresh_token: &str) -> bool {
        let living = self.refresh_tokens.iter_mut();
        let found = living.filter(|(_, lives)| *lives).find(|(token, _)| token == refresh_token);
        found.map(|(_, lives)| *lives = false).is_some()
    }

    /// All that must be found nowhere else, if a client was ever let in.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let secret = (!self.refresh_tokens.is_empty()).then_some(self.secret.as_str());
        self.refresh_tokens.iter().map(|(token, _)| token.as_str()).chain(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_is_good_once() {
        let mut client = OauthClient::new().unwrap();
        let grant = client.grant().unwrap();
        let other = client.grant().unwrap();
        assert!(client.is(&grant.client_id, &grant.client_secret));
        assert!(client.redeem(&grant.refresh_token));
        assert!(!client.redeem(&grant.refresh_token));
        assert!(client.redeem(&other.refresh_token));
        assert_eq!(client.secrets().count(), 3);
        assert!(!format!("{grant:?}").contains(&grant.refresh_token));
    }
}
