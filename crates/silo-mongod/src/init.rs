//! `silo-mongod init`: creates the replica set, roles and accounts in an empty mongod. Run again, it applies changes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::{Bson, Document, doc};
use silo_mongo::versions;

use crate::accounts::{Account, AccountRole, own_roles};
use crate::error::Error;
use crate::server::{self, code, run};
use crate::settings::Init;

/// Time limit for mongod to start, and then to accept writes.
const UP_WITHIN: Duration = Duration::from_secs(120);
/// Interval between attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// mongod's numbers for errors that are answers here.
const ALREADY_INITIALIZED: i32 = 23;
const NOT_YET_INITIALIZED: i32 = 94;

/// Result for one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The item did not exist.
    Created,
    /// The item existed and was different.
    Changed,
    /// The item is as configured.
    Unchanged,
    /// Nothing was done, but an operator should check it.
    NeedsReview,
}

/// Item of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Name of the item.
    pub what: String,
    /// Result for the item.
    pub done: Outcome,
    /// Explanation, if the result needs one.
    pub detail: String,
}

/// Applies the configuration, or only lists the changes.
///
/// # Errors
/// The first change that failed; earlier ones are applied.
pub async fn init(
    settings: &Init,
    dry_run: bool,
    mut report: impl FnMut(&Step),
) -> Result<(), Error> {
    let accounts = Account::read_all(settings.accounts.expose()).await?;
    let root = accounts
        .iter()
        .find(|account| account.job == AccountRole::Root);
    let root = root.ok_or_else(|| Error::Refused("MONGO_ACCOUNTS has no root".into()))?;
    let admin = server::admin(root, root)?;
    let work = Work {
        admin: &admin,
        settings,
        dry_run,
    };
    report(&work.wait().await?);
    report(&work.replica_set().await?);
    for (name, privileges) in own_roles(&settings.database) {
        report(&work.role(name, &privileges).await?);
    }
    for account in accounts
        .iter()
        .filter(|account| account.job != AccountRole::Root)
    {
        report(&work.account(account, root).await?);
    }
    for step in work.unlisted_accounts(&accounts).await? {
        report(&step);
    }
    Ok(())
}

struct Work<'a> {
    admin: &'a Database,
    settings: &'a Init,
    dry_run: bool,
}

impl Work<'_> {
    /// Waits until it answers, and warns of a version with known faults.
    async fn wait(&self) -> Result<Step, Error> {
        let began = Instant::now();
        let reply = loop {
            match self.admin.run_command(doc! { "buildInfo": 1 }).await {
                Ok(reply) => break reply,
                Err(error)
                    if began.elapsed() > UP_WITHIN
                        || DatabaseError::from(&error) == DatabaseError::AuthenticationFailed =>
                {
                    return Err(Error::database("waiting for mongod")(error));
                }
                Err(error) => {
                    log::debug!("mongod does not answer yet: {error}");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        };
        let version = field::text(&reply, "version").unwrap_or_default();
        let warnings = versions::warnings(version);
        for warning in &warnings {
            log::warn!("{warning}");
        }
        let done = if warnings.is_empty() {
            Outcome::Unchanged
        } else {
            Outcome::NeedsReview
        };
        Ok(step(
            format!("mongod {version}"),
            done,
            &warnings.join("; "),
        ))
    }

    /// A set of one, which is what change streams, snapshots and AC's connection strings need.
    async fn replica_set(&self) -> Result<Step, Error> {
        let set = &self.settings.replica_set;
        let member = self.member();
        let what = format!("replica set {set} at {member}");
        let config = self.admin.run_command(doc! { "replSetGetConfig": 1 }).await;
        let config = match config {
            Ok(config) => config,
            Err(error) if code(&error) == Some(NOT_YET_INITIALIZED) => {
                if !self.dry_run {
                    let new = doc! { "_id": set, "members": [{ "_id": 0, "host": &member }] };
                    let initiated = self
                        .admin
                        .run_command(doc! { "replSetInitiate": new })
                        .await;
                    // Another process was faster.
                    if let Err(error) = initiated
                        && code(&error) != Some(ALREADY_INITIALIZED)
                    {
                        return Err(Error::database(format!("making {what}"))(error));
                    }
                    self.until_it_takes_writes().await?;
                }
                return Ok(step(what, Outcome::Created, ""));
            }
            Err(error) => return Err(Error::database("reading the replica set")(error)),
        };
        let mut config = field::document(&config, "config")
            .cloned()
            .unwrap_or_default();
        let existing = field::text(&config, "_id").unwrap_or_default();
        if existing != set {
            return Err(Error::Refused(format!(
                "mongod is of the replica set {existing}, and MONGO_REPLICA_SET says {set}: a set cannot be renamed; set MONGO_REPLICA_SET={existing}, and AC's connection strings too"
            )));
        }
        let members = config
            .get_array("members")
            .map(Vec::len)
            .unwrap_or_default();
        let Some(Bson::Document(first)) = config
            .get_array_mut("members")
            .ok()
            .and_then(|members| members.first_mut())
        else {
            return Err(Error::Refused("the replica set has no member".into()));
        };
        let before = field::text(first, "host").unwrap_or_default().to_owned();
        if before == member {
            self.until_it_takes_writes().await?;
            return Ok(step(what, Outcome::Unchanged, ""));
        }
        if members != 1 {
            return Ok(step(
                what,
                Outcome::NeedsReview,
                &format!("it has {members} members, the first of them {before}; change it by hand"),
            ));
        }
        // Under its old name the server may not find itself, and then accepts no writes until its name is changed.
        first.insert("host", &member);
        let version = field::count(&config, "version").unwrap_or_default();
        config.insert("version", i64::try_from(version).unwrap_or_default() + 1);
        if !self.dry_run {
            run(
                self.admin,
                doc! { "replSetReconfig": config, "force": true },
                "giving the replica set its new name",
            )
            .await?;
            self.until_it_takes_writes().await?;
        }
        Ok(step(what, Outcome::Changed, &format!("it was {before}")))
    }

    /// The set's only member.
    fn member(&self) -> String {
        let common = &self.settings.common;
        format!("{}:{}", common.host, common.port)
    }

    async fn until_it_takes_writes(&self) -> Result<(), Error> {
        let began = Instant::now();
        while !server::is_primary(self.admin).await {
            if began.elapsed() > UP_WITHIN {
                let member = self.member();
                return Err(Error::Refused(format!(
                    "mongod does not take writes: the replica set has no primary. It has to reach itself as {member}; look whether that name leads to it from inside its container"
                )));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        Ok(())
    }

    async fn role(&self, name: &str, privileges: &[Document]) -> Result<Step, Error> {
        let what = format!("role {name}");
        let asked = doc! { "rolesInfo": { "role": name, "db": "admin" }, "showPrivileges": true };
        let reply = run(self.admin, asked, "reading Silo's roles").await?;
        let existing = reply
            .get_array("roles")
            .ok()
            .and_then(|roles| roles.first())
            .and_then(Bson::as_document);
        let (verb, done) = match existing {
            None => ("createRole", Outcome::Created),
            Some(existing)
                if same_privileges(
                    existing
                        .get_array("privileges")
                        .map_or(&[][..], Vec::as_slice),
                    privileges,
                ) =>
            {
                return Ok(step(what, Outcome::Unchanged, ""));
            }
            Some(_) => ("updateRole", Outcome::Changed),
        };
        if !self.dry_run {
            let command = doc! { verb: name, "privileges": privileges, "roles": [] };
            run(self.admin, command, &format!("writing the {what}")).await?;
        }
        Ok(step(what, done, ""))
    }

    async fn account(&self, account: &Account, root: &Account) -> Result<Step, Error> {
        let what = format!("account {} in {}", account.name, account.source);
        let at = self.admin.client().database(&account.source);
        let roles = account.job.roles(&self.settings.database);
        let reply = run(
            &at,
            doc! { "usersInfo": { "user": &account.name, "db": &account.source } },
            "reading the accounts",
        )
        .await?;
        let existing = reply
            .get_array("users")
            .ok()
            .and_then(|users| users.first())
            .and_then(Bson::as_document);
        let Some(existing) = existing else {
            if !self.dry_run {
                let create =
                    doc! { "createUser": &account.name, "pwd": &account.password, "roles": &roles };
                run(&at, create, &format!("making the {what}")).await?;
            }
            return Ok(step(what, Outcome::Created, &named(&roles)));
        };
        let mut changes = Vec::new();
        let mut update = doc! { "updateUser": &account.name };
        if roles_of(existing) != roles.iter().map(role_name).collect() {
            update.insert("roles", &roles);
            changes.push(named(&roles));
        }
        if !self.signs_in(account, root).await? {
            update.insert("pwd", &account.password);
            changes.push("password".into());
        }
        if changes.is_empty() {
            return Ok(step(what, Outcome::Unchanged, ""));
        }
        if !self.dry_run {
            run(&at, update, &format!("changing the {what}")).await?;
        }
        Ok(step(what, Outcome::Changed, &changes.join(", ")))
    }

    /// `true` if the account can sign in with its password.
    async fn signs_in(&self, account: &Account, root: &Account) -> Result<bool, Error> {
        let tried = server::admin(account, root)?
            .run_command(doc! { "ping": 1 })
            .await;
        match tried.map_err(|error| DatabaseError::from(&error)) {
            Ok(_) => Ok(true),
            Err(DatabaseError::AuthenticationFailed) => Ok(false),
            Err(error) => Err(Error::Database {
                doing: format!("signing in as {}", account.name),
                error,
            }),
        }
    }

    /// Accounts that are not in the configuration: reported, not changed.
    async fn unlisted_accounts(&self, accounts: &[Account]) -> Result<Vec<Step>, Error> {
        let all = doc! { "usersInfo": { "forAllDBs": true } };
        let reply = run(self.admin, all, "reading the accounts").await?;
        let users = reply
            .get_array("users")
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(Bson::as_document);
        let unlisted_accounts = users.filter_map(|user| {
            let (name, source) = (field::text(user, "user")?, field::text(user, "db")?);
            let known = accounts
                .iter()
                .any(|account| (&*account.name, &*account.source) == (name, source));
            let detail = "not in MONGO_ACCOUNTS; drop it if it is unused";
            (!known).then(|| {
                step(
                    format!("account {name} in {source}"),
                    Outcome::NeedsReview,
                    detail,
                )
            })
        });
        Ok(unlisted_accounts.collect())
    }
}

fn step(what: String, done: Outcome, detail: &str) -> Step {
    Step {
        what,
        done,
        detail: detail.to_owned(),
    }
}

fn role_name(role: &Document) -> (String, String) {
    let text = |key| field::text(role, key).unwrap_or_default().to_owned();
    (text("role"), text("db"))
}

fn roles_of(user: &Document) -> BTreeSet<(String, String)> {
    let roles = user.get_array("roles").map_or(&[][..], Vec::as_slice);
    roles
        .iter()
        .filter_map(Bson::as_document)
        .map(role_name)
        .collect()
}

fn named(roles: &[Document]) -> String {
    let each = roles
        .iter()
        .map(role_name)
        .map(|(role, db)| format!("{role} on {db}"));
    each.collect::<Vec<_>>().join(", ")
}

/// Compares resources and actions in any order.
fn same_privileges(existing: &[Bson], wanted: &[Document]) -> bool {
    let flat = |privilege: &Document| {
        let resource = field::document(privilege, "resource")
            .cloned()
            .unwrap_or_default();
        let resource: BTreeSet<String> = resource
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let actions = privilege
            .get_array("actions")
            .map_or(&[][..], Vec::as_slice);
        let actions: BTreeSet<String> = actions
            .iter()
            .filter_map(Bson::as_str)
            .map(str::to_owned)
            .collect();
        (resource, actions)
    };
    let existing: BTreeSet<_> = existing
        .iter()
        .filter_map(Bson::as_document)
        .map(flat)
        .collect();
    existing == wanted.iter().map(flat).collect()
}
