//! Checks after the cut-over: every expected client is connected to Silo and none is left on the old cluster; and what must be true before the old cluster
//! is given up.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::Database;
use silo_mongo::mongodb::bson::doc;

use crate::error::Error;

/// Time limit of a request to Silo's services.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Beginning of the driver name with which members of a replica set connect to each other and to themselves.
const INTERNAL: &str = "NetworkInterfaceTL";

/// Beginnings of the names of Atlas's own clients, followed by their version.
const AGENTS: [&str; 3] = [
    "MongoDB Automation Agent",
    "MongoDB Monitoring Module",
    "MongoDB Backup Module",
];

/// State of a cut-over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CutoverState {
    /// Expected clients that are not connected to Silo.
    pub missing: Vec<String>,
    /// Names of clients that are connected to the old cluster.
    pub left_behind: Vec<String>,
    /// Reasons why this is not known: silo-db-api does not answer or has an old measurement, or the clients of the old cluster cannot be listed.
    pub unknown: Vec<String>,
}

impl CutoverState {
    /// `true` when every expected client is connected to Silo, and none to the old cluster.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.missing.is_empty() && self.left_behind.is_empty() && self.unknown.is_empty()
    }
}

/// Reads the state once. `api` is the address of silo-db-api.
///
/// # Errors
/// When silo-db-api expects no clients: then nothing would ever be missing.
pub async fn state(api: &str, old: Option<&Database>) -> Result<CutoverState, Error> {
    let mut state = CutoverState::default();
    match measured(api, "/api/db/clients").await {
        Ok(data) => {
            let expected = data["expected"].as_array().cloned().unwrap_or_default();
            if expected.is_empty() {
                return Err(Error::Refused(
                    "silo-db-api expects no clients: name AC's services in silo.toml ([[clients]]) first".into(),
                ));
            }
            let missing = expected.iter().filter(|client| client["state"] != "seen");
            let name = |client: &Value| client["name"].as_str().unwrap_or_default().to_owned();
            state.missing = missing.map(name).collect();
        }
        Err(reason) => state.unknown.push(reason),
    }
    if let Some(old) = old {
        match clients(old).await {
            Ok(clients) => state.left_behind = clients.into_iter().collect(),
            Err(error) => state.unknown.push(format!(
                "the clients of the old cluster cannot be listed: {}",
                error.detail()
            )),
        }
    }
    Ok(state)
}

/// Names of the clients of a server, without this program and the server's own.
async fn clients(old: &Database) -> Result<BTreeSet<String>, DatabaseError> {
    let pipeline = [doc! { "$currentOp": { "allUsers": true, "idleConnections": true } }];
    let mut operations = old.client().database("admin").aggregate(pipeline).await?;
    let mut names = BTreeSet::new();
    while let Some(operation) = operations.try_next().await? {
        // Operations without a client are the server's own.
        let Some(client) = field::text(&operation, "client") else {
            continue;
        };
        let name = field::text(&operation, "appName").filter(|name| !name.is_empty());
        let driver = field::text(&operation, "clientMetadata.driver.name").unwrap_or("no driver");
        if driver.starts_with(INTERNAL) {
            continue;
        }
        let address = client
            .rsplit_once(':')
            .map_or(client, |(address, _)| address);
        match name {
            // This program, and silo-db-api's comparison.
            Some(name) if name.starts_with("silo-") => {}
            Some(name) if AGENTS.iter().any(|agent| name.starts_with(agent)) => {}
            Some(name) => drop(names.insert(name.to_owned())),
            None => drop(names.insert(format!("a client without appName ({driver}, {address})"))),
        }
    }
    Ok(names)
}

/// A condition for giving up the old cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Condition.
    pub name: &'static str,
    /// `true` if it holds.
    pub holds: bool,
    /// Observation.
    pub detail: String,
}

/// Checks silo-backup: the newest backup is drilled, and so many nights in a row have a good backup.
///
/// # Errors
/// When silo-backup does not answer, or its answer is old.
pub async fn backups(api: &str, nights: u32, now: Timestamp) -> Result<Vec<Condition>, Error> {
    let data = measured(api, "/api/backup/status").await;
    let data = data.map_err(Error::Refused)?;
    let drilled =
        data["lastDrill"]["good"] == true && data["lastDrill"]["id"] == data["lastGood"]["id"];
    let drill = Condition {
        name: "the last good backup was drilled",
        holds: drilled,
        detail: match data["lastGood"]["id"].as_str() {
            Some(id) => format!(
                "last good backup {id}, last drill {}",
                data["lastDrill"]["id"]
            ),
            None => "there is no good backup".into(),
        },
    };
    let list = measured(api, "/api/backup/backups?limit=500").await;
    let list = list.map_err(Error::Refused)?;
    let days: BTreeSet<Date> = list["backups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|backup| backup["good"] == true)
        .filter_map(|backup| backup["asOf"].as_str()?.parse::<Timestamp>().ok())
        .map(day)
        .collect();
    let good = (0..nights)
        .take_while(|back| {
            days.contains(&day(now - SignedDuration::from_hours(24 * i64::from(*back))))
        })
        .count();
    let good = u32::try_from(good).unwrap_or(u32::MAX);
    Ok(vec![
        drill,
        Condition {
            name: "every night has a good backup",
            holds: good >= nights,
            detail: format!("{good} of {nights} nights up to today"),
        },
    ])
}

fn day(time: Timestamp) -> Date {
    time.to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// Data of an answer of one of Silo's services; the reason if there is none, or if it is not of now.
async fn measured(api: &str, path: &str) -> Result<Value, String> {
    let url = format!("{}{path}", api.trim_end_matches('/'));
    let answer = get(&url).await;
    let mut answer = answer.map_err(|error| format!("{url}: {}", error.without_url()))?;
    match answer["meta"]["state"].as_str() {
        Some("fresh") => Ok(answer["data"].take()),
        other => Err(format!(
            "{url}: the measurement is {} (of {})",
            other.unwrap_or("unknown"),
            answer["meta"]["asOf"].as_str().unwrap_or("an unknown time")
        )),
    }
}

async fn get(url: &str) -> reqwest::Result<Value> {
    let client = reqwest::Client::builder().timeout(TIME_LIMIT).build()?;
    client
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await
}
