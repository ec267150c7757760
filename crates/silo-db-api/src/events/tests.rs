use super::*;

const START: i64 = 1_700_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn event(second: i64, count: u64) -> DatabaseEvent {
    DatabaseEvent {
        at: at(second),
        collection: "moods".into(),
        operation: "insert".into(),
        count,
        document: Some("65f0".into()),
        user: Some("jane".into()),
        label: Some("abc".into()),
        fields: vec!["mood".into(), "when".into()],
        ..DatabaseEvent::default()
    }
}

#[test]
fn events_position_and_known_minutes_are_there_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::open(folder.path()).unwrap();
    assert_eq!(log.position().unwrap(), None);
    assert_eq!(log.activity(None, 10, at(0)).unwrap().since, None);
    log.begin_anew(at(0)).unwrap();
    log.add(vec![event(1, 3), event(2, 1)], Some("after"), Some(at(2)))
        .unwrap();
    drop(log);
    let log = EventLog::open(folder.path()).unwrap();
    assert_eq!(log.position().unwrap().as_deref(), Some("after"));
    // Nothing happened in the ten minutes that this process caught up with.
    log.add(Vec::new(), None, Some(at(600))).unwrap();
    assert_eq!(log.position().unwrap().as_deref(), Some("after"));
    let Activity {
        since,
        events,
        minutes,
        quarters,
        ..
    } = log.activity(None, 10, at(600)).unwrap();
    assert_eq!(since, Some(at(0)));
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids, [2, 1]);
    let wanted = DatabaseEvent {
        id: 1,
        ..event(1, 3)
    };
    assert_eq!(events[1], wanted);
    let known: Vec<_> = minutes.iter().flatten().copied().collect();
    assert_eq!((minutes.len(), known.len()), (60, 11), "{minutes:?}");
    assert_eq!(known.iter().sum::<u64>(), 4);
    assert_eq!(quarters.len(), 96);
    assert_eq!(quarters.iter().flatten().sum::<u64>(), 4);
}

#[test]
fn what_a_lost_position_leaves_out_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::open(folder.path()).unwrap();
    log.begin_anew(at(0)).unwrap();
    log.add(vec![event(0, 1)], Some("x"), Some(at(0))).unwrap();
    log.begin_anew(at(1200)).unwrap();
    assert_eq!(log.position().unwrap(), None);
    log.add(Vec::new(), Some("y"), Some(at(1200))).unwrap();
    let activity = log.activity(None, 10, at(1200)).unwrap();
    assert_eq!(activity.since, Some(at(1200)));
    let known = activity.minutes.iter().flatten().count();
    assert_eq!(known, 2, "{:?}", activity.minutes);
}

#[test]
fn events_are_bounded_by_number_and_shown_for_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::open(folder.path()).unwrap();
    log.begin_anew(at(0)).unwrap();
    let most = i64::try_from(MAX_EVENTS).unwrap();
    let many = (0..most + 5).map(|second| event(second, 1)).collect();
    log.add(many, Some("x"), Some(at(most))).unwrap();
    let kept = log.activity(None, 20_000, at(most)).unwrap();
    assert_eq!(kept.events.len(), 10_000);
    assert_eq!(kept.since, Some(at(5)), "older ones are not all there");
    let until = log.activity(Some(at(100)), 10, at(most)).unwrap();
    assert_eq!(until.events.first().unwrap().at, at(99));
    let later = at(most + 86_406);
    assert_eq!(log.activity(None, 10, later).unwrap().events, []);

    // Few events are kept for two days before the newest.
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::open(folder.path()).unwrap();
    log.begin_anew(at(0)).unwrap();
    log.add(vec![event(0, 1)], Some("x"), None).unwrap();
    log.add(vec![event(3 * 86_400, 1)], Some("y"), None)
        .unwrap();
    let newest = log.activity(None, 10, at(0)).unwrap();
    assert_eq!(newest.events.len(), 1);
    assert_eq!(newest.since, Some(at(3 * 86_400)));
}

#[test]
fn a_clock_that_is_ahead_for_a_while_takes_no_minutes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::open(folder.path()).unwrap();
    log.begin_anew(at(0)).unwrap();
    let years = 10 * 365 * 86_400;
    for second in [0, 600, years, 660] {
        log.add(Vec::new(), Some("x"), Some(at(second))).unwrap();
    }
    let known = |now| {
        let activity = log.activity(None, 10, at(now)).unwrap();
        activity.minutes.iter().flatten().count()
    };
    assert_eq!(known(660), 12);
    assert_eq!(known(years), 0);
}

#[test]
fn a_client_gets_what_it_has_missed_or_is_told_to_reload() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::open(folder.path()).unwrap();
    let missed = |last| {
        let Backlog { gap, items } = log.missed(last).unwrap();
        let ids: Vec<_> = items.iter().map(|item| item.id).collect();
        (gap.is_some(), ids)
    };
    assert_eq!(missed(0), (false, vec![]));
    assert_eq!(missed(1), (true, vec![]), "a number of another file");
    log.begin_anew(at(0)).unwrap();
    log.add(
        (0..600).map(|second| event(second, 1)).collect(),
        None,
        Some(at(600)),
    )
    .unwrap();
    assert_eq!(missed(597), (false, vec![598, 599, 600]));
    assert_eq!(missed(600), (false, vec![]));
    assert_eq!(missed(99), (true, vec![]), "more than are sent");
    assert_eq!(missed(100).1.len(), 500);
}
