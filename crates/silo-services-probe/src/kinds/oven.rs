//! oven, which bakes tapes into video. `/health` there checks nothing, so `/status` is asked.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::field::{count, length, list, moment, text, word};
use super::reply::nothing_known;
use crate::failure::Failure;

pub(super) const PATH: &str = "/status";

/// Facts that oven reports. A tape's address contains its owner's id, so it is not read.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Oven {
    /// The version that runs, or a commit.
    pub version: Option<String>,
    /// Uptime in seconds.
    pub uptime_seconds: Option<u64>,
    /// Tapes that wait.
    pub queued: Option<u64>,
    /// Tapes being baked.
    pub baking: Option<u64>,
    /// Screenshots in progress.
    pub grabbing: Option<u64>,
    /// The first 20 of the tapes being baked.
    pub active: Option<Vec<ActiveBake>>,
    /// The last tapes baked, 20 at the most, the newest first.
    pub recent: Option<Vec<RecentBake>>,
}

/// A tape being baked.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveBake {
    /// The tape's code.
    pub code: Option<String>,
    /// Stage of the job: `downloading`, `extracting`, `processing`, `uploading`...
    pub status: Option<String>,
    /// When it began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
}

/// A tape that was baked, or could not be.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentBake {
    /// The tape's code.
    pub code: Option<String>,
    /// `true` if a video was made.
    pub success: Option<bool>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// Duration in milliseconds.
    pub duration_ms: Option<u64>,
}

pub(super) fn read(value: &Value) -> Result<Oven, Failure> {
    let oven = Oven {
        version: text(&value["version"]),
        uptime_seconds: count(&value["uptime"]).map(|millis| millis / 1000),
        queued: length(&value["incoming"]),
        baking: length(&value["active"]),
        grabbing: length(&value["grabs"]["active"]),
        active: list(&value["active"]).map(|bakes| bakes.iter().map(active).collect()),
        recent: list(&value["recent"]).map(|bakes| bakes.iter().map(recent).collect()),
    };
    if (oven.baking, oven.queued, &oven.recent) == (None, None, &None) {
        return Err(nothing_known("oven"));
    }
    Ok(oven)
}

fn active(bake: &Value) -> ActiveBake {
    ActiveBake {
        code: word(&bake["code"]),
        status: word(&bake["status"]),
        started_at: moment(&bake["startTime"]),
    }
}

fn recent(bake: &Value) -> RecentBake {
    RecentBake {
        code: word(&bake["code"]),
        success: bake["success"].as_bool(),
        completed_at: moment(&bake["completedAt"]),
        duration_ms: count(&bake["duration"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn odd_fields_are_null_and_owners_are_not_taken() {
        let status = json!({
            "version": "a1b2c3d", "uptime": 86_400_500, "incoming": [{"code": "q"}], "grabs": {"active": []},
            "active": [{"code": "abc", "zipUrl": "https://x/auth0%7C64ab/abc.zip", "status": "uploading", "startTime": 1_767_225_600_000_u64, "0": "h", "1": "i"}],
            "recent": [{"code": "auth0|64ab", "success": "yes", "completedAt": "2026-01-01T00:00:00.000Z", "duration": -5}],
        });
        let oven = read(&status).unwrap();
        assert_eq!(
            (
                oven.version.as_deref(),
                oven.uptime_seconds,
                oven.queued,
                oven.baking,
                oven.grabbing
            ),
            (Some("a1b2c3d"), Some(86_400), Some(1), Some(1), Some(0))
        );
        let recent = &oven.recent.as_ref().unwrap()[0];
        assert_eq!(
            (&recent.code, recent.success, recent.duration_ms),
            (&None, None, None)
        );
        assert_eq!(
            recent.completed_at,
            oven.active.as_ref().unwrap()[0].started_at,
            "a number and a text of one moment"
        );
        let serialized = serde_json::to_string(&oven).unwrap();
        assert!(
            !serialized.contains("auth0") && !serialized.contains("zip"),
            "{serialized}"
        );
        assert!(read(&json!({"status": "ok", "service": "oven"})).is_err());
    }
}
