//! Fields whose values never leave the service: those that the catalogue names, and those whose names say it.

use silo_mongo::mongodb::bson::{Bson, Document};

/// Parts of names, in small letters, of fields that are not shown in any collection, whether or not the catalogue knows it.
const SECRET: [&str; 13] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "apikey",
    "api_key",
    "privatekey",
    "private_key",
    "cookie",
    "email",
    "phone",
    "wallet",
];
/// Whole names, in small letters, likewise.
const SECRET_NAMES: [&str; 2] = ["ip", "key"];

/// Value in place of one that is not shown.
const HIDDEN: &str = "(not shown)";

/// Fields of a collection that are not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    paths: Vec<String>,
}

impl Redaction {
    /// Hides these paths, with all that is below them, and every field whose name says that it is a secret, an e-mail address or a telephone number.
    #[must_use]
    pub fn new(paths: &[String]) -> Self {
        Self {
            paths: paths.to_vec(),
        }
    }

    /// `true` if a filter or an order by this path would tell of a value that is not shown: the path is hidden, below a hidden one, or above one.
    #[must_use]
    pub fn concerns(&self, path: &str) -> bool {
        let path = without_positions(path);
        self.hides(&path) || self.paths.iter().any(|hidden| is_within(hidden, &path))
    }

    fn hides(&self, path: &str) -> bool {
        self.paths.iter().any(|hidden| is_within(path, hidden)) || path.split('.').any(is_secret)
    }

    /// Replaces the values that are not shown, of a document.
    pub(super) fn apply(&self, value: Bson) -> Bson {
        self.apply_at("", value)
    }

    /// The same for a field of a document.
    pub(super) fn apply_to(&self, field: &str, value: Bson) -> Bson {
        self.apply_at(field, value)
    }

    fn apply_at(&self, path: &str, value: Bson) -> Bson {
        if !path.is_empty() && self.hides(path) {
            return if value == Bson::Null {
                value
            } else {
                Bson::String(HIDDEN.into())
            };
        }
        match value {
            Bson::Document(document) => {
                let below = |name: &str| {
                    if path.is_empty() {
                        name.to_owned()
                    } else {
                        format!("{path}.{name}")
                    }
                };
                let shown = document
                    .into_iter()
                    .map(|(name, value)| (name.clone(), self.apply_at(&below(&name), value)));
                Bson::Document(shown.collect())
            }
            Bson::JavaScriptCodeWithScope(mut code) => {
                if let Bson::Document(scope) = self.apply_at(path, Bson::Document(code.scope)) {
                    code.scope = scope;
                } else {
                    code.scope = Document::new();
                }
                Bson::JavaScriptCodeWithScope(code)
            }
            // Elements of a list have the path of the list.
            Bson::Array(values) => {
                let shown = values.into_iter().map(|value| self.apply_at(path, value));
                Bson::Array(shown.collect())
            }
            value => value,
        }
    }
}

/// `true` if `path` is `ancestor` or below it.
fn is_within(path: &str, ancestor: &str) -> bool {
    let rest = path.strip_prefix(ancestor);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET_NAMES.contains(&name.as_str()) || SECRET.iter().any(|part| name.contains(part))
}

/// The path without positions in lists: `list.0.name` is `list.name`.
fn without_positions(path: &str) -> String {
    let names = path
        .split('.')
        .filter(|part| part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()));
    names.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use silo_mongo::mongodb::bson::doc;

    use super::*;

    #[test]
    fn what_the_catalogue_and_the_names_hide_is_replaced_wherever_it_is() {
        let redaction = Redaction::new(&["atproto.password".into(), "meta".into()]);
        let document = doc! {
            "_id": 1,
            "meta": { "ip": "10.0.0.1" },
            "metadata": "shown",
            "atproto": { "did": "did:plc:a", "password": "hunter2" },
            "list": [{ "accessToken": "x", "n": 1 }, [{ "Email": "a@b.c" }]],
            "token": null,
        };
        let wanted = doc! {
            "_id": 1,
            "meta": HIDDEN,
            "metadata": "shown",
            "atproto": { "did": "did:plc:a", "password": HIDDEN },
            "list": [{ "accessToken": HIDDEN, "n": 1 }, [{ "Email": HIDDEN }]],
            "token": null,
        };
        let shown = redaction.apply(Bson::Document(document));
        assert_eq!(shown, Bson::Document(wanted));
    }

    #[test]
    fn a_question_about_a_hidden_field_or_what_holds_it_concerns_it() {
        let redaction = Redaction::new(&["atproto.password".into(), "devices.ip".into()]);
        for path in [
            "atproto",
            "atproto.password",
            "atproto.password.x",
            "devices.0.ip",
            "devices.0",
            "a.myToken.b",
        ] {
            assert!(redaction.concerns(path), "{path}");
        }
        for path in ["_id", "atproto.did", "atprotos", "devices.name", "when"] {
            assert!(!redaction.concerns(path), "{path}");
        }
    }
}
