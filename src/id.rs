//! Ids: 16 bytes, written as 32 lower-case hex digits. None of them is a secret.

use crate::word_error::WordError;
use std::fmt;
use std::str::FromStr;

/// What a byte counts as a hex digit; 0xff for what is none. Without a branch or a table, so that all
/// digits of an id are looked at together.
const fn digit(byte: u8) -> u8 {
    let (number, letter) = (byte.wrapping_sub(b'0'), byte.wrapping_sub(b'a'));
    let letter = if letter < 6 { letter + 10 } else { 0xff };
    if number < 10 { number } else { letter }
}

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
                let digits: &[u8; 32] =
                    text.as_bytes().try_into().map_err(|_| WordError::Id)?;
                let digits = digits.map(digit);
                if digits.iter().fold(0, |all, digit| all | digit) > 0xf {
                    return Err(WordError::Id);
                }
                let mut bytes = [0; 16];
                for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks().0) {
                    *byte = high << 4 | low;
                }
                Ok(Self(bytes))
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
