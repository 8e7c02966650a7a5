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

mod child;
pub(crate) mod keeping;
pub(crate) mod needles;
mod search;

use crate::desk;
use bitgo_vault::emulator::Emulator;
use needles::{Needles, Scene, account_needles, random_hex, store_needles};
use search::{Expect, Report, Watched};
use std::path::Path;
use std::{env, fs, mem};
use zeroize::Zeroizing;

/// The directory in which the child finds what it is given.
const CHILD: &str = "BITGO_VAULT_MEMORY_CHILD";
const GIVEN: &str = "given.json";
const IN_PLAIN: &str = "needles.json";
const STORE: &str = "vault";

/// Hides what the child must not hold in plain. None of HMAC's pads, so that no masked value
/// is a needle.
const MASK: u8 = 0xb7;

const EMAIL: &str = "desk@example.com";
const PATH: &str = "m/999999/104490948/173846667";

#[test]
fn dropped_secrets_leave_no_trace() {
    if let Some(dir) = env::var_os(CHILD) {
        return child::use_and_drop(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::new();
    scene.given.write(&dir.path().join(GIVEN));
    let mut needles = scene.needles();
    let mut child = Watched::start(dir.path(), "dropped_secrets_leave_no_trace");
    let mut report = Report::default();

    report.note(&child.stage("start"), &needles, child.scan(&needles), Expect::Nothing);
    for (name, _) in child::STEPS {
        report.note(&child.stage(name), &needles, child.scan(&needles), Expect::Nothing);
    }
    let open = child.stage("store open, ");
    let header = fs::read(dir.path().join(STORE).join("header")).unwrap();
    needles.extend(store_needles(scene.text("passphrase"), &header));
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
        return child::use_vault(Path::new(&dir));
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

    let mut needles = account_needles(bitgo.email(), &bitgo.password(), &bitgo.secrets());
    for (name, text) in [("control", control), ("freed control", freed), ("passphrase", passphrase)]
    {
        needles.insert(name.to_owned(), text.into_bytes());
    }
    let mut report = Report::default();
    report.note(&stage, &needles, child.scan(&needles), Expect::Nothing);
    child.end();
    report.finish();
}

/// Values that the parent has in plain and the child masked.
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
