//! `_id`s of any type, as bytes.

use std::hash::{DefaultHasher, Hash, Hasher};

use mongodb::bson::{Bson, Decimal128, RawArrayBuf, RawDocument, RawDocumentBuf};

/// An `_id`: its BSON type, and its value in BSON. Empty if the document has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(Box<[u8]>);

/// `_id`s of a document on both sides, which may differ in type: MongoDB takes `1` and `1.0` for the same.
pub(super) type Pair = [Option<Id>; 2];

/// Name of the field, as in BSON.
const NAME: &[u8] = b"_id";

impl Id {
    /// `_id` of a document.
    pub(super) fn of(document: &RawDocument) -> Self {
        let (kind, value) = find(document.as_bytes()).unwrap_or_default();
        let bytes = std::iter::once(kind).chain(value.iter().copied());
        Self(bytes.collect())
    }

    /// The `_id` as canonical Extended JSON; of one that is no valid text, its bytes.
    pub(super) fn text(&self) -> String {
        let document = self.document();
        let value = document.as_ref().and_then(|document| {
            let value = document.get("_id").ok()??;
            Bson::try_from(value).ok()
        });
        value.map_or_else(
            || {
                format!(
                    "bytes {}",
                    self.0
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect::<String>()
                )
            },
            |value| value.into_canonical_extjson().to_string(),
        )
    }

    /// Appends the value to an array; `false` if it is no valid text and cannot be looked up.
    pub(super) fn append_to(&self, array: &mut RawArrayBuf) -> bool {
        if let Some(document) = self.document()
            && let Ok(Some(value)) = document.get("_id")
        {
            array.push(value);
            return true;
        }
        false
    }

    /// A document with this `_id` and nothing else.
    fn document(&self) -> Option<RawDocumentBuf> {
        let (kind, value) = self.0.split_first()?;
        let length = i32::try_from(4 + 1 + NAME.len() + 1 + value.len() + 1).ok()?;
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.push(*kind);
        bytes.extend(NAME);
        bytes.push(0);
        bytes.extend(value);
        bytes.push(0);
        RawDocumentBuf::from_bytes(bytes).ok()
    }
}

/// Hash of a document's `_id`; the same for numbers of the same value.
pub(super) fn hash(document: &RawDocument) -> u64 {
    let mut hasher = DefaultHasher::new();
    let (kind, value) = find(document.as_bytes()).unwrap_or_default();
    match number(kind, value) {
        // A double of a whole number up to 2^63 is that number, and -0.0 is 0.
        Some(number) => {
            let normal = if number.is_nan() {
                f64::NAN
            } else {
                number + 0.0
            };
            normal.to_bits().hash(&mut hasher);
        }
        None => (kind, value).hash(&mut hasher),
    }
    hasher.finish()
}

/// A number as a double. Numbers that are close may have the same, which only costs another look.
fn number(kind: u8, value: &[u8]) -> Option<f64> {
    Some(match kind {
        0x01 => f64::from_le_bytes(value.try_into().ok()?),
        0x10 => i32::from_le_bytes(value.try_into().ok()?).into(),
        #[expect(clippy::cast_precision_loss, reason = "for a hash only")]
        0x12 => i64::from_le_bytes(value.try_into().ok()?) as f64,
        0x13 => {
            let decimal = Decimal128::from_bytes(value.try_into().ok()?);
            decimal.to_string().parse().ok()?
        }
        _ => return None,
    })
}

/// Type and value of the `_id` of a document.
fn find(document: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = document.get(4..)?;
    loop {
        let (kind, after) = rest.split_first()?;
        let name = after.iter().position(|byte| *byte == 0)?;
        let value = after.get(name + 1..)?;
        let size = size(*kind, value)?;
        if &after[..name] == NAME {
            return Some((*kind, value.get(..size)?));
        }
        rest = value.get(size..)?;
    }
}

/// Size of a value in BSON (<https://bsonspec.org/spec.html>).
fn size(kind: u8, value: &[u8]) -> Option<usize> {
    let length = || {
        let length = i32::from_le_bytes(value.get(..4)?.try_into().ok()?);
        usize::try_from(length).ok()
    };
    let text = |from: usize| Some(value.get(from..)?.iter().position(|byte| *byte == 0)? + 1);
    Some(match kind {
        0x01 | 0x09 | 0x11 | 0x12 => 8,
        0x02 | 0x0d | 0x0e => 4 + length()?,
        0x03 | 0x04 | 0x0f => length()?,
        0x05 => 5 + length()?,
        0x06 | 0x0a | 0x7f | 0xff => 0,
        0x07 => 12,
        0x08 => 1,
        0x0b => {
            let pattern = text(0)?;
            pattern + text(pattern)?
        }
        0x0c => 4 + length()? + 12,
        0x10 => 4,
        0x13 => 16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Binary, DateTime, Regex, Timestamp, oid::ObjectId, rawdoc};

    use super::*;

    #[test]
    fn the_id_is_found_after_fields_of_every_type() {
        let document = rawdoc! {
            "double": 1.5, "string": "x", "document": { "_id": 7 }, "array": [1, "b"],
            "binary": Binary { subtype: 0.into(), bytes: vec![1, 2] }, "oid": ObjectId::from_bytes([1; 12]),
            "true": true, "date": DateTime::from_millis(1), "null": null,
            "regex": Regex { pattern: mongodb::bson::cstr!("a").into(), options: mongodb::bson::cstr!("i").into() },
            "int": 1, "timestamp": Timestamp { time: 1, increment: 2 }, "long": 1_i64,
            "decimal": "1.10".parse::<Decimal128>().unwrap(), "min": mongodb::bson::RawBson::MinKey,
            "_id": { "a": 1 }, "more": 1,
        };
        assert_eq!(Id::of(&document).text(), r#"{"a":{"$numberInt":"1"}}"#);
        assert_eq!(Id::of(&rawdoc! { "a": 1 }).text(), "bytes 00");
        let invalid = b"\x10\x00\x00\x00\x02_id\x00\x02\x00\x00\x00\xe9\x00\x00";
        let invalid = RawDocument::from_bytes(invalid).unwrap();
        assert_eq!(Id::of(invalid).text(), "bytes 0202000000e900");
    }

    #[test]
    fn numbers_of_the_same_value_have_the_same_hash() {
        let decimal: Decimal128 = "1.0".parse().unwrap();
        let one = hash(&rawdoc! { "_id": 1 });
        assert_eq!(one, hash(&rawdoc! { "_id": 1_i64 }));
        assert_eq!(one, hash(&rawdoc! { "_id": 1.0, "more": 1 }));
        assert_eq!(one, hash(&rawdoc! { "_id": decimal }));
        assert_ne!(one, hash(&rawdoc! { "_id": "1" }));
        assert_ne!(one, hash(&rawdoc! { "_id": true }));
        assert_eq!(hash(&rawdoc! { "_id": 0 }), hash(&rawdoc! { "_id": -0.0 }));
    }
}
