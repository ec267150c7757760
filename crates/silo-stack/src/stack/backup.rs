//! Bucket for backups, silo-backup, and the first backup.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use silo_testkit::say;
use silo_testkit::wait::wait_for;

use super::storage::client;
use super::{DATABASE, Stack};

/// The bucket; not one of those that are measured.
const BUCKET: &str = "silo-backups";
/// Time limit for the first backup.
const FIRST_WITHIN: Duration = Duration::from_secs(120);

impl Stack {
    /// Starts silo-backup and waits for the first backup, which it makes at once because there is none. An existing server is not backed up, because
    /// a backup writes to its database `silo`.
    pub(super) async fn start_backup(&mut self, binaries: &Path) -> Result<String> {
        let s3 = self.s3().context("storage is started first")?;
        client(s3)?.create_bucket(BUCKET).await?;
        let nobody = || "mongodb://127.0.0.1:1/?directConnection=true".to_owned();
        let (uri, drills) = self.mongo.as_ref().map_or_else(
            || (nobody(), nobody()),
            |mongo| (mongo.backup_uri(), mongo.drill_uri()),
        );
        let folder = self.folder.path().join("backup").display().to_string();
        let settings = [
            ("MONGODB_CONNECTION_STRING", uri),
            ("DRILL_CONNECTION_STRING", drills),
            ("MONGODB_NAME", DATABASE.into()),
            ("SPACES_ENDPOINT", s3.url()),
            ("SPACES_KEY", s3.account().key.clone()),
            ("SPACES_SECRET", s3.account().secret.clone()),
            ("BACKUP_BUCKET", BUCKET.into()),
            ("BACKUP_FOLDER", folder),
            ("BACKUP_PITR_DAYS", "14".into()),
        ];
        let bind = self
            .start_service("silo-backup", binaries, &settings)
            .await?;
        if self.mongo.is_none() {
            say::skipped("the first backup", "the existing mongod is read-only");
            return Ok(bind);
        }
        say::step("waiting for the first backup, which is restored to see");
        let url = format!("http://{bind}/api/backup/status");
        let made = wait_for(FIRST_WITHIN, || async {
            let status: Value = reqwest::get(&url).await.ok()?.json().await.ok()?;
            let drill = &status["data"]["lastDrill"];
            drill["good"].as_bool().filter(|good| *good)
        });
        made.await
            .context("there is no backup that was restored within two minutes; the log of silo-backup above has the reason")?;
        say::done("the first backup is made and was restored to see");
        Ok(bind)
    }
}
