use super::*;
use crate::gateway::Legacy;

fn token(number: u64, network: Option<&str>, contract: Option<&str>) -> Record {
    Record {
        token: Some(number),
        network: network.map(Into::into),
        contract: contract.map(Into::into),
        ..Record::default()
    }
}

fn minted(record: Record) -> Option<Legacy> {
    Some(Legacy {
        minted: Some(true),
        error: false,
        record,
    })
}

fn counted(pieces: &[Piece]) -> Keeps {
    count(pieces, &Directory::default())
}

#[test]
fn a_token_in_all_three_formats_counts_once() {
    let all_three = Piece {
        kept: Some(token(7, Some("mainnet"), Some("KT1a"))),
        legacy: minted(token(7, None, None)),
        contracts: vec![Contract(token(7, None, Some("KT1a")))],
        ..Piece::default()
    };
    let map_only = Piece {
        contracts: vec![Contract(token(1, None, Some("KT1b")))],
        ..Piece::default()
    };
    let legacy_only = Piece {
        legacy: minted(token(3, Some("ghostnet"), None)),
        ..Piece::default()
    };
    let keeps = counted(&[all_three, map_only, legacy_only]);
    assert_eq!((keeps.kept, keeps.tokens), (3, 3));
    assert_eq!(
        keeps.by_format,
        FormatCounts {
            kept: 1,
            minted: 2,
            contracts: 2
        }
    );
    let by_network: Vec<_> = keeps
        .by_network
        .iter()
        .map(|row| (row.network.as_deref(), row.tokens))
        .collect();
    assert_eq!(
        by_network,
        [(None, 1), (Some("ghostnet"), 1), (Some("mainnet"), 1)]
    );
}

#[test]
fn a_piece_kept_on_two_networks_has_two_tokens() {
    let twice = Piece {
        kept: Some(token(7, Some("mainnet"), Some("KT1a"))),
        contracts: vec![Contract(token(7, Some("ghostnet"), Some("KT1b")))],
        ..Piece::default()
    };
    let keeps = counted(&[twice]);
    assert_eq!((keeps.kept, keeps.tokens), (1, 2));
}

#[test]
fn each_piece_has_one_keep_status() {
    let waiting = Piece {
        kept: Some(Record::default()),
        ..Piece::default()
    };
    let begun = Piece {
        pending: true,
        media: true,
        ..Piece::default()
    };
    let kept_and_begun = Piece {
        kept: Some(token(0, None, None)),
        pending: true,
        ..Piece::default()
    };
    let failed = Piece {
        legacy: Some(Legacy {
            minted: Some(false),
            error: true,
            ..Legacy::default()
        }),
        media: true,
        ..Piece::default()
    };
    let exists = Piece {
        legacy: Some(Legacy {
            minted: Some(false),
            ..Legacy::default()
        }),
        ..Piece::default()
    };
    let baked = Piece {
        media: true,
        ..Piece::default()
    };
    let rebake = Piece {
        kept: Some(token(1, None, None)),
        rebake: true,
        ..Piece::default()
    };
    let rebake_without_keep = Piece {
        rebake: true,
        ..Piece::default()
    };
    let keeps = counted(&[
        rebake_without_keep,
        waiting,
        begun,
        kept_and_begun,
        failed,
        exists,
        baked,
        rebake,
    ]);
    assert_eq!(
        (
            keeps.kept,
            keeps.pending,
            keeps.failed,
            keeps.baked_not_kept,
            keeps.rebake_pending
        ),
        (2, 2, 1, 1, 1)
    );
}

#[test]
fn a_token_without_a_network_is_unknown_and_not_mainnet() {
    let keeps = counted(&[Piece {
        kept: Some(token(1, None, Some("KT1a"))),
        ..Piece::default()
    }]);
    assert_eq!(
        keeps.by_network,
        [NetworkTokens {
            network: None,
            tokens: 1
        }]
    );
}

#[test]
fn keeps_are_sorted_newest_first_and_those_without_a_time_last() {
    let at = |code: &str, time: Option<&str>| {
        let kept = Record {
            at: time.and_then(|time| time.parse().ok()),
            ..token(1, None, Some(code))
        };
        Piece {
            code: code.into(),
            kept: Some(kept),
            ..Piece::default()
        }
    };
    let keeps = counted(&[
        at("old", Some("2025-01-01T00:00:00Z")),
        at("none", None),
        at("new", Some("2026-01-01T00:00:00Z")),
    ]);
    let codes: Vec<_> = keeps.recent.iter().map(|keep| keep.code.as_str()).collect();
    assert_eq!(codes, ["new", "old", "none"]);
}
