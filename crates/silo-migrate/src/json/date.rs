//! Dates as text.

use jiff::Timestamp;

/// Years after which the Gregorian calendar repeats.
const CYCLE: i64 = 400;
/// Milliseconds of that many years.
const CYCLE_MILLIS: i64 = 146_097 * 86_400_000;

/// Milliseconds since 1970 of a date as ISO 8601 text with a time and an offset, such as `2026-02-10T12:00:00.000Z` or, in a year that four digits cannot
/// show, `+275760-09-13T00:00:00.000Z`; `None` if it is no such text, or more exact than a millisecond.
#[must_use]
pub fn millis_of_iso(text: &str) -> Option<i64> {
    let signed = text.starts_with(['+', '-']);
    let (year, rest) = text.split_at_checked(if signed { 7 } else { 4 })?;
    let digits = year.trim_start_matches(['+', '-']);
    if digits.len() != if signed { 6 } else { 4 } || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Without an offset it would depend on where it is read; jiff refuses that.
    if !rest.starts_with('-') || !rest.contains(['T', 't', ' ']) {
        return None;
    }
    let year: i64 = year.parse().ok()?;
    // A year of the same calendar that jiff knows.
    let same = 2000 + year.rem_euclid(CYCLE);
    let time: Timestamp = format!("{same}{rest}").parse().ok()?;
    // jiff reads a leap second as the one before it.
    if rest.contains(":60") {
        return None;
    }
    let exact = time.subsec_nanosecond() % 1_000_000 == 0;
    let millis = time.as_millisecond() + (year - same) / CYCLE * CYCLE_MILLIS;
    exact.then_some(millis)
}

/// `true` if the text is a date as `JSON.stringify` writes it (`Date.prototype.toISOString`).
#[must_use]
pub fn is_of_stringify(text: &str) -> bool {
    let length = if text.starts_with(['+', '-']) { 27 } else { 24 };
    text.len() == length && text.ends_with('Z') && millis_of_iso(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_at_the_edges_are_exact() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2015-04-14T14:55:57+02:00", 1_429_016_157_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("+010000-01-01T00:00:00Z", 253_402_300_800_000),
            ("+275760-09-13T00:00:00.000Z", 8_640_000_000_000_000),
            ("-271821-04-20T00:00:00.000Z", -8_640_000_000_000_000),
            ("0000-01-01T00:00:00.000Z", -62_167_219_200_000),
            ("-000001-12-31T23:59:59.999Z", -62_167_219_200_001),
            ("2024-02-29T12:00:00.1Z", 1_709_208_000_100),
        ] {
            assert_eq!(millis_of_iso(text), Some(millis), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_dates() {
        for text in [
            "",
            "1",
            "hello",
            "2015-04-14",
            "2015-04-14T14:55:57",
            "2023-02-29T00:00:00Z",
            "2015-04-14T14:55:57.1234567Z",
            "12015-04-14T14:55:57Z",
            "+12015-04-14T14:55:57Z",
            "2015-04-14T25:00:00Z",
            "2016-12-31T23:59:60Z",
        ] {
            assert_eq!(millis_of_iso(text), None, "{text}");
        }
    }
}
