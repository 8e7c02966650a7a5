//! What to look for: each secret, what is derived from it, and the forms these take.

use super::{EMAIL, Given, PATH};
use aes_gcm::aead::{AeadInOut, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bip32::{ChildNumber, XPrv};
use bitgo_vault::crypto::{
    self, DerivationPath, EcdhPrivateKey, EcdhPublicKey, EnvelopeVersion, V1Params, V2Params,
    WRAPPED_LEN,
};
use bitgo_vault::{AccessToken, EcdhXprv, LoginPassword};
use getrandom::SysRng;
use hkdf::Hkdf;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Values by their names.
pub(crate) type Needles = BTreeMap<String, Vec<u8>>;

/// What needles begin with that the HTTP stack carries.
pub(super) const CARRIED: &str = "carried:";

const V1: V1Params = V1Params { iterations: 3, key_bits: 256, tag_bits: 64 };
const V2: V2Params = V2Params { m_cost: 8, t_cost: 1, p_cost: 1 };

fn random(bytes: usize) -> Vec<u8> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).unwrap();
    random
}

pub(crate) fn random_hex(bytes: usize) -> String {
    base16ct::lower::encode_string(&random(bytes))
}

pub(super) struct Scene {
    pub(super) given: Given,
}

impl Scene {
    pub(super) fn new() -> Self {
        let password = random_hex(14);
        let token = AccessToken::new(format!("v2x{}", random_hex(32)));
        let (xprv, _) = crypto::generate_keypair(&mut SysRng).unwrap();
        let (_, server_xpub) = crypto::generate_keypair(&mut SysRng).unwrap();
        let private = EcdhPrivateKey::parse(&xprv).unwrap();
        let public = EcdhPublicKey::parse(&server_xpub).unwrap();
        let path = DerivationPath::parse(PATH).unwrap();
        let extension_secret = random(32);
        let wif = [&extension_secret[..], &[1]].concat();
        let wif = bs58::encode(wif).with_check_version(0x80).into_string();
        let seal_token = |version| {
            crypto::seal_token(&private, &public, &path, &token, version, &mut SysRng).unwrap()
        };
        let texts = [
            ("control", random_hex(20)),
            ("freed control", random_hex(20)),
            ("token", token.expose().to_owned()),
            ("passphrase", random_hex(15)),
            ("login password", password.clone()),
            ("xprv", xprv.expose().to_owned()),
            ("wif", wif.to_string()),
            ("server xpub", server_xpub.clone()),
            (
                "xprv in v1",
                crypto::seal_v1(V1, password.as_bytes(), "", xprv.expose(), &mut SysRng).unwrap(),
            ),
            (
                "xprv in v2",
                crypto::seal_v2(V2, password.as_bytes(), None, xprv.expose(), &mut SysRng).unwrap(),
            ),
            ("xprv in v2 of a session", sealed_in_session(&password, xprv.expose())),
            ("token in v1", seal_token(EnvelopeVersion::V1)),
            ("token in v2", seal_token(EnvelopeVersion::V2)),
        ];
        let bytes = [
            ("extension secret", extension_secret),
            ("salt", random(16)),
            ("vault id", random(16)),
            ("data key", random(32)),
            ("nonce", random(12)),
        ];
        let texts = texts.map(|(name, text)| (name.to_owned(), text.into_bytes()));
        let bytes = bytes.map(|(name, bytes)| (name.to_owned(), bytes));
        Self { given: Given(texts.into_iter().chain(bytes).collect()) }
    }

    pub(super) fn text(&self, name: &str) -> &str {
        std::str::from_utf8(&self.given.0[name]).unwrap()
    }

    pub(super) fn needles(&self) -> Needles {
        let mut needles = Needles::new();
        for name in
            ["control", "freed control", "token", "passphrase", "login password", "xprv", "wif"]
        {
            needles.insert(name.to_owned(), self.given.0[name].clone());
        }
        let mut add =
            |name: &str, value: &[u8]| drop(needles.insert(name.to_owned(), value.into()));

        let (token, password) = (self.text("token"), self.text("login password"));
        add("token, decoded", &base16ct::lower::decode_vec(&token[3..]).unwrap());
        add("bearer", base16ct::lower::encode_string(&Sha256::digest(token)).as_bytes());
        hmac_key(&mut add, "token", token.as_bytes());
        hmac_key(&mut add, "login password", password.as_bytes());
        let hmac = crypto::password_hmac(EMAIL, &LoginPassword::new(password));
        add("password hmac", hmac.as_bytes());
        number(&mut add, "password hmac, raw", &base16ct::lower::decode_vec(&*hmac).unwrap());

        let mut key: XPrv = self.text("xprv").parse().unwrap();
        number(&mut add, "xprv scalar", &key.to_bytes());
        add("chain code", &key.attrs().chain_code);
        for step in &PATH.split('/').collect::<Vec<_>>()[1..] {
            key = key.derive_child(step.parse::<ChildNumber>().unwrap()).unwrap();
            number(&mut add, &format!("child scalar at {step}"), &key.to_bytes());
        }
        add("child chain code", &key.attrs().chain_code);
        let path = DerivationPath::parse(PATH).unwrap();
        let xprv = EcdhXprv::new(self.text("xprv"));
        let private = EcdhPrivateKey::parse(&xprv).unwrap();
        let public = EcdhPublicKey::parse(self.text("server xpub")).unwrap();
        let shared = crypto::shared_secret(&private, &public, &path).unwrap();
        add("shared secret", shared.as_bytes());
        let point = base16ct::lower::decode_vec(&*shared).unwrap();
        number(&mut add, "shared point", &point[1..]);
        add("shared point, as a field element", &field_element(&point[1..]));
        hmac_key(&mut add, "shared secret", shared.as_bytes());

        for (name, password) in [
            ("xprv in v1", password),
            ("xprv in v2", password),
            ("xprv in v2 of a session", password),
            ("token in v1", &shared),
            ("token in v2", &shared),
        ] {
            let envelope: Value = serde_json::from_str(self.text(name)).unwrap();
            for (key, what) in envelope_keys(&envelope, password.as_bytes()) {
                number(&mut add, &format!("{what} of {name}"), &key);
            }
        }
        number(&mut add, "extension scalar", &self.given.0["extension secret"]);

        let part = |name: &str| self.given.0[name].as_slice();
        let kek = argon2id(self.text("passphrase").as_bytes(), part("salt"), 8, 1, 1);
        number(&mut add, "key encryption key", &kek);
        number(&mut add, "data key", part("data key"));
        number(&mut add, "tree key", &tree_key(part("data key"), part("vault id"), "seal/tokens"));
        number(&mut add, "name key", &tree_key(part("data key"), part("vault id"), "names"));
        needles
    }
}

/// What an account at the emulator has: its secrets, and what of them travels.
pub(crate) fn account_needles(
    email: &str,
    password: &LoginPassword,
    secrets: &[String],
) -> Needles {
    let mut needles = Needles::new();
    let mut add = |name: &str, value: &[u8]| drop(needles.insert(name.to_owned(), value.into()));
    let hmac = crypto::password_hmac(email, password);
    add(&format!("{CARRIED} password hmac"), hmac.as_bytes());
    for (number, secret) in secrets.iter().enumerate() {
        add(&format!("secret {number}"), secret.as_bytes());
        if secret.starts_with("v2x") {
            hmac_key(&mut add, &format!("secret {number}"), secret.as_bytes());
            let bearer = base16ct::lower::encode_string(&Sha256::digest(secret));
            add(&format!("{CARRIED} bearer {number}"), bearer.as_bytes());
        }
    }
    needles
}

/// The keys of a store that was made at the least cost, found by its header and the passphrase.
pub(crate) fn store_needles(passphrase: &str, header: &[u8]) -> Needles {
    let mut needles = Needles::new();
    let mut add = |name: &str, value: &[u8]| drop(needles.insert(name.to_owned(), value.into()));
    let (bound, rest) = header.split_at(79);
    let (vault, salt) = (&bound[18..34], &bound[46..62]);
    let kek = argon2id(passphrase.as_bytes(), salt, 8, 1, 1);
    let wrapped = &rest[..WRAPPED_LEN];
    let mut data_key = wrapped[12..].to_vec();
    Aes256Gcm::new((&kek).into())
        .decrypt_in_place(&Nonce::try_from(&wrapped[..12]).unwrap(), bound, &mut data_key)
        .unwrap();
    number(&mut add, "store's key encryption key", &kek);
    number(&mut add, "store's data key", &data_key);
    for tree in ["tokens", "secrets", "accounts"] {
        let key = tree_key(&data_key, vault, &format!("seal/{tree}"));
        number(&mut add, &format!("store's key of {tree}"), &key);
    }
    for purpose in ["names", "set", "anchor"] {
        let key = tree_key(&data_key, vault, purpose);
        number(&mut add, &format!("store's key of {purpose}"), &key);
        hmac_key(&mut add, &format!("store's key of {purpose}"), &key);
    }
    needles
}

fn tree_key(data_key: &[u8], vault: &[u8], purpose: &str) -> [u8; 32] {
    let mut key = [0; 32];
    let info: [&[u8]; 4] = [b"bitgo-vault/1", vault, &0u32.to_be_bytes(), purpose.as_bytes()];
    Hkdf::<Sha256>::new(None, data_key).expand_multi_info(&info, &mut key).unwrap();
    key
}

/// A number of 32 bytes: as it is written, as limbs (little-endian throughout), and as the
/// 32-bit words of a hash's state.
fn number(add: &mut impl FnMut(&str, &[u8]), name: &str, bytes: &[u8]) {
    add(name, bytes);
    add(&format!("{name}, as limbs"), &bytes.iter().rev().copied().collect::<Vec<_>>());
    let words = bytes.chunks(4).flat_map(|word| word.iter().rev().copied());
    add(&format!("{name}, as words"), &words.collect::<Vec<_>>());
}

/// HMAC-SHA256's key in each form: digest where it is long, pads, and the states after them.
fn hmac_key(add: &mut impl FnMut(&str, &[u8]), name: &str, key: &[u8]) {
    let mut block = [0; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
        number(add, &format!("SHA-256 of {name}"), &block[..32]);
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    for (which, pad) in [("inner", 0x36), ("outer", 0x5c)] {
        let padded = block.map(|byte| byte ^ pad);
        let secret = padded.iter().copied().take(key.len().min(32)).collect::<Vec<_>>();
        add(&format!("{which} pad of {name}"), &secret);
        let mut state = [
            0x6a09_e667,
            0xbb67_ae85,
            0x3c6e_f372,
            0xa54f_f53a,
            0x510e_527f,
            0x9b05_688c,
            0x1f83_d9ab,
            0x5be0_cd19,
        ];
        sha2::block_api::compress256(&mut state, &[padded]);
        let state = state.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect::<Vec<_>>();
        add(&format!("{which} state of {name}"), &state);
    }
}

/// Five limbs of 52 bits, as `k256` has it.
fn field_element(bytes: &[u8]) -> Vec<u8> {
    let bit = |at: usize| {
        bytes.get(31usize.wrapping_sub(at / 8)).map_or(0, |b| u64::from(b >> (at % 8) & 1))
    };
    let limb = |limb: usize| (0..52).fold(0, |sum, at| sum | bit(52 * limb + at) << at);
    (0..5).flat_map(|at| limb(at).to_ne_bytes()).collect()
}

fn argon2id(password: &[u8], salt: &[u8], m: u32, t: u32, p: u32) -> [u8; 32] {
    let mut key = [0; 32];
    let params = Params::new(m, t, p, Some(32)).unwrap();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut key)
        .unwrap();
    key
}

fn session_key(key: &[u8; 32], salt: &[u8]) -> [u8; 32] {
    let mut session_key = [0; 32];
    Hkdf::<Sha256>::new(Some(salt), key).expand(b"bitgo-v2-session", &mut session_key).unwrap();
    session_key
}

/// An envelope with `hkdfSalt`, which nobody but BitGo seals.
fn sealed_in_session(password: &str, plaintext: &str) -> String {
    let key = session_key(&argon2id(password.as_bytes(), &[1; 16], 8, 1, 1), &[2; 16]);
    let mut ct = plaintext.as_bytes().to_vec();
    Aes256Gcm::new((&key).into()).encrypt_in_place(&Nonce::from([3; 12]), b"", &mut ct).unwrap();
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    json!({"v": 2, "m": 8, "t": 1, "p": 1, "salt": base64(&[1; 16]),
        "hkdfSalt": base64(&[2; 16]), "iv": base64(&[3; 12]), "ct": base64(&ct)})
    .to_string()
}

/// The keys that an envelope is opened with, and what they are called.
fn envelope_keys(envelope: &Value, password: &[u8]) -> Vec<([u8; 32], &'static str)> {
    let part = |name: &str| envelope[name].as_str().map(|part| STANDARD.decode(part).unwrap());
    let count = |name: &str| u32::try_from(envelope[name].as_u64().unwrap()).unwrap();
    let salt = part("salt").unwrap();
    if envelope["v"] == 1 {
        let mut key = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, count("iter"), &mut key);
        return vec![(key, "PBKDF2 output")];
    }
    let key = argon2id(password, &salt, count("m"), count("t"), count("p"));
    let session = part("hkdfSalt").map(|salt| (session_key(&key, &salt), "session key"));
    [(key, "Argon2id output")].into_iter().chain(session).collect()
}
