//! A first byte below 128: choices in a grammar of BitGo's calls. Else three lines: a byte of method,
//! a target, a body. What policy allows moves what a plain reading of the same bytes says, and no
//! refusal repeats what stands in a body's strings.

#![no_main]

use bitgo_vault::Request;
use bitgo_vault::test_util::{generate, moved_by, plain_reading};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let request = match first {
        0..128 => generate(rest),
        _ => {
            let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let Ok(target) = str::from_utf8(&rest[..at]) else { return };
            let body = rest.get(at + 1..).unwrap_or_default().to_vec();
            match first % 4 {
                0 => Request::get(target),
                1 => Request::put(target).bytes(body),
                _ => Request::post(target).bytes(body),
            }
        }
    };
    let Ok(request) = request else { return };
    match moved_by(&request) {
        // What a currency is that the grammar does not know, the plain reading does not tell.
        Ok(moved) if request.target().ends_with("/orders") => {
            assert!(plain_reading(&request).is_none_or(|plain| plain == moved));
        }
        Ok(moved) => assert_eq!(Some(moved), plain_reading(&request)),
        Err(denied) => assert!(denied.reason().len() < 4096),
    }
});
