//! The replica set a server belongs to, from `replSetGetStatus`.

use jiff::Timestamp;
use serde::Serialize;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Bson, Document, doc};
use utoipa::ToSchema;

use super::Gateway;

/// `NoReplicationEnabled`: the server was started without a replica set.
const STANDALONE: i32 = 76;
/// `InvalidReplicaSetConfig`: the configuration of the set does not contain this server.
const REMOVED: i32 = 93;
/// `NotYetInitialized`: the set was not initiated.
const NOT_INITIATED: i32 = 94;

/// The replica set a server belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSet {
    /// Name of the replica set; `null` for a server that was removed from it or never added.
    pub name: Option<String>,
    /// State of this server, as mongod names it, in lower case: `primary`, `secondary`, `recovering`, `startup2`, `rollback`, `removed`...;
    /// `uninitiated` before the set was initiated.
    pub state: String,
    /// `true` if this server sees a primary; `null` when it is not a member.
    pub has_primary: Option<bool>,
    /// Members of the set; empty when this server is not one of them.
    pub members: Vec<Member>,
}

/// A member of a replica set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Host and port.
    pub name: String,
    /// State, as mongod names it, in lower case.
    pub state: String,
    /// `false` if it does not answer this server's heartbeats.
    pub healthy: bool,
    /// `true` for the server that reports this.
    pub is_self: bool,
    /// Seconds its newest operation is behind the primary's; `null` without a primary, or for a member that holds no data.
    pub lag_seconds: Option<u64>,
}

impl Gateway {
    /// Reads the state of the replica set; `None` for a standalone server.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn replica_set(&self) -> Result<Option<ReplicaSet>, DatabaseError> {
        let not_a_member = |state: &str| {
            Ok(Some(ReplicaSet {
                name: None,
                state: state.into(),
                has_primary: None,
                members: Vec::new(),
            }))
        };
        match self.admin(doc! { "replSetGetStatus": 1 }).await {
            Ok(status) => read_status(&status)
                .map(Some)
                .ok_or(DatabaseError::Unreadable),
            Err(DatabaseError::Refused(STANDALONE)) => Ok(None),
            Err(DatabaseError::Refused(REMOVED)) => not_a_member("removed"),
            Err(DatabaseError::Refused(NOT_INITIATED)) => not_a_member("uninitiated"),
            Err(error) => Err(error),
        }
    }
}

fn read_status(status: &Document) -> Option<ReplicaSet> {
    let rows = status.get_array("members").ok()?;
    let rows = rows.iter().filter_map(Bson::as_document);
    let newest = |member: &Document| {
        let time = field::time(member, "optimeDate")?;
        // Members without data, such as arbiters, have no time or the earliest one.
        (time > Timestamp::UNIX_EPOCH).then_some(time)
    };
    let state = |member: &Document| field::text(member, "stateStr").map(str::to_lowercase);
    let is_primary = |member: &&Document| field::text(member, "stateStr") == Some("PRIMARY");
    let primary = rows.clone().find(is_primary);
    let newest_of_primary = primary.and_then(newest);
    let members = rows.map(|member| {
        let lag = newest_of_primary
            .zip(newest(member))
            .map(|(primary, own)| primary.duration_since(own).as_secs().max(0));
        Some(Member {
            name: field::text(member, "name")?.to_owned(),
            // The text of a member that does not answer is a sentence.
            state: match field::number(member, "health") {
                Some(health) if health < 1.0 => "down".into(),
                _ => state(member)?,
            },
            healthy: field::number(member, "health") != Some(0.0),
            is_self: field::flag(member, "self") == Some(true),
            lag_seconds: lag.and_then(silo_core::units::count_from_i64),
        })
    });
    let members = members.collect::<Option<Vec<_>>>()?;
    let own = members.iter().find(|member| member.is_self)?;
    Some(ReplicaSet {
        name: field::text(status, "set").map(str::to_owned),
        state: own.state.clone(),
        has_primary: Some(primary.is_some()),
        members: members.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_of_a_member_is_counted_from_the_primary() {
        let at = |seconds| field::date(Timestamp::from_second(seconds).unwrap());
        let members = vec![
            doc! { "name": "a:1", "health": 1.0, "stateStr": "PRIMARY", "optimeDate": at(100) },
            doc! { "name": "b:1", "health": 1.0, "stateStr": "SECONDARY", "optimeDate": at(88), "self": true },
            doc! { "name": "c:1", "health": 1.0, "stateStr": "ARBITER" },
            doc! { "name": "d:1", "health": 0.0, "stateStr": "(not reachable/healthy)", "optimeDate": at(0) },
        ];
        let set = read_status(&doc! { "set": "rs0", "members": members }).unwrap();
        assert_eq!(
            (set.state.as_str(), set.has_primary),
            ("secondary", Some(true))
        );
        let lags: Vec<_> = set
            .members
            .iter()
            .map(|member| member.lag_seconds)
            .collect();
        assert_eq!(lags, [Some(0), Some(12), None, None]);
        assert_eq!(
            (set.members[3].state.as_str(), set.members[3].healthy),
            ("down", false)
        );
    }
}
