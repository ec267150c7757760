//! Scan of one bucket, from its beginning or from a checkpoint, and facts that a listing does not contain.

use std::time::Duration;

use jiff::Timestamp;
use log::warn;
use silo_spaces::error::Kind;
use silo_web::snapshot::SourceError;
use tokio::time::{MissedTickBehavior, interval};

use super::{CHECKPOINTS, Checkpoints, Scanner};
use crate::gateway::buckets::Bucket as BucketClient;
use crate::owners::Layout;
use crate::scan::Scan;
use crate::scan_results::{Bucket, Failure, ScanResult};
use crate::totals::Totals;

/// Interval between checkpoints.
const WRITTEN_EVERY: Duration = Duration::from_secs(3);

impl Scanner {
    /// Scans one bucket. Also returns whether its error may be temporary; after an error its last result stays.
    pub(super) async fn scan_one(
        &self,
        at: usize,
        client: &BucketClient,
        before: Option<&Bucket>,
        checkpoints: &mut Checkpoints,
    ) -> (Bucket, bool) {
        let resumed = checkpoints.open.remove(&client.name);
        let (begun, checkpoint) = match resumed {
            Some((begun, checkpoint)) => (begun, Some(checkpoint)),
            None => (Timestamp::now(), None),
        };
        let counted = checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.totals.all.objects);
        self.progress.enter(&client.name, at, counted);
        let layout = self
            .layouts
            .get(&client.name)
            .copied()
            .unwrap_or(Layout::Plain);
        let fresh = checkpoint.is_none();
        let scan = Scan::new(
            client,
            &self.users,
            layout,
            &self.progress,
            begun,
            checkpoint,
        );
        let run = async {
            if fresh {
                scan.begin().await?;
            }
            scan.run(self.workers).await
        };
        let mut run = Box::pin(run);
        let mut ticks = interval(WRITTEN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let outcome = loop {
            tokio::select! {
                outcome = &mut run => break outcome,
                _ = ticks.tick() => {
                    checkpoints.open.insert(client.name.clone(), (begun, scan.checkpoint()));
                    self.save(CHECKPOINTS, checkpoints);
                }
            }
        };
        drop(run);
        checkpoints.open.remove(&client.name);
        let known = before.and_then(|before| before.failure.as_ref());
        match outcome {
            Ok(()) => {
                let (totals, tapes) = scan.finish();
                let found = self.complete(client, begun, totals, tapes, before).await;
                let bucket = Bucket {
                    name: client.name.clone(),
                    found: Some(found),
                    failure: None,
                };
                (bucket, false)
            }
            Err(error) => {
                let may_pass = error.is_transient();
                let failure = Failure::new(error.kind.code(), error.detail, known);
                if known != Some(&failure) {
                    warn!(bucket = client.name.as_str(), code = failure.code.as_str(); "a bucket cannot be listed: {}", failure.detail);
                }
                let checkpoint = scan.checkpoint();
                if checkpoint.totals.all.objects > 0 {
                    checkpoints
                        .open
                        .insert(client.name.clone(), (begun, checkpoint));
                }
                let bucket = Bucket {
                    name: client.name.clone(),
                    found: before.and_then(|before| before.found.clone()),
                    failure: Some(failure),
                };
                (bucket, may_pass)
            }
        }
    }

    /// Adds facts that a listing does not contain: owners of tapes, unfinished uploads, older versions.
    async fn complete(
        &self,
        client: &BucketClient,
        begun: Timestamp,
        totals: Totals,
        tapes: Option<SourceError>,
        before: Option<&Bucket>,
    ) -> ScanResult {
        let gap_before = |code: &str| {
            let gaps = before
                .and_then(|before| before.found.as_ref())
                .map(|found| &found.gaps);
            gaps.and_then(|gaps| gaps.iter().find(|gap| gap.code == code))
        };
        let mut gaps = Vec::new();
        if let Some(error) = tapes {
            let detail = format!(
                "owners of tapes are unknown, so tapes count as unattributed: silo-db-api: {}",
                error.detail
            );
            gaps.push(Failure::new(
                "owners_unknown",
                detail,
                gap_before("owners_unknown"),
            ));
        }
        let unfinished = match client.unfinished().await {
            Ok(unfinished) => Some(unfinished),
            Err(error) => {
                let detail = match error.kind {
                    Kind::NotSupported => "the storage cannot list unfinished uploads".to_owned(),
                    _ => format!("unfinished uploads are not known: {error}"),
                };
                gaps.push(Failure::new(
                    error.kind.code(),
                    detail,
                    gap_before(error.kind.code()),
                ));
                None
            }
        };
        let older_versions = match client.older_versions().await {
            Ok(older_versions) => older_versions,
            Err(error) => {
                let detail = format!("it is not known whether it keeps older versions: {error}");
                let code = "versions_unknown";
                gaps.push(Failure::new(code, detail, gap_before(code)));
                None
            }
        };
        ScanResult {
            begun,
            ended: Timestamp::now(),
            totals,
            unfinished,
            older_versions,
            gaps,
        }
    }
}
