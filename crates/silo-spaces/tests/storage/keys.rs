//! Keys and bytes survive, whatever is in them.

use bytes::Bytes;
use futures_util::TryStreamExt;
use silo_spaces::fault::Kind as FaultKind;
use silo_testkit::s3::Kind;

use crate::{BOTH, BUCKET, listed, read, server};

/// Names that every S3 server has to keep.
fn keys(kind: Kind) -> Vec<String> {
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
    ]
    .map(str::to_owned)
    .to_vec();
    if kind == Kind::Memory {
        // A folder keeps one slash of two, no name over 255 bytes, and no dots as names.
        keys.extend([
            "a//b".into(),
            "/root".into(),
            "long/".to_owned() + &"x".repeat(1019),
            "a/../b".into(),
            "a/./c".into(),
        ]);
        keys.push("control\u{1}\u{7f}".into());
    }
    keys.sort();
    keys
}

#[tokio::test]
async fn any_key_can_be_put_listed_looked_at_read_and_deleted() {
    for kind in BOTH {
        let (_server, spaces) = server(kind).await;
        let keys = keys(kind);
        for (at, key) in keys.iter().enumerate() {
            let body = Bytes::from(vec![7; at + 1]);
            spaces
                .put(BUCKET, key, body)
                .await
                .unwrap_or_else(|fault| panic!("{kind:?}: {key:?}: {fault}"));
        }
        let wanted: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(at, key)| (key.clone(), at as u64 + 1))
            .collect();
        assert_eq!(listed(&spaces).await, wanted, "{kind:?}");
        for (key, bytes) in &wanted {
            let head = spaces.head(BUCKET, key).await.unwrap();
            assert_eq!(head.bytes, Some(*bytes), "{kind:?}: {key:?}");
            assert_eq!(
                read(&spaces, key).await.unwrap().len() as u64,
                *bytes,
                "{kind:?}: {key:?}"
            );
            spaces.delete(BUCKET, key).await.unwrap();
            let gone = spaces.head(BUCKET, key).await.unwrap_err();
            assert_eq!(gone.kind, FaultKind::NotFound, "{kind:?}: {key:?}");
        }
        assert_eq!(listed(&spaces).await, [], "{kind:?}");
    }
}

#[tokio::test]
async fn a_listing_goes_on_after_any_key_and_knows_prefixes() {
    for kind in BOTH {
        let (_server, spaces) = server(kind).await;
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
        assert!(all.iter().map(|(key, _)| key).eq(&keys), "{kind:?}");
        let page = spaces.page(BUCKET, Some(&keys[600])).await.unwrap();
        assert_eq!(
            (page.first(), page.truncated),
            (Some(keys[601].as_str()), false),
            "{kind:?}"
        );
        let folders = spaces.prefixes(BUCKET, None, "/").await.unwrap();
        let wanted: Vec<_> = (0..7).map(|at| format!("auth0|{at}/")).collect();
        assert_eq!(folders.prefixes, wanted, "{kind:?}");
    }
}

#[tokio::test]
async fn a_range_of_bytes_is_read_as_asked() {
    for kind in BOTH {
        let (_server, spaces) = server(kind).await;
        let body: Vec<u8> = (0..=255).collect();
        spaces.put(BUCKET, "k", body.clone().into()).await.unwrap();
        let pieces: Vec<Bytes> = spaces
            .get(BUCKET, "k", Some(10..20))
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(pieces.concat(), body[10..20], "{kind:?}");
        assert!(spaces.get(BUCKET, "k", Some(5..5)).await.is_err());
        let missing = spaces.get(BUCKET, "nothing", None).await.err().unwrap();
        assert_eq!(missing.kind, FaultKind::NotFound, "{kind:?}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_and_a_wrong_key_are_told() {
    for kind in BOTH {
        let (server, spaces) = server(kind).await;
        let missing = spaces.page("no-such-bucket", None).await.err().unwrap();
        assert_eq!(missing.kind, FaultKind::NoSuchBucket, "{kind:?}: {missing}");
        // The server in memory takes any key.
        if kind == Kind::Files {
            let endpoint = silo_spaces::endpoint::Endpoint {
                url: server.url(),
                region: "us-east-1".into(),
                key: silo_core::secret::Secret::new(silo_testkit::s3::KEY),
                secret: silo_core::secret::Secret::new("wrong"),
                addressing: silo_spaces::endpoint::Addressing::Path,
            };
            let stranger = silo_spaces::Spaces::new(&endpoint, crate::limits()).unwrap();
            let denied = stranger.page(BUCKET, None).await.err().unwrap();
            assert_eq!(denied.kind, FaultKind::Denied, "{denied}");
        }
    }
}
