//! Redirects: three are followed, and none to a forbidden address. No test has a public address, so here a redirect from this machine to a
//! link-local address is refused; the whole rule is a table in `src/gateway/network.rs`.

use crate::stage::{Behaviour, Role, Simulator, Stage, until_status};

#[tokio::test]
async fn three_redirects_are_followed_and_no_more() {
    let last = Simulator::start(Role::Http).await.unwrap();
    let mut chain = vec![last];
    for _ in 0..4 {
        let next = Simulator::start(Role::Http).await.unwrap();
        next.behave(Behaviour::Redirect(chain.last().unwrap().url()));
        chain.push(next);
    }
    let mut stage = Stage::new();
    for (at, simulator) in chain.iter().enumerate() {
        stage = stage.probe(&format!("after-{at}"), "http", &simulator.url(), "");
    }
    let file = Simulator::start(Role::Http).await.unwrap();
    file.behave(Behaviour::Redirect("file:///etc/passwd".into()));
    let login = Simulator::start(Role::Http).await.unwrap();
    login.behave(Behaviour::Redirect("/login".into()));
    let metadata = Simulator::start(Role::Http).await.unwrap();
    metadata.behave(Behaviour::Redirect(
        "http://169.254.169.254/metadata/v1".into(),
    ));
    let service = stage
        .probe("file", "http", &file.url(), "")
        .probe("metadata", "http", &metadata.url(), "")
        .probe("login", "http", &login.url(), "expect = { status = [301] }")
        .service()
        .await;
    for name in ["after-0", "after-1", "after-2", "after-3"] {
        until_status(&service, name, "up").await;
    }
    let four = until_status(&service, "after-4", "down").await;
    assert_eq!(
        four["reasons"][0]["detail"],
        "it redirected more than three times"
    );
    let file = until_status(&service, "file", "down").await;
    assert_eq!(
        file["reasons"][0]["detail"],
        "its redirect location is invalid"
    );
    let metadata = until_status(&service, "metadata", "down").await;
    assert_eq!(
        metadata["reasons"][0]["detail"],
        "it redirected into a private network, which is not followed"
    );
    let login = until_status(&service, "login", "up").await;
    assert_eq!(
        login["facts"]["status"], 301,
        "a redirect that is expected is not followed"
    );
}
