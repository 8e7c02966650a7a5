//! Ids: 16 bytes, written as 32 lower-case hex digits. None of them is a secret.

use crate::word_error::WordError;
use std::fmt;
use std::str::FromStr;

/// What each byte counts as a hex digit; 0xff for what is none.
const DIGITS: [u8; 256] = {
    let (mut digits, mut digit) = ([0xff; 256], 0);
    while digit < 16 {
        digits[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};

macro_rules! hex_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id from its 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes that the 32 hex digits stand for.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = WordError;

            /// Reads 32 lower-case hex digits.
            fn from_str(text: &str) -> Result<Self, WordError> {
                let (pairs, rest) = text.as_bytes().as_chunks();
                let pairs: &[[u8; 2]; 16] = pairs.try_into().map_err(|_| WordError::Id)?;
                let digits = pairs.map(|pair| pair.map(|digit| DIGITS[usize::from(digit)]));
                let all = digits.iter().flatten().fold(0, |all, digit| all | digit);
                match all < 16 && rest.is_empty() {
                    true => Ok(Self(digits.map(|[high, low]| high << 4 | low))),
                    false => Err(WordError::Id),
                }
            }
        }
    )*};
}

hex_ids! {
    /// The public id of a token at BitGo. It is not a secret and does not authenticate.
    TokenId;
    /// The id of a wallet at BitGo.
    WalletId;
    /// The id of an enterprise at BitGo.
    EnterpriseId;
    /// The vault's own id for a token and all its successors: renewal keeps it, and with it the budget.
    LineageId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_lower_case_hex_digits() {
        let text = "5941b202b42fcbc707170d5b597491d9";
        assert_eq!(text.parse::<TokenId>().unwrap().to_string(), text);
        assert_eq!(format!("{:?}", text.parse::<WalletId>().unwrap()), format!("WalletId({text})"));
        for bad in ["", "5941", &text.to_uppercase(), &format!("{text}0"), &text.replace('5', "é")]
        {
            assert!(bad.parse::<TokenId>().is_err(), "{bad:?}");
        }
    }
}
