//! `_manifest.json` of a JSON backup: the collections with their number of documents, files and indexes.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use bson::{Bson, Document};

use crate::error::Error;
use crate::json::convert::Converter;
use crate::json::documents::DocumentText;
use crate::json::types::FieldTypes;

/// Name of the file.
pub const NAME: &str = "_manifest.json";
/// Endings of a collection's file.
const ENDINGS: [&str; 6] = [
    ".json",
    ".ndjson",
    ".jsonl",
    ".json.gz",
    ".ndjson.gz",
    ".jsonl.gz",
];

/// A collection of a backup.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name.
    pub name: String,
    /// File with the documents.
    pub file: PathBuf,
    /// Number of documents; `None` without a manifest.
    pub documents: Option<u64>,
    /// Indexes without that of `_id`; `None` if the manifest has none.
    pub indexes: Option<Vec<Document>>,
    /// Options of the collection.
    pub options: Document,
}

/// Reads the manifest of a folder, and finds the file of every collection.
///
/// # Errors
/// When the manifest is missing or has another shape, when a collection has no file, or a file no collection.
pub fn read(folder: &Path) -> Result<Vec<Entry>, Error> {
    let file = folder.join(NAME);
    let text = std::fs::read(&file).map_err(|error| {
        Error::Input(format!(
            "{}: {error}; without a manifest nothing is known about the numbers of documents: --no-manifest",
            file.display()
        ))
    })?;
    let wrong = |problem: String| Error::Input(format!("{}: {problem}", file.display()));
    let types = FieldTypes::default();
    let document = Converter::new(None, &types)
        .convert(&DocumentText {
            bytes: &text,
            line: 1,
            column: 1,
        })
        .map_err(|error| wrong(error.to_string()))?;
    let document = Document::try_from(document).map_err(|error| wrong(error.to_string()))?;
    let entries = parse(&document).map_err(&wrong)?;
    let mut found = Vec::new();
    for (name, entry) in entries {
        let named = entry.get_str("file").ok();
        let file = match named {
            Some(file) => Some(folder.join(file)).filter(|_| is_plain(file)),
            None => file_of(folder, &name),
        };
        let file = file
            .filter(|file| file.is_file())
            .ok_or_else(|| wrong(format!("{name} has no file in the folder")))?;
        let documents = ["count", "documents", "docs", "documentCount"]
            .iter()
            .find_map(|field| whole(entry.get(field)?));
        let documents = documents.ok_or_else(|| wrong(format!("{name} has no count")))?;
        let indexes = match entry.get("indexes") {
            None => None,
            Some(Bson::Array(array)) => {
                let indexes: Option<Vec<Document>> =
                    array.iter().map(|it| it.as_document().cloned()).collect();
                let indexes = indexes
                    .ok_or_else(|| wrong(format!("an index of {name} is not a document")))?;
                Some(checked(&name, indexes).map_err(&wrong)?)
            }
            Some(_) => return Err(wrong(format!("the indexes of {name} are not an array"))),
        };
        found.push(Entry {
            documents: Some(documents),
            indexes,
            options: entry.get_document("options").cloned().unwrap_or_default(),
            name,
            file,
        });
    }
    let known: HashSet<&Path> = found.iter().map(|entry| entry.file.as_path()).collect();
    for (name, file) in files(folder)? {
        if !known.contains(file.as_path()) {
            return Err(wrong(format!(
                "it does not name {name}, which has the file {}",
                file.display()
            )));
        }
    }
    Ok(found)
}

/// The collections of a folder without a manifest, by the names of their files.
///
/// # Errors
/// When the folder cannot be read.
pub fn without(folder: &Path) -> Result<Vec<Entry>, Error> {
    let entries = files(folder)?.into_iter().map(|(name, file)| Entry {
        name,
        file,
        documents: None,
        indexes: None,
        options: Document::new(),
    });
    Ok(entries.collect())
}

/// Entries by name: `{"collections": [{"name", ...}]}`, `{"collections": {NAME: {...}}}` or `{NAME: {...}}`.
fn parse(document: &Document) -> Result<BTreeMap<String, Document>, String> {
    let shape = "the collections must be an array of documents with name, count and indexes, or a document of such by name";
    let mut entries = BTreeMap::new();
    let mut add = |name: &str, entry: &Bson| {
        let entry = entry.as_document().ok_or(shape)?;
        match entries.insert(name.to_owned(), entry.clone()) {
            None => Ok(()),
            Some(_) => Err("a collection is named twice"),
        }
    };
    match document
        .get("collections")
        .or_else(|| document.get("inventory"))
    {
        Some(Bson::Array(array)) => {
            for entry in array {
                let name = entry
                    .as_document()
                    .and_then(|entry| entry.get_str("name").ok());
                add(name.ok_or(shape)?, entry)?;
            }
        }
        Some(Bson::Document(document)) => {
            for (name, entry) in document {
                add(name, entry)?;
            }
        }
        Some(_) => return Err(shape.into()),
        None => {
            for (name, entry) in document
                .iter()
                .filter(|(_, entry)| entry.as_document().is_some())
            {
                add(name, entry)?;
            }
        }
    }
    if let Ok(indexes) = document.get_document("indexes") {
        for (name, indexes) in indexes {
            let entry = entries
                .get_mut(name)
                .ok_or("it has indexes of a collection that it does not name")?;
            entry.insert("indexes", indexes.clone());
        }
    }
    if entries.is_empty() {
        return Err(shape.into());
    }
    Ok(entries)
}

/// Indexes with their keys and names, without that of `_id`. A TTL that is no number of seconds would delete documents at once.
fn checked(collection: &str, indexes: Vec<Document>) -> Result<Vec<Document>, String> {
    let mut checked = Vec::new();
    for index in indexes {
        let name = index.get_str("name").unwrap_or_default();
        if name.is_empty() || index.get_document("key").is_err() {
            return Err(format!("an index of {collection} has no name or no key"));
        }
        if let Some(seconds) = index.get("expireAfterSeconds")
            && whole(seconds).is_none_or(|seconds| seconds > 2_147_483_647)
        {
            return Err(format!(
                "index {name} of {collection}: expireAfterSeconds is not a number of seconds"
            ));
        }
        if name != "_id_" {
            let mut index = index;
            index.remove("ns");
            checked.push(index);
        }
    }
    Ok(checked)
}

fn whole(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        Bson::Double(number) if number.fract() == 0.0 => format!("{number:.0}").parse().ok(),
        _ => None,
    }
}

/// `true` for the name of a file in the folder itself.
fn is_plain(file: &str) -> bool {
    !file.is_empty() && !file.contains(['/', '\0']) && file != "." && file != ".."
}

fn file_of(folder: &Path, name: &str) -> Option<PathBuf> {
    let files = ENDINGS.iter().map(|ending| format!("{name}{ending}"));
    let mut files = files
        .filter(|file| is_plain(file))
        .map(|file| folder.join(file));
    files.find(|file| file.is_file())
}

/// Names of collections and their files, by the names of the files.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::file(folder))? {
        let file = entry.map_err(Error::file(folder))?.path();
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::Input(format!(
                "{}: the name is not UTF-8",
                file.display()
            )));
        };
        let ending = ENDINGS.iter().rev().find(|ending| name.ends_with(**ending));
        if let Some(ending) = ending
            && name != NAME
            && file.is_file()
        {
            found.push((name[..name.len() - ending.len()].to_owned(), file));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn folder(manifest: &str, files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), manifest).unwrap();
        for file in files {
            std::fs::write(folder.path().join(file), "[]").unwrap();
        }
        folder
    }

    fn names(folder: &tempfile::TempDir) -> Result<Vec<(String, Option<u64>)>, String> {
        let entries = read(folder.path()).map_err(|error| error.to_string())?;
        Ok(entries
            .into_iter()
            .map(|entry| (entry.name, entry.documents))
            .collect())
    }

    #[test]
    fn all_shapes_of_a_manifest_are_read() {
        let expected = vec![
            ("@handles".to_owned(), Some(2)),
            ("moods".to_owned(), Some(3)),
        ];
        for manifest in [
            r#"{"database":"aesthetic","collections":[{"name":"@handles","count":2},{"name":"moods","documents":3,"file":"m.json"}]}"#,
            r#"{"collections":{"@handles":{"count":2},"moods":{"docs":3,"file":"m.json"}}}"#,
            r#"{"when":"2026-02-10","@handles":{"count":2},"moods":{"count":3.0,"file":"m.json"}}"#,
        ] {
            let folder = folder(manifest, &["@handles.json", "m.json"]);
            assert_eq!(names(&folder), Ok(expected.clone()), "{manifest}");
        }
        let indexes = r#"{"collections":[{"name":"moods","count":0}],"indexes":{"moods":[{"v":2,"key":{"_id":1},"name":"_id_"},{"v":2,"key":{"when":-1,"user":1},"name":"w"}]}}"#;
        let folder = folder(indexes, &["moods.ndjson.gz"]);
        let entries = read(folder.path()).unwrap();
        assert_eq!(
            entries[0].indexes,
            Some(vec![
                doc! { "v": 2, "key": { "when": -1, "user": 1 }, "name": "w" }
            ])
        );
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (manifest, files, problem) in [
            ("{", &[][..], "line 1"),
            ("{}", &[], "the collections must be"),
            (r#"{"collections":7}"#, &[], "the collections must be"),
            (
                r#"{"collections":[{"count":1}]}"#,
                &[],
                "the collections must be",
            ),
            (
                r#"{"collections":[{"name":"a"}]}"#,
                &["a.json"],
                "a has no count",
            ),
            (
                r#"{"collections":[{"name":"a","count":-1}]}"#,
                &["a.json"],
                "a has no count",
            ),
            (
                r#"{"collections":[{"name":"a","count":1}]}"#,
                &[],
                "a has no file",
            ),
            (
                r#"{"collections":[{"name":"a","count":1,"file":"../a.json"}]}"#,
                &["a.json"],
                "a has no file",
            ),
            (
                r#"{"collections":[{"name":"a","count":1},{"name":"a","count":1}]}"#,
                &["a.json"],
                "named twice",
            ),
            (
                r#"{"collections":[{"name":"a","count":1}]}"#,
                &["a.json", "b.json"],
                "does not name b",
            ),
            (
                r#"{"collections":[{"name":"a","count":1,"indexes":[{"key":{"a":1}}]}]}"#,
                &["a.json"],
                "no name or no key",
            ),
            (
                r#"{"collections":[{"name":"a","count":1,"indexes":[{"key":{"a":1},"name":"a","expireAfterSeconds":{"$numberDouble":"NaN"}}]}]}"#,
                &["a.json"],
                "not a number of seconds",
            ),
        ] {
            let folder = folder(manifest, files);
            let error = names(&folder).unwrap_err();
            assert!(error.contains(problem), "{manifest}: {error}");
        }
    }

    #[test]
    fn without_a_manifest_the_files_name_the_collections() {
        let folder = folder("{}", &["@handles.json", "false.work-builds.json.gz"]);
        let entries = without(folder.path()).unwrap();
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["@handles", "false.work-builds"]);
    }
}
