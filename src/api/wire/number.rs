//! Whole numbers out of JSON text, exact at any size that `u128` holds.

/// No `u128` has more decimal digits; longer shifts are refused before any work.
const DIGITS_MAX: usize = 39;

/// Reads a JSON number, or a JSON string that holds one, as a whole number.
///
/// JavaScript prints numbers from 10^21 with an exponent (`1.5e+21`): such a form counts
/// if it stands for a whole number, and is then taken digit by digit. `None` for all else.
pub(super) fn whole(json: &str) -> Option<u128> {
    let text = match json.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => json,
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (text, 0),
    };
    let (units, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if units.is_empty() || !all_digits(units) || !all_digits(fraction) {
        return None;
    }

    // `units.fraction × 10^exponent` is the digits of both with the point moved.
    let point = isize::try_from(units.len()).ok()?.checked_add(isize::from(exponent))?;
    let digits = || units.bytes().chain(fraction.bytes());
    let length = units.len() + fraction.len();
    let whole_digits = usize::try_from(point).unwrap_or(0);
    if digits().skip(whole_digits).any(|digit| digit != b'0') {
        return None;
    }
    let significant = digits().take(whole_digits).skip_while(|digit| *digit == b'0');
    let zeros = whole_digits.saturating_sub(length);
    if digits().all(|digit| digit == b'0') {
        return Some(0);
    }
    if zeros > DIGITS_MAX {
        return None;
    }
    significant.chain(std::iter::repeat_n(b'0', zeros)).try_fold(0_u128, |value, digit| {
        value.checked_mul(10)?.checked_add(u128::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_and_exact() {
        for (json, expect) in [
            ("0", Some(0)),
            ("9007199254740993", Some(9_007_199_254_740_993)),
            ("\"9007199254740993\"", Some(9_007_199_254_740_993)),
            ("340282366920938463463374607431768211455", Some(u128::MAX)),
            ("340282366920938463463374607431768211456", None),
            ("1e+21", Some(1_000_000_000_000_000_000_000)),
            ("1.5e+21", Some(1_500_000_000_000_000_000_000)),
            ("\"1.5E3\"", Some(1500)),
            ("12.0", Some(12)),
            ("1200e-2", Some(12)),
            ("0e9999", Some(0)),
            ("0.0", Some(0)),
            ("1e99", None),
            ("1e32767", None),
            ("1e32768", None),
            ("1201e-2", None),
            ("0.5", None),
            ("5e-1", None),
            ("1.", None),
            (".5", None),
            ("-1", None),
            ("+1", None),
            ("1e", None),
            ("", None),
            ("\"", None),
            ("\"\"", None),
            ("\"1", None),
            ("\"max\"", None),
            ("\" 1\"", None),
            ("null", None),
            ("true", None),
        ] {
            assert_eq!(whole(json), expect, "{json}");
        }
    }
}
