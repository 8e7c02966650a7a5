//! Gas: its price and its limit, which bound a fee together alone.

use crate::money::Amount;
use crate::policy::Denied;
use crate::policy::json::{Field, Fields, Kind, ONLY, at};

static EIP1559_OBJECT: [Field; 2] = [
    Field::new("maxFeePerGas", Kind::Own, ONLY),
    Field::new("maxPriorityFeePerGas", Kind::Own, ONLY),
];

/// What `eip1559` offers for gas.
pub(super) fn gas_price(json: &str) -> Result<Option<Amount>, Denied> {
    let fields = Fields::read(json, "eip1559", &EIP1559_OBJECT, ONLY)?;
    let most = fields.amount(const { at(&EIP1559_OBJECT, "maxFeePerGas") })?;
    let tip = fields.amount(const { at(&EIP1559_OBJECT, "maxPriorityFeePerGas") })?;
    match most.max(tip) {
        None => Err(Denied::body("eip1559 wants a price")),
        price => Ok(price),
    }
}

/// The price of gas and its limit, which bound a fee together alone: their product.
pub(super) fn gas_fee(
    price: Option<Amount>,
    gas: Option<Amount>,
) -> Result<Option<Amount>, Denied> {
    let (price, gas) = match (price, gas) {
        (None, None) => return Ok(None),
        (Some(price), Some(gas)) => (price, gas),
        _ => {
            return Err(Denied::body(
                "a price of gas without its limit, or a limit without a price, bounds no fee: give both",
            ));
        }
    };
    let product = price.base_units().checked_mul(gas.base_units()).map(Amount::new);
    let product = product.ok_or_else(|| Denied::body("the fee is more than can be counted"))?;
    Ok(Some(product.max(price)))
}
