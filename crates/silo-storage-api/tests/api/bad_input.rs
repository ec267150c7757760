//! Bad requests get a problem document and are not logged as errors.

use reqwest::Method;

use crate::stage::stage;

#[tokio::test]
async fn bad_input_is_4xx_with_the_expected_input() {
    let stage = stage().await;
    let service = stage.scanned().await;
    let long = format!("/api/storage/user/{}", "x".repeat(10_000));
    for (path, status, code) in [
        ("/api/storage/top-users?limit=0", 422, "out_of_range"),
        ("/api/storage/top-users?limit=501", 422, "out_of_range"),
        ("/api/storage/top-users?limit=abc", 422, "out_of_range"),
        ("/api/storage/top-users?limit=-1", 422, "out_of_range"),
        ("/api/storage/top-users?sort=x", 422, "out_of_range"),
        ("/api/storage/user/%zz", 400, "malformed_encoding"),
        ("/api/storage/user/%ff", 400, "malformed_encoding"),
        ("/api/storage/user/@nobody", 404, "unknown_user"),
        ("/api/storage/user/", 404, "not_found"),
        ("/api/storage/nothing", 404, "not_found"),
        ("/api/storage/rescan", 405, "method_not_allowed"),
        (long.as_str(), 422, "id_too_long"),
    ] {
        let reply = service.get(path).await;
        assert_eq!(reply.status.as_u16(), status, "{reply:#?}");
        assert_eq!(
            reply.header("content-type"),
            "application/problem+json",
            "{reply:#?}"
        );
        assert_eq!(reply.json()["code"], code, "{reply:#?}");
    }
    let posted = service
        .send(Method::POST, "/api/storage/usage", |request| request)
        .await;
    assert_eq!(
        (posted.status.as_u16(), posted.header("allow")),
        (405, "GET, HEAD")
    );
    assert!(!service.log().contains("ERROR"), "{}", service.log());
}
