//! Secrets as types: wiped when dropped, printed as `[REDACTED]`, never cloned, compared or serialised.
//!
//! Each wraps [`secrecy`]; the bytes are read through `expose` alone, and `expose` is
//! called only where the secret does its work: at the KDF, the AEAD, the HMAC.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::ops::{Deref, DerefMut};
use std::{fmt, io};
use zeroize::Zeroizing;

macro_rules! secrets {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name(SecretString);

        impl $name {
            /// Takes the text over. A `Box<str>` is moved; a `&str` is copied, and so may be a `String`
            /// with room to spare: wiping what stays behind is then the caller's.
            pub fn new(text: impl Into<Box<str>>) -> Self {
                Self(SecretString::new(text.into()))
            }

            /// The secret itself.
            ///
            /// # Security
            /// Whatever copies these bytes must wipe its copy.
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([REDACTED])"))
            }
        }
    )*};
}

secrets! {
    /// A BitGo access token: `v2x` and 64 hex digits, or an older 40 or 64 hex digits.
    AccessToken;
    /// What the vault's key encryption key is derived from.
    Passphrase;
    /// The password of a BitGo account. It opens the account's ECDH key; BitGo gets only its HMAC.
    LoginPassword;
    /// A one-time password (second factor).
    Otp;
    /// The account's extended private key for token issuance (BIP32, base58).
    EcdhXprv;
    /// What an OAuth client gets its next token for. Each is good once.
    RefreshToken;
    /// By which an OAuth client proves itself.
    ClientSecret;
}

impl AccessToken {
    /// Whether requests can be authenticated by HMAC (PROTOCOL section 3: only `v2x` tokens can).
    pub fn can_sign(&self) -> bool {
        let token = self.expose();
        token.len() == 67
            && token.starts_with("v2x")
            && token.bytes().skip(3).all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }

    /// Whether this is a token of any known shape.
    pub fn is_plausible(&self) -> bool {
        let token = self.expose();
        self.can_sign()
            || (matches!(token.len(), 40 | 64)
                && token.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
    }
}

/// Bytes of a secret, wiped when dropped: a buffer of one fixed size, which never moves.
pub struct SecretBytes(Box<[u8]>);

impl SecretBytes {
    /// `len` zeros, to be filled in place.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self(vec![0; len].into())
    }

    /// A copy of `bytes`; wiping the original is the caller's.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes as text, in the buffer that they are in. What is none is wiped.
    pub(crate) fn into_text(mut self) -> Option<Box<str>> {
        match String::from_utf8(std::mem::take(&mut self.0).into()) {
            Ok(text) => Some(text.into()),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                None
            }
        }
    }
}

impl Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for SecretBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes([REDACTED])")
    }
}

/// Wipes whole memory at once, where [`zeroize`] writes value by value: a record of 64 KiB would
/// take longer to wipe than to open.
pub(crate) fn wipe<T: Copy + Default>(values: &mut [T]) {
    values.fill(T::default());
    // The write must have happened: from here on the compiler has to assume a reader.
    zeroize::optimization_barrier(values);
}

/// JSON in one buffer of its exact size, wiped on drop: growing would leave unwiped copies behind.
pub(crate) fn to_json(
    value: &(impl Serialize + ?Sized),
) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    struct Length(usize);
    impl io::Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value)?;
    let mut json = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *json, value)?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_forms_lack_the_secret_and_keep_the_rest() {
        let secret = "v2xsecretsecret";
        for (printed, name) in [
            (format!("{:?}", AccessToken::new(secret)), "AccessToken"),
            (format!("{:?}", Passphrase::new(secret)), "Passphrase"),
            (format!("{:?}", LoginPassword::new(secret)), "LoginPassword"),
            (format!("{:?}", Otp::new(secret)), "Otp"),
            (format!("{:?}", EcdhXprv::new(secret)), "EcdhXprv"),
            (format!("{:?}", RefreshToken::new(secret)), "RefreshToken"),
            (format!("{:?}", ClientSecret::new(secret)), "ClientSecret"),
            (format!("{:?}", SecretBytes::copy_of(secret.as_bytes())), "SecretBytes"),
        ] {
            assert!(!printed.contains("secret"), "{printed}");
            assert_eq!(printed, format!("{name}([REDACTED])"));
        }
    }

    #[test]
    fn only_v2x_tokens_sign() {
        let hex = "0123456789abcdef".repeat(4);
        assert!(AccessToken::new(format!("v2x{hex}")).can_sign());
        assert!(!AccessToken::new(hex.as_str()).can_sign());
        assert!(AccessToken::new(hex.as_str()).is_plausible());
        for bad in ["", "v2x", "v2X", &hex[1..], "<html>"] {
            assert!(!AccessToken::new(bad).is_plausible(), "{bad}");
        }
    }
}
