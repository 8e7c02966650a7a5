//! Four lines: path, server xpub, client xprv, sealed token. Any of them opens to a token or is
//! refused; along any path that parses, client and server arrive at the same secret.

#![no_main]

use bitgo_vault::EcdhXprv;
use bitgo_vault::crypto::{
    DerivationPath, EcdhPrivateKey, EcdhPublicKey, generate_keypair, open_token, shared_secret,
};
use bitgo_vault_fuzz::is_cheap;
use getrandom::SysRng;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

struct Pair {
    private: EcdhPrivateKey,
    public: EcdhPublicKey,
}

fn pair() -> Pair {
    let (xprv, xpub) = generate_keypair(&mut SysRng).unwrap();
    Pair {
        private: EcdhPrivateKey::parse(&xprv).unwrap(),
        public: EcdhPublicKey::parse(&xpub).unwrap(),
    }
}

static CLIENT: LazyLock<Pair> = LazyLock::new(pair);
static SERVER: LazyLock<Pair> = LazyLock::new(pair);

/// A step costs some point multiplications: a few show what many would.
const STEPS: usize = 4;

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (path, xpub, xprv, envelope) = (line(), line(), line(), line());
    if path.split('/').count() > STEPS {
        return;
    }
    if is_cheap(envelope)
        && let Ok(client) = EcdhPrivateKey::parse(&EcdhXprv::new(xprv))
        && let Ok(server) = EcdhPublicKey::parse(xpub)
        && let Ok(token) = open_token(&client, &server, path, envelope)
    {
        assert!(token.is_plausible());
    }
    if let Ok(path) = DerivationPath::parse(path) {
        let here = shared_secret(&CLIENT.private, &SERVER.public, &path).unwrap();
        let there = shared_secret(&SERVER.private, &CLIENT.public, &path).unwrap();
        assert_eq!(*here, *there);
    }
});
