//! Access to one bucket, for scans.

use silo_core::units::count_from_usize;
use silo_spaces::Spaces;
use silo_spaces::error::{Kind, StorageError};
use silo_spaces::page::Page;
use silo_spaces::unfinished::MAX_UPLOADS;

use crate::scan::List;
use crate::scan_results::{OlderVersions, UnfinishedUpload, UnfinishedUploads};

/// Ranges that a bucket is split into before listing, when its folders show where.
const INITIAL_RANGES: usize = 16;
/// Unfinished uploads whose bytes are asked for, each by a request of its own.
const ASKED: usize = 50;

/// A bucket and the client for it.
#[derive(Clone)]
pub struct Bucket {
    /// Name of the bucket.
    pub name: String,
    /// The client of its endpoint.
    pub spaces: Spaces,
}

impl List for Bucket {
    async fn page(&self, after: Option<&str>) -> Result<Page, StorageError> {
        self.spaces.page(&self.name, after).await
    }

    async fn split_keys(&self) -> Result<Vec<String>, StorageError> {
        match self.spaces.prefixes(&self.name, None, "/").await {
            Ok(page) => Ok(split_keys(&page.prefixes, page.truncated)),
            // Only for speed: a storage that knows no prefixes is listed all the same.
            Err(error) if matches!(error.kind, Kind::NotSupported | Kind::Refused) => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }
}

/// Keys at which to split a bucket with these folders; `truncated` if it has more of them.
fn split_keys(prefixes: &[String], truncated: bool) -> Vec<String> {
    let Some(last) = prefixes.last() else {
        return Vec::new();
    };
    // `0` is what comes after `/`: this bounds the keys of the last folder.
    let end = format!("{}0", last.trim_end_matches('/'));
    let many = truncated && prefixes.len() >= INITIAL_RANGES;
    let step = prefixes.len().div_ceil(INITIAL_RANGES);
    let between = prefixes.iter().skip(step).step_by(step);
    let mut split_keys: Vec<String> = if many {
        between.cloned().collect()
    } else {
        Vec::new()
    };
    split_keys.push(end);
    split_keys
}

impl Bucket {
    /// Lists unfinished multipart uploads.
    ///
    /// # Errors
    /// The error of the request; [`Kind::NotSupported`] if the storage cannot list them.
    pub async fn unfinished(&self) -> Result<UnfinishedUploads, StorageError> {
        let mut uploads = self.spaces.unfinished(&self.name, None).await?;
        uploads.sort_by_key(|upload| upload.begun);
        let all_asked = uploads.len() <= ASKED;
        let more = uploads.len() >= MAX_UPLOADS;
        let mut count = uploads.len();
        let mut list = Vec::new();
        for upload in uploads.iter().take(ASKED) {
            match self.spaces.stored(&self.name, upload).await {
                Ok(bytes) => list.push(UnfinishedUpload {
                    key: upload.key.clone(),
                    begun: upload.begun,
                    bytes,
                }),
                // Finished or aborted since: no longer one of them.
                Err(error) if error.kind == Kind::NotFound => count -= 1,
                Err(error) => return Err(error),
            }
        }
        Ok(UnfinishedUploads {
            uploads: count_from_usize(count),
            more,
            bytes: all_asked.then(|| list.iter().map(|upload| upload.bytes).sum()),
            oldest: list.iter().filter_map(|upload| upload.begun).min(),
            list,
        })
    }

    /// Asks whether the bucket keeps older versions; `None` if the storage cannot tell, or the key may not ask.
    ///
    /// # Errors
    /// Another error of the request.
    pub async fn older_versions(&self) -> Result<Option<OlderVersions>, StorageError> {
        match self.spaces.keeps_versions(&self.name).await {
            Ok(true) => Ok(Some(OlderVersions::NotCounted)),
            Ok(false) => Ok(Some(OlderVersions::None)),
            Err(error) if matches!(error.kind, Kind::NotSupported | Kind::Denied) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_cut_where_its_folders_are() {
        let folders =
            |count: usize| -> Vec<String> { (0..count).map(|at| format!("f{at:04}/")).collect() };
        assert_eq!(split_keys(&[], false), Vec::<String>::new());
        assert_eq!(split_keys(&folders(1), false), ["f00000"]);
        let many = split_keys(&folders(1000), true);
        assert_eq!((many.len(), many[0].as_str()), (INITIAL_RANGES, "f0063/"));
        assert!(many.is_sorted());
    }
}
