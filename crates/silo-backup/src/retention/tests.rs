use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

fn backup(at: Timestamp, number: usize) -> Backup {
    Backup {
        id: format!("{number:05}"),
        at,
        good: true,
        drilled: number.is_multiple_of(7),
        pin: None,
    }
}

fn day(number: i64) -> Timestamp {
    "2026-01-01T04:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * number)
}

fn clock(now: Timestamp) -> Clock {
    Clock {
        now,
        ahead: Some(0),
    }
}

#[test]
fn a_year_of_backups_is_reduced_to_the_keep_rules() {
    let mut backups: Vec<Backup> = Vec::new();
    for night in 0..365 {
        backups.push(backup(day(night), usize::try_from(night).unwrap()));
        let plan = plan(&backups, Policy::default(), clock(day(night)), None);
        backups.retain(|backup| {
            plan.iter()
                .any(|decision| decision.id == backup.id && decision.keep)
        });
    }
    let kept: Vec<String> = backups
        .iter()
        .map(|backup| backup.at.strftime("%m-%d").to_string())
        .collect();
    assert_eq!(
        kept[..11],
        [
            "01-31", "02-28", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30",
            "10-31", "11-30"
        ]
    );
    assert_eq!(kept.last().unwrap(), "12-31");
    // 11 months, 4 weeks of which one is this, 7 days, and what a third restored one needs.
    assert!((18..=25).contains(&kept.len()), "{kept:?}");
}

#[test]
fn every_decision_has_a_reason() {
    let backups: Vec<Backup> = (0..60)
        .map(|night| backup(day(night), usize::try_from(night).unwrap()))
        .collect();
    let plan = plan(&backups, Policy::default(), clock(day(60)), None);
    assert!(plan.iter().all(|decision| !decision.reasons.is_empty()));
    assert!(
        plan.iter()
            .any(|decision| !decision.keep && decision.reasons == ["no rule keeps it"])
    );
    assert!(
        plan[0]
            .reasons
            .contains(&"the newest of the month 2026-03".to_owned()),
        "{:?}",
        plan[0]
    );
}

/// Random histories: gaps, held runs, clocks that jump, dates in the future, prunes that were interrupted.
#[test]
fn protected_backups_are_kept_for_every_history() {
    let mut deleted = 0;
    for seed in 0..20_000 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut backups = Vec::new();
        let mut at = day(0);
        for number in 0..rng.random_range(0..60) {
            at += SignedDuration::from_hours(rng.random_range(1..80));
            let jump = match rng.random_range(0..60) {
                0 => SignedDuration::from_hours(24 * 3650),
                1 => SignedDuration::from_hours(-24 * 3650),
                _ => SignedDuration::ZERO,
            };
            let good = rng.random_bool(0.85);
            backups.push(Backup {
                id: format!("{number:05}"),
                at: at + jump,
                good,
                drilled: good && rng.random_bool(0.2),
                pin: None,
            });
        }
        let now = at + SignedDuration::from_hours(rng.random_range(-24..100));
        let ahead = [None, Some(0), Some(100_000)][rng.random_range(0..3)];
        let clock = Clock { now, ahead };
        let policy = Policy {
            last: rng.random_range(0..9),
            daily: rng.random_range(0..9),
            weekly: rng.random_range(0..5),
            monthly: rng.random_range(0..13),
            moments: rng.random_range(0..36),
        };
        let plan = plan(&backups, policy, clock, None);
        assert_eq!(plan.len(), backups.len());
        let gone: Vec<&Backup> = backups
            .iter()
            .filter(|backup| {
                plan.iter()
                    .any(|decision| decision.id == backup.id && !decision.keep)
            })
            .collect();
        deleted += gone.len();
        if clock.clock_problem(&backups).is_some() {
            assert!(
                gone.is_empty(),
                "seed {seed}: something goes while the clock looks wrong"
            );
        }
        let mut newest: Vec<&Backup> = backups.iter().collect();
        newest.sort_by(|one, other| (other.at, &other.id).cmp(&(one.at, &one.id)));
        let drilled = newest.iter().filter(|backup| backup.drilled).take(3);
        let good = newest.iter().filter(|backup| backup.good).take(7);
        // Every moment of the window is after a backup that is kept, or there is none.
        let begin = now - SignedDuration::from_hours(24 * policy.moments);
        let within = newest
            .iter()
            .filter(|backup| backup.good && backup.at > begin);
        let before = newest
            .iter()
            .find(|backup| backup.good && backup.at <= begin);
        let window = within.chain(before).filter(|_| policy.moments > 0);
        for kept in drilled.chain(good).chain(window) {
            assert!(!gone.contains(kept), "seed {seed}: {kept:?} goes");
        }
        assert!(
            gone.iter()
                .all(|backup| now.duration_since(backup.at) >= MIN_AGE),
            "seed {seed}"
        );
        assert!(
            newest.first().is_none_or(|newest| newest.good) || gone.is_empty(),
            "seed {seed}"
        );
        // A second prune keeps the same backups: an interrupted prune can be resumed.
        let left: Vec<Backup> = backups
            .iter()
            .filter(|backup| !gone.contains(backup))
            .cloned()
            .collect();
        let again = super::plan(&left, policy, clock, None);
        assert!(again.iter().all(|decision| decision.keep), "seed {seed}");
    }
    assert!(deleted > 50_000, "{deleted}");
}
