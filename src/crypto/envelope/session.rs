//! Many version 2 envelopes under one password, for one run of Argon2id.

use super::v2::{HKDF_SALT_BYTES, MasterKey};
use super::{CryptoError, Envelope, Format, V2Params, bounded_length, random, text};
use crate::crypto::kdf::Argon2Memory;
use crate::crypto::stack::wiped;
use rand_core::TryCryptoRng;
use secrecy::SecretString;
use std::fmt;
use zeroize::Zeroizing;

/// A password made ready for many envelopes. Argon2id runs once; each envelope is sealed under a
/// key of its own, which HKDF derives from that with the envelope's `hkdfSalt`.
///
/// ```
/// # use bitgo_vault::crypto::{Envelope, EnvelopeSession, V2Params};
/// # use getrandom::SysRng;
/// # let params = V2Params { m_cost: 8, t_cost: 1, p_cost: 1 };
/// let mut session = EnvelopeSession::new(params, b"correct horse", &mut SysRng)?;
/// let envelope = session.seal(None, "a secret", &mut SysRng)?;
/// session.open(&Envelope::parse(&envelope)?)?;
/// # Ok::<(), bitgo_vault::crypto::CryptoError>(())
/// ```
///
/// # Security
/// It holds the password, what Argon2id made of it, and Argon2's memory, as much as its dearest
/// envelope asked for (256 MiB at most), all wiped when it is dropped. Hold it as long as the
/// work takes and no longer.
pub struct EnvelopeSession {
    password: Zeroizing<Vec<u8>>,
    memory: Argon2Memory,
    /// What this session seals under.
    own: MasterKey,
    /// What the envelope opened last was under, if that was another's.
    other: Option<MasterKey>,
}

impl EnvelopeSession {
    /// Runs Argon2id on a fresh salt.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] if a cost lies outside its cap or the memory cannot be had,
    /// [`CryptoError::Entropy`] if `rng` fails.
    pub fn new(
        params: V2Params,
        password: &[u8],
        rng: &mut impl TryCryptoRng,
    ) -> Result<Self, CryptoError> {
        let mut memory = Argon2Memory::default();
        let own = wiped(|| MasterKey::fresh(params, password, &mut memory, rng))?;
        Ok(Self { password: Zeroizing::new(password.to_vec()), memory, own, other: None })
    }

    /// Seals a text:
    /// `AES-256-GCM[HKDF-SHA256(key, hkdfSalt, "bitgo-v2-session")](iv, adata, plaintext)`, with 32
    /// bytes of fresh `hkdfSalt` and a fresh iv.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] if the envelope would be longer than
    /// [`MAX_ENVELOPE_BYTES`](super::MAX_ENVELOPE_BYTES), [`CryptoError::Entropy`] if `rng` fails.
    pub fn seal(
        &self,
        adata: Option<&str>,
        plaintext: &str,
        rng: &mut impl TryCryptoRng,
    ) -> Result<String, CryptoError> {
        let hkdf_salt = random::<HKDF_SALT_BYTES>(rng)?;
        bounded_length(wiped(|| self.own.seal(Some(hkdf_salt), adata, plaintext, rng))?)
    }

    /// Opens any envelope under the session's password. Argon2id runs only if it is neither of
    /// this session nor under the same salt and costs as the one opened before it.
    ///
    /// # Errors
    /// Those of [`Envelope::open`].
    pub fn open(&mut self, envelope: &Envelope) -> Result<SecretString, CryptoError> {
        let Format::V2(envelope) = &envelope.0 else { return envelope.open(&self.password) };
        let known = [Some(&self.own), self.other.as_ref()];
        if let Some(key) = known.into_iter().flatten().find(|key| envelope.is_under(key)) {
            return wiped(|| text(envelope.open_under(key)?));
        }
        wiped(|| {
            let key = envelope.master_key(&self.password, &mut self.memory)?;
            text(envelope.open_under(self.other.insert(key))?)
        })
    }
}

impl fmt::Debug for EnvelopeSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvelopeSession([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{V1Params, kdf_calls, seal_v1, seal_v2};
    use super::*;
    use getrandom::SysRng;
    use secrecy::ExposeSecret;

    const FAST: V2Params = V2Params { m_cost: 8, t_cost: 1, p_cost: 1 };

    /// What opening costs in key derivations, and what it yields.
    fn open(session: &mut EnvelopeSession, envelope: &str) -> (u64, Result<String, CryptoError>) {
        let envelope = Envelope::parse(envelope).unwrap();
        let before = kdf_calls::so_far();
        let opened = session.open(&envelope).map(|text| text.expose_secret().to_owned());
        (kdf_calls::so_far() - before, opened)
    }

    #[test]
    fn argon2_runs_once_for_each_salt_and_costs() {
        let mut session = EnvelopeSession::new(FAST, b"pw", &mut SysRng).unwrap();
        let other = EnvelopeSession::new(FAST, b"pw", &mut SysRng).unwrap();
        let alone = seal_v2(V2Params { m_cost: 64, ..FAST }, b"pw", None, "alone", &mut SysRng);
        let v1 = V1Params { iterations: 1, ..V1Params::default() };
        let v1 = seal_v1(v1, b"pw", "", "v1", &mut SysRng).unwrap();
        let seal = |session: &EnvelopeSession, text| session.seal(None, text, &mut SysRng).unwrap();
        let (mine, theirs, alone) =
            (seal(&session, "mine"), seal(&other, "theirs"), alone.unwrap());
        for (envelope, runs, text) in [
            (&mine, 0, "mine"),
            (&theirs, 1, "theirs"),
            (&seal(&other, "theirs too"), 0, "theirs too"),
            (&mine, 0, "mine"),
            (&alone, 1, "alone"),
            (&alone, 0, "alone"),
            (&theirs, 1, "theirs"),
            (&v1, 1, "v1"),
        ] {
            assert_eq!(open(&mut session, envelope), (runs, Ok(text.to_owned())));
            let parsed = Envelope::parse(envelope).unwrap();
            assert_eq!(parsed.open(b"pw").unwrap().expose_secret(), text, "without a session");
        }
    }

    #[test]
    fn another_password_opens_nothing_and_the_session_goes_on() {
        let mut session = EnvelopeSession::new(FAST, b"pw", &mut SysRng).unwrap();
        let foreign = EnvelopeSession::new(FAST, b"other", &mut SysRng).unwrap();
        let foreign = foreign.seal(Some("adata"), "text", &mut SysRng).unwrap();
        for runs in [1, 0] {
            assert_eq!(open(&mut session, &foreign), (runs, Err(CryptoError::CouldNotOpen)));
        }
        let own = session.seal(Some("adata"), "text", &mut SysRng).unwrap();
        assert_eq!(open(&mut session, &own), (0, Ok("text".to_owned())));
        let altered = own.replace("\"adata\":\"adata\"", "\"adata\":\"adato\"");
        assert_eq!(open(&mut session, &altered), (0, Err(CryptoError::CouldNotOpen)));
    }

    #[test]
    fn no_two_envelopes_share_a_key() {
        let session = EnvelopeSession::new(FAST, b"pw", &mut SysRng).unwrap();
        let salts: std::collections::HashSet<String> = (0..8)
            .map(|_| {
                let envelope = session.seal(None, "text", &mut SysRng).unwrap();
                let envelope: serde_json::Value = serde_json::from_str(&envelope).unwrap();
                envelope["hkdfSalt"].to_string()
            })
            .collect();
        assert_eq!(salts.len(), 8);
    }

    #[test]
    fn debug_form_lacks_password_and_key() {
        let session = EnvelopeSession::new(FAST, b"hunter2", &mut SysRng).unwrap();
        assert_eq!(format!("{session:?}"), "EnvelopeSession([REDACTED])");
    }
}
