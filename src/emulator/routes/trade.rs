//! Trading: orders are taken, taken back and looked at where the scope allows it; no spending limit
//! counts them, and none is ever filled.

use super::body;
use crate::emulator::account::random_hex;
use crate::emulator::refused::Refused;
use crate::emulator::reply::Reply;
use crate::emulator::state::Visit;
use serde::Serialize;

pub(super) fn order(visit: &mut Visit<'_>, account: &str) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Order<'a> {
        id: String,
        account_id: &'a str,
        product: &'a str,
        status: &'static str,
    }
    if !visit.bearer()?.has("trade_trade") {
        return Err(Refused::scope());
    }
    let body = body(visit.received)?;
    let product = body.text("product")?;
    let product = product.ok_or_else(|| Refused::invalid("product is required"))?;
    let (id, status) = (random_hex::<16>()?, "pending_open");
    Ok(Reply::json(&Order { id, account_id: account, product: &product, status }))
}

/// Takes an order back.
pub(super) fn cancel(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    match visit.bearer()?.has("trade_trade") {
        true => Ok(Reply::json(&Empty {})),
        false => Err(Refused::scope()),
    }
}

/// Whatever is looked at: there is nothing there.
pub(super) fn look(visit: &mut Visit<'_>) -> Result<Reply, Refused> {
    #[derive(Serialize)]
    struct List {
        data: [Empty; 0],
    }
    match visit.bearer()?.has("trade_view") {
        true => Ok(Reply::json(&List { data: [] })),
        false => Err(Refused::scope()),
    }
}

#[derive(Serialize)]
struct Empty {}
