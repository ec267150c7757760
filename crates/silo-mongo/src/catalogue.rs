//! Catalogue of AC's collections, from `catalogue.toml`. A collection that is not in it is shown as `other`, never hidden.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Ending of the name of a collection while it is imported.
pub const IMPORTING: &str = ".importing";

/// Category of a collection. The first five are the seed report's groups.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Logs and telemetry.
    Logs,
    /// Chat messages and mutes.
    Chat,
    /// Content that people made: kidlisp, paintings, pieces, moods, tapes, clocks.
    Content,
    /// Users, handles, verifications, secrets.
    Identity,
    /// Small feature tables.
    Social,
    /// Not in the catalogue.
    #[default]
    Other,
}

impl Category {
    /// All categories, in the order of the seed report.
    pub const ALL: [Self; 6] = [
        Self::Logs,
        Self::Chat,
        Self::Content,
        Self::Identity,
        Self::Social,
        Self::Other,
    ];

    /// Name of the category, as in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Chat => "chat",
            Self::Content => "content",
            Self::Identity => "identity",
            Self::Social => "social",
            Self::Other => "other",
        }
    }
}

/// Of which BSON type a collection's `_id`s are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// `ObjectId`, which holds its time of creation.
    #[default]
    Object,
    /// Text.
    Text,
    /// Some of each.
    Mixed,
}

/// One collection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Entry {
    /// Name of the collection, verbatim.
    pub name: String,
    /// Category of the collection.
    pub category: Category,
    /// `true` if the seed report lists the collection as one to drop.
    #[serde(default)]
    pub disposable: bool,
    /// Findings since the seed report that speak against dropping the collection.
    #[serde(default)]
    pub caution: Option<String>,
    /// The field that names the user a document belongs to.
    #[serde(default)]
    pub owner: Option<String>,
    /// The field that holds the code or slug by which AC knows a document; never anything personal.
    #[serde(default)]
    pub label: Option<String>,
    /// The field that holds a document's time.
    #[serde(default)]
    pub date: Option<String>,
    /// Of which type its `_id`s are.
    #[serde(default)]
    pub id: IdKind,
    /// Fields whose values hold secrets, e-mails or addresses and must never leave the service.
    #[serde(default)]
    pub redact: Vec<String>,
    /// `true` if even the field names are not shown: for collections that are secrets as a whole.
    #[serde(default)]
    pub hidden: bool,
    /// `true` if the collection is one of the seed report's 38.
    #[serde(default)]
    pub seed: bool,
}

/// All known collections, by name.
#[derive(Clone, Debug)]
pub struct Catalogue(BTreeMap<String, Entry>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    collection: Vec<Entry>,
}

impl Catalogue {
    /// The built-in facts.
    ///
    /// # Errors
    /// When `catalogue.toml` cannot be read; a test keeps that from being shipped.
    pub fn built_in() -> Result<Self, toml::de::Error> {
        let file: CatalogueFile = toml::from_str(include_str!("catalogue.toml"))?;
        Ok(Self(
            file.collection
                .into_iter()
                .map(|entry| (entry.name.clone(), entry))
                .collect(),
        ))
    }

    /// A catalogue that knows nothing: everything is `other`.
    #[must_use]
    pub fn empty() -> Self {
        Self(BTreeMap::new())
    }

    /// The same with an operator's entries going before ours, by name.
    #[must_use]
    pub fn with(mut self, entries: Vec<Entry>) -> Self {
        self.0
            .extend(entries.into_iter().map(|entry| (entry.name.clone(), entry)));
        self
    }

    /// Entry of a collection; `None` if the catalogue has none. What is imported into a collection is first in one of the same name with [`IMPORTING`].
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.0.get(name.strip_suffix(IMPORTING).unwrap_or(name))
    }

    /// All entries, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_reads_and_covers_the_seed() {
        let catalogue = Catalogue::built_in().unwrap();
        assert_eq!(catalogue.entries().filter(|entry| entry.seed).count(), 38);
        assert_eq!(
            catalogue.entries().filter(|entry| entry.disposable).count(),
            11,
            "the seed's list of collections to drop"
        );
        assert!(
            catalogue
                .entries()
                .all(|entry| entry.seed || !entry.disposable)
        );
        for evidence in ["boots", "oven-grabs", "oven-cache"] {
            assert!(
                catalogue.get(evidence).unwrap().caution.is_some(),
                "{evidence}"
            );
        }
    }

    #[test]
    fn names_are_unique() {
        let file: CatalogueFile = toml::from_str(include_str!("catalogue.toml")).unwrap();
        let names: Vec<_> = file.collection.iter().map(|entry| &entry.name).collect();
        assert_eq!(
            names.len(),
            Catalogue::built_in().unwrap().0.len(),
            "{names:?}"
        );
    }

    #[test]
    fn an_operator_can_describe_a_collection_of_their_own() {
        let own: CatalogueFile =
            toml::from_str("collection = [{ name = \"mine\", category = \"content\" }]").unwrap();
        let catalogue = Catalogue::built_in().unwrap().with(own.collection);
        assert_eq!(catalogue.get("mine").unwrap().category, Category::Content);
        assert!(catalogue.get("theirs").is_none());
        assert!(catalogue.get("secrets.importing").unwrap().hidden);
    }
}
