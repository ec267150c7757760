use super::*;
use crate::continuous::slice::{FORMAT, SliceHeader};

fn at(seconds: u32) -> Position {
    Position {
        seconds,
        increment: 1,
    }
}

fn chain(id: &str, base: u32) -> Chain {
    Chain {
        id: id.into(),
        base: at(base),
        anchor: "anchor of the base".into(),
        server_version: "6.0.5".into(),
        feature_compatibility_version: None,
        stored: BTreeMap::new(),
        incomplete: BTreeSet::new(),
        ended: None,
    }
}

/// Adds an empty slice up to `through`.
fn add(spool: &Spool, through: u32) {
    let (chain, head) = (spool.current().unwrap(), spool.head().unwrap());
    let header = SliceHeader {
        format: FORMAT,
        chain: chain.id,
        after: head.through,
        through: at(through),
        entries: 0,
        bytes: 0,
        sha256: String::new(),
        anchor: format!("anchor of {through}"),
        server_version: chain.server_version,
        feature_compatibility_version: None,
        previous: head.link,
        merged_up_to: None,
    };
    spool.add(&Slice::new(header, Vec::new()).unwrap()).unwrap();
}

fn store(spool: &Spool, destination: &str) -> Option<Position> {
    let next = spool.next_unstored(destination)?;
    assert!(next.file.exists());
    spool.stored(destination, &next).unwrap();
    Some(next.span.through)
}

fn files(parent: &Path) -> usize {
    let folder = parent.join(FOLDER).join("one");
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn a_chain_goes_on_where_the_last_slice_on_disk_ends() {
    let parent = tempfile::tempdir().unwrap();
    let spool = Spool::open(parent.path(), false);
    assert!(spool.current().is_none() && spool.head().is_err());
    spool.begin(chain("one", 10)).unwrap();
    assert_eq!(spool.head().unwrap().anchor, "anchor of the base");
    add(&spool, 20);
    add(&spool, 30);
    // Of a process that was killed while it wrote.
    let folder = parent.path().join(FOLDER).join("one");
    fs::write(folder.join("unfinished.new"), "half").unwrap();
    let head = spool.head().unwrap();
    drop(spool);
    let spool = Spool::open(parent.path(), false);
    assert!(
        folder.join("unfinished.new").exists(),
        "of a process that runs"
    );
    spool.reload().unwrap();
    assert_eq!(spool.head().unwrap(), head);
    assert_eq!(
        (head.through, head.anchor.as_str()),
        (at(30), "anchor of 30")
    );
    assert!(!folder.join("unfinished.new").exists());
    // The last slice was damaged on disk: nobody knows where to go on.
    let last = spool.next_unstored("primary").unwrap();
    assert_eq!(last.span.through, at(20));
    for entry in fs::read_dir(&folder).unwrap().flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "gz")
        {
            fs::write(entry.path(), "damaged").unwrap();
        }
    }
    assert!(spool.head().is_err());
}

#[test]
fn slices_stay_until_every_destination_has_them_and_the_last_one_for_ever() {
    let parent = tempfile::tempdir().unwrap();
    let spool = Spool::open(parent.path(), false);
    spool.begin(chain("one", 10)).unwrap();
    for through in [20, 30, 40] {
        add(&spool, through);
    }
    let both = BTreeSet::from(["primary", "copy"]);
    assert_eq!(store(&spool, "primary"), Some(at(20)));
    assert_eq!(store(&spool, "primary"), Some(at(30)));
    spool.remove_stored(&both).unwrap();
    // `chain.json` and three slices.
    assert_eq!(files(parent.path()), 4);
    assert_eq!(store(&spool, "copy"), Some(at(20)));
    spool.remove_stored(&both).unwrap();
    assert_eq!(files(parent.path()), 3);
    let spool = Spool::open(parent.path(), false);
    assert_eq!(store(&spool, "copy"), Some(at(30)));
    assert_eq!(store(&spool, "copy"), Some(at(40)));
    assert_eq!(store(&spool, "copy"), None);
    assert_eq!(store(&spool, "primary"), Some(at(40)));
    spool.remove_stored(&both).unwrap();
    assert_eq!(files(parent.path()), 2);
    assert_eq!(spool.unstored_bytes("primary"), 0);
}

#[test]
fn stored_slices_are_kept_for_a_proof_for_two_days() {
    let parent = tempfile::tempdir().unwrap();
    let spool = Spool::open(parent.path(), true);
    spool.begin(chain("one", 10)).unwrap();
    for through in [20, 30, 30 + KEPT_SECONDS] {
        add(&spool, through);
        store(&spool, "primary").unwrap();
    }
    spool.remove_stored(&BTreeSet::from(["primary"])).unwrap();
    let found = slices(parent.path()).unwrap();
    let ends: Vec<u32> = found[0]
        .slices
        .iter()
        .map(|slice| slice.span.through.seconds)
        .collect();
    assert_eq!(ends, [30, 30 + KEPT_SECONDS]);
}

#[test]
fn the_slices_of_an_ended_chain_are_stored_before_those_of_the_next() {
    let parent = tempfile::tempdir().unwrap();
    let spool = Spool::open(parent.path(), false);
    spool.begin(chain("one", 10)).unwrap();
    add(&spool, 20);
    spool.end("a reason").unwrap();
    assert!(spool.begin(chain("one", 10)).is_err(), "an id is used once");
    spool.begin(chain("two", 30)).unwrap();
    add(&spool, 40);
    let spool = Spool::open(parent.path(), false);
    assert_eq!(spool.all()[0].ended.as_deref(), Some("a reason"));
    assert_eq!(spool.current().unwrap().id, "two");
    let only = BTreeSet::from(["primary"]);
    assert_eq!(store(&spool, "primary"), Some(at(20)));
    spool.remove_stored(&only).unwrap();
    assert_eq!(files(parent.path()), 0);
    assert_eq!(spool.all().len(), 1);
    assert_eq!(store(&spool, "primary"), Some(at(40)));
}

#[test]
fn a_destination_from_which_a_slice_is_left_out_is_incomplete_also_after_a_restart() {
    let parent = tempfile::tempdir().unwrap();
    let spool = Spool::open(parent.path(), false);
    spool.begin(chain("one", 10)).unwrap();
    add(&spool, 20);
    add(&spool, 30);
    let oldest = spool.next_unstored("copy").unwrap();
    spool.leave_out("copy", &oldest).unwrap();
    assert_eq!(store(&spool, "copy"), Some(at(30)));
    store(&spool, "primary").unwrap();
    let spool = Spool::open(parent.path(), false);
    let current = spool.current().unwrap();
    assert_eq!(current.incomplete, BTreeSet::from(["copy".to_owned()]));
    assert_eq!(
        current.stored,
        BTreeMap::from([("copy".to_owned(), at(30)), ("primary".to_owned(), at(20))])
    );
}

#[test]
fn one_destination_that_takes_nothing_misses_slices_and_two_stop_the_reading() {
    let parent = tempfile::tempdir().unwrap();
    let spool = Spool::open(parent.path(), false);
    let both = ["primary", "copy"];
    spool.begin(chain("one", 10)).unwrap();
    assert_eq!(spool.make_room(&both, 1).unwrap(), Room::Enough);
    add(&spool, 20);
    assert_eq!(spool.make_room(&both, 1).unwrap(), Room::Full);
    assert_eq!(spool.current().unwrap().incomplete, BTreeSet::new());
    store(&spool, "primary").unwrap();
    assert_eq!(spool.make_room(&both, 1).unwrap(), Room::Enough);
    assert_eq!(
        spool.current().unwrap().incomplete,
        BTreeSet::from(["copy".to_owned()])
    );
    assert_eq!(store(&spool, "copy"), None, "it was left out");
    // Then the other way round: no destination has the whole chain.
    add(&spool, 30);
    store(&spool, "copy").unwrap();
    assert_eq!(spool.make_room(&both, 1).unwrap(), Room::AllIncomplete);
}

#[test]
fn the_folder_is_locked_by_one_at_a_time() {
    let parent = tempfile::tempdir().unwrap();
    let open = || Spool::open(parent.path(), false);
    let lock = open().lock().unwrap();
    assert!(lock.is_some() && open().lock().unwrap().is_none());
    drop(lock);
    assert!(open().lock().unwrap().is_some());
}

#[test]
fn a_chain_whose_description_is_damaged_is_set_aside_and_the_others_go_on() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join(FOLDER);
    let spool = Spool::open(parent.path(), false);
    spool.begin(chain("one", 10)).unwrap();
    add(&spool, 20);
    spool.end("a reason").unwrap();
    spool.begin(chain("two", 30)).unwrap();
    for damaged in ["", "{", "{}"] {
        fs::write(folder.join("two").join(CHAIN), damaged).unwrap();
        let spool = Spool::open(parent.path(), false);
        assert_eq!(spool.all().len(), 1, "{damaged}");
    }
    assert_eq!(spool.reload().unwrap(), ["two"]);
    assert!(folder.join("two.damaged").exists());
    assert_eq!(spool.all()[0].id, "one");
    assert_eq!(store(&spool, "primary"), Some(at(20)));
    spool.begin(chain("two", 30)).unwrap();
}
