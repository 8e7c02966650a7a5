//! From a passphrase to the key that wraps everything else: Argon2id (RFC 9106).
//!
//! The costs stand in the store's header, which an attacker may have written: they are
//! bounded before a byte is allocated.

use super::CryptoError;
use super::keys::KeyEncryptionKey;
use super::stack::wiped;
use crate::secret::{Passphrase, wipe};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use rand_core::TryCryptoRng;
use std::time::Duration;
use zeroize::Zeroizing;

/// The most derivations that a calibration measures.
const MEASUREMENTS_MAX: u32 = 6;

/// The costs of Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    m_cost: u32,
    t_cost: u32,
    p_cost: u32,
}

impl KdfParams {
    /// The most memory accepted, in KiB (1 GiB).
    pub const MAX_M_COST: u32 = 1 << 20;
    /// The most passes accepted.
    pub const MAX_T_COST: u32 = 64;
    /// The most lanes accepted.
    pub const MAX_P_COST: u32 = 16;
    /// 64 MiB, 3 passes, 4 lanes: RFC 9106's second recommended option. About 0.1 to 0.2 s.
    pub const DEFAULT: Self = Self { m_cost: 1 << 16, t_cost: 3, p_cost: 4 };

    /// Costs of `m_cost` KiB of memory, `t_cost` passes and `p_cost` lanes.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] naming the bound that is broken.
    ///
    /// # Security
    /// Less than [`KdfParams::DEFAULT`] makes guessing the passphrase of a stolen store cheaper.
    pub fn new(m_cost: u32, t_cost: u32, p_cost: u32) -> Result<Self, CryptoError> {
        if !(1..=Self::MAX_P_COST).contains(&p_cost) {
            return Err(CryptoError::Parameter("argon2 lanes: 1 to 16"));
        }
        if !(1..=Self::MAX_T_COST).contains(&t_cost) {
            return Err(CryptoError::Parameter("argon2 passes: 1 to 64"));
        }
        if !(8 * p_cost..=Self::MAX_M_COST).contains(&m_cost) {
            return Err(CryptoError::Parameter("argon2 memory: 8 KiB a lane to 1 GiB"));
        }
        Ok(Self { m_cost, t_cost, p_cost })
    }

    /// Costs under which a derivation takes about `target` on the machine that `measure` measures:
    /// first more memory, up to `max_m_cost` KiB, then more passes. Never less than
    /// [`KdfParams::DEFAULT`], whatever was measured or allowed.
    ///
    /// Measures at most six times, and each time at most eight times the work of the time before:
    /// with an honest `measure`, about six times `target` in all. For a target of 1 s, where the
    /// default takes 0.1 s and 1 GiB is allowed: 640 MiB and 3 passes; where 128 MiB are, 15 passes.
    ///
    /// # Errors
    /// The first of `measure`.
    pub fn calibrate<E>(
        target: Duration,
        max_m_cost: u32,
        mut measure: impl FnMut(Self) -> Result<Duration, E>,
    ) -> Result<Self, E> {
        let max_m_cost = max_m_cost.clamp(Self::DEFAULT.m_cost, Self::MAX_M_COST);
        let mut params = Self::DEFAULT;
        for _ in 0..MEASUREMENTS_MAX {
            let took = measure(params)?;
            let next = params.scaled(target, took, max_m_cost);
            if took.abs_diff(target) <= target / 8 || next == params {
                break;
            }
            params = next;
        }
        Ok(params)
    }

    /// `target / took` times the work, at most eight times: memory first, then passes.
    fn scaled(self, target: Duration, took: Duration, max_m_cost: u32) -> Self {
        let Self { m_cost: floor, t_cost: passes, p_cost } = Self::DEFAULT;
        let most = self.work().saturating_mul(8);
        let work = u128::from(self.work()).saturating_mul(target.as_nanos());
        let work = u64::try_from(work / took.as_nanos().max(1)).unwrap_or(most).min(most);
        // Whole MiB: what was measured is not more exact.
        let m_cost = (work / u64::from(passes)) >> 10 << 10;
        let m_cost = u32::try_from(m_cost).unwrap_or(max_m_cost).clamp(floor, max_m_cost);
        let t_cost = u32::try_from(work / u64::from(m_cost)).unwrap_or(Self::MAX_T_COST);
        Self { m_cost, t_cost: t_cost.clamp(passes, Self::MAX_T_COST), p_cost }
    }

    /// KiB filled in all passes together.
    fn work(self) -> u64 {
        u64::from(self.m_cost) * u64::from(self.t_cost)
    }

    /// Whether guessing costs as much memory, and as much work, as under `other`. Lanes do not
    /// count: they share out the work, and the attacker has them too.
    pub(crate) fn is_at_least(self, other: Self) -> bool {
        self.m_cost >= other.m_cost && self.work() >= other.work()
    }

    /// Memory in KiB.
    pub fn m_cost(self) -> u32 {
        self.m_cost
    }

    /// Passes over the memory.
    pub fn t_cost(self) -> u32 {
        self.t_cost
    }

    /// Lanes.
    pub fn p_cost(self) -> u32 {
        self.p_cost
    }
}

impl Default for KdfParams {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The random salt of a key derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub(crate) [u8; 16]);

impl Salt {
    /// A fresh salt.
    ///
    /// # Errors
    /// [`CryptoError::Entropy`] if the system gives no randomness.
    pub fn random(rng: &mut impl TryCryptoRng) -> Result<Self, CryptoError> {
        Ok(Self(super::random(rng)?))
    }
}

/// `KEK = Argon2id[salt, m, t, p](passphrase)`, 32 bytes, version 0x13, no secret, no associated data.
///
/// # Errors
/// [`CryptoError::Parameter`] if the memory cannot be had.
pub fn key_encryption_key(
    passphrase: &Passphrase,
    salt: &Salt,
    params: KdfParams,
) -> Result<KeyEncryptionKey, CryptoError> {
    let costs = Params::new(params.m_cost, params.t_cost, params.p_cost, Some(32))
        .map_err(|_| CryptoError::Parameter("argon2 costs"))?;
    wiped(|| {
        let key = argon2id(passphrase.expose().as_bytes(), &salt.0, &costs)?;
        KeyEncryptionKey::new(&key)
    })
}

/// `Argon2id[salt, costs](password)`, 32 bytes, in memory of its own that is wiped.
pub(super) fn argon2id(
    password: &[u8],
    salt: &[u8],
    costs: &Params,
) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
    Argon2Memory::default().argon2id(password, salt, costs)
}

/// The blocks that Argon2 fills, kept from one derivation to the next and wiped when dropped. The
/// crate's own would be freed unwiped, and an allocation that fails would end the process.
///
/// # Security
/// Between derivations the last key can be had from it.
#[derive(Default)]
pub(super) struct Argon2Memory(Vec<Block>);

impl Argon2Memory {
    /// `Argon2id[salt, costs](password)`, version 0x13, no secret, no associated data.
    pub(super) fn argon2id(
        &mut self,
        password: &[u8],
        salt: &[u8],
        costs: &Params,
    ) -> Result<Zeroizing<[u8; 32]>, CryptoError> {
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, costs.clone())
            .hash_password_into_with_memory(
                password,
                salt,
                key.as_mut(),
                self.blocks(costs.block_count())?,
            )
            .map_err(|_| {
                CryptoError::Parameter("argon2 input: password and salt below 2^32 bytes")
            })?;
        Ok(key)
    }

    fn blocks(&mut self, count: usize) -> Result<&mut [Block], CryptoError> {
        if self.0.len() < count {
            // The smaller one is wiped and freed first: growing it would leave a copy behind.
            *self = Self::default();
            self.0.try_reserve_exact(count).map_err(|_| {
                CryptoError::Parameter("argon2 memory: the system gives less than asked")
            })?;
            self.0.resize(count, Block::default());
        }
        Ok(&mut self.0[..count])
    }
}

impl Drop for Argon2Memory {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::known;
    use super::*;

    #[test]
    fn what_memory_held_before_does_not_matter() {
        let mut memory = Argon2Memory::default();
        for (m_cost, p_cost, salt) in [(64, 2, "salt one"), (8, 1, "salt two"), (80, 1, "salt one")]
        {
            let costs = Params::new(m_cost, 2, p_cost, Some(32)).unwrap();
            let fresh = argon2id(b"password", salt.as_bytes(), &costs).unwrap();
            assert_eq!(memory.argon2id(b"password", salt.as_bytes(), &costs).unwrap(), fresh);
        }
    }

    #[test]
    fn costs_are_bounded_before_work() {
        for (m, t, p, fits) in [
            (65536, 3, 4, true),
            (32, 1, 4, true),
            (31, 1, 4, false),
            (0, 1, 1, false),
            (8, 0, 1, false),
            (8, 65, 1, false),
            (8, 1, 0, false),
            (200, 1, 17, false),
            ((1 << 20) + 1, 1, 1, false),
            (u32::MAX, u32::MAX, u32::MAX, false),
        ] {
            assert_eq!(KdfParams::new(m, t, p).is_ok(), fits, "{m} {t} {p}");
        }
    }

    #[test]
    fn calibration_takes_memory_first_and_never_less_than_the_default() {
        let (ms, mib) = (Duration::from_millis, |m: u32| m << 10);
        let default = (64, 3);
        // What a pass over a MiB takes in µs, the target in ms, the MiB allowed: what comes out.
        for (micros, target, allowed, expect) in [
            (520, 1000, 1024, (641, 3)),
            (520, 1000, 128, (128, 15)),
            (520, 500, 256, (256, 3)),
            (520, 100, 1024, default),
            (520, 1, 1024, default),
            (520, 0, 1024, default),
            (5_000_000, 1000, 1024, default),
            (520, 200, 0, (64, 6)),
            // A clock that stands still, and a target beyond all bounds.
            (0, 1000, u32::MAX >> 10, (1024, 64)),
            (520, u64::MAX, 1024, (1024, 64)),
        ] {
            let (mut measured, mut work) = (0, KdfParams::DEFAULT.work());
            let params = KdfParams::calibrate(ms(target), mib(allowed), |params| {
                assert!(params.work() <= 8 * work, "{params:?} after {work}");
                (measured, work) = (measured + 1, params.work());
                Ok::<_, ()>(Duration::from_micros(work * micros / 1024))
            });
            let params = params.unwrap();
            assert_eq!((params.m_cost >> 10, params.t_cost), expect, "{target} ms");
            assert!(params.is_at_least(KdfParams::DEFAULT));
            assert_eq!(KdfParams::new(params.m_cost, params.t_cost, params.p_cost), Ok(params));
            assert!(measured <= MEASUREMENTS_MAX);
        }
        let refused = KdfParams::calibrate(ms(1), mib(64), |_| Err("no memory"));
        assert_eq!(refused, Err("no memory"));
    }

    /// More memory takes more than its share of time, as caches end.
    #[test]
    fn calibration_comes_near_the_target_where_time_does_not_follow_work() {
        let target = Duration::from_millis(1000);
        let time =
            |params: KdfParams| Duration::from_secs_f64((params.work() as f64 / 1e6).powf(1.2));
        let params =
            KdfParams::calibrate(target, 1 << 20, |params| Ok::<_, ()>(time(params))).unwrap();
        assert!(time(params).abs_diff(target) <= target / 8, "{params:?}: {:?}", time(params));
    }

    #[test]
    fn weaker_costs_have_less_memory_or_less_work() {
        let costs = |m, t, p| KdfParams::new(m, t, p).unwrap();
        for (other, stronger) in [
            (costs(64, 3, 4), true),
            (costs(64, 4, 4), true),
            (costs(64, 3, 1), true),
            (costs(192, 1, 4), true),
            (costs(128, 1, 4), false),
            (costs(63, 64, 4), false),
            (costs(64, 2, 4), false),
        ] {
            assert_eq!(other.is_at_least(costs(64, 3, 4)), stronger, "{other:?}");
        }
    }

    /// The reference implementation's.
    #[test]
    fn others_argon2id_answers_come_out() {
        let file = include_str!("../../tests/vectors/known/argon2id.json");
        let cases = known::cases(file, "cases");
        assert_eq!(cases.len(), 8);
        for case in cases {
            let [m, t, p] = ["m", "t", "p"].map(|field| known::number(&case, field));
            let costs = Params::new(m, t, p, Some(32)).unwrap();
            let part = |field| known::bytes(&case, field);
            let key = argon2id(&part("password"), &part("salt"), &costs).unwrap();
            assert_eq!(*key, *part("tag"), "{case}");
        }
    }
}
