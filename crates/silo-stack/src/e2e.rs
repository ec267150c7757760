//! `cargo xtask e2e`: the dashboard in headless Chromium, on a stack of its own. Its script asks for outages: `@stop silo-db-api`,
//! `@start mongo`, `@fail oven`, `@restore oven`,
//! `@insert moods {"mood": "calm"}`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use bson::Bson;
use clap::Args;
use serde_json::{Value, json};
use silo_testkit::ac::Behaviour;
use silo_testkit::demo::{Demo, size};
use silo_testkit::mongo::MongoServer;
use silo_testkit::say;

use crate::browser::Script;
use crate::metric_names;
use crate::stack::{DATABASE, Plan, Stack};

/// A collection's name that must stay text on the page.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

/// Arguments of `e2e`.
#[derive(Args)]
pub struct E2e {
    /// Only the tests whose name contains this
    #[arg(default_value = "")]
    only: String,
    /// Keep pictures of the page in this folder
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<String>,
}

impl E2e {
    /// Starts the stack, runs the script, ends both.
    pub async fn run(self) -> Result<()> {
        let plan = Plan {
            scale: 0.05,
            refresh_seconds: Some(5),
            ..Plan::default()
        };
        let mut stack = Stack::start(plan).await?;
        let mongo = stack.mongo().context("the stack has a server of its own")?;
        add_hostile_collection(mongo).await?;
        let truth = stack.demo.as_ref().map(truth).unwrap_or_default();
        let outcome = self.drive(&mut stack, truth).await;
        stack.stop().await?;
        outcome
    }

    async fn drive(&self, stack: &mut Stack, truth: Value) -> Result<()> {
        say::step("comparing the metrics with ops/prometheus");
        metric_names::check(&stack.address).await?;
        say::step("driving the dashboard in Chromium");
        let address = stack.address.clone();
        let script = Script {
            file: "dashboard.mjs",
            address: &address,
            truth,
            only: &self.only,
            pictures: self.pictures.as_deref().unwrap_or(""),
        };
        script
            .run(async |verb, what| match verb {
                "stop" => stack.stop_part(what).await,
                "start" => stack.start_part(what).await,
                "fail" => behave(stack, what, Behaviour::Fail(500)),
                "restore" => behave(stack, what, Behaviour::Normal),
                "insert" => insert(stack, what).await,
                _ => bail!("the script asks to {verb} {what}, which is nothing known"),
            })
            .await?;
        say::done("the dashboard works in Chromium");
        Ok(())
    }
}

fn behave(stack: &Stack, name: &str, behaviour: Behaviour) -> Result<()> {
    let simulator = stack.simulator(name);
    simulator
        .with_context(|| format!("there is no simulator of {name}"))?
        .behave(behaviour);
    Ok(())
}

/// Inserts a document, given as `COLLECTION JSON`.
async fn insert(stack: &mut Stack, what: &str) -> Result<()> {
    let (collection, json) = what
        .split_once(' ')
        .context("a collection and a document")?;
    let document: Value = serde_json::from_str(json)?;
    let document = Bson::try_from(document)?;
    let document = document
        .as_document()
        .context("the document is an object")?;
    let mongo = stack.mongo().context("the stack has a server of its own")?;
    let database = mongo.client().await?.database(DATABASE);
    database
        .collection::<bson::Document>(collection)
        .insert_one(document)
        .await?;
    Ok(())
}

async fn add_hostile_collection(mongo: &MongoServer) -> Result<()> {
    let database = mongo.client().await?.database(DATABASE);
    Ok(database.create_collection(HOSTILE).await?)
}

/// Expected contents of storage.
fn storage(demo: &Demo) -> Value {
    let (mut buckets, mut owners) = (BTreeMap::new(), BTreeMap::new());
    for object in demo.objects() {
        *buckets.entry(object.bucket).or_insert(0) += object.bytes;
        if let Some(sub) = object.owner {
            *owners.entry(sub).or_insert(0) += object.bytes;
        }
    }
    let top = owners.iter().max_by_key(|(_, bytes)| **bytes);
    json!({
        "bytes": buckets.values().sum::<usize>(),
        "buckets": buckets,
        "owners": owners.len(),
        "top": top.map(|(sub, bytes)| json!({ "sub": sub, "bytes": bytes })),
    })
}

/// Expected contents of the page, from the generator and not from an API.
fn truth(demo: &Demo) -> Value {
    let mut rows = serde_json::Map::new();
    let mut bytes = 0;
    for plan in Demo::plans() {
        rows.insert(plan.name.to_owned(), demo.count(plan).into());
        bytes += demo
            .documents(plan)
            .map(|document| size(&document))
            .sum::<usize>();
    }
    let count = |name: &str| {
        let plan = Demo::plans().find(|plan| plan.name == name);
        plan.map_or(0, |plan| demo.count(plan))
    };
    let keeps = demo.keeps();
    let documents: u64 = rows.values().filter_map(Value::as_u64).sum();
    rows.insert(HOSTILE.to_owned(), 0.into());
    json!({
        "documents": documents,
        "dataBytes": bytes,
        // The guest account, which all visitors share, is not counted.
        "users": count("users") - 1,
        "handles": count("@handles"),
        "pieces": count("kidlisp"),
        "kept": keeps.kept,
        "pending": keeps.pending,
        "failed": keeps.failed,
        "rows": rows,
        "storage": storage(demo),
    })
}
