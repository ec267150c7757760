//! Kinds of values in the fields of a file, to find types that its dialect has lost.

use std::collections::HashMap;
use std::fmt::Write;

use super::dialect::Dialect;
use super::types::FieldType;

/// Most paths that are noted: names that are data, such as ids as field names, must not take all memory.
const MOST_PATHS: usize = 20_000;

/// Kind of a value whose type may have been lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Text of 24 hexadecimal digits.
    IdText,
    /// Text as `JSON.stringify` writes dates.
    DateText,
    /// Any other text.
    Text,
    /// A whole number.
    Integer,
    /// A whole number that no double holds exactly.
    InexactInteger,
    /// `{"low", "high", "unsigned"}`.
    LowHigh,
    /// `{}`.
    EmptyDocument,
    /// `null`.
    Null,
}

const KINDS: usize = 8;

/// Values of a field, by kind.
#[derive(Clone, Copy, Debug, Default)]
struct Field {
    counts: [u64; KINDS],
}

impl Field {
    fn count(self, seen: Seen) -> u64 {
        self.counts[seen as usize]
    }
}

/// Fields of a collection, by path.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    fields: HashMap<String, Field>,
    /// `true` if there were more paths than are noted.
    pub truncated: bool,
}

impl Fields {
    /// Notes a value.
    pub(super) fn note(&mut self, path: &str, seen: Seen) {
        let field = if let Some(field) = self.fields.get_mut(path) {
            field
        } else if self.fields.len() < MOST_PATHS {
            self.fields.entry(path.to_owned()).or_default()
        } else {
            self.truncated = true;
            return;
        };
        field.counts[seen as usize] += 1;
    }

    fn sorted(&self) -> Vec<(&String, Field)> {
        let mut fields: Vec<_> = self
            .fields
            .iter()
            .map(|(path, field)| (path, *field))
            .collect();
        fields.sort_by_key(|(path, _)| *path);
        fields
    }

    /// Fields whose type must be declared before anything is written: ids, dates and large numbers of plain JSON.
    #[must_use]
    pub fn ambiguous(&self, dialect: Dialect) -> Vec<String> {
        // A document that looks like a wrapper must not hide that a file is plain JSON.
        if dialect == Dialect::Canonical {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (path, field) in self.sorted() {
            let (ids, dates) = (field.count(Seen::IdText), field.count(Seen::DateText));
            let longs = field.count(Seen::LowHigh);
            if path == "_id" && ids > 0 {
                found.push(format!(
                    "{path}: {ids} texts of 24 hexadecimal digits: objectid or string?"
                ));
            }
            if dates > 0 {
                found.push(format!(
                    "{path}: {dates} texts with a date: date or string?"
                ));
            }
            let inexact = field.count(Seen::InexactInteger);
            if inexact > 0 && dialect == Dialect::Plain {
                found.push(format!(
                    "{path}: {inexact} whole numbers that no double holds exactly: long or double?"
                ));
            }
            if longs > 0 {
                found.push(format!(
                    "{path}: {longs} documents with low, high and unsigned: long or document?"
                ));
            }
        }
        if self.truncated {
            found.push(format!("more than {MOST_PATHS} names of fields, so that not all of them are known: declare types, or --dialect"));
        }
        found
    }

    /// Fields whose values may have had another type, which the dialect does not keep.
    #[must_use]
    pub fn lossy(&self, dialect: Dialect) -> Vec<String> {
        let (plain, canonical) = (dialect == Dialect::Plain, dialect == Dialect::Canonical);
        let mut found = Vec::new();
        for (path, field) in self.sorted() {
            let mut note = |count: u64, text: &str| {
                if count > 0 {
                    found.push(format!("{path}: {count} {text}"));
                }
            };
            if plain && path != "_id" {
                note(
                    field.count(Seen::IdText),
                    "texts of 24 hexadecimal digits stay text",
                );
            }
            if plain {
                note(
                    field.count(Seen::EmptyDocument),
                    "empty documents, which regular expressions, MinKey and MaxKey become too",
                );
                note(
                    field.count(Seen::Null),
                    "nulls, which NaN and Infinity become too",
                );
                note(
                    field.count(Seen::Integer),
                    "whole numbers, stored as int, or as double from 2^31",
                );
            } else if !canonical {
                note(
                    field.count(Seen::Integer),
                    "whole numbers, stored as int, or as long from 2^31",
                );
            }
        }
        found
    }

    /// Proposes a table of a types file; `None` if no field needs one.
    #[must_use]
    pub fn propose(&self, collection: &str) -> Option<String> {
        let mut table = String::new();
        for (path, field) in self.sorted() {
            let mut types = Vec::new();
            for (seen, of) in [
                (Seen::IdText, FieldType::ObjectId),
                (Seen::DateText, FieldType::Date),
                (Seen::LowHigh, FieldType::Long),
                (Seen::InexactInteger, FieldType::Long),
                (Seen::Text, FieldType::String),
            ] {
                if field.count(seen) > 0 && !types.contains(&of) {
                    types.push(of);
                }
            }
            if matches!(types[..], [] | [FieldType::String]) {
                continue;
            }
            let names: Vec<String> = types.iter().map(|of| format!("{:?}", of.name())).collect();
            let value = match &names[..] {
                [one] => one.clone(),
                more => format!("[{}]", more.join(", ")),
            };
            // A string never fails to be written to.
            let _ = writeln!(table, "{} = {value}", toml_key(path));
        }
        (!table.is_empty()).then(|| format!("[{}]\n{table}", toml_key(collection)))
    }
}

/// A key as TOML has it: quoted unless it is a bare word.
fn toml_key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        toml::Value::String(name.to_owned()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::types::Types;

    #[test]
    fn a_proposal_can_be_parsed() {
        let mut fields = Fields::default();
        for (path, seen) in [
            ("_id", Seen::IdText),
            ("when", Seen::DateText),
            ("by", Seen::IdText),
            ("by", Seen::Text),
            ("text", Seen::Text),
            ("a.b[]", Seen::LowHigh),
            ("\"quoted\"", Seen::DateText),
        ] {
            fields.note(path, seen);
        }
        let proposed = fields.propose("@handles").unwrap();
        assert!(proposed.starts_with("[\"@handles\"]\n"), "{proposed}");
        let types = Types::parse(&proposed).unwrap().of("@handles");
        assert_eq!(types.of("_id"), [FieldType::ObjectId]);
        assert_eq!(types.of("by"), [FieldType::ObjectId, FieldType::String]);
        assert_eq!(types.of("a.b[]"), [FieldType::Long]);
        assert_eq!(types.of("\"quoted\""), [FieldType::Date]);
        assert!(types.of("text").is_empty());
        assert_eq!(Fields::default().propose("x"), None);
    }

    #[test]
    fn paths_are_bounded() {
        let mut fields = Fields::default();
        for number in 0..MOST_PATHS + 10 {
            fields.note(&number.to_string(), Seen::Null);
        }
        assert!(fields.truncated);
        assert_eq!(fields.lossy(Dialect::Plain).len(), MOST_PATHS);
    }
}
