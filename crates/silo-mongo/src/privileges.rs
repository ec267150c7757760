//! Privileges of the account that Silo uses. It should be able to read and to monitor, and nothing else.

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};

use crate::connect::primary_preferred;
use crate::error::DatabaseError;
use crate::field;

/// Actions that change data or structure; having one of them on AC's database is more than Silo needs. Source: MongoDB's list of privilege actions.
const WRITES: &[&str] = &[
    "anyAction",
    "bypassDocumentValidation",
    "collMod",
    "compact",
    "convertToCapped",
    "createCollection",
    "createIndex",
    "dropCollection",
    "dropDatabase",
    "dropIndex",
    "emptycapped",
    "enableProfiler",
    "insert",
    "reIndex",
    "remove",
    "renameCollectionSameDB",
    "update",
];

/// Actions on users and roles. On any database they let an account give itself every other privilege.
const GRANTS: &[&str] = &[
    "changePassword",
    "createRole",
    "createUser",
    "dropRole",
    "dropUser",
    "grantRole",
    "revokeRole",
    "setAuthenticationRestriction",
];

/// Actions on the server that stop or change it.
const SERVER_CHANGES: &[&str] = &[
    "fsync",
    "impersonate",
    "internal",
    "replSetConfigure",
    "replSetStateChange",
    "setFeatureCompatibilityVersion",
    "setParameter",
    "shutdown",
];

/// MongoDB's own roles that change nothing in a database. A server that lists no privileges is judged by these.
const READING_ROLES: &[&str] = &["read", "readAnyDatabase", "clusterMonitor"];

/// Privileges of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// Signed in, and no right to change the database, its users or the server.
    ReadOnly,
    /// The account can change them; with the actions or roles that allow it.
    CanWrite(Vec<String>),
    /// The server requires no authentication, so every client has all privileges.
    Unauthenticated,
}

/// Reads the account's privileges in `database`.
///
/// # Errors
/// The error of the command.
pub async fn privileges(client: &Client, database: &str) -> Result<Privileges, DatabaseError> {
    let status = client
        .database("admin")
        .run_command(doc! { "connectionStatus": 1, "showPrivileges": true, "maxTimeMS": 2000 })
        .selection_criteria(primary_preferred())
        .await?;
    Ok(from_status(&status, database))
}

/// Actions that the account may not run on all collections of `database`. A server that requires no authentication allows everything.
///
/// # Errors
/// The error of the command.
pub async fn missing(
    client: &Client,
    database: &str,
    wanted: &[&'static str],
) -> Result<Vec<&'static str>, DatabaseError> {
    let status = client
        .database("admin")
        .run_command(doc! { "connectionStatus": 1, "showPrivileges": true })
        .await?;
    if list(&status, "authInfo.authenticatedUsers").is_empty() {
        return Ok(Vec::new());
    }
    let privileges = list(&status, "authInfo.authenticatedUserPrivileges");
    let allows = |privilege: &Document, action: &str| {
        let collection = field::text(privilege, "resource.collection").is_none_or(str::is_empty);
        let actions = privilege.get_array("actions").into_iter().flatten();
        collection
            && covers(privilege, database)
            && actions.filter_map(Bson::as_str).any(|it| it == action)
    };
    let allowed = |action: &str| {
        let mut documents = privileges.iter().filter_map(Bson::as_document);
        documents.any(|privilege| allows(privilege, action))
    };
    Ok(wanted
        .iter()
        .copied()
        .filter(|action| !allowed(action))
        .collect())
}

fn list(status: &Document, path: &str) -> Vec<Bson> {
    let list = field::at(status, path).and_then(Bson::as_array);
    list.cloned().unwrap_or_default()
}

fn from_status(status: &Document, database: &str) -> Privileges {
    let list = |path| list(status, path);
    if list("authInfo.authenticatedUsers").is_empty() {
        return Privileges::Unauthenticated;
    }
    let privileges = list("authInfo.authenticatedUserPrivileges");
    if privileges.is_empty() {
        return from_roles(&list("authInfo.authenticatedUserRoles"), database);
    }
    let mut writes: Vec<String> = privileges
        .iter()
        .filter_map(Bson::as_document)
        .flat_map(|privilege| changes(privilege, database))
        .map(str::to_owned)
        .collect();
    writes.sort();
    writes.dedup();
    if writes.is_empty() {
        Privileges::ReadOnly
    } else {
        Privileges::CanWrite(writes)
    }
}

/// A role that is not known to be harmless counts as one that writes, when it is of this database or of all (`admin`).
fn from_roles(roles: &[Bson], database: &str) -> Privileges {
    let here =
        |role: &&Document| field::text(role, "db").is_none_or(|of| of == database || of == "admin");
    let names = roles.iter().filter_map(Bson::as_document).filter(here);
    let names = names.filter_map(|role| field::text(role, "role"));
    let writing: Vec<String> = names
        .filter(|name| !READING_ROLES.contains(name))
        .map(str::to_owned)
        .collect();
    if writing.is_empty() {
        Privileges::ReadOnly
    } else {
        Privileges::CanWrite(writing)
    }
}

/// Actions of a privilege that change data, users or the server.
fn changes<'a>(privilege: &'a Document, database: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let any = field::flag(privilege, "resource.anyResource") == Some(true);
    let server = any || field::flag(privilege, "resource.cluster") == Some(true);
    let here = covers(privilege, database);
    let actions = privilege.get_array("actions").into_iter().flatten();
    actions.filter_map(Bson::as_str).filter(move |action| {
        here && WRITES.contains(action)
            || server && SERVER_CHANGES.contains(action)
            || GRANTS.contains(action)
    })
}

/// `true` if a privilege's resource includes collections of `database`.
fn covers(privilege: &Document, database: &str) -> bool {
    let any = field::flag(privilege, "resource.anyResource") == Some(true);
    // An empty name stands for every database.
    any || field::text(privilege, "resource.db")
        .is_some_and(|name| name.is_empty() || name == database)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(resource: Document, actions: &[&str]) -> Document {
        doc! { "authInfo": {
            "authenticatedUsers": [{ "user": "silo", "db": "admin" }],
            "authenticatedUserPrivileges": [{ "resource": resource, "actions": actions }],
        } }
    }

    #[test]
    fn an_account_that_can_write_is_recognised() {
        let here = status(
            doc! { "db": "aesthetic", "collection": "" },
            &["find", "insert", "update"],
        );
        assert_eq!(
            from_status(&here, "aesthetic"),
            Privileges::CanWrite(vec!["insert".into(), "update".into()])
        );
        let everywhere = status(doc! { "db": "", "collection": "" }, &["remove"]);
        assert_eq!(
            from_status(&everywhere, "aesthetic"),
            Privileges::CanWrite(vec!["remove".into()])
        );
        let any = status(doc! { "anyResource": true }, &["anyAction"]);
        assert_eq!(
            from_status(&any, "aesthetic"),
            Privileges::CanWrite(vec!["anyAction".into()])
        );
    }

    #[test]
    fn an_account_that_reads_is_read_only_even_if_it_writes_elsewhere() {
        let reader = status(
            doc! { "db": "aesthetic", "collection": "" },
            &["find", "listCollections"],
        );
        assert_eq!(from_status(&reader, "aesthetic"), Privileges::ReadOnly);
        let elsewhere = status(doc! { "db": "silo", "collection": "" }, &["insert"]);
        assert_eq!(from_status(&elsewhere, "aesthetic"), Privileges::ReadOnly);
    }

    #[test]
    fn an_account_that_can_change_users_or_the_server_is_recognised() {
        for (resource, action) in [
            (doc! { "db": "admin", "collection": "" }, "grantRole"),
            (doc! { "db": "elsewhere", "collection": "" }, "createUser"),
            (doc! { "cluster": true }, "shutdown"),
            (doc! { "cluster": true }, "replSetConfigure"),
            (doc! { "db": "aesthetic", "collection": "moods" }, "collMod"),
        ] {
            let status = status(resource, &["find", action]);
            let wanted = Privileges::CanWrite(vec![action.into()]);
            assert_eq!(from_status(&status, "aesthetic"), wanted);
        }
        let monitor = status(doc! { "cluster": true }, &["serverStatus", "top", "inprog"]);
        assert_eq!(from_status(&monitor, "aesthetic"), Privileges::ReadOnly);
    }

    #[test]
    fn without_privileges_the_roles_decide() {
        let roles = |roles: &[(&str, &str)]| {
            let roles = roles
                .iter()
                .map(|(role, db)| doc! { "role": *role, "db": *db });
            let roles: Vec<Document> = roles.collect();
            doc! { "authInfo": {
                "authenticatedUsers": [{ "user": "silo", "db": "admin" }],
                "authenticatedUserRoles": roles,
                "authenticatedUserPrivileges": [],
            } }
        };
        let reader = roles(&[
            ("read", "aesthetic"),
            ("clusterMonitor", "admin"),
            ("readWrite", "elsewhere"),
        ]);
        assert_eq!(from_status(&reader, "aesthetic"), Privileges::ReadOnly);
        for (role, db) in [
            ("readWrite", "aesthetic"),
            ("root", "admin"),
            ("our-own-role", "aesthetic"),
        ] {
            let wanted = Privileges::CanWrite(vec![role.into()]);
            assert_eq!(from_status(&roles(&[(role, db)]), "aesthetic"), wanted);
        }
    }

    #[test]
    fn a_server_without_authentication_is_recognised() {
        assert_eq!(
            from_status(
                &doc! { "authInfo": { "authenticatedUsers": [] } },
                "aesthetic"
            ),
            Privileges::Unauthenticated
        );
    }
}
