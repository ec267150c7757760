use super::*;

fn listing(encoding: &str, objects: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>{encoding}<IsTruncated>false</IsTruncated>{objects}</ListBucketResult>"
    )
}

fn object(key: &str, size: &str) -> String {
    format!(
        "<Contents><Key>{key}</Key><LastModified>2026-01-31T12:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag><Size>{size}</Size><Owner><ID>1</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"
    )
}

fn keys(document: &str) -> Vec<String> {
    let page = Page::parse(document.as_bytes(), None).unwrap();
    page.objects().map(|object| object.key.to_owned()).collect()
}

#[test]
fn keys_are_read_as_they_are() {
    let plain = listing(
        "",
        &(object(" lead", "1") + &object("a &amp; b%20c+d", "2") + &object("ü&#x7c;", "3")),
    );
    assert_eq!(keys(&plain), [" lead", "a & b%20c+d", "ü|"]);
    let encoded = listing(
        "<EncodingType>url</EncodingType>",
        &(object("a+b%2Bc%01", "1") + &object("auth0%7Cx/%C3%BC%3F%23", "2")),
    );
    assert_eq!(keys(&encoded), ["a b+c\u{1}", "auth0|x/ü?#"]);
    // A key of 1,024 bytes, each percent-encoded, echoed before the tag and after all objects.
    let echo = format!("<StartAfter>{}</StartAfter>", "%C3".repeat(1024));
    let tag = format!("{echo}<EncodingType>url</EncodingType>{echo}");
    let far = listing(&tag, &object("z%2Bz", "1"));
    assert_eq!(keys(&far), ["z+z"]);
}

#[test]
fn an_object_has_its_size_time_and_class() {
    let page = listing("", &object("k", "18446744073709551615"));
    let page = Page::parse(page.as_bytes(), None).unwrap();
    let object = page.objects().next().unwrap();
    assert_eq!((object.bytes, object.class), (u64::MAX, "STANDARD"));
    assert_eq!(object.modified.unwrap().to_string(), "2026-01-31T12:00:00Z");
}

#[test]
fn a_listing_of_another_shape_is_no_empty_bucket() {
    let good = listing("", &object("k", "1"));
    for bad in [
        good.replace("<IsTruncated>false</IsTruncated>", ""),
        good.replace(">false<", ">perhaps<"),
        good.replace("<Size>1</Size>", ""),
        good.replace("<Size>1</Size>", "<Size>-1</Size>"),
        good.replace("<Key>k</Key>", ""),
        good.replace("ListBucketResult", "ListAllMyBucketsResult"),
        listing("", &(object("b", "1") + &object("a", "1"))),
        listing("", &(object("a", "1") + &object("a", "1"))),
        listing("", "").replace(">false<", ">true<"),
        good[..good.len() - 20].to_owned(),
    ] {
        assert!(Page::parse(bad.as_bytes(), None).is_err(), "{bad}");
    }
    assert!(
        Page::parse(good.as_bytes(), Some("k")).is_err(),
        "the key is not after where we asked from"
    );
}
