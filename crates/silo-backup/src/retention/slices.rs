//! Which slices of the oplog are deleted: those from before the backup with which the window of moments begins, seven days after the window has left them;
//! and small ones that were merged, seven days later.

use jiff::SignedDuration;

use super::{Backup, Clock};
use crate::oplog::server::LONGEST_COMMIT;
use crate::repository::orphans::GRACE;
use crate::repository::{StoredChain, StoredSlice};

/// Slices that no moment of the last `days` days needs, nor one of the seven days before them, and merged ones older than seven days; the oldest first.
/// Without a good backup before the window nothing is expired.
#[must_use]
pub fn expired<'a>(
    chains: &'a [StoredChain],
    backups: &[Backup],
    days: i64,
    clock: Clock,
) -> Vec<&'a StoredSlice> {
    let begin = clock.now - SignedDuration::from_hours(24 * days);
    let bases = backups
        .iter()
        .filter(|backup| backup.good && backup.at <= begin);
    let Some(base) = bases.map(|backup| backup.at).max() else {
        return Vec::new();
    };
    // Parts of transactions that end after the backup are older.
    let needed = base.as_second() - i64::from(LONGEST_COMMIT);
    let needed = needed.min((begin - GRACE).as_second());
    let before =
        |time: i64| move |slice: &&StoredSlice| i64::from(slice.span.through.seconds) < time;
    let slices = chains.iter().flat_map(|chain| &chain.slices);
    let mut expired: Vec<&StoredSlice> = slices.filter(before(needed)).collect();
    // Those that were merged into others, as long after as pruned backups.
    let merged = chains.iter().flat_map(StoredChain::merged);
    let merged: Vec<&StoredSlice> = merged
        .filter(before((clock.now - GRACE).as_second()))
        .collect();
    expired.extend(
        merged
            .into_iter()
            .filter(|slice| i64::from(slice.span.through.seconds) >= needed),
    );
    expired.sort_by_key(|slice| slice.span);
    expired
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use silo_testkit::workloads::workloads;

    use super::*;
    use crate::continuous::slice::Span;
    use crate::oplog::Position;
    use crate::retention::{Policy, plan};

    fn backup(day: i64, good: bool) -> Backup {
        Backup {
            id: format!("{day}"),
            at: at(day, 4),
            good,
            drilled: false,
            pin: None,
        }
    }

    fn at(day: i64, hour: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + day * 86_400 + hour * 3600).unwrap()
    }

    /// A slice for each hour of the days.
    fn chain(days: std::ops::Range<i64>) -> StoredChain {
        let hours = days.flat_map(|day| (0..24).map(move |hour| (day, hour)));
        let slice = |(day, hour)| StoredSlice {
            span: Span {
                after: position(at(day, hour)),
                through: position(at(day, hour + 1)),
            },
            key: format!("{day} {hour}"),
            bytes: 1,
        };
        StoredChain {
            id: "chain".into(),
            slices: hours.map(slice).collect(),
        }
    }

    fn first_kept(backups: &[Backup], today: i64) -> String {
        let chains = [chain(0..today)];
        let clock = Clock {
            now: at(today, 12),
            ahead: None,
        };
        let expired = expired(&chains, backups, 14, clock);
        let all = &chains[0].slices;
        assert!(
            expired.iter().zip(all).all(|(gone, slice)| *gone == slice),
            "only from the oldest end"
        );
        all[expired.len()].key.clone()
    }

    #[test]
    fn slices_are_kept_for_seven_days_after_the_window_left_them() {
        let nightly: Vec<Backup> = (0..60).map(|day| backup(day, true)).collect();
        // 60 - 14 - 7 = 39
        assert_eq!(first_kept(&nightly, 60), "39 11");
    }

    #[test]
    fn slices_are_kept_from_an_hour_before_the_backup_at_the_beginning_of_the_window() {
        // None of the last days of the window's beginning is good: 60 - 14 = 46.
        let nightly: Vec<Backup> = (0..60)
            .map(|day| backup(day, !(31..47).contains(&day)))
            .collect();
        assert_eq!(first_kept(&nightly, 60), "30 2");
        let none: Vec<Backup> = (47..60).map(|day| backup(day, true)).collect();
        assert_eq!(first_kept(&none, 60), "0 0");
    }

    /// A year of nights with backups that fail, chains that end, days without pruning, and slices that are merged.
    struct Year {
        random: SmallRng,
        backups: Vec<Backup>,
        chains: Vec<StoredChain>,
        /// Good backups, and beginnings and ends of chains, as if nothing were ever deleted.
        bases: Vec<Position>,
        covered: Vec<(Position, Position)>,
        /// `true` while the newest chain goes on.
        goes_on: bool,
    }

    const MOMENTS: i64 = 14;

    fn position(time: Timestamp) -> Position {
        Position {
            seconds: u32::try_from(time.as_second()).unwrap(),
            increment: 1,
        }
    }

    /// `true` if a backup can be rolled forward to a moment.
    fn is_restorable(bases: &[Position], covered: &[(Position, Position)], at: Position) -> bool {
        let mut covered = covered.iter();
        covered.any(|(after, through)| {
            let mut bases = bases.iter();
            *through >= at && bases.any(|base| base >= after && *base <= at)
        })
    }

    impl Year {
        fn add(&mut self, after: Timestamp, through: Timestamp) {
            let span = Span {
                after: position(after),
                through: position(through),
            };
            let chain = self.chains.last_mut().unwrap();
            chain.slices.push(StoredSlice {
                span,
                key: span.file_name(),
                bytes: 1,
            });
            let covered = self.covered.last_mut().unwrap();
            covered.1 = covered.1.max(span.through);
        }

        fn night(&mut self, day: i64) {
            let good = day == 0 || self.random.random_bool(0.8);
            let backup = backup(day, good);
            let base = position(backup.at);
            self.backups.push(backup);
            if !good {
                return;
            }
            self.bases.push(base);
            if !self.goes_on {
                self.goes_on = true;
                self.covered.push((base, base));
                self.chains.push(StoredChain {
                    id: format!("{day:03}"),
                    slices: Vec::new(),
                });
            }
        }

        /// The hours up to the next backup.
        fn day(&mut self, day: i64) {
            let mut ends = vec![at(day, 4)];
            for hour in 5..=28 {
                // The service is down for an hour, and then reads two.
                if self.goes_on && self.random.random_bool(0.95) {
                    self.add(*ends.last().unwrap(), at(day, hour));
                    ends.push(at(day, hour));
                }
                if self.random.random_bool(0.001) {
                    self.goes_on = false;
                }
            }
            let end = *ends.last().unwrap();
            if self.goes_on && end < at(day + 1, 4) {
                self.add(end, at(day + 1, 4));
            }
            // Most of them are merged.
            if ends.len() > 4 && self.random.random_bool(0.5) {
                self.add(ends[0], ends[ends.len() - 3]);
            }
        }

        fn prune(&mut self, now: Timestamp) {
            let (backups, chains) = (&mut self.backups, &mut self.chains);
            let clock = Clock { now, ahead: None };
            let policy = Policy {
                moments: MOMENTS,
                ..Policy::default()
            };
            let gone = expired(chains, backups, MOMENTS, clock);
            let gone: BTreeSet<String> = gone.into_iter().map(|slice| slice.key.clone()).collect();
            let decisions = plan(backups, policy, clock, None);
            let is_kept = |backup: &Backup| {
                let mut decisions = decisions.iter();
                decisions.any(|decision| decision.id == backup.id && decision.keep)
            };
            backups.retain(is_kept);
            for chain in chains {
                chain.slices.retain(|slice| !gone.contains(&slice.key));
            }
        }
    }

    #[test]
    fn in_a_year_every_moment_of_the_window_is_kept_and_nothing_for_long_after_it() {
        let mut restorable = 0;
        for seed in 0..workloads(3) {
            let mut year = Year {
                random: SmallRng::seed_from_u64(seed),
                backups: Vec::new(),
                chains: Vec::new(),
                bases: Vec::new(),
                covered: Vec::new(),
                goes_on: false,
            };
            for day in 0..365 {
                year.night(day);
                year.day(day);
                let now = at(day + 1, 4);
                let is_pruned = year.random.random_bool(0.8);
                if is_pruned {
                    year.prune(now);
                }
                let good = year.backups.iter().filter(|backup| backup.good);
                let bases: Vec<Position> = good.map(|backup| position(backup.at)).collect();
                let ranges = year.chains.iter().flat_map(StoredChain::ranges);
                let covered: Vec<_> = ranges
                    .map(|range| (range.after(), range.through()))
                    .collect();
                for _ in 0..30 {
                    let minutes = year.random.random_range(0..MOMENTS * 24 * 60);
                    let moment = position(now - SignedDuration::from_mins(minutes));
                    let is_promised = is_restorable(&year.bases, &year.covered, moment);
                    assert_eq!(
                        is_restorable(&bases, &covered, moment),
                        is_promised,
                        "seed {seed}, day {day}, {moment}"
                    );
                    restorable += usize::from(is_promised);
                }
                // A slice is as long as a day at most.
                let oldest = position(now - SignedDuration::from_hours(24 * (MOMENTS + 7 + 1)));
                let slices = year.chains.iter().flat_map(|chain| &chain.slices);
                let old = slices.filter(|slice| slice.span.after < oldest).count();
                assert!(
                    !is_pruned || old == 0,
                    "seed {seed}, day {day}: {old} slices are too old"
                );
            }
        }
        assert!(restorable > 20_000, "{restorable}");
    }
}
