//! Trading orders: taken if the scope allows them; no spending limit counts them.

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
