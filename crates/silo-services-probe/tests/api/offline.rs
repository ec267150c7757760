//! When the prober itself is offline, nothing is called down.

use std::net::SocketAddr;

use serde_json::json;
use tokio::net::TcpListener;

use crate::stage::{Behaviour, Role, Simulator, Stage, VISIBLE_WITHIN, until_status};

#[tokio::test]
async fn nothing_is_called_down_while_the_prober_is_not_connected() {
    let (feed, help) = (
        Simulator::start(Role::Http).await.unwrap(),
        Simulator::start(Role::Http).await.unwrap(),
    );
    let reachable = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = reachable.local_addr().unwrap();
    let stage = Stage::new()
        .probe("feed", "http", &feed.url(), "timeout_ms = 500")
        .probe("help", "http", &help.url(), "")
        .with("CONNECTIVITY_CHECK", &address.to_string());
    let service = stage.service().await;
    until_status(&service, "feed", "up").await;
    until_status(&service, "help", "up").await;

    drop(reachable);
    feed.behave(Behaviour::Hang);
    let all = service
        .until(VISIBLE_WITHIN, "/api/services", |reply| {
            reply.json_or_null()["data"]["unknown"] == 2
        })
        .await
        .ok();
    assert_eq!(
        (&all["data"]["connected"], &all["data"]["down"]),
        (&json!(false), &json!(0))
    );
    assert_eq!(
        (&all["meta"]["state"], &all["meta"]["errors"][0]["code"]),
        (&json!("partial"), &json!("prober_offline"))
    );
    let asked = help.requests();
    let help_then = service.data("/api/services/help").await;
    assert_eq!(help_then["reasons"][0]["code"], "prober_offline");
    assert_eq!(help_then["changes"][0]["to"], "unknown");
    assert_eq!(help_then["uptime"]["last24h"]["percent"], 100.0);
    assert!(help_then["uptime"]["last24h"]["checks"].as_u64() >= Some(1));
    let badge = service.get("/api/services/help/badge.svg").await;
    assert!(badge.text.contains("? unknown"), "{}", badge.text);

    // Online again, on the same port: all services are checked at once.
    let _reachable = TcpListener::bind(address).await.unwrap();
    feed.behave(Behaviour::Normal);
    let feed_now = until_status(&service, "feed", "up").await;
    until_status(&service, "help", "up").await;
    assert!(help.requests() > asked);
    let states: Vec<_> = feed_now["changes"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|change| change["to"].clone())
        .collect();
    assert!(!states.contains(&json!("down")), "{states:?}");
    assert_eq!(
        feed_now["uptime"]["last24h"]["percent"], 100.0,
        "time that is not known counts neither way"
    );
}
