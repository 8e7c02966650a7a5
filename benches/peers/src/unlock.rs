//! What an operator waits for: a store is created under a passphrase, and unlocked.

use crate::peer::{Costs, Kdf, Keeper};
use crate::peers::keepass::KeePass;
use crate::peers::libsodium::Libsodium;
use crate::peers::rust_crypto::RustCrypto;
use crate::peers::securestore::SecureStoreKeeper;
use crate::peers::sqlcipher::SqlCipherKeeper;
use crate::peers::vault::{Crypto, Vault};
use crate::promise::Promise;
use crate::turns::{Failure, Side, Times};
use crate::{Scale, table};
use tempfile::TempDir;

/// Places of those that are judged: a keeper has two, `create` and `unlock`.
const KDF: usize = 0;
const ARGON2: usize = 1;
const LIBSODIUM: usize = 2;
const KDF_DEFAULT: usize = 3;
const ARGON2_DEFAULT: usize = 4;
const VAULT: usize = 5;
const KEEPASS: usize = 7;
const VAULT_DEFAULT: usize = 9;
const KEEPASS_DEFAULT: usize = 11;

pub fn section(scale: &Scale) -> Result<(), Failure> {
    let (one, default) = (Costs::ONE_LANE, Costs::DEFAULT);
    let (ours, crates, sodium) = (Crypto::new()?, RustCrypto::new()?, Libsodium::new()?);
    let kdfs: [(&dyn Kdf, Costs); 5] =
        [(&ours, one), (&crates, one), (&sodium, one), (&ours, default), (&crates, default)];
    let (vault, vault_default) = (Vault::new(one)?, Vault::new(default)?);
    let (keepass, keepass_default) = (KeePass(one), KeePass(default));
    let keepers: [&dyn Keeper; 6] =
        [&vault, &keepass, &vault_default, &keepass_default, &SqlCipherKeeper, &SecureStoreKeeper];
    let mut sides: Vec<_> = kdfs
        .map(|(kdf, costs)| {
            let name = format!("{}, its key derivation alone, {costs}", kdf.name());
            Side::new(name, move |_| kdf.derive(costs))
        })
        .into();
    for keeper in keepers {
        let made = TempDir::new()?;
        let place = made.path().join("made");
        keeper.create(&place)?;
        sides.push(Side::timed(format!("{}: create", keeper.name()), |_| {
            let dir = TempDir::new()?;
            keeper.create(&dir.path().join("new"))
        }));
        sides.push(Side::timed(format!("{}: unlock", keeper.name()), move |_| {
            // It lives as long as the side does.
            let _made = &made;
            keeper.unlock(&place)
        }));
    }
    let times = Times::take(&mut sides, scale.slow_turns, 1, 0..)?;
    println!("## create and unlock, beside the peers\n");
    println!(
        "What an operator waits for once a start: nearly all of it is the passphrase's derivation, \
         which is meant to cost. An empty vault, a KeePass file of one entry, an empty database; \
         made durable by all; the median of {} turns. Lanes run one after the other here, in \
         keepass in threads of their own, and libsodium has one. SQLCipher and securestore have \
         key derivations of their own, which cost those who guess no memory.\n",
        scale.slow_turns
    );
    table::print("once", &sides, &times, &[("libsodium's KDF", LIBSODIUM), ("ours", KDF)]);
    let argon2 = format!("the `argon2` crate alone is {:.2}", times.ratio(ARGON2, LIBSODIUM));
    table::verdicts();
    for (what, step) in [("create", 0), ("unlock", 1)] {
        Promise::at_most(0.85, format!("{what}, by keepass ({one})"))
            .missed_because(format!(
                "of keepass's time our key derivation is {:.2}",
                times.ratio(KDF, KEEPASS + step)
            ))
            .judge(times.ratio(VAULT + step, KEEPASS + step));
        Promise::at_most(0.85, format!("{what}, by keepass ({default}, the vault's default)"))
            .missed_because("keepass has a thread for each lane; here they run one after the other")
            .judge(times.ratio(VAULT_DEFAULT + step, KEEPASS_DEFAULT + step));
        Promise::at_most(1.4, format!("{what}, by libsodium's key derivation alone ({one})"))
            .missed_because(argon2.clone())
            .judge(times.ratio(VAULT + step, LIBSODIUM));
    }
    for (costs, own, bare) in [(one, KDF, ARGON2), (default, KDF_DEFAULT, ARGON2_DEFAULT)] {
        Promise::at_most(1.1, format!("derive the vault's key, by the argon2 crate ({costs})"))
            .judge(times.ratio(own, bare));
    }
    println!();
    Ok(())
}
