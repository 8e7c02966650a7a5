//! What was secret is gone from memory once it is dropped.
//!
//! A child process uses secrets in one step after the other and stops after each. The test reads
//! all of its memory meanwhile (`/proc/<pid>/mem`) and looks for each secret, for what is derived
//! from it, and for the forms these take inside the primitives. Two control secrets, one that the
//! child keeps and one that it frees unwiped, must be found each time, secrets in use while they
//! are, and in the end, when the child is handed all needles in plain, every one of them.
//!
//! The child gets its secrets masked and unmasks them straight into buffers that are wiped. What
//! it frees is not handed out again (`keeping.rs`), so that nothing covers up what was left.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use crate::desk;
use crate::keeping::keep_what_is_freed;
use aes_gcm::aead::{AeadInOut, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bip32::{ChildNumber, XPrv};
use bitgo_vault::crypto::{
    self, AuthKey, AuthVersion, DataKey, DerivationPath, Envelope, EnvelopeVersion, ExtensionKey,
    KdfParams, Place, Salt, Subject, V1Params, V2Params, VaultId, WRAPPED_LEN,
};
use bitgo_vault::emulator::Emulator;
use bitgo_vault::test_util::{self, Kept, TokioClock};
use bitgo_vault::{AccessToken, EcdhXprv, Environment, Login, LoginPassword, Otp, Passphrase};
use getrandom::SysRng;
use hkdf::Hkdf;
use rand_core::{TryCryptoRng, TryRng};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write, stderr, stdin, stdout};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::{env, mem};
use zeroize::Zeroizing;

/// The directory in which the child finds what it is given.
const CHILD: &str = "BITGO_VAULT_MEMORY_CHILD";
const GIVEN: &str = "given.json";
const IN_PLAIN: &str = "needles.json";
const STORE: &str = "vault";

/// Hides what the child must not hold in plain. No power of HMAC's pads, so that no masked value
/// is a needle.
const MASK: u8 = 0xb7;
/// As many bytes in a row as make a hit.
const WINDOW: usize = 16;
const PAGE: usize = 4096;
/// The stack of the thread that the child works on.
const STACK: u64 = 2 << 20;

/// What needles begin with that the HTTP stack carries.
const CARRIED: &str = "carried:";

const EMAIL: &str = "desk@example.com";
const PATH: &str = "m/999999/104490948/173846667";
const V1: V1Params = V1Params { iterations: 3, key_bits: 256, tag_bits: 64 };
const V2: V2Params = V2Params { m_cost: 8, t_cost: 1, p_cost: 1 };

/// A use of secrets that leaves none.
type Step = fn(&Given);

const STEPS: [(&str, Step); 12] = [
    ("secrets made and dropped", make_secrets),
    ("open_xprv, v1", |given| drop(open_xprv(given, "xprv in v1"))),
    ("open_xprv, v2", |given| drop(open_xprv(given, "xprv in v2"))),
    ("open_xprv, v2 of a session", |given| drop(open_xprv(given, "xprv in v2 of a session"))),
    ("an altered envelope", open_altered),
    ("shared_secret", |given| drop(shared_secret(given))),
    ("open_token", open_token),
    ("seal_token", seal_token),
    ("AuthKey", sign_requests),
    ("password_hmac", |given| drop(crypto::password_hmac(EMAIL, &login_password(given)))),
    ("ExtensionKey", extend),
    ("keys and records", |given| seal_records(given)),
];

#[test]
fn dropped_secrets_leave_no_trace() {
    if let Some(dir) = env::var_os(CHILD) {
        return use_and_drop(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    scene.given.write(&dir.path().join(GIVEN));
    let mut needles = scene.needles();
    let mut child = Watched::start(dir.path(), "dropped_secrets_leave_no_trace");
    let mut report = Report::default();

    report.note(&child.stage("start"), &needles, child.scan(&needles), Expect::Nothing);
    for (name, _) in STEPS {
        report.note(&child.stage(name), &needles, child.scan(&needles), Expect::Nothing);
    }
    let open = child.stage("store open, ");
    needles
        .extend(store_needles(&scene, &fs::read(dir.path().join(STORE).join("header")).unwrap()));
    report.note(&open, &needles, child.scan(&needles), Expect::Held(&["token", "wif"]));
    for name in ["store closed", "store opened again and closed"] {
        report.note(&child.stage(name), &needles, child.scan(&needles), Expect::Nothing);
    }
    report.note(
        &child.stage("in use"),
        &needles,
        child.scan(&needles),
        Expect::Held(&[
            "token",
            "bearer",
            "passphrase",
            "login password",
            "xprv",
            "shared secret",
            "wif",
            "extension scalar, as limbs",
            "password hmac",
        ]),
    );
    report.note(&child.stage("dropped"), &needles, child.scan(&needles), Expect::Nothing);
    Given(needles.clone()).write(&dir.path().join(IN_PLAIN));
    report.note(&child.stage("in plain"), &needles, child.scan(&needles), Expect::All);
    child.end();
    report.finish();
}

/// With a whole vault that logs in, issues and spends over HTTP, what the HTTP stack carries is
/// best effort; what never travels must be gone as well.
#[test]
fn a_closed_vault_leaves_what_http_carried_at_most() {
    if let Some(dir) = env::var_os(CHILD) {
        return use_vault(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bitgo = runtime.block_on(Emulator::builder().without_traffic().start()).unwrap();
    let [control, freed, passphrase] = [(); 3].map(|()| random_hex(20));
    let wallet = bitgo.wallet(&desk::coin()).to_string();
    let given = [
        ("control", control.as_str()),
        ("freed control", &freed),
        ("passphrase", &passphrase),
        ("url", bitgo.url()),
        ("server xpub", bitgo.server_xpub()),
        ("wallet", &wallet),
        ("email", bitgo.email()),
        ("otp", bitgo.otp().expose()),
        ("login password", bitgo.password().expose()),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
    Given(given.into()).write(&dir.path().join(GIVEN));
    let mut child = Watched::start(dir.path(), "a_closed_vault_leaves_what_http_carried_at_most");
    let stage = child.stage("vault closed");

    let mut needles = Needles::new();
    let mut add = |name: &str, value: &[u8]| drop(needles.insert(name.to_owned(), value.into()));
    add("control", control.as_bytes());
    add("freed control", freed.as_bytes());
    add("passphrase", passphrase.as_bytes());
    let hmac = crypto::password_hmac(bitgo.email(), &bitgo.password());
    add(&format!("{CARRIED} password hmac"), hmac.as_bytes());
    for (number, secret) in bitgo.secrets().iter().enumerate() {
        add(&format!("secret {number}"), secret.as_bytes());
        if secret.starts_with("v2x") {
            hmac_key(&mut add, &format!("secret {number}"), secret.as_bytes());
            let bearer = base16ct::lower::encode_string(&Sha256::digest(secret));
            add(&format!("{CARRIED} bearer {number}"), bearer.as_bytes());
        }
    }
    let mut report = Report::default();
    report.note(&stage, &needles, child.scan(&needles), Expect::Nothing);
    child.end();
    report.finish();
}

// The child.

fn use_vault(dir: &Path) {
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

fn use_and_drop(dir: &Path) {
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

fn open_xprv(given: &Given, envelope: &str) -> EcdhXprv {
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

fn shared_secret(given: &Given) -> Zeroizing<String> {
    let path = DerivationPath::parse(PATH).unwrap();
    crypto::shared_secret(&xprv(given), &given.secret("server xpub"), &path).unwrap()
}

fn open_token(given: &Given) {
    for envelope in ["token in v1", "token in v2"] {
        let (xpub, envelope) = (given.secret("server xpub"), given.secret(envelope));
        let opened = crypto::open_token(&xprv(given), &xpub, PATH, &envelope).unwrap();
        assert!(opened.can_sign());
    }
}

fn seal_token(given: &Given) {
    let path = DerivationPath::parse(PATH).unwrap();
    for version in [EnvelopeVersion::V1, EnvelopeVersion::V2] {
        let (xprv, xpub, token) = (xprv(given), given.secret("server xpub"), token(given));
        crypto::seal_token(&xprv, &xpub, &path, &token, version, &mut SysRng).unwrap();
    }
}

fn subject(version: AuthVersion) -> Subject<'static> {
    Subject { version, timestamp_ms: 1_767_323_045_000, method: "post", target: "/api/v2/x" }
}

fn sign_requests(given: &Given) {
    let key = AuthKey::new(&token(given));
    for subject in [AuthVersion::V2, AuthVersion::V3].map(subject) {
        let hmac = key.sign_request(&subject, b"{}");
        key.verify_request(&subject, b"{}", &hmac).unwrap();
        assert!(key.verify_response(&subject, 200, b"{}", &hmac).is_err());
        let hmac = key.sign_response(&subject, 200, b"{}");
        key.verify_response(&subject, 200, b"{}", &hmac).unwrap();
    }
    key.sign_request_v4(1_767_323_045, "get", "/api/v2/x", b"", "id");
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
    let place = Place { vault: &vault, epoch: 0, tree: "tokens", name: &[7; 16] };
    let record = cipher.seal(place, token(given).expose().as_bytes(), &mut rng).unwrap();
    assert!(cipher.open(place, &record).unwrap().as_slice() == token(given).expose().as_bytes());
    data_key.name_key(&vault, 0).unwrap().name("tokens", b"text");
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

// What both know: the parent in plain, the child masked.

type Needles = BTreeMap<String, Vec<u8>>;

struct Given(Needles);

impl Given {
    /// Writes the values masked; they are masked again as they are read, by [`Given::bytes`].
    fn write(&self, path: &Path) {
        let masked = |value: &[u8]| value.iter().map(|byte| byte ^ MASK).collect::<Vec<_>>();
        let masked: Needles =
            self.0.iter().map(|(name, value)| (name.clone(), masked(value))).collect();
        fs::write(path, serde_json::to_vec(&masked).unwrap()).unwrap();
    }

    fn read(path: &Path) -> Self {
        Self(serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
    }

    fn bytes(&self, name: &str) -> Zeroizing<Vec<u8>> {
        let masked = &self.0[name];
        let mut bytes = Zeroizing::new(Vec::with_capacity(masked.len()));
        bytes.extend(masked.iter().map(|byte| byte ^ MASK));
        bytes
    }

    fn secret(&self, name: &str) -> Zeroizing<String> {
        let mut bytes = self.bytes(name);
        Zeroizing::new(String::from_utf8(mem::take(&mut *bytes)).unwrap())
    }
}

// The parent: what to look for.

fn random(bytes: usize) -> Vec<u8> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).unwrap();
    random
}

fn random_hex(bytes: usize) -> String {
    base16ct::lower::encode_string(&random(bytes))
}

struct Scene {
    given: Given,
}

impl Scene {
    fn new() -> Self {
        let password = random_hex(14);
        let token = AccessToken::new(format!("v2x{}", random_hex(32)));
        let (xprv, _) = crypto::generate_keypair(&mut SysRng).unwrap();
        let (_, server_xpub) = crypto::generate_keypair(&mut SysRng).unwrap();
        let path = DerivationPath::parse(PATH).unwrap();
        let extension_secret = random(32);
        let mut rng = &extension_secret[..];
        let wif = ExtensionKey::generate(&mut Once(&mut rng)).unwrap().to_wif();
        let seal_token = |version| {
            crypto::seal_token(&xprv, &server_xpub, &path, &token, version, &mut SysRng).unwrap()
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

    fn text(&self, name: &str) -> &str {
        std::str::from_utf8(&self.given.0[name]).unwrap()
    }

    fn needles(&self) -> Needles {
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
        let shared = crypto::shared_secret(&xprv, self.text("server xpub"), &path).unwrap();
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

/// The keys of the store that the child made, found by its header and the passphrase.
fn store_needles(scene: &Scene, header: &[u8]) -> Needles {
    let mut needles = Needles::new();
    let mut add = |name: &str, value: &[u8]| drop(needles.insert(name.to_owned(), value.into()));
    let (bound, rest) = header.split_at(74);
    let (vault, salt) = (&bound[18..34], &bound[46..62]);
    let kek = argon2id(scene.text("passphrase").as_bytes(), salt, 8, 1, 1);
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
    number(&mut add, "store's name key", &tree_key(&data_key, vault, "names"));
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

/// A source of the bytes it holds.
struct Once<'a, 'b>(&'a mut &'b [u8]);

impl TryRng for Once<'_, '_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("keys are drawn as bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("keys are drawn as bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(self.0.split_off(..bytes.len()).unwrap());
        Ok(())
    }
}

impl TryCryptoRng for Once<'_, '_> {}

// The parent: where it looks.

/// The child, stopped at a stage.
struct Watched {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    started: bool,
}

impl Watched {
    fn start(dir: &Path, test: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("memory::{test}"), "--nocapture"])
            .env(CHILD, dir)
            .env("RUST_MIN_STACK", STACK.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout), started: false }
    }

    /// Lets the child go on to the next stage, which must be this one; the stage as the child has it.
    fn stage(&mut self, name: &str) -> String {
        if mem::replace(&mut self.started, true) {
            self.stdin.write_all(b"\n").unwrap();
        }
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.stdout.read_line(&mut line).unwrap() > 0,
                "the child never came to {name}"
            );
            if let Some(stage) = line.strip_prefix("stage ") {
                assert!(stage.starts_with(name), "{stage} comes before {name}");
                return stage.trim_end().to_owned();
            }
        }
    }

    fn end(mut self) {
        self.stdin.write_all(b"\n").unwrap();
        let mut rest = String::new();
        while self.stdout.read_line(&mut rest).unwrap() > 0 {}
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }

    fn scan(&self, needles: &Needles) -> Vec<Hit> {
        let pid = self.child.id();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut index = Index::new(needles);
        for mapping in mappings(&fs::read_to_string(format!("/proc/{pid}/maps")).unwrap()) {
            let mut bytes = vec![0; usize::try_from(mapping.end - mapping.start).unwrap()];
            match memory.read_exact_at(&mut bytes, mapping.start) {
                Ok(()) => index.search(&mapping, &bytes),
                // Secret memory is not to be read even so.
                Err(_) if mapping.name.contains("secretmem") => {}
                Err(error) => panic!("{} cannot be read: {error}", mapping.name),
            }
        }
        index.hits
    }
}

struct Mapping {
    start: u64,
    end: u64,
    name: String,
    /// Where the stack at its start ends, should it be one.
    stack_end: u64,
}

/// What can be read of the child's memory, but for the kernel's own pages.
fn mappings(maps: &str) -> Vec<Mapping> {
    let mut guard_end = 0;
    let mut mappings = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        let permissions = fields.next().unwrap();
        let name = fields.nth(3).unwrap_or("anonymous").to_owned();
        if permissions.starts_with("---") {
            // A thread's stack begins above a page that nobody may touch; a heap of the
            // allocator's may too, but at a round address.
            guard_end = if end % (64 << 20) == 0 { 0 } else { end };
        } else if permissions.starts_with("rw")
            || permissions.starts_with('r') && !name.starts_with(['/', '['])
        {
            let stack_end = match name.as_str() {
                "[stack]" => end,
                "anonymous" if start == guard_end => start + STACK,
                _ => 0,
            };
            mappings.push(Mapping { start, end, name, stack_end });
        }
    }
    mappings
}

/// Where part of a secret was found.
struct Hit {
    needle: String,
    on_stack: bool,
    length: usize,
    place: String,
}

/// Every window of every needle, by its first bytes.
struct Index<'a> {
    needles: Vec<(&'a str, &'a [u8])>,
    begins: Vec<bool>,
    windows: HashMap<[u8; 8], Vec<(usize, usize)>>,
    hits: Vec<Hit>,
}

impl<'a> Index<'a> {
    fn new(needles: &'a Needles) -> Self {
        let needles: Vec<_> =
            needles.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let (mut begins, mut windows) = (vec![false; 1 << 16], HashMap::new());
        for (at, (name, value)) in needles.iter().enumerate() {
            assert!(value.len() >= WINDOW, "{name} is too short to be looked for");
            for (offset, window) in value.windows(WINDOW).enumerate() {
                begins[usize::from(window[0]) << 8 | usize::from(window[1])] = true;
                let places: &mut Vec<_> =
                    windows.entry(window[..8].try_into().unwrap()).or_default();
                places.push((at, offset));
            }
        }
        Self { needles, begins, windows, hits: Vec::new() }
    }

    fn search(&mut self, mapping: &Mapping, bytes: &[u8]) {
        let last = bytes.len().saturating_sub(WINDOW);
        for page in (0..last).step_by(PAGE) {
            if bytes[page..].starts_with(&[0; PAGE]) {
                continue;
            }
            // Plain steps: this runs over all memory, in tests that are not optimised.
            let (mut at, end) = (page, last.min(page + PAGE));
            while at < end {
                if self.begins[usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1])] {
                    self.look(mapping, bytes, at);
                }
                at += 1;
            }
        }
    }

    fn look(&mut self, mapping: &Mapping, bytes: &[u8], at: usize) {
        let first: [u8; 8] = bytes[at..at + 8].try_into().unwrap();
        for &(needle, offset) in self.windows.get(&first).into_iter().flatten() {
            let (name, value) = self.needles[needle];
            // A longer match was noted where it began.
            let goes_on = at > 0 && offset > 0 && bytes[at - 1] == value[offset - 1];
            let same = bytes[at..].iter().zip(&value[offset..]).take_while(|(a, b)| a == b);
            let length = same.count();
            if length < WINDOW || goes_on {
                continue;
            }
            let address = mapping.start + at as u64;
            let on_stack = address < mapping.stack_end;
            let place = match on_stack {
                true => format!("a stack, {} bytes below its top", mapping.stack_end - address),
                false => format!("{}, {} bytes in", mapping.name, address - mapping.start),
            };
            let before = bytes[at.saturating_sub(24)..at].escape_ascii();
            let place = format!("{place}, behind \"{before}\"");
            self.hits.push(Hit { needle: name.to_owned(), on_stack, length, place });
        }
    }
}

/// What a stage must show beside the control.
enum Expect<'a> {
    Nothing,
    /// These, somewhere, for they are in use.
    Held(&'a [&'a str]),
    All,
}

#[derive(Default)]
struct Report {
    /// What was found though it should not, and the stage that first showed it.
    left: BTreeMap<(bool, String), String>,
    failures: Vec<String>,
}

impl Report {
    fn note(&mut self, stage: &str, needles: &Needles, hits: Vec<Hit>, expect: Expect<'_>) {
        let mut missing = |name: &str| {
            let whole = |hit: &Hit| hit.needle == name && hit.length == needles[name].len();
            if !hits.iter().any(whole) {
                self.failures.push(format!("{stage}: {name} is not found"));
            }
        };
        ["control", "freed control"].into_iter().for_each(&mut missing);
        let may_be_there = |name: &str| match expect {
            Expect::Nothing => name.ends_with("control"),
            // What is locked away is not to be read though it is in use.
            Expect::Held(_) => !(name.starts_with("store's") && stage.ends_with("Secret")),
            Expect::All => true,
        };
        match expect {
            Expect::Nothing => {}
            Expect::Held(names) => names.iter().for_each(|name| missing(name)),
            Expect::All => needles.keys().for_each(|name| missing(name)),
        }
        for hit in hits.into_iter().filter(|hit| !may_be_there(&hit.needle)) {
            // Half a key may be left on a stack, in the padding of what is returned, say.
            let is_part = hit.length < 32 && hit.length < needles[&hit.needle].len();
            let is_tolerated = hit.on_stack && is_part || hit.needle.starts_with(CARRIED);
            let line = format!("{} ({} bytes) in {}", hit.needle, hit.length, hit.place);
            self.left.entry((is_tolerated, line)).or_insert_with(|| stage.to_owned());
        }
    }

    fn finish(mut self) {
        let mut stderr = stderr().lock();
        for ((is_tolerated, line), stage) in &self.left {
            let mark = if *is_tolerated { "best effort" } else { "LEFT" };
            writeln!(stderr, "{mark}: {line}, after: {stage}").unwrap();
        }
        self.left.retain(|(is_tolerated, _), _| !*is_tolerated);
        assert!(self.failures.is_empty() && self.left.is_empty(), "{:?}", self.failures);
    }
}
