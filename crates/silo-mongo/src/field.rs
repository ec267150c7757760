//! Access to BSON values by dotted path without casting: a value of another type is `None`.

use jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, Document};
use silo_core::units::{count_from_f64, count_from_i64};

/// The value at a dotted path.
#[must_use]
pub fn at<'a>(document: &'a Document, path: &str) -> Option<&'a Bson> {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = document.get(first)?;
    match rest {
        None => Some(value),
        Some(rest) => at(value.as_document()?, rest),
    }
}

/// A count: any BSON number that is whole and not negative.
#[must_use]
pub fn count(document: &Document, path: &str) -> Option<u64> {
    at(document, path).and_then(count_of)
}

/// A count out of one value.
#[must_use]
pub fn count_of(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int32(number) => count_from_i64(i64::from(*number)),
        Bson::Int64(number) => count_from_i64(*number),
        Bson::Double(number) => count_from_f64(*number),
        _ => None,
    }
}

/// A number of any kind as a double.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "gauges of a server; 53 bits are enough"
)]
pub fn number(document: &Document, path: &str) -> Option<f64> {
    match at(document, path)? {
        Bson::Int32(number) => Some(f64::from(*number)),
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        _ => None,
    }
}

/// Text.
#[must_use]
pub fn text<'a>(document: &'a Document, path: &str) -> Option<&'a str> {
    at(document, path)?.as_str()
}

/// A flag.
#[must_use]
pub fn flag(document: &Document, path: &str) -> Option<bool> {
    at(document, path)?.as_bool()
}

/// A document inside.
#[must_use]
pub fn document<'a>(document: &'a Document, path: &str) -> Option<&'a Document> {
    at(document, path)?.as_document()
}

/// A point in time: a BSON date, or text in RFC 3339, or a number of milliseconds, because AC's older documents hold all three.
#[must_use]
pub fn time(document: &Document, path: &str) -> Option<Timestamp> {
    at(document, path).and_then(time_of)
}

/// A point in time out of one value.
#[must_use]
pub fn time_of(value: &Bson) -> Option<Timestamp> {
    match value {
        Bson::DateTime(time) => Timestamp::from_millisecond(time.timestamp_millis()).ok(),
        Bson::String(text) => text.parse().ok(),
        Bson::Int64(millis) => Timestamp::from_millisecond(*millis).ok(),
        Bson::Double(_) => count_of(value)
            .and_then(|millis| Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()),
        _ => None,
    }
}

/// A point in time as BSON, for filters.
#[must_use]
pub fn date(time: Timestamp) -> Bson {
    Bson::DateTime(DateTime::from_millis(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn an_invalid_count_is_unknown_and_not_zero() {
        let document = doc! { "a": { "b": 3_i64, "c": -1, "d": "3", "e": 2.0, "f": 0.5 } };
        assert_eq!(count(&document, "a.b"), Some(3));
        assert_eq!(count(&document, "a.e"), Some(2));
        for path in ["a.c", "a.d", "a.f", "a.x", "x.y", "a.b.c"] {
            assert_eq!(count(&document, path), None, "{path}");
        }
    }

    #[test]
    fn a_time_may_be_a_date_a_text_or_milliseconds() {
        let millis = 1_767_225_600_000_i64;
        let expected = Timestamp::from_millisecond(millis).ok();
        let document = doc! { "date": DateTime::from_millis(millis), "text": "2026-01-01T00:00:00.000Z", "number": millis, "double": 1_767_225_600_000.0, "no": "soon" };
        for path in ["date", "text", "number", "double"] {
            assert_eq!(time(&document, path), expected, "{path}");
        }
        assert_eq!(time(&document, "no"), None);
    }
}
