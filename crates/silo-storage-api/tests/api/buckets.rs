//! `/api/storage/usage` and `/api/storage/buckets`, compared with the uploaded objects.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use silo_testkit::demo::{BUCKETS, DemoObject};
use silo_testkit::wait::wait_for;

use crate::stage::{put, spaces, stage, sum};

fn row<'a>(data: &'a Value, bucket: &str) -> &'a Value {
    let buckets = data["buckets"].as_array().unwrap();
    buckets.iter().find(|row| row["name"] == bucket).unwrap()
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

fn total(rows: &Value, field: &str) -> u64 {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| number(&row[field]))
        .sum()
}

#[tokio::test]
async fn every_sum_matches_the_uploaded_objects_to_the_byte() {
    let stage = stage().await;
    let service = stage.scanned().await;
    let data = service.data("/api/storage/buckets").await;
    let mut all = (0, 0);
    for bucket in BUCKETS {
        let (objects, bytes) = sum(stage.in_bucket(bucket));
        let row = row(&data, bucket);
        assert_eq!(
            (number(&row["objects"]), number(&row["bytes"])),
            (objects, bytes),
            "{row}"
        );
        assert_eq!(
            (
                total(&row["kinds"], "objects"),
                total(&row["kinds"], "bytes")
            ),
            (objects, bytes),
            "{row}"
        );
        assert_eq!(
            (
                total(&row["classes"], "objects"),
                total(&row["classes"], "bytes")
            ),
            (objects, bytes),
            "{row}"
        );
        let nobody = sum(stage
            .in_bucket(bucket)
            .filter(|object| object.owner.is_none()));
        assert_eq!(
            (
                number(&row["unattributed"]["objects"]),
                number(&row["unattributed"]["bytes"])
            ),
            nobody,
            "{row}"
        );
        let owners: BTreeSet<_> = stage
            .in_bucket(bucket)
            .filter_map(|object| object.owner.as_ref())
            .collect();
        assert_eq!(number(&row["owners"]), owners.len() as u64, "{row}");
        assert!(
            row["newestObject"].is_string() && row["asOf"].is_string(),
            "{row}"
        );
        all = (all.0 + objects, all.1 + bytes);
    }
    let usage = service.data("/api/storage/usage").await;
    assert_eq!(
        (number(&usage["objects"]), number(&usage["bytes"])),
        all,
        "{usage}"
    );
    assert_eq!(
        (number(&usage["knownObjects"]), number(&usage["knownBytes"])),
        all
    );
    assert_eq!(
        (
            total(&usage["kinds"], "objects"),
            total(&usage["kinds"], "bytes")
        ),
        all
    );
    assert_eq!(usage["buckets"], 5);
    // Objects with and without owners add up to the total.
    let top = service.data("/api/storage/top-users?limit=500").await;
    let owned = (
        total(&top["users"], "objects"),
        total(&top["users"], "bytes"),
    );
    let nobody = &usage["unattributed"];
    assert_eq!(
        (
            owned.0 + number(&nobody["objects"]),
            owned.1 + number(&nobody["bytes"])
        ),
        all
    );
    assert_eq!(top["of"], usage["owners"]);
}

/// Keys that are hard to list: control characters, what URLs and XML mean otherwise, an order that UTF-16 has the other way round, and so many with one
/// beginning that a page ends among them.
#[tokio::test]
async fn objects_with_hard_keys_are_counted_to_the_byte() {
    let stage = stage().await;
    let bucket = "wand-aesthetic-computer";
    let hard = [
        "control\u{1}\u{7f}",
        "plus+percent%25and space",
        "a//b",
        "/leading",
        "up/../down",
        "sorted\u{e000}",
        "sorted🎨",
        "<&>\"'",
    ];
    let many = (0..1_001).map(|at| format!("one-beginning/{at:04}.png"));
    let keys: Vec<String> = hard.into_iter().map(str::to_owned).chain(many).collect();
    let more = keys.into_iter().enumerate().map(|(at, key)| DemoObject {
        bucket,
        key,
        bytes: at % 7,
        owner: None,
    });
    let more: Vec<DemoObject> = more.collect();
    put(&spaces(&stage.s3, &stage.s3.url()), &more).await;
    let service = stage.scanned().await;
    let data = service.data("/api/storage/buckets").await;
    let (objects, bytes) = sum(stage.in_bucket(bucket).chain(&more));
    let row = row(&data, bucket);
    assert_eq!(
        (number(&row["objects"]), number(&row["bytes"])),
        (objects, bytes),
        "{row}"
    );
}

#[tokio::test]
async fn kinds_are_derived_from_bucket_and_key() {
    let stage = stage().await;
    let service = stage.scanned().await;
    let data = service.data("/api/storage/buckets").await;
    let kinds = |bucket: &str| -> BTreeSet<String> {
        let kinds = row(&data, bucket)["kinds"].as_array().unwrap();
        kinds
            .iter()
            .map(|row| row["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        kinds("user-aesthetic-computer"),
        set(&["image", "painting", "piece", "zip"])
    );
    assert_eq!(
        kinds("at-blobs-aesthetic-computer"),
        set(&["image", "video"])
    );
    assert!(kinds("art-aesthetic-computer").is_superset(&set(&["oven", "painting"])));
    let paintings = row(&data, "user-aesthetic-computer")["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["kind"] == "painting")
        .unwrap();
    let put = sum(stage
        .in_bucket("user-aesthetic-computer")
        .filter(|object| object.key.contains("/painting/")));
    assert_eq!(
        (number(&paintings["objects"]), number(&paintings["bytes"])),
        put
    );
}

#[tokio::test]
async fn unfinished_uploads_are_reported_separately() {
    let stage = stage().await;
    // An upload whose abort never arrives.
    let proxy = silo_testkit::proxy::Proxy::start(&stage.s3.url(), |_, line| {
        if line.starts_with("DELETE ") {
            silo_testkit::proxy::Fault::Reset
        } else {
            silo_testkit::proxy::Fault::None
        }
    })
    .await
    .unwrap();
    let direct = spaces(&stage.s3, &stage.s3.url());
    let first = bytes::Bytes::from(vec![0; silo_spaces::upload::PART + 1]);
    // Interrupt the upload when its first part is stored.
    let breaks_off = async move {
        wait_for(Duration::from_secs(20), || async {
            let uploads = direct
                .unfinished("art-aesthetic-computer", None)
                .await
                .ok()?;
            let stored = direct
                .stored("art-aesthetic-computer", uploads.first()?)
                .await;
            (stored.ok()? > 0).then_some(())
        })
        .await
        .unwrap();
        Err(std::io::ErrorKind::BrokenPipe.into())
    };
    let half = stream::once(async { Ok(first) }).chain(stream::once(breaks_off));
    crate::stage::spaces(&stage.s3, &proxy.url())
        .put_stream("art-aesthetic-computer", "half.zip", half)
        .await
        .unwrap_err();
    let service = stage.scanned().await;
    let reply = service.get("/api/storage/buckets").await.ok();
    let row_of = |bucket| row(&reply["data"], bucket)["unfinishedUploads"].clone();
    assert_eq!(row_of("art-aesthetic-computer")["uploads"], 1);
    assert_eq!(
        row_of("art-aesthetic-computer")["bytes"],
        silo_spaces::upload::PART
    );
    assert_eq!(
        row_of("wand-aesthetic-computer"),
        json!({ "uploads": 0, "more": false, "bytes": 0, "oldest": null, "list": [] })
    );
    let listed = &row_of("art-aesthetic-computer")["list"][0];
    assert_eq!(
        (&listed["key"], &listed["bytes"]),
        (&json!("half.zip"), &json!(silo_spaces::upload::PART))
    );
    let begun: jiff::Timestamp = listed["begun"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(begun).as_secs() < 120);
    assert_eq!(reply["meta"]["state"], "fresh", "{}", reply["meta"]);
    let (objects, _) = sum(stage.in_bucket("art-aesthetic-computer"));
    assert_eq!(
        row(&reply["data"], "art-aesthetic-computer")["objects"],
        objects
    );
}

#[tokio::test]
async fn sizes_ages_and_largest_folders_add_up() {
    let stage = stage().await;
    let service = stage.scanned().await;
    let data = service.data("/api/storage/buckets").await;
    for bucket in BUCKETS {
        let (objects, bytes) = sum(stage.in_bucket(bucket));
        let row = row(&data, bucket);
        for classes in ["sizes", "ages"] {
            let found = (
                total(&row[classes], "objects"),
                total(&row[classes], "bytes"),
            );
            assert_eq!(found, (objects, bytes), "{classes} of {bucket}: {row}");
        }
        // All were written just now.
        assert_eq!(row["ages"][0]["objects"], objects, "{row}");
        assert_eq!(row["prefixesMissingBytes"], 0, "{row}");
        for prefix in row["largestPrefixes"].as_array().unwrap() {
            let name = prefix["prefix"].as_str().unwrap();
            let below = stage
                .in_bucket(bucket)
                .filter(|object| object.key.starts_with(name));
            let found = (number(&prefix["objects"]), number(&prefix["bytes"]));
            assert_eq!(found, sum(below), "{name} of {bucket}");
        }
        assert_eq!(row["olderVersions"], "none", "{row}");
    }
    let folders = row(&data, "user-aesthetic-computer")["largestPrefixes"].as_array();
    assert_eq!(folders.unwrap().len(), 20);
}

#[tokio::test]
async fn older_versions_of_a_bucket_are_said_to_be_not_counted() {
    let stage = stage().await;
    let bucket = "art-aesthetic-computer";
    // As RGW answers for a bucket with versions (silo-spaces has a test on such a bucket).
    let proxy = silo_testkit::proxy::Proxy::start(&stage.s3.url(), move |_, line| {
        if line.contains("versioning") && line.contains(bucket) {
            let body =
                "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            silo_testkit::proxy::Fault::answer("200 OK", "", body)
        } else {
            silo_testkit::proxy::Fault::None
        }
    })
    .await
    .unwrap();
    let service = stage.service_at(&proxy.url(), &[]).await;
    crate::stage::until_scanned(&service).await;
    let reply = service.get("/api/storage/buckets").await.ok();
    assert_eq!(row(&reply["data"], bucket)["olderVersions"], "notCounted");
    assert_eq!(reply["meta"]["state"], "fresh", "{}", reply["meta"]);
}

#[tokio::test]
async fn small_buckets_cost_three_requests_each() {
    let stage = stage().await;
    let proxy =
        silo_testkit::proxy::Proxy::start(&stage.s3.url(), |_, _| silo_testkit::proxy::Fault::None)
            .await
            .unwrap();
    let service = stage.service_at(&proxy.url(), &[]).await;
    crate::stage::until_scanned(&service).await;
    // A page, unfinished uploads and versions; and a check or two whether the storage answers.
    let requests = proxy.requests();
    assert!((15..=18).contains(&requests), "{requests} requests");
}

#[tokio::test]
async fn bytes_and_objects_of_each_bucket_are_metrics() {
    let stage = stage().await;
    let service = stage.scanned().await;
    let metrics = service.get("/metrics").await.text;
    for bucket in BUCKETS {
        let (objects, bytes) = sum(stage.in_bucket(bucket));
        for line in [
            format!("silo_bucket_objects{{bucket=\"{bucket}\"}} {objects}"),
            format!("silo_bucket_bytes{{bucket=\"{bucket}\"}} {bytes}"),
        ] {
            assert!(metrics.contains(&line), "{line} is not in {metrics}");
        }
    }
}

#[tokio::test]
async fn unfinished_uploads_are_unknown_where_they_cannot_be_listed() {
    let stage = stage().await;
    // Like S3 servers that do not implement it.
    let proxy = silo_testkit::proxy::Proxy::start(&stage.s3.url(), |_, line| {
        if line.contains("uploads") {
            silo_testkit::proxy::Fault::answer("501 Not Implemented", "", "")
        } else {
            silo_testkit::proxy::Fault::None
        }
    })
    .await
    .unwrap();
    let service = stage.service_at(&proxy.url(), &[]).await;
    crate::stage::until_scanned(&service).await;
    let reply = service.get("/api/storage/buckets").await.ok();
    assert_eq!(
        row(&reply["data"], "art-aesthetic-computer")["unfinishedUploads"],
        Value::Null
    );
    assert_eq!(reply["meta"]["state"], "partial");
    assert_eq!(
        reply["meta"]["errors"][0]["code"], "not_supported",
        "{}",
        reply["meta"]
    );
}

#[tokio::test]
async fn an_empty_storage_has_zeros() {
    let s3 = silo_testkit::s3::Storage::new().await.unwrap();
    crate::stage::spaces(&s3, &s3.url())
        .create_bucket("empty-bucket")
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = crate::stage::command();
    command
        .env("SPACES_ENDPOINT", s3.url())
        .env("SPACES_KEY", &s3.account.key)
        .env("SPACES_SECRET", &s3.account.secret)
        .env("BUCKETS", "empty-bucket")
        .env("STORAGE_FOLDER", folder.path());
    let service = crate::stage::Service::start("silo-storage-api", command).await;
    let within = Duration::from_secs(20);
    let usage = service
        .until(within, "/api/storage/usage", |reply| {
            reply.state() == "fresh"
        })
        .await
        .ok();
    assert_eq!(
        (&usage["data"]["bytes"], &usage["data"]["objects"]),
        (&json!(0), &json!(0))
    );
    let row = service.data("/api/storage/buckets").await["buckets"][0].clone();
    assert_eq!(
        (&row["objects"], &row["newestObject"]),
        (&json!(0), &Value::Null)
    );
}

#[tokio::test]
async fn an_unchanged_answer_is_304() {
    let stage = stage().await;
    let service = stage.scanned().await;
    for path in [
        "/api/storage/buckets",
        "/api/storage/usage",
        "/api/storage/top-users",
    ] {
        let first = service.get(path).await;
        let tag = first.header("etag").to_owned();
        let again = service
            .send(reqwest::Method::GET, path, |request| {
                request.header("If-None-Match", &tag)
            })
            .await;
        assert_eq!(
            (again.status.as_u16(), again.text.as_str()),
            (304, ""),
            "{path}"
        );
    }
}
