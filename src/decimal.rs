//! Decimals of whole units, as people and trading orders write amounts and prices, in exact arithmetic.

use crate::money::Amount;

/// The longest decimal that is read, in bytes: more digits than any amount has.
const LENGTH_MAX: usize = 80;

/// A number that is not negative: digits, and after a point more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    /// All its digits.
    digits: u128,
    /// How many of them come after the point.
    scale: u32,
}

impl Decimal {
    /// Reads `12` or `12.345`: no sign, no exponent, no leading zero, digits on both sides of a point.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (text, ""),
        };
        let is_plain = whole == "0" || !(whole.is_empty() || whole.starts_with('0'));
        if !is_plain || text.len() > LENGTH_MAX {
            return None;
        }
        let digits = whole.bytes().chain(fraction.bytes()).try_fold(0_u128, |digits, byte| {
            let digit = byte.is_ascii_digit().then(|| u128::from(byte - b'0'))?;
            digits.checked_mul(10)?.checked_add(digit)
        });
        Some(Self { digits: digits?, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// The same in base units of a coin of so many decimals; `None` if it is no whole number of them.
    pub(crate) fn in_units(self, decimals: u8) -> Option<Amount> {
        let shift = u32::from(decimals).checked_sub(self.scale)?;
        self.digits.checked_mul(10_u128.checked_pow(shift)?).map(Amount::new)
    }

    /// The product in base units of a coin of so many decimals, rounded up: never too little.
    pub(crate) fn times_in_units(self, price: Self, decimals: u8) -> Option<Amount> {
        let digits = self.digits.checked_mul(price.digits)?;
        let scale = self.scale.checked_add(price.scale)?;
        match u32::from(decimals).checked_sub(scale) {
            Some(shift) => digits.checked_mul(10_u128.checked_pow(shift)?),
            None => {
                let shift = scale.checked_sub(u32::from(decimals))?;
                Some(digits.div_ceil(10_u128.checked_pow(shift)?))
            }
        }
        .map(Amount::new)
    }
}

/// An amount in whole units of a coin of so many decimals, without zeros at its end.
pub(crate) fn in_whole_units(amount: Amount, decimals: u8) -> String {
    let decimals = usize::from(decimals);
    let digits = format!("{amount:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn units(text: &str, decimals: u8) -> Option<u128> {
        Decimal::read(text)?.in_units(decimals).map(Amount::base_units)
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        for (text, decimals, expect) in [
            ("0", 8, Some(0)),
            ("1", 0, Some(1)),
            ("1", 8, Some(100_000_000)),
            ("0.00000001", 8, Some(1)),
            ("20999999.9769", 8, Some(2_099_999_997_690_000)),
            ("0.000000001", 8, None),
            ("1.0", 0, None),
            ("340282366920938463463374607431768211455", 0, Some(u128::MAX)),
            ("340282366920938463463374607431768211456", 0, None),
            ("340282366920938463463374607431768211455", 1, None),
            ("1", 38, Some(10_u128.pow(38))),
            ("1", 39, None),
            ("", 8, None),
            (".", 8, None),
            ("1.", 8, None),
            (".5", 8, None),
            ("00.5", 8, None),
            ("01", 8, None),
            ("-1", 8, None),
            ("+1", 8, None),
            ("1e3", 8, None),
            ("1.5.5", 8, None),
            ("1,5", 8, None),
            (" 1", 8, None),
            ("١", 8, None),
            ("max", 8, None),
        ] {
            assert_eq!(units(text, decimals), expect, "{text} {decimals}");
        }
        assert_eq!(units(&format!("0.{}", "0".repeat(100)), 255), None);
    }

    proptest! {
        /// Against whole numbers: at 18 decimals each, products of what is small enough fit.
        #[test]
        fn a_product_is_never_too_little_and_by_less_than_a_unit_too_much(
            one in 0_u64.., one_scale in 0_usize..10,
            other in 0_u64.., other_scale in 0_usize..10, decimals in 0_u8..19,
        ) {
            let decimal = |digits: u64, scale: usize| {
                let digits = format!("{digits:0>width$}", width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                let point = if scale == 0 { "" } else { "." };
                Decimal::read(&format!("{whole}{point}{fraction}")).unwrap()
            };
            let exact = u128::from(one) * u128::from(other);
            let scale = u32::try_from(one_scale + other_scale).unwrap();
            let product = decimal(one, one_scale).times_in_units(decimal(other, other_scale), decimals);
            if let Some(product) = product {
                // exact / 10^scale ≤ product / 10^decimals < exact / 10^scale + 1 / 10^decimals
                let (up, down) = (10_u128.pow(scale), 10_u128.pow(u32::from(decimals)));
                if let (Some(left), Some(right)) =
                    (exact.checked_mul(down), product.base_units().checked_mul(up))
                {
                    prop_assert!(left <= right && right - left < up);
                }
            } else {
                prop_assert!(exact.checked_mul(10_u128.pow(u32::from(decimals))).is_none());
            }
        }
    }
}
