//! Collections that a command names.

/// Selection of collections.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Selection {
    /// Only this collection (can be repeated)
    #[arg(long, value_name = "COLLECTION")]
    pub only: Vec<String>,
    /// Leave out this collection (can be repeated)
    #[arg(long, value_name = "COLLECTION")]
    pub skip: Vec<String>,
}

impl Selection {
    /// The selection as text.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("only {:?}, without {:?}", self.only, self.skip)
    }

    /// `true` if the collection is selected.
    #[must_use]
    pub fn includes(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|other| other == name);
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }
}
