//! Regular verification of stored backups: every night a share of each destination's archives, those that were read longest ago first.

use serde::Serialize;
use utoipa::ToSchema;

use crate::catalog::Catalog;
use crate::context::Context;
use crate::error::Error;
use crate::repository::Entry;
use crate::verification::verify_and_record;
use silo_cli::progress::Reporter;

/// Nights within which every archive is read again.
const NIGHTS: usize = 28;

/// Result for one archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recheck {
    /// Id of the backup.
    pub id: String,
    /// `primary` or `copy`.
    pub destination: &'static str,
    /// Problem found; `null` if the archive is intact.
    pub problem: Option<String>,
}

/// Verifies this night's share of every destination under the lease. Returns the results.
///
/// # Errors
/// The first error that prevented a verdict. Damaged archives are not errors here, but results.
pub async fn run(context: &Context, report: &Reporter) -> Result<Vec<Recheck>, Error> {
    context
        .leased(report, async |_| {
            let catalog = Catalog::read(context, &context.client).await;
            let mut results = Vec::new();
            for destination in &catalog.destinations {
                let entries = &destination.contents.entries;
                for entry in due(entries) {
                    let verified = verify_and_record(
                        context,
                        &destination.repository,
                        &entry.manifest,
                        report,
                    );
                    let problem = match verified.await {
                        Ok(_) => None,
                        Err(error @ Error::Corrupt(_)) => Some(error.to_string()),
                        Err(error) => return Err(error),
                    };
                    results.push(Recheck {
                        id: entry.manifest.id.clone(),
                        destination: destination.repository.name,
                        problem,
                    });
                }
            }
            Ok(results)
        })
        .await
}

/// This night's share: those that were read longest ago. Archives that are missing or already known to be damaged are left out.
fn due(entries: &[Entry]) -> Vec<&Entry> {
    let mut readable: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.archive_problem.is_none())
        .filter(|entry| entry.check.as_ref().is_none_or(|check| check.good))
        .collect();
    readable.sort_by_key(|entry| entry.last_read());
    readable.truncate(entries.len().div_ceil(NIGHTS));
    readable
}
