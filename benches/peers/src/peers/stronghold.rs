//! IOTA Stronghold: a secret of its vault is not read, a procedure works with it.

use crate::peer::{KEY, Reader, SUBJECT};
use crate::turns::Failure;
use iota_stronghold::procedures::{Hmac, Sha2Hash};
use iota_stronghold::{Client, Location, Stronghold as Engine};
use std::hint::black_box;

/// Few: what one takes does not depend on it, and each is written in milliseconds.
const SECRETS: usize = 16;

pub struct Stronghold {
    client: Client,
}

impl Stronghold {
    pub fn make() -> Result<Self, Failure> {
        let client = Engine::default().create_client("bench")?;
        for i in 0..SECRETS {
            client.vault("tokens").write_secret(place(i), KEY.to_vec().into())?;
        }
        Ok(Self { client })
    }
}

fn place(i: usize) -> Location {
    Location::generic("tokens", (i % SECRETS).to_string())
}

impl Reader for Stronghold {
    fn name(&self) -> String {
        "iota_stronghold, its HMAC procedure".into()
    }

    fn read(&self, i: usize) -> Result<(), Failure> {
        let hmac = Hmac { hash_type: Sha2Hash::Sha256, msg: vec![b'x'; SUBJECT], key: place(i) };
        black_box(self.client.execute_procedure(hmac)?);
        Ok(())
    }
}
