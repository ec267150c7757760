//! Keys and bytes survive, whatever is in them.

use bytes::Bytes;
use futures_util::TryStreamExt;
use silo_spaces::error::Kind as FaultKind;
use silo_testkit::s3::Account;

use crate::{BUCKET, client, listed, read, server};

/// Names that are hard to sign, to list or to sort. S3 sorts by bytes: U+E000 comes before an emoji, although UTF-16 has them the other way round.
fn keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "auth0|x/painting/a b+c%20.png",
        " a leading blank",
        "ünïcödé/日本語/🎨.png",
        "what?is#this&that=those;,:@$!*'()",
        "a%2Fb",
        "plus+plus",
        "quote\"and<angle>",
        "back\\slash",
        "percent%",
        "tab\tinside",
        "a//b",
        "/root",
        "a/../b",
        "a/./c",
        "..",
        "control\u{1}\u{7f}",
        "line\r\nbreak",
        "sorted\u{e000}",
        "sorted🎨",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("long/".to_owned() + &"x".repeat(1019));
    keys.sort();
    keys
}

#[tokio::test]
async fn any_key_can_be_put_listed_looked_at_read_and_deleted() {
    let (_server, spaces) = server().await;
    let keys = keys();
    for (at, key) in keys.iter().enumerate() {
        let body = Bytes::from(vec![7; at + 1]);
        spaces
            .put(BUCKET, key, body)
            .await
            .unwrap_or_else(|fault| panic!("{key:?}: {fault}"));
    }
    let wanted: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(at, key)| (key.clone(), at as u64 + 1))
        .collect();
    assert_eq!(listed(&spaces).await, wanted);
    for (key, bytes) in &wanted {
        let head = spaces.head(BUCKET, key).await.unwrap();
        assert_eq!(head.bytes, Some(*bytes), "{key:?}");
        assert_eq!(
            read(&spaces, key).await.unwrap().len() as u64,
            *bytes,
            "{key:?}"
        );
        spaces.delete(BUCKET, key).await.unwrap();
        let gone = spaces.head(BUCKET, key).await.unwrap_err();
        assert_eq!(gone.kind, FaultKind::NotFound, "{key:?}");
    }
    assert_eq!(listed(&spaces).await, []);
}

#[tokio::test]
async fn a_listing_continues_after_any_key_and_groups_prefixes() {
    let (_server, spaces) = server().await;
    let mut keys: Vec<String> = (0..1_203)
        .map(|at| format!("auth0|{}/painting/{at:04} +.png", at % 7))
        .collect();
    for key in &keys {
        spaces
            .put(BUCKET, key, Bytes::from_static(b"x"))
            .await
            .unwrap();
    }
    keys.sort();
    let all = listed(&spaces).await;
    assert!(all.iter().map(|(key, _)| key).eq(&keys));
    let page = spaces.page(BUCKET, Some(&keys[600])).await.unwrap();
    assert_eq!(
        (page.first(), page.truncated),
        (Some(keys[601].as_str()), false)
    );
    let folders = spaces.prefixes(BUCKET, None, "/").await.unwrap();
    let wanted: Vec<_> = (0..7).map(|at| format!("auth0|{at}/")).collect();
    assert_eq!(folders.prefixes, wanted);
}

#[tokio::test]
async fn a_range_of_bytes_is_read_as_asked() {
    let (_server, spaces) = server().await;
    let body: Vec<u8> = (0..=255).collect();
    spaces.put(BUCKET, "k", body.clone().into()).await.unwrap();
    let pieces: Vec<Bytes> = spaces
        .get(BUCKET, "k", Some(10..20))
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(pieces.concat(), body[10..20]);
    assert!(spaces.get(BUCKET, "k", Some(5..5)).await.is_err());
    let missing = spaces.get(BUCKET, "nothing", None).await.err().unwrap();
    assert_eq!(missing.kind, FaultKind::NotFound);
}

#[tokio::test]
async fn a_missing_bucket_and_a_wrong_secret_have_their_codes() {
    let (server, spaces) = server().await;
    let missing = spaces.page("no-such-bucket", None).await.err().unwrap();
    assert_eq!(missing.kind, FaultKind::NoSuchBucket, "{missing}");
    let wrong = Account {
        key: server.account.key.clone(),
        secret: "wrong".into(),
    };
    let stranger = client(&wrong, &server.url());
    let denied = stranger.page(BUCKET, None).await.err().unwrap();
    assert_eq!(denied.kind, FaultKind::Denied, "{denied}");
}
