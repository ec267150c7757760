//! Users, handles, verifications and secrets.

use mongodb::bson::{Document, doc};

use super::plan::{DocumentGenerator, Plan, index};

pub(super) const PLANS: &[Plan] = &[
    Plan {
        name: "users",
        documents: 4_217,
        make: user,
        indexes: &[index(&[("code", 1)]).named("code_unique").unique().sparse()],
    },
    Plan {
        name: "@handles",
        documents: 2_773,
        make: handle,
        indexes: &[index(&[("handle", 1)]).unique()],
    },
    Plan {
        name: "verifications",
        documents: 3_876,
        make: verification,
        indexes: &[],
    },
    Plan {
        name: "secrets",
        documents: 6,
        make: secret,
        indexes: &[],
    },
];

fn user(maker: &mut DocumentGenerator<'_>) -> Document {
    let sub = maker.demo.sub(maker.at);
    let when = maker.minutes_ago(700);
    let when = maker.demo.ago(when);
    let name = maker.demo.name("code", maker.at);
    let mut user = doc! { "_id": sub, "code": format!("ac25{name}"), "when": when };
    if maker.at == 0 || maker.chance(24) {
        user.insert(
            "atproto",
            doc! {
                "did": format!("did:plc:{}", &maker.hash("did")[..24]),
                "handle": format!("{name}.at.aesthetic.computer"),
                "password": "demo-canary-atproto-password",
                "created": "2026-01-01T00:00:00.000Z",
                "syncedAt": "2026-01-02T00:00:00.000Z",
            },
        );
    }
    if maker.chance(60) {
        user.insert("email", format!("demo-canary-{name}@example.invalid"));
    }
    user
}

fn handle(maker: &mut DocumentGenerator<'_>) -> Document {
    // One in fifty belongs to a user of sotce.net, who is no user here.
    let sotce = maker.at % 50 == 49;
    let sub = if sotce {
        format!("sotce-auth0|{}", &maker.hash("sotce")[..24])
    } else {
        maker.demo.sub(maker.at + 1)
    };
    let mut handle = doc! { "_id": sub, "handle": maker.demo.name("handle", maker.at) };
    if maker.chance(20) {
        handle.insert("colors", vec![doc! { "r": 255, "g": 107, "b": 157 }]);
        let when = maker.minutes_ago(300);
        handle.insert("createdAt", maker.demo.ago(when));
    }
    handle
}

fn verification(maker: &mut DocumentGenerator<'_>) -> Document {
    let count = if maker.chance(8) {
        0
    } else {
        maker.number(1..4)
    };
    doc! { "_id": maker.demo.sub(maker.at + 1), "count": count }
}

fn secret(maker: &mut DocumentGenerator<'_>) -> Document {
    const PROVIDERS: [&str; 6] = [
        "instagram",
        "pinata",
        "tezos-kidlisp",
        "facebook",
        "paypal",
        "printful",
    ];
    // Beyond the six there are none in AC; larger scales number them.
    let provider = PROVIDERS[maker.at % PROVIDERS.len()];
    let id = if maker.at < PROVIDERS.len() {
        provider.to_owned()
    } else {
        format!("{provider}-{}", maker.at)
    };
    doc! { "_id": id, "username": "demo", "demoCanaryFieldName": "demo-canary-secret-value" }
}
