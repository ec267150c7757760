//! Databases that cannot be dumped correctly yet.

use silo_mongo::collections::{Collection, Kind};

use crate::error::Error;

/// Since 8.3 a server stores time series without a view: their buckets read as empty, without an error.
pub(super) fn refuse_viewless_time_series(
    version: &str,
    collections: &[Collection],
) -> Result<(), Error> {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0_u32));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let series = collections
        .iter()
        .find(|collection| collection.kind == Kind::TimeSeries);
    match series {
        Some(series) if version >= (8, 3) => Err(Error::Refused(format!(
            "{} is a time series on MongoDB 8.3 or later, which is not supported yet",
            series.name
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use silo_mongo::mongodb::bson::Document;

    use super::*;

    #[test]
    fn time_series_of_servers_without_their_views_are_refused() {
        let of_kind = |kind| Collection {
            name: "weather".into(),
            kind,
            options: Document::new(),
            uuid: None,
            indexes: Vec::new(),
        };
        let refused =
            |version, kind| refuse_viewless_time_series(version, &[of_kind(kind)]).is_err();
        for version in ["8.3.0", "8.10.1", "9.0.0"] {
            assert!(refused(version, Kind::TimeSeries), "{version}");
            assert!(!refused(version, Kind::Collection), "{version}");
        }
        for version in ["6.0.5", "8.0.29", "8.2.9"] {
            assert!(!refused(version, Kind::TimeSeries), "{version}");
        }
    }
}
