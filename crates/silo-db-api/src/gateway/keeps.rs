//! Keeps in `kidlisp` and `keep-jobs`, in all formats that AC has written over time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use silo_mongo::error::DatabaseError;
use silo_mongo::field;
use silo_mongo::mongodb::bson::{Document, doc};

use super::Gateway;

/// Token, as recorded in one of the formats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The token's number; `None` when it is missing or `null`.
    pub token: Option<u64>,
    /// `mainnet`, `ghostnet`...; `None` if it was not recorded.
    pub network: Option<String>,
    /// The contract's address.
    pub contract: Option<String>,
    /// When it was kept.
    pub at: Option<Timestamp>,
    /// Sub of the user who kept the piece.
    pub by: Option<String>,
}

/// The `tezos` field: what the first versions wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Legacy {
    /// `tezos.minted`.
    pub minted: Option<bool>,
    /// `true` if `tezos.error` exists.
    pub error: bool,
    /// The token.
    pub record: Record,
}

/// One entry of `tezos.contracts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract(pub Record);

/// Piece with any field about keeping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The piece's code.
    pub code: String,
    /// The sub of who made it; `None` for a guest.
    pub user: Option<String>,
    /// The current format: `kept`.
    pub kept: Option<Record>,
    /// The legacy format: `tezos`.
    pub legacy: Option<Legacy>,
    /// The map format: `tezos.contracts`.
    pub contracts: Vec<Contract>,
    /// `true` if `pendingKeep` exists.
    pub pending: bool,
    /// `true` if `pendingRebake` exists.
    pub rebake: bool,
    /// `true` if `ipfsMedia` exists.
    pub media: bool,
}

/// A piece and how often it was played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// The piece's code.
    pub code: String,
    /// Number of plays.
    pub hits: u64,
    /// Sub of the author.
    pub user: Option<String>,
}

impl Gateway {
    /// Reads the pieces with any field about keeping.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn pieces_with_keeps(&self) -> Result<Vec<Piece>, DatabaseError> {
        let there = |field: &str| doc! { field: { "$exists": true } };
        let fields = ["kept", "tezos", "pendingKeep", "pendingRebake", "ipfsMedia"];
        let projection = doc! {
            "code": 1, "user": 1, "pendingKeep.stage": 1, "pendingRebake.contractAddress": 1, "ipfsMedia.artifactUri": 1,
            "kept.tokenId": 1, "kept.network": 1, "kept.contractAddress": 1, "kept.keptAt": 1, "kept.keptBy": 1,
            "tezos.minted": 1, "tezos.error": 1, "tezos.tokenId": 1, "tezos.network": 1, "tezos.contractAddress": 1,
            "tezos.mintedAt": 1, "tezos.contracts": 1,
        };
        let filter = doc! { "$or": fields.map(there).to_vec() };
        let mut pieces = Vec::new();
        self.each(
            doc! { "find": "kidlisp", "filter": filter, "projection": projection },
            |piece| pieces.push(read_piece(piece)),
        )
        .await?;
        Ok(pieces)
    }

    /// Reads the most played pieces.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn most_played(&self, limit: i64) -> Result<Vec<Played>, DatabaseError> {
        let mut played = Vec::new();
        let projection = doc! { "code": 1, "hits": 1, "user": 1 };
        let find = doc! { "find": "kidlisp", "filter": { "hits": { "$gt": 0 } }, "sort": { "hits": -1, "_id": 1 }, "limit": limit, "projection": projection };
        self.each(find, |piece| {
            if let (Some(code), Some(hits)) =
                (field::text(piece, "code"), field::count(piece, "hits"))
            {
                let user = field::text(piece, "user").map(str::to_owned);
                played.push(Played {
                    code: code.to_owned(),
                    hits,
                    user,
                });
            }
        })
        .await?;
        Ok(played)
    }

    /// Reads the number of pieces from the collection's metadata.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn count_pieces(&self) -> Result<Option<u64>, DatabaseError> {
        let answer = self
            .aggregate("kidlisp", vec![doc! { "$collStats": { "count": {} } }])
            .await;
        match answer {
            Ok(shards) => Ok(shards
                .iter()
                .map(|shard| field::count(shard, "count"))
                .sum()),
            Err(DatabaseError::NotThere) => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    /// Counts the pieces made since each of these times, by the index on `when`.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn count_pieces_since<const N: usize>(
        &self,
        times: [Timestamp; N],
    ) -> Result<[u64; N], DatabaseError> {
        let oldest = times.iter().min().copied().unwrap_or_default();
        let mut counts = [0; N];
        let find = doc! { "find": "kidlisp", "filter": { "when": { "$gte": field::date(oldest) } }, "projection": { "_id": 0, "when": 1 } };
        self.each(find, |piece| {
            let when = field::time(piece, "when");
            for (count, since) in counts.iter_mut().zip(times) {
                *count += u64::from(when.is_some_and(|when| when >= since));
            }
        })
        .await?;
        Ok(counts)
    }

    /// Counts live keep jobs by status. They expire after 30 minutes, so this is the present and not a history.
    ///
    /// # Errors
    /// The error of the command.
    pub async fn keep_jobs(&self) -> Result<BTreeMap<String, u64>, DatabaseError> {
        let group = doc! { "$group": { "_id": "$status", "count": { "$sum": 1 } } };
        let groups = self.aggregate_all("keep-jobs", vec![group]).await?;
        let read = |group: &Document| {
            Some((
                field::text(group, "_id").unwrap_or("unknown").to_owned(),
                field::count(group, "count")?,
            ))
        };
        Ok(groups.iter().filter_map(read).collect())
    }
}

fn read_piece(piece: &Document) -> Piece {
    let tezos = field::document(piece, "tezos");
    let contracts = tezos.and_then(|tezos| field::document(tezos, "contracts"));
    Piece {
        code: field::text(piece, "code").unwrap_or_default().to_owned(),
        user: field::text(piece, "user").map(str::to_owned),
        kept: field::document(piece, "kept").map(|kept| Record {
            by: field::text(kept, "keptBy").map(str::to_owned),
            ..read_record(kept, "contractAddress", "keptAt")
        }),
        legacy: tezos.map(|tezos| Legacy {
            minted: field::flag(tezos, "minted"),
            error: tezos.contains_key("error"),
            record: read_record(tezos, "contractAddress", "mintedAt"),
        }),
        contracts: contracts
            .into_iter()
            .flatten()
            .filter_map(|(address, entry)| read_contract(address, entry.as_document()?))
            .collect(),
        pending: piece.contains_key("pendingKeep"),
        rebake: piece.contains_key("pendingRebake"),
        media: piece.contains_key("ipfsMedia"),
    }
}

fn read_record(document: &Document, contract: &str, at: &str) -> Record {
    let text = |path: &str| {
        field::text(document, path)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Record {
        token: field::count(document, "tokenId"),
        network: text("network"),
        contract: text(contract),
        at: field::time(document, at),
        by: None,
    }
}

fn read_contract(address: &str, entry: &Document) -> Option<Contract> {
    let record = read_record(entry, "contractAddress", "lastUpdatedAt");
    record.token.is_some().then(|| {
        Contract(Record {
            contract: Some(address.to_owned()),
            ..record
        })
    })
}
