//! Scan of one bucket, from its beginning or from a checkpoint, and facts that a listing does not contain.

use std::time::Duration;

use jiff::Timestamp;
use log::warn;
use silo_spaces::error::Kind;
use silo_web::snapshot::SourceError;
use tokio::time::{MissedTickBehavior, interval};

use super::{Scanner, UNDER_WAY, UnderWay};
use crate::gateway::buckets::Bucket as Way;
use crate::owners::Layout;
use crate::scan::Scan;
use crate::scan_results::{Bucket, Failure, Found};
use crate::totals::Totals;

/// Interval between checkpoints.
const WRITTEN_EVERY: Duration = Duration::from_secs(3);

impl Scanner {
    /// Scans one bucket. Also returns whether its error may be temporary; after an error its last result stays.
    pub(super) async fn scan_one(
        &self,
        at: usize,
        way: &Way,
        before: Option<&Bucket>,
        under_way: &mut UnderWay,
    ) -> (Bucket, bool) {
        let resumed = under_way.open.remove(&way.name);
        let (begun, standing) = match resumed {
            Some((begun, standing)) => (begun, Some(standing)),
            None => (Timestamp::now(), None),
        };
        let counted = standing
            .as_ref()
            .map_or(0, |standing| standing.totals.all.objects);
        self.progress.enter(&way.name, at, counted);
        let layout = self
            .layouts
            .get(&way.name)
            .copied()
            .unwrap_or(Layout::Plain);
        let fresh = standing.is_none();
        let scan = Scan::new(way, &self.people, layout, &self.progress, standing);
        let run = async {
            if fresh {
                scan.cut().await?;
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
                    under_way.open.insert(way.name.clone(), (begun, scan.standing()));
                    self.save(UNDER_WAY, under_way);
                }
            }
        };
        drop(run);
        under_way.open.remove(&way.name);
        let known = before.and_then(|before| before.failure.as_ref());
        match outcome {
            Ok(()) => {
                let (totals, tapes) = scan.finish();
                let found = self.complete(way, begun, totals, tapes, before).await;
                let bucket = Bucket {
                    name: way.name.clone(),
                    found: Some(found),
                    failure: None,
                };
                (bucket, false)
            }
            Err(fault) => {
                let may_pass = fault.is_transient();
                let failure = Failure::new(fault.kind.code(), fault.detail, known);
                if known != Some(&failure) {
                    warn!(bucket = way.name.as_str(), code = failure.code.as_str(); "a bucket cannot be listed: {}", failure.detail);
                }
                let standing = scan.standing();
                if standing.totals.all.objects > 0 {
                    under_way.open.insert(way.name.clone(), (begun, standing));
                }
                let bucket = Bucket {
                    name: way.name.clone(),
                    found: before.and_then(|before| before.found.clone()),
                    failure: Some(failure),
                };
                (bucket, may_pass)
            }
        }
    }

    /// Adds facts that a listing does not contain: owners of tapes, unfinished uploads.
    async fn complete(
        &self,
        way: &Way,
        begun: Timestamp,
        totals: Totals,
        tapes: Option<SourceError>,
        before: Option<&Bucket>,
    ) -> Found {
        let gap_before = |code: &str| {
            let gaps = before
                .and_then(|before| before.found.as_ref())
                .map(|found| &found.gaps);
            gaps.and_then(|gaps| gaps.iter().find(|gap| gap.code == code))
        };
        let mut gaps = Vec::new();
        if let Some(error) = tapes {
            let detail = format!(
                "whose tapes are is not known, so they are nobody's: silo-db-api: {}",
                error.detail
            );
            gaps.push(Failure::new(
                "owners_unknown",
                detail,
                gap_before("owners_unknown"),
            ));
        }
        let unfinished = match way.unfinished().await {
            Ok(unfinished) => Some(unfinished),
            Err(fault) => {
                let detail = match fault.kind {
                    Kind::NotSupported => "the storage cannot tell unfinished uploads".to_owned(),
                    _ => format!("unfinished uploads are not known: {fault}"),
                };
                gaps.push(Failure::new(
                    fault.kind.code(),
                    detail,
                    gap_before(fault.kind.code()),
                ));
                None
            }
        };
        Found {
            begun,
            ended: Timestamp::now(),
            totals,
            unfinished,
            gaps,
        }
    }
}
