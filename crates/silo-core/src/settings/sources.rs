//! Sources of settings: `silo.toml` and the environment.

use std::collections::BTreeMap;

use config::{File, FileFormat, Map, Source, Value, ValueKind};

use crate::variables::{CONFIG_FILE, SECTIONS, VARIABLES, Variable};

/// Records a problem, and returns a replacement for the value.
pub(super) fn note<T>(problems: &mut Vec<String>, instead: T, problem: String) -> T {
    problems.push(problem);
    instead
}

/// The file named by `SILO_CONFIG`, when there is one that can be read.
pub(super) fn read_file(
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<String>,
) -> Option<File<config::FileSourceString, FileFormat>> {
    let path = environment
        .get(CONFIG_FILE)
        .filter(|path| !path.is_empty())?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            return note(
                problems,
                None,
                format!("{CONFIG_FILE}: cannot read {path}: {error}"),
            );
        }
    };
    let file = File::from_str(&text, FileFormat::Toml);
    match file.collect() {
        Ok(table) => unknown_keys("", &table, problems),
        // The parser's text repeats the line it stumbled over, which may hold a secret; the place is enough.
        Err(_) => {
            return note(
                problems,
                None,
                format!(
                    "{CONFIG_FILE}: {path} is not valid TOML{}",
                    place_of_error(&text)
                ),
            );
        }
    }
    Some(file)
}

fn place_of_error(text: &str) -> String {
    let parsed = text.parse::<toml::Table>();
    let span = parsed.err().and_then(|error| error.span());
    span.map_or_else(String::new, |span| {
        format!(
            " (line {})",
            text[..span.start.min(text.len())].lines().count().max(1)
        )
    })
}

/// Notes each key of the file that no setting has.
fn unknown_keys(prefix: &str, table: &Map<String, Value>, problems: &mut Vec<String>) {
    for (name, value) in table {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        if SECTIONS.contains(&path.as_str())
            || VARIABLES.iter().any(|variable| variable.key == path)
        {
            continue;
        }
        match &value.kind {
            ValueKind::Table(inner) => unknown_keys(&path, inner, problems),
            _ => problems.push(format!("{path}: no such setting in silo.toml")),
        }
    }
}

/// A variable's value from the environment: `NAME`, or what the file in `NAME_FILE` holds. Empty counts as not set, because compose
/// passes unset variables as empty ones, and wants a file for every secret.
pub(super) fn from_environment(
    variable: &Variable,
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<String>,
) -> Option<String> {
    let given = |name: &str| {
        environment
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    };
    let from_file = format!("{}_FILE", variable.name);
    match (given(variable.name), given(&from_file)) {
        (Some(_), Some(_)) => note(
            problems,
            None,
            format!("{}: set here and in {from_file}; keep one", variable.name),
        ),
        (Some(value), None) => Some(value),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(value) => {
                let value = value.trim_end_matches(['\r', '\n']);
                (!value.is_empty()).then(|| value.to_owned())
            }
            Err(error) => note(
                problems,
                None,
                format!("{from_file}: cannot read {path}: {error}"),
            ),
        },
        (None, None) => None,
    }
}
