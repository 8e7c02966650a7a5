//! `reconcile`: what a token spent, as BitGo counted it.

use super::by_label::Done;
use super::token::Token;
use crate::cli::Common;
use crate::failure::Failure;
use crate::page::Printer;
use bitgo_vault::{Clock, Error, Rule, SystemClock, Vault};
use clap::Args;
use std::time::Duration;

/// Ask BitGo what a token spent, and count from there
///
/// After a restore, a repair or an accepted rollback it waits first, ten minutes from the opening on: what was signed
/// before may still be on its way.
#[derive(Args)]
pub(crate) struct Reconcile {
    /// What the token is kept as
    label: String,
    /// Answer at once, also where waiting would help
    #[arg(long)]
    no_wait: bool,
}

impl Reconcile {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        let Self { label, no_wait } = self;
        // A vault that stays open reconciles by itself once it can: nobody waits for it here.
        if let Some(holder) = common.holder().await? {
            printer.busy("asking bitgo", holder.reconcile(&label)).await?;
            return printer.say(&Done { label, done: "reconciled" });
        }
        let asking = async |vault: &Vault| {
            let ask = async || printer.busy("asking bitgo", vault.reconcile(&label)).await;
            let wait = async |left| {
                let what = format!("{label}: what was signed before may still be on its way");
                printer.wait(&what, left).await;
            };
            Ok(match no_wait {
                true => ask().await?,
                false => asked_in_time(ask, left, wait).await?,
            })
        };
        printer.say(&Token::from(common.within(printer, asking).await?))
    }
}

/// Asks, and asks again after each wait that is said to help.
async fn asked_in_time<T, E>(
    mut ask: impl AsyncFnMut() -> Result<T, E>,
    left: impl Fn(&E) -> Option<Duration>,
    mut wait: impl AsyncFnMut(Duration),
) -> Result<T, E> {
    loop {
        match ask().await {
            Err(error) => match left(&error) {
                Some(left) => wait(left).await,
                None => return Err(error),
            },
            told => return told,
        }
    }
}

/// How long to wait until BitGo may be asked, where that is all that is wanting.
fn left(error: &Error) -> Option<Duration> {
    let Error::Denied(denied) = error else { return None };
    let at = denied.resets_at().filter(|_| denied.rule() == Rule::Unreconciled)?;
    let left = (at - SystemClock::new().now()).to_std().unwrap_or_default();
    // Whole seconds, and never none: it may be asked once the instant is past.
    Some(Duration::from_secs(left.as_secs() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn it_is_asked_again_after_each_wait_that_helps_and_after_no_other() {
        let (minute, second) = (Duration::from_secs(60), Duration::from_secs(1));
        for (mut answers, waits, expect) in [
            (vec![Ok(1)], vec![], Ok(1)),
            (vec![Err(Some(minute)), Ok(1)], vec![minute], Ok(1)),
            (vec![Err(Some(minute)), Err(Some(second)), Ok(1)], vec![minute, second], Ok(1)),
            (vec![Err(Some(minute)), Err(None), Ok(1)], vec![minute], Err(None)),
            (vec![Err(None), Ok(1)], vec![], Err(None)),
        ] {
            let waited = RefCell::new(Vec::new());
            let ask = async || answers.remove(0);
            let wait = async |left| waited.borrow_mut().push(left);
            assert_eq!(asked_in_time(ask, |left| *left, wait).await, expect);
            assert_eq!(waited.into_inner(), waits);
        }
    }
}
