//! Selection of collections to restore.

use crate::error::Error;
use crate::repository::manifest::{CollectionFacts, Manifest};

/// Selection of collections; without names, all.
#[derive(Clone, Debug, Default)]
pub struct Selection(pub Vec<String>);

impl Selection {
    /// `true` if a collection is selected.
    #[must_use]
    pub fn includes(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|only| only == name)
    }

    /// This selection without names that a manifest does not have; all, if it has none of them.
    #[must_use]
    pub fn known_in(&self, manifest: &Manifest) -> Self {
        let mut names = self.0.clone();
        names.retain(|only| {
            let mut collections = manifest.collections.iter();
            collections.any(|collection| collection.name == *only)
        });
        Self(names)
    }

    /// Selected collections of a manifest.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name that the backup does not have.
    pub fn of(&self, manifest: &Manifest) -> Result<Vec<CollectionFacts>, Error> {
        let unknown = self.0.iter().find(|only| {
            let mut collections = manifest.collections.iter();
            collections.all(|collection| collection.name != **only)
        });
        if let Some(name) = unknown {
            return Err(Error::NotFound(format!(
                "there is no collection {name} in it (the backup {}, or the moment after it)",
                manifest.id
            )));
        }
        let collections = manifest.collections.iter();
        let selected = collections.filter(|collection| self.includes(&collection.name));
        Ok(selected.cloned().collect())
    }
}
