//! Any bytes as a slot of the anchor, or as what a `LOCK` file says of its holder, parse or are
//! refused. A slot prints back to the same bytes; a holder to a text that says the same, on three
//! printable lines.
//!
//! Input: the bytes of a slot; they are also taken as a text.

#![no_main]

use bitgo_vault::test_util::{recode_anchor, recode_holder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(slot) = recode_anchor(input) {
        assert_eq!(slot, input);
    }
    let mut whole = input.to_vec();
    whole.resize(4096, 0);
    if let Some(slot) = recode_anchor(&whole) {
        assert_eq!(slot, whole);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(holder) = recode_holder(text) {
        assert_eq!(recode_holder(&holder).as_ref(), Some(&holder));
        assert_eq!(holder.lines().count(), 3);
        assert!(holder.chars().all(|c| c == '\n' || c.is_ascii_graphic()), "{holder:?}");
    }
});
