//! Allowlist of read-only requests to mongo-express.
//!
//! mongo-express compacts, reindexes and drops indexes by GET, hides only the buttons with `readOnly`, and parses query strings in its own way
//! (`command[]=x` is `command=x`). So this is an allowlist, not a blocklist: the path must be one of a page that shows something, and every query
//! parameter one that such a page uses.

use percent_encoding::percent_decode_str;

/// Base path of mongo-express.
const BASE: &str = "/db/";
/// Actions of mongo-express in the place of a collection's name, case-insensitive.
const ACTIONS: [&str; 10] = [
    "addIndex",
    "compact",
    "dropIndex",
    "expArr",
    "expCsv",
    "export",
    "gridFS",
    "import",
    "reIndex",
    "updateCollections",
];
/// The names in the query of a page of documents: how to page, sort and search.
const NAMES: [&str; 7] = [
    "key",
    "projection",
    "query",
    "skip",
    "subtype",
    "type",
    "value",
];
/// Forbidden in searches: stages that write, and operators that run code.
const OPERATORS: [&str; 5] = ["$out", "$merge", "$where", "$function", "$accumulator"];
/// Longest request target that is accepted, in bytes.
const LONGEST: usize = 4096;

/// Reason for refusing a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The method is not GET or HEAD.
    Method,
    /// The path is not on the list.
    Path,
    /// A name or a search in its query.
    Query,
}

/// Checks a request as Caddy forwards it; `uri` is not decoded.
///
/// # Errors
/// The part of the request that is not on the list.
pub fn only_reads(method: &str, uri: &str) -> Result<(), Refusal> {
    if !matches!(method, "GET" | "HEAD") {
        return Err(Refusal::Method);
    }
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    if uri.len() > LONGEST || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::Path);
    }
    path_shows(path.strip_prefix(BASE).ok_or(Refusal::Path)?)?;
    query_searches(query)
}

fn path_shows(path: &str) -> Result<(), Refusal> {
    if path.is_empty() {
        return Ok(());
    }
    // One slash at the end is the same page.
    let segments: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    let named = segments
        .iter()
        .map(|segment| name(segment))
        .collect::<Option<Vec<_>>>();
    match named.ok_or(Refusal::Path)?.as_slice() {
        [first, file @ ..]
            if first == "public"
                && !file.is_empty()
                && segments.iter().all(|segment| is_plain(segment)) =>
        {
            Ok(())
        }
        [first, _] if first == "db" => Ok(()),
        // A page of documents, one document, one of its properties.
        [first, _, collection] | [first, _, collection, _] | [first, _, collection, _, _]
            if first == "db"
                && !ACTIONS
                    .iter()
                    .any(|action| action.eq_ignore_ascii_case(collection)) =>
        {
            Ok(())
        }
        _ => Err(Refusal::Path),
    }
}

/// Decoded path segment; `None` if it is ambiguous (empty, `.`, `..`, a separator, double encoding, control characters).
fn name(segment: &str) -> Option<String> {
    let decoded = percent_decode_str(segment).decode_utf8().ok()?;
    let one_thing = !decoded.is_empty()
        && decoded != "."
        && decoded != ".."
        && !decoded.contains(['/', '\\', '%', ';'])
        && !decoded.chars().any(char::is_control);
    one_thing.then(|| decoded.into_owned())
}

fn is_plain(segment: &str) -> bool {
    segment
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn query_searches(query: &str) -> Result<(), Refusal> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value)
            .decode_utf8()
            .map_err(|_unreadable| Refusal::Query)?;
        // mongo-express's own pages write sort[a.b]; a browser may encode the brackets.
        let name = percent_decode_str(name)
            .decode_utf8()
            .map_err(|_unreadable| Refusal::Query)?;
        let field = name
            .strip_prefix("sort[")
            .and_then(|rest| rest.strip_suffix(']'));
        let sorts = field.is_some_and(|field| !field.contains(['[', ']', '%', '$']));
        // The search form always sends this parameter; an empty value means no aggregation.
        let no_aggregation = name == "runAggregate" && value.is_empty();
        if !(NAMES.contains(&&*name) || sorts || no_aggregation) {
            return Err(Refusal::Query);
        }
        // Strings in a search may write a character as its number.
        if value.contains('\\') || OPERATORS.iter().any(|operator| value.contains(operator)) {
            return Err(Refusal::Query);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn read_requests_are_allowed() {
        for uri in [
            "/db/",
            "/db/public/css/bootstrap.min.css",
            "/db/public/vendor-29c8f8a1a8783a10b310.min.js",
            "/db/db/aesthetic/",
            "/db/db/aesthetic",
            "/db/db/aesthetic/moods",
            "/db/db/aesthetic/@handles",
            "/db/db/aesthetic/%40handles?skip=10&key=&value=&type=&query=&projection=",
            "/db/db/aesthetic/moods?sort[when]=-1&skip=20&runAggregate=",
            "/db/db/aesthetic/moods?sort%5Bwhen%5D=-1",
            "/db/db/aesthetic/moods?query=%7Bmood%3A%22compact%22%7D&projection=",
            "/db/db/aesthetic/moods/%22507f1f77bcf86cd799439011%22",
            "/db/db/aesthetic/users/%22auth0%7C65f%22?skip=&key=&value=",
            "/db/db/aesthetic/boots/%22x%22/logs",
        ] {
            assert_eq!(only_reads("GET", uri), Ok(()), "{uri}");
            assert_eq!(only_reads("HEAD", uri), Ok(()), "{uri}");
        }
    }

    #[test]
    fn requests_that_could_write_are_refused_in_every_spelling() {
        for (uri, why) in [
            ("/db/db/aesthetic/compact/moods", Refusal::Path),
            ("/db/db/aesthetic/COMPACT/moods", Refusal::Path),
            ("/db/db/aesthetic/reIndex/moods", Refusal::Path),
            ("/db/db/aesthetic/dropIndex/moods?name=x", Refusal::Path),
            ("/db/db/aesthetic/%64ropIndex/moods", Refusal::Path),
            ("/db/db/aesthetic/%2564ropIndex/moods", Refusal::Path),
            ("/db/db/aesthetic//dropIndex/moods", Refusal::Path),
            ("/db/db/aesthetic/./dropIndex/moods", Refusal::Path),
            ("/db/db/aesthetic/x/../dropIndex/moods", Refusal::Path),
            ("/db/db/aesthetic%2FdropIndex/moods", Refusal::Path),
            ("/db/db/aesthetic/dropIndex%2Fmoods", Refusal::Path),
            ("/db//db/aesthetic/dropIndex/moods", Refusal::Path),
            ("/db/db/aesthetic/gridFS/files", Refusal::Path),
            ("/db/db/aesthetic/export/moods", Refusal::Path),
            ("/db/db/aesthetic/expCsv/moods", Refusal::Path),
            ("/db/db/aesthetic/updateCollections", Refusal::Path),
            ("/db/checkValid", Refusal::Path),
            ("/db/status", Refusal::Path),
            ("/db/logout", Refusal::Path),
            ("/db/public/../checkValid", Refusal::Path),
            ("/db/public/%2e%2e/checkValid", Refusal::Path),
            ("/db/db/aesthetic/moods;x", Refusal::Path),
            ("/db/db/aesthetic/moods%00", Refusal::Path),
            ("/db/db/aesthetic/moods%0a", Refusal::Path),
            ("/db/db/aesthetic/moods%ff", Refusal::Path),
            ("/db", Refusal::Path),
            ("/dbx/", Refusal::Path),
            ("/DB/", Refusal::Path),
            ("http://elsewhere/db/", Refusal::Path),
            ("/db/?command=deleteMany()", Refusal::Query),
            (
                "/db/db/aesthetic/moods?command[]=deleteMany()",
                Refusal::Query,
            ),
            ("/db/db/aesthetic/moods?%63ommand=drop()", Refusal::Query),
            ("/db/db/aesthetic/moods?Command=drop()", Refusal::Query),
            ("/db/db/aesthetic/moods?a[command]=drop()", Refusal::Query),
            ("/db/db/aesthetic/moods?sort[a][command]=x", Refusal::Query),
            ("/db/db/aesthetic/moods?sort[$where]=x", Refusal::Query),
            (
                "/db/db/aesthetic/moods?runAggregate=on&query=[]",
                Refusal::Query,
            ),
            (
                "/db/db/aesthetic/moods?query=[{$out:%22x%22}]",
                Refusal::Query,
            ),
            (
                "/db/db/aesthetic/moods?query=%7B%24where%3A%221%22%7D",
                Refusal::Query,
            ),
            (
                "/db/db/aesthetic/moods?query=%7B%22%5Cu0024where%22%3A1%7D",
                Refusal::Query,
            ),
            ("/db/db/aesthetic/moods?_method=DELETE", Refusal::Query),
            ("/db/db/aesthetic/moods?query=%ff", Refusal::Query),
        ] {
            assert_eq!(only_reads("GET", uri), Err(why), "{uri}");
        }
        for method in [
            "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "GET ",
        ] {
            assert_eq!(only_reads(method, "/db/"), Err(Refusal::Method));
        }
        assert!(only_reads("GET", &format!("/db/db/a/{}", "x".repeat(5000))).is_err());
    }

    /// Actions in any case, encoding and position that mongo-express would recognise.
    #[test]
    fn no_spelling_of_an_action_is_allowed() {
        let mut random = SmallRng::seed_from_u64(6);
        for _ in 0..20_000 {
            let action = ACTIONS[random.random_range(0..ACTIONS.len())];
            let written: String = action
                .chars()
                .map(|letter| {
                    let letter = if random.random() {
                        letter.to_ascii_uppercase()
                    } else {
                        letter.to_ascii_lowercase()
                    };
                    if random.random_ratio(1, 3) {
                        format!("%{:02x}", u32::from(letter))
                    } else {
                        letter.to_string()
                    }
                })
                .collect();
            let filler = ["", "/", "/.", "/x/..", "//"][random.random_range(0..5)];
            let uri = format!("/db/db/aesthetic{filler}/{written}/moods");
            assert!(only_reads("GET", &uri).is_err(), "{uri}");
        }
    }
}
