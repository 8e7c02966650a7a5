//! What it costs to open an issued token, beside the crates it is made of, each called as its
//! documentation shows. The vectors are those that BitGo's SDK is timed on (`benches/sdk`), one
//! after the other, so that no salt and no path comes twice in a row.
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use aes::{Aes128, Aes256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bip32::{ChildNumber, Prefix, XPrv, XPub};
use bitgo_vault::crypto::{
    DerivationPath, EcdhPrivateKey, EcdhPublicKey, Envelope, open_token, open_xprv, shared_secret,
};
use bitgo_vault::{EcdhXprv, LoginPassword};
use ccm::aead::{Aead, KeyInit};
use ccm::consts::{U8, U13};
use ccm::{Ccm, Nonce};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use k256::ProjectivePoint;
use k256::elliptic_curve::sec1::ToSec1Point;
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;
use std::hint::black_box;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    server_xpub: String,
    login_password: String,
    #[serde(rename = "encryptedECDHXprv")]
    encrypted_ecdh_xprv: String,
    ecdh_xprv: String,
    derivation_path: String,
    canonical_path: String,
    encrypted_token: String,
    token: String,
}

#[derive(Deserialize)]
struct Vectors {
    valid: Vec<Case>,
}

/// The cases whose token is in an envelope v1 (1 000 rounds of PBKDF2); their keys are so too
/// (10 000).
fn cases() -> Vec<Case> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/token_issuance.json");
    let vectors: Vectors = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut cases = vectors.valid;
    cases.retain(|case| case.encrypted_token.contains("\"v\":1"));
    assert_eq!(cases.len(), 8);
    cases
}

/// The obvious way to open an envelope v1.
fn open_plainly(envelope: &str, password: &[u8]) -> Vec<u8> {
    let envelope: Value = serde_json::from_str(envelope).unwrap();
    let bytes = |part: &str| STANDARD.decode(envelope[part].as_str().unwrap()).unwrap();
    let rounds = envelope["iter"].as_u64().unwrap().try_into().unwrap();
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password, &bytes("salt"), rounds, &mut key);
    let nonce: Nonce<U13> = bytes("iv")[..13].try_into().unwrap();
    let ciphertext = bytes("ct");
    assert_eq!(envelope["ts"], 64);
    match envelope["ks"].as_u64() {
        Some(128) => {
            let cipher = Ccm::<Aes128, U8, U13>::new_from_slice(&key[..16]).unwrap();
            cipher.decrypt(&nonce, ciphertext.as_slice()).unwrap()
        }
        _ => {
            Ccm::<Aes256, U8, U13>::new(&key.into()).decrypt(&nonce, ciphertext.as_slice()).unwrap()
        }
    }
}

/// The obvious way to open a token: both keys read and derived with `bip32`, multiplied with `k256`.
fn open_token_plainly(xprv: &str, case: &Case) -> Vec<u8> {
    let mut private: XPrv = xprv.parse().unwrap();
    let mut public: XPub = case.server_xpub.parse().unwrap();
    for step in case.canonical_path.split('/') {
        let step = ChildNumber(step.parse().unwrap());
        private = private.derive_child(step).unwrap();
        public = public.derive_child(step).unwrap();
    }
    let public = ProjectivePoint::from(*public.public_key().as_affine());
    let point = public * **private.private_key().as_nonzero_scalar();
    let password = base16ct::lower::encode_string(point.to_affine().to_sec1_point(true).as_bytes());
    open_plainly(&case.encrypted_token, password.as_bytes())
}

fn issuance(c: &mut Criterion) {
    let cases = cases();
    let mut turn = 0;
    let mut next = || {
        turn = (turn + 1) % cases.len();
        black_box(&cases[turn])
    };

    // The server's key is read once, when a vault is opened.
    let server = |case: &Case| EcdhPublicKey::parse(&case.server_xpub).unwrap();
    let servers: Vec<_> = cases.iter().map(server).collect();

    // Every token after a login's: the account's key comes out of the store and is read each time.
    let mut group = c.benchmark_group("open an issued token");
    group.bench_function(BenchmarkId::from_parameter("with the account's key"), |b| {
        let mut turn = 0;
        b.iter(|| {
            turn = (turn + 1) % cases.len();
            let (case, server) = (black_box(&cases[turn]), &servers[turn]);
            let client = EcdhPrivateKey::parse(&EcdhXprv::new(case.ecdh_xprv.as_str())).unwrap();
            open_token(&client, server, &case.derivation_path, &case.encrypted_token).unwrap()
        });
    });
    group.bench_function(BenchmarkId::new("obvious crates", "with the account's key"), |b| {
        b.iter(|| {
            let case = next();
            open_token_plainly(&case.ecdh_xprv, case)
        });
    });

    // A login's own: the account's key is in an envelope under the login password.
    group.bench_function(BenchmarkId::from_parameter("with the login password"), |b| {
        let mut turn = 0;
        b.iter(|| {
            turn = (turn + 1) % cases.len();
            let (case, server) = (black_box(&cases[turn]), &servers[turn]);
            let password = LoginPassword::new(case.login_password.as_str());
            let (_, client) = open_xprv(&case.encrypted_ecdh_xprv, &password).unwrap();
            open_token(&client, server, &case.derivation_path, &case.encrypted_token).unwrap()
        });
    });
    group.bench_function(BenchmarkId::new("obvious crates", "with the login password"), |b| {
        b.iter(|| {
            let case = next();
            let xprv = open_plainly(&case.encrypted_ecdh_xprv, case.login_password.as_bytes());
            let token = open_token_plainly(std::str::from_utf8(&xprv).unwrap(), case);
            assert_eq!(token, case.token.as_bytes());
            token
        });
    });
    group.finish();
}

/// What all tokens of one account share, made once: both keys are read, and led down the first step
/// of the path, which is the same for all.
fn shared_by_all(case: &Case) -> (EcdhPrivateKey, EcdhPublicKey, &str) {
    let (first, rest) = case.canonical_path.split_once('/').unwrap();
    let first = ChildNumber(first.parse().unwrap());
    let private: XPrv = case.ecdh_xprv.parse().unwrap();
    let private = private.derive_child(first).unwrap().to_string(Prefix::XPRV);
    let public: XPub = case.server_xpub.parse().unwrap();
    let public = public.derive_child(first).unwrap().to_string(Prefix::XPUB);
    let private = EcdhPrivateKey::parse(&EcdhXprv::new(private.as_str())).unwrap();
    (private, EcdhPublicKey::parse(&public).unwrap(), rest)
}

/// How much a batch of tokens could save, and what each token costs by itself whatever is shared.
fn batch(c: &mut Criterion) {
    let mut cases = cases();
    // As BitGo's are: all below one number.
    cases.retain(|case| case.canonical_path.starts_with("999999/"));
    let servers: Vec<_> =
        cases.iter().map(|case| EcdhPublicKey::parse(&case.server_xpub).unwrap()).collect();
    let shared: Vec<_> = cases.iter().map(shared_by_all).collect();
    let mut group = c.benchmark_group("issued tokens in a batch");
    let mut bench = |what: &str, open: &mut dyn FnMut(usize)| {
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(what), |b| {
            b.iter(|| {
                turn = (turn + 1) % cases.len();
                open(black_box(turn));
            });
        });
    };
    bench("one by one", &mut |i| {
        let case = &cases[i];
        let client = EcdhPrivateKey::parse(&EcdhXprv::new(case.ecdh_xprv.as_str())).unwrap();
        let (path, token) = (&case.derivation_path, &case.encrypted_token);
        black_box(open_token(&client, &servers[i], path, token).unwrap());
    });
    bench("what is common done once", &mut |i| {
        let (client, server, rest) = &shared[i];
        let token = open_token(client, server, rest, &cases[i].encrypted_token).unwrap();
        assert_eq!(token.expose(), cases[i].token);
    });
    let secrets: Vec<_> = shared
        .iter()
        .map(|(client, server, rest)| {
            shared_secret(client, server, &DerivationPath::parse(rest).unwrap()).unwrap()
        })
        .collect();
    bench("of it: derivations and product", &mut |i| {
        let (client, server, rest) = &shared[i];
        black_box(shared_secret(client, server, &DerivationPath::parse(rest).unwrap()).unwrap());
    });
    bench("of it: the envelope", &mut |i| {
        let envelope = Envelope::parse(&cases[i].encrypted_token).unwrap();
        black_box(envelope.open(secrets[i].as_bytes()).unwrap());
    });
    group.finish();
}

criterion_group!(benches, issuance, batch);
criterion_main!(benches);
