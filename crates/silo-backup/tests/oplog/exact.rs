//! Documents: random changes of every kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use silo_testkit::workloads::workloads;

use crate::random::Random;
use crate::server::Server;

/// Changes between two backups.
const CHANGES: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn random_changes_applied_to_a_backup_give_the_next_backup() {
    let server = Arc::new(Server::new().await);
    for seed in 0..workloads(6) {
        let base = server.base().await;
        let mut random = Random::new(seed);
        for _ in 0..CHANGES {
            server.command(random.command()).await;
        }
        let next = server.base().await;
        let documents: u64 = next
            .collections
            .iter()
            .map(|facts| facts.sums.documents)
            .sum();
        assert!(documents > 20, "{documents} documents");
        server
            .assert_same(&base, &next, &format!("seed {seed}"))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_made_beside_writers_have_an_exact_position() {
    let server = Arc::new(Server::new().await);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|seed| {
            let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut random = Random::new(1000 + seed);
                while !stop.load(Ordering::Relaxed) {
                    server.command(random.command()).await;
                }
            })
        })
        .collect();
    let mut base = server.base().await;
    for round in 0..12 {
        let next = server.base().await;
        server
            .assert_same(&base, &next, &format!("round {round}"))
            .await;
        base = next;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}
