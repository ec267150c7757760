//! All answers, of a server that is reached as on the droplet: over TLS, with an account that signs in with SCRAM.

use std::time::Duration;

use silo_testkit::mongo::Setup;

use crate::collections::{generated, row};
use crate::service::{DATABASE, MEASURED, Reply, documents, fill, start};

#[tokio::test]
async fn every_path_is_fresh_and_right_over_tls_for_the_administrator_and_the_reader() {
    let setup = Setup::default().accounts(DATABASE).tls();
    let server = setup.start().await.unwrap();
    let demo = fill(&server).await;
    for uri in [server.uri(), server.reader_uri()] {
        assert!(uri.contains("tls=true"), "{uri}");
        let service = start(&uri).await;
        let within = Duration::from_secs(15);
        for path in MEASURED.into_iter().chain(["/api/db/health"]) {
            let fresh = |reply: &Reply| reply.status == 200 && reply.state() == "fresh";
            service.until(within, path, fresh).await;
        }
        let data = service.data("/api/db/collections").await;
        for (name, (count, bytes)) in generated(&demo) {
            let row = row(&data, name);
            assert_eq!(
                (&row["documents"], &row["dataBytes"]),
                (&count.into(), &bytes.into()),
                "{name}"
            );
            assert!(row["indexBytes"].as_u64() > Some(0), "{name}");
        }
        let keeps = service.data("/api/kidlisp/stats").await;
        assert_eq!(keeps["kept"], demo.keeps().kept as u64);
        let users = service.data("/api/db/users/count").await;
        // The guest account, which all visitors share, is not counted.
        assert_eq!(users["users"], documents(&demo, "users").len() as u64 - 1);
        let health = service.data("/api/db/health").await;
        for path in [
            "/cache/maxBytes",
            "/cache/usedBytes",
            "/residentBytes",
            "/connections/current",
            "/opcounters/insert",
        ] {
            let value = health.pointer(path).and_then(serde_json::Value::as_u64);
            assert!(value > Some(0), "{path}: {health}");
        }
        let access = service.data("/api/db/access").await;
        // The second process cannot tell the first one's change stream from those of others.
        assert_ne!(access["changeStreams"]["inUse"], true, "{access}");
    }
}
