//! Answers of AC's services in normal operation: the fields of the real ones, including those that Silo must not read.

use jiff::Timestamp;
use serde_json::{Value, json};

/// Accounts of the AT-protocol server, and how many of them are deactivated.
const ACCOUNTS: u64 = 978;
const DEACTIVATED: u64 = 6;
/// The most accounts on a page.
const PAGE: u64 = 500;

/// Simulated service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The machine that bakes tapes.
    Oven,
    /// The session server.
    Session,
    /// The AT-protocol server.
    Atproto,
    /// The site.
    Lith,
    /// A service of Silo that is ready.
    Silo,
    /// Anything: every path is well.
    Http,
}

impl Role {
    /// The body of an answer; `None` where the real one has no such path.
    pub(super) fn answer(self, target: &str) -> Option<String> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let body = match (self, path) {
            (Self::Oven, "/health") => {
                json!({"status": "ok", "service": "oven", "timestamp": Timestamp::now()})
            }
            (Self::Oven, "/status") => oven(),
            (Self::Session, "/status") => session(),
            (Self::Atproto, "/xrpc/_health") => json!({"version": "0.4.219"}),
            (Self::Atproto, "/xrpc/com.atproto.sync.listRepos") => repos(query),
            (Self::Lith, "/lith/stats") => lith(),
            (Self::Silo, "/readyz") => {
                json!({"status": "ready", "checks": {"mongod": {"ok": true, "error": null}}})
            }
            (Self::Http, _) => json!({"status": "ok"}),
            _ => return None,
        };
        Some(body.to_string())
    }
}

fn millis_ago(seconds: i64) -> i64 {
    Timestamp::now().as_millisecond() - 1000 * seconds
}

fn oven() -> Value {
    let recent = |code: &str, ago: i64, success: bool| {
        // Values loaded from the database are text, newer ones are numbers.
        let completed = if ago > 3600 {
            json!(Timestamp::from_millisecond(millis_ago(ago)).unwrap_or_default())
        } else {
            json!(millis_ago(ago))
        };
        json!({"code": code, "slug": "2026.3.1.12.0.0.000", "mongoId": "65f000000000000000000001", "success": success, "completedAt": completed,
            "duration": 41_000 + 700 * ago % 9000, "mp4Url": format!("https://at-blobs.example/tapes/{code}.mp4"), "error": null})
    };
    json!({
        "version": "a1b2c3d", "serverStartTime": millis_ago(400_000), "uptime": 400_000_000,
        "incoming": [{"code": "fox", "slug": "2026.3.1.12.5.0.000", "mongoId": "65f000000000000000000002", "detectedAt": millis_ago(3), "status": "incoming"}],
        "active": [{"code": "owl", "mongoId": "65f000000000000000000003", "zipUrl": "https://art.example/auth0%7C64ab00000000000000000001/owl.zip",
            "callbackUrl": "https://aesthetic.example/api/oven-complete", "startTime": millis_ago(42), "status": "processing", "0": "e", "1": "n"}],
        "recent": [recent("cow", 310, true), recent("bee", 1900, true), recent("ant", 2400, false), recent("elk", 26_000, true)],
        "grabs": {"active": [], "recent": [], "ipfsThumbs": {}},
    })
}

fn session() -> Value {
    let client = json!({"handle": "@jane", "location": "prompt", "ip": "203.0.113.9", "geo": {"country": "DK", "city": "Odense", "ll": [55.4, 10.4]},
        "protocols": {"websocket": true, "udp": false}});
    json!({
        "timestamp": millis_ago(0), "server": {"uptime": 93_211.67, "environment": "production", "port": "8889"},
        "totals": {"websocket": 12, "udp": 3, "unique_clients": 9}, "clients": [client],
    })
}

fn lith() -> Value {
    let function = |name: &str, calls: u64, errors: u64| {
        json!({"name": name, "calls": calls, "errors": errors, "totalMs": calls * 31, "lastCall": Timestamp::now(),
            "lastError": "Error: at /opt/ac/system/backend/database.mjs:12", "avgMs": 31})
    };
    json!({
        "uptime": 51_003, "boot": Timestamp::now(), "functionsLoaded": 84, "memory": {"rss": 212, "heap": 96}, "totals": {"calls": 48_211, "errors": 57},
        "functions": [function("version", 21_000, 0), function("handle", 9_400, 41), function("mood", 2_100, 12), function("store-kidlisp", 5_300, 4)],
    })
}

/// A page of accounts, as many as are asked for but no more than the server gives at once.
fn repos(query: &str) -> Value {
    let number = |name: &str| {
        let pair = query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        pair.and_then(|value| value.parse::<u64>().ok())
    };
    let first = number("cursor").unwrap_or(0);
    let last = (first + number("limit").unwrap_or(PAGE).min(PAGE)).min(ACCOUNTS);
    let repo = |n: u64| json!({"did": format!("did:plc:{n:024}"), "head": "bafyrei", "rev": "3k", "active": n >= DEACTIVATED});
    let repos: Vec<_> = (first..last).map(repo).collect();
    if last < ACCOUNTS {
        json!({"cursor": last.to_string(), "repos": repos})
    } else {
        json!({"repos": repos})
    }
}
