//! Converting the text of a document into BSON, without an intermediate tree.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use bson::raw::CStr;
use bson::{RawArrayBuf, RawBson, RawDocumentBuf};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::JsonError;
use super::date;
use super::dialect::{Dialect, Marker, Markers};
use super::documents::DocumentText;
use super::fields::{Fields, Seen};
use super::types::{FieldType, FieldTypes, Scalar, exact_double};
use super::wrappers;

/// Most levels of documents and arrays; a server takes 180, serde's JSON 127.
const DEEPEST: u32 = 120;
/// Largest document that a server takes, in bytes.
const LARGEST: usize = 16 * 1024 * 1024;
/// Fields of a document up to which a repeated name is searched one by one.
const FEW: usize = 16;

/// First values that do not fit their declared types, with their lines.
#[derive(Clone, Debug, Default)]
pub struct Misfits {
    text: Option<String>,
    number: Option<String>,
}

impl Misfits {
    /// Problem in a file of this dialect, if there is one.
    #[must_use]
    pub fn in_dialect(&self, dialect: Dialect) -> Option<&str> {
        let found = match dialect {
            Dialect::Canonical => None,
            Dialect::Relaxed | Dialect::Legacy => self.number.as_ref(),
            Dialect::Plain => self.text.as_ref().or(self.number.as_ref()),
        };
        found.map(String::as_str)
    }
}

/// Conversion of the documents of a file.
pub struct Converter<'a> {
    /// Dialect; `None` while it is being detected.
    dialect: Option<Dialect>,
    types: &'a FieldTypes,
    /// Markers of the file's dialect.
    pub markers: Markers,
    /// Kinds of values in the fields without a declared type.
    pub fields: Fields,
    /// First values that do not fit their declared types.
    pub misfits: Misfits,
    path: String,
    depth: u32,
    /// Line of the document.
    line: u64,
    /// Wrappers that are being read: what is inside of one is no field.
    wrappers: u32,
}

impl<'a> Converter<'a> {
    /// Conversion with these types. While the dialect is not known, everything is noted.
    #[must_use]
    pub fn new(dialect: Option<Dialect>, types: &'a FieldTypes) -> Self {
        Self {
            dialect,
            types,
            markers: Markers::default(),
            fields: Fields::default(),
            misfits: Misfits::default(),
            path: String::new(),
            depth: 0,
            line: 0,
            wrappers: 0,
        }
    }

    /// Converts a document.
    ///
    /// # Errors
    /// The problem, with its place in the file.
    pub fn convert(&mut self, text: &DocumentText<'_>) -> Result<RawDocumentBuf, JsonError> {
        self.line = text.line;
        self.path.clear();
        (self.depth, self.wrappers) = (0, 0);
        let mut json = serde_json::Deserializer::from_slice(text.bytes);
        let converted = Value(self).deserialize(&mut json);
        let converted = converted.and_then(|value| json.end().map(|()| value));
        let converted = converted.and_then(|value| match value {
            RawBson::Document(document) if document.as_bytes().len() > LARGEST => Err(
                serde_json::Error::custom("the document has more than 16 MiB"),
            ),
            RawBson::Document(document) => Ok(document),
            _ => Err(serde_json::Error::custom(
                "a document is expected, not a type wrapper",
            )),
        });
        converted.map_err(|error| at(text, &error))
    }

    fn note(&mut self, seen: Seen) {
        if self.dialect.is_none() && self.wrappers == 0 {
            self.fields.note(&self.path, seen);
        }
    }

    fn mark(&mut self, marker: Marker) {
        if self.dialect.is_none() && self.wrappers == 0 {
            self.markers.note(marker, self.line);
        }
    }

    /// A value of a field with declared types, which apply to what the dialect has lost: everything in plain JSON, numbers in the others, nothing in
    /// canonical. While the dialect is not known, a value that does not fit is noted, and the declared type is not applied.
    fn declared(&mut self, value: Scalar<'_>) -> Option<Result<RawBson, String>> {
        if self.wrappers > 0 || self.types.is_empty() {
            return None;
        }
        let text = matches!(value, Scalar::Text(_));
        match self.dialect {
            Some(Dialect::Canonical) => return None,
            Some(Dialect::Relaxed | Dialect::Legacy) if text => return None,
            _ => {}
        }
        let converted = self.types.convert(&self.path, value)?;
        let converted =
            converted.map_err(|types| format!("{}: the value is not of type {types}", self.path));
        if self.dialect.is_some() {
            return Some(converted);
        }
        if let Err(problem) = &converted {
            let misfit = if text {
                &mut self.misfits.text
            } else {
                &mut self.misfits.number
            };
            misfit.get_or_insert_with(|| format!("line {}: {problem}", self.line));
        }
        // Declared, so that there is nothing to note.
        Some(Ok(match value {
            Scalar::Text(text) => RawBson::String(text.to_owned()),
            Scalar::Float(number) => RawBson::Double(number),
            Scalar::Integer(_) | Scalar::LowHigh(_) => RawBson::Null,
        }))
    }

    fn integer(&mut self, number: i128) -> Result<RawBson, String> {
        self.mark(Marker::PlainNumber);
        if let Some(declared) = self.declared(Scalar::Integer(number)) {
            return declared;
        }
        self.note(match exact_double(number) {
            Some(_) => Seen::Integer,
            None => Seen::InexactInteger,
        });
        if let Ok(number) = i32::try_from(number) {
            return Ok(RawBson::Int32(number));
        }
        let plain = self.dialect == Some(Dialect::Plain) && self.wrappers == 0;
        match (i64::try_from(number), plain) {
            (Ok(number), false) => Ok(RawBson::Int64(number)),
            // The Node driver stores such numbers as doubles.
            _ => exact_double(number).map(RawBson::Double).ok_or_else(|| {
                format!(
                    "{}: the whole number is too large to be a double exactly; declare its type",
                    self.path
                )
            }),
        }
    }

    fn float(&mut self, number: f64) -> Result<RawBson, String> {
        self.mark(Marker::PlainNumber);
        if let Some(declared) = self.declared(Scalar::Float(number)) {
            return declared;
        }
        Ok(RawBson::Double(number))
    }

    fn text(&mut self, text: &str) -> Result<RawBson, String> {
        if let Some(declared) = self.declared(Scalar::Text(text)) {
            return declared;
        }
        if self.dialect.is_none() {
            let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
            self.note(if text.len() == 24 && hexadecimal(text) {
                Seen::IdText
            } else if date::is_of_stringify(text) {
                Seen::DateText
            } else {
                Seen::Text
            });
        }
        Ok(RawBson::String(text.to_owned()))
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!(
                "documents are nested in more than {DEEPEST} levels"
            ));
        }
        Ok(())
    }
}

/// The error of serde, whose place is one in the document.
fn at(text: &DocumentText<'_>, error: &serde_json::Error) -> JsonError {
    let as_u64 = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let (line, column) = (as_u64(error.line()).max(1), as_u64(error.column()).max(1));
    let place = format!(" at line {} column {}", error.line(), error.column());
    let problem = error.to_string();
    JsonError {
        line: text.line + line - 1,
        column: if line == 1 {
            text.column + column - 1
        } else {
            column
        },
        problem: problem.strip_suffix(&place).unwrap_or(&problem).to_owned(),
    }
}

/// Reads a value.
struct Value<'c, 'a>(&'c mut Converter<'a>);

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = RawBson;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawBson, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = RawBson;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<RawBson, E> {
        self.0.note(Seen::Null);
        Ok(RawBson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawBson, E> {
        Ok(RawBson::Boolean(value))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<RawBson, E> {
        self.0.integer(number.into()).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<RawBson, E> {
        self.0.integer(number.into()).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<RawBson, E> {
        self.0.float(number).map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RawBson, E> {
        self.0.text(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<RawBson, A::Error> {
        let converter = self.0;
        converter.deeper().map_err(A::Error::custom)?;
        let outside = converter.path.len();
        converter.path.push_str("[]");
        let mut array = RawArrayBuf::new();
        while let Some(value) = values.next_element_seed(Value(&mut *converter))? {
            array.push(value);
        }
        converter.path.truncate(outside);
        converter.depth -= 1;
        Ok(RawBson::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<RawBson, A::Error> {
        let converter = self.0;
        converter.deeper().map_err(A::Error::custom)?;
        let value = match fields.next_key_seed(Name)? {
            None => {
                converter.note(Seen::EmptyDocument);
                RawBson::Document(RawDocumentBuf::new())
            }
            Some(name) if wrappers::may_begin_with(&name) => wrapper(converter, name, fields)?,
            Some(name) => document(converter, name, fields)?,
        };
        converter.depth -= 1;
        Ok(value)
    }
}

/// Reads what may be a type wrapper.
fn wrapper<'de, A: MapAccess<'de>>(
    converter: &mut Converter<'_>,
    first: Cow<'de, str>,
    mut fields: A,
) -> Result<RawBson, A::Error> {
    converter.wrappers += 1;
    let mut entries = Vec::new();
    let mut next = Some(first);
    while let Some(name) = next {
        if entries.iter().any(|(other, _)| *other == *name) {
            return Err(twice(&name));
        }
        entries.push((
            name.into_owned(),
            fields.next_value_seed(Value(&mut *converter))?,
        ));
        next = fields.next_key_seed(Name)?;
    }
    converter.wrappers -= 1;
    match wrappers::convert(&entries, converter.dialect).map_err(A::Error::custom)? {
        Some((value, marker)) => {
            if let Some(marker) = marker {
                converter.mark(marker);
            }
            Ok(value)
        }
        None => {
            let document = wrappers::document(entries).map_err(A::Error::custom)?;
            Ok(RawBson::Document(document))
        }
    }
}

/// Reads a document after its first name.
fn document<'de, A: MapAccess<'de>>(
    converter: &mut Converter<'_>,
    first: Cow<'de, str>,
    mut fields: A,
) -> Result<RawBson, A::Error> {
    let mut document = RawDocumentBuf::new();
    let mut names = Names::default();
    let mut next = Some(first);
    while let Some(name) = next {
        let outside = converter.path.len();
        if outside > 0 {
            converter.path.push('.');
        }
        converter.path.push_str(&name);
        let value = fields.next_value_seed(Value(&mut *converter))?;
        converter.path.truncate(outside);
        let field: Result<&CStr, _> = (&*name).try_into();
        let field = field.map_err(|_null| A::Error::custom("a field name has a null character"))?;
        document.append(field, value);
        if !names.add(name.clone()) {
            return Err(twice(&name));
        }
        next = fields.next_key_seed(Name)?;
    }
    if names.are_of_a_long()
        && let Some(long) = long(converter, &document).map_err(A::Error::custom)?
    {
        return Ok(long);
    }
    Ok(RawBson::Document(document))
}

/// A Long as `JSON.stringify` writes it: `{"low":1,"high":2097152,"unsigned":false}`.
fn long(
    converter: &mut Converter<'_>,
    document: &RawDocumentBuf,
) -> Result<Option<RawBson>, String> {
    let half = |name| match document.get(name) {
        Ok(Some(value)) => value.as_i32(),
        _ => None,
    };
    let (Some(low), Some(high)) = (half("low"), half("high")) else {
        return Ok(None);
    };
    if converter.wrappers > 0
        || converter
            .types
            .of(&converter.path)
            .contains(&FieldType::Document)
    {
        return Ok(None);
    }
    let value = i64::from(high) << 32 | i64::from(low.cast_unsigned());
    if let Some(declared) = converter.declared(Scalar::LowHigh(value)) {
        return declared.map(Some);
    }
    converter.note(Seen::LowHigh);
    Ok(None)
}

fn twice<E: serde::de::Error>(name: &str) -> E {
    E::custom(format!("the field {name:?} occurs twice"))
}

/// Names of a document.
#[derive(Default)]
struct Names<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    /// Adds a name; `false` if it was there.
    fn add(&mut self, name: Cow<'de, str>) -> bool {
        if self.few.len() < FEW {
            let new = !self.few.contains(&name);
            self.few.push(name);
            return new;
        }
        !self.few.contains(&name) && self.many.insert(name)
    }

    fn are_of_a_long(&self) -> bool {
        self.few.len() == 3
            && ["low", "high", "unsigned"]
                .iter()
                .all(|name| self.few.iter().any(|other| other == name))
    }
}

/// Reads a name; without a copy if it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
