//! HMAC-SHA256 (RFC 2104) from its midstates, and PBKDF2 (RFC 8018) on top of it.
//!
//! ```text
//! inner = compress(IV, key ⊕ 36…36)          hash = SHA-256 continued from inner, over the message
//! outer = compress(IV, key ⊕ 5c…5c)          mac  = SHA-256 continued from outer, over hash
//! ```
//!
//! Of a key, HMAC needs only what its two blocks leave behind: 64 bytes, made once. A message
//! then costs its own blocks and one more, which is what makes signatures and PBKDF2 fast.
//! The compression function is that of `sha2`; the rest is held against `hmac` and `pbkdf2`.

use crate::secret::wipe;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use std::slice;
use zeroize::{ZeroizeOnDrop, Zeroizing};

type State = [u32; 8];
type Block = [u8; 64];

/// SHA-256's initial state (FIPS 180-4, section 5.3.3).
const IV: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The last block after a midstate where the message is one hash: room for it, then the padding
/// of 96 bytes in all.
const AFTER_HASH: Block = {
    let mut block = [0; 64];
    block[32] = 0x80;
    [block[62], block[63]] = 768_u16.to_be_bytes();
    block
};

/// A key of HMAC-SHA256, as its midstates.
///
/// # Security
/// As good as the key: whoever has them makes MACs.
pub(super) struct HmacKey {
    pub(super) inner: State,
    pub(super) outer: State,
}

impl HmacKey {
    /// Room for a key.
    pub(super) const BLANK: Self = Self { inner: [0; 8], outer: [0; 8] };

    /// A key of any length; one that is longer than a block is replaced by its SHA-256.
    pub(super) fn new(key: &[u8]) -> Self {
        let mut block: Zeroizing<Block> = Zeroizing::new([0; 64]);
        match block.get_mut(..key.len()) {
            Some(place) => place.copy_from_slice(key),
            None => block[..32].copy_from_slice(&Zeroizing::new(Sha256::digest(key).0)[..]),
        }
        let mut midstate = |pad| {
            block.iter_mut().for_each(|byte| *byte ^= pad);
            let mut state = IV;
            compress256(&mut state, slice::from_ref(&*block));
            state
        };
        Self { inner: midstate(0x36), outer: midstate(0x36 ^ 0x5c) }
    }

    /// A message to be authenticated, still empty.
    pub(super) fn message(&self) -> Message<'_> {
        Message { key: self, state: self.inner, block: [0; 64], length: 0 }
    }

    /// `PBKDF2-HMAC-SHA256[key](salt, iterations)`, its first 32 bytes; at least one iteration runs.
    pub(super) fn pbkdf2(&self, salt: &[u8], iterations: u32) -> Zeroizing<[u8; 32]> {
        let mut first = self.message();
        first.update(salt);
        first.update(&1_u32.to_be_bytes());
        first.run();
        let mut hash = Zeroizing::new(first.state);
        let mut sum = hash.clone();
        let mut block = Zeroizing::new(AFTER_HASH);
        for _ in 1..iterations {
            for midstate in [&self.inner, &self.outer] {
                write(&mut block, &hash);
                *hash = *midstate;
                compress256(&mut hash, slice::from_ref(&*block));
            }
            sum.iter_mut().zip(*hash).for_each(|(sum, word)| *sum ^= word);
        }
        let mut key = Zeroizing::new([0; 32]);
        write(&mut key, &sum);
        key
    }
}

impl Drop for HmacKey {
    fn drop(&mut self) {
        wipe(&mut self.inner);
        wipe(&mut self.outer);
    }
}

impl ZeroizeOnDrop for HmacKey {}

/// A message on its way through HMAC, fed piece by piece. It is wiped when dropped.
pub(super) struct Message<'a> {
    key: &'a HmacKey,
    state: State,
    block: Block,
    length: usize,
}

impl Message<'_> {
    /// Most pieces are short and leave the block unfinished: that much is worth inlining.
    #[inline]
    pub(super) fn update(&mut self, piece: &[u8]) {
        let filled = self.length % 64;
        self.length += piece.len();
        match self.block[filled..].split_at_mut_checked(piece.len()) {
            Some((place, [_, ..])) => place.copy_from_slice(piece),
            _ => self.finish_block(filled, piece),
        }
    }

    /// Fills the block up and takes whole ones from the piece.
    fn finish_block(&mut self, filled: usize, piece: &[u8]) {
        let (head, tail) = piece.split_at(64 - filled);
        self.block[filled..].copy_from_slice(head);
        compress256(&mut self.state, slice::from_ref(&self.block));
        let (blocks, rest) = tail.as_chunks();
        if !blocks.is_empty() {
            compress256(&mut self.state, blocks);
        }
        self.block[..rest.len()].copy_from_slice(rest);
    }

    /// The MAC.
    pub(super) fn finalize(mut self) -> [u8; 32] {
        self.run();
        let mut mac = [0; 32];
        write(&mut mac, &self.state);
        mac
    }

    /// Runs both hashes to their end, so that the MAC stands in `state`.
    fn run(&mut self) {
        let filled = self.length % 64;
        self.block[filled..].fill(0);
        self.block[filled] = 0x80;
        if filled >= 56 {
            compress256(&mut self.state, slice::from_ref(&self.block));
            self.block = [0; 64];
        }
        let bits = 8 * (64 + self.length as u64);
        self.block[56..].copy_from_slice(&bits.to_be_bytes());
        compress256(&mut self.state, slice::from_ref(&self.block));

        self.block = AFTER_HASH;
        write(&mut self.block, &self.state);
        self.state = self.key.outer;
        compress256(&mut self.state, slice::from_ref(&self.block));
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        wipe(&mut self.state);
        wipe(&mut self.block);
    }
}

/// The state's words, big-endian, into the first 32 bytes.
fn write<const N: usize>(bytes: &mut [u8; N], state: &State) {
    let (words, _) = bytes.as_chunks_mut();
    for (place, word) in words.iter_mut().zip(state) {
        *place = word.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;

    fn mac(key: &[u8], pieces: &[&[u8]]) -> [u8; 32] {
        let key = HmacKey::new(key);
        let mut message = key.message();
        pieces.iter().for_each(|piece| message.update(piece));
        message.finalize()
    }

    fn reference(key: &[u8], message: &[u8]) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.chain_update(message).finalize().into_bytes().into()
    }

    #[test]
    fn every_length_of_key_and_message_around_a_block_equals_the_reference() {
        let bytes: Vec<u8> = (0..=255).collect();
        for key in [0, 1, 32, 63, 64, 65, 67, 128] {
            for message in 0..=200 {
                let (key, message) = (&bytes[..key], &bytes[..message]);
                assert_eq!(mac(key, &[message]), reference(key, message), "{}", message.len());
            }
        }
    }

    #[test]
    fn an_iteration_count_of_zero_runs_one() {
        let key = HmacKey::new(b"password");
        assert_eq!(key.pbkdf2(b"salt", 0), key.pbkdf2(b"salt", 1));
    }

    proptest! {
        #[test]
        fn however_a_message_is_cut_its_mac_is_the_same(
            key in prop::collection::vec(any::<u8>(), 0..150),
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 0..8),
        ) {
            let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(mac(&key, &slices), reference(&key, &pieces.concat()));
        }

        #[test]
        fn pbkdf2_equals_the_reference(
            password in prop::collection::vec(any::<u8>(), 0..150),
            salt in prop::collection::vec(any::<u8>(), 0..150),
            iterations in 1_u32..40,
        ) {
            let mut expect = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(&password, &salt, iterations, &mut expect);
            prop_assert_eq!(*HmacKey::new(&password).pbkdf2(&salt, iterations), expect);
        }
    }
}
