//! When the prober itself is offline, nothing is called down. Only services outside can show that; the decision and what follows from it have unit
//! tests (`check`, `status_store`), because tests stay on this machine.

use crate::stage::{
    Behaviour, Role, Simulator, Stage, VISIBLE_WITHIN, named, refusing_url, until_status,
};

/// As behind a firewall that blocks the addresses of the connectivity check.
#[tokio::test]
async fn a_blocked_connectivity_check_does_not_stop_the_checks_of_services_beside() {
    let (feed, help) = (
        Simulator::start(Role::Http).await.unwrap(),
        Simulator::start(Role::Http).await.unwrap(),
    );
    let blocked = refusing_url().replace("http://", "");
    let stage = Stage::new()
        .probe("feed", "http", &feed.url(), "timeout_ms = 500")
        .probe("gone", "http", &refusing_url(), "")
        .probe("help", "http", &help.url(), "")
        .with("CONNECTIVITY_CHECK", &blocked);
    let service = stage.service().await;
    until_status(&service, "feed", "up").await;
    feed.behave(Behaviour::Hang);
    let both_down = |reply: &crate::stage::Reply| reply.json_or_null()["data"]["down"] == 2;
    let all = service
        .until(VISIBLE_WITHIN, "/api/services", both_down)
        .await
        .ok();
    assert_eq!(all["data"]["connected"], true, "{all}");
    for (name, code) in [("feed", "timed_out_answering"), ("gone", "refused")] {
        assert_eq!(named(&all["data"], name)["reasons"][0]["code"], code);
    }
    let asked = help.requests();
    let asked_again = |_: &crate::stage::Reply| help.requests() > asked;
    service
        .until(VISIBLE_WITHIN, "/api/services", asked_again)
        .await;
    assert_eq!(named(&all["data"], "help")["status"], "up", "{all}");
}
