use super::*;
use crate::gateway::Connections;

fn status(insert: u64, uptime_ms: u64) -> Status {
    Status {
        opcounters: Some(Opcounters {
            insert,
            ..Opcounters::default()
        }),
        uptime_ms: Some(uptime_ms),
        ..Status::default()
    }
}

#[test]
fn a_rate_needs_two_looks_at_the_same_run_of_the_server() {
    let mut memory = Memory::default();
    let every = Duration::from_secs(2);
    assert_eq!(
        describe(status(100, 10_000), &mut memory, every).per_second,
        None
    );
    assert_eq!(
        describe(status(150, 12_000), &mut memory, every)
            .per_second
            .unwrap()
            .insert,
        25.0
    );
    let restarted = describe(status(3, 500), &mut memory, every);
    assert_eq!(
        restarted.per_second, None,
        "counters that went back are no rate"
    );
    assert_eq!(
        restarted.recent_operations_per_second,
        [None, Some(25.0), None]
    );
}

#[test]
fn a_ratio_without_writes_is_unknown() {
    assert_eq!(
        read_write_ratio(&Opcounters {
            query: 5,
            ..Opcounters::default()
        }),
        None
    );
    assert_eq!(
        read_write_ratio(&Opcounters {
            query: 17,
            update: 3,
            ..Opcounters::default()
        }),
        Some(5.67)
    );
}

#[test]
fn a_server_near_its_connection_limit_is_degraded() {
    let connections = |current, available| Connections {
        current: Some(current),
        available: Some(available),
        total_created: None,
    };
    let crowded = Status {
        connections: connections(95, 5),
        ..Status::default()
    };
    assert_eq!(notes(&crowded).len(), 1);
    let roomy = Status {
        connections: connections(5, 95),
        ..Status::default()
    };
    assert!(notes(&roomy).is_empty());
}
