//! A service over time, and badges.

use crate::stage::{Behaviour, Role, Simulator, Stage, refusing_url, until_status};

#[tokio::test]
async fn a_period_has_all_points_and_unchecked_ones_are_unknown() {
    let simulator = Simulator::start(Role::Http).await.unwrap();
    let service = Stage::new()
        .probe("feed", "http", &simulator.url(), "")
        .service()
        .await;
    until_status(&service, "feed", "up").await;
    for (range, step, count) in [
        ("1h", 60, 60),
        ("24h", 900, 96),
        ("48h", 1800, 96),
        ("7d", 3600, 168),
        ("30d", 14_400, 180),
        ("90d", 43_200, 180),
    ] {
        let history = service
            .data(&format!("/api/services/feed/history?range={range}"))
            .await;
        assert_eq!(
            (history["stepSeconds"].as_u64(), history["range"].as_str()),
            (Some(step), Some(range))
        );
        let points = history["points"].as_array().unwrap();
        assert_eq!(points.len(), count, "{range}");
        let known = points.iter().filter(|point| point["status"] != "unknown");
        assert!((1..=2).contains(&known.count()), "{range}: {points:?}");
        assert!(
            points[..count - 2]
                .iter()
                .all(|point| point["responseMs"].is_null() && point["checks"] == 0),
            "{range}"
        );
    }
    let usual = service.data("/api/services/feed/history").await;
    assert_eq!(usual["range"], "24h");
}

#[tokio::test]
async fn a_badge_shows_the_status_of_a_service() {
    let simulator = Simulator::start(Role::Http).await.unwrap();
    let service = Stage::new()
        .probe("feed", "http", &simulator.url(), "")
        .probe("gone", "http", &refusing_url(), "")
        .service()
        .await;
    until_status(&service, "gone", "down").await;
    let badge = service.get("/api/services/gone/badge.svg").await;
    assert_eq!(
        (badge.status.as_u16(), badge.header("content-type")),
        (200, "image/svg+xml")
    );
    assert!(
        badge.text.contains("gone: down") && badge.text.contains("▲ down"),
        "{}",
        badge.text
    );
    let badge = service.get("/api/services/feed/badge.svg").await;
    assert!(badge.text.contains("● up"), "{}", badge.text);
    simulator.behave(Behaviour::Fail(500));
    until_status(&service, "feed", "degraded").await;
    let badge = service.get("/api/services/feed/badge.svg").await;
    assert!(badge.text.contains("◐ degraded"), "{}", badge.text);
}
