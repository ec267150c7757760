//! Validated access to fields of a foreign answer: a missing or invalid one is `None`.

use jiff::Timestamp;
use serde_json::Value;
use silo_core::units::{count_from_f64, double, round};

/// Longest accepted text, in characters.
const LONGEST: usize = 64;
/// Most elements read from a list.
pub(super) const MOST: usize = 20;

/// A short text without control characters.
pub(super) fn text(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    let plain =
        !text.is_empty() && text.chars().count() <= LONGEST && !text.contains(char::is_control);
    plain.then(|| text.to_owned())
}

/// A code or a word: a short text of letters, digits and a few signs. Whatever else stands there is none.
pub(super) fn word(value: &Value) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.$".contains(c);
    text(value).filter(|text| text.chars().all(plain))
}

/// A whole number from 0, also if written as 3.0; `None` for anything else.
pub(super) fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| count_from_f64(value.as_f64()?))
}

/// Whole seconds from a number of seconds.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    count_from_f64(value.as_f64()?.floor())
}

/// A share in percent, rounded to one place.
pub(super) fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| round(100.0 * double(part) / double(whole), 1))
}

/// A moment, from milliseconds since 1970 or from RFC 3339 text.
pub(super) fn moment(value: &Value) -> Option<Timestamp> {
    if let Some(text) = value.as_str() {
        return text.parse().ok();
    }
    let millis = count(value).filter(|millis| *millis > 0)?;
    Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()
}

/// The first elements of a list; `None` when it is none.
pub(super) fn list(value: &Value) -> Option<&[Value]> {
    let list = value.as_array()?;
    Some(&list[..list.len().min(MOST)])
}

/// Length of a list.
pub(super) fn length(value: &Value) -> Option<u64> {
    Some(silo_core::units::count_from_usize(value.as_array()?.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_valid_fields_are_read() {
        assert_eq!(text(&json!(" 1.2.3 ")).as_deref(), Some("1.2.3"));
        for odd in [
            json!(""),
            json!("a\u{1b}[31m"),
            json!("x".repeat(65)),
            json!(7),
            json!(null),
        ] {
            assert_eq!(text(&odd), None, "{odd}");
        }
        assert_eq!(word(&json!("auth0|64ab")), None);
        assert_eq!(word(&json!("$cow")).as_deref(), Some("$cow"));
        assert_eq!(
            (
                count(&json!(3)),
                count(&json!(3.0)),
                count(&json!(-1)),
                count(&json!("3"))
            ),
            (Some(3), Some(3), None, None)
        );
        assert_eq!(
            (seconds(&json!(12345.67)), seconds(&json!(-0.5))),
            (Some(12345), None)
        );
        let expected = "2026-01-01T00:00:00Z".parse().ok();
        assert_eq!(
            (
                moment(&json!(1_767_225_600_000_u64)),
                moment(&json!("2026-01-01T00:00:00.000Z"))
            ),
            (expected, expected)
        );
        for odd in [json!(0), json!("soon"), json!(1e30), json!({"$date": 1})] {
            assert_eq!(moment(&odd), None, "{odd}");
        }
        assert_eq!(list(&json!([0].repeat(25))).map(<[Value]>::len), Some(MOST));
    }
}
