//! Keys of documents in a unique index, as mongod computes them.

use bson::RawBson;
use sha2::{Digest, Sha256};
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf};

/// Digest of a key, preceded by the number of its index.
pub(super) type Key = [u8; 16];

/// A unique index to check.
#[derive(Clone, Debug)]
pub(super) struct UniqueIndex {
    number: u16,
    /// Label for messages: index name and collection.
    pub(super) label: String,
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
    pub(super) fn new(
        number: u16,
        collection: &str,
        specification: &Document,
    ) -> Option<Result<Self, String>> {
        let name = field::text(specification, "name").unwrap_or_default();
        let keys = field::document(specification, "key")?;
        let label = format!("{name} of {collection}");
        let is_id = keys.len() == 1 && keys.contains_key("_id") && !is_hashed(keys);
        if !is_id && field::flag(specification, "unique") != Some(true) {
            return None;
        }
        let why = |why: &str| Some(Err(format!("{label}: {why}")));
        if specification.contains_key("collation") {
            return why("equality depends on its collation");
        }
        let numbered = |path: &str| {
            path.split('.')
                .any(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        if keys.values().any(|direction| direction.as_str().is_some())
            || keys.keys().any(|path| numbered(path))
        {
            return why("this index type cannot be checked offline");
        }
        let filter = match field::document(specification, "partialFilterExpression") {
            None => Vec::new(),
            Some(filter) => match filter.iter().map(condition).collect::<Option<_>>() {
                Some(filter) => filter,
                None => return why("this partial filter cannot be checked offline"),
            },
        };
        Some(Ok(Self {
            number,
            label,
            paths: keys.keys().cloned().collect(),
            sparse: field::flag(specification, "sparse") == Some(true),
            filter,
        }))
    }

    /// Keys of a document in this index, without repetitions.
    pub(super) fn keys(&self, document: &RawDocument) -> Vec<Key> {
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

/// Values at a dotted path, with arrays expanded as in an index; empty if the path does not exist.
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
            // An empty array has a key of its own.
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

/// Encodes a value so that equal values have equal bytes, including equal numbers of different types.
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
