//! Objects in storage that belong to the demo documents: media of users and guests, videos of tapes, output of oven, files of the site.

use mongodb::bson::Document;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::plan::{Demo, scaled};

/// AC's buckets, as silo-storage-api measures them by default.
pub const BUCKETS: [&str; 5] = [USER, ART, BLOBS, ASSETS, WAND];

const USER: &str = "user-aesthetic-computer";
const ART: &str = "art-aesthetic-computer";
const BLOBS: &str = "at-blobs-aesthetic-computer";
const ASSETS: &str = "assets-aesthetic-computer";
const WAND: &str = "wand-aesthetic-computer";

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoObject {
    /// The bucket it lies in.
    pub bucket: &'static str,
    /// Key of the object.
    pub key: String,
    /// Size in bytes.
    pub bytes: usize,
    /// The sub of whose it is; `None` for guests' and the site's.
    pub owner: Option<String>,
}

impl Demo {
    /// The objects of this demo data. Sizes are a hundredth of real ones, so that they are quickly put.
    #[must_use]
    pub fn objects(&self) -> Vec<DemoObject> {
        let mut rng = SmallRng::seed_from_u64(self.number("objects", 0));
        let mut objects = Vec::new();
        for (collection, extension, most) in [("paintings", "png", 9_000), ("pieces", "mjs", 2_500)]
        {
            for document in self.of(collection) {
                let kind = collection.trim_end_matches('s');
                let bytes = rng.random_range(200..most) * weight(&document);
                objects.extend(media(&document, kind, extension, bytes));
            }
        }
        for tape in self.of("tapes") {
            objects.extend(video(&tape, &mut rng));
        }
        for at in 0..scaled(600, self.scale) {
            let name = self.name("oven", at);
            let key = match at % 3 {
                0 => format!("oven/icons/{name}-128x128-{at:08x}.png"),
                1 => format!("oven/grabs/{name}.webp"),
                _ => format!("og/kidlisp/2026-01-{:02}-{name}.png", at % 28 + 1),
            };
            objects.push(unowned(ART, key, rng.random_range(500..12_000)));
        }
        for at in 0..scaled(250, self.scale) {
            let key = format!("disks/{}.mjs", self.name("asset", at));
            objects.push(unowned(ASSETS, key, rng.random_range(100..20_000)));
            let key = format!("wand {at:05} +&.png");
            objects.push(unowned(WAND, key, rng.random_range(100..4_000)));
        }
        // An object without an owner, from before there were folders.
        objects.push(unowned(USER, "legacy drawing.png".into(), 1_234));
        objects.sort_by(|a, b| (a.bucket, &a.key).cmp(&(b.bucket, &b.key)));
        objects.dedup_by(|a, b| (a.bucket, &a.key) == (b.bucket, &b.key));
        objects
    }

    fn of(&self, collection: &str) -> impl Iterator<Item = Document> + '_ {
        let plan = Self::plans().find(|plan| plan.name == collection);
        plan.into_iter().flat_map(|plan| self.documents(plan))
    }
}

/// Factor for the size of a user's objects: a few users own most of the bytes.
fn weight(document: &Document) -> usize {
    let Ok(sub) = document.get_str("user") else {
        return 1;
    };
    match sub.bytes().map(usize::from).sum::<usize>() % 97 {
        0 => 24,
        1 | 2 => 12,
        3..9 => 5,
        _ => 1,
    }
}

/// A painting or piece, where AC puts it; nuked ones are gone.
fn media(document: &Document, kind: &str, extension: &str, bytes: usize) -> Option<DemoObject> {
    let slug = document.get_str("slug").ok()?;
    if document.get_bool("nuked").unwrap_or(false) {
        return None;
    }
    Some(match document.get_str("user") {
        Ok(sub) => DemoObject {
            bucket: USER,
            key: format!("{sub}/{kind}/{slug}.{extension}"),
            bytes,
            owner: Some(sub.to_owned()),
        },
        Err(_) => unowned(ART, format!("{slug}.{extension}"), bytes),
    })
}

/// A tape's recording, and its video and still when the oven has made them.
fn video(tape: &Document, rng: &mut SmallRng) -> Vec<DemoObject> {
    let (Ok(slug), Ok(code)) = (tape.get_str("slug"), tape.get_str("code")) else {
        return Vec::new();
    };
    let owner = tape.get_str("user").ok().map(str::to_owned);
    let (bucket, key) = match &owner {
        Some(sub) => (USER, format!("{sub}/{slug}.zip")),
        None => (ART, format!("{slug}.zip")),
    };
    let mut objects = vec![DemoObject {
        bucket,
        key,
        bytes: rng.random_range(2_000..30_000),
        owner: owner.clone(),
    }];
    if tape
        .get_str("mp4Status")
        .is_ok_and(|status| status == "complete")
    {
        for (name, most) in [("{}.mp4", 60_000), ("{}-thumb.jpg", 2_000)] {
            objects.push(DemoObject {
                bucket: BLOBS,
                key: format!("tapes/{}", name.replace("{}", code)),
                bytes: rng.random_range(500..most),
                owner: owner.clone(),
            });
        }
    }
    objects
}

fn unowned(bucket: &'static str, key: String, bytes: usize) -> DemoObject {
    DemoObject {
        bucket,
        key,
        bytes,
        owner: None,
    }
}
