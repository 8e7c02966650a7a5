//! A vault that leases, and what is asked of it.

use bitgo_vault::api::CreateToken;
use bitgo_vault::crypto::KdfParams;
use bitgo_vault::emulator::Emulator;
use bitgo_vault::test_util::expose_untold;
use bitgo_vault::{Amount, Coin, FileSystem, Label, Login, Passphrase, Request, Vault};
use std::hint::black_box;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const BODY: usize = 200;
/// `POST|<13 digits>|3.0|/api/v2/tbtc/wallet/<32 digits>/tx/initiate|` and the body.
pub const SUBJECT: usize = 88 + BODY;

/// A vault with tokens `a` and `b`, which view, spend, and may be handed out.
pub struct Desk {
    pub vault: Vault,
    pub view: Request,
    pub spend: Request,
    pub body: String,
    session: Request,
    _runtime: Runtime,
    _dir: TempDir,
}

impl Desk {
    pub fn new() -> Self {
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
            for label in ["a", "b"] {
                let token =
                    CreateToken::new(&Label::new(label).unwrap(), Duration::from_secs(3600))
                        .scope("wallet_view_all".parse().unwrap())
                        .scope("wallet_spend_all".parse().unwrap())
                        .spending_limit(&coin, Amount::new(1 << 60));
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
            _runtime: runtime,
            _dir: dir,
        }
    }

    pub fn sign(&self, label: &str, request: &Request) {
        drop(black_box(self.vault.lease(black_box(label), request).unwrap().sign().unwrap()));
    }

    /// For clients that take headers as a map, which is made anew.
    pub fn sign_to_map(&self, request: &Request) {
        let signed = self.vault.lease(black_box("a"), request).unwrap().sign().unwrap();
        drop(black_box(signed.headers()));
    }

    pub fn give_back(&self, request: &Request) {
        self.vault.lease(black_box("a"), request).unwrap().release();
    }

    pub fn hand_out(&self, label: &str) {
        let lease = self.vault.lease(black_box(label), &self.session).unwrap();
        black_box(expose_untold(lease).unwrap());
    }
}
