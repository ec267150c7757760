//! Types of fields, for JSON that has lost them: a TOML file with the BSON type of each field of each collection.
//!
//! ```toml
//! [moods]
//! _id = "objectid"
//! when = "date"
//! "tags[].id" = ["objectid", "string"]
//! ```
//!
//! `[]` stands for the elements of an array, and `*` for any one name of a path. A type applies to the JSON values that it can come from: a date to text, a
//! long to numbers. Of several types, the first that a value can be converted into is taken; a value that none of them fits is an error. The table `["*"]`
//! is for all collections; what a collection's own table has comes first.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, DateTime, Decimal128, RawBson};
use serde::{Deserialize, Serialize};

use super::date::{is_of_stringify, millis_of_iso};

/// Table for all collections.
const ALL: &str = "*";
/// AC's own types.
const AC: &str = include_str!("ac-types.toml");

/// BSON type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// From 24 hexadecimal digits.
    ObjectId,
    /// From ISO 8601 text with an offset.
    Date,
    /// 32 bits.
    Int,
    /// 64 bits: from a whole number, or `{"low", "high", "unsigned"}`, as `JSON.stringify` writes a Long.
    Long,
    /// From any number.
    Double,
    /// From a number or a text with one.
    Decimal,
    /// Text that stays text although it looks like something else.
    String,
    /// From base64.
    Binary,
    /// From text such as `00112233-4455-6677-8899-aabbccddeeff`.
    Uuid,
    /// A document that stays one although it looks like a Long.
    Document,
}

/// A JSON value whose type is declared.
#[derive(Clone, Copy, Debug)]
pub enum Scalar<'a> {
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// `{"low", "high", "unsigned"}`, as a number.
    LowHigh(i64),
}

impl FieldType {
    /// The value as this type; `None` if it cannot be converted exactly.
    #[must_use]
    pub fn convert(self, value: Scalar<'_>) -> Option<RawBson> {
        Some(match (self, value) {
            (Self::ObjectId, Scalar::Text(text)) => {
                RawBson::ObjectId(ObjectId::parse_str(text).ok()?)
            }
            (Self::Date, Scalar::Text(text)) => date(millis_of_iso(text)?),
            (Self::Int, Scalar::Integer(number)) => RawBson::Int32(number.try_into().ok()?),
            (Self::Long, Scalar::Integer(number)) => RawBson::Int64(number.try_into().ok()?),
            (Self::Long, Scalar::LowHigh(number)) => RawBson::Int64(number),
            (Self::Double, Scalar::Integer(number)) => RawBson::Double(exact_double(number)?),
            (Self::Double, Scalar::Float(number)) => RawBson::Double(number),
            (Self::Decimal, Scalar::Text(text)) => decimal(text)?,
            (Self::Decimal, Scalar::Integer(number)) => decimal(&number.to_string())?,
            (Self::String, Scalar::Text(text)) => RawBson::String(text.to_owned()),
            (Self::Binary, Scalar::Text(text)) => RawBson::Binary(Binary {
                subtype: BinarySubtype::Generic,
                bytes: BASE64_STANDARD.decode(text).ok()?,
            }),
            (Self::Uuid, Scalar::Text(text)) => RawBson::Binary(uuid(text)?),
            _ => return None,
        })
    }

    /// `true` for the values that this type can come from.
    fn is_for(self, value: Scalar<'_>) -> bool {
        match value {
            Scalar::Text(_) => {
                !matches!(self, Self::Int | Self::Long | Self::Double | Self::Document)
            }
            Scalar::Integer(_) | Scalar::Float(_) => {
                matches!(self, Self::Int | Self::Long | Self::Double | Self::Decimal)
            }
            Scalar::LowHigh(_) => self == Self::Long,
        }
    }

    /// Name in a types file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ObjectId => "objectid",
            Self::Date => "date",
            Self::Int => "int",
            Self::Long => "long",
            Self::Double => "double",
            Self::Decimal => "decimal",
            Self::String => "string",
            Self::Binary => "binary",
            Self::Uuid => "uuid",
            Self::Document => "document",
        }
    }
}

fn date(millis: i64) -> RawBson {
    RawBson::DateTime(DateTime::from_millis(millis))
}

fn decimal(text: &str) -> Option<RawBson> {
    text.parse::<Decimal128>().ok().map(RawBson::Decimal128)
}

/// A UUID with hyphens.
pub(super) fn uuid(text: &str) -> Option<Binary> {
    let uuid = bson::Uuid::parse_str(text).ok()?;
    (text.len() == 36).then(|| uuid.into())
}

/// A whole number as a double; `None` if it is not exactly one.
#[must_use]
pub fn exact_double(number: i128) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "compared with the number below")]
    let double = number as f64;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a double of up to 2^64 fits into 128 bits"
    )]
    let same = double as i128 == number;
    same.then_some(double)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(FieldType),
    More(Vec<FieldType>),
}

/// Types of the fields of all collections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types(BTreeMap<String, BTreeMap<String, Vec<FieldType>>>);

/// Types of the fields of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldTypes {
    exact: HashMap<String, Vec<FieldType>>,
    /// Paths with `*`.
    patterns: Vec<(String, Vec<FieldType>)>,
}

impl FieldTypes {
    /// `true` if no field has a type.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    /// The types as text, the same for the same types.
    #[must_use]
    pub fn describe(&self) -> String {
        let sorted: BTreeMap<&String, &Vec<FieldType>> = self.exact.iter().collect();
        format!("{sorted:?} {:?}", self.patterns)
    }

    /// Types of a field; none if it has no declared type.
    #[must_use]
    pub fn of(&self, path: &str) -> &[FieldType] {
        if let Some(types) = self.exact.get(path) {
            return types;
        }
        let matches = |pattern: &str| {
            let (mut pattern, mut path) = (pattern.split('.'), path.split('.'));
            pattern
                .by_ref()
                .zip(path.by_ref())
                .all(|(one, other)| one == "*" || one == other)
                && pattern.next().is_none()
        };
        let same_length = |pattern: &str| pattern.split('.').count() == path.split('.').count();
        let found = self
            .patterns
            .iter()
            .find(|(pattern, _)| same_length(pattern) && matches(pattern));
        found.map_or(&[], |(_, types)| types)
    }

    /// The value as its declared type; `None` if no type is declared for such values. Text that may also be a string becomes an id or a date only if
    /// `JSON.stringify` writes those so.
    ///
    /// # Errors
    /// Names of the types, none of which fits.
    pub fn convert(&self, path: &str, value: Scalar<'_>) -> Option<Result<RawBson, String>> {
        let mut types = self
            .of(path)
            .iter()
            .filter(|of| of.is_for(value))
            .peekable();
        types.peek()?;
        let names: Vec<&str> = types.clone().map(|of| of.name()).collect();
        let string = names.contains(&FieldType::String.name());
        let as_stringified = |of: &&FieldType| match (of, value) {
            (FieldType::Date, Scalar::Text(text)) if string => is_of_stringify(text),
            (FieldType::ObjectId, Scalar::Text(text)) if string => {
                !text.contains(|letter: char| letter.is_ascii_uppercase())
            }
            _ => true,
        };
        let converted = types
            .filter(as_stringified)
            .find_map(|of| of.convert(value));
        Some(converted.ok_or_else(|| names.join(" or ")))
    }
}

impl Types {
    /// Parses a types file.
    ///
    /// # Errors
    /// The problem, with its place in the file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tables: BTreeMap<String, BTreeMap<String, OneOrMore>> =
            toml::from_str(text).map_err(|error| error.to_string())?;
        let of_collection = |fields: BTreeMap<String, OneOrMore>| {
            let types = fields.into_iter().map(|(path, types)| match types {
                OneOrMore::One(one) => (path, vec![one]),
                OneOrMore::More(more) => (path, more),
            });
            types.collect()
        };
        Ok(Self(
            tables
                .into_iter()
                .map(|(name, fields)| (name, of_collection(fields)))
                .collect(),
        ))
    }

    /// AC's types.
    ///
    /// # Errors
    /// None: the file is checked by a test.
    pub fn of_ac() -> Result<Self, String> {
        Self::parse(AC)
    }

    /// These types and others, which replace those of the same field in the same table.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        for (name, fields) in others.0 {
            self.0.entry(name).or_default().extend(fields);
        }
        self
    }

    /// Types of the fields of a collection.
    #[must_use]
    pub fn of(&self, collection: &str) -> FieldTypes {
        let mut types = FieldTypes::default();
        for table in [self.0.get(ALL), self.0.get(collection)]
            .into_iter()
            .flatten()
        {
            for (path, of) in table.clone() {
                if path.split('.').any(|name| name == "*") {
                    types.patterns.insert(0, (path, of));
                } else {
                    types.exact.insert(path, of);
                }
            }
        }
        types
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_types_file_has_one_or_more_types_for_a_field() {
        let types =
            Types::parse("[moods]\n_id = \"objectid\"\n\"a[].b\" = [\"long\", \"string\"]\n");
        let moods = types.unwrap().of("moods");
        assert_eq!(moods.of("_id"), [FieldType::ObjectId]);
        assert_eq!(moods.of("a[].b"), [FieldType::Long, FieldType::String]);
        let types = Types::parse(
            "[\"*\"]\n_id = \"objectid\"\nwhen = \"date\"\n[users]\n_id = \"string\"\n",
        );
        let users = types.unwrap().of("users");
        assert_eq!(
            (users.of("_id"), users.of("when")),
            (&[FieldType::String][..], &[FieldType::Date][..])
        );
        let wrong = Types::parse("[moods]\n_id = \"oid\"\n").unwrap_err();
        assert!(wrong.contains("line 2"), "{wrong}");
    }

    #[test]
    fn a_star_stands_for_one_name() {
        let types = Types::parse("[kidlisp]\n\"tezos.contracts.*.at\" = \"date\"\n")
            .unwrap()
            .of("kidlisp");
        assert_eq!(types.of("tezos.contracts.KT1.at"), [FieldType::Date]);
        for other in [
            "tezos.contracts.at",
            "tezos.contracts.KT1.at.more",
            "tezos.contracts.KT1.to",
            "tezos",
        ] {
            assert_eq!(types.of(other), [], "{other}");
        }
        assert_eq!(
            types.convert("tezos.contracts.KT1.at", Scalar::Integer(5)),
            None
        );
        let wrong = types.convert("tezos.contracts.KT1.at", Scalar::Text("x"));
        assert_eq!(wrong, Some(Err("date".into())));
    }

    #[test]
    fn only_exact_values_are_converted() {
        let text = Scalar::Text;
        for (of, value) in [
            (FieldType::Int, Scalar::Integer(1 << 31)),
            (FieldType::Long, Scalar::Integer(1 << 63)),
            (FieldType::Long, Scalar::Float(1.5)),
            (FieldType::Double, Scalar::Integer(9_007_199_254_740_993)),
            (FieldType::ObjectId, text("65f")),
            (FieldType::Date, text("yesterday")),
            (FieldType::Binary, text("a?")),
            (FieldType::Uuid, text("00112233445566778899aabbccddeeff")),
            (FieldType::String, Scalar::Integer(1)),
            (FieldType::Document, text("x")),
        ] {
            assert_eq!(of.convert(value), None, "{of:?} {value:?}");
        }
        let long = FieldType::Long.convert(Scalar::Integer(9_007_199_254_740_993));
        assert_eq!(long, Some(RawBson::Int64(9_007_199_254_740_993)));
    }

    #[test]
    fn the_types_of_ac_can_be_parsed() {
        let ac = Types::of_ac().unwrap();
        let either = [FieldType::ObjectId, FieldType::String];
        assert_eq!(ac.of("moods").of("_id"), either);
        assert_eq!(ac.of("users").of("_id"), [FieldType::String]);
        assert_eq!(ac.of("users").of("when"), ac.of("moods").of("when"));
        let more = Types::parse("[moods]\n_id = \"string\"\nx = \"long\"\n").unwrap();
        let more = ac.with(more).of("moods");
        assert_eq!(more.of("_id"), [FieldType::String]);
        assert_eq!(more.of("x"), [FieldType::Long]);
        assert!(!more.of("when").is_empty());
    }
}
