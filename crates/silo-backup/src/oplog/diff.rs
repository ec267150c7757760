//! Application of an update's difference, as the oplog has it since MongoDB 5.0 (`$v: 2`), to a document in BSON.
//!
//! A difference has the sections `d` (fields that are removed), `u` (fields whose value is replaced, in their place), `i` (fields that are added at the
//! end) and, for each inner document or array that changes, `s` and its name. One of an array begins with `a: true`, has the new length in `l`, and
//! names elements by `u` or `s` and their index. Source: `src/mongo/db/update/document_diff_applier.cpp` and `document_diff_serialization.h` of
//! mongodb/mongo.
//!
//! Where the server ignores a field that is not there, because a member may apply an entry twice, this is an error: whoever applies each entry exactly
//! once to the document that it was made for does not meet one.

use std::collections::HashMap;

use super::entry::id;
use crate::archive::structure::{Builder, Element, elements};

/// BSON types.
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const BOOLEAN: u8 = 0x08;
const NULL: u8 = 0x0a;
const INT32: u8 = 0x10;

/// Most elements that an array is extended to. The server's limit (`kMaxPaddingAllowed` is 1,500,000 for one update).
const LONGEST_ARRAY: usize = 16 * 1024 * 1024;

/// Reason why a difference cannot be applied. The text has no values and no names of fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// The difference is of a kind that is not known here.
    #[error("an update has the section `{0}`, which this version of Silo does not know")]
    Unknown(String),
    /// The difference was made for another document.
    #[error("an update is for a document with other fields")]
    Misfit,
    /// The difference is malformed.
    #[error("an update is malformed")]
    Malformed,
}

/// Change of a field.
enum Change<'a> {
    Remove,
    Replace(Element<'a>),
    /// Removed where it is, and added at the end.
    Move,
    Inner(&'a [u8]),
}

/// A document after an update: another document, or the one before with a difference.
///
/// # Errors
/// Those of [`apply`]; [`DiffError::Unknown`] for update operators and another version of differences.
pub fn updated(before: &[u8], change: &[u8]) -> Result<Vec<u8>, DiffError> {
    let fields = elements(change).ok_or(DiffError::Malformed)?;
    let Some(version) = fields.iter().find(|field| field.name == b"$v") else {
        // Another document with the same `_id`. Update operators, which `applyOps` of a user may have, are none.
        return if id(change) == id(before) {
            Ok(change.to_vec())
        } else {
            Err(DiffError::Unknown("o".into()))
        };
    };
    if version.value != 2_i32.to_le_bytes() {
        return Err(DiffError::Unknown("$v".into()));
    }
    let changes = fields.iter().find(|field| field.name == b"diff");
    let changes = changes.ok_or_else(|| DiffError::Unknown("no diff".into()))?;
    apply(before, changes.value)
}

/// Applies a difference to a document.
///
/// # Errors
/// When it does not fit the document, or is of an unknown kind.
pub fn apply(document: &[u8], diff: &[u8]) -> Result<Vec<u8>, DiffError> {
    let Sections { mut changes, added } = Sections::parse(diff)?;
    let mut result = Builder::default();
    for element in elements(document).ok_or(DiffError::Malformed)? {
        match changes.remove(element.name) {
            None => result.push(element.kind, element.name, element.value),
            Some(Change::Remove | Change::Move) => {}
            Some(Change::Replace(new)) => result.push(new.kind, element.name, new.value),
            Some(Change::Inner(diff)) => {
                let value = inner(element.kind, element.value, diff)?;
                result.push(element.kind, element.name, &value);
            }
        }
    }
    if changes
        .values()
        .any(|change| !matches!(change, Change::Move))
    {
        return Err(DiffError::Misfit);
    }
    for element in added {
        result.push(element.kind, element.name, element.value);
    }
    Ok(result.finish())
}

/// Sections of a document's difference.
struct Sections<'a> {
    /// Changes of fields, by name.
    changes: HashMap<&'a [u8], Change<'a>>,
    /// Fields that are added at the end.
    added: Vec<Element<'a>>,
}

impl<'a> Sections<'a> {
    fn parse(diff: &'a [u8]) -> Result<Self, DiffError> {
        let (mut changes, mut added) = (HashMap::new(), Vec::new());
        let mut change = |name, change| match changes.insert(name, change) {
            None => Ok(()),
            Some(_) => Err(DiffError::Malformed),
        };
        for section in elements(diff).ok_or(DiffError::Malformed)? {
            let fields = || match section.kind {
                DOCUMENT => elements(section.value).ok_or(DiffError::Malformed),
                _ => Err(DiffError::Malformed),
            };
            match section.name {
                b"d" => {
                    for field in fields()? {
                        change(field.name, Change::Remove)?;
                    }
                }
                b"u" => {
                    for field in fields()? {
                        change(field.name, Change::Replace(field))?;
                    }
                }
                b"i" => {
                    added = fields()?;
                    for field in &added {
                        change(field.name, Change::Move)?;
                    }
                }
                // An array's difference for what is a document.
                b"a" => return Err(DiffError::Misfit),
                [b's', name @ ..] if section.kind == DOCUMENT => {
                    change(name, Change::Inner(section.value))?;
                }
                name => {
                    return Err(unknown(name));
                }
            }
        }
        Ok(Self { changes, added })
    }
}

/// The kind of a section, without the name of a field.
fn unknown(section: &[u8]) -> DiffError {
    let kind = section.get(..1).unwrap_or_default();
    DiffError::Unknown(String::from_utf8_lossy(kind).into_owned())
}

/// Applies a difference to an inner document or array.
fn inner(kind: u8, value: &[u8], diff: &[u8]) -> Result<Vec<u8>, DiffError> {
    let first = elements(diff).ok_or(DiffError::Malformed)?.first().copied();
    let of_array = first.is_some_and(|first| first.name == b"a");
    match (kind, of_array) {
        (DOCUMENT, false) => apply(value, diff),
        (ARRAY, true) => array(value, diff),
        _ => Err(DiffError::Misfit),
    }
}

fn array(array: &[u8], diff: &[u8]) -> Result<Vec<u8>, DiffError> {
    let before = elements(array).ok_or(DiffError::Malformed)?;
    let (mut changes, mut length) = (HashMap::new(), None);
    let mut most = before.len();
    for section in elements(diff).ok_or(DiffError::Malformed)? {
        match (section.name, section.kind) {
            (b"a", BOOLEAN) => {}
            (b"l", INT32) => {
                let number = section.value.try_into().map(i32::from_le_bytes);
                let number = number.map_err(|_size| DiffError::Malformed)?;
                length = Some(usize::try_from(number).map_err(|_negative| DiffError::Malformed)?);
            }
            ([b'u', index @ ..], _) => {
                let index = number(index)?;
                most = most.max(index + 1);
                changes.insert(index, Change::Replace(section));
            }
            ([b's', index @ ..], DOCUMENT) => {
                changes.insert(number(index)?, Change::Inner(section.value));
            }
            (name, _) => {
                return Err(unknown(name));
            }
        }
    }
    let length = length.unwrap_or(most);
    if length > LONGEST_ARRAY {
        return Err(DiffError::Malformed);
    }
    let mut result = Builder::default();
    for index in 0..length {
        let name = index.to_string();
        let mut push = |kind, value: &[u8]| result.push(kind, name.as_bytes(), value);
        match (changes.remove(&index), before.get(index)) {
            (Some(Change::Replace(new)), _) => push(new.kind, new.value),
            (Some(Change::Inner(diff)), Some(old)) => {
                push(old.kind, &inner(old.kind, old.value, diff)?);
            }
            (Some(_), _) => return Err(DiffError::Misfit),
            (None, Some(old)) => push(old.kind, old.value),
            // `$set` of an element beyond the end.
            (None, None) => push(NULL, &[]),
        }
    }
    if changes.is_empty() {
        Ok(result.finish())
    } else {
        Err(DiffError::Misfit)
    }
}

/// Index of an array's element.
fn number(text: &[u8]) -> Result<usize, DiffError> {
    let text = std::str::from_utf8(text).map_err(|_bytes| DiffError::Malformed)?;
    let index: usize = text.parse().map_err(|_text| DiffError::Malformed)?;
    if index < LONGEST_ARRAY {
        Ok(index)
    } else {
        Err(DiffError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, rawdoc};

    use super::*;

    #[track_caller]
    fn becomes(before: &RawDocumentBuf, diff: &RawDocumentBuf, after: &RawDocumentBuf) {
        let applied = apply(before.as_bytes(), diff.as_bytes()).unwrap();
        assert_eq!(applied, after.as_bytes());
    }

    #[test]
    fn fields_are_replaced_in_their_place_and_added_at_the_end() {
        becomes(
            &rawdoc! { "_id": 1, "a": 1, "b": 2, "c": 3, "e": 5 },
            &rawdoc! { "d": { "b": false }, "u": { "c": "x" }, "i": { "a": 9, "f": 6 } },
            &rawdoc! { "_id": 1, "c": "x", "e": 5, "a": 9, "f": 6 },
        );
    }

    #[test]
    fn inner_documents_and_arrays_are_changed_where_they_are() {
        becomes(
            &rawdoc! { "a": { "b": { "c": 1, "d": 2 } }, "l": [1, { "x": 1 }, 3, 4] },
            &rawdoc! { "sa": { "sb": { "u": { "d": 7 } } }, "sl": { "a": true, "l": 3, "u0": "n", "s1": { "i": { "y": 2 } } } },
            &rawdoc! { "a": { "b": { "c": 1, "d": 7 } }, "l": ["n", { "x": 1, "y": 2 }, 3] },
        );
    }

    #[test]
    fn an_array_is_extended_with_nulls_and_cut() {
        let before = rawdoc! { "l": [1] };
        becomes(
            &before,
            &rawdoc! { "sl": { "a": true, "u3": 4 } },
            &rawdoc! { "l": [1, null, null, 4] },
        );
        becomes(
            &before,
            &rawdoc! { "sl": { "a": true, "l": 3 } },
            &rawdoc! { "l": [1, null, null] },
        );
        becomes(
            &before,
            &rawdoc! { "sl": { "a": true, "l": 0 } },
            &rawdoc! { "l": [] },
        );
    }

    #[test]
    fn what_does_not_fit_or_is_not_known_is_an_error() {
        let before = rawdoc! { "a": 1, "o": { "x": 1 }, "l": [1] };
        let error = |diff: RawDocumentBuf| apply(before.as_bytes(), diff.as_bytes()).unwrap_err();
        for misfit in [
            rawdoc! { "u": { "missing": 1 } },
            rawdoc! { "d": { "missing": false } },
            rawdoc! { "sa": { "u": { "x": 1 } } },
            rawdoc! { "so": { "a": true, "u0": 1 } },
            rawdoc! { "sl": { "u": { "0": 1 } } },
            rawdoc! { "sl": { "a": true, "s4": { "u": { "x": 1 } } } },
            rawdoc! { "sl": { "a": true, "l": 0, "u3": 1 } },
            rawdoc! { "a": true, "u0": 1 },
        ] {
            assert_eq!(error(misfit.clone()), DiffError::Misfit, "{misfit:?}");
        }
        let unknown = error(rawdoc! { "b": { "a": 1 } });
        assert_eq!(unknown, DiffError::Unknown("b".into()));
        for malformed in [
            rawdoc! { "u": 1 },
            rawdoc! { "u": { "a": 1 }, "d": { "a": false } },
            rawdoc! { "sl": { "a": true, "l": -1 } },
            rawdoc! { "sl": { "a": true, "u99999999999": 1 } },
        ] {
            assert_eq!(
                error(malformed.clone()),
                DiffError::Malformed,
                "{malformed:?}"
            );
        }
    }
}
