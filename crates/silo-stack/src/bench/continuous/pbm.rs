//! Percona Backup for MongoDB under the same writes, with slices of the same length, and its restore of a moment. `MONGO_TOOLS` or the `PATH` has `pbm`
//! and `pbm-agent`; without them there is no peer.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use mongodb::bson::{Bson, Timestamp as Position, doc};
use silo_testkit::process::Process;
use silo_testkit::say;
use silo_testkit::tools::stock_tool;
use silo_testkit::wait::wait_for;
use tokio::process::Command;

use super::{LIMIT, Place, Stored, TIMES, look, measure};
use crate::bench::backup::{BUCKET, Bench};
use crate::bench::measure::{Cost, ratios, show, spent};

const SLICES: Place = Place {
    prefix: "pbm/pbmPitr/",
    through,
};

/// Attempts to make a backup, and the time between them.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_secs(5);

/// Measures it, and compares its restore with that of Silo.
pub(super) async fn run(bench: &Bench, seconds: u64, silo: &Cost) -> Result<()> {
    let (Some(pbm), Some(agent)) = (stock_tool("pbm"), stock_tool("pbm-agent")) else {
        say::skipped(
            "Percona Backup for MongoDB as a peer",
            "pbm and pbm-agent are not installed",
        );
        return Ok(());
    };
    allow(bench).await?;
    let uri = bench.mongo.uri();
    let mut command = Command::new(agent);
    command.env("PBM_MONGODB_URI", &uri);
    let agent = Process::start("pbm-agent", command, None)?;
    let id = agent.id().context("it runs")?;
    let run = async |arguments: &[&str]| command_of(&pbm, &uri, arguments).await;
    let file = bench.file("pbm.yaml");
    std::fs::write(&file, settings(bench))?;
    let set = || async { run(&["config", "--file", &file, "--wait"]).await.ok() };
    wait_for(LIMIT, set).await.context("pbm has no agent")?;
    // While its agent starts, a backup is refused or ends as stuck.
    let backup = ["backup", "--wait", "--compression", "gzip"];
    let mut made = run(&backup).await;
    for _ in 1..ATTEMPTS {
        if made.is_err() {
            tokio::time::sleep(PAUSE).await;
            made = run(&backup).await;
        }
    }
    made?;
    run(&["config", "--set", "pitr.enabled=true"]).await?;
    let spaces = bench.spaces()?;
    say::step("waiting for its first slice");
    let begun = || async {
        let mut stored = Stored::new();
        look(&spaces, &SLICES, &mut stored).await.ok()?;
        (!stored.is_empty()).then_some(())
    };
    wait_for(LIMIT, begun).await.context("it stores nothing")?;
    let writes = measure("pbm-agent", id, bench, &SLICES, seconds).await?;
    run(&["config", "--set", "pitr.enabled=false"]).await?;
    let last = writes.last().context("there are writes")?.at;
    // It restores what was before that second.
    let moment = Timestamp::from_second(last.time.into())?;
    let moment = moment.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let mut restores = Vec::new();
    for _ in 0..TIMES {
        let before = spent(id).context("it runs")?.0;
        let began = Instant::now();
        run(&["restore", "--yes", "--time", &moment, "--wait"]).await?;
        let (cpu, peak_kib) = spent(id).context("it runs")?;
        restores.push(Cost {
            wall: began.elapsed(),
            cpu: cpu - before,
            peak_kib,
        });
    }
    // Of this about 14 s are waiting for its agent, whatever the size.
    let peer = show("pbm restore --time, into the same server", restores);
    ratios("restore of a moment: silo / pbm", silo, &peer);
    Ok(())
}

/// Gives the server's owner the privileges that it needs, which `root` has not.
async fn allow(bench: &Bench) -> Result<()> {
    let admin = bench.mongo.client().await?.database("admin");
    let everything = doc! { "resource": { "anyResource": true }, "actions": ["anyAction"] };
    let role = doc! { "createRole": "pbmAnyAction", "privileges": [everything], "roles": [] };
    admin.run_command(role).await?;
    let status = admin.run_command(doc! { "connectionStatus": 1 }).await?;
    let users = status.get_document("authInfo")?;
    let user = users.get_array("authenticatedUsers")?.first();
    let user = user.and_then(Bson::as_document).context("it signs in")?;
    let grant = doc! { "grantRolesToUser": user.get_str("user")?, "roles": ["pbmAnyAction"] };
    admin.run_command(grant).await?;
    Ok(())
}

async fn command_of(pbm: &Path, uri: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(pbm);
    command.args(arguments).env("PBM_MONGODB_URI", uri);
    let output = tokio::time::timeout(Duration::from_secs(600), command.output()).await??;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "pbm {}: {text}",
        arguments.join(" ")
    );
    Ok(())
}

/// Its settings, with slices as long as those of Silo: 20 s. Its storage of the type `s3` sends checksums that Ceph RGW refuses.
fn settings(bench: &Bench) -> String {
    let (url, account) = (bench.s3.url(), &bench.s3.account);
    let endpoint = url.trim_start_matches("http://");
    let (key, secret) = (&account.key, &account.secret);
    format!(
        "storage:
  type: minio
  minio:
    region: us-east-1
    endpoint: {endpoint}
    bucket: {BUCKET}
    prefix: pbm
    secure: false
    forcePathStyle: true
    credentials:
      access-key-id: {key}
      secret-access-key: {secret}
pitr:
  enabled: false
  oplogSpanMin: 0.3333
  compression: gzip
"
    )
}

/// End of a slice, by its key: `.../20260715155939-0.20260715160029-1.oplog.gz`.
fn through(key: &str) -> Option<Position> {
    let (_, through) = key.strip_suffix(".oplog.gz")?.rsplit_once('.')?;
    let (time, increment) = through.split_once('-')?;
    let time = DateTime::strptime("%Y%m%d%H%M%S", time).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(Position {
        time: u32::try_from(time.as_second()).ok()?,
        increment: increment.parse().ok()?,
    })
}
