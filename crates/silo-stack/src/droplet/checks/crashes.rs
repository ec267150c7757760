//! Processes that are killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mongodb::bson::{Document, doc};
use silo_testkit::wait::wait_for;

use crate::droplet::compose::{ALL, Droplet};

const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Kills a container's process, as a machine out of memory would.
async fn kill(droplet: &Droplet<'_>, service: &str) -> Result<()> {
    let pid: i32 = droplet.inspect(service, "{{.State.Pid}}").await?.parse()?;
    let pid = rustix::process::Pid::from_raw(pid).context("a running process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    let back = wait_for(BACK_WITHIN, || async {
        let state = droplet
            .inspect(service, "{{.State.Status}} {{.State.Pid}}")
            .await
            .ok()?;
        let (state, now) = state.split_once(' ')?;
        (state == "running" && now != pid.as_raw_nonzero().to_string()).then_some(())
    });
    back.await
        .with_context(|| format!("{service} did not come back"))
}

pub(super) async fn all_come_back(droplet: &Droplet<'_>) -> Result<()> {
    let mongod = droplet.inspect("mongo", "{{.State.Pid}}").await?;
    for service in ALL.into_iter().filter(|service| *service != "mongo") {
        kill(droplet, service).await?;
        let now = droplet.inspect("mongo", "{{.State.Pid}}").await?;
        ensure!(now == mongod, "mongod did not survive the end of {service}");
    }
    kill(droplet, "mongo").await?;
    droplet.until_healthy(Duration::from_secs(120)).await?;
    super::whole::full(droplet).await.map(drop)
}

/// Another program has Caddy's port, and mongod's container does not exist yet: it is created and takes writes; Caddy alone is missing.
pub(super) async fn a_taken_port_stops_caddy_only(droplet: &Droplet<'_>) -> Result<()> {
    droplet
        .compose(&["rm", "--stop", "--force", "caddy", "mongo"])
        .await?;
    let taken = std::net::TcpListener::bind(("127.0.0.1", droplet.http))?;
    let up = ["up", "--detach", "--no-build"];
    let refused = droplet.compose(&up).await;
    let reason = refused.err().map(|error| error.to_string());
    ensure!(
        reason.as_ref().is_some_and(
            |reason| reason.contains("already in use") || reason.contains("already allocated")
        ),
        "Compose does not name the port: {reason:?}"
    );
    let written = wait_for(BACK_WITHIN, || async {
        let state = droplet.inspect("mongo", "{{.State.Status}}").await.ok()?;
        let script = "db.getSiblingDB('aesthetic').ports.insertOne({}).acknowledged";
        let insert = format!("mongosh-root --eval \"{script}\"");
        (state == "running" && super::runbook::run(droplet, &insert).await.is_ok()).then_some(())
    });
    written.await.context("mongod does not take writes")?;
    let drop_it = "mongosh-root --eval \"db.getSiblingDB('aesthetic').ports.drop()\"";
    super::runbook::run(droplet, drop_it).await?;
    drop(taken);
    droplet.compose(&up).await?;
    droplet
        .until_healthy(Duration::from_secs(120))
        .await
        .map(std::mem::drop)
}

pub(super) async fn writes_stay(droplet: &Droplet<'_>) -> Result<()> {
    let client = super::mongod::client(droplet, "mongo_demo").await?;
    let written = client
        .database("aesthetic")
        .collection::<Document>("crash-test");
    written.drop().await?;
    let ended = Arc::new(AtomicBool::new(false));
    let writer = {
        let (written, ended) = (written.clone(), Arc::clone(&ended));
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..100_000_i32 {
                match written.insert_one(doc! { "_id": number }).await {
                    Ok(_) => acknowledged.push(number),
                    Err(_) => break,
                }
                // A write that is repeated after the restart may succeed.
                if ended.load(Ordering::SeqCst) {
                    break;
                }
            }
            acknowledged
        })
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    kill(droplet, "mongo").await?;
    ended.store(true, Ordering::SeqCst);
    let acknowledged = writer.await?;
    ensure!(
        acknowledged.len() > 20,
        "only {} were written before",
        acknowledged.len()
    );
    let there = wait_for(BACK_WITHIN, || async {
        let client = super::mongod::client(droplet, "mongo_demo").await.ok()?;
        let all = client
            .database("aesthetic")
            .collection::<Document>("crash-test");
        all.count_documents(doc! { "_id": { "$lte": acknowledged.len() as i32 } })
            .await
            .ok()
    });
    let there = there.await.context("mongod does not answer again")?;
    ensure!(
        there >= acknowledged.len() as u64,
        "{} were acknowledged, and {there} are there",
        acknowledged.len()
    );
    super::mongod::client(droplet, "mongo_demo")
        .await?
        .database("aesthetic")
        .collection::<Document>("crash-test")
        .drop()
        .await?;
    Ok(())
}
