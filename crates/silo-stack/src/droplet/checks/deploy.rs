//! `ops/deploy`, to a droplet that is a folder and a project on this machine, and a shell instead of ssh.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use rustix::process::{Pid, Signal};
use silo_testkit::say;
use silo_testkit::tools::{Tool, workspace};
use silo_testkit::wait::wait_for;
use tempfile::TempDir;
use tokio::process::Command;

use crate::droplet::compose::{Droplet, SERVICES, SIGN_IN};
use crate::droplet::engine::{CLASSIC, command};

/// Prefix of image names, so that existing images are not touched.
const REGISTRY: &str = "silo-deploy-test/";
/// Replacement for ssh: a local shell with a clean environment.
const SSH: &str = "#!/bin/sh\nshift\nexec env -i PATH=\"$PATH\" HOME=\"$HOME\" bash -c \"$*\"\n";
/// Files that the gateway's image is made from, or that are shipped with it.
const OF_THE_GATEWAY: [&str; 8] = [
    ".dockerignore",
    ".env.example",
    "Caddyfile",
    "Cargo.lock",
    "Cargo.toml",
    "dashboard",
    "docker-compose.yml",
    "ops",
];

pub(super) async fn deploys_and_rolls_back(droplet: &Droplet<'_>) -> Result<()> {
    let place = TempDir::with_prefix("silo-opt-")?;
    let target = Droplet::at(
        droplet.engine,
        "silo-deployed",
        place.path().join("opt/silo"),
    )?;
    let ssh = place.path().join("ssh");
    std::fs::write(&ssh, SSH)?;
    let outcome = all_of_it(&target, &ssh).await;
    let mut ended = Ok(());
    if target.place().join("docker-compose.yml").exists() {
        ended = target.end(outcome.is_err()).await;
    }
    let script = format!(
        "docker images --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep ^{REGISTRY} | xargs --no-run-if-empty docker rmi > /dev/null"
    );
    let removed = target.engine.output(&["sh", "-c", &script]).await;
    outcome.and(ended).and(removed.map(drop))
}

async fn all_of_it(target: &Droplet<'_>, ssh: &Path) -> Result<()> {
    let deploy = async |from: &Path, arguments: &[&str]| deploy(target, ssh, from, arguments).await;
    let source = workspace();

    for (arguments, code) in [
        (&["host", "nonsense"][..], 64),
        (&["--nonsense", "host"], 64),
        (&["--dry-run", "host"], 0),
    ] {
        let (ended, output_text) = deploy(&source, arguments).await?;
        ensure!(
            ended == Some(code),
            "{arguments:?} ends with {ended:?}: {output_text}"
        );
        ensure!(
            !target.place().exists(),
            "{arguments:?} did something: {output_text}"
        );
    }

    // The first time: everything, from nothing.
    std::fs::create_dir_all(target.place())?;
    let settings = format!("{}SILO_REGISTRY={REGISTRY}\n", target.settings());
    std::fs::write(target.place().join(".env"), settings)?;
    let (ended, output_text) = deploy(&source, &["host"]).await?;
    ensure!(
        ended == Some(0) && output_text.contains(" deployed"),
        "{output_text}"
    );
    let containers = containers(target).await?;
    let page = page(target).await?;
    ensure!(
        page == std::fs::read_to_string(source.join("dashboard/index.html"))?,
        "another page: {page}"
    );

    // Again: nothing is new, and nothing restarts.
    let (ended, output_text) = deploy(&source, &["host"]).await?;
    ensure!(
        ended == Some(0) && output_text.matches("nothing new").count() == 6,
        "{output_text}"
    );
    ensure!(
        containers == self::containers(target).await?,
        "a service was restarted without a change: {output_text}"
    );

    // A service that cannot start is rolled back; the others are unaffected.
    let changed = TempDir::with_prefix("silo-changed-")?;
    copy(&source, changed.path()).await?;
    let caddyfile = changed.path().join("Caddyfile");
    let good = std::fs::read_to_string(&caddyfile)?;
    std::fs::write(&caddyfile, format!("{good}\nno such directive {{\n"))?;
    let (ended, output_text) = deploy(changed.path(), &["host", "caddy"]).await?;
    ensure!(
        ended == Some(1)
            && output_text.contains("caddy: got its previous image back, and is healthy")
            && output_text.contains("not deployed: caddy"),
        "{output_text}"
    );
    ensure!(self::page(target).await? == page, "not the page of before");

    // A change is deployed, and can be rolled back manually.
    std::fs::write(&caddyfile, good)?;
    let new = page.replace("<main", "<!-- another --><main");
    std::fs::write(changed.path().join("dashboard/index.html"), &new)?;
    let (ended, output_text) = deploy(changed.path(), &["host", "caddy"]).await?;
    ensure!(ended == Some(0), "{output_text}");
    ensure!(self::page(target).await? == new, "not the new page");
    let (ended, output_text) = deploy(&source, &["--rollback", "host", "caddy"]).await?;
    ensure!(ended == Some(0), "{output_text}");
    ensure!(self::page(target).await? == page, "not the page of before");
    let mut after = self::containers(target).await?;
    after.remove("caddy");
    let mut before = containers;
    before.remove("caddy");
    ensure!(before == after, "others than caddy were restarted");

    // A setting that is wrong is not the fault of the image, which stays.
    let settings = std::fs::read_to_string(target.place().join(".env"))?;
    std::fs::write(
        target.place().join(".env"),
        format!("{settings}SILO_ACCESS=nonsense\n"),
    )?;
    let (ended, output_text) = deploy(&source, &["host", "caddy"]).await?;
    ensure!(
        ended == Some(1)
            && output_text.contains("nothing new")
            && !output_text.contains("previous image"),
        "{output_text}"
    );
    std::fs::write(target.place().join(".env"), settings)?;
    let (ended, output_text) = deploy(&source, &["host", "caddy"]).await?;
    ensure!(ended == Some(0), "{output_text}");
    ensure!(self::page(target).await? == page, "another page");

    // Files and images go back together, and forward again.
    let compose = changed.path().join("docker-compose.yml");
    let files = std::fs::read_to_string(&compose)?;
    std::fs::write(&compose, format!("{files}# another\n"))?;
    let (ended, output_text) = deploy(changed.path(), &["host", "caddy"]).await?;
    ensure!(ended == Some(0), "{output_text}");
    let is_there = || std::fs::read_to_string(target.place().join("docker-compose.yml"));
    ensure!(is_there()?.ends_with("# another\n"), "not the new files");
    for (files, wanted) in [("before", false), ("after", true)] {
        let (ended, output_text) = deploy(&source, &["--rollback", "host"]).await?;
        let found = is_there()?.ends_with("# another\n");
        ensure!(
            ended == Some(0) && found == wanted,
            "{files}: {output_text}"
        );
        let shown = self::page(target).await? == new;
        ensure!(shown == wanted, "not the page of {files}");
    }

    // Files that need a setting which the droplet does not have change nothing.
    let demo = changed.path().join("ops/demo/demo.env");
    let with_it = format!("{}NEW_SETTING=1\n", std::fs::read_to_string(&demo)?);
    std::fs::write(&demo, with_it)?;
    let needed = format!("{files}x-new: ${{NEW_SETTING:?set it in .env}}\n");
    std::fs::write(&compose, needed)?;
    let (ended, output_text) = deploy(changed.path(), &["host", "caddy"]).await?;
    ensure!(
        ended == Some(1) && output_text.contains("nothing was changed"),
        "{output_text}"
    );
    ensure!(
        is_there()?.ends_with("# another\n"),
        "the files were changed"
    );
    std::fs::write(&compose, &files)?;

    // A service passes, and then another one cannot be started: both and the files go back.
    let index = changed.path().join("dashboard/index.html");
    std::fs::write(&index, page.replace("<main", "<!-- third --><main"))?;
    let users = "    secrets: [silo_users]\n";
    let missing = "    volumes: [{type: bind, source: ./nothing-there, target: /nothing, bind: {create_host_path: false}}]\n";
    std::fs::write(
        &compose,
        files.replacen(users, &format!("{users}{missing}"), 1),
    )?;
    let (ended, output_text) = deploy(changed.path(), &["host", "caddy"]).await?;
    ensure!(
        ended == Some(1)
            && output_text.contains("caddy: healthy")
            && output_text.contains("not deployed: the rest"),
        "{output_text}"
    );
    ensure!(self::page(target).await? == new, "the third page stayed");
    ensure!(is_there()?.ends_with("# another\n"), "the files stayed");
    std::fs::write(&index, &new)?;
    std::fs::write(&compose, &files)?;

    // A mongod that does not start with new files: the ones of before are back, and mongod with them.
    let mongod = changed.path().join("ops/mongo/mongod.conf");
    let settings_of_mongod = std::fs::read_to_string(&mongod)?;
    std::fs::write(&mongod, format!("{settings_of_mongod}nonsense: 1\n"))?;
    let (ended, output_text) = deploy(changed.path(), &["host", "caddy"]).await?;
    ensure!(
        ended == Some(1)
            && output_text.contains("mongod is healthy")
            && output_text.contains("not deployed: mongod"),
        "{output_text}"
    );
    std::fs::write(&mongod, settings_of_mongod)?;

    is_rerun_after_interruption(target, ssh, changed.path()).await?;

    // Nothing to roll back to.
    let (ended, output_text) = deploy(&source, &["--rollback", "host", "silo-gate"]).await?;
    ensure!(
        ended == Some(1) && output_text.contains("there is no previous image"),
        "{output_text}"
    );
    Ok(())
}

/// Kills a deployment of a gateway that does not start while it waits: nobody else can deploy before, and the next one still knows the healthy image.
async fn is_rerun_after_interruption(
    target: &Droplet<'_>,
    ssh: &Path,
    changed: &Path,
) -> Result<()> {
    let page = self::page(target).await?;
    let caddyfile = changed.join("Caddyfile");
    let good = std::fs::read_to_string(&caddyfile)?;
    std::fs::write(&caddyfile, format!("{good}\nno such directive {{\n"))?;
    let mut first = command_of(target, ssh, changed, &["host", "caddy"])?
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let tried = format!("{REGISTRY}silo-gateway:tried");
    let begun = wait_for(Duration::from_secs(120), || async {
        target.engine.has(&tried).await.then_some(())
    });
    begun.await.context("the gateway was not deployed")?;
    let (ended, output_text) = deploy(target, ssh, changed, &["host", "caddy"]).await?;
    ensure!(
        ended == Some(1) && output_text.contains("another deployment is running"),
        "{output_text}"
    );
    let group = first.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    rustix::process::kill_process_group(group.context("it has ended")?, Signal::KILL)?;
    first.wait().await?;
    let (ended, output_text) = deploy(target, ssh, changed, &["host", "caddy"]).await?;
    ensure!(
        ended == Some(1)
            && output_text.contains("caddy: got its previous image back, and is healthy"),
        "{output_text}"
    );
    ensure!(self::page(target).await? == page, "not the page of before");
    Ok(std::fs::write(&caddyfile, good)?)
}

/// Runs `ops/deploy`; returns its exit code and output.
async fn deploy(
    target: &Droplet<'_>,
    ssh: &Path,
    from: &Path,
    arguments: &[&str],
) -> Result<(Option<i32>, String)> {
    let output = command_of(target, ssh, from, arguments)?.output().await;
    let output = output.context("cannot start ops/deploy")?;
    let output_text = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&output_text).into_owned();
    let mut lines = output_text
        .lines()
        .filter(|line| !line.contains("level=warning"));
    let last = lines.next_back().unwrap_or_default();
    say::step(&format!("ops/deploy {}: {last}", arguments.join(" ")));
    Ok((output.status.code(), output_text))
}

/// `ops/deploy`, to a folder of this machine.
fn command_of(
    target: &Droplet<'_>,
    ssh: &Path,
    from: &Path,
    arguments: &[&str],
) -> Result<Command> {
    let mut deploy = command(&[&from.join("ops/deploy").display().to_string()]);
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(own) = Tool::Compose.path().parent().filter(|own| own.is_dir()) {
        path = std::env::join_paths(
            std::iter::once(own.to_owned()).chain(std::env::split_paths(&path)),
        )?;
    }
    deploy
        .args(arguments)
        .env("PATH", path)
        .env("SILO_SSH", format!("bash {}", ssh.display()))
        .env("SILO_FOLDER", target.place())
        .env("SILO_REGISTRY", REGISTRY)
        .envs(CLASSIC)
        .env("COMPOSE_PARALLEL_LIMIT", "1")
        .env_remove("SILO_HEALTHY_WITHIN");
    Ok(deploy)
}

/// The container of each service.
async fn containers(target: &Droplet<'_>) -> Result<BTreeMap<&'static str, String>> {
    let mut containers = BTreeMap::new();
    for service in SERVICES
        .into_iter()
        .chain(["caddy", "silo-gate", "mongo-setup", "mongo"])
    {
        containers.insert(service, target.container(service).await?);
    }
    Ok(containers)
}

/// Content of `/`.
async fn page(target: &Droplet<'_>) -> Result<String> {
    let client = target.client().await?;
    let (user, password) = SIGN_IN;
    let answer = target
        .ask(&client, Method::GET, "/")
        .basic_auth(user, Some(password))
        .send()
        .await?;
    ensure!(
        answer.status() == 200,
        "the page answers {}",
        answer.status()
    );
    Ok(answer.text().await?)
}

/// A repository of what the gateway is made from.
async fn copy(source: &Path, to: &Path) -> Result<()> {
    let to = to.display().to_string();
    let mut cp = command(&["cp", "--recursive", "--target-directory", &to]);
    let copied = cp.args(OF_THE_GATEWAY).current_dir(source).status().await?;
    ensure!(copied.success(), "the workspace could not be copied");
    let script = "sed --in-place 's/@sha256:[0-9a-f]*//' ops/docker/Dockerfile docker-compose.yml && git init --quiet && git add --all && git -c user.name=silo -c user.email=silo@localhost commit --quiet --message copy";
    let committed = command(&["sh", "-c", script])
        .current_dir(&to)
        .status()
        .await?;
    ensure!(committed.success(), "the copy could not be committed");
    Ok(())
}
