//! The child: each step uses secrets and leaves none.

use super::keeping::keep_what_is_freed;
use super::{EMAIL, GIVEN, Given, IN_PLAIN, MASK, PATH, STORE};
use crate::desk;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitgo_vault::crypto::{
    self, AuthKey, AuthVersion, DataKey, DerivationPath, EcdhPrivateKey, EcdhPublicKey, Envelope,
    EnvelopeSession, EnvelopeVersion, ExtensionKey, KdfParams, Salt, Subject, V2Params, VaultId,
};
use bitgo_vault::test_util::{self, Kept, TokioClock};
use bitgo_vault::{AccessToken, EcdhXprv, Environment, Login, LoginPassword, Otp, Passphrase};
use getrandom::SysRng;
use rand_core::{TryCryptoRng, TryRng};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::hint::black_box;
use std::io::{Write, stdin, stdout};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A use of secrets that leaves none.
type Step = fn(&Given);

pub(super) const STEPS: [(&str, Step); 13] = [
    ("secrets made and dropped", make_secrets),
    ("open_xprv, v1", |given| drop(open_xprv(given, "xprv in v1"))),
    ("open_xprv, v2", |given| drop(open_xprv(given, "xprv in v2"))),
    ("open_xprv, v2 of a session", |given| drop(open_xprv(given, "xprv in v2 of a session"))),
    ("an altered envelope", open_altered),
    ("an envelope session", open_in_session),
    ("shared_secret", |given| drop(shared_secret(given))),
    ("open_token", open_token),
    ("seal_token", seal_token),
    ("AuthKey", sign_requests),
    ("password_hmac", |given| drop(crypto::password_hmac(EMAIL, &login_password(given)))),
    ("ExtensionKey", extend),
    ("keys and records", |given| seal_records(given)),
];

pub(super) fn use_vault(dir: &Path) {
    let (given, control) = begin(dir);
    deeper(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(login_issue_and_spend(&given, &dir.join(STORE)));
    });
    pause("vault closed");
    black_box(control);
}

async fn login_issue_and_spend(given: &Given, path: &Path) {
    let (url, xpub) = (given.secret("url"), given.secret("server xpub"));
    let environment = Environment::custom(&url, &xpub).unwrap();
    let clock = Arc::new(TokioClock::new());
    let options = || desk::options(path, &environment, &clock);
    let vault = options().create(passphrase(given)).await.unwrap();
    let otp = || Otp::new(given.secret("otp").as_str());
    let login = Login::new(given.secret("email").as_str(), login_password(given), otp());
    vault.login("desk", login.extensible()).await.unwrap();
    let wallet = given.secret("wallet").parse().unwrap();
    vault.issue("desk", desk::spender("bot", wallet, 100), otp()).await.unwrap();
    let spend = desk::withdrawal(wallet, 7);
    vault.send("bot", &spend).await.unwrap();
    vault.close().await.unwrap();
    let vault = options().unlock(passphrase(given)).await.unwrap();
    vault.send("bot", &spend).await.unwrap();
    vault.close().await.unwrap();
}

pub(super) fn use_and_drop(dir: &Path) {
    let (given, control) = begin(dir);
    pause("start");
    for (name, step) in STEPS {
        deeper(|| step(&given));
        pause(name);
    }
    deeper(|| keep_in_store(&given, &dir.join(STORE)));
    pause("store closed");
    deeper(|| reopen_store(&given, &dir.join(STORE)));
    pause("store opened again and closed");
    deeper(|| hold(&given));
    pause("dropped");
    let plain = Given::read(&dir.join(IN_PLAIN));
    let held: Vec<Zeroizing<Vec<u8>>> = plain.0.keys().map(|name| plain.bytes(name)).collect();
    pause("in plain");
    black_box((held, control));
}

/// What the child is given, and the control secret, to be kept alive. The other control is freed
/// as nothing else must be.
fn begin(dir: &Path) -> (Given, Zeroizing<String>) {
    keep_what_is_freed();
    let given = Given::read(&dir.join(GIVEN));
    drop(black_box(given.secret("freed control").to_string()));
    let control = given.secret("control");
    (given, control)
}

/// Tells that a stage is reached, and waits until it was looked at.
fn pause(stage: &str) {
    stdout().write_all(format!("\nstage {stage}\n").as_bytes()).unwrap();
    stdin().read_line(&mut String::new()).unwrap();
}

/// Runs a step further down the stack, so that [`pause`] does not run over what it left there.
#[inline(never)]
fn deeper(step: impl FnOnce()) {
    black_box([0u8; 32 << 10]);
    step();
    black_box([0u8; 1]);
}

fn token(given: &Given) -> AccessToken {
    AccessToken::new(given.secret("token").as_str())
}

fn login_password(given: &Given) -> LoginPassword {
    LoginPassword::new(given.secret("login password").as_str())
}

fn xprv(given: &Given) -> EcdhXprv {
    EcdhXprv::new(given.secret("xprv").as_str())
}

fn passphrase(given: &Given) -> Passphrase {
    Passphrase::new(given.secret("passphrase").as_str())
}

fn make_secrets(given: &Given) {
    black_box((token(given), login_password(given), xprv(given), passphrase(given)));
    black_box(given.secret("wif"));
}

fn open_xprv(given: &Given, envelope: &str) -> (EcdhXprv, EcdhPrivateKey) {
    crypto::open_xprv(&given.secret(envelope), &login_password(given)).unwrap()
}

/// The password is right, the tag is not: CCM has decrypted by the time it knows.
fn open_altered(given: &Given) {
    for name in ["xprv in v1", "xprv in v2"] {
        let mut envelope: Value = serde_json::from_str(&given.secret(name)).unwrap();
        let mut ct = STANDARD.decode(envelope["ct"].as_str().unwrap()).unwrap();
        *ct.last_mut().unwrap() ^= 1;
        envelope["ct"] = json!(STANDARD.encode(ct));
        let envelope = Envelope::parse(&envelope.to_string()).unwrap();
        assert!(envelope.open(login_password(given).expose().as_bytes()).is_err());
    }
}

fn open_in_session(given: &Given) {
    let costs = V2Params { m_cost: 8, t_cost: 1, p_cost: 1 };
    let password = login_password(given);
    let password = password.expose().as_bytes();
    let mut session = EnvelopeSession::new(costs, password, &mut SysRng).unwrap();
    let foreign = Envelope::parse(&given.secret("xprv in v2 of a session")).unwrap();
    let xprv = xprv(given);
    let own = session.seal(None, xprv.expose(), &mut SysRng).unwrap();
    for envelope in [&foreign, &Envelope::parse(&own).unwrap(), &foreign] {
        assert!(session.open(envelope).unwrap().expose_secret() == xprv.expose());
    }
}

fn keys(given: &Given) -> (EcdhPrivateKey, EcdhPublicKey) {
    let private = EcdhPrivateKey::parse(&xprv(given)).unwrap();
    (private, EcdhPublicKey::parse(&given.secret("server xpub")).unwrap())
}

fn shared_secret(given: &Given) -> Zeroizing<String> {
    let path = DerivationPath::parse(PATH).unwrap();
    let (private, public) = keys(given);
    crypto::shared_secret(&private, &public, &path).unwrap()
}

fn open_token(given: &Given) {
    for envelope in ["token in v1", "token in v2"] {
        let ((private, public), envelope) = (keys(given), given.secret(envelope));
        let opened = crypto::open_token(&private, &public, PATH, &envelope).unwrap();
        assert!(opened.can_sign());
    }
}

fn seal_token(given: &Given) {
    let path = DerivationPath::parse(PATH).unwrap();
    for version in [EnvelopeVersion::V1, EnvelopeVersion::V2] {
        let ((private, public), token) = (keys(given), token(given));
        crypto::seal_token(&private, &public, &path, &token, version, &mut SysRng).unwrap();
    }
}

fn subject(version: AuthVersion) -> Subject<'static> {
    Subject {
        version,
        timestamp_ms: 1_767_323_045_000,
        method: "post",
        target: "/api/v2/x",
        auth_request_id: "id",
    }
}

fn sign_requests(given: &Given) {
    let key = AuthKey::new(&token(given));
    for subject in [AuthVersion::V2, AuthVersion::V3, AuthVersion::V4].map(subject) {
        let hmac = key.sign_request(&subject, b"{}");
        key.verify_request(&subject, b"{}", &hmac).unwrap();
        assert!(key.verify_response(&subject, 200, b"{}", &hmac).is_err());
        let hmac = key.sign_response(&subject, 200, b"{}");
        key.verify_response(&subject, 200, b"{}", &hmac).unwrap();
    }
}

fn extend(given: &Given) {
    let key = ExtensionKey::from_wif(&given.secret("wif")).unwrap();
    let signature = key.sign(1_767_323_045_000, &token(given), "3600");
    let address = key.address();
    crypto::verify_extension(&address, 1_767_323_045_000, &token(given), "3600", &signature)
        .unwrap();
    assert!(*key.to_wif() == *given.secret("wif"));
    let mut rng = Drawn { given, parts: &["extension secret"] };
    assert!(ExtensionKey::generate(&mut rng).unwrap().address() == address);
}

fn seal_records(given: &Given) {
    let mut rng = Drawn { given, parts: &["salt", "vault id", "data key", "nonce", "nonce"] };
    let kdf = KdfParams::new(8, 1, 1).unwrap();
    let salt = Salt::random(&mut rng).unwrap();
    let kek = crypto::key_encryption_key(&passphrase(given), &salt, kdf).unwrap();
    let vault = VaultId::random(&mut rng).unwrap();
    let data_key = DataKey::generate(&mut rng).unwrap();
    let wrapped = kek.wrap(&data_key, b"header", &mut rng).unwrap();
    let again = kek.unwrap(&wrapped, b"header").unwrap();
    let cipher = again.record_cipher(&vault, 0, "tokens");
    let record = cipher.seal(&[7; 16], token(given).expose().as_bytes(), &mut rng).unwrap();
    assert!(cipher.open(&[7; 16], &record).unwrap()[..] == *token(given).expose().as_bytes());
    data_key.mac_key(&vault, 0, "names").mac(&[b"tokens", b"text"]);
}

fn keep_in_store(given: &Given, dir: &Path) {
    let kept =
        Kept { token: token(given), extension_key: given.secret("wif"), ecdh_xprv: xprv(given) };
    let while_open = |level| pause(&format!("store open, {level:?}"));
    test_util::keep_in_store(dir, &passphrase(given), kept, while_open).unwrap();
}

fn reopen_store(given: &Given, dir: &Path) {
    let opened = test_util::open_from_store(dir, &passphrase(given)).unwrap();
    assert!(opened.token.expose() == token(given).expose());
    assert!(*opened.extension_key == *given.secret("wif"));
    assert!(opened.ecdh_xprv.expose() == xprv(given).expose());
}

fn hold(given: &Given) {
    let (token, password, xprv) = (token(given), login_password(given), xprv(given));
    let extension = ExtensionKey::from_wif(&given.secret("wif")).unwrap();
    let derived = (
        AuthKey::new(&token),
        crypto::password_hmac(EMAIL, &password),
        shared_secret(given),
        extension.to_wif(),
    );
    let held = (token, password, xprv, passphrase(given), extension, derived);
    pause("in use");
    black_box(held);
}

/// Bytes set beforehand in place of random ones, unmasked where they are wanted.
struct Drawn<'a> {
    given: &'a Given,
    parts: &'a [&'static str],
}

impl TryRng for Drawn<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("keys are drawn as bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("keys are drawn as bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let (part, rest) = self.parts.split_first().unwrap();
        self.parts = rest;
        let masked = &self.given.0[*part];
        assert_eq!(masked.len(), bytes.len(), "{part}");
        bytes.iter_mut().zip(masked).for_each(|(byte, masked)| *byte = masked ^ MASK);
        Ok(())
    }
}

impl TryCryptoRng for Drawn<'_> {}
