//! silo-db-api under test, against a server that the test started.

use jiff::Timestamp;
use mongodb::Database;
use mongodb::bson::Document;
use silo_testkit::demo::Demo;
use silo_testkit::mongo::MongoServer;
pub(crate) use silo_testkit::service::{Reply, Service};
use tokio::process::Command;

/// Paths whose answer is a measurement of the database's contents.
pub(crate) const MEASURED: [&str; 9] = [
    "/api/db/collections",
    "/api/db/collections/moods",
    "/api/db/users/count",
    "/api/db/clients",
    "/api/db/access",
    "/api/db/disk",
    "/api/db/operations",
    "/api/db/atproto",
    "/api/kidlisp/stats",
];

pub(crate) const DATABASE: &str = "aesthetic";
/// 38 collections, some 2,600 documents.
const SCALE: f64 = 0.02;

/// Starts it and waits until it listens; mongod need not be there.
pub(crate) async fn start(uri: &str) -> Service {
    start_with(uri, &[]).await
}

pub(crate) async fn start_with(uri: &str, more: &[(&str, &str)]) -> Service {
    let mut command = command();
    command
        .env("MONGODB_CONNECTION_STRING", uri)
        .env("MONGODB_NAME", DATABASE)
        .envs(more.iter().copied());
    Service::start("silo-db-api", command).await
}

/// Number of commands of a name that a service has sent to mongod, from the driver's command events.
pub(crate) async fn commands(service: &Service, name: &str) -> u64 {
    let metrics = service.get("/metrics").await.text;
    let line = format!("silo_mongo_commands_total{{command=\"{name}\"}} ");
    let count = metrics.lines().find_map(|found| found.strip_prefix(&line));
    count.map_or(0, |count| count.trim().parse().unwrap())
}

/// The built binary, with nothing of this shell's settings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_silo-db-api"));
    command.env_clear();
    command
}

/// A server with the droplet's accounts and demo data.
pub(crate) async fn demo_server() -> (MongoServer, Demo) {
    let server = MongoServer::start_with_accounts(DATABASE).await.unwrap();
    let demo = fill(&server).await;
    (server, demo)
}

/// Loads the demo data.
pub(crate) async fn fill(server: &MongoServer) -> Demo {
    let demo = Demo::new(7, SCALE, Timestamp::now());
    demo.load(&database(server).await, |_, _, _| {})
        .await
        .unwrap();
    demo
}

/// The database, with the administrator's account.
pub(crate) async fn database(server: &MongoServer) -> Database {
    server.client().await.unwrap().database(DATABASE)
}

/// The documents of one collection as they were generated.
pub(crate) fn documents(demo: &Demo, name: &str) -> Vec<Document> {
    let plan = Demo::plans().find(|plan| plan.name == name).unwrap();
    demo.documents(plan).collect()
}
