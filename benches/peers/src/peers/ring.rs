//! ring, and what is called as it is.

macro_rules! called_as_ring_is {
    ($library:ident, $crate_name:ident, $name:literal) => {
        pub struct $library {
            cipher: $crate_name::aead::LessSafeKey,
            mac: $crate_name::hmac::Key,
        }

        impl $library {
            pub fn new() -> Result<Self, $crate::turns::Failure> {
                use $crate_name::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
                use $crate_name::hmac;
                let key = &$crate::peer::KEY;
                let cipher = UnboundKey::new(&AES_256_GCM, key).map_err(|_| "no key")?;
                let mac = hmac::Key::new(hmac::HMAC_SHA256, key);
                Ok(Self { cipher: LessSafeKey::new(cipher), mac })
            }
        }

        impl $crate::peer::Library for $library {
            fn name(&self) -> String {
                $name.into()
            }

            fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, $crate::turns::Failure> {
                use $crate_name::aead::{Aad, Nonce};
                let drawn = $crate::peer::random::<12>()?;
                let nonce = Nonce::assume_unique_for_key(drawn);
                let mut record = Vec::with_capacity(12 + plaintext.len() + 16);
                record.extend_from_slice(&drawn);
                record.extend_from_slice(plaintext);
                let (text, aad) = (&mut record[12..], Aad::from(&$crate::peer::AAD));
                let tag = self.cipher.seal_in_place_separate_tag(nonce, aad, text);
                record.extend_from_slice(tag.map_err(|_| "not sealed")?.as_ref());
                Ok(record)
            }

            fn open(&self, sealed: &[u8]) -> Result<usize, $crate::turns::Failure> {
                use $crate_name::aead::{Aad, Nonce};
                let (nonce, sealed) = sealed.split_first_chunk().ok_or("it is cut")?;
                let (nonce, mut buffer) = (Nonce::assume_unique_for_key(*nonce), sealed.to_vec());
                let aad = Aad::from(&$crate::peer::AAD);
                let opened = self.cipher.open_in_place(nonce, aad, &mut buffer);
                Ok(std::hint::black_box(opened.map_err(|_| "not opened")?).len())
            }

            fn authenticate(&self) {
                let subject = std::hint::black_box([b'x'; $crate::peer::SUBJECT]);
                std::hint::black_box($crate_name::hmac::sign(&self.mac, &subject));
            }
        }
    };
}

pub(super) use called_as_ring_is;

called_as_ring_is!(Ring, ring, "ring");
