//! Money as BitGo counts it: whole base units (satoshi, wei) of a named coin.
//!
//! No floating point, no decimals, no silent wrap: an [`Amount`] is a `u128` whose
//! arithmetic is checked by its caller through [`Amount::checked_add`] and its kin.

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
    /// [`WordError`](crate::word_error::WordError) if the name is empty, longer than 100 bytes, or
    /// holds anything but ASCII letters, digits and `: . _ -`.
    pub fn new(name: &str) -> Result<Self, crate::word_error::WordError> {
        let fits = !name.is_empty()
            && name.len() <= COIN_MAX
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":._-".contains(&b));
        if fits {
            Ok(Self(Cow::Owned(name.into())))
        } else {
            Err(crate::word_error::WordError::Coin)
        }
    }

    /// A coin of the compiled table, whose name is copied nowhere.
    pub(crate) const fn listed(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as BitGo writes it.
    pub fn as_str(&self) -> &str {
        &self.0
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
    type Err = crate::word_error::WordError;

    /// Reads plain decimal digits: no sign, no exponent, no fraction, no leading zero.
    fn from_str(digits: &str) -> Result<Self, Self::Err> {
        let plain = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        match digits.parse() {
            Ok(units) if plain => Ok(Self(units)),
            _ => Err(crate::word_error::WordError::Amount),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn coins_are_named_as_bitgo_names_them() {
        assert!(Coin::new("algo:USDC-31566704").is_ok());
        for bad in ["", "t btc", "tbtc/", "tbtc%2f", "é", &"a".repeat(101)] {
            assert!(Coin::new(bad).is_err(), "{bad:?}");
        }
    }
}
