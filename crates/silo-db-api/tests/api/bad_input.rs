//! Bad requests get a problem document and are not logged as errors.

use reqwest::Method;

use crate::service::{demo_server, start};

#[tokio::test]
async fn bad_input_is_a_problem_with_the_expected_input() {
    let (server, _) = demo_server().await;
    let service = start(&server.reader_uri()).await;
    service.get("/api/db/collections").await.ok();
    service.get("/api/db/access").await.ok();
    let started = service.log().len();
    let (long, many) = ("x".repeat(10_240), "a,".repeat(501));
    let cases: Vec<(String, u16, &str, &str)> = vec![
        (
            "/api/db/collections/nobody-has-it".into(),
            404,
            "unknown_collection",
            "/api/db/collections",
        ),
        ("/api/db/collections/".into(), 404, "not_found", ""),
        (
            "/api/db/collections/system.views".into(),
            404,
            "unknown_collection",
            "",
        ),
        (
            "/api/db/collections?limit=0".into(),
            422,
            "out_of_range",
            "1 to 500",
        ),
        (
            "/api/db/collections?limit=501".into(),
            422,
            "out_of_range",
            "1 to 500",
        ),
        (
            "/api/db/collections?limit=-1".into(),
            422,
            "out_of_range",
            "",
        ),
        (
            "/api/db/collections?limit=abc".into(),
            422,
            "out_of_range",
            "",
        ),
        (
            "/api/db/collections?limit=99999999999999999999".into(),
            422,
            "out_of_range",
            "",
        ),
        (
            "/api/db/collections?sort=nonsense".into(),
            422,
            "out_of_range",
            "dataBytes",
        ),
        (
            "/api/db/collections?colour=pink".into(),
            422,
            "out_of_range",
            "colour",
        ),
        (
            format!("/api/db/collections/{long}"),
            422,
            "id_too_long",
            "255",
        ),
        (format!("/api/db/users/{long}"), 422, "id_too_long", "255"),
        ("/api/db/users/%".into(), 400, "malformed_encoding", "%"),
        ("/api/db/users/%zz".into(), 400, "malformed_encoding", "%"),
        (
            "/api/db/users/%ff%fe".into(),
            400,
            "malformed_encoding",
            "UTF-8",
        ),
        (
            "/api/db/users/a%00b".into(),
            400,
            "malformed_encoding",
            "UTF-8",
        ),
        (
            "/api/db/collections?sort=%C3%28".into(),
            400,
            "malformed_encoding",
            "UTF-8",
        ),
        (
            "/api/db/users/%7B%22%24ne%22%3Anull%7D".into(),
            404,
            "unknown_user",
            "sub",
        ),
        ("/api/db/handles".into(), 422, "out_of_range", "1 to 500"),
        (
            "/api/db/handles?ids=".into(),
            422,
            "out_of_range",
            "1 to 500",
        ),
        (
            "/api/db/handles?ids=,,".into(),
            422,
            "out_of_range",
            "1 to 500",
        ),
        (
            format!("/api/db/handles?ids={many}"),
            422,
            "out_of_range",
            "1 to 500",
        ),
        ("/api/db/nothing".into(), 404, "not_found", ""),
        ("/".into(), 404, "not_found", ""),
        ("/api/db/../../etc/passwd".into(), 404, "not_found", ""),
    ];
    for (path, status, code, says) in cases {
        let reply = service.get(&path).await;
        assert_problem(&reply, status, code, says);
    }

    let with_body = service
        .send(Method::GET, "/api/db/collections", |get| get.body("{}"))
        .await;
    assert_problem(&with_body, 400, "unexpected_body", "no body");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let reply = service
            .send(method, "/api/db/collections", |request| request)
            .await;
        assert_problem(&reply, 405, "method_not_allowed", "");
        assert!(!reply.header("allow").is_empty(), "{reply:#?}");
    }

    let log = service.log().split_off(started);
    assert!(log.contains("status=422"), "{log}");
    assert!(!log.contains(" ERROR "), "{log}");
    assert!(!log.contains(" WARN "), "{log}");
    assert!(!log.contains(&long[..64]), "raw paths are not logged");
    let health = service.get("/api/db/health").await;
    assert_eq!(health.status, 200, "and the service goes on");
}

fn assert_problem(reply: &crate::service::Reply, status: u16, code: &str, says: &str) {
    let asked: String = reply.asked.chars().take(120).collect();
    assert_eq!(reply.status.as_u16(), status, "{asked}: {}", reply.text);
    assert_eq!(
        reply.header("content-type"),
        "application/problem+json",
        "{asked}"
    );
    let problem = reply.json();
    assert_eq!(problem["code"], code, "{asked}: {problem}");
    assert_eq!(problem["status"], status, "{asked}: {problem}");
    assert_eq!(
        problem["instance"],
        reply.header("x-request-id"),
        "{asked}: {problem}"
    );
    for field in ["type", "title", "detail"] {
        assert!(
            !problem[field].as_str().unwrap().is_empty(),
            "{asked}: {problem}"
        );
    }
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains(says),
        "{asked}: `{detail}` does not say `{says}`"
    );
    for leak in [
        "mongodb",
        "bson",
        "panicked",
        "crates/",
        "127.0.0.1",
        "Kind:",
    ] {
        assert!(!detail.contains(leak), "{asked}: {detail}");
    }
}
