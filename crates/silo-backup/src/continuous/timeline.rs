//! Slices of several chains, one after the other.

use super::stored::Range;
use crate::oplog::Position;

/// Part of a range that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The range. If it goes on after this part, the next one has that time, too.
    pub range: Range,
    /// Changes after this position,
    pub after: Position,
    /// up to and with this one; nothing if it is the same.
    pub through: Position,
}

/// Parts of ranges with all changes after a position, in their order; between two parts there may be a gap. A range ends where the next begins, even if it
/// goes on: on a server that was set back, its later changes were undone.
#[must_use]
pub fn timeline(mut ranges: Vec<Range>, after: Position) -> Vec<Part> {
    ranges.sort_by_key(|range| (range.after(), range.through()));
    let begins: Vec<Position> = ranges.iter().map(Range::after).collect();
    let next = begins.iter().skip(1).copied().map(Some).chain([None]);
    let part = |(range, next): (Range, Option<Position>)| {
        let after = after.max(range.after());
        let end = next.map_or(range.through(), |next| next.min(range.through()));
        Part {
            after,
            through: end.max(after),
            range,
        }
    };
    let wanted = ranges.into_iter().zip(next);
    let wanted = wanted.filter(|(range, _)| range.through() > after);
    wanted.map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::continuous::slice::Span;
    use crate::repository::StoredSlice;

    fn at(seconds: u32) -> Position {
        Position {
            seconds,
            increment: 0,
        }
    }

    fn range(chain: &str, after: u32, through: u32) -> Range {
        let slice = StoredSlice {
            span: Span {
                after: at(after),
                through: at(through),
            },
            key: String::new(),
            bytes: 1,
        };
        Range::new(chain, vec![slice])
    }

    fn parts(ranges: &[(&str, u32, u32)], after: u32) -> Vec<(String, u32, u32)> {
        let ranges = ranges
            .iter()
            .map(|(chain, from, to)| range(chain, *from, *to));
        let parts = timeline(ranges.collect(), at(after)).into_iter();
        parts
            .map(|part| (part.range.chain, part.after.seconds, part.through.seconds))
            .collect()
    }

    fn part(chain: &str, after: u32, through: u32) -> (String, u32, u32) {
        (chain.to_owned(), after, through)
    }

    #[test]
    fn every_moment_is_in_one_part_that_of_the_range_that_began_later() {
        assert_eq!(parts(&[], 0), []);
        assert_eq!(parts(&[("a", 10, 20)], 0), [part("a", 10, 20)]);
        assert_eq!(parts(&[("a", 10, 20)], 15), [part("a", 15, 20)]);
        assert_eq!(parts(&[("a", 10, 20)], 20), []);
        let gap = [("b", 30, 40), ("a", 10, 20)];
        assert_eq!(parts(&gap, 0), [part("a", 10, 20), part("b", 30, 40)]);
        let overlap = [("a", 10, 30), ("b", 25, 40)];
        assert_eq!(parts(&overlap, 12), [part("a", 12, 25), part("b", 25, 40)]);
        assert_eq!(parts(&overlap, 27), [part("a", 27, 27), part("b", 27, 40)]);
        // The server was set back, and has not come as far yet.
        let behind = [("a", 10, 30), ("b", 15, 20)];
        assert_eq!(parts(&behind, 0), [part("a", 10, 15), part("b", 15, 20)]);
        let same = [("a", 10, 20), ("b", 10, 30)];
        assert_eq!(parts(&same, 0), [part("a", 10, 10), part("b", 10, 30)]);
    }
}
