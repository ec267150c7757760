//! Commands of `ops/RUNBOOK.md`: each one is run here, is run by another test, or needs a real droplet.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use silo_testkit::tools::workspace;
use silo_testkit::wait::wait_for;

use crate::droplet::compose::Droplet;
use crate::droplet::engine::{CLASSIC, command};

/// Way to test a command of the runbook.
enum Tried {
    /// As it is written.
    Written,
    /// With other names: those of the project that runs here.
    As(&'static str),
    /// Run by another test: file, and text that proves it.
    By(&'static str, &'static str),
}
use Tried::{As, By, Written};

/// Exit code of silo-backup while another run has the lease.
const BUSY: i32 = 5;
/// Time for the other run to end: a backup of demo data, and its drill.
const BUSY_FOR: Duration = Duration::from_secs(60);

const OPS: &str = "crates/silo-stack/tests/ops.rs";
const REBUILD: &str = "crates/silo-stack/src/droplet/checks/rebuild.rs";
const CONTINUOUS: &str = "crates/silo-backup/tests/backup/continuous.rs";
const PROOFS: &str = "crates/silo-backup/tests/backup/continuous/proofs.rs";
const DEPLOY: &str = "crates/silo-stack/src/droplet/checks/deploy.rs";

/// Every command of the runbook that is not marked, in the order in which they are tried.
const COMMANDS: &[(&str, Tried)] = &[
    ("docker compose ps", Written),
    ("docker compose logs --tail 50 silo-db-api", Written),
    ("docker compose logs --tail 50 mongo", Written),
    ("docker compose logs --tail 50 mongo-setup", Written),
    ("df -h /", Written),
    ("docker system df", Written),
    ("docker stats --no-stream", Written),
    (
        "docker inspect --format '{{.State.OOMKilled}}' CONTAINER",
        As(
            "docker inspect --format '{{.State.OOMKilled}}' \"$(docker compose ps -q silo-db-api)\"",
        ),
    ),
    (
        "docker compose exec caddy wget -q -O - http://127.0.0.1:7100/healthz",
        Written,
    ),
    (
        "curl --insecure --resolve silo.aesthetic.computer:443:127.0.0.1 https://silo.aesthetic.computer/healthz",
        As(
            "curl --fail --insecure --resolve \"silo.localhost:$SILO_HTTPS_PORT:127.0.0.1\" \"https://silo.localhost:$SILO_HTTPS_PORT/healthz\"",
        ),
    ),
    (
        "(read -rs password; echo \"$password\") | docker run --rm --interactive silo-gate:current hash YOUR_NAME >> secrets/silo_users",
        As(
            "(read -rs password; echo \"$password\") <<< 'a long password' | docker run --rm --interactive silo-gate:droplet hash YOUR_NAME >> new_line && grep YOUR_NAME new_line",
        ),
    ),
    ("docker compose restart silo-db-api", Written),
    ("docker compose restart mongo", Written),
    (
        "openssl s_client -connect HOST:27017 -servername HOST </dev/null | openssl x509 -noout -enddate -issuer",
        As(
            "for try in 1 2 3 4 5 6 7 8 9; do openssl s_client -connect 127.0.0.1:$MONGO_PORT -servername silo.localhost </dev/null | openssl x509 -noout -enddate -issuer && break; sleep 1; done",
        ),
    ),
    ("docker compose restart mongo-setup", Written),
    (
        "docker compose up --detach",
        As("docker compose up --detach --no-build"),
    ),
    (
        "docker compose up --detach mongo mongo-setup",
        As("docker compose up --detach --no-build mongo mongo-setup"),
    ),
    (
        "mongosh-root --quiet --eval 'db.currentOp({ secs_running: { $gt: 5 } }).inprog.map((op) => [op.secs_running, op.ns, op.op, op.client])'",
        Written,
    ),
    ("mongosh-root --eval 'rs.status().ok'", Written),
    (
        "mongosh-root --quiet --eval 'db.getSiblingDB(\"aesthetic\").moods.validate().valid'",
        Written,
    ),
    (
        "mongosh-root --eval 'db.getSiblingDB(\"aesthetic\").dropUser(\"NAME\")'",
        As(
            "mongosh-root --eval 'db.getSiblingDB(\"aesthetic\").createUser({ user: \"NAME\", pwd: \"x\", roles: [] })' && mongosh-root --eval 'db.getSiblingDB(\"aesthetic\").dropUser(\"NAME\")'",
        ),
    ),
    (
        "mongosh-root --eval 'db.getSiblingDB(\"admin\").changeUserPassword(\"root\", \"NEW\")'",
        As(
            "mongosh-root --eval 'db.getSiblingDB(\"admin\").changeUserPassword(\"root\", \"demo-root\")'",
        ),
    ),
    (
        "docker compose restart caddy",
        By(REBUILD, "docker compose restart caddy"),
    ),
    (
        "silo-backup restore latest --to-file /run/secrets/mongo_restore --database aesthetic",
        By(REBUILD, "--database aesthetic"),
    ),
    (
        "age --decrypt --identity KEY silo-secrets.age | ssh root@HOST tar --extract --directory /opt/silo",
        By(REBUILD, "age --decrypt"),
    ),
    (". ops/commands", As(". \"$PLACE/ops/commands\"")),
    (
        "docker compose run --rm -e DRY_RUN=1 mongo-setup init",
        Written,
    ),
    (
        "docker compose up --detach --force-recreate SERVICE",
        As("docker compose up --detach --force-recreate --no-build --no-deps silo-services-probe"),
    ),
    (
        "docker compose exec caddy wget -q -O - --header 'X-Silo-Operator: me' --post-data '' http://silo-storage-api:7102/api/storage/rescan",
        Written,
    ),
    (
        "docker compose exec caddy wget -q -O - http://silo-storage-api:7102/api/storage/usage",
        Written,
    ),
    (
        "docker compose exec caddy wget -q -O - http://silo-services-probe:7103/api/services/oven",
        As(
            "for try in 1 2 3 4 5 6 7 8 9; do docker compose exec caddy wget -q -O - http://silo-services-probe:7103/api/services/oven && break; sleep 1; done",
        ),
    ),
    ("silo-backup selftest", Written),
    ("silo-backup audit", Written),
    ("silo-backup run", Written),
    ("silo-backup status", Written),
    ("silo-backup list", Written),
    ("silo-backup verify", As("silo-backup verify latest")),
    ("silo-backup drill", As("silo-backup drill latest")),
    (
        "silo-backup restore latest --to-file /run/secrets/mongo_restore --database aesthetic_back --dry-run",
        Written,
    ),
    (
        "silo-backup restore latest --to-file /run/secrets/mongo_restore --database aesthetic_back",
        Written,
    ),
    ("silo-backup history", Written),
    ("silo-backup history --collection moods --each", Written),
    (
        "silo-backup history --collection moods --from 2026-11-27T00:00:00Z",
        As("silo-backup history --collection moods --from \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\""),
    ),
    (
        "silo-backup history --collection moods --each --from 2026-11-27T02:59:00Z --to 2026-11-27T03:01:00Z",
        As(
            "silo-backup history --collection moods --each --from \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\" --to 2100-01-01T00:00:00Z",
        ),
    ),
    (
        "mongosh-root --eval 'db.adminCommand({ replSetResizeOplog: 1, size: Double(4096), minRetentionHours: 48 })'",
        Written,
    ),
    ("docker compose logs silo-backup", Written),
    (
        "silo-backup export --at 2026-11-27T03:00:00Z /var/lib/silo/backup/moment.gz --dry-run",
        As("silo-backup export --at latest /var/lib/silo/backup/moment.gz --dry-run"),
    ),
    (
        "silo-backup restore --at 2026-11-27T03:00:00Z --to-file /run/secrets/mongo_restore --database aesthetic_then",
        As(
            "silo-backup restore --at latest --to-file /run/secrets/mongo_restore --database aesthetic_then",
        ),
    ),
    (
        "silo-backup restore --until-before 1795749600:7 --to-file /run/secrets/mongo_restore --database aesthetic_then",
        By(
            "crates/silo-backup/tests/backup/moments.rs",
            "\"--until-before\"",
        ),
    ),
    (
        "silo-backup history --from-storage",
        By(CONTINUOUS, "\"--from-storage\""),
    ),
    (
        "silo-backup restore --until-before 1795749600:7 --only moods --to-file /run/secrets/mongo_restore --database aesthetic_then",
        By(CONTINUOUS, "\"--only\""),
    ),
    (
        "silo-backup swap --only moods --database aesthetic --restored aesthetic_then --to-file /run/secrets/mongo_restore",
        By(
            "crates/silo-backup/tests/backup/restores.rs",
            "\"--only\", \"moods\"",
        ),
    ),
    ("silo-backup chain", Written),
    ("silo-backup chain --verify", Written),
    ("silo-backup prune", Written),
    ("silo-backup prove", By(PROOFS, "\"prove\"")),
    (
        "silo-backup restore --at latest --trust-bucket --to-file /run/secrets/mongo_restore --database aesthetic_then",
        By(CONTINUOUS, "\"--trust-bucket\""),
    ),
    (
        "silo-backup restore --at latest --trust-bucket --to-file /run/secrets/mongo_restore --database aesthetic",
        By(CONTINUOUS, "\"--trust-bucket\""),
    ),
    (
        "docker compose up --detach silo-backup",
        As("docker compose up --detach --no-build silo-backup"),
    ),
    (
        "silo-backup swap --database aesthetic --restored aesthetic_back --to-file /run/secrets/mongo_restore",
        As(
            "silo-backup swap --database aesthetic --restored aesthetic_back --to-file /run/secrets/mongo_restore --confirm aesthetic",
        ),
    ),
    (
        "silo-backup unswap --database aesthetic --to-file /run/secrets/mongo_restore",
        As(
            "silo-backup unswap --database aesthetic --to-file /run/secrets/mongo_restore --confirm aesthetic",
        ),
    ),
    (
        "silo-backup adopt data/20261124T040000Z-abcdef.archive.gz",
        By("crates/silo-backup/tests/backup/ownership.rs", "\"adopt\""),
    ),
    (
        "silo-backup acknowledge 20261124T040000Z-abcdef --why \"deleted by mistake\"",
        By(
            "crates/silo-backup/tests/backup/ownership.rs",
            "\"acknowledge\"",
        ),
    ),
    ("silo-backup init --adopt --dry-run", Written),
    ("silo-backup init --adopt", Written),
    (
        "silo-backup pin latest --why \"before the migration\"",
        Written,
    ),
    ("silo-backup unpin latest", Written),
    (
        "silo-backup accept 20261124T040000Z-abcdef --why \"old boots were deleted\"",
        By("crates/silo-backup/tests/backup/copies.rs", "\"accept\""),
    ),
    // This command creates a key pair of the same kind.
    (
        "age-keygen -o silo-backup.key",
        By(
            "crates/silo-backup/tests/backup/copies.rs",
            "Identity::generate",
        ),
    ),
    (
        "silo-migrate copy atlas silo --follow",
        By("crates/silo-migrate/tests/migrate/copy.rs", "--follow"),
    ),
    (
        "silo-migrate begin atlas silo",
        By("crates/silo-stack/tests/migration.rs", "\"begin\""),
    ),
    (
        "silo-migrate import mongodb-backup --to-file silo --dry-run",
        As(
            "mkdir --parents backup && echo '{\"_id\":{\"$oid\":\"65f0c0ffee65f0c0ffee65f0\"}}' > backup/moods.json && silo-migrate import backup --no-manifest --to-file /run/secrets/mongo_restore --dry-run",
        ),
    ),
    (
        "silo-migrate compare atlas silo",
        As(
            "silo-migrate compare /run/secrets/mongo_restore /run/secrets/mongo_restore --source-database aesthetic",
        ),
    ),
    (
        "silo-migrate copy silo atlas-new --target-database aesthetic_back",
        By("crates/silo-migrate/tests/migrate/copy.rs", "\"copy\""),
    ),
    (
        "silo-migrate compare silo atlas-new --target-database aesthetic_back",
        By("crates/silo-migrate/tests/migrate/stage.rs", "\"compare\""),
    ),
    (
        "silo-migrate cutover FOLDER...",
        By(
            "crates/silo-migrate/tests/migrate/cutover.rs",
            "\"cutover\"",
        ),
    ),
    (
        "silo-migrate cutover FOLDER... --to-file silo-client --apply",
        By("crates/silo-migrate/tests/migrate/cutover.rs", "--apply"),
    ),
    (
        "silo-migrate cutover FOLDER... --check",
        By("crates/silo-migrate/tests/migrate/cutover.rs", "--check"),
    ),
    (
        "silo-migrate cutover FOLDER... --undo",
        By("crates/silo-migrate/tests/migrate/cutover.rs", "--undo"),
    ),
    (
        "silo-migrate verify-cutover --old atlas",
        By("crates/silo-stack/tests/migration.rs", "verify-cutover"),
    ),
    (
        "silo-migrate decommission-check atlas silo",
        By("crates/silo-stack/tests/migration.rs", "decommission-check"),
    ),
    (
        "silo-migrate export-sqlite ac.sqlite --from-file silo",
        As(
            "silo-migrate export-sqlite ac.sqlite --from-file /run/secrets/mongo_restore && test -s ac.sqlite",
        ),
    ),
    ("ops/secrets HOST", By(OPS, "ops/secrets")),
    (
        "ops/secrets --export age1... > silo-secrets.age",
        By(OPS, "--export"),
    ),
    ("ops/secrets HOST SERVICE", By(OPS, "ops/secrets")),
    (
        "ops/deploy --rollback root@HOST silo-db-api",
        By(DEPLOY, "--rollback"),
    ),
];
/// Programs that a command may begin with.
const PROGRAMS: [&str; 17] = [
    ". ops/",
    "age ",
    "mongosh-root ",
    "docker ",
    "ops/deploy",
    "ops/firewall",
    "ops/provision",
    "ops/secrets",
    "silo-backup ",
    "silo-migrate ",
    "curl ",
    "openssl ",
    "df ",
    "journalctl ",
    "dig ",
    "ufw ",
    "age-keygen ",
];
/// Shell prelude of a command: Compose's arguments, and a shell without a terminal.
const SHELL: &str = r#"
set -o pipefail
docker() {
    if [ "$1" != compose ]; then command docker "$@"; return; fi
    shift
    case $1 in exec | run) local verb=$1; shift; set -- "$verb" -T "$@" ;; esac
    (cd "$PLACE" && $COMPOSE "$@")
}
. "$PLACE/ops/commands"
"#;

pub(super) async fn commands_work(droplet: &Droplet<'_>) -> Result<()> {
    let text = std::fs::read_to_string(workspace().join("ops/RUNBOOK.md"))?;
    let written = commands(&text);
    let known: BTreeSet<&str> = COMMANDS.iter().map(|(command, _)| *command).collect();
    let untried: Vec<_> = written.difference(&known).collect();
    ensure!(
        untried.is_empty(),
        "{untried:?} are not tested, and not marked as needing a droplet"
    );
    let gone: Vec<_> = known.difference(&written).collect();
    ensure!(
        gone.is_empty(),
        "the runbook does not have {gone:?} any more"
    );
    for (command, tried) in COMMANDS {
        let script = match tried {
            Written => command,
            As(other) => other,
            By(file, says) => {
                let text = std::fs::read_to_string(workspace().join(file))
                    .with_context(|| format!("{command}: {file}"))?;
                ensure!(text.contains(says), "{command}: {file} does not run it");
                continue;
            }
        };
        run(droplet, script)
            .await
            .with_context(|| (*command).to_owned())?;
    }
    Ok(())
}

/// Runs a script with the runbook's commands, in a folder of the droplet's. While another run has silo-backup's lease, such as the first backup of a new
/// droplet, it is run again, as the runbook says.
pub(super) async fn run(droplet: &Droplet<'_>, script: &str) -> Result<()> {
    let output = wait_for(BUSY_FOR, || async {
        let output = run_once(droplet, script).await;
        let code = output.as_ref().ok().and_then(|output| output.status.code());
        (code != Some(BUSY)).then_some(output)
    });
    let output = output
        .await
        .with_context(|| format!("{script}: the other run does not end"))??;
    if !output.status.success() {
        let output_text = [output.stdout, output.stderr].concat();
        bail!(
            "{script}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output_text).trim()
        );
    }
    Ok(())
}

async fn run_once(droplet: &Droplet<'_>, script: &str) -> Result<Output> {
    let output = command(&["bash", "-c", &format!("{SHELL}{script}")])
        .envs(
            droplet
                .settings()
                .lines()
                .filter_map(|line| line.split_once('=')),
        )
        .envs(CLASSIC)
        .env("PLACE", droplet.place())
        .env("HERE", droplet.folder.path())
        .env("COMPOSE", droplet.engine.compose_words().join(" "))
        .current_dir(droplet.folder.path())
        .output()
        .await?;
    Ok(output)
}

/// Commands in blocks and between backticks, but for those in a paragraph, a row or a line marked as needing a droplet.
fn commands(text: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 1 {
            let lines = part.strip_prefix("sh\n").unwrap_or_default().lines();
            found.extend(
                lines
                    .filter(|line| !line.contains("a droplet"))
                    .map(str::trim),
            );
            continue;
        }
        for paragraph in part.split("\n\n") {
            let is_step = |line: &str| {
                line.split_once(". ")
                    .is_some_and(|(at, _)| at.parse::<u8>().is_ok())
            };
            let rows =
                paragraph.starts_with('|') || paragraph.starts_with("- ") || is_step(paragraph);
            let pieces: Vec<&str> = if rows {
                paragraph.lines().collect()
            } else {
                vec![paragraph]
            };
            for piece in pieces
                .into_iter()
                .filter(|piece| !piece.contains("**droplet**"))
            {
                let quoted = piece.split('`').skip(1).step_by(2);
                found.extend(
                    quoted.filter(|quoted| {
                        PROGRAMS.iter().any(|program| quoted.starts_with(program))
                    }),
                );
            }
        }
    }
    found.remove("");
    found
}
