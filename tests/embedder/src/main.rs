//! Makes a vault and opens it again: the default features suffice.

use bitgo_vault::crypto::KdfParams;
use bitgo_vault::{Environment, Error, FileSystem, Passphrase, Request, StoreError, Vault};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("bitgo-vault-embedder-{}", std::process::id()));
    let bare = tokio::runtime::Builder::new_current_thread().build()?;
    let refused = bare.block_on(embed(&dir)).unwrap_err().to_string();
    assert!(refused.contains("time and io"), "a runtime without drivers: {refused}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(embed(&dir));
    std::fs::remove_dir_all(&dir)?;
    result
}

async fn embed(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let passphrase = || Passphrase::new("correct horse");
    // A container's temporary directory lies on overlayfs.
    let builder = || {
        Vault::builder(dir, Environment::Test).dangerous_allow_file_system(FileSystem::Overlayfs)
    };
    let vault = builder().kdf(KdfParams::new(64, 1, 1)?).create(passphrase()).await?;
    let request = Request::get("/api/v2/user/session")?;
    assert!(matches!(vault.lease("none", &request), Err(Error::NoSuchToken { .. })));
    vault.close().await?;

    let wrong = builder().unlock(Passphrase::new("wrong")).await;
    assert!(matches!(wrong, Err(Error::Store(StoreError::WrongPassphrase))));
    let vault = builder().unlock(passphrase()).await?;
    assert!(vault.list().is_empty());
    vault.close().await?;
    println!("embedded with default features");
    Ok(())
}
