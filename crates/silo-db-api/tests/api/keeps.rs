//! `/api/kidlisp/stats`, compared with how the pieces were made.

use std::collections::BTreeMap;

use crate::service::{demo_server, documents, start};

#[tokio::test]
async fn keeps_are_counted_by_format_status_and_network() {
    let (server, demo) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let data = service.data("/api/kidlisp/stats").await;
    let truth = demo.keeps();
    for (field, wanted) in [
        ("kept", truth.kept),
        ("pending", truth.pending),
        ("failed", truth.failed),
        ("bakedNotKept", truth.baked),
        ("rebakePending", truth.rebake),
        ("total", documents(&demo, "kidlisp").len()),
    ] {
        assert_eq!(data[field], wanted as u64, "{field} in {data}");
    }
    let found: BTreeMap<Option<&str>, usize> = data["byNetwork"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["network"].as_str(),
                row["tokens"].as_u64().unwrap() as usize,
            )
        })
        .collect();
    assert_eq!(found, truth.by_network, "an unknown network is under null");
    let by_contract = data["byContract"].as_array().unwrap();
    let tokens: u64 = by_contract
        .iter()
        .map(|row| row["tokens"].as_u64().unwrap())
        .sum();
    assert_eq!(data["tokens"], tokens);
}

#[tokio::test]
async fn the_most_played_and_the_newest_come_first() {
    let (server, demo) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    let data = service.data("/api/kidlisp/stats").await;
    let pieces = documents(&demo, "kidlisp");
    let mut hits: Vec<_> = pieces
        .iter()
        .map(|piece| piece.get_i32("hits").unwrap() as u64)
        .collect();
    hits.sort_by(|a, b| b.cmp(a));
    let found: Vec<_> = data["topByHits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["hits"].as_u64().unwrap())
        .collect();
    assert_eq!(found, hits[..found.len()]);
    assert_eq!(found.len(), 20);

    let times: Vec<_> = data["recent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["keptAt"].as_str().unwrap().to_owned())
        .collect();
    let mut sorted = times.clone();
    sorted.sort_by(|a, b| b.cmp(a));
    assert_eq!(times, sorted);
    assert!(times.len() >= 5, "{times:?}");

    let since = jiff::Timestamp::now().as_millisecond() - 30 * 86_400_000;
    let new = pieces
        .iter()
        .filter(|piece| piece.get_datetime("when").unwrap().timestamp_millis() >= since)
        .count();
    assert_eq!(data["new"]["last30Days"], new as u64);
}
