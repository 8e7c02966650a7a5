//! The secrets beside the token: wallet passphrases, and tokens for what cannot be signed.
//!
//! # A wallet's passphrase
//!
//! A wallet's key is encrypted under a passphrase, which whoever signs a transaction must have. It is not
//! the token's, and **the vault never holds it**: token and wallet key in one place would make two
//! factors one. Where you made both the token and the wallet it is the passphrase you chose for the
//! wallet; else it is your BitGo login passphrase.
//!
//! | the wallet | who signs | the bot needs |
//! |---|---|---|
//! | custodial | BitGo, after its own policies and approvals | the token alone: `tx/initiate` |
//! | self-custody, by your own signer | your signer, which has the passphrase | the token: `tx/build`, then `tx/send` of what the signer made, at declared amounts ([`policies`](super::policies)) |
//! | self-custody, by BitGo Express | Express, which is told the passphrase | the token itself, see below |
//!
//! **BitGo Express** signs its own requests to BitGo. By its published source it takes the bearer that it is
//! called with for the access token, so that it wants the token itself: in what the vault signed stands the
//! token's SHA-256, and Express has no use for it. Give Express a token of its own, with a small limit and
//! one wallet, and hand it out by `rawExposure`, or outside of the vault: what Express sends no local rule sees,
//! and BitGo's own limit is its bound. `walletPassphrase` goes to your Express on this machine, never to
//! BitGo: [`Vault::send`] refuses `sendcoins` and `sendmany` but where the vault's own environment is on this
//! machine.
//!
//! A [`Request`]'s body is wiped when it is dropped, and none of it stands in a log or an error. What the
//! bot read the passphrase into is the bot's to wipe. Leave it out of what is checked: no rule reads it.
//!
//! Keep it where the vault's passphrase is not: a credential of its own
//! ([`containers`](super::containers)), read when it is used.
//!
//! # What cannot be signed
//!
//! The vault signs HTTP requests, one by one. Two of BitGo's ways in are none:
//!
//! * **WebSocket** (order books, order updates): the token travels when the connection is opened, and nothing
//!   is signed after that. It wants the scope `trade_view`.
//! * **FIX**: the token is the password of the logon. By BitGo's pages it wants `trade_fix`, `trade_view` and
//!   `trade_trade`: a token that trades.
//!
//! Whoever has such a connection has the token. So give it **a token of its own**. For the WebSocket one
//! **that only views**, from one address: then the vault's promise about spends loses nothing. Orders go over
//! REST, signed.
//!
//! ```console
//! $ bitgo-vault issue feed --scope trade_view --no-limit --ip 203.0.113.7
//! $ echo '{"actions": ["view"], "rawExposure": true}' | bitgo-vault policy set feed --loosen
//! $ bitgo-vault exec feed -- ./price-feed          # finds it in BITGO_ACCESS_TOKEN
//! ```
//!
//! From a program: [`Lease::expose_token`]. A token that only views charges nothing when it is handed out.
//! When it is renewed or revoked the connection has the former one: open it anew.
//!
//! For FIX, BitGo's own bounds are the only ones: no local rule sees an order. Let its token trade and nothing
//! else (no `wallet_spend`), on an account with no more in it than may be lost.
//!
//! [`Vault::send`]: crate::Vault::send
//! [`Request`]: crate::Request
//! [`Lease::expose_token`]: crate::Lease::expose_token
