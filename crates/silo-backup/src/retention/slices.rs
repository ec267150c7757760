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
    use jiff::Timestamp;

    use super::*;
    use crate::continuous::slice::Span;
    use crate::oplog::Position;

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
        let position = |time: Timestamp| Position {
            seconds: u32::try_from(time.as_second()).unwrap(),
            increment: 1,
        };
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
}
