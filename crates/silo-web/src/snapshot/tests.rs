use super::*;

const REFRESH: RefreshPolicy = RefreshPolicy {
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(3),
    initial_wait: Duration::from_millis(200),
};

fn down() -> SourceError {
    SourceError::new("mongod", "unreachable", "nobody answers")
}

#[tokio::test]
async fn a_hundred_first_readers_cause_one_measurement() {
    let snapshot = Arc::new(Snapshot::new("numbers", REFRESH));
    let count = Arc::new(AtomicU64::new(0));
    let (background, counter) = (Arc::clone(&snapshot), Arc::clone(&count));
    tokio::spawn(async move {
        background
            .keep_measuring(|| async { Ok(counter.fetch_add(1, Ordering::SeqCst).into()) })
            .await
    });
    let readers = (0..100).map(|_| snapshot.read());
    for reading in futures_util::future::join_all(readers).await {
        assert_eq!(*reading.unwrap().value, 0);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_read_after_a_change_waits_for_a_newer_measurement() {
    let snapshot = Arc::new(Snapshot::new("numbers", REFRESH));
    let subject = Arc::new(AtomicU64::new(1));
    let (background, measured) = (Arc::clone(&snapshot), Arc::clone(&subject));
    tokio::spawn(async move {
        background
            .keep_measuring(|| async {
                tokio::task::yield_now().await;
                Ok(measured.load(Ordering::SeqCst).into())
            })
            .await
    });
    for number in 1..20 {
        subject.store(number, Ordering::SeqCst);
        snapshot.invalidate();
        assert_eq!(*snapshot.read().await.unwrap().value, number);
    }
}

#[tokio::test]
async fn a_change_that_is_not_measured_in_time_leaves_the_last_value() {
    let snapshot = Snapshot::new("numbers", REFRESH);
    snapshot.publish(Ok(7.into()), Duration::ZERO);
    snapshot.invalidate();
    assert_eq!(*snapshot.read().await.unwrap().value, 7);
}

#[test]
fn a_failure_keeps_the_last_value_and_marks_it() {
    let snapshot = Snapshot::new("numbers", REFRESH);
    snapshot.publish(Ok(7.into()), Duration::ZERO);
    assert_eq!(snapshot.current().unwrap().state, Freshness::Fresh);
    snapshot.publish(Err(down()), Duration::ZERO);
    let first = snapshot.current().unwrap();
    assert_eq!((*first.value, first.state), (7, Freshness::Stale));
    snapshot.publish(Err(down()), Duration::ZERO);
    let second = snapshot.current().unwrap();
    assert_eq!(
        first.errors, second.errors,
        "a failure that goes on keeps the time it began"
    );
    snapshot.publish(Ok(8.into()), Duration::ZERO);
    let recovered = snapshot.current().unwrap();
    assert_eq!(
        (*recovered.value, recovered.state, recovered.errors.len()),
        (8, Freshness::Fresh, 0)
    );
}

#[test]
fn a_value_with_missing_parts_is_partial() {
    let snapshot = Snapshot::new("numbers", REFRESH);
    snapshot.publish(
        Ok(Measured {
            value: 1,
            errors: vec![down()],
        }),
        Duration::ZERO,
    );
    assert_eq!(snapshot.current().unwrap().state, Freshness::Partial);
}

#[tokio::test]
async fn nothing_measured_in_time_is_503_and_not_a_zero() {
    let pace = RefreshPolicy {
        initial_wait: Duration::from_millis(1),
        ..REFRESH
    };
    let snapshot = Snapshot::<u64>::new("numbers", pace);
    assert_eq!(
        snapshot.read().await.unwrap_err().code(),
        "not_measured_yet"
    );
    snapshot.publish(Err(down()), Duration::ZERO);
    let problem = snapshot.read().await.unwrap_err();
    assert_eq!(problem.code(), "source_unavailable");
    assert!(problem.to_string().contains("nobody answers"), "{problem}");
}

#[test]
fn a_measurer_that_stopped_turns_the_value_stale() {
    let pace = RefreshPolicy {
        interval: Duration::ZERO,
        timeout: Duration::ZERO,
        ..REFRESH
    };
    let snapshot = Snapshot::new("numbers", pace);
    snapshot.publish(Ok(7.into()), Duration::ZERO);
    let reading = snapshot.current().unwrap();
    assert_eq!(reading.state, Freshness::Stale);
    assert_eq!(reading.errors[0].code, "overdue");
}

#[tokio::test]
async fn a_measurement_that_hangs_has_failed_at_its_deadline() {
    let pace = RefreshPolicy {
        timeout: Duration::from_millis(1),
        ..REFRESH
    };
    let snapshot = Arc::new(Snapshot::<u64>::new("numbers", pace));
    let background = Arc::clone(&snapshot);
    tokio::spawn(async move {
        background
            .keep_measuring(std::future::pending::<Result<Measured<u64>, _>>)
            .await
    });
    let mut changes = snapshot.state.subscribe();
    changes.wait_for(|state| state.attempts > 0).await.unwrap();
    assert_eq!(snapshot.current().unwrap_err().code, "timed_out");
}

#[test]
fn a_restored_value_is_stale_with_its_real_age() {
    let snapshot = Snapshot::new("numbers", REFRESH);
    let hour_ago = silo_core::units::now() - jiff::SignedDuration::from_hours(1);
    snapshot.restore(7, hour_ago);
    let restored = snapshot.current().unwrap();
    assert_eq!((*restored.value, restored.state), (7, Freshness::Stale));
    assert_eq!(
        (restored.as_of, restored.errors[0].code.as_str()),
        (hour_ago, "restored")
    );
    assert_eq!(restored.age.as_secs(), 3600);
    snapshot.publish(Ok(8.into()), Duration::ZERO);
    assert_eq!(snapshot.current().unwrap().state, Freshness::Fresh);
}
