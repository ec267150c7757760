//! Objects written from streams of unknown length.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use rusoto_core::credential::StaticProvider;
use rusoto_core::{HttpClient, Region};
use rusoto_s3::{
    CreateMultipartUploadRequest, PutBucketVersioningRequest, S3, S3Client, VersioningConfiguration,
};
use silo_spaces::error::Kind as FaultKind;
use silo_spaces::upload::PART;
use silo_testkit::proxy::{Fault, Proxy};
use silo_testkit::s3::Storage;
use silo_testkit::wait::wait_for;

use crate::{BUCKET, client, read, server};

/// `length` bytes that differ from place to place, in odd pieces.
fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at * 31 + at / 251).to_le_bytes()[0])
        .collect()
}

fn pieces(content: &[u8]) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    let pieces: Vec<_> = content
        .chunks(300_007)
        .map(Bytes::copy_from_slice)
        .map(Ok)
        .collect();
    stream::iter(pieces)
}

#[tokio::test]
async fn a_stream_of_any_length_is_stored_to_the_byte() {
    let (_server, spaces) = server().await;
    for length in [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 12_345] {
        let content = content(length);
        let key = format!("dump {length}.gz");
        let stored = spaces
            .put_stream(BUCKET, &key, pieces(&content))
            .await
            .unwrap_or_else(|fault| panic!("{length}: {fault}"));
        assert_eq!(stored, length as u64);
        assert!(
            read(&spaces, &key).await.unwrap() == content,
            "{length} bytes are not those that were sent"
        );
    }
}

/// An error with status 200, or the page of a proxy, instead of the answer to a PUT of an object or a part.
#[tokio::test]
async fn an_upload_answered_with_200_by_something_else_is_retried() {
    let (server, _) = server().await;
    for fault in [Fault::error_with_200(), Fault::html()] {
        for length in [10, PART + 10] {
            let (injected, hit) = (fault.clone(), AtomicBool::new(false));
            let url = server.url();
            let proxy = Proxy::start(&url, move |_, line| {
                let first = line.starts_with("PUT ") && !hit.swap(true, Ordering::SeqCst);
                if first { injected.clone() } else { Fault::None }
            });
            let proxy = proxy.await.unwrap();
            let spaces = client(&server.account, &proxy.url());
            let content = content(length);
            let stored = spaces.put_stream(BUCKET, "k", pieces(&content)).await;
            assert_eq!(stored.unwrap(), length as u64, "{fault:?}");
            assert!(read(&spaces, "k").await.unwrap() == content, "{fault:?}");
            spaces.delete(BUCKET, "k").await.unwrap();
        }
    }
}

/// Only where unfinished uploads can be listed.
#[tokio::test]
async fn an_upload_that_fails_or_is_dropped_leaves_no_parts() {
    let (_server, spaces) = server().await;
    let begun = |end: io::Result<Bytes>| {
        let first = Bytes::from(content(PART + 5));
        stream::iter([Ok(first), end])
    };
    let broken = begun(Err(io::ErrorKind::BrokenPipe.into()));
    let fault = spaces.put_stream(BUCKET, "k", broken).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Source);
    let none_left = || async {
        let left = spaces.unfinished(BUCKET, None).await.unwrap();
        left.is_empty().then_some(())
    };
    wait_for(Duration::from_secs(5), none_left)
        .await
        .expect("the upload is aborted");

    let endless = futures_util::StreamExt::chain(begun(Ok(Bytes::new())), stream::pending());
    let dropped = tokio::time::timeout(
        Duration::from_secs(2),
        spaces.put_stream(BUCKET, "k", endless),
    );
    dropped.await.unwrap_err();
    wait_for(Duration::from_secs(5), none_left)
        .await
        .expect("the upload is aborted");
    assert_eq!(
        spaces.head(BUCKET, "k").await.unwrap_err().kind,
        FaultKind::NotFound
    );
}

#[tokio::test]
async fn unfinished_uploads_are_listed_with_their_bytes_and_can_be_aborted() {
    let (server, spaces) = server().await;
    // The request to abort is cut off, so the upload stays.
    let proxy = Proxy::start(&server.url(), |_, line| {
        if line.starts_with("DELETE ") {
            Fault::Reset
        } else {
            Fault::None
        }
    })
    .await
    .unwrap();
    // Interrupt the upload when its first part is stored.
    let breaks_off = async {
        wait_for(Duration::from_secs(20), || async {
            let uploads = spaces.unfinished(BUCKET, None).await.ok()?;
            let stored = spaces.stored(BUCKET, uploads.first()?).await.ok()?;
            (stored > 0).then_some(())
        })
        .await
        .unwrap();
        Err(io::ErrorKind::BrokenPipe.into())
    };
    let first = Bytes::from(content(PART + 5));
    let broken =
        futures_util::StreamExt::chain(stream::once(async { Ok(first) }), stream::once(breaks_off));
    client(&server.account, &proxy.url())
        .put_stream(BUCKET, "a b|c", broken)
        .await
        .unwrap_err();
    let left = spaces.unfinished(BUCKET, None).await.unwrap();
    assert_eq!(
        left.iter()
            .map(|upload| upload.key.as_str())
            .collect::<Vec<_>>(),
        ["a b|c"]
    );
    assert!(left[0].begun.is_some());
    assert_eq!(spaces.stored(BUCKET, &left[0]).await.unwrap(), PART as u64);
    spaces
        .abort(BUCKET, &left[0].key, &left[0].id)
        .await
        .unwrap();
    assert_eq!(spaces.unfinished(BUCKET, None).await.unwrap(), []);
}

#[tokio::test]
async fn a_completion_with_a_lost_answer_is_recognised() {
    let (server, _) = server().await;
    let proxy = Proxy::start(&server.url(), |number, line| {
        let completes = line.starts_with("POST ") && line.contains("uploadId");
        if completes && number < 4 {
            Fault::LoseAnswer
        } else {
            Fault::None
        }
    })
    .await
    .unwrap();
    let content = content(PART + 5);
    let spaces = client(&server.account, &proxy.url());
    let stored = spaces
        .put_stream(BUCKET, "k", pieces(&content))
        .await
        .unwrap();
    assert_eq!(stored, content.len() as u64);
    assert!(read(&spaces, "k").await.unwrap() == content);
}

#[tokio::test]
async fn an_error_document_with_status_200_is_an_error() {
    let (server, _) = server().await;
    let proxy = Proxy::start(&server.url(), |_, line| {
        if line.starts_with("POST ") && line.contains("uploadId") {
            Fault::answer(
                "200 OK",
                "Content-Type: application/xml\r\n",
                "<Error><Code>InternalError</Code></Error>",
            )
        } else {
            Fault::None
        }
    })
    .await
    .unwrap();
    let fault = client(&server.account, &proxy.url())
        .put_stream(BUCKET, "k", pieces(&content(PART + 5)))
        .await
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::ServerFailed);
}

#[tokio::test]
async fn more_than_a_page_of_unfinished_uploads_are_listed() {
    let (server, spaces) = server().await;
    let client = rusoto(&server);
    let begin = |at: usize| {
        let request = CreateMultipartUploadRequest {
            bucket: BUCKET.to_owned(),
            // Several uploads of each key, so that a page may end among them.
            key: format!("half {}", at % 300),
            ..CreateMultipartUploadRequest::default()
        };
        client.create_multipart_upload(request)
    };
    stream::iter(0..1_050)
        .map(begin)
        .buffer_unordered(8)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    let listed = spaces.unfinished(BUCKET, None).await.unwrap();
    let ids: BTreeSet<_> = listed.iter().map(|upload| &upload.id).collect();
    assert_eq!((listed.len(), ids.len()), (1_050, 1_050));
    assert!(!spaces.keeps_versions(BUCKET).await.unwrap());
}

#[tokio::test]
async fn a_bucket_that_keeps_or_kept_older_versions_is_known() {
    let (server, spaces) = server().await;
    for status in ["Enabled", "Suspended"] {
        let versioning = PutBucketVersioningRequest {
            bucket: BUCKET.to_owned(),
            versioning_configuration: VersioningConfiguration {
                status: Some(status.into()),
                ..VersioningConfiguration::default()
            },
            ..PutBucketVersioningRequest::default()
        };
        rusoto(&server)
            .put_bucket_versioning(versioning)
            .await
            .unwrap();
        assert!(spaces.keeps_versions(BUCKET).await.unwrap(), "{status}");
    }
}

/// rusoto's own client, for requests that silo-spaces never sends.
fn rusoto(server: &Storage) -> S3Client {
    let region = Region::Custom {
        name: "us-east-1".into(),
        endpoint: server.url(),
    };
    let account = &server.account;
    let keys = StaticProvider::new_minimal(account.key.clone(), account.secret.clone());
    S3Client::new_with(HttpClient::new().unwrap(), keys, region)
}
