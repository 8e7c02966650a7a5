//! Makes a vault, fills nothing in, and opens it again: the default features suffice.

use bitgo_vault::crypto::KdfParams;
use bitgo_vault::{Environment, Error, Login, Passphrase, Request, StoreError, Vault};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("bitgo-vault-embedder-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let result = runtime.block_on(embed(&dir));
    std::fs::remove_dir_all(&dir)?;
    result
}

async fn embed(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let passphrase = || Passphrase::new("correct horse");
    let builder = || Vault::builder(dir, Environment::Test);
    let vault = builder().kdf(KdfParams::new(64, 1, 1)?).create(passphrase()).await?;
    let request = Request::get("/api/v2/user/session")?;
    assert!(matches!(vault.lease("none", &request), Err(Error::NoSuchToken { .. })));
    vault.close().await?;

    let wrong = builder().unlock(Passphrase::new("wrong")).await;
    assert!(matches!(wrong, Err(Error::Store(StoreError::WrongPassphrase))));
    let vault = builder().unlock(passphrase()).await?;
    assert!(vault.list().is_empty());
    // A whole client is there: nothing but a server is missing.
    let _login = |email: &str| Login::new(email, bitgo_vault::LoginPassword::new(""), bitgo_vault::Otp::new(""));
    vault.close().await?;
    println!("embedded with default features");
    Ok(())
}
