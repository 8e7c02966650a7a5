//! What is exported: all that is known of the tokens, and no secret.

use crate::desk::{Desk, PASSPHRASE, coin, passphrase};
use bitgo_vault::test_util::{Kept, keep_in_store};
use bitgo_vault::{AccessToken, EcdhXprv, Environment, FileSystem, Vault};
use serde_json::{Value, json};
use zeroize::Zeroizing;

#[tokio::test]
async fn no_secret_is_exported() {
    let secrets = [
        "v2x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        "L1extensionkeyextensionkeyextensionkeyextensionkeyex",
        "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvv",
        PASSPHRASE,
    ];
    let [token, extension_key, ecdh_xprv, _] = secrets;
    let kept = Kept {
        token: AccessToken::new(token),
        extension_key: Zeroizing::new(extension_key.into()),
        ecdh_xprv: EcdhXprv::new(ecdh_xprv),
    };
    let dir = tempfile::tempdir().unwrap();
    keep_in_store(dir.path(), &passphrase(), kept, |_| {}).unwrap();
    let vault = Vault::builder(dir.path(), Environment::Test)
        .dangerous_allow_file_system(FileSystem::Overlayfs)
        .unlock(passphrase())
        .await
        .unwrap();
    let exported = vault.export();
    assert!(exported.contains(r#""label": "desk""#), "{exported}");
    for secret in secrets {
        // Nor a good part of one.
        for part in secret.as_bytes().windows(12) {
            let part = std::str::from_utf8(part).unwrap();
            assert!(!exported.contains(part), "{part} is in {exported}");
        }
    }
    vault.close().await.unwrap();
}

#[tokio::test]
async fn what_is_exported_is_what_the_vault_says() {
    let desk = Desk::new().await;
    let bot = desk.issue("bot", 1000).await;
    desk.vault.send("bot", &desk.withdrawal(300)).await.unwrap();
    let exported: Value = serde_json::from_str(&desk.vault.export()).unwrap();
    assert_eq!(exported["format"], 1);
    assert_eq!(exported["rootUri"], desk.bitgo.environment().root_uri());
    let tokens = exported["accessTokens"].as_array().unwrap();
    let labels: Vec<_> = tokens.iter().map(|token| token["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["bot", "desk"]);
    let token = &tokens[0];
    assert_eq!(token["id"], bot.info.id.to_string());
    assert_eq!(token["kind"], "longLived");
    assert_eq!(token["scope"], json!(["wallet_spend_all"]));
    assert_eq!(token["permittedWallets"], json!([desk.wallet.to_string()]));
    assert_eq!(token["unlock"]["spendingLimits"][coin().as_str()]["txValueLimit"], "1000");
    let counter = &token["counters"][coin().as_str()];
    assert_eq!((&counter["accepted"], &counter["left"]), (&json!("300"), &json!("700")));
    assert_eq!(tokens[1]["kind"], "session");
    assert!(token["user"].is_string() && token["user"] == tokens[1]["user"]);
}
