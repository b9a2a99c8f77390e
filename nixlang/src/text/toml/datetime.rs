//! Dates and times: recognised by their shape, checked, and printed in the reference's normal form
//! (`T` between date and time, seconds always, fractions of 3, 6 or 9 digits, `Z` for no offset).

use std::fmt::Write;

use super::TomlValue;
use super::error::{Reporter, TomlError};

/// Reads two digits at `at`.
fn two(text: &[u8], at: usize) -> Option<u32> {
    match text.get(at..at + 2)? {
        &[tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit() => {
            Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
        }
        _ => None,
    }
}

fn date(text: &[u8], at: usize) -> Option<(u32, u32, u32)> {
    let year = two(text, at)? * 100 + two(text, at + 2)?;
    let is_date = text.get(at + 4) == Some(&b'-') && text.get(at + 7) == Some(&b'-');
    let (month, day) = (two(text, at + 5)?, two(text, at + 8)?);
    is_date.then_some((year, month, day))
}

fn time(text: &[u8], at: usize) -> Option<(u32, u32, u32)> {
    let (hour, minute) = (two(text, at)?, two(text, at + 3)?);
    let is_time = text.get(at + 2) == Some(&b':') && text.get(at + 5) == Some(&b':');
    let second = two(text, at + 6)?;
    is_time.then_some((hour, minute, second))
}

/// Reads a date, a time or both at `at`. Returns it with its end, or `None` if neither begins there.
pub(super) fn parse(text: &[u8], at: usize, report: Reporter<'_>) -> Result<Option<(TomlValue, usize)>, TomlError> {
    let mut printed = String::new();
    let mut end = at;
    if let Some((year, month, day)) = date(text, at) {
        let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let n_days = match month {
            2 => 28 + u32::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if !(1..=12).contains(&month) || !(1..=n_days).contains(&day) {
            let remark = "month must be 01-12, day must be any of 01-28,29,30,31 depending on the month/year.";
            return Err(report.at("toml::parse_local_date: invalid date.", at, remark));
        }
        push(&mut printed, format_args!("{year:04}-{month:02}-{day:02}"));
        end = at + 10;
        let has_time = match text.get(end) {
            Some(b'T' | b't') => true,
            Some(b' ') => text.get(end + 1).is_some_and(u8::is_ascii_digit),
            _ => false,
        };
        if !has_time {
            return Ok(Some((TomlValue::Timestamp(printed), end)));
        }
        printed.push('T');
        end += 1;
    }
    let Some((hour, minute, second)) = time(text, end) else {
        if printed.is_empty() {
            return Ok(None);
        }
        return Err(report.error(
            "bad time: must be HH:MM:SS.subsec",
            &[((end, end), "expected digit [0-9]")],
            &[
                "valid  : 1979-05-27T07:32:00, 1979-05-27 07:32:00.999999",
                "invalid: 1979-05-27T7:32:00, 1979-05-27 17:32",
            ],
        ));
    };
    if hour > 23 || minute > 59 {
        let remark = "hour must be 00-23, minute must be 00-59.";
        return Err(report.at("toml::parse_local_time: invalid time.", end, remark));
    }
    if second > 60 {
        return Err(report.at("toml::parse_local_time: invalid time.", end, "second must be 00-60."));
    }
    let has_date = !printed.is_empty();
    push(&mut printed, format_args!("{hour:02}:{minute:02}:{second:02}"));
    end = fraction(text, end + 8, &mut printed);
    if has_date {
        end = offset(text, at, end, &mut printed, report)?;
    }
    Ok(Some((TomlValue::Timestamp(printed), end)))
}

fn push(printed: &mut String, text: std::fmt::Arguments<'_>) {
    printed.write_fmt(text).expect("a string takes any text");
}

/// A fraction of a second: nanoseconds count, what is finer is cut off.
fn fraction(text: &[u8], at: usize, printed: &mut String) -> usize {
    let Some(b'.') = text.get(at) else { return at };
    let n_digits = text[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if n_digits == 0 {
        return at;
    }
    let end = at + 1 + n_digits;
    let digits = text[at + 1..end].iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let digits = String::from_utf8(digits.collect()).expect("only digits were taken");
    let n_kept = digits.trim_end_matches('0').len().next_multiple_of(3);
    if n_kept > 0 {
        printed.push('.');
        printed.push_str(&digits[..n_kept]);
    }
    end
}

fn offset(
    text: &[u8],
    start: usize,
    at: usize,
    printed: &mut String,
    report: Reporter<'_>,
) -> Result<usize, TomlError> {
    let sign = match text.get(at) {
        Some(b'Z' | b'z') => {
            printed.push('Z');
            return Ok(at + 1);
        }
        Some(b'+') => '+',
        Some(b'-') => '-',
        _ => return Ok(at),
    };
    let (hours, minutes) = match (two(text, at + 1), text.get(at + 3), two(text, at + 4)) {
        (Some(hours), Some(b':'), Some(minutes)) => (hours, minutes),
        _ => {
            return Err(report.error(
                "bad offset: must be [+-]HH:MM or Z",
                &[((at, at), "expected z or Z or [+-]HH:MM")],
                &["valid  : +09:00, -05:30", "invalid: +9:00,  -5:30"],
            ));
        }
    };
    let end = at + 6;
    if hours > 24 || minutes > 60 {
        return Err(report.error(
            "toml::parse_offset_datetime: too large offset: |hour| <= 24, |minute| <= 60",
            &[((start, end), "here")],
            &[],
        ));
    }
    let total = hours * 60 + minutes;
    if total == 0 {
        printed.push('Z');
    } else {
        push(printed, format_args!("{sign}{:02}:{:02}", total / 60, total % 60));
    }
    Ok(end)
}
