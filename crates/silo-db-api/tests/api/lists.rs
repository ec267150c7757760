//! Lists that must agree: the routes and their description, the settings and `.env.example`.

use std::collections::BTreeSet;

use silo_core::variables::VARIABLES;
use silo_testkit::mongo::{Kind, MongoServer};
use silo_testkit::tools::workspace;

use crate::service::start;

#[tokio::test]
async fn the_description_names_every_route_and_no_other() {
    let server = MongoServer::start(Kind::Rust).await.unwrap();
    let service = start(&server.uri()).await;
    let description = service.get("/api/db/openapi.json").await.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let text = description.to_string();
    let references: BTreeSet<_> = text
        .split(r##""$ref":"#"##)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(references.contains("/components/schemas/Problem"));
    for reference in references {
        let found = description.pointer(reference);
        assert!(found.is_some(), "{reference} is referred to and not there");
    }
    let described: BTreeSet<String> = description["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();

    // Routes are written down in two tables; both are read from their source.
    let sources = [
        "crates/silo-db-api/src/routes.rs",
        "crates/silo-web/src/app.rs",
    ];
    let mut routed = BTreeSet::new();
    for source in sources {
        let text = std::fs::read_to_string(workspace().join(source)).unwrap();
        let quoted = text
            .split('"')
            .filter(|text| text.starts_with('/') && !text.contains('\n'));
        routed.extend(quoted.map(str::to_owned));
    }
    assert_eq!(described, routed);

    for path in described {
        let filled = path.replace("{name}", "x").replace("{id}", "x");
        let reply = service.get(&filled).await;
        assert_ne!(
            reply.json_or_null()["code"],
            "not_found",
            "{path} is described and does not exist"
        );
    }
}

#[test]
fn the_example_of_settings_names_every_variable_and_no_other() {
    let text = std::fs::read_to_string(workspace().join(".env.example")).unwrap();
    let named: BTreeSet<&str> = text
        .lines()
        .map(|line| line.trim_start_matches('#').trim())
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .filter(|name| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        })
        .collect();
    let gateway: BTreeSet<String> = caddy_variables();
    let known: BTreeSet<&str> = VARIABLES
        .iter()
        .map(|variable| variable.name)
        .chain(["SILO_CONFIG"])
        .chain(gateway.iter().map(String::as_str))
        .collect();
    assert_eq!(named, known);
}

/// The variables that the Caddyfile reads.
fn caddy_variables() -> BTreeSet<String> {
    let text = std::fs::read_to_string(workspace().join("Caddyfile")).unwrap();
    text.split("{$")
        .skip(1)
        .filter_map(|rest| rest.split([':', '}']).next())
        .map(str::to_owned)
        .collect()
}
