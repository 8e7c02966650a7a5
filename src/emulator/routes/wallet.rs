//! Wallets: looked at, built for, spent from.

use super::body;
use crate::api::wire::Object;
use crate::coin_table::CoinFacts;
use crate::emulator::account::random_hex;
use crate::emulator::refused::Refused;
use crate::emulator::reply::Reply;
use crate::emulator::spending::{Refusal, Spend};
use crate::emulator::state::{State, Visit};
use crate::id::WalletId;
use crate::money::{Amount, Coin};
use crate::scope::Permission;
use serde::Serialize;

fn find(state: &State, coin: Option<&str>, id: &str) -> Result<WalletId, Refused> {
    let id = id.parse().map_err(|_| Refused::not_found())?;
    match state.wallets.get(&id) {
        Some(wallet) if coin.is_none_or(|coin| holds(&wallet.coin, coin)) => Ok(id),
        _ => Err(Refused::not_found()),
    }
}

/// Whether a wallet of that coin holds the other: its own, or a token of its chain.
fn holds(own: &Coin, coin: &str) -> bool {
    let (chain, token) = (CoinFacts::of(own.as_str()), CoinFacts::of(coin));
    let is_on_chain = chain.zip(token).is_some_and(|(chain, token)| {
        token.is_token && (token.family, token.is_mainnet) == (chain.family, chain.is_mainnet)
    });
    own.as_str() == coin || is_on_chain
}

/// The wallet, if the bearer lives and its scope reaches it.
fn reached(
    visit: &mut Visit<'_>,
    permission: Permission,
    coin: Option<&str>,
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
    let wallet = reached(visit, Permission::WalletView, Some(coin), id)?;
    let enterprise = visit.state.account.enterprise.to_string();
    Ok(Reply::json(&Wallet { id: wallet.to_string(), coin, label: "emulated", enterprise }))
}

/// Every wallet that the bearer's scope reaches, of one coin or of all.
pub(super) fn list(visit: &mut Visit<'_>, coin: Option<&str>) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    struct Wallets {
        wallets: Vec<Listed>,
    }
    #[derive(Serialize)]
    struct Listed {
        id: String,
        coin: String,
    }
    let enterprise = visit.state.account.enterprise;
    let all = visit.state.wallets.iter();
    let all = all.filter(|(_, wallet)| coin.is_none_or(|coin| wallet.coin.as_str() == coin));
    let all: Vec<_> = all.map(|(id, wallet)| (*id, wallet.coin.to_string())).collect();
    let bearer = visit.bearer()?;
    let reached =
        all.into_iter().filter(|(id, _)| bearer.reaches(Permission::WalletView, *id, enterprise));
    let wallets = reached.map(|(id, coin)| Listed { id: id.to_string(), coin }).collect();
    Ok(Reply::json(&Wallets { wallets }))
}

/// Builds a transaction, which moves nothing.
pub(super) fn build(visit: &mut Visit<'_>, coin: &str, id: &str) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Built {
        tx_hex: String,
    }
    reached(visit, Permission::WalletSpend, Some(coin), id)?;
    values(&body(visit.received)?, coin, false)?;
    Ok(Reply::json(&Built { tx_hex: random_hex::<64>()? }))
}

/// Spends: what all recipients get is counted against the token's limit, or nothing is.
pub(super) fn spend(
    visit: &mut Visit<'_>,
    coin: &str,
    id: &str,
    is_express: bool,
) -> Result<Reply, Refused> {
    let wallet = reached(visit, Permission::WalletSpend, Some(coin), id)?;
    let values = values(&body(visit.received)?, coin, is_express)?;
    charge(visit, &values)?;
    sent(visit, wallet)
}

/// Spends by a transaction request, whose recipients stand in its intent.
pub(super) fn request(visit: &mut Visit<'_>, id: &str) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Requested {
        tx_request_id: String,
        wallet_id: String,
        state: &'static str,
    }
    let wallet = reached(visit, Permission::WalletSpend, None, id)?;
    let body = body(visit.received)?;
    let intent = body.object("intent")?.ok_or_else(wanted)?;
    let mut coin = match visit.state.wallets.get(&wallet) {
        Some(wallet) => wallet.coin.clone(),
        None => return Err(Refused::not_found()),
    };
    let mut sum = Amount::ZERO;
    for recipient in intent.objects("recipients")?.ok_or_else(wanted)? {
        let amount = recipient.object("amount")?.ok_or_else(wanted)?;
        if let Some(symbol) = amount.text("symbol")? {
            coin = Coin::new(&symbol).map_err(|_| Refused::not_found())?;
        }
        let value = amount.amount("value")?.ok_or_else(wanted)?;
        sum = sum.checked_add(value).ok_or_else(wanted)?;
    }
    charge(visit, &[(coin, sum)])?;
    let (waits, tx_request_id) = (wants_approval(visit.state, wallet), random_hex::<16>()?);
    let state = if waits { "pendingApproval" } else { "initialized" };
    let mut reply = Reply::json(&Requested { tx_request_id, wallet_id: wallet.to_string(), state });
    reply.status = if waits { 202 } else { 200 };
    Ok(reply)
}

/// Counts all of them, or none.
fn charge(visit: &mut Visit<'_>, values: &[(Coin, Amount)]) -> Result<(), Refused> {
    let settings = &visit.state.settings;
    let (enforced, now, own) = (settings.limits_enforced, visit.now, settings.erc20_coins.clone());
    let spending = &mut visit.bearer()?.spending;
    let mut after = spending.clone();
    for (coin, value) in values {
        let listed = CoinFacts::of(coin.as_str()).is_some_and(|facts| facts.is_erc20);
        let spend = Spend { coin, value: *value, is_erc20: listed || own.contains(coin) };
        after.charge(spend, enforced, now).map_err(|refusal| match refusal {
            Refusal::NeedsUnlock => Refused::needs_unlock(),
            Refusal::Overflow => Refused::invalid("the sum cannot be counted"),
        })?;
    }
    *spending = after;
    Ok(())
}

fn wants_approval(state: &State, wallet: WalletId) -> bool {
    state.wallets.get(&wallet).is_some_and(|wallet| wallet.wants_approval)
}

/// The answer to a spend: done, or 202 where somebody must approve it first.
fn sent(visit: &Visit<'_>, wallet: WalletId) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    struct Sent {
        txid: String,
        status: &'static str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Waits<'a> {
        error: &'static str,
        pending_approval: PendingApproval<'a>,
    }
    #[derive(Serialize)]
    struct PendingApproval<'a> {
        id: String,
        wallet: String,
        creator: &'a str,
        state: &'static str,
        scope: &'static str,
    }
    if !wants_approval(visit.state, wallet) {
        return Ok(Reply::json(&Sent { txid: random_hex::<32>()?, status: "signed" }));
    }
    let mut reply = Reply::json(&Waits {
        error: "the wallet's policy wants an approval",
        pending_approval: PendingApproval {
            id: random_hex::<16>()?,
            wallet: wallet.to_string(),
            creator: &visit.state.account.user,
            state: "pending",
            scope: "wallet",
        },
    });
    reply.status = 202;
    Ok(reply)
}

fn wanted() -> Refused {
    Refused::invalid("an amount in base units is required")
}

/// What each recipient gets, and of which coin; or the one `amount`. A transaction that was made
/// elsewhere moves what its hex says as a number: nobody else could read it. Of calls of BitGo Express
/// alone a `tokenName` is heeded, as it is published for no other.
fn values(body: &Object<'_>, coin: &str, is_express: bool) -> Result<Vec<(Coin, Amount)>, Refused> {
    let named = body.text("tokenName")?.filter(|_| is_express);
    let coin = named.as_deref().unwrap_or(coin);
    let of = |object: &Object<'_>| {
        let named = object.text("tokenName")?.filter(|_| is_express);
        let coin = Coin::new(named.as_deref().unwrap_or(coin)).map_err(|_| Refused::not_found())?;
        Ok((coin, object.amount("amount").ok().flatten().ok_or_else(wanted)?))
    };
    let opaque = match body.object("halfSigned")? {
        Some(half_signed) => half_signed.text("txHex")?,
        None => body.text("txHex")?,
    };
    if let Some(hex) = opaque {
        let moved = u128::from_str_radix(&hex, 16).map(Amount::new).map_err(|_| wanted())?;
        return Ok(vec![(Coin::new(coin).map_err(|_| Refused::not_found())?, moved)]);
    }
    match body.objects("recipients")? {
        Some(recipients) if recipients.is_empty() => Err(wanted()),
        Some(recipients) => recipients.iter().map(of).collect(),
        None => Ok(vec![of(body)?]),
    }
}
