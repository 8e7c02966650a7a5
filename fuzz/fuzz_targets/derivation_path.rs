//! A path that parses prints in a form that parses to the same path; each step is walkable.

#![no_main]

use bitgo_vault::crypto::DerivationPath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(path) = DerivationPath::parse(text) else { return };
    let printed = path.to_string();
    assert_eq!(DerivationPath::parse(&printed).as_ref(), Ok(&path));
    let steps: Vec<u32> = printed.split('/').map(|step| step.parse().unwrap()).collect();
    assert!((1..=DerivationPath::MAX_STEPS).contains(&steps.len()));
    assert!(steps.iter().all(|step| *step < 1 << 31));
});
