//! Alarms: sent to a webhook, repeated until acknowledged, ended; and kept over a restart.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use silo_testkit::wait::wait_for;

use crate::stage::{
    Behaviour, Reply, Role, Service, Simulator, Stage, VISIBLE_WITHIN, until_status,
};

const ALARMS: &str = "/api/services/alarms";

/// Bodies that the webhook got: code and state of each.
fn sent(webhook: &Simulator) -> Vec<(String, String)> {
    let bodies = webhook.received().into_iter();
    let bodies = bodies.map(|request| serde_json::from_str::<Value>(&request.body).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    bodies
        .map(|body| (text(&body["code"]), text(&body["state"])))
        .collect()
}

async fn until_sent(webhook: &Simulator, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(code, state)| ((*code).to_owned(), (*state).to_owned()))
        .collect();
    let arrived = wait_for(VISIBLE_WITHIN, || async {
        (sent(webhook) == wanted).then_some(())
    });
    let arrived = arrived.await;
    assert!(arrived.is_some(), "{:?} is not {wanted:?}", sent(webhook));
}

async fn acknowledge(service: &Service, code: &str, operator: Option<&str>) -> Reply {
    let path = format!("{ALARMS}/{code}/acknowledge");
    service
        .send(Method::POST, &path, |request| match operator {
            Some(operator) => request.header("X-Silo-Operator", operator),
            None => request,
        })
        .await
}

#[tokio::test]
async fn an_alarm_is_sent_acknowledged_kept_over_a_restart_and_its_end_is_sent() {
    let feed = Simulator::start(Role::Http).await.unwrap();
    let webhook = Simulator::start(Role::Http).await.unwrap();
    let stage = Stage::new().probe("feed", "http", &feed.url(), "").with(
        "ALERT_WEBHOOK_URL",
        &format!("{}/hook-secret", webhook.url()),
    );
    // The overview needs somebody that answers.
    let db_api = Simulator::start(Role::Http).await.unwrap();
    db_api.behave(Behaviour::silo_service(&json!({ "status": "up" })));
    let stage = stage.with("DB_API_URL", &db_api.url());
    let mut service = stage.service().await;
    until_status(&service, "feed", "up").await;
    let none = service.data(ALARMS).await;
    assert_eq!(
        (&none["alarms"], &none["setUp"]),
        (&json!([]), &json!(true))
    );

    feed.behave(Behaviour::Fail(500));
    let alarm = ("service_down.feed", "alarm");
    until_sent(&webhook, &[alarm]).await;
    let [body] = &webhook.received()[..] else {
        panic!("{:?}", webhook.received());
    };
    assert_eq!(body.line, "POST /hook-secret");
    assert!(
        body.body
            .contains("feed is down: it answered with status 500")
    );
    // Noted after the webhook has answered.
    let noted = wait_for(VISIBLE_WITHIN, || async {
        let open = service.data(ALARMS).await["alarms"][0].clone();
        open["sent"].is_string().then_some(open)
    });
    let open = noted.await.unwrap();
    assert_eq!(open["code"], "service_down.feed", "{open}");
    assert!(open["acknowledged"].is_null());

    let stranger = acknowledge(&service, "service_down.feed", None).await;
    assert_eq!(stranger.status, 403, "{stranger:#?}");
    let unknown = acknowledge(&service, "service_down.other", Some("jane")).await;
    assert_eq!(unknown.json()["code"], "unknown_alarm");
    let known = acknowledge(&service, "service_down.feed", Some("jane")).await;
    assert_eq!(known.json()["acknowledged"]["by"], "jane", "{known:#?}");

    // The next process knows that it was sent, and by whom it was acknowledged.
    service.process.stop(Duration::from_secs(8)).await.unwrap();
    let service = stage.service().await;
    until_status(&service, "feed", "down").await;
    let open = service.data(ALARMS).await["alarms"][0].clone();
    assert_eq!(open["acknowledged"]["by"], "jane", "{open}");
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains("silo_alarms_open 1"), "{metrics}");
    feed.behave(Behaviour::Normal);
    let ended = ("service_down.feed", "recovered");
    until_sent(&webhook, &[alarm, ended]).await;
    let none = wait_for(VISIBLE_WITHIN, || async {
        (service.data(ALARMS).await["alarms"] == json!([])).then_some(())
    });
    assert!(none.await.is_some());
    assert!(!service.log().contains("hook-secret"), "{}", service.log());
}

#[tokio::test]
async fn a_webhook_that_fails_is_shown_and_the_dead_man_s_switch_says_so() {
    let webhook = Simulator::start(Role::Http).await.unwrap();
    webhook.behave(Behaviour::Fail(500));
    let switch = Simulator::start(Role::Http).await.unwrap();
    let db_api = Simulator::start(Role::Http).await.unwrap();
    db_api.behave(Behaviour::silo_service(&json!({ "status": "down" })));
    let feed = Simulator::start(Role::Http).await.unwrap();
    let service = Stage::new()
        .probe("feed", "http", &feed.url(), "")
        .with("DB_API_URL", &db_api.url())
        .with("ALERT_WEBHOOK_URL", &webhook.url())
        .with("ALERT_PING_URL", &format!("{}/switch", switch.url()))
        .service()
        .await;
    let failed =
        |reply: &Reply| reply.json_or_null()["data"]["failedDelivery"]["receiver"] == "webhook";
    let answer = service.until(VISIBLE_WITHIN, ALARMS, failed).await.json();
    let data = &answer["data"];
    assert_eq!(data["alarms"][0]["code"], "mongod_down", "{data}");
    assert!(data["alarms"][0]["sent"].is_null(), "{data}");
    let error = data["failedDelivery"]["error"].as_str().unwrap();
    assert!(error.contains("status 500"), "{error}");
    let pinged = wait_for(VISIBLE_WITHIN, || async {
        switch
            .received()
            .first()
            .map(|request| request.line.clone())
    });
    let line = pinged.await.unwrap();
    assert!(line.starts_with("POST /switch"), "{line}");
}
