//! Samples, ranges and growth.

use super::*;

/// Noon of a day, at which a new point of every range begins.
fn noon() -> Timestamp {
    "2026-03-10T12:00:00Z".parse().unwrap()
}

fn contents(collection: &str, documents: u64, data_bytes: u64) -> Contents {
    Contents {
        collection: collection.into(),
        documents: Some(documents),
        data_bytes: Some(data_bytes),
    }
}

fn sample(at: Timestamp, collections: Vec<Contents>) -> Sample {
    Sample {
        quarter: quarter_of(at),
        users: Some(7),
        collections: Some(collections),
        ..Sample::default()
    }
}

fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

fn catalogue() -> Catalogue {
    Catalogue::built_in().unwrap()
}

fn opened() -> (tempfile::TempDir, History) {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    (folder, history)
}

#[test]
fn a_point_has_the_last_sample_of_its_time_and_gaps_are_unknown() {
    let (_folder, history) = opened();
    for (minutes_ago, documents) in [(0, 5), (60, 4), (75, 3), (180, 1)] {
        let at = noon() - SignedDuration::from_mins(minutes_ago);
        let row = contents("moods", documents, 100 * documents);
        history.add(&sample(at, vec![row])).unwrap();
    }
    let week = history.all(Range::Week, &catalogue(), noon()).unwrap();
    assert_eq!((week.step_seconds, week.documents.len()), (3600, 168));
    assert_eq!(
        week.from + hours(167),
        noon(),
        "the last point is the present hour"
    );
    let last = &week.documents[163..];
    assert_eq!(last, [None, Some(1), Some(3), Some(4), Some(5)]);
    assert_eq!(week.data_bytes[167], Some(500));
    assert_eq!((week.users[164], week.users[163]), (Some(7), None));
    assert_eq!(week.newest, Some(noon()));
    let day = history.all(Range::Day, &catalogue(), noon()).unwrap();
    assert_eq!(day.documents.iter().flatten().count(), 4);
    assert_eq!(day.documents[95 - 12], Some(1));
}

#[test]
fn categories_and_totals_are_sums_and_unknown_with_an_unknown_part() {
    let (_folder, history) = opened();
    let unknown = Contents {
        documents: None,
        ..contents("painting-images", 0, 30)
    };
    let before = noon() - hours(1);
    let rows = vec![contents("moods", 1, 10), unknown, contents("strange", 2, 5)];
    history.add(&sample(before, rows)).unwrap();
    history
        .add(&sample(noon(), vec![contents("moods", 2, 20)]))
        .unwrap();
    let week = history.all(Range::Week, &catalogue(), noon()).unwrap();
    assert_eq!(week.documents[166..], [None, Some(2)]);
    assert_eq!(week.data_bytes[166..], [Some(45), Some(20)]);
    let other = week
        .categories
        .as_ref()
        .unwrap()
        .iter()
        .find(|category| category.data_bytes[166] == Some(35))
        .unwrap();
    assert_eq!(other.documents[166..], [None, Some(0)]);
    let moods = history.collection("moods", Range::Week, noon()).unwrap();
    assert_eq!(moods.documents[165..], [None, Some(1), Some(2)]);
    let none = history.collection("nothing", Range::Week, noon()).unwrap();
    assert!(none.documents.iter().all(Option::is_none));
}

#[test]
fn growth_is_from_the_first_to_the_last_known_point_of_each_collection() {
    let (_folder, history) = opened();
    let samples = [
        (
            20,
            vec![contents("moods", 10, 100), contents("logs", 5, 50)],
        ),
        (10, vec![contents("moods", 12, 110), contents("new", 1, 1)]),
        (
            0,
            vec![
                contents("moods", 15, 140),
                contents("logs", 4, 10),
                contents("new", 3, 9),
            ],
        ),
    ];
    for (ago, rows) in samples {
        history.add(&sample(noon() - hours(ago), rows)).unwrap();
    }
    let week = history.all(Range::Week, &catalogue(), noon()).unwrap();
    let growth: Vec<_> = week
        .growth
        .as_ref()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it.collection.as_str(),
                it.documents,
                it.data_bytes,
                it.since,
            )
        })
        .collect();
    let wanted = [
        ("moods", 5, 40, noon() - hours(20)),
        ("new", 2, 8, noon() - hours(10)),
        ("logs", -1, -40, noon() - hours(20)),
    ];
    assert_eq!(growth, wanted);
}

#[test]
fn a_quarter_has_one_sample_and_the_oldest_are_removed() {
    let (_folder, history) = opened();
    history
        .add(&sample(noon(), vec![contents("moods", 1, 1)]))
        .unwrap();
    let again = noon() + SignedDuration::from_mins(14);
    history
        .add(&sample(again, vec![contents("moods", 9, 9)]))
        .unwrap();
    let day = history.all(Range::Day, &catalogue(), noon()).unwrap();
    assert_eq!(day.documents[95], Some(1), "the first of a quarter stays");
    let mut store = history.store();
    let left = store
        .write(|tx| {
            for quarter in 0..100 {
                let old = Sample {
                    quarter,
                    collections: Some(vec![contents("gone", 1, 1)]),
                    ..Sample::default()
                };
                tables::add(tx, &old)?;
            }
            tables::prune(tx, 1)?;
            let count = |table| {
                let select = format!("SELECT count(*) FROM {table}");
                tx.query_row(&select, [], |row| row.get::<_, i64>(0))
            };
            Ok([count("sample")?, count("contents")?, count("collection")?])
        })
        .unwrap();
    assert_eq!(left, [1, 1, 1]);
}

#[test]
fn a_sample_from_a_clock_that_was_ahead_is_not_shown_and_stops_nothing() {
    let (_folder, history) = opened();
    let rows = || vec![contents("moods", 1, 1)];
    history.add(&sample(noon() + hours(1000), rows())).unwrap();
    assert_eq!(history.newest(noon()).unwrap(), None);
    history.add(&sample(noon(), rows())).unwrap();
    assert_eq!(history.newest(noon()).unwrap(), Some(quarter_of(noon())));
    let day = history.all(Range::Day, &catalogue(), noon()).unwrap();
    assert_eq!(day.documents.iter().flatten().count(), 1);
}

#[test]
fn the_disk_of_a_week_ago_is_the_oldest_known_of_the_last_week() {
    let (_folder, history) = opened();
    for (ago, used) in [(200, Some(1)), (150, None), (100, Some(2)), (50, Some(3))] {
        let sample = Sample {
            quarter: quarter_of(noon() - hours(ago)),
            disk_used_bytes: used,
            ..Sample::default()
        };
        history.add(&sample).unwrap();
    }
    let found = history.disk_a_week_ago(noon()).unwrap();
    assert_eq!(found, Some((noon() - hours(100), 2)));
}
