//! Check that unique indexes can be built: a digest of every key of every document, sorted on disk when there are many.
//!
//! Indexes that only a server can evaluate (with a collation, a complex filter, or an array position in the path) are reported as not checked, never
//! as good.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;

use bson::RawBson;
use sha2::{Digest, Sha256};
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf};

/// The digest of a key, with the number of its index in front.
type Key = [u8; 16];
/// Most digests kept in memory: 4 MiB.
const KEPT: usize = 256 * 1024;

/// A unique index to check.
#[derive(Clone, Debug)]
pub struct UniqueIndex {
    number: u16,
    /// Label for messages: index name and collection.
    pub told: String,
    paths: Vec<String>,
    sparse: bool,
    filter: Vec<(String, Condition)>,
}

#[derive(Clone, Debug)]
enum Condition {
    Exists,
    Is(Vec<u8>),
}

impl UniqueIndex {
    /// Parses the specification of an index; `None` if it is not unique.
    ///
    /// # Errors
    /// The reason why the index cannot be checked.
    pub fn new(
        number: u16,
        collection: &str,
        specification: &Document,
    ) -> Option<Result<Self, String>> {
        let name = field::text(specification, "name").unwrap_or_default();
        let keys = field::document(specification, "key")?;
        let told = format!("{name} of {collection}");
        let is_id = keys.len() == 1 && keys.contains_key("_id") && !is_hashed(keys);
        if !is_id && field::flag(specification, "unique") != Some(true) {
            return None;
        }
        let why = |why: &str| Some(Err(format!("{told}: {why}")));
        if specification.contains_key("collation") {
            return why("its collation decides what is the same");
        }
        let numbered = |path: &str| {
            path.split('.')
                .any(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        if keys.values().any(|direction| direction.as_str().is_some())
            || keys.keys().any(|path| numbered(path))
        {
            return why("its keys are of a kind that only a server makes");
        }
        let filter = match field::document(specification, "partialFilterExpression") {
            None => Vec::new(),
            Some(filter) => match filter.iter().map(condition).collect::<Option<_>>() {
                Some(filter) => filter,
                None => return why("its filter is one that only a server judges"),
            },
        };
        Some(Ok(Self {
            number,
            told,
            paths: keys.keys().cloned().collect(),
            sparse: field::flag(specification, "sparse") == Some(true),
            filter,
        }))
    }

    /// The keys that a document has in this index, each once.
    fn keys(&self, document: &RawDocument) -> Vec<Key> {
        let meets = |(path, condition): &(String, Condition)| {
            let values = values(document, path);
            match condition {
                Condition::Exists => !values.is_empty(),
                Condition::Is(wanted) => values.contains(wanted),
            }
        };
        if !self.filter.iter().all(meets) {
            return Vec::new();
        }
        let mut missing = 0;
        let mut keys = vec![Sha256::new()];
        for path in &self.paths {
            let mut values = values(document, path);
            if values.is_empty() {
                missing += 1;
                values.push(encode(RawBsonRef::Null));
            }
            keys = keys
                .iter()
                .flat_map(|key| {
                    values.iter().map(|value| {
                        key.clone()
                            .chain_update(value.len().to_le_bytes())
                            .chain_update(value)
                    })
                })
                .collect();
        }
        if self.sparse && missing == self.paths.len() {
            return Vec::new();
        }
        let mut keys: Vec<Key> = keys
            .into_iter()
            .map(|key| self.numbered(&key.finalize()))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn numbered(&self, digest: &[u8]) -> Key {
        let mut key = Key::default();
        key[..2].copy_from_slice(&self.number.to_be_bytes());
        key[2..].copy_from_slice(&digest[..14]);
        key
    }
}

fn is_hashed(keys: &Document) -> bool {
    keys.values()
        .any(|direction| direction.as_str() == Some("hashed"))
}

/// `{field: value}` or `{field: {$exists: true}}`.
fn condition((path, wanted): (&String, &Bson)) -> Option<(String, Condition)> {
    if path.starts_with('$') {
        return None;
    }
    let condition = match wanted {
        Bson::Document(inner) if inner.keys().any(|key| key.starts_with('$')) => {
            let exists = inner.len() == 1 && field::flag(inner, "$exists") == Some(true);
            exists.then_some(Condition::Exists)?
        }
        value => {
            let raw = RawBson::try_from(value.clone()).ok()?;
            Condition::Is(encode(raw.as_raw_bson_ref()))
        }
    };
    Some((path.clone(), condition))
}

/// The values at a dotted path, through arrays as an index goes through them; none when there is nothing.
fn values(document: &RawDocument, path: &str) -> Vec<Vec<u8>> {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    let Ok(Some(value)) = document.get(first) else {
        return Vec::new();
    };
    match (rest, value) {
        (None, RawBsonRef::Array(array)) => {
            let each: Vec<_> = array.into_iter().flatten().map(encode).collect();
            // An empty array has one key of its own.
            if each.is_empty() {
                vec![b"empty".to_vec()]
            } else {
                each
            }
        }
        (None, value) => vec![encode(value)],
        (Some(rest), RawBsonRef::Document(inner)) => values(inner, rest),
        (Some(rest), RawBsonRef::Array(array)) => {
            let inner = array
                .into_iter()
                .flatten()
                .filter_map(|value| value.as_document());
            inner.flat_map(|inner| values(inner, rest)).collect()
        }
        (Some(_), _) => Vec::new(),
    }
}

/// A value so that equal ones are the same bytes: numbers of every type that are the same number too.
fn encode(value: RawBsonRef<'_>) -> Vec<u8> {
    let number = match value {
        RawBsonRef::Int32(number) => Some(i64::from(number)),
        RawBsonRef::Int64(number) => Some(number),
        RawBsonRef::Double(number) => whole(number),
        RawBsonRef::Decimal128(number) => {
            let text = number.to_string();
            text.parse()
                .ok()
                .or_else(|| text.parse().ok().and_then(whole))
        }
        _ => None,
    };
    if let Some(number) = number {
        return [b"n".as_slice(), &number.to_le_bytes()].concat();
    }
    let mut wrapped = RawDocumentBuf::new();
    wrapped.append(bson::cstr!(""), value);
    wrapped.as_bytes()[4..].to_vec()
}

/// The double is an integer that it represents exactly.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked in the same line"
)]
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// All keys so far.
pub struct UniqueKeys {
    indexes: Vec<UniqueIndex>,
    kept: Vec<Key>,
    runs: Vec<File>,
    folder: PathBuf,
}

impl UniqueKeys {
    /// None yet; what does not fit into memory goes to files without names in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            indexes: Vec::new(),
            kept: Vec::new(),
            runs: Vec::new(),
            folder,
        }
    }

    /// Adds an index. Returns its position for [`UniqueKeys::add`].
    ///
    /// # Errors
    /// The reason why the index cannot be checked.
    pub fn watch(
        &mut self,
        collection: &str,
        specification: &Document,
    ) -> Option<Result<usize, String>> {
        let number = u16::try_from(self.indexes.len()).ok()?;
        Some(
            UniqueIndex::new(number, collection, specification)?.map(|index| {
                self.indexes.push(index);
                self.indexes.len() - 1
            }),
        )
    }

    /// Adds a document's keys in one index.
    ///
    /// # Errors
    /// When there is no room on disk.
    pub fn add(&mut self, place: usize, document: &RawDocument) -> io::Result<()> {
        let keys = self.indexes[place].keys(document);
        self.kept.extend(keys);
        if self.kept.len() >= KEPT {
            self.spill()
        } else {
            Ok(())
        }
    }

    /// First index in which two documents have the same key, if any.
    ///
    /// # Errors
    /// When the sorted keys on disk cannot be read.
    pub fn duplicate(mut self) -> io::Result<Option<String>> {
        if !self.runs.is_empty() {
            self.spill()?;
        }
        self.kept.sort_unstable();
        let in_memory = self
            .kept
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .map(|pair| pair[0]);
        let found = match in_memory {
            Some(key) => Some(key),
            None => merge(&mut self.runs)?,
        };
        Ok(found.map(|key| {
            self.indexes[usize::from(u16::from_be_bytes([key[0], key[1]]))]
                .told
                .clone()
        }))
    }

    fn spill(&mut self) -> io::Result<()> {
        self.kept.sort_unstable();
        let mut file = tempfile::tempfile_in(&self.folder)?;
        let mut out = BufWriter::new(&mut file);
        for key in self.kept.drain(..) {
            out.write_all(&key)?;
        }
        out.flush()?;
        drop(out);
        file.rewind()?;
        self.runs.push(file);
        Ok(())
    }
}

/// The first key that stands twice in sorted runs.
fn merge(runs: &mut [File]) -> io::Result<Option<Key>> {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;
    let mut readers: Vec<_> = runs.iter_mut().map(BufReader::new).collect();
    let mut heads = BinaryHeap::new();
    for (at, reader) in readers.iter_mut().enumerate() {
        heads.extend(next(reader)?.map(|key| Reverse((key, at))));
    }
    let mut last = None;
    while let Some(Reverse((key, at))) = heads.pop() {
        if last == Some(key) {
            return Ok(Some(key));
        }
        last = Some(key);
        heads.extend(next(&mut readers[at])?.map(|key| Reverse((key, at))));
    }
    Ok(None)
}

fn next(reader: &mut impl Read) -> io::Result<Option<Key>> {
    let mut key = Key::default();
    match reader.read_exact(&mut key) {
        Ok(()) => Ok(Some(key)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use silo_mongo::mongodb::bson::doc;

    use super::*;

    fn duplicate(specification: &Document, documents: &[Document]) -> Option<String> {
        let mut keys = UniqueKeys::new(std::env::temp_dir());
        let place = keys.watch("things", specification).unwrap().unwrap();
        for document in documents {
            let raw = RawDocumentBuf::try_from(document).unwrap();
            keys.add(place, &raw).unwrap();
        }
        keys.duplicate().unwrap()
    }

    #[test]
    fn the_same_key_twice_is_found_whatever_the_number_s_type() {
        let unique = doc! { "name": "a_1", "key": { "a": 1 }, "unique": true };
        let told = Some("a_1 of things".to_owned());
        assert_eq!(
            duplicate(&unique, &[doc! { "a": 1 }, doc! { "a": 1.0 }]),
            told
        );
        assert_eq!(
            duplicate(&unique, &[doc! { "a": "x" }, doc! { "a": ["y", "x"] }]),
            told
        );
        assert_eq!(
            duplicate(&unique, &[doc! {}, doc! { "a": Bson::Null }]),
            told
        );
        assert_eq!(
            duplicate(&unique, &[doc! { "a": [1, 1] }, doc! { "a": 2 }]),
            None,
            "one document may repeat itself"
        );
        assert_eq!(
            duplicate(&unique, &[doc! { "a": 1 }, doc! { "a": "1" }]),
            None
        );
    }

    #[test]
    fn an_id_is_unique_without_saying_so() {
        let id = doc! { "name": "_id_", "key": { "_id": 1 } };
        assert!(duplicate(&id, &[doc! { "_id": 1 }, doc! { "_id": 1_i64 }]).is_some());
    }

    #[test]
    fn sparse_partial_and_compound_indexes_leave_out_what_they_leave_out() {
        let sparse = doc! { "name": "s", "key": { "a": 1 }, "unique": true, "sparse": true };
        assert_eq!(duplicate(&sparse, &[doc! {}, doc! {}]), None);
        let partial = doc! { "name": "p", "key": { "a": 1 }, "unique": true, "partialFilterExpression": { "live": true, "a": { "$exists": true } } };
        assert_eq!(
            duplicate(
                &partial,
                &[
                    doc! { "a": 1, "live": false },
                    doc! { "a": 1, "live": true }
                ]
            ),
            None
        );
        assert!(
            duplicate(
                &partial,
                &[doc! { "a": 1, "live": true }, doc! { "a": 1, "live": true }]
            )
            .is_some()
        );
        let compound = doc! { "name": "c", "key": { "a.b": 1, "c": -1 }, "unique": true };
        assert_eq!(
            duplicate(
                &compound,
                &[
                    doc! { "a": { "b": 1 }, "c": 1 },
                    doc! { "a": { "b": 1 }, "c": 2 }
                ]
            ),
            None
        );
        assert!(
            duplicate(
                &compound,
                &[
                    doc! { "a": [{ "b": 1 }, { "b": 3 }], "c": 1 },
                    doc! { "a": { "b": 3 }, "c": 1 }
                ]
            )
            .is_some()
        );
    }

    #[test]
    fn what_only_a_server_can_judge_is_said() {
        let mut keys = UniqueKeys::new(std::env::temp_dir());
        for specification in [
            doc! { "name": "x", "key": { "a": 1 }, "unique": true, "collation": { "locale": "en", "strength": 2 } },
            doc! { "name": "x", "key": { "a": 1 }, "unique": true, "partialFilterExpression": { "a": { "$gt": 3 } } },
            doc! { "name": "x", "key": { "a.0": 1 }, "unique": true },
        ] {
            assert!(keys.watch("things", &specification).unwrap().is_err());
        }
        assert!(
            keys.watch("things", &doc! { "name": "x", "key": { "a": 1 } })
                .is_none()
        );
    }

    #[test]
    fn without_room_on_disk_nobody_says_that_keys_are_unique() {
        let gone = tempfile::tempdir().unwrap().path().join("gone");
        let mut keys = UniqueKeys::new(gone);
        let id = doc! { "name": "_id_", "key": { "_id": 1 } };
        let place = keys.watch("things", &id).unwrap().unwrap();
        let added = (0..300_000_i64).try_for_each(|id| {
            keys.add(
                place,
                &RawDocumentBuf::try_from(&doc! { "_id": id }).unwrap(),
            )
        });
        assert_eq!(added.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn more_keys_than_fit_into_memory_are_sorted_on_disk() {
        let mut keys = UniqueKeys::new(std::env::temp_dir());
        let place = keys
            .watch("things", &doc! { "name": "_id_", "key": { "_id": 1 } })
            .unwrap()
            .unwrap();
        let add = |keys: &mut UniqueKeys, id: i64| {
            keys.add(
                place,
                &RawDocumentBuf::try_from(&doc! { "_id": id }).unwrap(),
            )
            .unwrap()
        };
        for id in 0..600_000 {
            add(&mut keys, id);
        }
        assert_eq!(keys.runs.len(), 2);
        add(&mut keys, 17);
        assert_eq!(keys.duplicate().unwrap().as_deref(), Some("_id_ of things"));
    }
}
