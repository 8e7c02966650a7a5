//! A vault that leases, and what is asked of it.
#![allow(dead_code, reason = "no bench asks for all of it")]
#![allow(clippy::disallowed_methods, reason = "it measures time that has passed")]

use bitgo_vault::api::CreateToken;
use bitgo_vault::crypto::{AuthKey, AuthVersion, KdfParams, Subject};
use bitgo_vault::emulator::Emulator;
use bitgo_vault::test_util::expose_untold;
use bitgo_vault::{
    Amount, Clock, Coin, FileSystem, Label, Login, Passphrase, Request, Signed, SystemClock, Vault,
};
use http::HeaderMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const BODY: usize = 200;
/// `POST|<13 digits>|3.0|/api/v2/tbtc/wallet/<32 digits>/tx/initiate|` and the body.
pub(crate) const SUBJECT: usize = 88 + BODY;
pub(crate) const ANSWER: &[u8] =
    br#"{"txid":"5941b202b42fcbc707170d5b597491d9","status":"signed"}"#;

/// A vault with tokens `a` and `b`, which view, spend, and may be handed out, and `viewer`, which does
/// not spend.
pub(crate) struct Desk {
    pub(crate) vault: Vault,
    pub(crate) view: Request,
    pub(crate) spend: Request,
    pub(crate) body: String,
    pub(crate) session: Request,
    pub(crate) runtime: Runtime,
    _dir: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (dir, coin) = (tempfile::tempdir().unwrap(), Coin::new("tbtc").unwrap());
        let passphrase = || Passphrase::new("correct horse battery staple");
        let (vault, wallet) = runtime.block_on(async {
            let bitgo = Emulator::builder().without_traffic().start().await.unwrap();
            let vault = Vault::builder(dir.path().join("vault"), bitgo.environment().clone())
                .kdf(KdfParams::new(8, 1, 1).unwrap())
                .dangerous_allow_file_system(FileSystem::Overlayfs);
            let vault = vault.create(passphrase()).await.unwrap();
            let login = Login::new(bitgo.email(), bitgo.password(), bitgo.otp());
            vault.login("desk", login).await.unwrap();
            for label in ["a", "b", "viewer"] {
                let token =
                    CreateToken::new(&Label::new(label).unwrap(), Duration::from_secs(3600))
                        .scope("wallet_view_all".parse().unwrap());
                let token = match label {
                    "viewer" => token.no_spending_limit(),
                    _ => token
                        .scope("wallet_spend_all".parse().unwrap())
                        .spending_limit(&coin, Amount::new(1 << 60)),
                };
                vault.issue("desk", token, bitgo.otp()).await.unwrap();
                vault.dangerous_allow_raw_exposure(label, passphrase()).await.unwrap();
            }
            (vault, bitgo.wallet(&coin))
        });
        let path = format!("/api/v2/tbtc/wallet/{wallet}");
        let head = format!("GET|1515748528011|3.0|{path}/transfer?prevId=|").len();
        let filler = "5".repeat(SUBJECT - head);
        let body = |comment: &str| {
            let to = "tb1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq";
            format!(r#"{{"recipients":[{{"address":"{to}","amount":"1"}}],"comment":"{comment}"}}"#)
        };
        let body = body(&"x".repeat(BODY - body("").len()));
        Self {
            vault,
            view: Request::get(&format!("{path}/transfer?prevId={filler}")).unwrap(),
            spend: Request::post(&format!("{path}/tx/initiate"))
                .bytes(body.clone().into())
                .unwrap(),
            body,
            session: Request::get("/api/v2/user/session").unwrap(),
            runtime,
            _dir: dir,
        }
    }

    pub(crate) fn sign(&self, label: &str, request: &Request) {
        drop(black_box(self.vault.lease(black_box(label), request).unwrap().sign().unwrap()));
    }

    /// How long so many signatures take that threads share.
    pub(crate) fn sign_by(&self, threads: usize, times: u64, request: &Request) -> Duration {
        let begin = Barrier::new(threads + 1);
        let share = times.div_ceil(threads as u64);
        let elapsed = thread::scope(|scope| {
            let signers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        begin.wait();
                        (0..share).for_each(|_| self.sign("a", request));
                    })
                })
                .collect();
            begin.wait();
            let begin = Instant::now();
            signers.into_iter().for_each(|signer| signer.join().unwrap());
            begin.elapsed()
        });
        elapsed.mul_f64(times as f64 / (share * threads as u64) as f64)
    }

    /// For clients that take headers as a map, which is made anew.
    pub(crate) fn sign_to_map(&self, request: &Request) {
        let signed = self.vault.lease(black_box("a"), request).unwrap().sign().unwrap();
        drop(black_box(signed.headers()));
    }

    pub(crate) fn give_back(&self, request: &Request) {
        self.vault.lease(black_box("a"), request).unwrap().release();
    }

    /// The key that BitGo answers with for a token.
    pub(crate) fn key(&self, label: &str) -> Box<AuthKey> {
        let lease = self.vault.lease(label, &self.session).unwrap();
        AuthKey::new(&expose_untold(lease).unwrap())
    }

    /// A request that is signed, and its answer as BitGo gives it: accepted, verifiable.
    pub(crate) fn asked<'r>(&self, request: &'r Request, key: &AuthKey) -> (Signed<'r>, HeaderMap) {
        let signed = self.vault.lease("a", request).unwrap().sign().unwrap();
        let now = SystemClock::new().now_ms();
        let subject = Subject {
            version: AuthVersion::V3,
            timestamp_ms: now,
            method: request.method().as_str(),
            target: request.target(),
            auth_request_id: "",
        };
        let hmac = key.sign_response(&subject, 200, ANSWER);
        let mut headers = HeaderMap::new();
        headers.insert("timestamp", now.into());
        headers.insert("hmac", hmac.parse().unwrap());
        (signed, headers)
    }

    pub(crate) fn hand_out(&self, label: &str) {
        let lease = self.vault.lease(black_box(label), &self.session).unwrap();
        black_box(expose_untold(lease).unwrap());
    }
}
