use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use silo_mongo::mongodb::bson::Timestamp;

use super::*;

fn at(seconds: u32, increment: u32) -> Position {
    Position { seconds, increment }
}

fn entry(at: Position) -> Vec<u8> {
    let ts = Timestamp {
        time: at.seconds,
        increment: at.increment,
    };
    let entry = doc! { "op": "i", "ns": "aesthetic.moods", "o": { "_id": at.increment }, "ts": ts };
    entry.to_vec().unwrap()
}

fn header(after: Position, through: Position, previous: Option<&str>) -> SliceHeader {
    SliceHeader {
        format: FORMAT,
        chain: "20261126T040000Z-abcdef".into(),
        after,
        through,
        entries: 0,
        bytes: 0,
        sha256: String::new(),
        anchor: "00".into(),
        server_version: "6.0.5".into(),
        feature_compatibility_version: Some("6.0".into()),
        previous: previous.map(str::to_owned),
        merged_up_to: None,
    }
}

fn slice() -> Slice {
    let entries: Vec<Vec<u8>> = (1..40).map(|number| entry(at(1000, number))).collect();
    Slice::new(
        header(at(1000, 0), at(1010, 7), Some("first")),
        entries.concat(),
    )
    .unwrap()
}

fn written(slice: &Slice) -> Vec<u8> {
    let mut bytes = Vec::new();
    slice.write(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_slice_is_the_same_when_it_is_read_back() {
    let slice = slice();
    assert_eq!(Slice::read(&written(&slice)[..], None), Ok(slice.clone()));
    assert_eq!(
        Slice::verify(&written(&slice)[..]),
        Ok(slice.header.clone())
    );
    assert_eq!((slice.entries().count(), slice.header.entries), (39, 39));
    let name = slice.header.span().file_name();
    assert_eq!(name, "0000001000-0000000000_0000001010-0000000007.bson.gz");
    assert_eq!(Span::of_file_name(&name), Some(slice.header.span()));
    assert_eq!(
        Span::of_file_name(&format!("{name}.age")),
        Some(slice.header.span())
    );
    assert_eq!(Span::of_file_name("chain.json"), None);
    let empty = Slice::new(header(at(1010, 7), at(1300, 1), Some("x")), Vec::new()).unwrap();
    assert_eq!(Slice::read(&written(&empty)[..], None), Ok(empty));
}

#[test]
fn merged_slices_are_one_link_of_the_chain() {
    let first = slice();
    let next = |before: &Slice, through| {
        let header = header(before.header.through, through, Some(&before.link));
        Slice::new(header, entry(through)).unwrap()
    };
    let second = next(&first, at(1020, 1));
    let third = next(&second, at(1030, 1));
    let fourth = next(&third, at(1040, 1));
    let merged = Slice::merged(&[first.clone(), second, third.clone()]).unwrap();
    assert_eq!(
        merged.header.span(),
        Span {
            after: at(1000, 0),
            through: at(1030, 1)
        }
    );
    assert_eq!(
        (merged.header.entries, &merged.header.previous),
        (41, &first.header.previous)
    );
    assert_eq!(merged.continued_by(&fourth.header), Ok(()));
    assert_eq!(Slice::read(&written(&merged)[..], None), Ok(merged.clone()));
    let again = Slice::merged(&[merged, fourth.clone()]).unwrap();
    assert_eq!(again.link, fourth.link);
    assert!(Slice::merged(&[first, third]).is_err(), "one is missing");
    assert!(Slice::merged(&[]).is_err());
}

#[test]
fn only_the_first_slice_has_entries_from_before_its_beginning() {
    for (span, entries) in [
        ((at(1000, 5), at(1000, 9)), vec![entry(at(1000, 5))]),
        ((at(1000, 5), at(1000, 9)), vec![entry(at(1000, 10))]),
        (
            (at(1000, 5), at(1000, 9)),
            vec![entry(at(1000, 7)), entry(at(1000, 6))],
        ),
        (
            (at(1000, 5), at(1000, 9)),
            vec![entry(at(1000, 7)), entry(at(1000, 7))],
        ),
        ((at(1000, 9), at(1000, 5)), vec![]),
    ] {
        let header = header(span.0, span.1, Some("first"));
        assert!(Slice::new(header, entries.concat()).is_err());
    }
    let parts = [entry(at(990, 1)), entry(at(1000, 7))].concat();
    assert!(Slice::new(header(at(1000, 5), at(1000, 9), None), parts.clone()).is_ok());
    assert!(Slice::new(header(at(1000, 5), at(1000, 9), Some("x")), parts).is_err());
}

#[test]
fn every_change_of_the_bytes_is_noticed() {
    let (slice, good) = (slice(), written(&slice()));
    let mut random = SmallRng::seed_from_u64(1);
    for _ in 0..1000 {
        let mut bad = good.clone();
        let place = random.random_range(0..bad.len());
        match random.random_range(0..3) {
            0 => bad[place] ^= 1 << random.random_range(0..8),
            1 => bad.truncate(place),
            _ => drop(bad.remove(place)),
        }
        // Some bytes of gzip's own header mean nothing.
        let read = Slice::read(&bad[..], None);
        assert!(read.is_err() || read.as_ref() == Ok(&slice), "byte {place}");
        let verified = Slice::verify(&bad[..]);
        assert!(
            verified.is_err() || verified.as_ref() == Ok(&slice.header),
            "byte {place}"
        );
    }
}

#[test]
fn a_slice_that_is_missing_moved_or_of_another_chain_does_not_continue() {
    let here = slice();
    let good = header(at(1010, 7), at(1020, 1), Some(&here.link));
    assert_eq!(here.continued_by(&good), Ok(()));
    for change in [
        |next: &mut SliceHeader| next.chain = "other".into(),
        |next: &mut SliceHeader| next.after = at(1010, 8),
        |next: &mut SliceHeader| next.previous = None,
        |next: &mut SliceHeader| next.previous = Some("bb".into()),
    ] {
        let mut next = good.clone();
        change(&mut next);
        assert!(matches!(
            here.continued_by(&next),
            Err(SliceError::NotNext(_))
        ));
    }
    // Other entries, or another header, make another link.
    let other = Slice::new(
        header(at(1000, 0), at(1010, 7), Some("first")),
        entry(at(1000, 1)),
    );
    assert_ne!(other.unwrap().link, here.link);
}
