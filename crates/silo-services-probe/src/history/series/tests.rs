use super::*;

const UP: Tally = Tally {
    up: 1,
    degraded: 0,
    failed: 0,
    down: 0,
    answered_ms: 40,
};
const DOWN: Tally = Tally {
    up: 0,
    degraded: 0,
    failed: 0,
    down: 1,
    answered_ms: 0,
};
const NOW: u32 = 29_000_000;

#[test]
fn uptime_counts_only_known_time() {
    let mut series = Series::default();
    assert_eq!(series.uptime(24, NOW, 1), Uptime::default());
    for minute in 0..60 {
        series.add_minute(NOW - minute, if minute < 15 { DOWN } else { UP });
    }
    let day = series.uptime(24, NOW, 1);
    assert_eq!(
        (day.percent, day.checks, day.known_percent),
        (Some(75.0), 60, 4.2)
    );
    let month = series.uptime(720, NOW, 1);
    assert_eq!((month.percent, month.checks), (Some(75.0), 60));
    // 2,999 of 3,000 are not rounded to 100 %.
    let mut nearly = Series::default();
    nearly.add_minute(
        NOW,
        Tally {
            up: 29_999,
            failed: 1,
            ..UP
        },
    );
    assert_eq!(nearly.uptime(24, NOW, 1).percent, Some(99.99));
}

#[test]
fn time_without_checks_is_unknown_and_has_no_response_time() {
    let mut series = Series::default();
    series.add_minute(NOW, UP);
    series.add_minute(NOW - 2, DOWN);
    let points = series.points(Range::Hour, NOW);
    assert_eq!(points.len(), 60);
    let last: Vec<_> = points[57..]
        .iter()
        .map(|point| (point.status, point.response_ms))
        .collect();
    assert_eq!(
        last,
        [
            (Status::Down, None),
            (Status::Unknown, None),
            (Status::Up, Some(40))
        ]
    );
    for range in [
        Range::Day,
        Range::TwoDays,
        Range::Week,
        Range::Month,
        Range::Quarter,
    ] {
        let points = series.points(range, NOW);
        let checks: u32 = points.iter().map(|point| point.checks).sum();
        assert_eq!(checks, 2, "{range:?}");
        assert_eq!(
            points.last().unwrap().status,
            Status::Down,
            "the worst of {range:?}'s last point"
        );
    }
}

#[test]
fn a_series_is_bounded_and_accepts_times_in_any_order() {
    let mut series = Series::default();
    // The first minute that is kept is not the first of its hour.
    for minute in 0..60 * 24 * 100 + 7 {
        series.add_minute(minute, UP);
    }
    assert!(
        series.minutes.len() == MINUTES && series.hours.len() == HOURS,
        "{} {}",
        series.minutes.len(),
        series.hours.len()
    );
    series.add_minute(60 * 24 * 100 - 30, DOWN);
    assert!(series.minutes.iter().is_sorted_by_key(|(at, _)| *at));
    assert_eq!(
        series.points(Range::Hour, 60 * 24 * 100 - 1)[30].status,
        Status::Down
    );
}

#[test]
fn a_temporarily_wrong_clock_removes_no_history() {
    let mut series = Series::default();
    for minute in 0..600 {
        series.add_minute(NOW + minute, UP);
    }
    // A year ahead, and in 1970.
    series.add_minute(NOW + 525_600, DOWN);
    series.add_minute(3, DOWN);
    let day = series.uptime(24, NOW + 600, 1);
    assert_eq!((day.percent, day.checks), (Some(100.0), 600));
    assert_eq!(series.points(Range::Hour, NOW + 599)[0].status, Status::Up);
}

#[test]
fn time_between_checks_that_are_an_hour_apart_is_known() {
    let mut series = Series::default();
    for hour in 0..24 {
        series.add_minute(NOW - 60 * hour, UP);
    }
    assert!(series.uptime(24, NOW, 60).known_percent > 95.0);
    assert!(
        series.uptime(24, NOW, 1).known_percent < 2.0,
        "seldom for checks that are to be a minute apart"
    );
}
