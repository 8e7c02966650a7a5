//! Ids: 16 bytes, written as 32 lower-case hex digits. None of them is a secret.

use crate::word_error::WordError;
use std::fmt;
use std::str::FromStr;

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
                let mut bytes = [0; 16];
                if text.len() != 32 {
                    return Err(WordError::Id);
                }
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let [high, low] = [pair[0], pair[1]].map(|digit| match digit {
                        b'0'..=b'9' => Some(digit - b'0'),
                        b'a'..=b'f' => Some(digit - b'a' + 10),
                        _ => None,
                    });
                    *byte = high.ok_or(WordError::Id)? << 4 | low.ok_or(WordError::Id)?;
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
