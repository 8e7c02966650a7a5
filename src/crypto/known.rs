//! Known answers from others, for the unit tests of what cannot be reached from outside
//! (tests/vectors/ORIGIN.md). The rest is in `tests/it/known_answers.rs`.

use base16ct::lower;
use serde_json::Value;

/// The cases of one list of a file. Each test counts them: a file cut short would pass.
pub(super) fn cases(file: &str, list: &str) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(file).unwrap();
    match file[list].take() {
        Value::Array(cases) => cases,
        other => panic!("{list}: {other}"),
    }
}

pub(super) fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field}: {case}"))
}

pub(super) fn bytes(case: &Value, field: &str) -> Vec<u8> {
    lower::decode_vec(text(case, field)).unwrap()
}

pub(super) fn number(case: &Value, field: &str) -> u32 {
    u32::try_from(case[field].as_u64().unwrap()).unwrap()
}

pub(super) fn is_valid(case: &Value) -> bool {
    match text(case, "result") {
        "valid" => true,
        "invalid" => false,
        other => panic!("{other}: {case}"),
    }
}
