//! Classes of differences between two documents.

use mongodb::bson::{Bson, Document, RawDocument};
use serde::Serialize;

/// Class of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Not in the target.
    Missing,
    /// Only in the target.
    Extra,
    /// Values or names differ.
    Content,
    /// Only types differ: a number of the same value, also `0.0` and `-0.0`, or `1.0` and `1.00`; an `ObjectId` or a date and the same as text.
    TypeOnly,
    /// Only the order of fields differs.
    FieldOrderOnly,
}

impl Class {
    /// Name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Content => "content",
            Self::TypeOnly => "type only",
            Self::FieldOrderOnly => "field order only",
        }
    }
}

/// Class of a difference, and the path of the first field that differs.
pub(super) fn classify(
    source: Option<&RawDocument>,
    target: Option<&RawDocument>,
) -> (Class, Option<String>) {
    let (source, target) = match (source, target) {
        (Some(source), Some(target)) => (source, target),
        (_, None) => return (Class::Missing, None),
        (None, _) => return (Class::Extra, None),
    };
    let decoded = (Document::try_from(source), Document::try_from(target));
    // Strings that are not valid UTF-8.
    let (Ok(source), Ok(target)) = decoded else {
        return (Class::Content, None);
    };
    let field = first_difference(&source, &target);
    let class = if text(&source, Form::Exact) == text(&target, Form::Exact) {
        Class::FieldOrderOnly
    } else if text(&source, Form::Value) == text(&target, Form::Value) {
        Class::TypeOnly
    } else {
        Class::Content
    };
    (class, field)
}

/// Text of a document whose fields are sorted.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// With types.
    Exact,
    /// Without types.
    Value,
}

fn text(document: &Document, form: Form) -> String {
    let mut fields: Vec<String> = document
        .iter()
        .map(|(name, value)| format!("{name:?}:{}", text_of(value, form)))
        .collect();
    fields.sort();
    format!("{{{}}}", fields.join(","))
}

fn text_of(value: &Bson, form: Form) -> String {
    let values = form == Form::Value;
    match value {
        Bson::Document(document) => text(document, form),
        Bson::Array(array) => {
            let each: Vec<String> = array.iter().map(|value| text_of(value, form)).collect();
            format!("[{}]", each.join(","))
        }
        Bson::Int32(number) if values => number_text(&number.to_string()),
        Bson::Int64(number) if values => number_text(&number.to_string()),
        Bson::Double(number) if values => number_text(&number.to_string()),
        Bson::Decimal128(number) if values => number_text(&number.to_string()),
        Bson::ObjectId(id) if values => format!("{:?}", id.to_hex()),
        Bson::DateTime(date) if values => {
            let text = date.try_to_rfc3339_string();
            let text = text.unwrap_or_else(|_| date.timestamp_millis().to_string());
            format!("{:?}", with_millis(&text))
        }
        Bson::Symbol(text) if values => format!("{text:?}"),
        Bson::String(text) if values => format!("{:?}", with_millis(text)),
        other => other.clone().into_canonical_extjson().to_string(),
    }
}

/// A number without its form: `1.10` and `1.1`, `1E+1` and `10`, `-0` and `0`.
fn number_text(text: &str) -> String {
    // A whole number that a double cannot hold stays exact.
    if let Ok(whole) = text.parse::<i128>() {
        return whole.to_string();
    }
    match text.parse::<f64>() {
        Ok(number) => (number + 0.0).to_string(),
        Err(_) => text.to_owned(),
    }
}

/// A date as text, with the milliseconds that `JSON.stringify` always writes.
fn with_millis(text: &str) -> String {
    match text.strip_suffix('Z') {
        Some(seconds) if text.len() == 20 && text.as_bytes()[10] == b'T' => {
            format!("{seconds}.000Z")
        }
        _ => match text.split_once('.') {
            Some((seconds, fraction))
                if seconds.len() == 19 && fraction.ends_with('Z') && fraction.len() < 4 =>
            {
                format!("{seconds}.{:0<3}Z", fraction.trim_end_matches('Z'))
            }
            _ => text.to_owned(),
        },
    }
}

/// Path of the first field that differs; of documents that differ in order only, the first field that is elsewhere.
fn first_difference(one: &Document, other: &Document) -> Option<String> {
    for (name, value) in one {
        match other.get(name) {
            None => return Some(name.clone()),
            Some(also) => {
                if let Some(inside) = inside(value, also) {
                    return Some(format!("{name}{inside}"));
                }
            }
        }
    }
    let more = other.keys().find(|name| !one.contains_key(name));
    let moved = || {
        one.keys()
            .zip(other.keys())
            .find(|(one, other)| one != other)
            .map(|(one, _)| one)
    };
    more.or_else(moved).cloned()
}

/// Path inside a value, with its separator; empty for the value itself, `None` if both are equal.
fn inside(one: &Bson, other: &Bson) -> Option<String> {
    match (one, other) {
        (Bson::Document(one), Bson::Document(other)) => {
            first_difference(one, other).map(|path| format!(".{path}"))
        }
        (Bson::Array(one), Bson::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(at, (one, other))| Some(format!("[{at}]{}", inside(one, other)?))),
        (one, other) => {
            let same = text_of(one, Form::Exact) == text_of(other, Form::Exact);
            (!same).then(String::new)
        }
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{DateTime, Decimal128, doc, oid::ObjectId};

    use super::*;

    fn of(one: &Document, other: &Document) -> (Class, Option<String>) {
        let raw = |document: &Document| mongodb::bson::RawDocumentBuf::try_from(document).unwrap();
        classify(Some(&raw(one)), Some(&raw(other)))
    }

    #[test]
    fn classes_of_differences() {
        let decimal = |text: &str| text.parse::<Decimal128>().unwrap();
        let id = ObjectId::from_bytes([7; 12]);
        let date = DateTime::from_millis(1_700_000_000_120);
        for (one, other, class, field) in [
            (
                doc! { "_id": 1, "a": 1, "b": 2_i64 },
                doc! { "_id": 1, "a": 1_i64, "b": 2 },
                Class::TypeOnly,
                "a",
            ),
            (
                doc! { "_id": 2, "x": 1, "y": 2 },
                doc! { "_id": 2, "y": 2, "x": 1 },
                Class::FieldOrderOnly,
                "x",
            ),
            (
                doc! { "a": { "x": 1, "y": 2 } },
                doc! { "a": { "y": 2, "x": 1 } },
                Class::FieldOrderOnly,
                "a.x",
            ),
            (doc! { "a": 0.0 }, doc! { "a": -0.0 }, Class::TypeOnly, "a"),
            (
                doc! { "a": decimal("1.0") },
                doc! { "a": decimal("1.00") },
                Class::TypeOnly,
                "a",
            ),
            (
                doc! { "a": [1, { "b": 2.0 }] },
                doc! { "a": [1, { "b": 2 }] },
                Class::TypeOnly,
                "a[1].b",
            ),
            (
                doc! { "a": id },
                doc! { "a": id.to_hex() },
                Class::TypeOnly,
                "a",
            ),
            (
                doc! { "a": date },
                doc! { "a": "2023-11-14T22:13:20.120Z" },
                Class::TypeOnly,
                "a",
            ),
            (
                doc! { "a": 9_007_199_254_740_993_i64 },
                doc! { "a": 9_007_199_254_740_992_i64 },
                Class::Content,
                "a",
            ),
            (doc! { "a": 1 }, doc! { "a": "1" }, Class::Content, "a"),
            (
                doc! { "a": [1, 2] },
                doc! { "a": [2, 1] },
                Class::Content,
                "a[0]",
            ),
            (
                doc! { "a": 1 },
                doc! { "a": 1, "b": null },
                Class::Content,
                "b",
            ),
        ] {
            assert_eq!(
                of(&one, &other),
                (class, Some(field.to_owned())),
                "{one} {other}"
            );
        }
        let nan = doc! { "n": f64::NAN };
        assert_eq!(of(&nan, &nan), (Class::FieldOrderOnly, None));
        let raw = mongodb::bson::rawdoc! { "_id": 1 };
        assert_eq!(classify(Some(&raw), None).0, Class::Missing);
        assert_eq!(classify(None, Some(&raw)).0, Class::Extra);
    }
}
