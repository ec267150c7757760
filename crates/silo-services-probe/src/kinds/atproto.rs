//! AT-protocol personal data server: `/xrpc/_health` reports its version. Slower facts are in `crate::atproto_network`.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::field::{count, text};
use super::reply::nothing_known;
use crate::failure::Failure;

pub(super) const PATH: &str = "/xrpc/_health";
/// The list of accounts, page by page (`com.atproto.sync.listRepos` of the AT protocol's lexicon).
pub(crate) const ACCOUNTS: &str = "/xrpc/com.atproto.sync.listRepos";

/// Facts that the server reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Atproto {
    /// Version of the server.
    pub version: Option<String>,
}

pub(super) fn read(value: &Value) -> Result<Atproto, Failure> {
    match text(&value["version"]) {
        None => Err(nothing_known("an AT-protocol server")),
        version => Ok(Atproto { version }),
    }
}

/// One page of the list of accounts: how many there are on it, how many of them are active, and where the next one begins.
pub(crate) struct AccountsPage {
    pub(crate) accounts: u64,
    pub(crate) active: u64,
    pub(crate) cursor: Option<String>,
}

/// `None` when it is no such page.
pub(crate) fn read_accounts(value: &Value) -> Option<AccountsPage> {
    let repos = value["repos"].as_array()?;
    // Servers from before the field existed have only active ones.
    let active = repos
        .iter()
        .filter(|repo| repo["active"] != Value::Bool(false))
        .count();
    let cursor = value["cursor"]
        .as_str()
        .filter(|cursor| !cursor.is_empty() && cursor.len() <= 512);
    Some(AccountsPage {
        accounts: count(&repos.len().into())?,
        active: count(&active.into())?,
        cursor: cursor.map(str::to_owned),
    })
}
