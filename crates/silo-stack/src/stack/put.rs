//! Filling storage with demo objects.

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use silo_core::secret::Secret;
use silo_spaces::Spaces;
use silo_spaces::endpoint::{Addressing, Endpoint, Limits};
use silo_testkit::demo::{BUCKETS, Demo};
use silo_testkit::s3::{KEY, SECRET};
use silo_testkit::say;

/// Puts the demo objects, showing how far it is.
pub(super) async fn put(demo: &Demo, url: &str) -> Result<()> {
    let endpoint = Endpoint {
        url: url.to_owned(),
        region: "us-east-1".into(),
        key: Secret::new(KEY),
        secret: Secret::new(SECRET),
        addressing: Addressing::Path,
    };
    let limits = Limits {
        requests_per_second: 5000.try_into()?,
        ..Limits::default()
    };
    let spaces = Spaces::new(&endpoint, limits)?;
    for bucket in BUCKETS {
        spaces.create_bucket(bucket).await?;
    }
    let objects = demo.objects();
    let total = objects.len();
    say::step(&format!(
        "putting {total} demo objects in {} buckets",
        BUCKETS.len()
    ));
    let style = indicatif::ProgressStyle::with_template(
        "  {bar:40} {pos}/{len} objects, {per_sec}, {eta} left",
    )?;
    let bar = indicatif::ProgressBar::new(total as u64).with_style(style);
    let puts = objects.iter().map(|object| {
        let body = Bytes::from(vec![b'x'; object.bytes]);
        let (spaces, bar) = (&spaces, &bar);
        async move {
            spaces.put(object.bucket, &object.key, body).await?;
            bar.inc(1);
            Ok::<_, silo_spaces::fault::Fault>(())
        }
    });
    stream::iter(puts)
        .buffer_unordered(8)
        .try_collect::<()>()
        .await
        .context("the S3 server did not take the demo objects")?;
    bar.finish_and_clear();
    say::done(&format!("{total} objects put"));
    Ok(())
}
