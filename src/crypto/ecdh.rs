//! Token issuance: a token under a secret that client and server share (PROTOCOL section 4).
//!
//! ```text
//! ecdh_xprv = open[login password](encryptedECDHXprv)                once, at login
//! point     = derive(server xpub, path) × derive(ecdh_xprv, path)    BIP32, secp256k1
//! token     = open[hex(compressed point)](encryptedToken)
//! ```

use super::CryptoError;
use super::derivation::{DerivationPath, EcdhPrivateKey, EcdhPublicKey};
use super::envelope::{self, Envelope, EnvelopeVersion, V1Params, V2Params};
use super::stack::wiped;
use crate::secret::{AccessToken, EcdhXprv, LoginPassword};
use base16ct::lower;
use bip32::{Prefix, XPrv};
use k256::elliptic_curve::sec1::ToSec1Point;
use rand_core::TryCryptoRng;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

/// Opens an issued token:
/// `open[hex(server[path] × client[path])](encrypted_token)`.
///
/// # Errors
/// [`CryptoError::Path`] for a path that cannot be walked, the errors of [`Envelope::parse`] and
/// [`Envelope::open`], and [`CryptoError::Malformed`] if what was sealed is no token.
pub fn open_token(
    client: &EcdhPrivateKey,
    server: &EcdhPublicKey,
    derivation_path: &str,
    encrypted_token: &str,
) -> Result<AccessToken, CryptoError> {
    let path = DerivationPath::parse(derivation_path)?;
    let password = shared_secret(client, server, &path)?;
    let token = Envelope::parse(encrypted_token)?.open(password.as_bytes())?;
    let token = AccessToken::new(token.expose_secret());
    if token.is_plausible() { Ok(token) } else { Err(CryptoError::Malformed("no token")) }
}

/// Seals a token for a client, as the server does, in an envelope of the version asked for.
///
/// # Errors
/// [`CryptoError::Path`] if the path leads nowhere, [`CryptoError::Entropy`] if `rng` fails.
pub fn seal_token(
    server: &EcdhPrivateKey,
    client: &EcdhPublicKey,
    path: &DerivationPath,
    token: &AccessToken,
    version: EnvelopeVersion,
    rng: &mut impl TryCryptoRng,
) -> Result<String, CryptoError> {
    // The password has the strength of the curve: stretching it adds nothing.
    const V1: V1Params = V1Params { iterations: 1000, key_bits: 128, tag_bits: 64 };
    const V2: V2Params = V2Params { m_cost: 1024, t_cost: 1, p_cost: 1 };
    let password = shared_secret(server, client, path)?;
    match version {
        EnvelopeVersion::V1 => envelope::seal_v1(V1, password.as_bytes(), "", token.expose(), rng),
        EnvelopeVersion::V2 => {
            envelope::seal_v2(V2, password.as_bytes(), None, token.expose(), rng)
        }
    }
}

/// Opens the account's ECDH key: `open[login password](encrypted_ecdh_xprv)`, as it is kept and as
/// it is used.
///
/// # Errors
/// Those of [`Envelope::parse`] and [`Envelope::open`], and [`CryptoError::Key`] if what was
/// sealed is no extended private key.
pub fn open_xprv(
    encrypted_ecdh_xprv: &str,
    login_password: &LoginPassword,
) -> Result<(EcdhXprv, EcdhPrivateKey), CryptoError> {
    let xprv = Envelope::parse(encrypted_ecdh_xprv)?.open(login_password.expose().as_bytes())?;
    let xprv = EcdhXprv::new(xprv.expose_secret());
    let key = EcdhPrivateKey::parse(&xprv)?;
    Ok((xprv, key))
}

/// Makes a fresh ECDH key pair: the extended private key and its xpub.
///
/// # Errors
/// [`CryptoError::Entropy`] if `rng` fails.
pub fn generate_keypair(rng: &mut impl TryCryptoRng) -> Result<(EcdhXprv, String), CryptoError> {
    wiped(|| {
        let mut seed = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *seed).map_err(|_| CryptoError::Entropy)?;
        // One seed in 2^127 makes no key: who meets it has no randomness.
        let xprv = XPrv::new(&*seed).map_err(|_| CryptoError::Entropy)?;
        let xpub = xprv.public_key().to_string(Prefix::XPUB);
        Ok((EcdhXprv::new(xprv.to_string(Prefix::XPRV).as_str()), xpub))
    })
}

/// The secret both sides arrive at, each with its own private and the other's public key:
/// `hex(compressed(theirs[path] × ours[path]))`, 66 lower-case digits.
///
/// # Errors
/// [`CryptoError::Path`] if the path leads deeper than BIP32 allows, or nowhere.
///
/// # Security
/// Whoever holds it opens the token. Nothing here depends on the private key in its timing.
pub fn shared_secret(
    ours: &EcdhPrivateKey,
    theirs: &EcdhPublicKey,
    path: &DerivationPath,
) -> Result<Zeroizing<String>, CryptoError> {
    wiped(|| {
        let point = Zeroizing::new(theirs.derive(path)? * *ours.derive(path)?);
        let affine = Zeroizing::new(point.to_affine());
        let compressed = Zeroizing::new(affine.to_sec1_point(true));
        Ok(Zeroizing::new(lower::encode_string(compressed.as_bytes())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use getrandom::SysRng;

    const TOKEN: &str = "v2x501bf2198223b29d2dd2ce2649b5723de02fd0af279cae5fdd8fb6f5a178942d";

    struct Pair {
        xprv: EcdhXprv,
        xpub: String,
        private: EcdhPrivateKey,
        public: EcdhPublicKey,
    }

    fn pair() -> Pair {
        let (xprv, xpub) = generate_keypair(&mut SysRng).unwrap();
        let private = EcdhPrivateKey::parse(&xprv).unwrap();
        let public = EcdhPublicKey::parse(&xpub).unwrap();
        Pair { xprv, xpub, private, public }
    }

    #[test]
    fn both_sides_arrive_at_one_secret_and_only_they_open() {
        let (server, client, stranger) = (pair(), pair(), pair());
        let path = DerivationPath::parse("m/999999/1/2").unwrap();
        let secret = shared_secret(&client.private, &server.public, &path).unwrap();
        assert_eq!(secret.len(), 66);
        assert_eq!(*secret, *shared_secret(&server.private, &client.public, &path).unwrap());

        for version in [EnvelopeVersion::V1, EnvelopeVersion::V2] {
            let token = AccessToken::new(TOKEN);
            let (from, to) = (&server.private, &client.public);
            let sealed = seal_token(from, to, &path, &token, version, &mut SysRng).unwrap();
            let open = |ours: &Pair, theirs: &Pair, path| {
                open_token(&ours.private, &theirs.public, path, &sealed)
            };
            assert_eq!(open(&client, &server, "m/999999/1/2").unwrap().expose(), TOKEN);
            for (ours, theirs, path) in [
                (&stranger, &server, "m/999999/1/2"),
                (&client, &stranger, "m/999999/1/2"),
                (&client, &server, "m/999999/1/3"),
            ] {
                assert!(matches!(open(ours, theirs, path), Err(CryptoError::CouldNotOpen)));
            }
        }
    }

    #[test]
    fn keys_of_the_wrong_kind_are_refused() {
        let Pair { xprv, xpub, .. } = pair();
        let altered = format!("{}1", &xprv.expose()[..110]);
        for bad in [&xpub, &altered, ""] {
            let refused = EcdhPrivateKey::parse(&EcdhXprv::new(bad)).map(drop);
            assert!(matches!(refused, Err(CryptoError::Key(_))), "{bad}");
        }
        // BIP32's third test vector, as a key of the test network.
        let tpub = "tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp";
        for bad in [xprv.expose(), &xpub[..50], tpub, ""] {
            let refused = EcdhPublicKey::parse(bad).map(drop);
            assert!(matches!(refused, Err(CryptoError::Key(_))));
        }
    }

    #[test]
    fn what_opens_must_be_what_it_should() {
        let cheap = V1Params { iterations: 1, ..V1Params::default() };
        let seal = |password: &[u8], text| {
            envelope::seal_v1(cheap, password, "", text, &mut SysRng).unwrap()
        };
        let password = LoginPassword::new("login");
        let client = pair();
        let (opened, _) = open_xprv(&seal(b"login", client.xprv.expose()), &password).unwrap();
        assert_eq!(opened.expose(), client.xprv.expose());
        let refused = open_xprv(&seal(b"login", &client.xpub), &password);
        assert!(matches!(refused, Err(CryptoError::Key(_))));
        let refused = open_xprv(&seal(b"other", client.xprv.expose()), &password);
        assert!(matches!(refused, Err(CryptoError::CouldNotOpen)));

        let Pair { private, public, .. } = &client;
        let secret = shared_secret(private, public, &DerivationPath::parse("1").unwrap()).unwrap();
        let refused = open_token(private, public, "1", &seal(secret.as_bytes(), "<html>"));
        assert!(matches!(refused, Err(CryptoError::Malformed(_))));
    }
}
