//! Summaries of changes: what an event names, and what it leaves out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use silo_mongo::catalogue::{Catalogue, IdKind};

use super::DatabaseEvent;
use crate::details::{is_a_name, is_code};
use crate::gateway::{Change, DocumentId};

/// Changes of one kind that are written one by one; more at once become one event.
const SINGLE: usize = 10;
/// Most names of fields in an event.
const FIELDS: usize = 5;

/// Fields whose text is wanted: owners and labels.
pub(super) fn paths(catalogue: &Catalogue) -> BTreeSet<String> {
    let entries = catalogue.entries().filter(|entry| !entry.hidden);
    let paths = entries.flat_map(|entry| [&entry.owner, &entry.label]);
    paths
        .flatten()
        .filter(|path| *path != "_id")
        .cloned()
        .collect()
}

/// Events of collected changes, in their order; many of one kind within a minute are one event.
pub(super) fn summarise(
    changes: Vec<Change>,
    catalogue: &Catalogue,
    handle: impl Fn(&str) -> Option<String>,
) -> Vec<DatabaseEvent> {
    let minute = |at: Timestamp| at.as_second().div_euclid(60);
    let kind = |change: &Change| {
        (
            change.collection.clone(),
            change.operation,
            minute(change.at),
        )
    };
    let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
    for change in &changes {
        *kinds.entry(kind(change)).or_default() += 1;
    }
    let mut events: Vec<DatabaseEvent> = Vec::new();
    for change in changes {
        let many = kinds.get(&kind(&change)) > Some(&SINGLE);
        let same = |event: &&mut DatabaseEvent| {
            event.collection == change.collection
                && event.operation == change.operation.word()
                && minute(event.at) == minute(change.at)
        };
        match events.iter_mut().find(same) {
            Some(event) if many => {
                event.count += 1;
                event.at = event.at.max(change.at);
            }
            _ if many => events.push(DatabaseEvent {
                at: change.at,
                collection: change.collection,
                operation: change.operation.word().into(),
                count: 1,
                ..DatabaseEvent::default()
            }),
            _ => events.push(single(change, catalogue, &handle)),
        }
    }
    events
}

/// The event of one change, without anything that the catalogue hides.
fn single(
    change: Change,
    catalogue: &Catalogue,
    handle: impl Fn(&str) -> Option<String>,
) -> DatabaseEvent {
    let entry = catalogue.get(&change.collection);
    let shown = entry.filter(|entry| !entry.hidden);
    let hidden = entry.is_some_and(|entry| entry.hidden);
    let text = |path: &Option<String>| change.texts.get(path.as_ref()?).cloned();
    let id_text = match &change.document {
        Some(DocumentId::Text(id)) => Some(id.as_str()),
        _ => None,
    };
    let owner = shown.and_then(|entry| match entry.owner.as_deref() {
        Some("_id") => id_text.map(str::to_owned),
        _ => text(&entry.owner),
    });
    let document = match change.document {
        Some(DocumentId::Object(id)) if !hidden => Some(id),
        // The text of an unknown collection's ids may be anything, such as a session's token.
        Some(DocumentId::Text(id))
            if shown.is_some_and(|entry| entry.id != IdKind::Object) && !is_address(&id) =>
        {
            Some(id)
        }
        _ => None,
    };
    let mut fields: Vec<String> = Vec::new();
    for path in &change.fields {
        let name = path.split('.').next().unwrap_or_default();
        let known = fields.iter().any(|known| known == name);
        if !hidden && !known && is_a_name(name) && fields.len() < FIELDS {
            fields.push(name.to_owned());
        }
    }
    DatabaseEvent {
        id: 0,
        at: change.at,
        user: owner.and_then(|owner| handle(&owner)),
        label: shown
            .and_then(|entry| text(&entry.label))
            .filter(|label| is_code(label)),
        collection: change.collection,
        operation: change.operation.word().into(),
        count: 1,
        document,
        fields,
    }
}

/// `true` for text that looks like an e-mail address.
fn is_address(text: &str) -> bool {
    let after = text
        .split_once('@')
        .map(|(before, after)| (!before.is_empty(), after));
    after.is_some_and(|(before, after)| before && after.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::ChangeKind;

    fn change(collection: &str, operation: ChangeKind) -> Change {
        Change {
            at: Timestamp::from_second(1_700_000_000).unwrap(),
            collection: collection.into(),
            operation,
            document: Some(DocumentId::Object("65f0".into())),
            texts: BTreeMap::new(),
            fields: Vec::new(),
        }
    }

    fn events(changes: Vec<Change>) -> Vec<DatabaseEvent> {
        let handle = |sub: &str| (sub == "auth0|a").then(|| "jane".to_owned());
        summarise(changes, &Catalogue::built_in().unwrap(), handle)
    }

    #[test]
    fn an_event_names_what_the_catalogue_allows_and_nothing_else() {
        let mut painting = change("paintings", ChangeKind::Insert);
        painting.texts = BTreeMap::from([
            ("user".into(), "auth0|a".into()),
            ("code".into(), "abc".into()),
            ("slug".into(), "not the label".into()),
        ]);
        let mut sentence = change("paintings", ChangeKind::Insert);
        sentence.texts = BTreeMap::from([("code".into(), "call 555 0100".into())]);
        let mut chat = change("chat-system", ChangeKind::Insert);
        chat.texts = BTreeMap::from([("code".into(), "text".into())]);
        let mut user = change("users", ChangeKind::Update);
        user.document = Some(DocumentId::Text("auth0|a".into()));
        user.fields = [
            "atproto.did",
            "atproto.password",
            "jane@example.org",
            "when",
        ]
        .map(String::from)
        .to_vec();
        let mut secret = change("secrets", ChangeKind::Update);
        secret.document = Some(DocumentId::Text("stripe".into()));
        secret.fields = vec!["key".into()];
        let mut unknown = change("new-thing", ChangeKind::Insert);
        unknown.document = Some(DocumentId::Text("a token".into()));
        let found = events(vec![painting, chat, user, secret, unknown, sentence]);
        let [painting, chat, user, secret, unknown, sentence] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(painting.user.as_deref(), Some("jane"));
        assert_eq!(painting.label.as_deref(), Some("abc"));
        assert_eq!(painting.document.as_deref(), Some("65f0"));
        assert_eq!(sentence.label, None);
        assert_eq!((&chat.label, &chat.user), (&None, &None));
        assert_eq!(user.document.as_deref(), Some("auth0|a"));
        assert_eq!(user.user.as_deref(), Some("jane"));
        assert_eq!(user.fields, ["atproto", "when"]);
        assert_eq!((&secret.document, secret.fields.len()), (&None, 0));
        assert_eq!(unknown.document, None);
    }

    #[test]
    fn many_changes_of_one_kind_are_one_event_and_none_is_lost() {
        let mut changes = vec![change("boots", ChangeKind::Update); 25];
        changes.insert(3, change("moods", ChangeKind::Insert));
        changes.push(change("moods", ChangeKind::Insert));
        let mut later = vec![change("boots", ChangeKind::Update); 11];
        for change in &mut later {
            change.at = Timestamp::from_second(1_700_000_300).unwrap();
        }
        changes.extend(later);
        let found = events(changes);
        let counts: Vec<_> = found
            .iter()
            .map(|event| {
                (
                    event.collection.as_str(),
                    event.count,
                    event.document.is_some(),
                )
            })
            .collect();
        assert_eq!(
            counts,
            [
                ("boots", 25, false),
                ("moods", 1, true),
                ("moods", 1, true),
                ("boots", 11, false)
            ]
        );
    }

    #[test]
    fn an_address_is_told_from_a_handle() {
        for address in ["jane@example.org", "a@b.c"] {
            assert!(is_address(address), "{address}");
        }
        for other in ["@jane", "@jane.at", "auth0|a", "jane", "", "a@b"] {
            assert!(!is_address(other), "{other}");
        }
    }
}
