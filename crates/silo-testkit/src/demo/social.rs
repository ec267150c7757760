//! Small feature collections: news, sotce, hits, tickets and others.

use mongodb::bson::{Bson, Document, doc};

use super::plan::{DocumentGenerator, Plan, index};

pub(super) const PLANS: &[Plan] = &[
    Plan {
        name: "oven-frozen-pieces",
        documents: 307,
        make: frozen,
        indexes: &[],
    },
    Plan {
        name: "false.work-builds",
        documents: 23,
        make: build,
        indexes: &[],
    },
    Plan {
        name: "false.work-reports",
        documents: 2,
        make: note,
        indexes: &[],
    },
    Plan {
        name: "jas-tags",
        documents: 10,
        make: note,
        indexes: &[],
    },
    Plan {
        name: "jas-stretched-paintings",
        documents: 1,
        make: note,
        indexes: &[],
    },
    Plan {
        name: "sotce-pages",
        documents: 120,
        make: page,
        indexes: &[],
    },
    Plan {
        name: "sotce-touches",
        documents: 640,
        make: touch,
        indexes: &[index(&[("user", 1), ("page", 1)]).unique()],
    },
    Plan {
        name: "sotce-asks",
        documents: 210,
        make: ask,
        indexes: &[],
    },
    Plan {
        name: "news-posts",
        documents: 160,
        make: post,
        indexes: &[
            index(&[("code", 1)]).unique(),
            index(&[("when", -1)]),
            index(&[("score", -1)]),
            index(&[("user", 1)]),
            index(&[("status", 1)]),
        ],
    },
    Plan {
        name: "news-comments",
        documents: 90,
        make: comment,
        indexes: &[
            index(&[("postCode", 1)]),
            index(&[("parentId", 1)]).sparse(),
            index(&[("when", 1)]),
            index(&[("user", 1)]),
        ],
    },
    Plan {
        name: "news-votes",
        documents: 310,
        make: vote,
        indexes: &[index(&[("itemType", 1), ("itemId", 1), ("user", 1)]).unique()],
    },
    Plan {
        name: "piece-hits",
        documents: 610,
        make: hits,
        indexes: &[index(&[("piece", 1)]).unique(), index(&[("hits", -1)])],
    },
    Plan {
        name: "piece-user-hits",
        documents: 1_600,
        make: user_hits,
        indexes: &[
            index(&[("piece", 1), ("user", 1)]).unique(),
            index(&[("piece", 1), ("hits", -1)]),
        ],
    },
    Plan {
        name: "tickets",
        documents: 170,
        make: ticket,
        indexes: &[],
    },
    Plan {
        name: "products",
        documents: 18,
        make: product,
        indexes: &[],
    },
    Plan {
        name: "servers",
        documents: 13,
        make: server,
        indexes: &[],
    },
];

fn frozen(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut frozen, _) = maker.begin("frozen", 100);
    frozen.extend(doc! { "piece": format!("${}", maker.code()), "reason": "no change between frames", "size": 128 });
    frozen
}

fn build(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut build, when) = maker.begin("build", 200);
    build.extend(doc! { "version": maker.code(), "platform": maker.pick(&["mac", "win", "linux"]), "when": when });
    build
}

fn note(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut note, when) = maker.begin("note", 300);
    note.extend(doc! { "text": maker.sentence(4..20), "when": when });
    note
}

fn page(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut page, when) = maker.begin("page", 500);
    page.extend(doc! { "user": maker.some_user(), "words": maker.sentence(40..200), "when": when, "state": maker.pick(&["draft", "published", "crumpled"]) });
    page
}

fn touch(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut touch, when) = maker.begin("touch", 400);
    touch.extend(
        doc! { "user": maker.some_user(), "page": &maker.hash("page")[..24], "when": when },
    );
    touch
}

fn ask(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut ask, when) = maker.begin("ask", 400);
    ask.extend(doc! { "user": maker.some_user(), "question": maker.sentence(4..30), "when": when });
    ask
}

fn post(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut post, when) = maker.begin("post", 200);
    post.extend(doc! {
        "title": maker.sentence(3..10), "url": "https://example.invalid/", "text": maker.sentence(0..40), "when": when, "updated": when,
        "score": maker.number(0..30), "commentCount": maker.number(0..5), "status": if maker.chance(95) { "live" } else { "dead" },
    });
    let from_bluesky = maker.chance(20);
    post.insert(
        "code",
        if from_bluesky {
            format!("n{}", maker.code())
        } else {
            maker.code()
        },
    );
    if from_bluesky {
        post.insert("user", Bson::Null);
        post.insert(
            "external",
            doc! { "source": "bsky", "did": "did:plc:demo", "fetchedAt": when },
        );
    } else {
        post.insert("user", maker.some_user());
    }
    if from_bluesky || maker.chance(60) {
        post.insert(
            "atproto",
            doc! { "rkey": format!("3k{}", &maker.hash("rkey")[..11]) },
        );
    }
    post
}

fn comment(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut comment, when) = maker.begin("comment", 200);
    comment.extend(doc! { "postCode": maker.code(), "parentId": Bson::Null, "text": maker.sentence(3..40), "user": maker.some_user(), "when": when, "score": 1, "status": "live" });
    comment
}

fn vote(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut vote, when) = maker.begin("vote", 200);
    vote.extend(doc! { "itemType": maker.pick(&["post", "comment"]), "itemId": &maker.hash("item")[..24], "user": maker.some_user(), "when": when });
    vote
}

fn hits(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut hits, when) = maker.begin("hits", 300);
    let count = maker.number(1..900);
    hits.extend(doc! {
        "piece": maker.demo.name("piece", maker.at), "type": maker.pick(&["system", "user"]), "hits": count, "uniqueUsers": count / 3,
        "firstHit": when, "lastHit": when, "daily": { "2026-01-02": { "hits": 4 }, "2026-01-03": { "hits": 1 } },
    });
    hits
}

fn user_hits(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut hits, when) = maker.begin("user-hits", 300);
    let user = if maker.chance(10) {
        "anonymous".to_owned()
    } else {
        maker.some_user()
    };
    hits.extend(doc! { "piece": maker.demo.name("piece", maker.at), "user": user, "hits": maker.number(1..60), "firstHit": when, "lastHit": when });
    hits
}

fn ticket(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut ticket, _) = maker.begin("ticket", 300);
    ticket.extend(doc! {
        "key": &maker.hash("ticket")[..16], "for": maker.pick(&["botce", "aesthetic"]), "email": "demo-canary-ticket@example.invalid", "uses": 10,
        "pid": format!("pi_{}", &maker.hash("pid")[..20]),
    });
    ticket
}

fn product(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut product, when) = maker.begin("product", 300);
    product.extend(doc! { "title": maker.sentence(2..5), "source": { "user": maker.some_user() }, "when": when });
    product
}

fn server(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut server, _) = maker.begin("server", 300);
    server.extend(doc! { "host": format!("{}.example.invalid", maker.code()), "kind": "session" });
    server
}
