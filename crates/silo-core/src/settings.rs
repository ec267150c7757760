//! Settings: defaults, then `silo.toml`, then the environment, each overriding the one before. All problems are reported at once.

mod sources;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use config::{Config, Value};
use serde::de::DeserializeOwned;

use crate::logging::LogFormat;
use crate::secret::Secret;
use crate::variables::{CONFIG_FILE, LOG_FORMAT, VARIABLES, Variable};

use sources::{from_environment, note, read_file};

/// The exit code of a service whose settings are wrong (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// All problems of the settings, one line each, without values of secrets.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct SettingsError(pub Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 {
            "setting is"
        } else {
            "settings are"
        };
        write!(f, "{} {plural} wrong:", self.0.len())?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

/// Settings of one process while they are being read. Each getter records a problem and goes on, so that [`SettingsReader::finish`] reports all of them.
#[derive(Debug)]
pub struct SettingsReader {
    config: Config,
    /// The environment's `NAME_FILE` of each setting that has one.
    files: BTreeMap<&'static str, PathBuf>,
    problems: Vec<String>,
}

impl SettingsReader {
    /// Reads the process's environment and the file that `SILO_CONFIG` names.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_map(
            &std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        )
    }

    /// Reads a given environment, for tests.
    #[must_use]
    pub fn from_map(environment: &BTreeMap<String, String>) -> Self {
        let mut problems = Vec::new();
        let file = read_file(environment, &mut problems);
        let mut builder = Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(file);
        }
        for variable in VARIABLES {
            if let Some(value) = from_environment(variable, environment, &mut problems) {
                builder = match builder.clone().set_override(variable.key, value) {
                    Ok(builder) => builder,
                    Err(_) => note(
                        &mut problems,
                        builder,
                        format!("{}: cannot be set", variable.name),
                    ),
                };
            }
        }
        let config = builder.build().unwrap_or_else(|error| {
            note(
                &mut problems,
                Config::default(),
                format!("{CONFIG_FILE}: {error}"),
            )
        });
        let file_of = |variable: &Variable| {
            let path = environment.get(&format!("{}_FILE", variable.name))?;
            (!path.is_empty()).then(|| (variable.name, path.into()))
        };
        Self {
            config,
            files: VARIABLES.iter().filter_map(file_of).collect(),
            problems,
        }
    }

    /// Path in `NAME_FILE`, for a setting that is read again while the process runs.
    #[must_use]
    pub fn file(&self, variable: Variable) -> Option<PathBuf> {
        self.files.get(variable.name).cloned()
    }

    /// A setting as text; its default, or `None` when it has none.
    pub fn optional_text(&mut self, variable: Variable) -> Option<String> {
        match self.config.get::<Option<Value>>(variable.key) {
            Ok(Some(value)) => match value.into_string() {
                Ok(text) => Some(text),
                Err(_) => note(
                    &mut self.problems,
                    None,
                    format!(
                        "{} ({}): must be a single value",
                        variable.name, variable.key
                    ),
                ),
            },
            _ => variable.default.map(str::to_owned),
        }
    }

    /// A setting that must be there.
    pub fn text(&mut self, variable: Variable) -> String {
        let text = self.optional_text(variable);
        text.unwrap_or_else(|| {
            note(
                &mut self.problems,
                String::new(),
                format!("{variable}: missing. {}", variable.description),
            )
        })
    }

    /// A secret that must be there.
    pub fn secret(&mut self, variable: Variable) -> Secret {
        Secret::new(self.text(variable))
    }

    /// An address and port to listen on.
    pub fn socket_address(&mut self, variable: Variable, default: SocketAddr) -> SocketAddr {
        let Some(text) = self.optional_text(variable) else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            note(
                &mut self.problems,
                default,
                format!("{variable}: `{text}` is not an address and port such as {default}"),
            )
        })
    }

    /// A whole number within bounds.
    pub fn number(&mut self, variable: Variable, bounds: RangeInclusive<u64>) -> u64 {
        let text = self.text(variable);
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.unwrap_or_else(|| {
            let (least, most) = (*bounds.start(), *bounds.end());
            let problem =
                format!("{variable}: `{text}` is not a whole number from {least} to {most}");
            note(&mut self.problems, least, problem)
        })
    }

    /// The address of a service that must be there, as `http://host` or `https://host`.
    pub fn url(&mut self, variable: Variable) -> String {
        let url = self.text(variable);
        self.check_url(variable.name, &url);
        url
    }

    /// Notes it when `url`, which stands at `place`, is not the address of a service and nothing else.
    pub fn check_url(&mut self, place: &str, url: &str) {
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        let plain = |rest: &str| !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']);
        // A missing value has already been recorded.
        if !url.is_empty() && !rest.is_some_and(plain) {
            // Not repeated: it may hold a password.
            self.problem(format!(
                "{place}: must be http:// or https:// with a host, and no user, query or fragment"
            ));
        }
    }

    /// How logs look: `text` or `json`.
    pub fn log_format(&mut self) -> LogFormat {
        match self.text(LOG_FORMAT).as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => note(
                &mut self.problems,
                LogFormat::Text,
                format!("{LOG_FORMAT}: `{other}` is not one of text, json"),
            ),
        }
    }

    /// A list of tables of `silo.toml`, `[[section]]`; empty when there is none.
    pub fn list<T: DeserializeOwned>(&mut self, section: &str) -> Vec<T> {
        match self.config.get::<Option<Value>>(section) {
            Ok(Some(value)) => value.try_deserialize().unwrap_or_else(|error| {
                note(
                    &mut self.problems,
                    Vec::new(),
                    format!("{section} in silo.toml: {error}"),
                )
            }),
            _ => Vec::new(),
        }
    }

    /// Notes a problem that only the reader of a setting can see.
    pub fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// All problems, in the order of reading.
    pub fn finish(self) -> Result<(), SettingsError> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(SettingsError(self.problems))
        }
    }
}

#[cfg(test)]
mod tests;
