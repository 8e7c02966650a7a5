//! One movement of money, as a recipient names it.

use super::Transfer;
use crate::policy::Denied;
use crate::policy::coins::Counted;
use crate::policy::json::{Field, Fields, Kind, ONLY, amount, at, text};
use std::borrow::Cow;

/// The longest address, in bytes.
const ADDRESS_MAX: usize = 500;

static MEMO_OBJECT: [Field; 2] =
    [Field::new("type", Kind::Text, ONLY), Field::new("value", Kind::Own, ONLY)];

pub(super) fn transfer(
    address: Option<Cow<'_, str>>,
    units: Option<&str>,
    memo: Option<&str>,
    coin: &Counted,
) -> Result<Transfer, Denied> {
    let missing = || Denied::body("a recipient wants address and amount");
    let address = address.filter(|address| !address.is_empty());
    let address = address.ok_or_else(missing)?;
    if address.len() > ADDRESS_MAX {
        return Err(Denied::body("an address is longer than 500 bytes"));
    }
    let amount = amount(units.ok_or_else(missing)?)?;
    let destination = match memo {
        Some(memo) => format!("{address}?{memo}").into(),
        None => address.into_owned().into(),
    };
    Ok(Transfer { coin: coin.coin.clone(), amount, destination, is_erc20: coin.is_erc20 })
}

/// A memo as it stands behind an address: `memoId=7`. An exchange credits by its kind as well, so that a
/// memo of another kind is another destination: `memoText=7`.
pub(super) fn memo(json: &str) -> Result<String, Denied> {
    if let Some(memo) = text(json) {
        return Ok(format!("memoId={memo}"));
    }
    let fields = Fields::read(json, "memo", &MEMO_OBJECT, ONLY)?;
    let value = fields.text(const { at(&MEMO_OBJECT, "value") })?;
    let value = value.ok_or_else(|| Denied::body("memo wants a value"))?;
    match fields.text(const { at(&MEMO_OBJECT, "type") })?.as_deref() {
        None | Some("id") => Ok(format!("memoId={value}")),
        Some("text") => Ok(format!("memoText={value}")),
        Some(_) => Err(Denied::body("the type of a memo is neither id nor text")),
    }
}
