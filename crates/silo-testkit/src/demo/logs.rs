//! Logs and telemetry: nearly half of the documents and most of the bytes.

use mongodb::bson::{Bson, Document, doc};

use super::plan::{DocumentGenerator, Plan, index};

pub(super) const PLANS: &[Plan] = &[
    Plan {
        name: "boots",
        documents: 25_513,
        make: boot,
        indexes: &[index(&[("bootId", 1)])],
    },
    Plan {
        name: "logs",
        documents: 2_320,
        make: log,
        indexes: &[index(&[("when", 1)])],
    },
    Plan {
        name: "bundle-telemetry",
        documents: 440,
        make: telemetry,
        indexes: &[],
    },
    Plan {
        name: "oven-grabs",
        documents: 30_560,
        make: grab,
        indexes: &[],
    },
    Plan {
        name: "oven-bakes",
        documents: 30,
        make: bake,
        indexes: &[],
    },
    Plan {
        name: "oven-cache",
        documents: 1_362,
        make: cached,
        indexes: &[],
    },
];

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";

fn boot(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut boot, when) = maker.begin("boot", 60);
    let id = maker.hash("boot");
    if maker.at * 10 > maker.of * 9 {
        // The newest tenth: since 2026-09-21 the boot's own id is the document's.
        boot.insert("_id", &id);
    }
    let status = maker.pick(&["success", "success", "success", "started", "error"]);
    let events: Vec<Bson> = (0..maker.number(12..40))
        .map(|step| event(maker, step))
        .collect();
    let mut meta = doc! {
        "host": "aesthetic.computer", "path": "/", "browser": "Chrome", "mobile": maker.chance(40), "userAgent": BROWSER, "localDev": false,
    };
    if maker.chance(30) {
        meta.insert(
            "user",
            doc! { "sub": maker.some_user(), "handle": maker.demo.name("handle", maker.at) },
        );
    }
    boot.extend(doc! {
        "bootId": id, "createdAt": when, "updatedAt": when, "status": status, "meta": meta,
        "server": { "ip": "192.0.2.7", "country": "DK", "region": "84", "city": "demo-canary-city" },
        "events": events,
    });
    boot
}

fn event(maker: &mut DocumentGenerator<'_>, step: i32) -> Bson {
    doc! { "time": step * 40, "type": maker.pick(&["load", "fetch", "audio", "gpu", "render"]), "message": maker.sentence(10..16), "level": "info" }.into()
}

fn log(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut log, when) = maker.begin("log", 600);
    let user = maker.some_user();
    log.extend(doc! { "from": "log", "text": maker.sentence(3..9), "when": when, "users": [user] });
    log
}

fn telemetry(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut telemetry, when) = maker.begin("telemetry", 90);
    telemetry.extend(doc! {
        "type": maker.pick(&["boot", "perf", "error"]), "timestamp": when, "ms": maker.number(20..4000),
        "meta": { "ip": "192.0.2.9", "userAgent": BROWSER },
    });
    telemetry
}

fn grab(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut grab, when) = maker.begin("grab", 120);
    let key = maker.hash("grab");
    grab.extend(doc! {
        "grabId": &key[..12], "piece": format!("${}", maker.code()), "format": "webp",
        "dimensions": { "width": 256, "height": 256 }, "status": "complete", "startTime": when, "completedAt": when,
        "cdnUrl": format!("https://art.example.invalid/oven/grabs/{key}.webp"), "captureKey": format!("{key}-256x256"),
        "source": maker.pick(&["keep", "manual", "api"]), "gitVersion": &key[12..20],
    });
    grab
}

fn bake(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut bake, when) = maker.begin("bake", 90);
    bake.extend(doc! { "code": maker.code(), "slug": maker.slug(when), "success": maker.chance(90), "createdAt": when });
    // Two writers: lith writes a date, oven a number.
    if maker.at.is_multiple_of(2) {
        bake.insert("completedAt", when);
    } else {
        bake.insert("completedAt", when.timestamp_millis());
    }
    bake
}

fn cached(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut cached, when) = maker.begin("cache", 60);
    let key = format!(
        "icons/{}-128x128-{}.png",
        maker.code(),
        &maker.hash("cache")[..8]
    );
    cached.extend(doc! {
        "spacesKey": format!("oven/{key}"), "cdnUrl": format!("https://art.example.invalid/oven/{key}"), "key": key,
        "contentType": "image/png", "size": maker.number(900..90_000), "generatedAt": when, "expiresAt": when,
    });
    cached
}
