//! Accounts of mongod, each with the least privileges for its work.

use silo_mongo::mongodb::bson::{Bson, Document, doc};
use silo_mongo::mongodb::options::ClientOptions;

use crate::error::Error;

/// Purpose of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountRole {
    /// The administrator, created by the image when the data folder is new. Only `init` uses it.
    Root,
    /// silo-db-api: reads, and watches the server.
    Reader,
    /// silo-backup: reads everything in the database, and writes in Silo's own.
    Backup,
    /// Restores into the scratch database of drills.
    Drill,
    /// Restores and swaps databases; its connection string is for the operator only, and not mounted in any service.
    Restore,
    /// mongo-express: reads.
    Browser,
    /// `silo-mongod certificate`: has mongod read its certificate again, and nothing else.
    Certificate,
    /// One of AC's services: reads and writes AC's database, and signs in there.
    Client,
}

/// The roles that are Silo's own, in the database `admin`.
const BACKUP_ROLE: &str = "siloBackup";
const DRILL_ROLE: &str = "siloDrill";
/// Scratch database of drills, which silo-backup uses.
const DRILL_DATABASE: &str = "silo_drill";
const CERTIFICATE_ROLE: &str = "siloCertificate";

/// One account.
#[derive(Clone)]
pub struct Account {
    /// Purpose of the account.
    pub job: AccountRole,
    /// User name.
    pub name: String,
    /// The database that it signs in to.
    pub source: String,
    /// Password.
    pub password: String,
    /// Options parsed from the connection string.
    pub options: ClientOptions,
}

impl Account {
    /// Parses lines of a job, a blank, and a connection string.
    ///
    /// # Errors
    /// All invalid lines by number, without their content.
    pub async fn read_all(lines: &str) -> Result<Vec<Self>, Error> {
        let (mut accounts, mut problems) = (Vec::<Self>::new(), Vec::new());
        for (at, line) in lines.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match Self::read(line).await {
                Ok(account) => {
                    let same = |other: &Self| {
                        (&other.name, &other.source) == (&account.name, &account.source)
                    };
                    if accounts.iter().any(same) {
                        problems.push(format!("line {}: {} occurs twice", at + 1, account.name));
                    }
                    accounts.push(account);
                }
                Err(why) => problems.push(format!("line {}: {why}", at + 1)),
            }
        }
        if accounts
            .iter()
            .filter(|account| account.job == AccountRole::Root)
            .count()
            != 1
        {
            problems.push("one account has to be `root`".into());
        }
        if problems.is_empty() {
            Ok(accounts)
        } else {
            Err(Error::Refused(format!(
                "MONGO_ACCOUNTS: {}",
                problems.join("; ")
            )))
        }
    }

    async fn read(line: &str) -> Result<Self, &'static str> {
        let (job, uri) = line
            .split_once(char::is_whitespace)
            .ok_or("a job, a blank and a connection string are expected")?;
        let job = match job {
            "root" => AccountRole::Root,
            "reader" => AccountRole::Reader,
            "backup" => AccountRole::Backup,
            "drill" => AccountRole::Drill,
            "restore" => AccountRole::Restore,
            "browser" => AccountRole::Browser,
            "certificate" => AccountRole::Certificate,
            "client" => AccountRole::Client,
            _ => {
                return Err(
                    "a job is one of root, reader, backup, drill, restore, browser, certificate, client",
                );
            }
        };
        let options = ClientOptions::parse(uri.trim()).await;
        let options = options.map_err(|_unprintable| "the connection string cannot be read")?;
        let credential = options
            .credential
            .clone()
            .ok_or("the connection string has no name and password")?;
        let (Some(name), Some(password)) = (credential.username, credential.password) else {
            return Err("the connection string has no name or no password");
        };
        let default = options
            .default_database
            .clone()
            .unwrap_or_else(|| "admin".into());
        Ok(Self {
            job,
            name,
            source: credential.source.unwrap_or(default),
            password,
            options,
        })
    }
}

impl AccountRole {
    /// The roles of an account with this job; none for the administrator, which the image creates.
    #[must_use]
    pub fn roles(self, database: &str) -> Vec<Document> {
        let role = |role: &str, db: &str| doc! { "role": role, "db": db };
        match self {
            Self::Root => Vec::new(),
            Self::Reader => vec![role("read", database), role("clusterMonitor", "admin")],
            Self::Backup => vec![role(BACKUP_ROLE, "admin"), role("readWrite", "silo")],
            Self::Drill => vec![role(DRILL_ROLE, "admin")],
            Self::Restore => vec![
                role("readWriteAnyDatabase", "admin"),
                role("dbAdminAnyDatabase", "admin"),
            ],
            Self::Browser => vec![role("read", database)],
            Self::Certificate => vec![role(CERTIFICATE_ROLE, "admin")],
            Self::Client => vec![role("readWrite", database)],
        }
    }
}

/// Silo's own roles, each with its privileges.
#[must_use]
pub fn own_roles(database: &str) -> Vec<(&'static str, Vec<Document>)> {
    let on = |resource: Document, actions: &[&str]| {
        let actions: Vec<Bson> = actions.iter().map(|action| Bson::from(*action)).collect();
        doc! { "resource": resource, "actions": actions }
    };
    let cluster = || doc! { "cluster": true };
    // Privileges for dumping one database in a snapshot: the necessary ones, none of which writes.
    let reads = [
        "find",
        "listCollections",
        "listIndexes",
        "collStats",
        "dbStats",
        "dbHash",
        "killCursors",
    ];
    let watches = ["serverStatus", "replSetGetStatus", "getParameter"];
    // Privileges for restoring into the scratch database.
    let restores = [
        "find",
        "insert",
        "update",
        "remove",
        "createCollection",
        "createIndex",
        "collMod",
        "collStats",
        "dbStats",
        "dropCollection",
        "dropDatabase",
        "dropIndex",
        "listCollections",
        "listIndexes",
        "bypassDocumentValidation",
        "killCursors",
    ];
    vec![
        (
            BACKUP_ROLE,
            vec![
                on(doc! { "db": database, "collection": "" }, &reads),
                // `collection: ""` does not cover these two.
                on(doc! { "db": database, "collection": "system.js" }, &reads),
                on(doc! { "db": database, "system_buckets": "" }, &reads),
                // The size of the oplog limits drills on the same server.
                on(
                    doc! { "db": "local", "collection": "oplog.rs" },
                    &["collStats"],
                ),
                on(cluster(), &watches),
            ],
        ),
        (
            DRILL_ROLE,
            vec![
                on(doc! { "db": DRILL_DATABASE, "collection": "" }, &restores),
                on(
                    doc! { "db": DRILL_DATABASE, "collection": "system.js" },
                    &restores,
                ),
                on(
                    doc! { "db": DRILL_DATABASE, "system_buckets": "" },
                    &restores,
                ),
            ],
        ),
        (
            CERTIFICATE_ROLE,
            vec![on(cluster(), &["rotateCertificates"])],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_sources_and_jobs_are_read() {
        let lines = "root mongodb://root:r@h/?authSource=admin\n\n# AC\nclient mongodb://lith:p%40ss@h:1/aesthetic?replicaSet=rs0&authSource=aesthetic&tls=true\nreader mongodb://silo_reader:x@h/";
        let accounts = Account::read_all(lines).await.unwrap();
        let parsed: Vec<_> = accounts
            .iter()
            .map(|one| (one.job, &*one.name, &*one.source, &*one.password))
            .collect();
        assert_eq!(
            parsed,
            [
                (AccountRole::Root, "root", "admin", "r"),
                (AccountRole::Client, "lith", "aesthetic", "p@ss"),
                (AccountRole::Reader, "silo_reader", "admin", "x"),
            ]
        );
    }

    #[tokio::test]
    async fn problems_are_reported_without_passwords() {
        let lines = "king mongodb://a:hunter2@h/\nroot nonsense-hunter2\nreader mongodb://h/\nclient mongodb://x:hunter2@h/a\nclient mongodb://x:hunter2@h/a";
        let message = Account::read_all(lines).await.err().unwrap().to_string();
        assert!(!message.contains("hunter2"), "{message}");
        for number in [1, 2, 3, 5] {
            assert!(message.contains(&format!("line {number}: ")), "{message}");
        }
        assert!(
            message.contains("one account has to be `root`"),
            "{message}"
        );
    }

    #[test]
    fn own_roles_write_in_the_scratch_database_only() {
        for (name, privileges) in own_roles("aesthetic") {
            for privilege in privileges {
                let text = privilege.to_string();
                let writes = ["insert", "update", "remove", "drop", "anyAction"]
                    .iter()
                    .any(|action| text.contains(&format!("\"{action}")));
                let database = privilege
                    .get_document("resource")
                    .unwrap()
                    .get_str("db")
                    .ok();
                assert!(
                    !writes || database == Some(DRILL_DATABASE),
                    "{name}: {text}"
                );
            }
        }
    }
}
