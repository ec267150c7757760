//! The whole stack: healthy, complete, confined, and restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mongodb::bson::{Document, doc};
use reqwest::Method;
use serde_json::Value;
use silo_testkit::say;
use silo_testkit::wait::wait_for;

use crate::droplet::compose::{ALL, Droplet, SERVICES, SIGN_IN};

/// Time limits until all services are healthy, and until the demo is loaded and everything is measured.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
const FULL_WITHIN: Duration = Duration::from_secs(180);
/// The largest image of Silo's own.
const LARGEST: u64 = 40_000_000;

pub(super) async fn is_healthy(droplet: &Droplet<'_>) -> Result<()> {
    let took = droplet.until_healthy(HEALTHY_WITHIN).await?;
    say::step(&format!(
        "all {} containers healthy after {:.1} s",
        ALL.len(),
        took.as_secs_f64()
    ));
    Ok(())
}

/// The overview, when nothing is missing of it any more.
pub(super) async fn full(droplet: &Droplet<'_>) -> Result<Value> {
    let client = droplet.client().await?;
    let mut last = Value::Null;
    let mut full = None;
    let began = std::time::Instant::now();
    while full.is_none() && began.elapsed() < FULL_WITHIN {
        match droplet.get(&client, "/api/overview").await {
            Ok(overview) => {
                let data = &overview["data"];
                let whole = data["missing"].as_array().is_some_and(Vec::is_empty)
                    && data["collections"]["total"]["documents"]
                        .as_u64()
                        .is_some_and(|count| count > 1000)
                    && data["storage"]["objects"]
                        .as_u64()
                        .is_some_and(|count| count > 100);
                if whole {
                    full = Some(overview.clone());
                }
                last = overview;
            }
            Err(error) => last = error.to_string().into(),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    full.with_context(|| format!("the overview is not full: {last}"))
}

pub(super) async fn is_full(droplet: &Droplet<'_>) -> Result<()> {
    full(droplet).await?;
    let client = droplet.client().await?;
    let (user, password) = SIGN_IN;
    let page = droplet
        .ask(&client, Method::GET, "/")
        .basic_auth(user, Some(password))
        .send()
        .await?;
    ensure!(
        page.status() == 200 && page.text().await?.contains("<main"),
        "the page is not there"
    );
    // The public status text needs no sign-in, and contains no names.
    let status = wait_for(Duration::from_secs(30), || async {
        let answer = droplet
            .ask(&client, Method::GET, "/status.txt")
            .send()
            .await
            .ok()?;
        (answer.status() == 200).then_some(answer)
    });
    let status = status
        .await
        .context("/status.txt is not there")?
        .text()
        .await?;
    ensure!(
        status.starts_with("silo at ") && status.contains("database     up"),
        "{status}"
    );
    Ok(())
}

pub(super) async fn is_locked_in(droplet: &Droplet<'_>) -> Result<()> {
    for service in SERVICES.into_iter().chain(["silo-gate"]) {
        let image = droplet.inspect(service, "{{.Image}}").await?;
        let size = droplet
            .engine
            .output(&[
                "docker",
                "image",
                "inspect",
                "--format",
                "{{.Size}}",
                &image,
            ])
            .await?;
        let size: u64 = size.trim().parse()?;
        ensure!(size <= LARGEST, "{service}'s image has {size} bytes");
        let revision = "{{index .Config.Labels \"org.opencontainers.image.revision\"}}";
        let revision = droplet
            .engine
            .output(&["docker", "image", "inspect", "--format", revision, &image])
            .await?;
        ensure!(
            revision.trim().len() == 40,
            "{service}'s image has no revision: {revision}"
        );
        say::step(&format!("{service}: {:.1} MB", size as f64 / 1e6));
    }
    for service in ALL {
        let host = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} {{.Config.User}}";
        let host_config = droplet.inspect(service, host).await?;
        let parts: Vec<&str> = host_config.split(' ').collect();
        let [read_only, dropped, options, memory, swap, pids, user] = parts[..] else {
            bail!("{service}: {host_config}")
        };
        let locked = read_only == "true"
            && dropped == "[ALL]"
            && options == "[no-new-privileges:true]"
            && memory != "0"
            && (swap == memory || service == "mongo")
            && pids.parse::<u32>().is_ok_and(|pids| pids > 0)
            && !user.is_empty()
            && !user.starts_with('0');
        ensure!(locked, "{service} has too many privileges: {host_config}");
    }
    Ok(())
}

pub(super) async fn data_survives_down(droplet: &Droplet<'_>) -> Result<()> {
    let client = droplet.client().await?;
    let before = documents(droplet).await?;
    let backups = droplet.get(&client, "/api/backup/backups").await?["data"]["backups"].clone();
    ensure!(
        backups.as_array().is_some_and(|list| !list.is_empty()),
        "there is no backup to lose: {backups}"
    );
    droplet.compose(&["down"]).await?;
    // Up again by the older Compose where there is one, so that both have been seen to work.
    let up = ["up", "--detach", "--no-build"];
    match droplet.older_compose(&up).await {
        Some(up) => {
            up.context("Compose 1.29")?;
            say::step("up again by Compose 1.29");
        }
        None => {
            say::skipped("Compose 1.29", "it is not installed");
            droplet.compose(&up).await?;
        }
    }
    droplet.until_healthy(HEALTHY_WITHIN).await?;
    let client = droplet.client().await?;
    full(droplet).await?;
    let after = documents(droplet).await?;
    ensure!(
        before == after,
        "{before:?} documents were there, and {after:?} are"
    );
    let ids = |list: &Value| -> BTreeSet<String> {
        list.as_array()
            .into_iter()
            .flatten()
            .map(|one| one["id"].to_string())
            .collect()
    };
    let again = droplet.get(&client, "/api/backup/backups").await?["data"]["backups"].clone();
    // There may be more: what the runbook's commands made beside the service is known to it when it starts.
    ensure!(
        ids(&again).is_superset(&ids(&backups)),
        "backups were {backups}, and are {again}"
    );
    Ok(())
}

/// Number of documents in each of AC's collections, counted by mongod.
async fn documents(droplet: &Droplet<'_>) -> Result<BTreeMap<String, u64>> {
    let client = super::mongod::client(droplet, "mongo_reader").await?;
    let database = client.database("aesthetic");
    let mut counts = BTreeMap::new();
    for name in database.list_collection_names().await? {
        let count = database
            .collection::<Document>(&name)
            .count_documents(doc! {})
            .await?;
        counts.insert(name, count);
    }
    Ok(counts)
}
