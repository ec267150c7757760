//! Lists that must agree: the routes and their description, the settings and `.env.example`.

use std::collections::BTreeSet;

use silo_core::variables::VARIABLES;
use silo_testkit::mongo::MongoServer;
use silo_testkit::service::assert_described;
use silo_testkit::tools::workspace;

use crate::service::start;

#[tokio::test]
async fn the_description_names_every_route_and_no_other() {
    let server = MongoServer::start().await.unwrap();
    let service = start(&server.uri()).await;
    let table = "crates/silo-db-api/src/routes.rs";
    assert_described(&service, "/api/db/openapi.json", table).await;
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
    let gateway = read_by("Caddyfile", "{$");
    let compose = read_by("docker-compose.yml", "${");
    let known: BTreeSet<&str> = VARIABLES
        .iter()
        .map(|variable| variable.name)
        // Docker's own variables, and those that are not read from a file.
        .chain(["SILO_CONFIG", "COMPOSE_PROFILES", "MONGO_ALLOW"])
        .chain(gateway.iter().chain(&compose).map(String::as_str))
        .collect();
    assert_eq!(named, known);
}

/// The variables that a file reads, each after these two characters.
fn read_by(file: &str, mark: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(workspace().join(file)).unwrap();
    text.split(mark)
        .skip(1)
        .filter_map(|rest| rest.split([':', '-', '}']).next())
        .map(str::to_owned)
        .collect()
}
