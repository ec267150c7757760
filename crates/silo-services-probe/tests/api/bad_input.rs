//! Bad requests get a problem document, and cannot make the service probe anything else.

use reqwest::Method;
use serde_json::Value;

use crate::stage::{Role, Simulator, Stage, until_status};

#[tokio::test]
async fn unknown_and_out_of_range_input_is_a_problem() {
    let simulator = Simulator::start(Role::Http).await.unwrap();
    let service = Stage::new()
        .probe("feed", "http", &simulator.url(), "")
        .service()
        .await;
    until_status(&service, "feed", "up").await;
    let long = "x".repeat(300);
    for (path, status, code) in [
        ("/api/services/nobody", 404, "unknown_service"),
        ("/api/services/nobody/history", 404, "unknown_service"),
        ("/api/services/nobody/badge.svg", 404, "unknown_service"),
        ("/api/services/%3Cscript%3E", 404, "unknown_service"),
        ("/api/services/feed/history?range=1y", 422, "out_of_range"),
        ("/api/services/feed/history?range=", 422, "out_of_range"),
        ("/api/services/feed/history?from=1", 422, "out_of_range"),
        ("/api/services/feed/nothing", 404, "not_found"),
        ("/api/services/%ff", 400, "malformed_encoding"),
        (&format!("/api/services/{long}"), 422, "id_too_long"),
    ] {
        let reply = service.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["code"].as_str()),
            (status, Some(code)),
            "{path}"
        );
        assert_eq!(
            reply.header("content-type"),
            "application/problem+json",
            "{path}"
        );
    }
    for path in [
        "/api/services",
        "/api/services/feed",
        "/api/overview",
        "/api/services/events",
    ] {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let reply = service.send(method, path, |request| request).await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("allow")),
                (405, "GET, HEAD"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn no_request_can_name_a_target() {
    let inside = Simulator::start(Role::Http).await.unwrap();
    let service = Stage::new().service().await;
    let url = inside.url();
    let encoded = url.replace(':', "%3A").replace('/', "%2F");
    for path in [
        format!("/api/services?url={url}"),
        format!("/api/services?target={encoded}"),
        format!("/api/services/{encoded}"),
        format!("/api/services/{encoded}/history?url={url}"),
        format!("/api/services/{encoded}/badge.svg"),
        format!("/api/overview?url={url}"),
        format!("/probe?target={url}&module=http_2xx"),
    ] {
        service.get(&path).await;
    }
    assert_eq!(inside.requests(), 0);
    let description = service.get("/api/services/openapi.json").await.json();
    let text = description.to_string();
    let parameters: Vec<&Value> = description["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path["get"]["parameters"].as_array().into_iter().flatten())
        .collect();
    let names: Vec<_> = parameters
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert!(
        names
            .iter()
            .all(|name| ["name", "range", "Last-Event-ID"].contains(name)),
        "{names:?}: {text}"
    );
}
