//! Temporary errors are retried, every error is named, and none is taken for an empty bucket.

use std::time::{Duration, Instant};

use bytes::Bytes;
use silo_spaces::error::Kind as FaultKind;
use silo_testkit::proxy::{Fault, Proxy};
use silo_testkit::s3::{Account, Storage};

use crate::{BUCKET, client, listed, server};

async fn filled() -> Storage {
    let (server, spaces) = server().await;
    for at in 0..5 {
        spaces
            .put(BUCKET, &format!("k{at}"), Bytes::from_static(b"12345"))
            .await
            .unwrap();
    }
    server
}

#[tokio::test]
async fn a_temporary_error_is_retried_successfully() {
    let server = filled().await;
    for fault in [
        Fault::slow_down(),
        Fault::Reset,
        Fault::Truncate,
        Fault::Stall,
        Fault::LoseAnswer,
        Fault::html(),
        Fault::answer("500 x", "", ""),
        Fault::answer("502 x", "", "<html>"),
        Fault::answer("504 x", "", ""),
        Fault::answer("200 OK", "", ""),
        Fault::answer("200 OK", "", "<ListBucketResult></ListBucketResult>"),
        Fault::answer("200 OK", "", "{}"),
    ] {
        let injected = fault.clone();
        let proxy = Proxy::start(&server.url(), move |number, _| {
            if number % 2 == 0 {
                fault.clone()
            } else {
                Fault::None
            }
        })
        .await
        .unwrap();
        let spaces = client(&server.account, &proxy.url());
        assert_eq!(listed(&spaces).await.len(), 5, "{injected:?}");
        assert_eq!(proxy.requests(), 2, "{injected:?}");
    }
}

#[tokio::test]
async fn a_permanent_error_is_named_after_bounded_attempts() {
    let server = filled().await;
    let skewed = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
    let long_ago = "Date: Fri, 01 Jan 2010 00:00:00 GMT\r\n";
    for (fault, kind, tries) in [
        (Fault::slow_down(), FaultKind::Throttled, 4),
        (Fault::Reset, FaultKind::Unreachable, 4),
        (Fault::Truncate, FaultKind::Malformed, 4),
        (Fault::Stall, FaultKind::TimedOut, 4),
        (Fault::html(), FaultKind::Malformed, 4),
        (
            Fault::answer("500 x", "", "<Error>"),
            FaultKind::ServerFailed,
            4,
        ),
        (Fault::answer("501 x", "", ""), FaultKind::NotSupported, 1),
        (
            Fault::answer("403 x", "", "<html>no</html>"),
            FaultKind::Denied,
            1,
        ),
        (
            Fault::answer("403 x", long_ago, skewed),
            FaultKind::ClockSkewed,
            1,
        ),
        (Fault::answer("301 x", "", ""), FaultKind::Refused, 1),
    ] {
        let injected = fault.clone();
        let proxy = Proxy::start(&server.url(), move |_, _| fault.clone())
            .await
            .unwrap();
        let started = Instant::now();
        let failed = client(&server.account, &proxy.url())
            .page(BUCKET, None)
            .await
            .err()
            .unwrap();
        assert_eq!(
            (failed.kind, proxy.requests()),
            (kind, tries),
            "{injected:?}: {failed}"
        );
        assert!(started.elapsed() < Duration::from_secs(20), "{injected:?}");
        if kind == FaultKind::ClockSkewed {
            assert!(
                failed.detail.contains("min ahead of the storage's"),
                "{failed}"
            );
        }
    }
}

/// rusoto's own reader loops for ever on these. A look from outside shows that ours does not.
#[tokio::test]
async fn nothing_spins_on_an_answer_that_is_no_document() {
    // The proxy answers itself.
    let account = Account {
        key: "k".into(),
        secret: "s".into(),
    };
    for body in [
        "",
        "<html>",
        "<ListMultipartUploadsResult>",
        "<InitiateMultipartUploadResult><UploadId>",
        "<a><b></a>",
    ] {
        let fault = Fault::answer("200 OK", "Content-Type: application/xml\r\n", body);
        let proxy = Proxy::start("http://127.0.0.1:9", move |_, _| fault.clone())
            .await
            .unwrap();
        let spaces = client(&account, &proxy.url());
        let within = Duration::from_secs(20);
        let large = Bytes::from(vec![0; silo_spaces::upload::PART]);
        let stream = futures_util::stream::iter([Ok(large)]);
        let begun = tokio::time::timeout(within, spaces.put_stream(BUCKET, "k", stream))
            .await
            .expect("it ends");
        assert_eq!(begun.unwrap_err().kind, FaultKind::Malformed, "{body}");
        let listed = tokio::time::timeout(within, spaces.unfinished(BUCKET, None))
            .await
            .expect("it ends");
        assert_eq!(listed.unwrap_err().kind, FaultKind::Malformed, "{body}");
    }
}

#[tokio::test]
async fn retry_after_is_respected() {
    let server = filled().await;
    let busy = Fault::answer("503 x", "Retry-After: 1\r\n", "");
    let proxy = Proxy::start(&server.url(), move |number, _| {
        if number == 0 {
            busy.clone()
        } else {
            Fault::None
        }
    })
    .await
    .unwrap();
    let mut patient = crate::limits();
    patient.longest_pause = Duration::from_secs(5);
    let spaces = crate::client_with(&server.account, &proxy.url(), patient);
    let started = Instant::now();
    spaces.page(BUCKET, None).await.unwrap();
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_body_that_stalls_or_breaks_is_an_error_and_not_a_short_object() {
    let server = filled().await;
    for fault in [Fault::Stall, Fault::Reset] {
        let proxy = Proxy::start(&server.url(), move |_, _| fault.clone())
            .await
            .unwrap();
        assert!(
            crate::read(&client(&server.account, &proxy.url()), "k1")
                .await
                .is_err()
        );
    }
}
