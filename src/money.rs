//! Money as BitGo counts it: whole base units (satoshi, wei) of a named coin.
//!
//! No floating point, no decimals, no silent wrap: an [`Amount`] is a `u128` whose
//! arithmetic is checked by its caller through [`Amount::checked_add`] and its kin.

use crate::coin_table::CoinFacts;
use crate::decimal::{self, Decimal};
use crate::word_error::WordError;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The longest coin name accepted, in bytes (BitGo's longest has 67).
const COIN_MAX: usize = 100;

/// The name of a coin or token as BitGo writes it, such as `tbtc` or `algo:USDC-31566704`.
///
/// Names are case-sensitive and compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coin(Cow<'static, str>);

impl Coin {
    /// Reads a coin name.
    ///
    /// # Errors
    /// [`WordError`] if the name is empty, longer than 100 bytes, or
    /// holds anything but ASCII letters, digits and `: . _ -`.
    pub fn new(name: &str) -> Result<Self, WordError> {
        let fits = !name.is_empty()
            && name.len() <= COIN_MAX
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":._-".contains(&b));
        if fits { Ok(Self(Cow::Owned(name.into()))) } else { Err(WordError::Coin) }
    }

    /// A coin of the compiled table, whose name is copied nowhere.
    pub(crate) const fn listed(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as BitGo writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many decimals a whole unit of it has, by the list that BitGo publishes: 8 for `tbtc`, 18 for
    /// `hteth`. `None` for a coin that is not in it.
    pub fn decimals(&self) -> Option<u8> {
        CoinFacts::of(&self.0).map(|facts| facts.decimals)
    }
}

impl fmt::Display for Coin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An amount of one coin in its base unit, such as satoshi or wei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount that can be counted.
    pub const MAX: Self = Self(u128::MAX);

    /// An amount of `base_units`.
    pub const fn new(base_units: u128) -> Self {
        Self(base_units)
    }

    /// The number of base units.
    pub const fn base_units(self) -> u128 {
        self.0
    }

    /// Reads an amount in whole units of a coin of so many `decimals`, exactly: `0.5` of 8 is 50 000 000.
    ///
    /// # Errors
    /// [`WordError::WholeUnits`] for anything but plain digits with at most `decimals` of them behind a
    /// point, and for what is 2^128 base units or more.
    pub fn of_whole_units(text: &str, decimals: u8) -> Result<Self, WordError> {
        let read = Decimal::read(text).and_then(|decimal| decimal.in_units(decimals));
        read.ok_or(WordError::WholeUnits)
    }

    /// The amount in whole units of a coin of so many `decimals`, exactly and without zeros at its end:
    /// 5 000 000 of 8 is `0.05`.
    pub fn in_whole_units(self, decimals: u8) -> String {
        decimal::in_whole_units(self, decimals)
    }

    /// The sum, or `None` where it cannot be counted.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or `None` where it would fall below zero.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// The sum, or [`Amount::MAX`] where it cannot be counted.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or zero where it would fall below.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = WordError;

    /// Reads plain decimal digits: no sign, no exponent, no fraction, no leading zero.
    fn from_str(digits: &str) -> Result<Self, Self::Err> {
        let plain = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        match digits.parse() {
            Ok(units) if plain => Ok(Self(units)),
            _ => Err(WordError::Amount),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_plain_digits() {
        for (text, expect) in [
            ("0", Some(0)),
            ("9007199254740993", Some(9_007_199_254_740_993)),
            ("340282366920938463463374607431768211455", Some(u128::MAX)),
            ("340282366920938463463374607431768211456", None),
            ("", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            ("-1", None),
            ("1.0", None),
            ("1e3", None),
            (" 1", None),
            ("max", None),
        ] {
            assert_eq!(text.parse::<Amount>().ok().map(Amount::base_units), expect, "{text:?}");
        }
    }

    #[test]
    fn whole_units_are_exact_and_bear_no_needless_zeros() {
        for (text, decimals, units, shown) in [
            ("0.5", 8, 50_000_000, "0.5"),
            ("0.050", 8, 5_000_000, "0.05"),
            ("12", 8, 1_200_000_000, "12"),
            ("100", 0, 100, "100"),
            ("0.000000000000000001", 18, 1, "0.000000000000000001"),
            ("0", 8, 0, "0"),
            ("0.0", 8, 0, "0"),
        ] {
            let amount = Amount::of_whole_units(text, decimals).unwrap();
            assert_eq!(
                (amount, amount.in_whole_units(decimals)),
                (Amount::new(units), shown.into())
            );
        }
        for (text, decimals) in [("0.123456789", 8), ("1.0", 0), ("-1", 8), ("1e8", 8), ("", 8)] {
            let refused = Amount::of_whole_units(text, decimals);
            assert_eq!(refused, Err(WordError::WholeUnits), "{text}");
        }
        let decimals = |name| Coin::new(name).unwrap().decimals();
        assert_eq!(
            [decimals("tbtc"), decimals("hteth"), decimals("nocoin")],
            [Some(8), Some(18), None]
        );
    }

    proptest! {
        #[test]
        fn an_amount_in_whole_units_reads_as_itself(units: u128, decimals in 0_u8..=78) {
            let amount = Amount::new(units);
            let shown = amount.in_whole_units(decimals);
            prop_assert_eq!(Amount::of_whole_units(&shown, decimals), Ok(amount), "{}", shown);
            prop_assert!(!shown.contains('.') || !shown.ends_with(['0', '.']), "{}", shown);
        }
    }

    #[test]
    fn coins_are_named_as_bitgo_names_them() {
        assert!(Coin::new("algo:USDC-31566704").is_ok());
        for bad in ["", "t btc", "tbtc/", "tbtc%2f", "é", &"a".repeat(101)] {
            assert!(Coin::new(bad).is_err(), "{bad:?}");
        }
    }
}
