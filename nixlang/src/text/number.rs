//! Numbers as text: the reference prints floats in three ways.
//!
//! `%g` with 6 digits is what printing and XML show, `%f` is `toString`, and JSON is what the library nlohmann/json
//! writes, which the store's derivations need too.

/// Formats as C's `%g`: six significant digits, trailing zeros removed (`1e+06`, `0.1`, `100`).
pub(crate) fn format_general(value: f64) -> String {
    const N_DIGITS: i32 = 6;
    if let Some(text) = format_special(value) {
        return text;
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{:.*e}", (N_DIGITS - 1) as usize, value);
    let (mantissa, exponent) = scientific.split_once('e').expect("this is how `{:e}` prints finite numbers");
    let exponent: i32 = exponent.parse().expect("this is how `{:e}` prints finite numbers");
    if (-4..N_DIGITS).contains(&exponent) {
        let n_decimals = usize::try_from(N_DIGITS - 1 - exponent).expect("the exponent is below the number of digits");
        without_trailing_zeros(&format!("{value:.n_decimals$}")).to_owned()
    } else {
        format!("{}{}", without_trailing_zeros(mantissa), c_exponent(exponent))
    }
}

/// Formats as C's `%f`: six decimals (`0.100000`).
pub(crate) fn format_fixed(value: f64) -> String {
    format_special(value).unwrap_or_else(|| format!("{value:.6}"))
}

/// Formats as JSON: `1.0`, `1e+15`, `1.5e-05`; infinities and NaN are `null`. The digits are not always the shortest.
pub(crate) fn format_json(value: f64) -> String {
    let mut text = String::new();
    nixlang_store::json::append_float(value, &mut text);
    text
}

/// Infinities and NaN as C prints them, with the sign of a NaN.
fn format_special(value: f64) -> Option<String> {
    let name = if value.is_nan() {
        "nan"
    } else if value.is_infinite() {
        "inf"
    } else {
        return None;
    };
    let sign = if value.is_sign_negative() { "-" } else { "" };
    Some(format!("{sign}{name}"))
}

fn without_trailing_zeros(digits: &str) -> &str {
    if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    }
}

/// An exponent with its sign and at least two digits.
fn c_exponent(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.unsigned_abs())
}

/// Reads a number of JSON, rounded correctly; one that is too small is zero. `None` if it isn't one or is too large.
pub(crate) fn parse_float(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general() {
        for (value, expected) in [
            (1e6, "1e+06"),
            (123456789.0, "1.23457e+08"),
            (100.0, "100"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (999999.5, "1e+06"),
            (999999.0, "999999"),
            (1.5e300, "1.5e+300"),
            (-0.0, "-0"),
            (0.0, "0"),
            (-2.5, "-2.5"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (-f64::NAN.abs(), "-nan"),
        ] {
            assert_eq!(format_general(value), expected);
        }
    }

    #[test]
    fn fixed() {
        for (value, expected) in [(0.1, "0.100000"), (1e-7, "0.000000"), (1e6, "1000000.000000"), (-1.5, "-1.500000")] {
            assert_eq!(format_fixed(value), expected);
        }
    }

    #[test]
    fn json() {
        for (value, expected) in [
            (1.0, "1.0"),
            (100.0, "100.0"),
            (1e14, "100000000000000.0"),
            (1e15, "1e+15"),
            (123456789012345.0, "123456789012345.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.000015, "1.5e-05"),
            (1e100, "1e+100"),
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (25.31191533420869, "25.311915334208692"),
            (f64::NAN, "null"),
        ] {
            assert_eq!(format_json(value), expected);
        }
    }

    #[test]
    fn reading() {
        assert_eq!(parse_float(b"1e3"), Some(1000.0));
        assert_eq!(parse_float(b"1e-999"), Some(0.0));
        assert_eq!(parse_float(b"1e999"), None);
        assert_eq!(parse_float(b"x"), None);
    }
}
