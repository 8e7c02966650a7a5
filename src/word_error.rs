//! What is wrong with a word that was to become one of floor 0's types.

/// A piece of text that is not the word it should be. The text itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordError {
    /// Not a coin name.
    #[error("not a coin name: 1 to 100 ASCII letters, digits and : . _ - are wanted")]
    Coin,
    /// Not an amount.
    #[error("not an amount: plain digits in the coin's base unit are wanted, below 2^128")]
    Amount,
    /// Not an amount in whole units of a coin.
    #[error(
        "not an amount of whole units: digits are wanted, and behind a point no more of them than the \
         coin has decimals"
    )]
    WholeUnits,
    /// Not an id.
    #[error("not an id: 32 lower-case hex digits are wanted")]
    Id,
    /// Not a label.
    #[error("not a label: 1 to 128 bytes without control characters are wanted")]
    Label,
    /// Not a scope.
    #[error("not a scope: lower-case letters, digits, _ and a wallet id after : are wanted")]
    Scope,
    /// Not a root URI.
    #[error("not a usable root uri: https://host[:port] is wanted, or http:// on loopback")]
    RootUri,
    /// Not an extended public key.
    #[error("not a server key: an xpub with its checksum is wanted, never a private key")]
    ServerXpub,
    /// Not a seed of one-time passwords.
    #[error("not a totp seed: base32 for 10 to 128 bytes is wanted")]
    TotpSeed,
}
