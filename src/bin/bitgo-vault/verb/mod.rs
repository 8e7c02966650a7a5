//! What each verb does, one file each.

pub(crate) mod audit;
pub(crate) mod by_label;
pub(crate) mod check;
pub(crate) mod doctor;
#[cfg(feature = "emulator")]
pub(crate) mod emulator;
pub(crate) mod envelope;
pub(crate) mod exec;
pub(crate) mod fetch_internal;
pub(crate) mod freeze;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod issue;
pub(crate) mod keeping;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod manual;
pub(crate) mod policy;
pub(crate) mod reconcile;
pub(crate) mod renew_budget;
pub(crate) mod request;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod send;
pub(crate) mod show;
pub(crate) mod sign;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod unlock;

use crate::cli::{Cli, Verb};
use crate::failure::Failure;
use crate::page::Printer;
use std::process::ExitCode;

pub(crate) async fn run(cli: Cli, printer: &Printer) -> Result<ExitCode, Failure> {
    let Cli { common, verb } = cli;
    let done = match verb {
        Verb::Init(init) => init.run(&common, printer).await,
        Verb::Login(login) => login.run(&common, printer).await,
        Verb::Issue(issue) => issue.run(&common, printer).await,
        Verb::Import(import) => import.run(&common, printer).await,
        Verb::List(list) => list.run(&common, printer).await,
        Verb::Show(show) => show.run(&common, printer).await,
        Verb::Check(check) => return check.run(&common, printer).await,
        Verb::Sign(sign) => sign.run(&common, printer).await,
        Verb::Send(send) => return send.run(&common, printer).await,
        Verb::Revoke(revoke) => revoke.run(&common, printer).await,
        Verb::FetchInternal(fetch) => fetch.run(&common, printer).await,
        Verb::Policy(policy) => policy.run(&common, printer).await,
        Verb::Status(status) => status.run(&common, printer).await,
        Verb::Freeze(verb) => verb.run(&common, printer).await,
        Verb::Thaw(verb) => verb.run(&common, printer).await,
        Verb::Unlock(verb) => verb.run(&common, printer).await,
        Verb::Passwd(verb) => verb.run(&common, printer).await,
        Verb::Rekey(verb) => verb.run(&common, printer).await,
        Verb::Backup(verb) => verb.run(&common, printer).await,
        Verb::Restore(verb) => verb.run(&common, printer).await,
        Verb::Audit(verb) => return verb.run(&common, printer).await,
        Verb::Remove(verb) => verb.run(&common, printer).await,
        Verb::Renew(token) => token.renew(&common, printer).await,
        Verb::Rotate(rotate) => rotate.run(&common, printer).await,
        Verb::RenewBudget(verb) => verb.run(&common, printer).await,
        Verb::Reconcile(verb) => verb.run(&common, printer).await,
        Verb::Lock(token) => token.lock(&common, printer).await,
        Verb::Logout(token) => token.log_out(&common, printer).await,
        Verb::Doctor(doctor) => return doctor.run(&common, printer).await,
        Verb::Exec(exec) => match exec.run(&common, printer).await {
            Ok(never) => match never {},
            Err(failure) => Err(failure),
        },
        Verb::Envelope(envelope) => envelope.run(printer),
        Verb::Completions(completions) => completions.run(),
        Verb::Man(man) => man.run(),
        #[cfg(feature = "emulator")]
        Verb::Emulator(emulate) => emulate.run().await,
    };
    done.map(|()| ExitCode::SUCCESS)
}
