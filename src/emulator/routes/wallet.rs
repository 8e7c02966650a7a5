//! Wallets: looked at, spent from.

use super::{body, malformed};
use crate::api::wire::Object;
use crate::emulator::account::random_hex;
use crate::emulator::refused::Refused;
use crate::emulator::reply::Reply;
use crate::emulator::state::{State, Visit};
use crate::emulator::token::Refusal;
use crate::id::WalletId;
use crate::money::{Amount, Coin};
use crate::scope::Permission;
use serde::Serialize;

fn find(state: &State, coin: &str, id: &str) -> Result<WalletId, Refused> {
    let id = id.parse().map_err(|_| Refused::not_found())?;
    match state.wallets.get(&id) {
        Some(of) if of.as_str() == coin => Ok(id),
        _ => Err(Refused::not_found()),
    }
}

/// The wallet, if the bearer lives and its scope reaches it.
fn reached(
    visit: &mut Visit<'_>,
    permission: Permission,
    coin: &str,
    id: &str,
) -> Result<WalletId, Refused> {
    visit.bearer()?;
    let wallet = find(visit.state, coin, id)?;
    let enterprise = visit.state.account.enterprise;
    match visit.bearer()?.reaches(permission, wallet, enterprise) {
        true => Ok(wallet),
        false => Err(Refused::scope()),
    }
}

pub(super) fn read(visit: &mut Visit<'_>, coin: &str, id: &str) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    struct Wallet<'a> {
        id: String,
        coin: &'a str,
        label: &'static str,
        enterprise: String,
    }
    let wallet = reached(visit, Permission::WalletView, coin, id)?;
    let enterprise = visit.state.account.enterprise.to_string();
    Ok(Reply::json(&Wallet { id: wallet.to_string(), coin, label: "emulated", enterprise }))
}

/// Spends: what all recipients get is counted against the token's limit, or nothing is.
pub(super) fn spend(visit: &mut Visit<'_>, coin: &str, id: &str) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    struct Sent {
        txid: String,
        status: &'static str,
    }
    reached(visit, Permission::WalletSpend, coin, id)?;
    let body = body(visit.received)?;
    let named = body.text("tokenName").map_err(malformed)?;
    let coin = Coin::new(named.as_deref().unwrap_or(coin)).map_err(|_| Refused::not_found())?;
    let value = value(&body)?;
    let enforced = visit.state.settings.limits_enforced;
    visit.bearer()?.spend(&coin, value, enforced).map_err(|refusal| match refusal {
        Refusal::NeedsUnlock => Refused::needs_unlock(),
        Refusal::Overflow => Refused::invalid("the sum cannot be counted"),
    })?;
    Ok(Reply::json(&Sent { txid: random_hex::<32>()?, status: "signed" }))
}

/// The sum over `recipients[].amount`, or the one `amount`.
fn value(body: &Object<'_>) -> Result<Amount, Refused> {
    const WANTED: Refused = Refused::invalid("an amount in base units is required");

    let amount = |object: &Object<'_>| object.amount("amount").ok().flatten().ok_or(WANTED);
    let Some(recipients) = body.objects("recipients").map_err(malformed)? else {
        return amount(body);
    };
    if recipients.is_empty() {
        return Err(WANTED);
    }
    recipients
        .iter()
        .try_fold(Amount::ZERO, |sum, recipient| sum.checked_add(amount(recipient)?).ok_or(WANTED))
}
