//! Problems of a server that answers, one sentence each.

use silo_core::units::share;

use crate::gateway::{ReplicaSet, Status};

/// Above this share of connections in use the server is degraded.
const MAX_CONNECTION_SHARE: f64 = 0.9;

/// The problems. `status` is `None` if the account may not read it.
pub(super) fn notes(status: Option<&Status>, replica_set: Option<&ReplicaSet>) -> Vec<String> {
    let without_status = || {
        let note = "the account lacks the role clusterMonitor, so the server's status is unknown";
        Some(note.to_owned())
    };
    let connections = status.map_or_else(without_status, few_connections);
    let membership = replica_set.and_then(membership);
    let lagging = replica_set.into_iter().flat_map(unhealthy_members);
    connections
        .into_iter()
        .chain(membership)
        .chain(lagging)
        .collect()
}

fn few_connections(status: &Status) -> Option<String> {
    let (current, available) = status
        .connections
        .current
        .zip(status.connections.available)?;
    let used = share(current, current.saturating_add(available))?;
    (used > MAX_CONNECTION_SHARE)
        .then(|| format!("{current} connections are open and only {available} more are possible"))
}

fn membership(set: &ReplicaSet) -> Option<String> {
    let name = set.name.as_deref().unwrap_or("its replica set");
    Some(match set.state.as_str() {
        "primary" => return None,
        "removed" => {
            "the server was removed from its replica set, or is configured there under another address: it answers no reads and no writes".into()
        }
        "uninitiated" => "the replica set was not initiated (rs.initiate())".into(),
        "secondary" if set.has_primary == Some(true) => return None,
        "secondary" => format!("{name} has no primary: reads are answered, writes are not"),
        state => format!("the server is in state {state} of {name}, and answers no reads and no writes"),
    })
}

fn unhealthy_members(set: &ReplicaSet) -> impl Iterator<Item = String> {
    let unhealthy = set.members.iter().filter(|member| !member.healthy);
    unhealthy.map(|member| format!("member {} does not answer", member.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Connections;

    #[test]
    fn a_server_near_its_connection_limit_is_degraded() {
        let crowded = |current, available| {
            let connections = Connections {
                current: Some(current),
                available: Some(available),
                total_created: None,
            };
            let status = Status {
                connections,
                ..Status::default()
            };
            !notes(Some(&status), None).is_empty()
        };
        assert!(crowded(95, 5));
        assert!(crowded(200, 0));
        assert!(!crowded(5, 95));
    }

    #[test]
    fn a_secondary_is_fine_only_beside_a_primary() {
        let note = |state: &str, has_primary| {
            let set = ReplicaSet {
                name: Some("rs0".into()),
                state: state.into(),
                has_primary,
                members: Vec::new(),
            };
            notes(Some(&Status::default()), Some(&set)).join(";")
        };
        assert_eq!(note("primary", Some(true)), "");
        assert_eq!(note("secondary", Some(true)), "");
        assert!(note("secondary", Some(false)).contains("no primary"));
        assert!(note("rollback", Some(false)).contains("state rollback of rs0"));
        assert!(note("removed", None).contains("removed"));
    }
}
