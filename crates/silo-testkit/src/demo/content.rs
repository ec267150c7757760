//! Content that people made: kidlisp, paintings, pieces, moods, tapes, clocks.

use std::collections::BTreeMap;

use mongodb::bson::{Bson, Document, doc};

use super::plan::{Demo, DocumentGenerator, Index, Plan, index, scaled};

const MEDIA: &[Index] = &[
    index(&[("code", 1)]).unique().sparse(),
    index(&[("user", 1)]).sparse(),
    index(&[("when", 1)]),
    index(&[("slug", 1)]),
    index(&[("slug", 1), ("user", 1)]).unique(),
];

pub(super) const PLANS: &[Plan] = &[
    Plan {
        name: "kidlisp",
        documents: 14_189,
        make: kidlisp,
        indexes: &[
            index(&[("code", 1)]).named("kidlisp_code_unique").unique(),
            index(&[("hash", 1)]).named("kidlisp_hash_unique").unique(),
            index(&[("when", 1)]).named("kidlisp_when"),
            index(&[("user", 1)]).named("kidlisp_user").sparse(),
            index(&[("kept.network", 1)])
                .named("kidlisp_kept_network")
                .sparse(),
        ],
    },
    Plan {
        name: "paintings",
        documents: 4_358,
        make: painting,
        indexes: MEDIA,
    },
    Plan {
        name: "pieces",
        documents: 265,
        make: piece,
        indexes: MEDIA,
    },
    Plan {
        name: "moods",
        documents: 2_874,
        make: mood,
        indexes: &[index(&[("user", 1)]), index(&[("when", 1)])],
    },
    Plan {
        name: "tapes",
        documents: 310,
        make: tape,
        indexes: MEDIA,
    },
    Plan {
        name: "clocks",
        documents: 87,
        make: clock,
        indexes: &[
            index(&[("code", 1)]).named("clock_code_unique").unique(),
            index(&[("hash", 1)]).named("clock_hash_unique").unique(),
            index(&[("when", -1)]).named("clock_when"),
            index(&[("user", 1)]).named("clock_user").sparse(),
            index(&[("hits", -1)]).named("clock_hits"),
        ],
    },
];

/// Keep status of a piece. Pieces of one status are adjacent, counted from the newest back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// The current shape on mainnet.
    Mainnet,
    /// The current shape on ghostnet.
    Ghostnet,
    /// The current shape, with no network written down.
    NoNetwork,
    /// One token in all three shapes.
    AllShapes,
    /// The first shape only, on ghostnet.
    Minted,
    /// The map only, with no network.
    Map,
    /// Kept, and its media is being made again.
    Rebake,
    /// `pendingKeep`.
    Pending,
    /// `kept` whose token is `null`.
    TokenPending,
    /// The first shape, failed.
    Failed,
    /// The first shape, not minted because it was there before.
    Exists,
    /// Media is ready, and no more.
    Baked,
}

const KEEPS: &[(Keep, usize)] = &[
    (Keep::Mainnet, 70),
    (Keep::AllShapes, 18),
    (Keep::Rebake, 4),
    (Keep::Ghostnet, 40),
    (Keep::NoNetwork, 7),
    (Keep::Minted, 12),
    (Keep::Map, 8),
    (Keep::Pending, 6),
    (Keep::TokenPending, 3),
    (Keep::Failed, 9),
    (Keep::Exists, 5),
    (Keep::Baked, 120),
];

const MAINNET: &str = "KT1DemoMainnetContractAddress0000000";
const GHOSTNET: &str = "KT1DemoGhostnetContractAddress000000";

/// Expected counts of keeps, as generated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepsTruth {
    /// Pieces with a token.
    pub kept: usize,
    /// Pieces on their way.
    pub pending: usize,
    /// Pieces that failed.
    pub failed: usize,
    /// Pieces with media and no more.
    pub baked: usize,
    /// Kept pieces whose media is being made again.
    pub rebake: usize,
    /// Tokens by network; `None` is unknown.
    pub by_network: BTreeMap<Option<&'static str>, usize>,
}

pub(super) fn keeps(demo: &Demo) -> KeepsTruth {
    let mut truth = KeepsTruth::default();
    for (keep, count) in KEEPS {
        let count = scaled(*count, demo.scale);
        let network = match keep {
            Keep::Mainnet | Keep::AllShapes | Keep::Rebake => Some(Some("mainnet")),
            Keep::Ghostnet | Keep::Minted => Some(Some("ghostnet")),
            Keep::NoNetwork | Keep::Map => Some(None),
            Keep::Pending | Keep::TokenPending | Keep::Failed | Keep::Exists | Keep::Baked => None,
        };
        if let Some(network) = network {
            truth.kept += count;
            *truth.by_network.entry(network).or_default() += count;
        }
        match keep {
            Keep::Pending | Keep::TokenPending => truth.pending += count,
            Keep::Failed => truth.failed += count,
            Keep::Baked => truth.baked += count,
            Keep::Rebake => truth.rebake += count,
            _ => {}
        }
    }
    truth
}

fn keep_at(demo: &Demo, from_newest: usize) -> Option<Keep> {
    let mut end = 0;
    KEEPS.iter().find_map(|(keep, count)| {
        end += scaled(*count, demo.scale);
        (from_newest < end).then_some(*keep)
    })
}

fn kidlisp(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut piece, when) = maker.begin("kidlisp", 300);
    let source = format!("({})\n; {}", maker.sentence(3..60), maker.at);
    piece.extend(doc! {
        "code": maker.code(), "source": source, "hash": maker.hash("source"), "when": when, "lastAccessed": when,
        "hits": maker.number(0..400),
    });
    let user = maker.chance(70).then(|| maker.some_user());
    if let Some(user) = &user {
        piece.insert("user", user);
    }
    if maker.chance(55) {
        piece.insert("atproto", doc! { "rkey": rkey(maker) });
    }
    if let Some(keep) = keep_at(maker.demo, maker.of - 1 - maker.at) {
        add_keep(&mut piece, keep, maker, user.as_deref());
    }
    piece
}

fn add_keep(
    piece: &mut Document,
    keep: Keep,
    maker: &mut DocumentGenerator<'_>,
    user: Option<&str>,
) {
    let token = i32::try_from(maker.at).unwrap_or_default();
    let minutes = maker.minutes_ago(200);
    let when = maker.demo.ago(minutes);
    let uri = format!("ipfs://{}", &maker.hash("ipfs")[..46]);
    let kept = |token: Bson, network: Option<&str>, contract: &str| {
        let mut kept = doc! {
            "tokenId": token, "txHash": "opDemo", "walletAddress": "tz1DemoCanaryWalletAddress", "contractAddress": contract,
            "artifactUri": &uri, "thumbnailUri": &uri, "metadataUri": &uri, "keptAt": when,
        };
        if let Some(network) = network {
            kept.insert("network", network);
        }
        if let Some(user) = user {
            kept.insert("keptBy", user);
        }
        kept
    };
    let entry = doc! { "tokenId": token, "artifactUri": &uri, "lastUpdatedAt": when };
    match keep {
        Keep::Mainnet => drop(piece.insert("kept", kept(token.into(), Some("mainnet"), MAINNET))),
        Keep::Ghostnet => {
            drop(piece.insert("kept", kept(token.into(), Some("ghostnet"), GHOSTNET)))
        }
        Keep::NoNetwork => drop(piece.insert("kept", kept(token.into(), None, GHOSTNET))),
        Keep::AllShapes => {
            piece.insert("kept", kept(token.into(), Some("mainnet"), MAINNET));
            piece.insert("tezos", doc! { "minted": true, "tokenId": token, "mintedAt": when, "contracts": { MAINNET: entry } });
        }
        Keep::Minted => drop(piece.insert(
            "tezos",
            doc! { "minted": true, "tokenId": token, "network": "ghostnet", "mintedAt": when },
        )),
        Keep::Map => drop(piece.insert("tezos", doc! { "contracts": { GHOSTNET: entry } })),
        Keep::Rebake => {
            piece.insert("kept", kept(token.into(), Some("mainnet"), MAINNET));
            piece.insert(
                "pendingRebake",
                doc! { "contractAddress": MAINNET, "artifactUri": uri },
            );
        }
        Keep::Pending => drop(piece.insert("pendingKeep", doc! { "startedAt": when })),
        Keep::TokenPending => {
            drop(piece.insert("kept", kept(Bson::Null, Some("mainnet"), MAINNET)))
        }
        Keep::Failed => drop(piece.insert(
            "tezos",
            doc! { "minted": false, "error": "timeout", "failedAt": when },
        )),
        Keep::Exists => drop(piece.insert("tezos", doc! { "minted": false, "exists": true })),
        Keep::Baked => drop(piece.insert(
            "ipfsMedia",
            doc! { "artifactUri": &uri, "thumbnailUri": &uri },
        )),
    }
}

fn painting(maker: &mut DocumentGenerator<'_>) -> Document {
    media(maker, "painting", 900, 80)
}

fn piece(maker: &mut DocumentGenerator<'_>) -> Document {
    media(maker, "piece", 600, 60)
}

fn media(maker: &mut DocumentGenerator<'_>, kind: &str, days: i64, synced: u32) -> Document {
    let (mut media, when) = maker.begin(kind, days);
    media.extend(doc! { "code": maker.code(), "slug": maker.slug(when), "when": when });
    if maker.chance(75) {
        media.insert("user", maker.some_user());
        media.insert("bucket", "user-aesthetic-computer");
    } else {
        media.insert("bucket", "art-aesthetic-computer");
    }
    if maker.chance(3) {
        media.insert("nuked", true);
    }
    if maker.chance(synced) {
        let rkey = rkey(maker);
        media.insert("atproto", doc! { "uri": format!("at://did:plc:demo/computer.aesthetic.{kind}/{rkey}"), "rkey": rkey });
    }
    media
}

fn mood(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut mood, when) = maker.begin("mood", 800);
    mood.extend(doc! { "user": maker.some_user(), "mood": maker.sentence(1..12), "when": when });
    if maker.chance(4) {
        mood.insert("deleted", true);
    }
    if maker.chance(70) {
        mood.insert("atproto", doc! { "rkey": rkey(maker) });
    }
    mood
}

fn tape(maker: &mut DocumentGenerator<'_>) -> Document {
    let mut tape = media(maker, "tape", 200, 50);
    let status = maker.pick(&[
        "complete",
        "complete",
        "complete",
        "complete",
        "pending",
        "processing",
        "oven-failed",
    ]);
    tape.insert("mp4Status", status);
    if status == "complete" {
        tape.insert(
            "mp4Url",
            format!(
                "https://at-blobs.example.invalid/tapes/{}.mp4",
                maker.code()
            ),
        );
    }
    tape
}

fn clock(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut clock, when) = maker.begin("clock", 120);
    clock.extend(doc! {
        "code": maker.code(), "source": maker.sentence(4..30), "hash": maker.hash("clock"), "when": when, "lastAccessed": when,
        "hits": maker.number(0..50),
    });
    if maker.chance(50) {
        clock.insert("user", maker.some_user());
    }
    clock
}

fn rkey(maker: &DocumentGenerator<'_>) -> String {
    format!("3k{}", &maker.hash("rkey")[..11])
}
