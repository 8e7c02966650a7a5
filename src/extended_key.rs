//! BIP32 extended keys as they are written: base58, of one kind, and whole.

use bip32::{ExtendedKey, Prefix};

/// Reads an extended key of the kind that `prefix` names.
///
/// `bip32` takes roots that claim a parent, which BIP32's fifth vector says to refuse; and its
/// types for public keys take private ones.
pub(crate) fn extended_key(base58: &str, prefix: Prefix) -> Option<ExtendedKey> {
    let key: ExtendedKey = base58.parse().ok()?;
    let attrs = &key.attrs;
    let is_orphan = attrs.parent_fingerprint == [0; 4] && attrs.child_number.0 == 0;
    (key.prefix == prefix && (attrs.depth > 0 || is_orphan)).then_some(key)
}
