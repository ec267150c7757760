//! KidLisp keeps: minted pieces by network and contract, and pending ones.
//!
//! AC has written keeps in three formats over time (`kept`, `tezos` with `minted`, `tezos.contracts`). A piece may have the same token in more than
//! one; a token is identified by contract, number and network.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use silo_core::units::count_from_usize;
use silo_web::snapshot::{Measured, Snapshot, SourceError};
use utoipa::ToSchema;

use crate::gateway::{Contract, Gateway, Piece, Played, Record, source_error};
use crate::users::{Directory, New, Users};

/// Entries of each list.
const MAX_ENTRIES: usize = 20;

/// KidLisp keeps: counts, and lists of the newest and most played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keeps {
    /// All pieces.
    pub total: Option<u64>,
    /// Pieces made lately.
    pub new: New,
    /// Pieces that were kept at least once.
    pub kept: u64,
    /// Tokens of those pieces: a piece can be kept on more than one contract.
    pub tokens: u64,
    /// Pieces whose keep has begun and has no token yet.
    pub pending: u64,
    /// Kept pieces whose media is being made again.
    pub rebake_pending: u64,
    /// Pieces with finished media whose keep was never begun.
    pub baked_not_kept: u64,
    /// Pieces whose keep failed, recorded in the oldest format only: later failures leave no record.
    pub failed: u64,
    /// Tokens by network; a token without a recorded network is under `null`.
    pub by_network: Vec<NetworkTokens>,
    /// Tokens by contract and network.
    pub by_contract: Vec<ContractTokens>,
    /// Pieces with a token, by the format that records it; a piece can be counted in several.
    pub by_format: FormatCounts,
    /// Keep jobs of the last half hour by status; `null` when they could not be read.
    pub jobs: Option<BTreeMap<String, u64>>,
    /// The newest keeps.
    pub recent: Vec<RecentKeep>,
    /// The most played pieces.
    pub top_by_hits: Vec<TopPiece>,
}

/// Tokens of one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct NetworkTokens {
    /// `mainnet`, `ghostnet`...; `null` when unknown.
    pub network: Option<String>,
    /// Number of tokens.
    pub tokens: u64,
}

/// Tokens of one contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ContractTokens {
    /// The contract's address; `null` when unknown.
    pub contract: Option<String>,
    /// Network of the contract; `null` when unknown.
    pub network: Option<String>,
    /// Number of tokens.
    pub tokens: u64,
}

/// Pieces by the format that records their token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FormatCounts {
    /// The current one: `kept`.
    pub kept: u64,
    /// The first: `tezos.minted`.
    pub minted: u64,
    /// The map: `tezos.contracts`.
    pub contracts: u64,
}

/// A keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentKeep {
    /// The piece's code.
    pub code: String,
    /// The token's number.
    pub token_id: u64,
    /// The network; `null` when unknown.
    pub network: Option<String>,
    /// The contract's address; `null` when unknown.
    pub contract: Option<String>,
    /// When it was kept; `null` when unknown.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub kept_at: Option<Timestamp>,
    /// Handle of the user who kept the piece; `null` when unknown or without a handle.
    pub handle: Option<String>,
}

/// A piece that is played a lot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TopPiece {
    /// The piece's code.
    pub code: String,
    /// Number of plays.
    pub hits: u64,
    /// Handle of the author; `null` for guests and users without a handle.
    pub handle: Option<String>,
}

/// Reads what there is about keeping, the most played pieces and the live jobs.
pub async fn measure(
    gateway: Gateway,
    users: Arc<Snapshot<Users>>,
) -> Result<Measured<Keeps>, SourceError> {
    let at = |error| source_error("kidlisp", error);
    let now = Timestamp::now();
    let since = |days: i64| now - SignedDuration::from_hours(24 * days);
    let pieces = gateway.pieces_with_keeps().await.map_err(at)?;
    let total = gateway.count_pieces().await.map_err(at)?;
    let [last_day, last_7_days, last_30_days] = gateway
        .count_pieces_since([since(1), since(7), since(30)])
        .await
        .map_err(at)?;
    let played = gateway.most_played(20).await.map_err(at)?;
    let mut errors = Vec::new();
    let jobs = gateway
        .keep_jobs()
        .await
        .map_err(|error| errors.push(source_error("keep-jobs", error)))
        .ok();
    let users = users
        .wait_for_first()
        .await
        .map_err(|error| {
            errors.push(SourceError {
                source: "handles".into(),
                ..error
            })
        })
        .ok();
    let nobody = Directory::default();
    let directory = users
        .as_ref()
        .map_or(&nobody, |users| &users.value.directory);
    let new = New {
        last_day,
        last_7_days,
        last_30_days,
    };
    Ok(Measured {
        value: Keeps {
            total,
            new,
            jobs,
            top_by_hits: top(&played, directory),
            ..count(&pieces, directory)
        },
        errors,
    })
}

/// Keep status of a piece.
#[derive(Debug, PartialEq, Eq)]
enum KeepStatus {
    Kept,
    Pending,
    Failed,
    Baked,
    Nothing,
}

fn count(pieces: &[Piece], directory: &Directory) -> Keeps {
    let tokens: Vec<(&Piece, Vec<Record>)> = pieces
        .iter()
        .map(|piece| (piece, tokens_of(piece)))
        .collect();
    let of = |status: &KeepStatus| {
        count_from_usize(
            tokens
                .iter()
                .filter(|(piece, tokens)| status_of(piece, tokens) == *status)
                .count(),
        )
    };
    let all = || {
        tokens
            .iter()
            .flat_map(|(piece, tokens)| tokens.iter().map(move |token| (*piece, token)))
    };
    let mut by_contract = BTreeMap::<_, u64>::new();
    let mut by_network = BTreeMap::<_, u64>::new();
    for (_, token) in all() {
        *by_network.entry(token.network.clone()).or_default() += 1;
        *by_contract
            .entry((token.network.clone(), token.contract.clone()))
            .or_default() += 1;
    }
    Keeps {
        total: None,
        new: New::default(),
        kept: of(&KeepStatus::Kept),
        tokens: count_from_usize(all().count()),
        pending: of(&KeepStatus::Pending),
        rebake_pending: count_from_usize(
            tokens
                .iter()
                .filter(|(piece, tokens)| {
                    piece.rebake && status_of(piece, tokens) == KeepStatus::Kept
                })
                .count(),
        ),
        baked_not_kept: of(&KeepStatus::Baked),
        failed: of(&KeepStatus::Failed),
        by_network: by_network
            .into_iter()
            .map(|(network, tokens)| NetworkTokens { network, tokens })
            .collect(),
        by_contract: by_contract
            .into_iter()
            .map(|((network, contract), tokens)| ContractTokens {
                contract,
                network,
                tokens,
            })
            .collect(),
        by_format: format_counts(pieces),
        jobs: None,
        recent: recent(all().collect(), directory),
        top_by_hits: Vec::new(),
    }
}

fn status_of(piece: &Piece, tokens: &[Record]) -> KeepStatus {
    let failed = piece
        .legacy
        .as_ref()
        .is_some_and(|legacy| legacy.minted == Some(false) && legacy.error);
    if !tokens.is_empty() {
        KeepStatus::Kept
    } else if piece.pending || piece.kept.is_some() {
        // `kept` without a token is what the writer logs as "token pending".
        KeepStatus::Pending
    } else if failed {
        KeepStatus::Failed
    } else if piece.media {
        KeepStatus::Baked
    } else {
        KeepStatus::Nothing
    }
}

/// Tokens of a piece, without repetitions between formats.
fn tokens_of(piece: &Piece) -> Vec<Record> {
    let kept = piece.kept.iter().filter(|kept| kept.token.is_some());
    let minted = piece
        .legacy
        .iter()
        .filter(|legacy| legacy.minted == Some(true))
        .map(|legacy| &legacy.record)
        .filter(|record| record.token.is_some());
    let contracts = piece.contracts.iter().map(|Contract(record)| record);
    let mut tokens: Vec<Record> = Vec::new();
    for record in kept.chain(minted).chain(contracts) {
        match tokens.iter_mut().find(|known| same_token(known, record)) {
            Some(known) => complete(known, record),
            None => tokens.push(record.clone()),
        }
    }
    tokens
}

/// Two records mean one token when nothing that both know differs.
fn same_token(a: &Record, b: &Record) -> bool {
    let agree = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
    a.token == b.token && agree(&a.contract, &b.contract) && agree(&a.network, &b.network)
}

fn complete(known: &mut Record, more: &Record) {
    let Record {
        network,
        contract,
        at,
        by,
        ..
    } = more.clone();
    known.network = known.network.take().or(network);
    known.contract = known.contract.take().or(contract);
    known.at = known.at.or(at);
    known.by = known.by.take().or(by);
}

fn format_counts(pieces: &[Piece]) -> FormatCounts {
    let tally = |has: fn(&Piece) -> bool| {
        count_from_usize(pieces.iter().filter(|piece| has(piece)).count())
    };
    FormatCounts {
        kept: tally(|piece| piece.kept.as_ref().is_some_and(|kept| kept.token.is_some())),
        minted: tally(|piece| {
            piece
                .legacy
                .as_ref()
                .is_some_and(|legacy| legacy.minted == Some(true) && legacy.record.token.is_some())
        }),
        contracts: tally(|piece| !piece.contracts.is_empty()),
    }
}

fn recent(mut tokens: Vec<(&Piece, &Record)>, directory: &Directory) -> Vec<RecentKeep> {
    tokens.sort_by(|(a, x), (b, y)| y.at.cmp(&x.at).then_with(|| a.code.cmp(&b.code)));
    let keep = |(piece, token): &(&Piece, &Record)| {
        let by = token.by.as_deref().or(piece.user.as_deref());
        Some(RecentKeep {
            code: piece.code.clone(),
            token_id: token.token?,
            network: token.network.clone(),
            contract: token.contract.clone(),
            kept_at: token.at,
            handle: by.and_then(|by| directory.handle(by)).map(str::to_owned),
        })
    };
    tokens.iter().filter_map(keep).take(MAX_ENTRIES).collect()
}

fn top(played: &[Played], directory: &Directory) -> Vec<TopPiece> {
    let handle = |played: &Played| {
        played
            .user
            .as_deref()
            .and_then(|user| directory.handle(user))
            .map(str::to_owned)
    };
    played
        .iter()
        .map(|piece| TopPiece {
            code: piece.code.clone(),
            hits: piece.hits,
            handle: handle(piece),
        })
        .collect()
}

#[cfg(test)]
mod tests;
