//! Processes that are killed.

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
    for service in ALL {
        kill(droplet, service).await?;
    }
    droplet.until_healthy(Duration::from_secs(120)).await?;
    super::whole::full(droplet).await.map(drop)
}

pub(super) async fn writes_stay(droplet: &Droplet<'_>) -> Result<()> {
    let client = super::mongod::client(droplet, "mongo_demo").await?;
    let written = client
        .database("aesthetic")
        .collection::<Document>("crash-test");
    written.drop().await?;
    let writer = {
        let written = written.clone();
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..100_000_i32 {
                match written.insert_one(doc! { "_id": number }).await {
                    Ok(_) => acknowledged.push(number),
                    Err(_) => break,
                }
            }
            acknowledged
        })
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    kill(droplet, "mongo").await?;
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
