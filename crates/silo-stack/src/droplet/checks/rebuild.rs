//! The runbook's two rebuilds, with a certificate authority and an npm client, each droplet being a project and a folder: "Move to a bigger droplet", and
//! then "The droplet is gone" from an encrypted backup. The commands are the runbook's.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use silo_testkit::say;
use silo_testkit::tools::workspace;
use silo_testkit::wait::wait_for;
use tempfile::TempDir;

use super::runbook;
use crate::droplet::compose::{Droplet, SIGN_IN};
use crate::droplet::engine::{Engine, command};
use crate::droplet::pebble::Pebble;
use crate::droplet::storage::Storage;

/// Host name of the droplets. Caddy obtains certificates for such names from a public authority.
const SITE: &str = "silo.example.com";
const BUCKET: &str = "droplet-backups";
/// Time limit for a new droplet to be healthy.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);
/// AC's service.
const CLIENT: &str = include_str!("client.cjs");

pub(super) async fn moves_and_comes_back(main: &Droplet<'_>, fill: bool) -> Result<()> {
    let place = TempDir::with_prefix("silo-rebuild-")?;
    let image = "silo-mongo-express:droplet";
    let Some(pebble) = Pebble::start(main.engine, place.path(), image).await? else {
        say::skipped(
            "rebuilding a droplet",
            "Pebble is not installed, which needs Go",
        );
        return Ok(());
    };
    let storage = Storage::start(main.engine, BUCKET).await?;
    let world = World::new(main.engine, place.path(), &pebble, &storage.name, fill).await?;
    let outcome = world.rebuild().await;
    storage.end().await?;
    pebble.end().await?;
    outcome
}

/// Everything outside of a droplet.
struct World<'a> {
    engine: &'a Engine,
    folder: &'a Path,
    /// Network of the authority and each droplet's Caddy.
    network: &'a str,
    /// Lines for the Caddyfile, and the authority's own certificate.
    acme: (&'static str, PathBuf),
    /// The machine's bundle of authorities, with Pebble's.
    authorities: PathBuf,
    /// Pebble's root alone, which the npm client trusts like the public ones.
    root: PathBuf,
    /// Network of the storage.
    spaces: &'a str,
    /// `true` to fill the last droplet's disk.
    fill: bool,
}

impl<'a> World<'a> {
    async fn new(
        engine: &'a Engine,
        folder: &'a Path,
        pebble: &'a Pebble<'a>,
        spaces: &'a str,
        fill: bool,
    ) -> Result<Self> {
        let (root, authorities) = (folder.join("root.pem"), folder.join("authorities.pem"));
        let pem = pebble.root().await?;
        std::fs::write(&root, &pem)?;
        let public = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt")?;
        std::fs::write(&authorities, format!("{public}\n{pem}"))?;
        Ok(Self {
            engine,
            folder,
            network: &pebble.name,
            acme: pebble.options(),
            authorities,
            root,
            spaces,
            fill,
        })
    }

    async fn rebuild(&self) -> Result<()> {
        // The first one, as the README says.
        let first = self.folder(1)?;
        self.settings(&first)?;
        let old = self.droplet(1, &first)?;
        let outcome = self.move_and_lose(&old).await;
        let ended = old.end(outcome.is_err()).await;
        outcome.and(ended)
    }

    async fn move_and_lose(&self, old: &Droplet<'_>) -> Result<()> {
        let began = Instant::now();
        old.compose(&["up", "--detach", "--no-build"]).await?;
        self.point_dns_at(old).await?;
        old.until_healthy(HEALTHY_WITHIN).await?;
        say::step(&format!(
            "a new droplet, with a certificate by ACME: {:.0} s",
            began.elapsed().as_secs_f64()
        ));
        let written = self.client(old, Some(0)).await?;

        let section = "Move to a bigger droplet";
        self.run(old, section, "silo-backup run").await?;
        let began = Instant::now();
        let second = self.folder(2)?;
        for name in [".env", "silo.toml", "secrets"] {
            let (from, to) = (old.place().join(name), second.display().to_string());
            let from = from.display().to_string();
            self.engine.output(&["cp", "--archive", &from, &to]).await?;
        }
        self.data_folder(&second)?;
        let new = self.droplet(2, &second)?;
        let outcome = async {
            new.compose(&["up", "--detach", "--no-build"]).await?;
            let waits = wait_for(Duration::from_secs(60), || async {
                let log = new.log("mongo").await.ok()?;
                log.contains("waiting for the first certificate")
                    .then_some(())
            });
            waits.await.context("mongod does not wait for DNS")?;
            self.point_dns_away_from(old).await?;
            self.point_dns_at(&new).await?;
            self.run(&new, section, "docker compose restart caddy")
                .await?;
            new.until_healthy(HEALTHY_WITHIN).await?;
            self.restore(&new, section, "").await?;
            self.is_same(&new, &written).await?;
            say::step(&format!(
                "moved to another droplet in {:.0} s",
                began.elapsed().as_secs_f64()
            ));
            self.lose(&new).await
        };
        let outcome = outcome.await;
        // Nothing is left of a lost one.
        if new.place().exists() {
            let ended = new.end(outcome.is_err()).await;
            return outcome.and(ended);
        }
        outcome
    }

    /// Encrypted backups from now on; then nothing is left of the droplet but its export.
    async fn lose(&self, lost: &Droplet<'_>) -> Result<()> {
        let (key, own) = (
            self.folder.join("backups.key"),
            self.folder.join("secrets.key"),
        );
        let [recipient, own_recipient] = [&key, &own].map(|key| keygen(key));
        let (recipient, own_recipient) = (recipient.await?, own_recipient.await?);
        let settings = lost.place().join(".env");
        let text = std::fs::read_to_string(&settings)?;
        std::fs::write(
            &settings,
            format!("{text}BACKUP_AGE_RECIPIENT={recipient}\n"),
        )?;
        let recreate =
            "docker compose up --detach --force-recreate --no-build --no-deps silo-backup";
        runbook::run(lost, recreate).await?;
        let written = self.client(lost, Some(1000)).await?;
        runbook::run(lost, "silo-backup run").await?;
        let export = self.folder.join("silo-secrets.age");
        let section = "The droplet is gone";
        let exported = format!(
            "cd \"$PLACE\" && ops/secrets --export {own_recipient} > '{}'",
            export.display()
        );
        self.is_in(section, "ops/secrets --export age1... > silo-secrets.age")?;
        runbook::run(lost, &exported).await?;
        lost.compose(&["down", "--volumes"]).await?;
        std::fs::remove_dir_all(lost.place())?;
        std::fs::remove_dir_all(data_of(lost.place()))?;

        let began = Instant::now();
        let third = self.folder(3)?;
        self.is_in(
            section,
            "age --decrypt --identity KEY silo-secrets.age | ssh root@HOST tar --extract --directory /opt/silo",
        )?;
        let unpack = format!(
            "age --decrypt --identity '{}' '{}' | tar --extract --directory '{}'",
            own.display(),
            export.display(),
            third.display()
        );
        self.engine.output(&["bash", "-c", &unpack]).await?;
        self.data_folder(&third)?;
        // A small disk for mongod's data.
        let data = data_of(&third).display().to_string();
        let options = "size=1200m,uid=999,gid=999,mode=0700";
        let mount = ["mount", "-t", "tmpfs", "-o", options, "silo-rebuild", &data];
        self.engine.output(&mount).await?;
        let new = self.droplet(3, &third)?;
        let outcome = async {
            new.compose(&["up", "--detach", "--no-build"]).await?;
            self.point_dns_at(&new).await?;
            new.until_healthy(HEALTHY_WITHIN).await?;
            let key = format!("export KEY='{}'; ", key.display());
            self.restore(&new, section, &key).await?;
            self.is_same(&new, &written).await?;
            self.run(&new, section, "silo-backup run").await?;
            say::step(&format!(
                "from nothing to the data of an encrypted backup: {:.0} s, with images that were there",
                began.elapsed().as_secs_f64()
            ));
            if self.fill {
                self.fill_up(&new, &written).await?;
            }
            Ok(())
        };
        let outcome = outcome.await;
        let ended = new.end(outcome.is_err()).await;
        let unmounted = self.engine.output(&["umount", &data]).await;
        outcome.and(ended).and(unmounted.map(drop))
    }

    /// The disk of mongod's data is full: the page says so or that mongod is away, and with space again every document is there.
    async fn fill_up(&self, droplet: &Droplet<'_>, written: &str) -> Result<()> {
        let filling = data_of(droplet.place()).join("filling");
        let began = Instant::now();
        let mut file = std::fs::File::create(&filling)?;
        while std::io::Write::write_all(&mut file, &[1; 1 << 16]).is_ok() {}
        std::mem::drop(file);
        let root = "mongosh-root --quiet --eval \"const much = 'x'.repeat(1 << 20); for (let n = 0; n < 300; n++) db.getSiblingDB('filling').filling.insertOne({ much: much + n })\"";
        let inserted = runbook::run(droplet, root).await;
        ensure!(inserted.is_err(), "300 MB were written to a full disk");
        let shown = wait_for(Duration::from_secs(120), || async {
            let status = droplet
                .exec("caddy", &["cat", "/srv/status/status.txt"])
                .await
                .ok()?
                .1;
            let line = status.lines().find(|line| line.starts_with("database"))?;
            (!line.contains(" up")).then(|| line.to_owned())
        });
        let shown = shown.await.context("the full disk is not shown")?;
        say::step(&format!(
            "a full disk: {}, after {:.0} s",
            shown.trim(),
            began.elapsed().as_secs_f64()
        ));
        std::fs::remove_file(&filling)?;
        droplet.compose(&["restart", "mongo"]).await?;
        droplet.until_healthy(HEALTHY_WITHIN).await?;
        runbook::run(
            droplet,
            "mongosh-root --quiet --eval \"db.getSiblingDB('filling').dropDatabase()\"",
        )
        .await?;
        self.is_same(droplet, written).await
    }

    /// The commands of both sections that bring the data back. `prelude` sets the key.
    async fn restore(&self, new: &Droplet<'_>, section: &str, prelude: &str) -> Result<()> {
        self.run(new, section, "silo-backup init --adopt").await?;
        let restore =
            "silo-backup restore latest --to-file /run/secrets/mongo_restore --database aesthetic";
        self.is_in(section, restore)?;
        runbook::run(new, &format!("{prelude}{restore}")).await
    }

    /// Runs a command that a section of the runbook has.
    async fn run(&self, droplet: &Droplet<'_>, section: &str, command: &str) -> Result<()> {
        self.is_in(section, command)?;
        runbook::run(droplet, command).await
    }

    fn is_in(&self, section: &str, command: &str) -> Result<()> {
        let text = std::fs::read_to_string(workspace().join("ops/RUNBOOK.md"))?;
        let found = text
            .split("\n## ")
            .find(|part| part.starts_with(section))
            .is_some_and(|part| part.contains(&format!("`{command}`")));
        ensure!(
            found,
            "the runbook's section \"{section}\" has no `{command}`"
        );
        Ok(())
    }

    async fn is_same(&self, droplet: &Droplet<'_>, written: &str) -> Result<()> {
        let found = self.client(droplet, None).await?;
        ensure!(found == written, "other documents: {found}, not {written}");
        Ok(())
    }

    /// AC's service, on the machine of a droplet.
    async fn client(&self, droplet: &Droplet<'_>, write: Option<u32>) -> Result<String> {
        let clients = std::fs::read_to_string(droplet.place().join("secrets/mongo_clients"))?;
        let uri = clients.lines().next().context("no account of AC's")?;
        ensure!(
            uri.contains("&tls=true") && uri.matches("tls").count() == 1,
            "AC's connection string has other options of TLS"
        );
        let network = format!("{}_mongo", droplet.project());
        let root = format!("{}:/root.pem:ro", self.root.display());
        let (uri, write) = (
            format!("URI={uri}"),
            format!(
                "WRITE={}",
                write.map(|from| from.to_string()).unwrap_or_default()
            ),
        );
        let run = [
            "docker",
            "run",
            "--rm",
            "--network",
            &network,
            "--volume",
            &root,
            "--env",
            "NODE_EXTRA_CA_CERTS=/root.pem",
            "--env",
            &uri,
            "--env",
            &write,
            "--entrypoint",
            "node",
            "silo-mongo-express:droplet",
            "-e",
            CLIENT,
        ];
        let digest = self.engine.output(&run).await?;
        Ok(digest.trim().to_owned())
    }

    /// The A record: Pebble finds the site's name in its network.
    async fn point_dns_at(&self, droplet: &Droplet<'_>) -> Result<()> {
        let caddy = droplet.container("caddy").await?;
        let connect = format!("network connect --alias {SITE} {} {caddy}", self.network);
        self.engine.docker(&connect).await.map(drop)
    }

    async fn point_dns_away_from(&self, droplet: &Droplet<'_>) -> Result<()> {
        let caddy = droplet.container("caddy").await?;
        let disconnect = format!("network disconnect {} {caddy}", self.network);
        self.engine.docker(&disconnect).await.map(drop)
    }

    /// A new machine's `/opt/silo`, with the files of the repository.
    fn folder(&self, number: u32) -> Result<PathBuf> {
        let folder = self.folder.join(format!("droplet-{number}/opt/silo"));
        std::fs::create_dir_all(&folder)?;
        for name in ["docker-compose.yml", "ops"] {
            let copied = std::process::Command::new("cp")
                .args(["--recursive"])
                .arg(workspace().join(name))
                .arg(&folder)
                .status()?;
            ensure!(copied.success(), "{name} could not be copied");
        }
        Ok(folder)
    }

    fn data_folder(&self, place: &Path) -> Result<()> {
        let data = data_of(place);
        std::fs::create_dir(&data)?;
        Ok(chown(&data, Some(999), Some(999))?)
    }

    /// Settings and secrets of a new droplet.
    fn settings(&self, place: &Path) -> Result<()> {
        self.data_folder(place)?;
        let settings = format!(
            "SILO_SITE={SITE}\nSILO_SECRETS=./secrets\nSILO_TOML=./silo.toml\nSILO_MONGO_DATA=../data\n\
             SPACES_ENDPOINT=http://spaces:9000\nBACKUP_BUCKET={BUCKET}\nBACKUP_ALLOW_HTTP=true\nCONNECTIVITY_CHECK=none\nMONGO_OOM_SCORE_ADJ=0\n\
             OVEN_URL=http://oven.invalid\nSESSION_URL=http://session.invalid\nATPROTO_URL=http://at.invalid\n"
        );
        std::fs::write(place.join(".env"), settings)?;
        std::fs::write(place.join("silo.toml"), "")?;
        let made = std::process::Command::new("ops/secrets")
            .args([SITE, "lith"])
            .current_dir(place)
            .output()?;
        ensure!(made.status.success(), "ops/secrets: {made:?}");
        let (user, password) = SIGN_IN;
        let line = silo_gate::users::line(user, password).map_err(anyhow::Error::msg)?;
        for (name, value) in [
            ("silo_users", &*line),
            ("spaces_key", "demo-key"),
            ("spaces_secret", "demo-secret"),
            ("backup_key", "demo-key"),
            ("backup_secret", "demo-secret"),
        ] {
            std::fs::write(place.join("secrets").join(name), value)?;
        }
        Ok(())
    }

    /// The project of a new machine. What differs from a droplet is in a Compose file beside it: the authority, and the network of the storage.
    fn droplet(&self, number: u32, place: &Path) -> Result<Droplet<'a>> {
        let (options, authority) = &self.acme;
        let caddyfile = std::fs::read_to_string(workspace().join("Caddyfile"))?;
        let caddyfile = caddyfile.replacen("{\n", &format!("{{\n{options}"), 1);
        let own = self.folder.join(format!("droplet-{number}"));
        std::fs::write(own.join("Caddyfile"), caddyfile)?;
        let (own, authority, authorities) = (
            own.display(),
            authority.display(),
            self.authorities.display(),
        );
        let spaces = self.spaces;
        let more = format!(
            "services:\n  caddy:\n    volumes: ['{own}/Caddyfile:/etc/caddy/Caddyfile:ro', '{authority}:/pebble.pem:ro']\n  \
             mongo-setup:\n    volumes: ['{authorities}:/etc/ssl/certs/ca-certificates.crt:ro']\n  \
             silo-backup:\n    networks: [edge, mongo, spaces]\n  silo-storage-api:\n    networks: [edge, spaces]\n\
             networks:\n  spaces:\n    external: true\n    name: {spaces}\n"
        );
        let file = self.folder.join(format!("droplet-{number}/more.yml"));
        std::fs::write(&file, more)?;
        let mut droplet = Droplet::bare(
            self.engine,
            &format!("silo-rebuilt{number}"),
            place.to_owned(),
        )?;
        droplet.set("SILO_TAG", "droplet");
        let files = format!("docker-compose.yml:{}", file.display());
        droplet.set("COMPOSE_FILE", files);
        Ok(droplet)
    }
}

/// Folder of mongod's data beside `/opt/silo`, as in the settings.
fn data_of(place: &Path) -> PathBuf {
    place.parent().unwrap_or(place).join("data")
}

/// Makes a key pair of age, and returns the public key.
async fn keygen(file: &Path) -> Result<String> {
    let keygen = command(&["age-keygen", "-o", &file.display().to_string()])
        .output()
        .await
        .context("age is not installed")?;
    // The container's user reads it; its folder belongs to the test only.
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o644))?;
    let said = String::from_utf8_lossy(&keygen.stderr).into_owned();
    let key = said
        .split("age1")
        .nth(1)
        .context("age-keygen prints no key")?;
    Ok(format!("age1{}", key.trim()))
}
