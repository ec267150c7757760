//! Views of backups, drills, destinations and alerts, for the API and the command line.

use jiff::Timestamp;
use serde::Serialize;
use silo_core::units::count_from_usize;
use utoipa::ToSchema;

use crate::alerts::Alerts;
use crate::archive::encoding::Compression;
use crate::continuous::proof::ProofOutcome;
use crate::oplog::{Position, continuity};
use crate::repository::manifest::{Consistency, State};
use crate::repository::{Drill, Entry, MomentDrill, Proof};
use crate::run::attempts::LastAttempt;
use silo_alerts::alarms::Alarm;
use silo_alerts::delivery::FailedDelivery;

/// Status of backups.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// Name of the database.
    pub database: String,
    /// Newest good backup.
    pub last_good: Option<GoodBackupView>,
    /// Result of the last run; `null` if there was none.
    pub last_attempt: Option<LastAttempt>,
    /// Last drill.
    pub last_drill: Option<DrillView>,
    /// Proof of continuous backup up to the newest backup that has one; `null` if none was made.
    pub last_proof: Option<ProofOutcome>,
    /// `true` if the newest good backup is older than allowed, or there is none.
    pub overdue: bool,
    /// `true` if two scheduled drills have passed without a good one; `null` if drills are off.
    pub drill_overdue: Option<bool>,
    /// Largest allowed age in seconds.
    pub oldest_allowed_seconds: u64,
    /// Readiness for a recovery.
    pub recovery: RecoveryView,
    /// Each destination.
    pub destinations: Vec<DestinationView>,
    /// Backups that have vanished or were changed.
    pub problems: Vec<String>,
    /// Receivers of alerts.
    pub alerts: AlertsView,
    /// Backups of all destinations, the newest first.
    #[serde(skip)]
    pub backups: Vec<BackupView>,
    /// Start of the newest backup's run, whether the backup is good or held.
    #[serde(skip)]
    pub last_made: Option<Timestamp>,
}

/// Readiness for a recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryView {
    /// Time of the data in the newest backup that a drill has restored; `null` if there is none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_drilled: Option<Timestamp>,
    /// When a good backup was last read completely after its publication; `null` if none was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_verified_again: Option<Timestamp>,
    /// Estimated duration of restoring the newest good backup, from the last good drill; `null` without one.
    pub estimated_restore_seconds: Option<u64>,
    /// `true` if the private key of the newest good backup is set here; `null` if it is not encrypted.
    pub key_available: Option<bool>,
}

/// Newest good backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoodBackupView {
    /// Id of the backup.
    pub id: String,
    /// The key of its archive.
    pub key: String,
    /// Time of the data.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
    /// Age in seconds, at the time of measurement.
    pub age_seconds: u64,
    /// Stored size in bytes.
    pub bytes: u64,
    /// Number of documents.
    pub documents: u64,
}

/// Last drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrillView {
    /// The backup.
    pub id: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `true` if everything was restored identically.
    pub good: bool,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// Differences, and parts that were not compared.
    pub notes: Vec<String>,
    /// Drill of a moment, with continuous backup; `null` without one.
    pub moment: Option<MomentDrill>,
}

impl DrillView {
    /// View of a drill.
    pub(super) fn new(id: &str, drill: &Drill) -> Self {
        Self {
            id: id.to_owned(),
            at: drill.at,
            good: drill.good,
            duration_ms: drill.duration_ms,
            notes: drill.notes.clone(),
            moment: drill.moment.clone(),
        }
    }
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationView {
    /// `primary` or `copy`.
    pub name: &'static str,
    /// Number of backups; `null` if the destination cannot be listed.
    pub backups: Option<u64>,
    /// Size of all its archives in bytes.
    pub bytes: Option<u64>,
    /// Time of the newest good backup.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_good: Option<Timestamp>,
}

/// Receivers of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertsView {
    /// `true` if failed backups have a receiver.
    pub set_up: bool,
    /// Last delivery, if it failed.
    pub failed_delivery: Option<FailedDelivery>,
}

impl AlertsView {
    /// View of the alerts as they are now.
    #[must_use]
    pub fn of(alerts: &Alerts) -> Self {
        Self {
            set_up: alerts.are_set_up(),
            failed_delivery: alerts.failure(),
        }
    }
}

/// Open alarms, and their receivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlarmsView {
    /// Open alarms, by code. The next process begins them anew.
    pub alarms: Vec<Alarm>,
    /// Receivers.
    #[serde(flatten)]
    pub alerts: AlertsView,
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupView {
    /// Id of the backup.
    pub id: String,
    /// Time of the data.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Timestamp,
    /// Position in the oplog up to which changes are in it, if it can be rolled forward. In no answer.
    #[serde(skip)]
    pub position: Option<Position>,
    /// `verified`, `held` or `accepted`.
    pub state: &'static str,
    /// `true` if the backup counts as good.
    pub good: bool,
    /// Reasons for holding the backup.
    pub held: Vec<String>,
    /// Duration of the run, from its start to the end of the verification, in milliseconds.
    pub duration_ms: u64,
    /// Time of the verification.
    #[schema(value_type = String, format = DateTime)]
    pub verified_at: Timestamp,
    /// `decoded`: read back as a restore would. `bytes`: read back byte for byte, because the private key is not here.
    pub verification: String,
    /// Last drill of any copy.
    pub drill: Option<DrillView>,
    /// Proof of continuous backup from the backup before to this one; `null` if none was made.
    pub proof: Option<Proof>,
    /// Reason of a pin, which keeps the backup from being deleted.
    pub pin: Option<String>,
    /// Collections that changed during the dump, strings that are not UTF-8.
    pub notes: Vec<String>,
    /// Stored size in bytes.
    pub bytes: u64,
    /// The bytes of its documents.
    pub data_bytes: u64,
    /// Number of collections.
    pub collections: u64,
    /// Number of documents.
    pub documents: u64,
    /// SHA-256 of its archive, in hexadecimal.
    pub sha256: String,
    /// `gzip` or `zstd`.
    pub compression: &'static str,
    /// `true` if the archive is encrypted.
    pub encrypted: bool,
    /// `snapshot` or `fuzzy`.
    pub consistency: &'static str,
    /// Destinations that have the backup.
    pub destinations: Vec<&'static str>,
    /// `true` if the next prune keeps the backup.
    pub kept: bool,
    /// Retention rules that keep the backup, or the reason for deleting it.
    pub reasons: Vec<String>,
    /// Problems with the backup, by destination.
    pub problems: Vec<String>,
}

impl BackupView {
    /// View of a backup, not yet found in any destination.
    pub(super) fn new(entry: &Entry) -> Self {
        let manifest = &entry.manifest;
        Self {
            id: manifest.id.clone(),
            as_of: manifest.as_of,
            position: continuity::position(entry),
            state: match (manifest.state, &entry.accepted) {
                (State::Verified, _) => "verified",
                (State::Held, Some(_)) => "accepted",
                (State::Held, None) => "held",
            },
            good: entry.is_good(),
            held: manifest.held.clone(),
            duration_ms: milliseconds_between(manifest.started_at, manifest.verified_at),
            verified_at: manifest.verified_at,
            verification: manifest.verification.how.clone(),
            drill: entry
                .drill
                .as_ref()
                .map(|drill| DrillView::new(&manifest.id, drill)),
            proof: entry.proof.clone(),
            pin: entry.pin.as_ref().map(|pin| pin.reason.clone()),
            notes: manifest.notes(),
            bytes: manifest.archive.bytes,
            data_bytes: manifest.bytes(),
            collections: count_from_usize(manifest.collections.len()),
            documents: manifest.documents(),
            sha256: manifest.archive.sha256.clone(),
            compression: match manifest.archive.compression {
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd",
            },
            encrypted: manifest.archive.recipient.is_some(),
            consistency: match manifest.consistency {
                Consistency::Snapshot => "snapshot",
                Consistency::Fuzzy => "fuzzy",
            },
            destinations: Vec::new(),
            kept: true,
            reasons: Vec::new(),
            problems: Vec::new(),
        }
    }
}

/// Zero if a clock was set back in between.
fn milliseconds_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}
