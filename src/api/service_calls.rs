//! The calls that are not about tokens, and that BitGo's own SDK makes, too.

use super::asked::Auth;
use super::client::Client;
use super::endpoint::Endpoint;
use super::error::ApiError;
use super::wire::{ClientConstants, Pong, User};

impl Client {
    /// Asks whether the service answers. Nothing vouches for the answer but the connection.
    ///
    /// # Errors
    /// What any call may meet.
    pub async fn ping(&self) -> Result<Pong, ApiError> {
        self.get(Endpoint::Ping, None).await?.read(Pong::parse)
    }

    /// Fetches the constants that BitGo's SDK asks for. Nothing vouches for the answer but the
    /// connection: nothing here acts upon it.
    ///
    /// # Errors
    /// What any call may meet.
    pub async fn client_constants(&self) -> Result<ClientConstants, ApiError> {
        self.get(Endpoint::Constants, None).await?.read(ClientConstants::parse)
    }

    /// Fetches who the bearer is: id and name, no more of a person is kept.
    ///
    /// # Errors
    /// What any call may meet.
    pub async fn me(&self, auth: Auth<'_>) -> Result<User, ApiError> {
        self.get(Endpoint::Me, Some(auth)).await?.read(User::parse)
    }
}
