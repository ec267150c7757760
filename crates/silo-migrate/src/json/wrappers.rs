//! Type wrappers of Extended JSON, such as `{"$oid": "..."}`.
//!
//! Version 2: <https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md>. Version 1:
//! <https://www.mongodb.com/docs/manual/reference/mongodb-extended-json-v1/>.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bson::oid::ObjectId;
use bson::raw::CString;
use bson::{Binary, Bson, DateTime, Decimal128, RawBson, RawDocumentBuf, Regex, Timestamp};
use serde_json::json;

use super::date::millis_of_iso;
use super::dialect::{Dialect, Marker};
use super::types;

/// Fields of a wrapper, in their order; values that are wrappers themselves are converted.
pub(super) type Entries = Vec<(String, RawBson)>;

/// Value of a wrapper, and the marker of the dialects that have it.
type Wrapped = (RawBson, Option<Marker>);

/// Result of a conversion; the error names the contents that the wrapper must have.
type Result<T> = std::result::Result<T, String>;

/// `true` if a document that begins with this field may be a wrapper.
pub(super) fn may_begin_with(name: &str) -> bool {
    matches!(
        name,
        "$oid"
            | "$symbol"
            | "$numberInt"
            | "$numberLong"
            | "$numberDouble"
            | "$numberDecimal"
            | "$binary"
            | "$uuid"
            | "$code"
            | "$timestamp"
            | "$regularExpression"
            | "$dbPointer"
            | "$date"
            | "$minKey"
            | "$maxKey"
            | "$undefined"
            | "$regex"
    )
}

/// Converts a wrapper; `None` if it is a document that only looks like one.
pub(super) fn convert(entries: &Entries, dialect: Option<Dialect>) -> Result<Option<Wrapped>> {
    use Marker::{Number, Regex as OldRegex, Version1, Version2, Wrapper};
    let (name, value, second) = match entries.as_slice() {
        [(name, value)] => (name.as_str(), value, None),
        [(name, value), (second, more)] => (name.as_str(), value, Some((second.as_str(), more))),
        _ => ("", &RawBson::Null, None),
    };
    let text = |value: &RawBson| match value {
        RawBson::String(text) => Some(text.clone()),
        _ => None,
    };
    let converted = match (name, text(value), second) {
        ("$oid", Some(text), None) => ObjectId::parse_str(text)
            .ok()
            .map(|id| (RawBson::ObjectId(id), Some(Wrapper))),
        ("$symbol", Some(text), None) => Some((RawBson::Symbol(text), Some(Version2))),
        ("$numberInt", Some(text), None) => {
            let number = text.parse().ok();
            number.map(|number| (RawBson::Int32(number), Some(Number)))
        }
        ("$numberLong", Some(text), None) => {
            let number = text.parse().ok();
            number.map(|number| (RawBson::Int64(number), Some(Wrapper)))
        }
        ("$numberLong", None, None) => {
            whole(value).map(|number| (RawBson::Int64(number), Some(Version1)))
        }
        ("$numberDouble", Some(text), None) => {
            double(&text).map(|number| (RawBson::Double(number), Some(Number)))
        }
        // Plain JSON has this one too.
        ("$numberDecimal", Some(text), None) => {
            let number = text.parse::<Decimal128>().ok();
            number.map(|number| (RawBson::Decimal128(number), None))
        }
        ("$binary", None, None) => strings(value, ["base64", "subType"])
            .and_then(|[base64, subtype]| binary(&base64, &subtype))
            .map(|binary| (binary, Some(Version2))),
        ("$binary", Some(base64), Some(("$type", RawBson::String(subtype)))) => {
            binary(&base64, subtype).map(|binary| (binary, Some(Version1)))
        }
        ("$uuid", Some(text), None) => {
            types::uuid(&text).map(|uuid| (RawBson::Binary(uuid), Some(Version2)))
        }
        ("$code", Some(code), None) => Some((RawBson::JavaScriptCode(code), Some(Wrapper))),
        ("$code", Some(code), Some(("$scope", RawBson::Document(scope)))) => {
            let scope = scope.clone();
            let code = bson::raw::RawJavaScriptCodeWithScope { code, scope };
            Some((RawBson::JavaScriptCodeWithScope(code), Some(Wrapper)))
        }
        ("$timestamp", None, None) => numbers(value, ["t", "i"]).map(|[time, increment]| {
            let timestamp = Timestamp { time, increment };
            (RawBson::Timestamp(timestamp), Some(Wrapper))
        }),
        // As JSON.stringify writes it: both halves as one number.
        ("$timestamp", Some(text), None) => text.parse().ok().map(|both: u64| {
            let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or_default();
            let (time, increment) = (half(both >> 32), half(both));
            (RawBson::Timestamp(Timestamp { time, increment }), None)
        }),
        ("$regularExpression", None, None) => strings(value, ["pattern", "options"])
            .and_then(|[pattern, options]| regex(pattern, &options))
            .map(|regex| (regex, Some(Version2))),
        ("$regex", Some(pattern), Some(("$options", RawBson::String(options))))
            if dialect.is_none_or(|dialect| dialect == Dialect::Legacy) =>
        {
            regex(pattern, options).map(|regex| (regex, Some(OldRegex)))
        }
        ("$dbPointer", None, None) => pointer(value).map(|pointer| (pointer, Some(Version2))),
        ("$date", _, None) => date(value),
        ("$minKey", None, None) if whole(value) == Some(1) => {
            Some((RawBson::MinKey, Some(Wrapper)))
        }
        ("$maxKey", None, None) if whole(value) == Some(1) => {
            Some((RawBson::MaxKey, Some(Wrapper)))
        }
        ("$undefined", None, None) if *value == RawBson::Boolean(true) => {
            Some((RawBson::Undefined, Some(Wrapper)))
        }
        _ => None,
    };
    let first = entries.first().map_or("", |(name, _)| name.as_str());
    match converted {
        Some(converted) => Ok(Some(converted)),
        // Stored queries have it.
        None if first == "$regex" => Ok(None),
        None => Err(format!("{first} {}", expected(first))),
    }
}

/// Contents that a wrapper must have.
fn expected(name: &str) -> &'static str {
    match name {
        "$oid" => "must have 24 hexadecimal digits, and no other field beside it",
        "$numberInt" => "must have a whole number of 32 bits, as text",
        "$numberLong" => "must have a whole number of 64 bits",
        "$numberDouble" => "must have a number, NaN, Infinity or -Infinity, as text",
        "$numberDecimal" => {
            "must have a number of at most 34 digits, NaN, Infinity or -Infinity, as text"
        }
        "$binary" => "must have base64 and subType, or base64 text with a $type beside it",
        "$uuid" => "must have a UUID with hyphens",
        "$code" => "must have text, and nothing but a $scope beside it",
        "$timestamp" => "must have t and i of 32 bits each",
        "$regularExpression" => "must have pattern and options",
        "$dbPointer" => "must have $ref and $id",
        "$date" => {
            "must have milliseconds of 64 bits, or a date with time and offset that is no more exact than a millisecond"
        }
        _ => "must have its value, and no other field beside it",
    }
}

fn whole(value: &RawBson) -> Option<i64> {
    match value {
        RawBson::Int32(number) => Some((*number).into()),
        RawBson::Int64(number) => Some(*number),
        _ => None,
    }
}

/// Values of a document with exactly these fields.
fn fields<'a>(value: &'a RawBson, names: [&str; 2]) -> Option<[bson::RawBsonRef<'a>; 2]> {
    let RawBson::Document(document) = value else {
        return None;
    };
    let field = |name| document.get(name).ok().flatten();
    let found = [field(names[0])?, field(names[1])?];
    (document.iter().count() == 2).then_some(found)
}

fn strings(value: &RawBson, names: [&str; 2]) -> Option<[String; 2]> {
    let [one, two] = fields(value, names)?;
    Some([one.as_str()?.to_owned(), two.as_str()?.to_owned()])
}

fn numbers(value: &RawBson, names: [&str; 2]) -> Option<[u32; 2]> {
    let number = |value: bson::RawBsonRef<'_>| {
        let number = value.as_i64().or(value.as_i32().map(i64::from))?;
        u32::try_from(number).ok()
    };
    let [one, two] = fields(value, names)?;
    Some([number(one)?, number(two)?])
}

/// A date: milliseconds since 1970, or ISO 8601 text with an offset and at most milliseconds.
fn date(value: &RawBson) -> Option<Wrapped> {
    let (millis, marker) = match value {
        RawBson::String(text) => (millis_of_iso(text)?, Marker::Wrapper),
        // Of a wrapper, which is converted already.
        RawBson::Int64(millis) => (*millis, Marker::Wrapper),
        number => (whole(number)?, Marker::Version1),
    };
    Some((
        RawBson::DateTime(DateTime::from_millis(millis)),
        Some(marker),
    ))
}

/// A double as text. Rust's own parser also takes `inf`, `nan` and `infinity`.
fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => {
            let other = |letter: char| letter.is_ascii_alphabetic() && !"eE".contains(letter);
            let number = text.parse().ok().filter(|number: &f64| number.is_finite());
            number.filter(|_| !text.contains(other))
        }
    }
}

fn binary(base64: &str, subtype: &str) -> Option<RawBson> {
    let bytes = BASE64_STANDARD.decode(base64).ok()?;
    let subtype = u8::from_str_radix(subtype, 16).ok()?.into();
    Some(RawBson::Binary(Binary { subtype, bytes }))
}

/// A regular expression. Its options are stored in alphabetical order.
fn regex(pattern: String, options: &str) -> Option<RawBson> {
    let mut options: Vec<char> = options.chars().collect();
    options.sort_unstable();
    Some(RawBson::RegularExpression(Regex {
        pattern: CString::try_from(pattern).ok()?,
        options: CString::try_from(options.into_iter().collect::<String>()).ok()?,
    }))
}

/// A deprecated pointer to a document, which only the Extended JSON of bson can create.
fn pointer(value: &RawBson) -> Option<RawBson> {
    let [namespace, id] = fields(value, ["$ref", "$id"])?;
    let (namespace, id) = (namespace.as_str()?, id.as_object_id()?.to_hex());
    let pointer = json!({ "$dbPointer": { "$ref": namespace, "$id": { "$oid": id } } });
    match Bson::try_from(pointer).ok()? {
        Bson::DbPointer(pointer) => Some(RawBson::DbPointer(pointer)),
        _ => None,
    }
}

/// A document of the fields of what is no wrapper.
pub(super) fn document(entries: Entries) -> Result<RawDocumentBuf> {
    let mut document = RawDocumentBuf::new();
    for (name, value) in entries {
        let name = CString::try_from(name)
            .map_err(|_null| "a field name has a null character".to_owned())?;
        document.append(name, value);
    }
    Ok(document)
}
