//! `status`: how the vault and its tokens stand, as the process that holds it sees them.

use crate::cli::Common;
use crate::failure::Failure;
use crate::page::{Page, Printer, Tell, Tone, toned};
use crate::words::{relative, when};
use bitgo_vault::{
    AuditAction, AuditEntry, Clock, ControlStatus, ControlToken, Permission, Scope, SystemClock,
    TokenStatus, Vault,
};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often it looks again.
const EVERY: Duration = Duration::from_secs(2);
/// What is not used for so long, a token may not need.
const IDLE: TimeDelta = TimeDelta::days(30);

/// Show how the vault and its tokens stand
///
/// While a bot holds the vault it is asked, and no passphrase is needed. Else the audit log tells which scopes no
/// request has used for 30 days, of tokens that are as old.
#[derive(Args)]
pub(crate) struct Status {
    /// Look again every two seconds, until Ctrl-C, at a vault that a bot holds
    #[arg(long)]
    watch: bool,
}

#[derive(Serialize)]
struct Stands {
    #[serde(flatten)]
    status: ControlStatus,
    is_held: bool,
    /// By label, as far as the audit log tells.
    unused_scopes: BTreeMap<String, Vec<String>>,
}

impl Tell for Stands {
    fn tell(&self, page: &mut Page) {
        let status = &self.status;
        if self.is_held {
            page.pair("held by", format_args!("process {}", status.pid));
        }
        if status.is_frozen {
            page.pair("frozen", toned(Tone::Bad, "nothing is signed; thaw it once you know why"));
        }
        if let Some(damage) = &status.damage {
            page.pair("damaged", toned(Tone::Bad, damage));
        }
        if let Some(why) = &status.read_only {
            page.pair("read only", toned(Tone::Bad, why));
        }
        let rows: Vec<_> = status.tokens.iter().map(row).collect();
        match rows.is_empty() {
            true => page.line("no tokens"),
            false => page.table(["label", "phase", "stands", "made", "ends", "who acts"], rows),
        }
        for token in &status.tokens {
            if token.is_unreconciled {
                page.line(format_args!(
                    "{}: spends nothing until it is reconciled: bitgo-vault reconcile LABEL",
                    token.label
                ));
            }
            for (coin, counter) in token.counters.iter().filter(|(_, it)| it.uncertain != "0") {
                page.line(format_args!(
                    "{}: {} base units of {coin} have no known outcome: bitgo-vault reconcile LABEL",
                    token.label, counter.uncertain
                ));
            }
            if let Some(error) = &token.last_error {
                page.line(format_args!("{}: not renewed: {error}", token.label));
            }
        }
        for orphan in &status.orphans {
            page.line(format_args!(
                "{orphan}: may live at bitgo, and nobody has it: log in, then bitgo-vault revoke {orphan}"
            ));
        }
        for (label, scopes) in &self.unused_scopes {
            page.line(format_args!(
                "{label}: not used for 30 days: {}; rotate it without them",
                scopes.join(", ")
            ));
        }
    }
}

fn row(token: &ControlToken) -> [String; 6] {
    let now = SystemClock::new().now();
    let time = |text: &Option<String>| {
        let time = DateTime::parse_from_rfc3339(text.as_deref()?).ok()?;
        Some(time.to_utc())
    };
    let unknown = || "unknown".to_owned();
    let stands = match (token.is_revoked, token.is_unverified) {
        (true, _) => "being revoked",
        (_, true) => "unverified",
        _ => &token.standing,
    };
    let acts = match &token.advice {
        Some(advice) => format!("you: {advice}"),
        None => "the vault".into(),
    };
    [
        token.label.clone(),
        token.phase.clone(),
        stands.to_owned(),
        time(&token.created_at).map_or_else(unknown, |made| relative(made, now)),
        time(&token.expires_at).map_or_else(unknown, |end| when(end, now)),
        acts,
    ]
}

impl Status {
    pub(crate) async fn run(self, common: &Common, printer: &Printer) -> Result<(), Failure> {
        if !self.watch {
            return printer.say(&look(common, printer).await?);
        }
        loop {
            let holder = common.holder().await?;
            let holder = holder.ok_or_else(|| {
                Failure::usage("nobody holds the vault: nothing will change to watch")
            })?;
            let status = holder.status().await?;
            printer.clear();
            let stands = Stands { status, is_held: true, unused_scopes: BTreeMap::new() };
            if !printer.is_heard(&stands)? {
                return Ok(());
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

async fn look(common: &Common, printer: &Printer) -> Result<Stands, Failure> {
    if let Some(holder) = common.holder().await? {
        let status = holder.status().await?;
        return Ok(Stands { status, is_held: true, unused_scopes: BTreeMap::new() });
    }
    let standing = async |vault: &Vault| {
        let (log, now) = (vault.audit().await?, SystemClock::new().now());
        let unused = vault.list().into_iter().filter_map(|token| {
            let scopes = unused_scopes(&token, &log, now);
            (!scopes.is_empty()).then(|| (token.label.to_string(), scopes))
        });
        Ok(Stands {
            status: vault.control_status(),
            is_held: false,
            unused_scopes: unused.collect(),
        })
    };
    common.within(printer, standing).await
}

/// The scopes that no request of a token has used for a while. Nothing is said of one that is younger, or
/// that was handed out: what was done with it then stands in no log.
fn unused_scopes(token: &TokenStatus, log: &[AuditEntry], now: DateTime<Utc>) -> Vec<String> {
    let is_old = token.info.created_at.is_some_and(|made| now - made > IDLE);
    // What was pruned, or came before the vault, is not known.
    let is_logged = log.first().is_some_and(|first| now - first.since > IDLE);
    let of_it = || log.iter().filter(|entry| entry.token_id == Some(token.info.id));
    let did = |action| of_it().any(|entry| entry.action == action && now - entry.at <= IDLE);
    let was_exposed = log
        .iter()
        .any(|entry| entry.token_id == Some(token.info.id) && entry.action == AuditAction::Exposed);
    if !is_old || !is_logged || was_exposed {
        return Vec::new();
    }
    unused(&token.info.scopes, did(AuditAction::Signed), did(AuditAction::Viewed))
}

/// The scopes that nothing was done with by a token that moved money, asked for something, or did neither.
fn unused(scopes: &[Scope], moved_money: bool, asked: bool) -> Vec<String> {
    use Permission::{
        EnterpriseView, PortfolioView, TradeTrade, TradeView, WalletSpend, WalletView,
    };
    let is_used = |scope: &&Scope| match scope {
        Scope::Granted(WalletSpend, _) => moved_money,
        // An order that no rule counts stands in the log beside what only views.
        Scope::Granted(TradeTrade, _) => moved_money || asked,
        Scope::Granted(WalletView | TradeView | PortfolioView | EnterpriseView, _) => asked,
        // The vault signs nothing that needs any other.
        Scope::Granted(..) => false,
        _ => true,
    };
    scopes.iter().filter(|scope| !is_used(scope)).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_was_done_with_is_unused() {
        let scopes =
            ["wallet_view_all", "wallet_spend_all", "trade_trade", "wallet_manage_all", "openid"];
        let scopes = scopes.map(|scope| scope.parse().unwrap());
        for (moved_money, asked, expect) in [
            (true, true, &["wallet_manage_all"][..]),
            (true, false, &["wallet_view_all", "wallet_manage_all"]),
            (false, true, &["wallet_spend_all", "wallet_manage_all"]),
            (
                false,
                false,
                &["wallet_view_all", "wallet_spend_all", "trade_trade", "wallet_manage_all"],
            ),
        ] {
            assert_eq!(unused(&scopes, moved_money, asked), expect, "{moved_money} {asked}");
        }
    }
}
