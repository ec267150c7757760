//! Rates of the last looks, from the differences of mongod's counters.

use std::collections::VecDeque;

use silo_core::units::{double, round, share};

use super::view::{CachePressure, Rates};
use crate::gateway::{Cache, Opcounters, Status};

/// Looks that are kept: three minutes at one each 2 s.
const MAX_LOOKS: usize = 90;

/// The last looks, oldest first. A look that failed or is under way is `None`.
#[derive(Default)]
pub(super) struct Load(VecDeque<Option<Look>>);

struct Look {
    uptime_ms: u64,
    opcounters: Option<Opcounters>,
    cache: Cache,
    rate: Option<f64>,
}

impl Load {
    /// Begins a look. If it is never finished, it stays in the list as one that failed.
    pub(super) fn begin(&mut self) {
        self.0.push_back(None);
        while self.0.len() > MAX_LOOKS {
            self.0.pop_front();
        }
    }

    /// Finishes the look that was begun last, and returns operations a second since the look before; `None` when there was none, or the server has
    /// restarted since.
    pub(super) fn finish(&mut self, status: &Status) -> Option<Rates> {
        let uptime_ms = status.uptime_ms?;
        let before = self.0.iter().rev().flatten().next();
        let rates = before.and_then(|before| {
            let elapsed = uptime_ms.checked_sub(before.uptime_ms)?;
            rates(
                status.opcounters.as_ref()?,
                before.opcounters.as_ref()?,
                elapsed,
            )
        });
        let look = Look {
            uptime_ms,
            opcounters: status.opcounters.clone(),
            cache: status.cache.clone(),
            rate: rates.as_ref().map(total_rate),
        };
        if let Some(last) = self.0.back_mut() {
            *last = Some(look);
        }
        rates
    }

    /// All operations a second, one for each look.
    pub(super) fn recent_rates(&self) -> Vec<Option<f64>> {
        let rate = |look: &Option<Look>| look.as_ref().and_then(|look| look.rate);
        self.0.iter().map(rate).collect()
    }

    /// Use of the cache between the oldest and the newest look of this run of the server.
    pub(super) fn cache_pressure(&self) -> Option<CachePressure> {
        let now = self.0.back()?.as_ref()?;
        let mut oldest = now;
        for look in self.0.iter().rev().flatten() {
            if look.uptime_ms > oldest.uptime_ms {
                break;
            }
            oldest = look;
        }
        let milliseconds = now.uptime_ms - oldest.uptime_ms;
        let since = |counter: fn(&Cache) -> Option<u64>| {
            counter(&now.cache)?.checked_sub(counter(&oldest.cache)?)
        };
        let requested = since(|cache| cache.pages_requested);
        let read = since(|cache| cache.pages_read);
        let evicted = since(|cache| cache.pages_evicted_by_operations);
        let of_cache = |bytes: Option<u64>| share(bytes?, now.cache.max_bytes?);
        Some(CachePressure {
            seconds: milliseconds / 1000,
            used_share: of_cache(now.cache.used_bytes),
            dirty_share: of_cache(now.cache.dirty_bytes),
            hit_ratio: requested
                .zip(read)
                .and_then(|(requested, read)| share(requested.checked_sub(read)?, requested)),
            evictions_per_second: evicted
                .filter(|_| milliseconds > 0)
                .map(|evicted| round(double(evicted) * 1000.0 / double(milliseconds), 2)),
        })
    }
}

fn rates(now: &Opcounters, before: &Opcounters, milliseconds: u64) -> Option<Rates> {
    let seconds = double(Some(milliseconds).filter(|ms| *ms > 0)?) / 1000.0;
    let rate = |now: u64, before: u64| Some(round(double(now.checked_sub(before)?) / seconds, 2));
    Some(Rates {
        insert: rate(now.insert, before.insert)?,
        query: rate(now.query, before.query)?,
        update: rate(now.update, before.update)?,
        delete: rate(now.delete, before.delete)?,
        getmore: rate(now.getmore, before.getmore)?,
        command: rate(now.command, before.command)?,
    })
}

fn total_rate(rates: &Rates) -> f64 {
    round(
        rates.insert + rates.query + rates.update + rates.delete + rates.getmore + rates.command,
        2,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(insert: u64, uptime_ms: u64) -> Status {
        Status {
            opcounters: Some(Opcounters {
                insert,
                ..Opcounters::default()
            }),
            uptime_ms: Some(uptime_ms),
            cache: Cache {
                used_bytes: Some(50),
                dirty_bytes: Some(10),
                max_bytes: Some(100),
                pages_requested: Some(insert * 10),
                pages_read: Some(insert),
                pages_evicted_by_operations: Some(insert / 10),
            },
            ..Status::default()
        }
    }

    fn look(load: &mut Load, status: &Status) -> Option<Rates> {
        load.begin();
        load.finish(status)
    }

    #[test]
    fn a_rate_needs_two_looks_at_the_same_run_of_the_server() {
        let mut load = Load::default();
        assert_eq!(look(&mut load, &status(100, 10_000)), None);
        let rates = look(&mut load, &status(150, 12_000)).unwrap();
        assert_eq!(rates.insert, 25.0);
        let restarted = look(&mut load, &status(3, 500));
        assert_eq!(restarted, None, "counters that went back are no rate");
        assert_eq!(load.recent_rates(), [None, Some(25.0), None]);
    }

    #[test]
    fn a_look_that_failed_leaves_a_gap() {
        let mut load = Load::default();
        look(&mut load, &status(100, 10_000));
        load.begin();
        look(&mut load, &status(200, 14_000));
        assert_eq!(load.recent_rates(), [None, None, Some(25.0)]);
    }

    #[test]
    fn pressure_is_that_of_the_last_looks_of_this_run() {
        let mut load = Load::default();
        look(&mut load, &status(9_000, 900_000));
        look(&mut load, &status(100, 10_000));
        look(&mut load, &status(200, 20_000));
        let pressure = load.cache_pressure().unwrap();
        assert_eq!((pressure.seconds, pressure.hit_ratio), (10, Some(0.9)));
        assert_eq!(pressure.evictions_per_second, Some(1.0));
        assert_eq!(
            (pressure.used_share, pressure.dirty_share),
            (Some(0.5), Some(0.1))
        );
        load.begin();
        assert_eq!(load.cache_pressure(), None, "this look is not finished");
    }
}
