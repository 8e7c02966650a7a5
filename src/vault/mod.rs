//! The vault: where store, policy, API and renewal are joined.
//!
//! ```text
//! audit       what the log tells, and what is noted for it
//! blocking    the same for code without a runtime
//! builder     options → create, unlock
//! control     a socket by which another process asks this one
//! core        what every part works on: store, client, clock, the tokens by label
//! events      what happens, told to who listens
//! entry       one token as it is held: sealed, replaced whole when renewed
//! entries     the tokens, by all that they are looked up by
//! keys        the keys of tokens in use, in locked memory
//! hands       tokens at hand, from which threads lease without meeting each other
//! credential  how a token proves itself: it signs, or it travels
//! freeze      the kill switch
//! import      a token that somebody has already
//! passphrase  its change, and what deriving from it costs
//! upkeep      another data key, a backup, tokens whose past was lost
//! login       a session from an account's password
//! mint        issue, fetch: from BitGo into the store
//! oauth       refresh tokens: what rotated is durable first
//! lease       policy → reservation (charges, durable) → signed (the request) → settled
//! check       the same as a dry run: every rule consulted
//! reissue     minted anew by a fresh login, before it ends
//! retire      what was replaced is revoked
//! runtime     what it lives on: its caller's, or its own
//! rules       the vault's own rules for a token: read, and edited
//! send        the same, with the vault's own HTTP client
//! clock_skew  a machine's clock that is wrong: found, made up for or told
//! refusals    that one refusal gives back one reservation
//! reconciliation  what BitGo counted, held against the ledger
//! export      what is known of the tokens, as JSON
//! gauges      how tokens stand, as metrics
//! renewal     what renewing a token means
//! probe       whether a token lives
//! remote      the tokens that BitGo lists, beside those that are kept
//! revoke      ended at BitGo, asked for until it is confirmed
//! session     unlocked, locked, ended at BitGo
//! totp        one-time passwords from a seed that is kept
//! ```

mod audit;
mod blocking;
mod builder;
mod check;
mod clock_skew;
mod control;
mod core;
mod credential;
mod entries;
mod entry;
mod events;
mod export;
mod freeze;
#[cfg(feature = "metrics")]
mod gauges;
mod hands;
mod import;
mod keys;
mod lease;
mod login;
mod mint;
mod minted;
mod oauth;
mod passphrase;
mod probe;
mod reconciliation;
mod refusals;
mod reissue;
mod remote;
mod renewal;
mod reservation;
mod retire;
mod revoke;
mod rules;
mod runtime;
mod send;
mod session;
mod signed;
mod totp;
mod upkeep;

pub use blocking::{BlockingBuilder, BlockingControl, BlockingEvents, BlockingVault};
pub use builder::VaultBuilder;
pub use control::{
    Control, ControlCounter, ControlError, ControlRenewal, ControlStatus, ControlToken,
    ControlUnavailable, ControlVerdict,
};
pub use entry::TokenStatus;
pub use events::{Alarm, Event, Events};
pub use lease::Lease;
pub use login::Login;
pub use remote::{RemoteToken, RemoteTokens};
pub use revoke::Revocation;
pub use send::Answer;
pub use signed::Signed;

use self::core::Core;
use self::credential::Sender;
use self::hands::Hands;
use self::reconciliation::Reconciler;
use crate::api::{CreateToken, OauthClient};
use crate::environment::Environment;
use crate::error::Error;
use crate::locked::LockLevel;
use crate::policy::Request;
use crate::provider::Provider;
use crate::refresh::Refresher;
use crate::secret::{Otp, Passphrase, RefreshToken};
use crate::token::Label;
use std::path::Path;
use std::sync::Arc;
use tracing::Instrument;

/// An unlocked vault. Cheap to clone; all clones are one vault.
///
/// What an operation answers with `Ok` is on disk, synced; a spend's settlement alone is not waited
/// for. `docs/DURABILITY.md` says it of each operation, and what a kill before leaves.
///
/// The last clone to go closes the store; [`Vault::close`] does it in order.
#[derive(Clone)]
pub struct Vault {
    core: Arc<Core>,
    hands: Arc<Hands>,
    /// Shared by the clones, so that these end with the last of them.
    refresher: Arc<Refresher>,
    reconciler: Arc<Reconciler>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("environment", &self.core.environment).finish_non_exhaustive()
    }
}

impl Vault {
    /// Begins to open the vault in the directory `path`, which speaks to `environment`.
    pub fn builder(path: impl AsRef<Path>, environment: Environment) -> VaultBuilder {
        VaultBuilder::new(path.as_ref(), Some(environment))
    }

    /// Begins to open a vault that exists, in the directory `path`, or one from a backup. It speaks to
    /// the environment that it was made for, which it keeps sealed.
    pub fn reopen(path: impl AsRef<Path>) -> VaultBuilder {
        VaultBuilder::new(path.as_ref(), None)
    }

    /// The BitGo that the vault speaks to.
    pub fn environment(&self) -> &Environment {
        &self.core.environment
    }

    /// Logs in and keeps the session as `label`. The login password opens the account's ECDH
    /// key, which is kept sealed: with it the vault opens the tokens that BitGo issues.
    ///
    /// A session with a one-time password may do all that the account may, for an hour or two; it is
    /// the only kind of token that mints others and manages users.
    ///
    /// Once begun it runs to its end, even if the future is dropped.
    ///
    /// # Errors
    /// [`Error::LabelTaken`]; [`Error::Provider`]; [`Error::Api`] with what BitGo said, such as
    /// [`OtpRequired`](crate::api::ApiError::OtpRequired); [`Error::Crypto`] for a wrong server key;
    /// [`Error::IssuedInClear`] or [`Error::NoEcdhKey`] for an account without an ECDH keychain, and
    /// [`Error::CannotSign`] for an older token (see
    /// [`VaultBuilder::dangerous_accept_tokens_in_clear`]);
    /// [`Error::ClockSkew`] or [`Error::ArrivedExpired`] if the clocks disagree; [`Error::Store`]. Nothing
    /// is kept then.
    pub async fn login(&self, label: &str, login: Login) -> Result<TokenStatus, Error> {
        let label = Label::new(label)?;
        let span = tracing::info_span!("vault.login", %label);
        self.core.run_to_end(|core| login::login(core, label, login).instrument(span)).await
    }

    /// Mints a long-lived token with the session kept as `session`, and keeps it under its own label;
    /// at BitGo it has that label and a random suffix. BitGo shows a token once: one that is lost, with
    /// the vault and its backups, is lost for good, and another has to be minted.
    ///
    /// Once begun it runs to its end, even if the future is dropped.
    ///
    /// # Errors
    /// [`Error::UnfitToken`] for what [`CreateToken::check`] refuses: nothing is sent. As
    /// [`Vault::login`]; [`Error::NoSuchToken`] where there is no such session. A token that was
    /// minted and cannot be kept is revoked; [`Error::Orphaned`] if that fails too. After an answer that
    /// was lost the token is looked for by its suffix and revoked; [`Error::Unresolved`] if it cannot
    /// be looked for.
    pub async fn issue(
        &self,
        session: &str,
        token: CreateToken,
        otp: impl Into<Provider<Otp>>,
    ) -> Result<TokenStatus, Error> {
        let (session, otp) = (Label::new(session)?, otp.into());
        let span = tracing::info_span!("vault.issue", label = token.label(), %session);
        self.core.run_to_end(|core| mint::issue(core, session, token, otp).instrument(span)).await
    }

    /// Fetches the user's internal token with the session kept as `session`, keeps it as
    /// `label`, and from then on renews it the same way.
    ///
    /// # Errors
    /// As [`Vault::issue`]. BitGo answers with the same token while that is young: where it is kept under
    /// another label, [`Error::KeptAlready`].
    pub async fn fetch_internal(&self, session: &str, label: &str) -> Result<TokenStatus, Error> {
        let (session, label) = (Label::new(session)?, Label::new(label)?);
        self.core.run_to_end(move |core| mint::fetch_internal(core, session, label)).await
    }

    /// Exchanges an OAuth client's refresh token for a token, keeps it as `label`, and from then on
    /// renews it the same way. BitGo rotates refresh tokens: the one that is given is spent by this, and
    /// its successor is on disk before anything else is done with the answer. Where the rest then
    /// fails, call it again: it goes on with the one that is kept.
    ///
    /// For an OAuth token that is kept as `label` already it takes the refresh token over, after
    /// [`Error::SignInAnew`] or BitGo's refusal of the one that is kept. Before, that is the only one
    /// that is good, and stays: [`Error::LabelTaken`].
    ///
    /// OAuth hands tokens out in clear, so that the vault must have been opened to take those
    /// ([`VaultBuilder::dangerous_accept_tokens_in_clear`]).
    ///
    /// # Errors
    /// [`Error::LabelTaken`]; [`Error::Api`]; [`Error::IssuedInClear`]; [`Error::SignInAnew`] where
    /// the refresh token was sent twice and nothing came of it that is known; [`Error::Store`].
    pub async fn sign_in_oauth(
        &self,
        label: &str,
        client: OauthClient,
        refresh_token: RefreshToken,
    ) -> Result<TokenStatus, Error> {
        let label = Label::new(label)?;
        self.core.run_to_end(move |core| oauth::sign_in(core, label, client, refresh_token)).await
    }

    /// Leases the token kept as `label` for exactly `request`, at once.
    ///
    /// A request that moves money waits for one durable write (milliseconds): in async code use
    /// [`Vault::lease_wait`].
    ///
    /// # Errors
    /// [`Error::Denied`] with the rule and its numbers; [`Error::NoSuchToken`];
    /// [`Error::SendOnly`] for a token that cannot sign, unless it may be exposed;
    /// [`Error::Store`] if the reservation cannot be made durable.
    pub fn lease<'r>(&self, label: &str, request: &'r Request) -> Result<Lease<'r>, Error> {
        let lease = lease::take(&self.hands, label, request);
        self.core.watched(label, lease)
    }

    /// Leases the token kept as `label` for exactly `request`; waits for a renewal where the
    /// token is about to end: at most a second while it is valid, at most 90 s once it is not.
    ///
    /// # Errors
    /// As [`Vault::lease`].
    pub async fn lease_wait<'r>(
        &self,
        label: &str,
        request: &'r Request,
    ) -> Result<Lease<'r>, Error> {
        let lease = lease::take_wait(&self.hands, label, request, Sender::Bot).await;
        self.core.watched(label, lease)
    }

    /// Checks, reserves, signs, sends, verifies and settles: the token is never seen. Waits for a
    /// renewal as [`Vault::lease_wait`] does.
    ///
    /// The answer is returned whatever its status, once its HMAC is verified. A token that cannot
    /// sign travels itself, and its answers bear no HMAC ([`Answer::is_verified`]): whatever they
    /// say, what the request moves counts as spent.
    ///
    /// # Errors
    /// [`Error::Denied`] before anything leaves. [`Error::Api`] with
    /// [`Unreachable`](crate::api::ApiError::Unreachable) if the server was not reached (the
    /// reservation is given back) or [`Lost`](crate::api::ApiError::Lost) if no whole answer came (it
    /// counts as spent).
    /// [`Error::Untrusted`] for an answer without a valid HMAC, or to another request (it counts as
    /// spent). [`Error::CannotSign`] for a token that would have to travel, unless the vault was
    /// opened to let it.
    pub async fn send(&self, label: &str, request: &Request) -> Result<Answer, Error> {
        let span = tracing::debug_span!("vault.send", label);
        let sent = send::send(&self.hands, label, request).instrument(span).await;
        self.core.watched(label, sent)
    }

    /// All tokens, by label.
    pub fn list(&self) -> Vec<TokenStatus> {
        self.core.list()
    }

    /// The token kept as `label`.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`].
    pub fn status(&self, label: &str) -> Result<TokenStatus, Error> {
        let label = Label::new(label)?;
        let entry = self.core.entry(&label)?;
        self.core.status(&entry).ok_or(Error::NoSuchToken { label })
    }

    /// Forgets the token kept as `label`. At BitGo it lives on until it expires or is revoked.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]; [`Error::Store`] if it cannot be made durable.
    ///
    /// # Security
    /// Its sealed bytes remain in the database's file, and the passphrase opens them, until the next
    /// [`Vault::rekey`]; [`Vault::remove_and_shred`] does both. A backup keeps its own copy.
    pub async fn remove(&self, label: &str) -> Result<(), Error> {
        let label = Label::new(label)?;
        self.core.blocking(move |core| core.remove(&label)).await?
    }

    /// Forgets the token kept as `label`, and destroys its sealed bytes: what stays is sealed under a
    /// new data key ([`Vault::rekey`]), and the database that held them is removed. `Ok` means that no
    /// file in the vault's directory holds them any more. Writes wait meanwhile. At BitGo the token
    /// lives on until it expires or is revoked.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]. With any [`Error::Store`] the token may be removed and its bytes left:
    /// where it is not listed any more, [`Vault::rekey`] is what is still to be done;
    /// [`CopyLeft`](crate::StoreError::CopyLeft) names a copy beside the database, such as a
    /// [`repair`](VaultBuilder::repair) keeps, which is yours to remove.
    ///
    /// # Security
    /// The medium may keep removed blocks: with the passphrase and an old header among them, they
    /// open. A backup keeps its own copy.
    pub async fn remove_and_shred(&self, label: &str) -> Result<(), Error> {
        let label = Label::new(label)?;
        let shredded = self.core.blocking(move |core| {
            core.remove(&label)?;
            Ok(core.store.shred(core.clock.now())?)
        });
        shredded.await?
    }

    /// Allows the token kept as `label` to be handed out raw. Loosening asks for the passphrase.
    ///
    /// # Errors
    /// [`StoreError::WrongPassphrase`](crate::StoreError::WrongPassphrase); [`Error::NoSuchToken`].
    ///
    /// # Security
    /// Whoever gets the raw token is bound by BitGo's limit alone.
    pub async fn dangerous_allow_raw_exposure(
        &self,
        label: &str,
        passphrase: Passphrase,
    ) -> Result<(), Error> {
        let label = Label::new(label)?;
        self.core
            .blocking(move |core| {
                core.store.check_passphrase(&passphrase)?;
                core.set_raw_exposure(&label, true)
            })
            .await?
    }

    /// Forbids the token kept as `label` to be handed out raw.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`]; [`Error::Store`] if it cannot be made durable.
    pub async fn forbid_raw_exposure(&self, label: &str) -> Result<(), Error> {
        let label = Label::new(label)?;
        self.core.blocking(move |core| core.set_raw_exposure(&label, false)).await?
    }

    /// How well the keys are kept in memory.
    pub fn lock_level(&self) -> LockLevel {
        self.core.store.lock_level().min(self.core.keys.level())
    }

    /// Ends renewal and closes the vault for all its clones. It needs no network, and waits for no
    /// more than work that has begun: a commit, a key derivation, and the answer to a refresh token that
    /// is on its way, which would be lost with it. Dropping the last clone closes it
    /// too, and may block for a sync of the disk.
    ///
    /// # Errors
    /// [`Error::StillInUse`] while clones or leases are alive, or a login or an issuance is on its
    /// way: they can settle, but get no new lease, and the store closes with the last of them. [`Error::Interrupted`] if the runtime
    /// ends first; what was committed is safe all the same.
    pub async fn close(self) -> Result<(), Error> {
        let Self { core, hands, refresher, reconciler } = self;
        core.close();
        drop(hands);
        if let Some(reconciler) = Arc::into_inner(reconciler) {
            reconciler.end().await;
        }
        core.control.stop().await;
        core.revocations.stop().await;
        core.retirements.stop().await;
        if let Some(refresher) = Arc::into_inner(refresher) {
            refresher.ended().await;
        }
        drop(Arc::clone(&core.rotating).write_owned().await);
        drop(Arc::clone(&core.at_work).write_owned().await);
        let runtime = core.runtime.clone();
        let last = Arc::into_inner(core).ok_or(Error::StillInUse)?;
        runtime.spawn_blocking(move || drop(last)).await.map_err(Error::of_task)
    }
}
