//! Every kind of service by everything that can go wrong with one: how it stands after two checks, why, and how long a check took.

use serde_json::Value;
use silo_testkit::certificates::Authority;

use crate::stage::{
    Behaviour, Role, Service, Simulator, Stage, VISIBLE_WITHIN, named, refusing_url,
};

/// Injected fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Refused,
    Hang,
    Slow,
    Reset,
    Status500,
    RedirectLoop,
    Html,
    BrokenJson,
    OtherJson,
    Huge,
    Expired,
    WrongName,
}

use Fault::{
    BrokenJson, Expired, Hang, Html, Huge, OtherJson, RedirectLoop, Refused, Reset, Slow,
    Status500, WrongName,
};

/// The state, the reason, and between how many milliseconds and how many a check takes. A busy machine adds to them.
type Expected = (Fault, &'static str, &'static str, (u64, u64));

/// Expectations for all kinds.
const COMMON: [Expected; 8] = [
    (Refused, "down", "refused", (0, 1000)),
    (Hang, "down", "timed_out_answering", (3000, 3900)),
    (Slow, "up", "", (2000, 3000)),
    (Reset, "down", "reset", (0, 1000)),
    (Status500, "down", "status", (0, 1000)),
    (RedirectLoop, "down", "redirect", (0, 1500)),
    (Expired, "down", "tls_expired", (0, 1000)),
    (WrongName, "down", "tls_wrong_name", (0, 1000)),
];

/// Kinds that evaluate the body: another kind's answer is a failure.
const READING: [Expected; 4] = [
    (Html, "down", "body", (0, 1000)),
    (BrokenJson, "down", "body", (0, 1000)),
    (OtherJson, "down", "body", (0, 1000)),
    // It answered with a good status: what it would tell is not known.
    (Huge, "up", "", (0, 2000)),
];

/// Kind `http` with a condition on the body, which an answer that is too large to be read neither meets nor fails.
const WANTING: [Expected; 4] = [
    (Html, "down", "body", (0, 1000)),
    (BrokenJson, "down", "body", (0, 1000)),
    (OtherJson, "down", "body", (0, 1000)),
    (Huge, "degraded", "answer_too_large", (0, 2000)),
];

/// Kind `http` without conditions, to which the status is all.
const BARE: [Expected; 4] = [
    (Html, "up", "", (0, 1000)),
    (BrokenJson, "up", "", (0, 1000)),
    (OtherJson, "up", "", (0, 1000)),
    (Huge, "up", "", (0, 2000)),
];

const WANTS_OK: &str = "expect = { json = { \"/status\" = \"ok\" } }";

/// Kind, simulated role, conditions, and expectations of this kind.
const KINDS: [(&str, Role, &str, [Expected; 4]); 7] = [
    ("http", Role::Http, "", BARE),
    ("http", Role::Http, WANTS_OK, WANTING),
    ("oven", Role::Oven, "", READING),
    ("session", Role::Session, "", READING),
    ("atproto", Role::Atproto, "", READING),
    ("lith", Role::Lith, "", READING),
    ("silo", Role::Silo, "", READING),
];

#[tokio::test]
async fn every_failure_of_every_kind_has_its_code() {
    let authority = Authority::new().unwrap();
    let runs = KINDS.map(|(kind, role, expect, own)| {
        let table: Vec<Expected> = COMMON.into_iter().chain(own).collect();
        run(&authority, kind, role, expect, table)
    });
    futures_util::future::join_all(runs).await;
}

async fn run(authority: &Authority, kind: &str, role: Role, expect: &str, table: Vec<Expected>) {
    let mut stage = Stage::new();
    let ca = stage.folder.path().join("authority.pem");
    authority.save(&ca).unwrap();
    stage = stage.with("SSL_CERT_FILE", ca.to_str().unwrap());
    let mut simulators = Vec::new();
    for (fault, ..) in &table {
        let (url, simulator) = broken(authority, role, *fault).await;
        stage = stage.probe(&name(*fault), kind, &url, expect);
        simulators.extend(simulator);
    }
    let service = stage.service().await;
    let wait_for_first = service
        .until(VISIBLE_WITHIN, "/api/services", |reply| {
            let data = &reply.json_or_null()["data"];
            data.is_object()
                && table
                    .iter()
                    .all(|(fault, state, ..)| named(data, &name(*fault))["status"] == *state)
        })
        .await
        .ok();
    for (fault, state, code, (least, most)) in table {
        let found = named(&wait_for_first["data"], &name(fault));
        let what = format!("{kind} {expect} {fault:?}: {found:#}");
        assert_eq!(found["status"], state, "{what}");
        let reported = found["reasons"][0]["code"].as_str().unwrap_or_default();
        assert_eq!(reported, code, "{what}");
        let elapsed = found["responseMs"].as_u64().unwrap();
        assert!((least..=most).contains(&elapsed), "{what}");
        if state == "down" {
            assert_eq!(
                changes(&service, fault).await,
                ["degraded", "down"],
                "one failure degrades and two take down: {what}"
            );
            assert!(
                found["reasons"][0]["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.len() > 10),
                "{what}"
            );
        }
        match fault {
            Expired => assert_eq!(found["certificateDays"], -3, "{what}"),
            WrongName => assert_eq!(
                found["certificateDays"], 89,
                "a certificate that is refused is reported too: {what}"
            ),
            _ => assert!(found["certificateDays"].is_null(), "{what}"),
        }
    }
}

fn name(fault: Fault) -> String {
    format!("{fault:?}").to_lowercase()
}

/// The states that a service went through, in order.
async fn changes(service: &Service, fault: Fault) -> Vec<String> {
    let detail = service
        .data(&format!("/api/services/{}", name(fault)))
        .await;
    let states = detail["changes"].as_array().unwrap().iter().rev();
    states
        .map(|change: &Value| change["to"].as_str().unwrap().to_owned())
        .collect()
}

/// A simulator with this fault.
async fn broken(authority: &Authority, role: Role, fault: Fault) -> (String, Option<Simulator>) {
    let json = |body: &str| Behaviour::Respond("application/json", body.into());
    let behaviour = match fault {
        Refused => return (refusing_url(), None),
        Expired | WrongName => {
            let tls = if fault == Expired {
                authority.valid_for_days(-3)
            } else {
                authority.for_another_name()
            };
            let simulator = Simulator::start_tls(role, tls.unwrap()).await.unwrap();
            return (simulator.url(), Some(simulator));
        }
        Hang => Behaviour::Hang,
        Slow => Behaviour::Slow(std::time::Duration::from_millis(2000)),
        Reset => Behaviour::Reset,
        Status500 => Behaviour::Fail(500),
        RedirectLoop => Behaviour::Redirect("/again".into()),
        Html => Behaviour::html(),
        BrokenJson => json("{\"status\": \"ok\", \"version\": "),
        OtherJson => {
            json("{\"hello\": [1, 2, 3], \"status\": {}, \"version\": 7, \"totals\": \"many\"}")
        }
        Huge => Behaviour::huge(),
    };
    let simulator = Simulator::start(role).await.unwrap();
    simulator.behave(behaviour);
    (simulator.url(), Some(simulator))
}

#[tokio::test]
async fn an_expiring_certificate_degrades_and_its_days_are_reported() {
    let authority = Authority::new().unwrap();
    let mut stage = Stage::new();
    let ca = stage.folder.path().join("authority.pem");
    authority.save(&ca).unwrap();
    let mut simulators = Vec::new();
    for (name, days, expect) in [
        ("long", 15, ""),
        ("short", 14, ""),
        ("strict", 40, "expect = { certificate_days = 40 }"),
    ] {
        let tls = authority.valid_for_days(days).unwrap();
        let simulator = Simulator::start_tls(Role::Http, tls).await.unwrap();
        stage = stage.probe(name, "http", &simulator.url(), expect);
        simulators.push(simulator);
    }
    let stranger = Simulator::start_tls(
        Role::Http,
        Authority::new().unwrap().valid_for_days(90).unwrap(),
    )
    .await
    .unwrap();
    stage = stage.probe("stranger", "http", &stranger.url(), "");
    let plain = Simulator::start(Role::Http).await.unwrap();
    let no_tls = plain.url().replace("http://", "https://");
    let stage = stage
        .probe("no-tls", "http", &no_tls, "")
        .with("SSL_CERT_FILE", ca.to_str().unwrap());
    let service = stage.service().await;
    let all = service
        .until(VISIBLE_WITHIN, "/api/services", |reply| {
            reply.json_or_null()["data"]["down"] == 2
        })
        .await
        .ok();
    let reported = |name: &str| {
        let found = named(&all["data"], name);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&found["status"]),
            text(&found["reasons"][0]["code"]),
            found["certificateDays"].as_i64(),
        )
    };
    assert_eq!(reported("long"), ("up".into(), String::new(), Some(15)));
    assert_eq!(
        reported("short"),
        ("degraded".into(), "certificate_expires".into(), Some(14))
    );
    assert_eq!(
        reported("strict"),
        ("degraded".into(), "certificate_expires".into(), Some(40))
    );
    assert_eq!(reported("stranger").1, "tls_untrusted");
    assert_eq!(
        reported("no-tls"),
        ("down".into(), "timed_out_tls".into(), None),
        "it waits for a question, and is asked for TLS"
    );
    assert!(
        named(&all["data"], "long")["steps"]["tls"].is_u64(),
        "{all}"
    );
}
