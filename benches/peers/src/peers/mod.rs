//! The vault and its peers, one a file.

pub mod aws_lc;
pub mod block;
pub mod keepass;
pub mod libsodium;
pub mod redb;
pub mod ring;
pub mod rust_crypto;
pub mod securestore;
pub mod sled;
pub mod sqlcipher;
#[cfg(feature = "stronghold")]
pub mod stronghold;
pub mod vault;
