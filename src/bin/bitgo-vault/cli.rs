//! What may be said on the command line.

use crate::place::{Judged, Service};
use crate::secrets::PassphraseArgs;
use crate::verb;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A local, encrypted vault for BitGo access tokens
///
/// Tokens are fetched from BitGo, kept sealed, renewed before they end, and used without being seen: the
/// vault checks scope and spending limit, and signs the request itself.
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 other, 2 said wrongly, 3 denied by a rule, 4 wrong passphrase or none, \
                  5 a human must act, 6 BitGo, 7 the vault is open elsewhere, 8 damaged.\n\
                  What to do, by the code behind `see:`: guide::operations in the library's documentation."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What goes with every verb.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// The vault's directory [default: bitgo-vault/vault below the user's data directory]
    #[arg(
        long,
        global = true,
        env = "BITGO_VAULT_STORE",
        hide_env_values = true,
        value_name = "DIRECTORY",
        help_heading = "Vault"
    )]
    pub(crate) store: Option<PathBuf>,
    /// Where its anchor is, which tells whether the vault is the last that was written: best on another
    /// disk
    #[arg(
        long,
        global = true,
        env = "BITGO_VAULT_ANCHOR",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Vault"
    )]
    pub(crate) anchor: Option<PathBuf>,
    /// Which BitGo it speaks to: of a new vault test, else what it was made for
    #[arg(
        long,
        global = true,
        env = "BITGO_VAULT_ENV",
        hide_env_values = true,
        help_heading = "Vault"
    )]
    pub(crate) env: Option<Service>,
    /// The root URI of a custom server
    #[arg(
        long,
        global = true,
        env = "BITGO_VAULT_ROOT_URI",
        hide_env_values = true,
        value_name = "URI",
        help_heading = "Vault"
    )]
    pub(crate) root_uri: Option<String>,
    /// The extended public key under which a custom server issues tokens
    #[arg(
        long,
        global = true,
        env = "BITGO_VAULT_SERVER_XPUB",
        hide_env_values = true,
        value_name = "XPUB",
        help_heading = "Vault"
    )]
    pub(crate) server_xpub: Option<String>,
    /// Work on a file system whose locks or syncs are not to be relied on
    #[arg(long, global = true, value_name = "NAME", help_heading = "Vault")]
    pub(crate) dangerous_allow_file_system: Option<Judged>,
    /// Take tokens that BitGo hands out in clear, and let those travel that cannot sign
    #[arg(long, global = true, help_heading = "Vault")]
    pub(crate) dangerous_accept_tokens_in_clear: bool,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
    /// Answer with one object of JSON, errors too
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Tell the causes of a failure
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) verbose: bool,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    Init(verb::init::Init),
    Login(verb::login::LogIn),
    Issue(verb::issue::Issue),
    Import(verb::import::Import),
    List(verb::list::List),
    Show(verb::show::Show),
    Check(verb::check::Check),
    Sign(verb::sign::Sign),
    Send(verb::send::Send),
    Revoke(verb::revoke::Revoke),
    FetchInternal(verb::fetch_internal::FetchInternal),
    Policy(verb::policy::Policy),
    Status(verb::status::Status),
    Freeze(verb::freeze::Freeze),
    Thaw(verb::freeze::Thaw),
    Unlock(verb::unlock::Unlock),
    Passwd(verb::keeping::Passwd),
    Rekey(verb::keeping::Rekey),
    Backup(verb::keeping::Backup),
    Restore(verb::keeping::Restore),
    Audit(verb::audit::Audit),
    Remove(verb::by_label::Remove),
    /// Renew a token now, by its own way
    Renew(verb::by_label::ByLabel),
    Rotate(verb::rotate::Rotate),
    RenewBudget(verb::renew_budget::RenewBudget),
    Reconcile(verb::reconcile::Reconcile),
    /// Lock a session or token that was unlocked
    Lock(verb::by_label::ByLabel),
    /// End a session at BitGo, and forget it
    Logout(verb::by_label::ByLabel),
    Doctor(verb::doctor::Doctor),
    Exec(verb::exec::Exec),
    Envelope(verb::envelope::Envelopes),
    Completions(verb::manual::Completions),
    Man(verb::manual::Man),
    #[cfg(feature = "emulator")]
    Emulator(verb::emulator::Emulate),
}

impl Verb {
    /// Whether it may ask for a secret. One that does not ends by signals as it sees fit.
    pub(crate) fn asks(&self) -> bool {
        match self {
            Self::Completions(_) | Self::Man(_) => false,
            #[cfg(feature = "emulator")]
            Self::Emulator(_) => false,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn no_two_things_are_said_alike() {
        Cli::command().debug_assert();
    }
}
