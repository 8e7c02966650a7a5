//! A stream too long for one seal, in chunks under a key of its own: STREAM (Hoang, Reyhanitabar,
//! Rogaway, Vizár 2015) over AES-256-GCM, laid out as age does it.
//!
//! ```text
//! key   = HKDF-SHA256(file key, info = "bitgo-vault/1" ‖ header ‖ "backup")
//! chunk = AES-256-GCM[key](nonce, no aad, 64 KiB; of the last chunk what is left) ‖ tag (16)
//! nonce = number of the chunk, from 0 (11, big-endian) ‖ 1 for the last chunk, else 0
//! ```
//!
//! A stream that is cut, continued, reordered, or ended elsewhere does not open. Each stream uses
//! its file key up, so that under one key no nonce comes twice.

use super::CryptoError;
use super::aead::{open_detached, seal_detached};
use super::keys::{DataKey, NO_MEMORY};
use super::stack::{wiped_record, wiped_shallow};
use crate::locked::Locked;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::KeyInit;
use zeroize::Zeroizing;

/// The plaintext of every chunk but the last, in bytes.
pub const CHUNK_LEN: usize = 64 * 1024;

/// What a chunk costs beyond its plaintext, in bytes.
pub const CHUNK_OVERHEAD: usize = 16;

/// 256 TiB, or 2^44 blocks under one key: AES-GCM begins to show at 2^64.
const CHUNKS_MAX: u64 = 1 << 32;

/// Seals the chunks of one stream, in order.
pub struct SealingStream(Stream);

impl SealingStream {
    /// A stream whose key depends on all of `header`. The file key must be fresh.
    ///
    /// # Errors
    /// [`CryptoError::Key`] if the system gives no memory for the key.
    pub fn new(file_key: DataKey, header: &[u8]) -> Result<Self, CryptoError> {
        Stream::new(&file_key, header).map(Self)
    }

    /// `chunk = AES-256-GCM[key](number ‖ is_last, plaintext) ‖ tag`, in place: `chunk` is the
    /// plaintext and 16 bytes more.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] unless the chunk is full, or the last one and not empty (of an
    /// empty stream it may be); and after the last one.
    pub fn seal_chunk(&mut self, chunk: &mut [u8], is_last: bool) -> Result<(), CryptoError> {
        let Self(stream) = self;
        let nonce = stream.nonce(chunk.len(), is_last).map_err(CryptoError::Parameter)?;
        let plaintext_len = chunk.len() - CHUNK_OVERHEAD;
        let (plaintext, tag) = chunk.split_at_mut(plaintext_len);
        let made = wiped_record(|| seal_detached(&stream.cipher, &nonce, &[], plaintext))?;
        tag.copy_from_slice(&made);
        stream.step(is_last);
        Ok(())
    }
}

/// Opens the chunks of one stream, in order.
pub struct OpeningStream(Stream);

impl OpeningStream {
    /// The stream that was sealed under this file key and `header`.
    ///
    /// # Errors
    /// [`CryptoError::Key`] if the system gives no memory for the key.
    pub fn new(file_key: DataKey, header: &[u8]) -> Result<Self, CryptoError> {
        Stream::new(&file_key, header).map(Self)
    }

    /// Opens what [`SealingStream::seal_chunk`] made, in place, and returns the plaintext.
    /// `is_last`: whether the stream ends with this chunk, as the reader found it.
    ///
    /// # Errors
    /// [`CryptoError::Malformed`] for a length that no such chunk has, and after the last one;
    /// [`CryptoError::CouldNotOpen`] for what is not this stream's next chunk. The chunk is then as
    /// it was.
    ///
    /// # Security
    /// Until the last chunk has opened it is not known whether the stream was cut.
    pub fn open_chunk<'a>(
        &mut self,
        chunk: &'a mut [u8],
        is_last: bool,
    ) -> Result<&'a mut [u8], CryptoError> {
        let Self(stream) = self;
        let nonce = stream.nonce(chunk.len(), is_last).map_err(CryptoError::Malformed)?;
        let (sealed, tag) = chunk.split_last_chunk_mut().expect("the nonce is made of its length");
        wiped_record(|| open_detached(&stream.cipher, &nonce, &[], sealed, tag))?;
        stream.step(is_last);
        Ok(sealed)
    }
}

struct Stream {
    cipher: Locked<Aes256Gcm>,
    /// Of the next chunk.
    number: u64,
    has_ended: bool,
}

impl Stream {
    fn new(file_key: &DataKey, header: &[u8]) -> Result<Self, CryptoError> {
        let cipher = wiped_shallow(|| {
            let mut key = Zeroizing::new([0; 32]);
            file_key.derive_for_stream(header, &mut key);
            Locked::new(Aes256Gcm::new((&*key).into()))
        });
        Ok(Self { cipher: cipher.map_err(|_| NO_MEMORY)?, number: 0, has_ended: false })
    }

    /// The nonce of the next chunk, if it may have that length, tag included.
    fn nonce(&self, len: usize, is_last: bool) -> Result<[u8; 12], &'static str> {
        const FULL: usize = CHUNK_LEN + CHUNK_OVERHEAD;
        if self.has_ended {
            return Err("stream: nothing comes after its last chunk");
        }
        if self.number >= CHUNKS_MAX {
            return Err("stream: at most 2^32 chunks");
        }
        match (is_last, len) {
            (_, FULL) | (true, CHUNK_OVERHEAD..FULL) => {}
            _ => return Err("chunk: 64 kib, the last one at most"),
        }
        if len == CHUNK_OVERHEAD && self.number > 0 {
            return Err("chunk: none is empty but that of an empty stream");
        }
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.number.to_be_bytes());
        nonce[11] = is_last.into();
        Ok(nonce)
    }

    fn step(&mut self, is_last: bool) {
        self.number += 1;
        self.has_ended = is_last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyEncryptionKey;
    use aes_gcm::aead::Aead;
    use getrandom::SysRng;
    use hkdf::Hkdf;
    use sha2::Sha256;

    const HEADER: &[u8] = b"header";
    const KEY: [u8; 32] = [5; 32];

    fn file_key(key: [u8; 32]) -> DataKey {
        // By the one door there is: a key that was wrapped.
        let kek = KeyEncryptionKey::new(&[1; 32]).unwrap();
        let (nonce, mut sealed) = ([0; 12], key);
        let cipher = Aes256Gcm::new(&[1; 32].into());
        let tag = seal_detached(&cipher, &nonce, b"", &mut sealed).unwrap();
        let wrapped = [&nonce[..], &sealed, &tag].concat();
        kek.unwrap(&wrapped.try_into().unwrap(), b"").unwrap()
    }

    fn seal(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut stream = SealingStream::new(file_key(KEY), HEADER).unwrap();
        let seal = |(at, plaintext): (usize, &&[u8])| {
            let mut chunk = [*plaintext, &[0; CHUNK_OVERHEAD]].concat();
            stream.seal_chunk(&mut chunk, at == chunks.len() - 1).unwrap();
            chunk
        };
        chunks.iter().enumerate().map(seal).collect()
    }

    fn open_with(key: DataKey, header: &[u8], chunks: &[&[u8]]) -> Result<Vec<u8>, CryptoError> {
        let mut stream = OpeningStream::new(key, header).unwrap();
        let mut all = Vec::new();
        for (at, chunk) in chunks.iter().enumerate() {
            let mut chunk = chunk.to_vec();
            all.extend_from_slice(stream.open_chunk(&mut chunk, at == chunks.len() - 1)?);
        }
        Ok(all)
    }

    fn open(chunks: &[&[u8]]) -> Result<Vec<u8>, CryptoError> {
        open_with(file_key(KEY), HEADER, chunks)
    }

    #[test]
    fn chunks_are_what_the_formula_says() {
        let full = vec![7; CHUNK_LEN];
        let sealed = seal(&[&full, b"rest"]);
        let mut key = [0; 32];
        let info: &[&[u8]] = &[b"bitgo-vault/1", HEADER, b"backup"];
        Hkdf::<Sha256>::new(None, &KEY).expand_multi_info(info, &mut key).unwrap();
        let cipher = Aes256Gcm::new(&key.into());
        let expect = |nonce: [u8; 12], text: &[u8]| cipher.encrypt(&nonce.into(), text).unwrap();
        assert_eq!(sealed[0], expect([0; 12], &full));
        assert_eq!(sealed[1], expect([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], b"rest"));
        assert_eq!(open(&[&sealed[0], &sealed[1]]).unwrap(), [&full[..], b"rest"].concat());
        let empty = seal(&[b""]);
        assert_eq!(empty[0], expect([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], b""));
        assert_eq!(open(&[&empty[0]]).unwrap(), b"");
    }

    #[test]
    fn a_stream_opens_as_a_whole_and_in_order_only() {
        let full = |byte| vec![byte; CHUNK_LEN];
        let (first, second, third) = (full(1), full(2), full(3));
        let sealed = seal(&[&first, &second, &third]);
        let [a, b, c] = [&sealed[0][..], &sealed[1], &sealed[2]];
        let whole = open(&[a, b, c]).unwrap();
        assert_eq!(whole, [first, second, third].concat());
        let empty = &seal(&[b""])[0][..];
        for (what, chunks) in [
            ("cut", vec![a, b]),
            ("cut to one", vec![a]),
            ("cut within", vec![a, b, &c[..100]]),
            ("swapped", vec![b, a, c]),
            ("the last one moved", vec![a, c, b]),
            ("left out", vec![a, c]),
            ("begun later", vec![b, c]),
            ("repeated", vec![a, a, b, c]),
            ("the last one repeated", vec![a, b, c, c]),
            ("continued", vec![a, b, c, &[0; 40]]),
            ("continued by nothing", vec![a, b, c, empty]),
            ("another stream's", vec![empty, a]),
        ] {
            assert!(open(&chunks).is_err(), "{what}");
        }
        let refused = |key, header| open_with(file_key(key), header, &[a, b, c]);
        assert_eq!(refused([6; 32], HEADER), Err(CryptoError::CouldNotOpen));
        assert_eq!(refused(KEY, b"Header"), Err(CryptoError::CouldNotOpen));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let sealed = &seal(&[b"a secret of some length"])[0];
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 0x10;
            assert_eq!(open(&[&flipped]), Err(CryptoError::CouldNotOpen), "byte {at}");
            assert!(open(&[&sealed[..at]]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn lengths_and_ends_are_kept_by_both_sides() {
        let full = CHUNK_LEN + CHUNK_OVERHEAD;
        for (len, is_last, fits) in [
            (full, false, true),
            (full, true, true),
            (full + 1, true, false),
            (full - 1, false, false),
            (full - 1, true, true),
            (CHUNK_OVERHEAD, true, true),
            (CHUNK_OVERHEAD, false, false),
            (CHUNK_OVERHEAD - 1, true, false),
            (0, true, false),
        ] {
            let mut stream = SealingStream::new(file_key(KEY), HEADER).unwrap();
            let mut chunk = vec![0; len];
            assert_eq!(stream.seal_chunk(&mut chunk, is_last).is_ok(), fits, "{len} {is_last}");
            let mut stream = OpeningStream::new(file_key(KEY), HEADER).unwrap();
            let opened = stream.open_chunk(&mut chunk, is_last);
            match fits {
                true => assert!(opened.is_ok(), "{len} {is_last}"),
                false => assert!(matches!(opened, Err(CryptoError::Malformed(_))), "{len}"),
            }
        }

        let mut stream = SealingStream::new(file_key(KEY), HEADER).unwrap();
        stream.seal_chunk(&mut vec![0; full], false).unwrap();
        assert!(stream.seal_chunk(&mut [0; CHUNK_OVERHEAD], true).is_err(), "an empty one at last");
        stream.seal_chunk(&mut [0; CHUNK_OVERHEAD + 1], true).unwrap();
        assert!(stream.seal_chunk(&mut [0; CHUNK_OVERHEAD + 1], true).is_err(), "a second end");
    }

    #[test]
    fn a_stream_ends_before_its_counter_does() {
        let mut stream = SealingStream::new(file_key(KEY), HEADER).unwrap();
        stream.0.number = CHUNKS_MAX - 1;
        let mut chunk = vec![0; CHUNK_LEN + CHUNK_OVERHEAD];
        stream.seal_chunk(&mut chunk, false).unwrap();
        for is_last in [false, true] {
            let refused = stream.seal_chunk(&mut chunk, is_last);
            assert_eq!(refused, Err(CryptoError::Parameter("stream: at most 2^32 chunks")));
        }
        let mut stream = OpeningStream::new(file_key(KEY), HEADER).unwrap();
        stream.0.number = CHUNKS_MAX;
        assert!(matches!(stream.open_chunk(&mut chunk, true), Err(CryptoError::Malformed(_))));
    }

    #[test]
    fn two_fresh_file_keys_seal_differently() {
        let sealed = || {
            let key = DataKey::generate(&mut SysRng).unwrap();
            let mut chunk = *b"the same text and room for a tag";
            SealingStream::new(key, HEADER).unwrap().seal_chunk(&mut chunk, true).unwrap();
            chunk
        };
        assert_ne!(sealed(), sealed());
    }
}
