//! Changes of status: broadcast, kept over a restart, resumable.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;

use crate::stage::{Behaviour, Role, Service, Simulator, Stage, VISIBLE_WITHIN, until_status};

/// A client that listens.
struct Listener {
    answer: Response,
    text: String,
}

impl Listener {
    async fn connect(service: &Service, last: Option<u64>) -> Response {
        let mut request = Client::new().get(format!("{}/api/services/events", service.address));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last.to_string());
        }
        request.send().await.unwrap()
    }

    async fn start(service: &Service, last: Option<u64>) -> Self {
        let answer = Self::connect(service, last).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            answer,
            text: String::new(),
        }
    }

    /// Reads until there is a block like this; `None` at the end of the stream.
    async fn until(&mut self, what: &str) -> Option<String> {
        let read = async {
            loop {
                while let Some((block, rest)) = self.text.split_once("\n\n") {
                    let block = block.to_owned();
                    self.text = rest.to_owned();
                    if block.contains(what) {
                        return Some(block);
                    }
                }
                let chunk = self.answer.chunk().await.ok()??;
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        tokio::time::timeout(VISIBLE_WITHIN, read)
            .await
            .unwrap_or_else(|_| panic!("no {what}: {}", self.text))
    }

    async fn change(&mut self, to: &str) -> Value {
        let block = self.until(&format!("\"to\":\"{to}\"")).await.unwrap();
        assert!(block.contains("event: change\n"), "{block}");
        let data = block
            .lines()
            .find_map(|line| line.strip_prefix("data: "))
            .unwrap();
        let change: Value = serde_json::from_str(data).unwrap();
        assert!(
            block.contains(&format!("id: {}\n", change["id"])),
            "{block}"
        );
        change
    }
}

#[tokio::test]
async fn failures_and_recoveries_are_broadcast_as_they_happen() {
    let oven = Simulator::start(Role::Oven).await.unwrap();
    let stage = Stage::new().probe("oven-2", "oven", &oven.url(), "");
    let service = stage.service().await;
    until_status(&service, "oven-2", "up").await;
    let mut listener = Listener::start(&service, None).await;
    assert!(listener.until("retry:").await.is_some());

    oven.behave(Behaviour::Fail(503));
    let degraded = listener.change("degraded").await;
    assert_eq!(
        (&degraded["from"], &degraded["code"]),
        (&"up".into(), &"status".into())
    );
    let down = listener.change("down").await;
    oven.behave(Behaviour::Normal);
    let up = listener.change("up").await;
    assert_eq!(
        (&up["from"], &up["code"], &up["name"]),
        (&"down".into(), &Value::Null, &"oven-2".into())
    );
    let ids: Vec<_> = [&degraded, &down, &up]
        .map(|change| change["id"].as_u64().unwrap())
        .to_vec();
    assert_eq!(ids, [ids[0], ids[0] + 1, ids[0] + 2]);

    let all = service.data("/api/services/changes").await;
    assert_eq!((&all[0], &all[1], &all[2]), (&up, &down, &degraded));
    let detail = service.data("/api/services/oven-2").await;
    assert_eq!(detail["since"], up["at"]);
    assert_eq!(detail["lastFailures"].as_array().unwrap().len(), 2);
    assert_eq!(
        detail["lastFailures"][0]["detail"],
        "it answered with status 503"
    );
    let percent = detail["uptime"]["last24h"]["percent"].as_f64().unwrap();
    assert!(percent > 0.0 && percent < 100.0, "{detail}");

    // A reconnecting client gets the missed changes, and no others.
    let mut again = Listener::start(&service, Some(ids[0])).await;
    assert_eq!(again.change("down").await["id"], ids[1]);
    assert_eq!(again.change("up").await["id"], ids[2]);
    // An unknown id comes from another history: all known changes, and a gap.
    let mut lost = Listener::start(&service, Some(u64::MAX)).await;
    assert!(lost.until("event: gap").await.is_some());
    assert_eq!(lost.change("up").await["from"], "unknown");
}

#[tokio::test]
async fn a_restart_keeps_history_and_ends_event_streams() {
    let oven = Simulator::start(Role::Oven).await.unwrap();
    oven.behave(Behaviour::Reset);
    let stage = Stage::new().probe("oven-2", "oven", &oven.url(), "");
    let mut service = stage.service().await;
    let before = until_status(&service, "oven-2", "down").await;
    let mut listener = Listener::start(&service, None).await;
    let started = std::time::Instant::now();
    service.process.stop(Duration::from_secs(10)).await.unwrap();
    assert!(listener.until("event: end").await.is_some());
    assert!(
        listener.until("nothing more").await.is_none(),
        "the stream ends"
    );
    assert!(
        started.elapsed() < Duration::from_secs(6),
        "a client that listens does not hold up the end: {:?}",
        started.elapsed()
    );

    let service = stage.service().await;
    let after = until_status(&service, "oven-2", "down").await;
    assert_eq!(
        after["since"], before["since"],
        "it is down since then, and not since the restart"
    );
    assert_eq!(after["changes"], before["changes"]);
    assert!(
        after["uptime"]["last24h"]["checks"].as_u64()
            > before["uptime"]["last24h"]["checks"].as_u64()
    );

    // Killed: the next process goes on with what was written.
    let mut service = service;
    service.process.kill().await.unwrap();
    oven.behave(Behaviour::Normal);
    let service = stage.service().await;
    let up = until_status(&service, "oven-2", "up").await;
    assert_eq!(up["changes"][0]["from"], "down");
    assert_eq!(
        up["changes"].as_array().unwrap().len(),
        after["changes"].as_array().unwrap().len() + 1
    );
}

#[tokio::test]
async fn no_more_than_fifty_listen() {
    let service = Stage::new().service().await;
    let mut listening = Vec::new();
    for _ in 0..50 {
        listening.push(Listener::start(&service, None).await);
    }
    let refused = Listener::connect(&service, None).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "too_many_clients");
    // A heartbeat finds out who has left.
    listening.truncate(10);
    let free = silo_testkit::wait::wait_for(VISIBLE_WITHIN, || async {
        (Listener::connect(&service, None).await.status() == 200).then_some(())
    });
    assert!(free.await.is_some(), "somebody who leaves makes room");
    let first = listening.first_mut().unwrap();
    assert!(
        first.until(": beat").await.is_some(),
        "one hears something also when nothing happens"
    );
}
